/* SPDX-License-Identifier: Apache-2.0 */
/* place_preempt: room for tasks that wait for too long.
 *
 * Who has to go is sched/preempt.c's choice; this collects who lives where, sends the victims
 * away, and keeps what they held for the task that wanted it (a slot), for at most five minutes.
 *
 * Happy path: a search follows a round, so whatever could be placed is; each group whose oldest
 * tasks waited long enough gets a slot per such task; when the victims have ended, the next round
 * places the tasks into their slots.
 * Failures: no victims are found, and the next search tries again; victims that end too late lose
 * their slot to the next round, and a later search finds that their room is there.
 * After a change of master slots are forgotten and victims are not: they count as leaving.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "master/sched/preempt.h"
#include "master/state/place_priv.h"

#include <utlist.h>

enum {
    SLOT_MS = 300 * 1000,
    MAX_SLOTS = 100, /* At one search: it runs on the loop. */
};

static size_t collect_tasks(const struct state_node *node, struct preempt_task *tasks)
{
    const struct state_task *task;
    size_t n = 0;

    DL_FOREACH2(node->tasks, task, node_next)
    {
        const struct job *job = task->config->job;

        tasks[n++] = (struct preempt_task){
            .data = (void *)task,
            .holds = sched_amounts(job->cpu, job->ram_bytes, job->disk_bytes, job->n_ports),
            .role = job->key.role,
            .tier = job->tier,
            .priority = job->priority,
            .leaving = task->t.status != TASK_ASSIGNED && task->t.status != TASK_STARTING &&
                       task->t.status != TASK_RUNNING,
        };
    }
    return n;
}

/* *ret_tasks owns the tasks of all of them. */
static size_t collect(const struct place *place, struct preempt_node **ret_nodes,
                      struct preempt_task **ret_tasks)
{
    const struct state_node *node;
    struct preempt_node *nodes;
    struct preempt_task *tasks;
    size_t n_tasks = 0;
    size_t n = 0;

    for (node = state_nodes(place->state); node != NULL; node = node->hh.next) {
        n_tasks += node->n_tasks;
    }
    nodes = mem_alloc((HASH_COUNT(state_nodes(place->state)) + 1) * sizeof(*nodes));
    tasks = mem_alloc((n_tasks + 1) * sizeof(*tasks));
    n_tasks = 0;
    for (node = state_nodes(place->state); node != NULL; node = node->hh.next) {
        const struct place_node *mine = node->place;

        if (mine != NULL && node->alive) {
            nodes[n].node = mine->sched;
            nodes[n].tasks = tasks + n_tasks;
            nodes[n].n_tasks = collect_tasks(node, tasks + n_tasks);
            n_tasks += nodes[n++].n_tasks;
        }
    }
    preempt_prepare(nodes, n);
    *ret_nodes = nodes;
    *ret_tasks = tasks;
    return n;
}

/* How many of its tasks have waited long enough and have no slot yet. */
static size_t in_need(const struct place *place, const struct place_group *group, uint64_t now)
{
    const struct state_task *task;
    size_t n = 0;

    DL_FOREACH2(group->pending, task, wait_next)
    {
        n += task->since_ms + place->options.preempt_delay_ms <= now;
    }
    return n > sched_slots(group->sched) ? n - sched_slots(group->sched) : 0;
}

static void give_slot(struct place *place, struct place_group *group,
                      const struct preempt_slot *slot)
{
    CLEANUP(mem_freep)
    char *why = str_printf("Preempting in favor of %s", group->pending->t.id);

    sched_slot_hold(group->sched, slot->node->node);
    group->slot_ms = clock_now_ms();
    for (size_t i = 0; i < slot->n_victims; i++) {
        struct state_task *victim = slot->victims[i]->data;

        log_info("preempting task=%s node=%s for=%s", victim->t.id, victim->t.node,
                 group->pending->t.id);
        place->options.preempt(victim, why, place->options.data);
    }
    place_group_reason(place, group);
}

void place_preempt_search(struct place *place)
{
    CLEANUP(mem_freep) struct preempt_node *nodes = NULL;
    CLEANUP(mem_freep) struct preempt_task *tasks = NULL;
    uint64_t now = clock_wall_ms();
    struct place_group *group;
    struct place_group *next;
    size_t n_nodes = 0;
    size_t n_slots = 0;

    DL_FOREACH_SAFE(place->groups, group, next)
    {
        for (size_t n = in_need(place, group, now); n > 0 && n_slots < MAX_SLOTS; n--) {
            struct preempt_slot slot;

            if (nodes == NULL) {
                n_nodes = collect(place, &nodes, &tasks);
            }
            if (!preempt_find(group->sched, nodes, n_nodes, &slot)) {
                break;
            }
            give_slot(place, group, &slot);
            free(slot.victims);
            n_slots++;
        }
    }
}

void place_preempt_expire(struct place *place)
{
    uint64_t now = clock_now_ms();
    struct place_group *group;

    DL_FOREACH(place->groups, group)
    {
        if (sched_slots(group->sched) > 0 && group->slot_ms + SLOT_MS <= now) {
            sched_slots_drop(group->sched);
        }
    }
}
