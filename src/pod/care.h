/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "pod/supervise.h"
#include "pod/taskfile.h"

#include <stdbool.h>
#include <uv.h>

/* What is looked after while the processes of a pod run: health, disk and memory. */
struct care;

struct care_events {
    void *ctx;
    void (*changed)(void *ctx);                    /* it became healthy */
    void (*failed)(void *ctx, const char *reason); /* the task is to be ended as FAILED */
};

/* Begins at once, with what the task asks for.  task and supervise are borrowed.  usage_every_ms 0:
 * nobody looks at disk and memory. */
struct care *care_new(uv_loop_t *loop, const struct taskfile *task, struct supervise *supervise,
                      uint64_t usage_every_ms, const struct care_events *events);

/* What it says of the task: NULL before health is known.  Borrowed. */
const char *care_reason(const struct care *care);
bool care_is_healthy(const struct care *care);

/* No event any more, and no process of a check; may be called again. */
void care_stop(struct care *care);

/* cb fires later on the loop; it is freed then. */
void care_close(struct care *care, void (*cb)(void *data), void *data);
