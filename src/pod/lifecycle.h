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
    uint64_t usage_every_ms;   /* how often the disk is looked at; 0: never */
    struct taskfile *task;     /* borrowed until lifecycle_free() */
};

/* Binds the socket and begins.  On failure nothing was started. */
int lifecycle_start(uv_loop_t *loop, const struct lifecycle_options *options, lifecycle_cb over,
                    void *data, struct lifecycle **ret_life, struct err *err);

/* SIGTERM to davit-pod: as a stop with all the grace that the task's own settings give. */
void lifecycle_stop(struct lifecycle *life, const char *reason);

/* After lifecycle_cb, or inside it. */
void lifecycle_free(struct lifecycle *life);
DEFINE_FREEP(struct lifecycle, lifecycle_free)
