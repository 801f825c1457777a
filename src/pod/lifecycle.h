/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"
#include "pod/taskfile.h"

#include <stdbool.h>
#include <uv.h>

/* One pod from its start to its end. */
struct lifecycle;

/* All is over; written says whether the final state is safely in state.json. */
typedef void (*lifecycle_cb)(void *data, bool written);

struct lifecycle_options {
    const char *home;
    const char *pod_hooks_dir; /* NULL: none */
    int agent_fd;              /* -1: none; taken */
    struct taskfile *task;     /* borrowed until lifecycle_free() */
};

/* Binds the socket and begins.  On failure nothing was started. */
int lifecycle_start(uv_loop_t *loop, const struct lifecycle_options *options, lifecycle_cb over,
                    void *data, struct lifecycle **ret_life, struct err *err);

/* SIGTERM to davit-pod: as a stop with the task's own finalization_wait as grace. */
void lifecycle_stop(struct lifecycle *life, const char *reason);

/* After lifecycle_cb, or inside it. */
void lifecycle_free(struct lifecycle *life);
DEFINE_FREEP(struct lifecycle, lifecycle_free)

/* A pod whose task.json is no good: state.json says failed, and why. */
int lifecycle_refuse(const char *home, const char *why, struct err *err);
