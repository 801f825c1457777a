/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "store/engine.h"

/* What engine.c and zchange.c share. */

/* The client's out buffer, to put one frame into; the client is touched by it. */
struct buf *engine_answer(struct engine *engine, struct engine_client *client);

/* Close its connection once what is in out has been sent. */
void engine_hang_up(struct engine *engine, struct engine_client *client);
