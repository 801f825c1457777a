/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "master/state/state.h"

#include <stdbool.h>
#include <stdint.h>

/* Asks the coordinators that jobs name in their SLA policies whether a task may go:
 * POST <url>?task=<cluster/role/env/name/instance> {"taskConfig","task",
 * "forceMaintenanceCountdownMs"}; 200 and {"<status_key>": true} is yes, anything else is no for
 * now.  One call at a time per URL. */
struct coordinators;

struct coordinators_options {
    struct state *state;
    uint64_t retry_ms;   /* A task is asked about again this long after a no. */
    uint64_t timeout_ms; /* Of a call. */
};

/* A yes, from the loop.  The task may have changed or gone meanwhile. */
typedef void (*coordinators_cb)(const char *task_id, void *data);

struct coordinators *coordinators_new(const struct coordinators_options *options,
                                      coordinators_cb granted, void *data);

/* Asks, when the URL has answered what was asked before; not while this task waits already or was
 * refused less than retry_ms ago: call it again and again.  deadline_ms: wall clock at which the
 * task goes whatever is answered. */
void coordinators_ask(struct coordinators *coordinators, const struct state_task *task,
                      uint64_t deadline_ms);

typedef void (*coordinators_closed_cb)(void *data);
void coordinators_close(struct coordinators *coordinators, coordinators_closed_cb cb, void *data);
