/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "guest/rpc.h"

#include <jansson.h>
#include <stdbool.h>
#include <uv.h>

/* The worker as davit-op sees it: a process that does the work of opcodes and may die. */
struct worker_link;

/* The work's one outcome.  err NULL: result is what the worker answered.  died: it ended without an
 * answer.  Otherwise err is what the worker said. */
typedef void (*worker_link_cb)(const struct err *err, bool died, const json_t *result, void *data);

struct worker_link_options {
    uv_loop_t *loop;
    const struct rpc_method *methods; /* What the worker may ask; their data is the link. */
    void *owner;
};

/* Starts it at once, so that it is there when it is wanted.  Failing shows as a death. */
struct worker_link *worker_link_start(const struct worker_link_options *options);

void *worker_link_owner(const struct worker_link *link);

/* One at a time.  Starts another worker first if this one died while it had nothing to do. */
void worker_link_run(struct worker_link *link, const json_t *params, worker_link_cb cb, void *data);

/* Kills the worker at work: its outcome does not come any more. */
void worker_link_abort(struct worker_link *link);

/* Kills it; when it is gone frees the link, then cb.  No outcome comes any more. */
void worker_link_close(struct worker_link *link, void (*cb)(void *data), void *data);
