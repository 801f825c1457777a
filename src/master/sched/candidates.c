/* SPDX-License-Identifier: Apache-2.0 */
/* candidates: the nodes that a group's next tasks may go to, as a heap.
 *
 * Looking at every node for every task would be the whole cost of a round.  Instead a
 * group looks once, keeps as many of the best nodes as it has tasks waiting, and then
 * needs a step in a heap for each task.
 *
 * This is right because within a round a node only ever gets worse: it has less room and
 * more tasks of the job.  So a node that does not fit when its turn comes never will, and
 * one that got more tasks of the job meanwhile just sinks.  Only among nodes with equally
 * many tasks of the job the order is that of the time of looking.
 *
 * Invariant: with `partial`, no node outside the heap is better than `bound`; what would
 * sink below it leaves the heap, and an empty heap means: look again.
 */
#include "master/sched/candidates.h"

#include "base/mem.h"
#include "master/sched/sched_priv.h"

#include <stdlib.h>
#include <string.h>

enum { KEPT_AT_LEAST = 4 };

static bool better(const struct heap_entry *a, const struct heap_entry *b)
{
    if (a->n_tasks != b->n_tasks) {
        return a->n_tasks < b->n_tasks;
    }
    if (a->left < b->left || a->left > b->left) {
        return a->left < b->left;
    }
    return a->node < b->node;
}

static void sink(struct heap_entry *heap, size_t n, size_t at)
{
    struct heap_entry entry = heap[at];
    size_t child;

    while ((child = 2 * at + 1) < n) {
        if (child + 1 < n && better(&heap[child + 1], &heap[child])) {
            child++;
        }
        if (!better(&heap[child], &entry)) {
            break;
        }
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = entry;
}

static void drop_best(struct heap_entry *heap, size_t *n)
{
    heap[0] = heap[--*n];
    if (*n > 0) {
        sink(heap, *n, 0);
    }
}

/* All nodes that take the group, as a heap in the scheduler's scratch space. */
static size_t collect(const struct sched_group *group)
{
    const struct sched *sched = group->job->sched;
    struct heap_entry *heap = sched->scratch;
    size_t n = 0;

    for (uint32_t i = 0; i < sched->n_nodes; i++) {
        const struct sched_node *node = sched->nodes[i];

        if (veto_none(group, node)) {
            heap[n++] = (struct heap_entry){ veto_left_over(&node->left, &group->demand),
                                             tally_of(&group->job->by_node, node->id), node->id };
        }
    }
    for (size_t i = n / 2; i-- > 0;) {
        sink(heap, n, i);
    }
    return n;
}

static void look(struct sched_group *group)
{
    struct candidates *candidates = &group->candidates;
    struct heap_entry *heap = group->job->sched->scratch;
    size_t keep = group->n_waiting > KEPT_AT_LEAST ? group->n_waiting : KEPT_AT_LEAST;
    size_t n = collect(group);

    candidates_fini(candidates);
    if (n == 0) {
        return;
    }
    keep = n < keep ? n : keep;
    candidates->heap = mem_alloc(keep * sizeof(heap[0]));
    if (keep == n) {
        memcpy(candidates->heap, heap, n * sizeof(heap[0]));
        candidates->n = n;
        return;
    }
    while (candidates->n < keep) { /* In order, which is a heap too. */
        candidates->heap[candidates->n++] = heap[0];
        drop_best(heap, &n);
    }
    candidates->partial = true;
    candidates->bound = heap[0];
}

/* The best one's count has grown. */
static void demote(struct candidates *candidates, uint32_t n_tasks)
{
    candidates->heap[0].n_tasks = n_tasks;
    if (candidates->partial && better(&candidates->bound, &candidates->heap[0])) {
        drop_best(candidates->heap, &candidates->n);
    } else {
        sink(candidates->heap, candidates->n, 0);
    }
}

struct sched_node *candidates_best(struct sched_group *group)
{
    struct candidates *candidates = &group->candidates;
    bool looked = false;

    for (;;) {
        struct sched_node *node;
        uint32_t n_tasks;

        if (candidates->n == 0) {
            if (looked || (candidates->heap != NULL && !candidates->partial)) {
                return NULL;
            }
            look(group);
            looked = true;
            continue;
        }
        node = group->job->sched->nodes[candidates->heap[0].node - 1];
        n_tasks = tally_of(&group->job->by_node, node->id);
        if (!veto_none(group, node)) {
            drop_best(candidates->heap, &candidates->n);
        } else if (n_tasks != candidates->heap[0].n_tasks) {
            demote(candidates, n_tasks);
        } else {
            return node;
        }
    }
}

void candidates_used(struct sched_group *group)
{
    struct candidates *candidates = &group->candidates;
    uint32_t node = candidates->heap[0].node;

    demote(candidates, tally_of(&group->job->by_node, node));
}

void candidates_fini(struct candidates *candidates)
{
    free(candidates->heap);
    *candidates = (struct candidates){ 0 };
}
