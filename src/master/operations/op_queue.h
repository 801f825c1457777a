/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whose turn is it?  Operations in the order of priority (smaller is more urgent) and number; those
 * of one job one after the other, in that order; at most so many at once. */
struct op_queue_item {
    void *data; /* The caller's. */
    uint64_t number;
    int64_t priority;
    char **jobs; /* Keys of the jobs that it works on; borrowed, NULL-terminated, may be NULL. */

    /* Private to op_queue.c. */
    bool running;
    struct op_queue_item *prev, *next;
};

/* Zeroed is empty. */
struct op_queue {
    struct op_queue_item *waiting, *running;
    size_t n_waiting, n_running;
};

/* Keep item in place until it is removed. */
void op_queue_add(struct op_queue *queue, struct op_queue_item *item);

/* It runs already: one that is resumed. */
void op_queue_add_running(struct op_queue *queue, struct op_queue_item *item);
void op_queue_remove(struct op_queue *queue, struct op_queue_item *item);

/* The next one to start, which counts as running from now on; NULL when none may. */
struct op_queue_item *op_queue_next(struct op_queue *queue, size_t max_running);
