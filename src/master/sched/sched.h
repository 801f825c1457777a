/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/mem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where tasks go: one round over the nodes, as a pure function of what is given. */

struct sched_demand {
    double cpu;
    int64_t ram_bytes, disk_bytes;
    unsigned ports;
};

/* What a node has left.  The round takes away what it gives out. */
struct sched_node {
    void *data; /* The caller's. */
    double cpu;
    int64_t ram_bytes, disk_bytes;
    unsigned ports;
    bool drained; /* Takes no tasks: in maintenance. */
};

/* Tasks that want the same: instances of one job configuration. */
struct sched_group {
    struct sched_demand demand;
    size_t n_tasks;
    void *data; /* The caller's. */

    /* The outcome, after the round. */
    size_t n_placed;
    char reason[96]; /* Why the next one was not: of the node that came nearest. */

    /* Private to sched.c. */
    struct sched_node *last;
    bool stuck;
};

/* The nth task (from 0) of group goes to node. */
typedef void (*sched_place_fn)(struct sched_group *group, size_t nth, struct sched_node *node,
                               void *data);

enum { SCHED_TURN = 5 }; /* Tasks of a group in a row. */

/* Best fit: the node that has the least left afterwards, of equals the first.  Groups take turns in
 * their order, SCHED_TURN tasks each, so that a large one does not keep a small one waiting. */
void sched_round(struct sched_node *nodes, size_t n_nodes, struct sched_group *groups,
                 size_t n_groups, sched_place_fn place, void *data);

#define SCHED_DRAINED "Host drained for maintenance"
#define SCHED_NO_NODE "No host is available"
