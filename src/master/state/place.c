/* SPDX-License-Identifier: Apache-2.0 */
/* place: the shell around the scheduler.
 *
 * Not the choice of a node (sched/), not what becomes of a task that has one (steer.c).
 *
 * Happy path: place_add() puts a PENDING task into the list; at the end of the turn
 * place_all() runs one round over all that wait and hands each that got a node to its owner.
 * Failures: a task that cannot be placed stays, and its configuration tells the reason,
 * until place_want() says that there may be room.
 * Invariant: a task is in `pending` from place_add() to place_remove(), no longer.
 */
#include "master/state/place.h"

#include "base/log.h"
#include "master/sched/sched.h"

#include <inttypes.h>
#include <string.h>
#include <utlist.h>

struct place {
    struct state *state;
    place_fn placed;
    void *data;
    struct state_task *pending; /* By wait_next, in the order of arrival. */
    size_t n_pending;
    bool wanted; /* A round is worth while. */
};

struct round {
    struct place *place;
    struct state_task **tasks; /* Of all groups, one group after the other. */
    uint64_t n_placed;
};

struct round_group {
    struct state_config *config;
    size_t first; /* In round.tasks. */
};

static void on_placed(struct sched_group *group, size_t nth, struct sched_node *where, void *data)
{
    struct round *round = data;
    struct round_group *mine = group->data;
    struct state_task *task = round->tasks[mine->first + nth];
    struct state_node *node = where->data;
    const struct job *job = mine->config->job;

    for (size_t i = 0; i < job->n_ports; i++) {
        task_add_port(&task->t, job->ports[i], state_node_free_port(node));
    }
    state_task_place(round->place->state, task, node);
    round->place->placed(task, round->place->data);
    round->n_placed++;
}

static size_t collect_nodes(const struct place *place, struct sched_node **ret_nodes)
{
    struct sched_node *nodes;
    struct state_node *node;
    size_t n = 0;

    nodes = mem_alloc((HASH_COUNT(state_nodes(place->state)) + 1) * sizeof(*nodes));
    for (node = state_nodes(place->state); node != NULL; node = node->hh.next) {
        if (node->alive) {
            unsigned ports = (unsigned)(node->port_hi - node->port_lo + 1);

            nodes[n++] = (struct sched_node){
                .data = node,
                .cpu = node->cpu - node->used_cpu,
                .ram_bytes = node->ram_bytes - node->used_ram_bytes,
                .disk_bytes = node->disk_bytes - node->used_disk_bytes,
                .ports = ports - (unsigned)node->n_used_ports,
                .drained = strcmp(node->mode, "active") != 0,
            };
        }
    }
    *ret_nodes = nodes;
    return n;
}

/* PENDING tasks by configuration; *ret_tasks has each group's in a row. */
static size_t collect_groups(struct place *place, struct sched_group **ret_groups,
                             struct round_group **ret_mine, struct state_task ***ret_tasks)
{
    struct sched_group *groups = mem_alloc(sizeof(*groups));
    struct round_group *mine;
    struct state_task *task;
    size_t n = 0;
    size_t at = 0;

    DL_FOREACH2(place->pending, task, wait_next)
    {
        if (task->config->group == 0) {
            const struct job *job = task->config->job;

            if (n > 0 && (n & (n - 1)) == 0) {
                groups = mem_realloc(groups, 2 * n * sizeof(*groups));
            }
            groups[n] = (struct sched_group){ .demand = { job->cpu, job->ram_bytes, job->disk_bytes,
                                                          (unsigned)job->n_ports } };
            task->config->group = ++n;
        }
        groups[task->config->group - 1].n_tasks++;
    }
    mine = mem_alloc((n + 1) * sizeof(*mine));
    for (size_t i = 0; i < n; i++) {
        mine[i].first = at;
        at += groups[i].n_tasks;
        groups[i].n_tasks = 0; /* Counted again below. */
        groups[i].data = &mine[i];
    }
    *ret_tasks = mem_alloc((at + 1) * sizeof(struct state_task *));
    DL_FOREACH2(place->pending, task, wait_next)
    {
        size_t i = task->config->group - 1;

        mine[i].config = task->config;
        (*ret_tasks)[mine[i].first + groups[i].n_tasks++] = task;
    }
    *ret_groups = groups;
    *ret_mine = mine;
    return n;
}

static void place_all(struct state *state, void *data)
{
    struct place *place = data;
    CLEANUP(mem_freep) struct sched_node *nodes = NULL;
    CLEANUP(mem_freep) struct sched_group *groups = NULL;
    CLEANUP(mem_freep) struct round_group *mine = NULL;
    CLEANUP(mem_freep) struct state_task **tasks = NULL;
    struct round round = { .place = place };
    size_t n_nodes;
    size_t n_groups;

    if (!place->wanted || place->pending == NULL) {
        return;
    }
    place->wanted = false;
    n_nodes = collect_nodes(place, &nodes);
    n_groups = collect_groups(place, &groups, &mine, &tasks);
    round.tasks = tasks;
    sched_round(nodes, n_nodes, groups, n_groups, on_placed, &round);
    for (size_t i = 0; i < n_groups; i++) {
        struct state_config *config = mine[i].config;

        config->group = 0;
        if (strcmp(config->pending_reason, groups[i].reason) != 0) {
            (void)snprintf(config->pending_reason, sizeof(config->pending_reason), "%s",
                           groups[i].reason);
            state_bump(state);
        }
    }
    log_debug("scheduling round placed=%" PRIu64 " waiting=%zu nodes=%zu", round.n_placed,
              place->n_pending, n_nodes);
}

/* ---- What waits ---- */

void place_want(struct place *place)
{
    if (place->n_pending > 0) {
        place->wanted = true;
        state_want_turn(place->state);
    }
}

void place_add(struct place *place, struct state_task *task)
{
    DL_APPEND2(place->pending, task, wait_prev, wait_next);
    place->n_pending++;
    place_want(place);
}

void place_remove(struct place *place, struct state_task *task)
{
    DL_DELETE2(place->pending, task, wait_prev, wait_next);
    place->n_pending--;
}

size_t place_waiting(const struct place *place)
{
    return place->n_pending;
}

struct place *place_new(struct state *state, place_fn placed, void *data)
{
    struct place *place = mem_alloc(sizeof(*place));

    place->state = state;
    place->placed = placed;
    place->data = data;
    state_on_turn(state, place_all, place);
    return place;
}

void place_stop(struct place *place)
{
    state_on_turn(place->state, NULL, NULL);
}

void place_free(struct place *place)
{
    free(place);
}
