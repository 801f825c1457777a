/* SPDX-License-Identifier: Apache-2.0 */
/* preempt: which tasks make room for one that waits.
 *
 * Pure.  When to search, and what becomes of victims, is the shell's (master/state/place.c).
 *
 * On each node that the group's rules allow: the largest victims first until the task would fit,
 * then those are let off that turn out not to be needed.  What leaves anyway counts as room, so
 * that nobody is sent away for what comes by itself.
 */
#include "master/sched/preempt.h"

#include "master/sched/sched_priv.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

static void add(struct sched_amounts *to, const struct sched_amounts *what, int sign)
{
    for (int i = 0; i < SCHED_N_KINDS; i++) {
        to->of[i] += sign * what->of[i];
    }
}

static int largest_first(const void *a, const void *b)
{
    const struct preempt_task *one = a;
    const struct preempt_task *other = b;

    return one->size > other->size ? -1 : one->size < other->size ? 1 : 0;
}

void preempt_prepare(struct preempt_node *nodes, size_t n)
{
    static const struct sched_amounts nothing;

    for (size_t i = 0; i < n; i++) {
        struct preempt_node *node = &nodes[i];

        node->coming = nothing;
        for (size_t k = 0; k < node->n_tasks; k++) {
            struct preempt_task *task = &node->tasks[k];

            task->size = veto_left_over(&task->holds, &nothing);
            if (task->leaving) {
                add(&node->coming, &task->holds, 1);
            }
        }
        if (node->n_tasks > 0) {
            qsort(node->tasks, node->n_tasks, sizeof(node->tasks[0]), largest_first);
        }
    }
}

static bool may_preempt(const struct sched_group *group, const struct preempt_task *task)
{
    bool group_preferred = group->tier == JOB_TIER_PREFERRED;
    bool task_preferred = task->tier == JOB_TIER_PREFERRED;

    if (task->leaving) {
        return false;
    }
    if (group_preferred != task_preferred) {
        return group_preferred;
    }
    return strcmp(group->role, task->role) == 0 && group->priority > task->priority;
}

/* Lets off those that are not needed, the smallest first; returns how many stay. */
static size_t let_off(const struct sched_group *group, struct sched_amounts *room,
                      struct preempt_task **victims, size_t n)
{
    for (size_t i = n; i-- > 0;) {
        struct sched_amounts without = *room;

        add(&without, &victims[i]->holds, -1);
        if (veto_fits(&without, &group->demand)) {
            *room = without;
            memmove(&victims[i], &victims[i + 1], (n - i - 1) * sizeof(struct preempt_task *));
            n--;
        }
    }
    return n;
}

/* True when it would fit; victims has room for all tasks of the node. */
static bool search(const struct sched_group *group, const struct preempt_node *node,
                   struct preempt_task **victims, size_t *ret_n)
{
    struct sched_amounts room = node->node->left;
    size_t n = 0;

    if (!veto_allows(group, node->node)) {
        return false;
    }
    add(&room, &node->coming, 1);
    for (size_t i = 0; i < node->n_tasks && !veto_fits(&room, &group->demand); i++) {
        if (may_preempt(group, &node->tasks[i])) {
            victims[n++] = &node->tasks[i];
            add(&room, &node->tasks[i].holds, 1);
        }
    }
    if (!veto_fits(&room, &group->demand)) {
        return false;
    }
    *ret_n = let_off(group, &room, victims, n);
    return true;
}

static double total_size(struct preempt_task *const *victims, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++) {
        sum += victims[i]->size;
    }
    return sum;
}

static size_t most_tasks(const struct preempt_node *nodes, size_t n)
{
    size_t most = 0;

    for (size_t i = 0; i < n; i++) {
        most = nodes[i].n_tasks > most ? nodes[i].n_tasks : most;
    }
    return most;
}

/* Those that are to come into its slots count against its job's limits as if they were there.  by:
 * 1, or its opposite modulo 2^32. */
static void count_slots(const struct sched_group *group, uint32_t by)
{
    const struct sched_slot *slot;

    if (group->rules.n_limits == 0) {
        return;
    }
    LL_FOREACH(group->slots, slot)
    {
        for (size_t i = 0; i < slot->node->attrs.n; i++) {
            (void)tally_add(&group->job->by_pair, slot->node->attrs.of[i].pair, by);
        }
    }
}

bool preempt_find(const struct sched_group *group, struct preempt_node *nodes, size_t n,
                  struct preempt_slot *ret_slot)
{
    size_t bytes = (most_tasks(nodes, n) + 1) * sizeof(struct preempt_task *);
    CLEANUP(mem_freep) struct preempt_task **best = mem_alloc(bytes);
    CLEANUP(mem_freep) struct preempt_task **victims = mem_alloc(bytes);
    struct preempt_node *where = NULL;
    double size = 0;
    size_t n_best = 0;

    count_slots(group, 1);
    for (size_t i = 0; i < n; i++) {
        size_t count = 0;

        if (search(group, &nodes[i], victims, &count) &&
            (where == NULL || count < n_best ||
             (count == n_best && total_size(victims, count) < size))) {
            struct preempt_task **swap = best;

            where = &nodes[i];
            size = total_size(victims, count);
            n_best = count;
            best = victims;
            victims = swap;
        }
    }
    count_slots(group, UINT32_MAX);
    if (where == NULL || (n_best == 0 && group->tier != JOB_TIER_PREFERRED)) {
        return false;
    }
    for (size_t i = 0; i < n_best; i++) {
        best[i]->leaving = true;
        add(&where->coming, &best[i]->holds, 1);
    }
    *ret_slot = (struct preempt_slot){ where, TAKE(best), n_best };
    return true;
}
