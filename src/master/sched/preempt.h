/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "master/sched/sched.h"

/* Who makes room for a task that waits for too long. */

/* A task that lives on a node. */
struct preempt_task {
    void *data;
    struct sched_amounts holds;
    const char *role;
    enum job_tier tier;
    int priority;
    bool leaving; /* It ends anyway: what it holds is room to come. */

    /* Private to preempt.c. */
    double size;
};

struct preempt_node {
    struct sched_node *node;
    struct preempt_task *tasks;
    size_t n_tasks;
    struct sched_amounts coming; /* Private to preempt.c: what those that leave hold. */
};

/* Once for the nodes of a search, in any order. */
void preempt_prepare(struct preempt_node *nodes, size_t n);

struct preempt_slot {
    struct preempt_node *node;
    struct preempt_task **victims; /* The caller's. */
    size_t n_victims;
};

/* Victims on one node whose end makes room for one task of the group, and the node where they are
 * fewest, then smallest, then the first.  A victim is preemptible (of no preferred tier) where the
 * group is not; or both are alike, of the same role, and the group's priority is strictly higher.
 * Where what leaves anyway will make room enough there is no victim: a preferred group is to hold
 * the slot all the same, or small tasks would take the room bit by bit; others get false. False
 * when there is no such node.  A victim that was found is leaving from then on, so that the next
 * search counts on others. */
bool preempt_find(const struct sched_group *group, struct preempt_node *nodes, size_t n,
                  struct preempt_slot *ret_slot);
