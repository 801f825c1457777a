/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "store/engine.h"

/* Is this (4 bytes, no NUL) a command that an operator sends instead of a frame? */
bool fourletter_known(const char *word);

/* Append its answer, in ZooKeeper's format. */
void fourletter_answer(const struct engine *engine, size_t n_connections, const char *word,
                       struct buf *out);
