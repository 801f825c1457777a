/* SPDX-License-Identifier: Apache-2.0 */

/* op_queue: which queued operation may start now.  Pure.
 *
 * Invariant: no two running items share a job; an item never overtakes an earlier one of its job,
 * running or waiting.
 */

#include "master/operations/op_queue.h"

#include "base/mem.h"
#include "base/str.h"

#include <string.h>
#include <uthash.h>
#include <utlist.h>

/* A job that may not be worked on. */
struct busy {
    const char *job;
    UT_hash_handle hh;
};

static int by_turn(const struct op_queue_item *a, const struct op_queue_item *b)
{
    if (a->priority != b->priority) {
        return a->priority < b->priority ? -1 : 1;
    }
    return a->number < b->number ? -1 : a->number > b->number;
}

void op_queue_add(struct op_queue *queue, struct op_queue_item *item)
{
    struct op_queue_item *last = queue->waiting != NULL ? queue->waiting->prev : NULL;

    item->running = false;
    queue->n_waiting++;
    if (last == NULL || by_turn(last, item) <= 0) {
        /* The usual case, without a walk. */
        /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): a list's head has a prev. */
        DL_APPEND(queue->waiting, item);
        return;
    }
    DL_INSERT_INORDER(queue->waiting, item, by_turn);
}

void op_queue_add_running(struct op_queue *queue, struct op_queue_item *item)
{
    item->running = true;
    queue->n_running++;
    DL_APPEND(queue->running, item);
}

void op_queue_remove(struct op_queue *queue, struct op_queue_item *item)
{
    if (item->running) {
        queue->n_running--;
        DL_DELETE(queue->running, item);
    } else {
        queue->n_waiting--;
        DL_DELETE(queue->waiting, item);
    }
}

static bool is_busy(struct busy *set, const struct op_queue_item *item)
{
    struct busy *found = NULL;

    for (size_t i = 0; item->jobs != NULL && item->jobs[i] != NULL && found == NULL; i++) {
        HASH_FIND_STR(set, item->jobs[i], found);
    }
    return found != NULL;
}

static void mark_busy(struct busy **set, const struct op_queue_item *item)
{
    for (size_t i = 0; item->jobs != NULL && item->jobs[i] != NULL; i++) {
        struct busy *found;

        HASH_FIND_STR(*set, item->jobs[i], found);
        if (found == NULL) {
            found = mem_alloc(sizeof *found);
            found->job = item->jobs[i];
            HASH_ADD_KEYPTR(hh, *set, found->job, strlen(found->job), found);
        }
    }
}

static void free_busy(struct busy *set)
{
    struct busy *busy, *tmp;

    HASH_ITER(hh, set, busy, tmp)
    {
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it misses that HASH_DEL moves the head. */
        HASH_DEL(set, busy);
        free(busy);
    }
}

struct op_queue_item *op_queue_next(struct op_queue *queue, size_t max_running)
{
    struct busy *set = NULL;
    struct op_queue_item *item;

    if (queue->n_running >= max_running || queue->waiting == NULL) {
        return NULL;
    }
    DL_FOREACH(queue->running, item)
    {
        mark_busy(&set, item);
    }
    DL_FOREACH(queue->waiting, item)
    {
        if (!is_busy(set, item)) {
            break;
        }
        mark_busy(&set, item);
    }
    free_busy(set);
    if (item != NULL) {
        op_queue_remove(queue, item);
        op_queue_add_running(queue, item);
    }
    return item;
}
