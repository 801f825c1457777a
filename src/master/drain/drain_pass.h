/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "master/state/state.h"
#include "master/state/steer.h"
#include "model/sla.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

/* How a node is drained: the member `drain` of its document. */
struct drain_plan {
    uint64_t since_ms, deadline_ms; /* Wall clock; at the deadline everything left must go. */
    struct sla_policy fallback;     /* For jobs without a policy of their own; owns no texts. */
};

enum { DRAIN_TIMEOUT_S = 7 * 24 * 3600, DRAIN_PERCENTAGE = 95, DRAIN_DURATION_S = 30 * 60 };

/* What is missing in doc has the defaults above. */
void drain_plan_read(const json_t *doc, struct drain_plan *ret_plan);
/* The caller's.  reason may be NULL. */
json_t *drain_plan_make(const struct drain_plan *plan, const char *reason, const char *user,
                        const char *op_id);

/* The coordinator of the task's SLA policy is to be asked; what it says comes later. */
typedef void (*drain_ask_fn)(struct state_task *task, uint64_t deadline_ms, void *data);

/* What is left of a node after a look. */
struct drain_left {
    size_t leaving; /* Asked to go. */
    size_t waiting; /* For others of their jobs to be up. */
    size_t asking;  /* For their coordinators. */
};

/* The first half of a look, for every node that is being drained before any has its second: asks to
 * go what goes whatever else is up, so that the second counts it as gone. */
void drain_node_unheld(struct steer *steer, struct state_node *node, uint64_t now_ms);

/* One look at a node whose mode is draining: asks to go what may, and when nothing is left makes it
 * drained.  No loop and no clock of its own.  now_ms: wall clock.  ask NULL: nobody is asked. */
void drain_node(struct state *state, struct steer *steer, struct state_node *node, uint64_t now_ms,
                drain_ask_fn ask, void *data, struct drain_left *ret_left);

/* The coordinator let the task go: it goes, if its node still is being drained. */
void drain_granted(struct state *state, struct steer *steer, const char *task_id);

/* Other words for nodes; each touches the node.  A plan is taken. */
void drain_begin_take(struct state *state, struct steer *steer, struct state_node *node,
                      json_t *plan);
/* To active or cordoned; what is asked to go goes. */
void drain_end(struct state *state, struct steer *steer, struct state_node *node, const char *mode);
