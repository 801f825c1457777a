/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sched_group;
struct sched_node;

struct heap_entry {
    double left;      /* What the node would have left: less is better. */
    uint32_t n_tasks; /* Of the job there, when it was put here: fewer come first. */
    uint32_t node;    /* Its id. */
};

/* The best nodes for a group's waiting tasks, best first.  Zeroed: not looked for yet. */
struct candidates {
    struct heap_entry *heap;
    size_t n;
    bool partial;            /* There are more nodes, none better than `bound`. */
    struct heap_entry bound; /* With partial. */
};

/* The best node that takes a task of the group now; NULL when there is none. */
struct sched_node *candidates_best(struct sched_group *group);
/* A task was placed on that node. */
void candidates_used(struct sched_group *group);
void candidates_fini(struct candidates *candidates);
