/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "pod/proto.h"
#include "pod/taskfile.h"

#include <jansson.h>

/* What davit-pod says of itself: the lines for agents, and state.json. */
struct status;

/* What changes.  All is borrowed for the call. */
struct status_now {
    enum proto_state state;
    const char *reason; /* NULL: none */
    json_t *processes;
    uint64_t ended_ms; /* wall clock; 0: not yet */
};

/* task is borrowed. */
struct status *status_new(const char *home, const struct taskfile *task);
void status_free(struct status *status);
DEFINE_FREEP(struct status, status_free)

/* Counts the change, and writes state.json. */
int status_write(struct status *status, const struct status_now *now, struct err *err);

/* Append a `hello`, or the `state` that was written last. */
void status_add_hello(const struct status *status, struct buf *out);
void status_add_state(const struct status *status, const struct status_now *now, struct buf *out);

/* A pod whose task.json is no good: state.json says failed, and why. */
int status_refuse(const char *home, const char *why, struct err *err);
