/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "store/engine.h"

struct jute_request;
struct zsession;

/* One operation that changes the tree: done and answered, or answered with its error and nothing
 * done.  Texts and data that the tree keeps are taken out of the request. */
void zchange_request(struct engine *engine, struct engine_client *client,
                     struct jute_request *request, struct engine_now now);

/* The same for a multi: all of its operations or none. */
void zchange_multi(struct engine *engine, struct engine_client *client,
                   struct jute_request *request, struct engine_now now);

/* Delete the ephemeral nodes of a session that ends, in one transaction of its own, which counts
 * even when there are none. */
void zchange_drop_owned(struct engine *engine, struct zsession *session, struct engine_now now);
