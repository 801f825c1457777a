/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "store/engine.h"

#include <uv.h>

struct zserver;

struct zserver_options {
    const char *dir;    /* exists */
    const char *listen; /* HOST:PORT, numeric or "localhost"; port 0 picks one */
    struct engine_limits limits;
    int64_t tick_ms;
    int64_t max_frame;
    int64_t max_connections;
};

/* Load the ledger and listen.  Nothing is accepted before the loop runs.
 * ERR_CONFLICT: address in use; ERR_USAGE: no address; or the ledger's. */
int zserver_open(uv_loop_t *loop, const struct zserver_options *options,
                 struct zserver **ret_server, struct err *err);

int zserver_port(const struct zserver *server);

/* Stop serving.  The loop ends when all handles are closed; then zserver_free(). */
void zserver_stop(struct zserver *server);

/* Why it stopped by itself: code 0 when it did not. */
const struct err *zserver_failure(const struct zserver *server);
void zserver_free(struct zserver *server);
DEFINE_FREEP(struct zserver, zserver_free)
