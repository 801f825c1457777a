/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "pod/proto.h"
#include "pod/supervise.h"
#include "pod/taskfile.h"

/* What davit-pod says of itself: the lines for agents, and state.json. */
struct status;

/* task and supervise are borrowed. */
struct status *status_new(const char *home, const struct taskfile *task,
                          const struct supervise *supervise);
void status_free(struct status *status);
DEFINE_FREEP(struct status, status_free)

/* It has changed.  reason (NULL: none) is copied; ended_ms is wall clock, 0: not yet. */
void status_set(struct status *status, enum proto_state state, const char *reason,
                uint64_t ended_ms);

/* state.json: what was set last, and the processes as they are. */
int status_write(const struct status *status, struct err *err);

/* Append a `hello`, or a `state` with the same content as state.json. */
void status_add_hello(const struct status *status, struct buf *out);
void status_add_state(const struct status *status, struct buf *out);

/* A pod whose task.json is no good: state.json says failed, and why. */
int status_refuse(const char *home, const char *why, struct err *err);
