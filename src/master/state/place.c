/* SPDX-License-Identifier: Apache-2.0 */
/* place: the shell around the scheduler.
 *
 * Not the choice of a node (sched/), not what becomes of a task that has one (steer.c).
 *
 * Happy path: place_add() puts a PENDING task into its configuration's group; at the end of the
 * turn place_all() tells the scheduler what each node has left and how many wait, runs one
 * round and hands each task that got a node to its owner.
 * Failures: a task that cannot be placed stays, and its configuration tells the reason,
 * until place_want() says that there may be room.
 * Invariants: a task is in a group from place_add() to place_remove(), no longer; a group and
 * its job are known to the scheduler while tasks of it wait.  Groups that a round empties go
 * after it.
 */
#include "master/state/place.h"

#include "base/log.h"
#include "master/state/place_priv.h"

#include <string.h>
#include <utlist.h>

/* ---- What the scheduler is told ---- */

static enum sched_mode mode_of(const struct state_node *node)
{
    static const struct {
        const char *name;
        enum sched_mode mode;
    } modes[] = {
        { STATE_NODE_ACTIVE, SCHED_ACTIVE },
        { STATE_NODE_CORDONED, SCHED_CORDONED },
        { STATE_NODE_DRAINING, SCHED_DRAINING },
        { STATE_NODE_DRAINED, SCHED_DRAINED },
    };

    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        if (strcmp(node->mode, modes[i].name) == 0) {
            return modes[i].mode;
        }
    }
    return SCHED_CORDONED; /* Of a later version: at least nothing new goes there. */
}

/* True when attributes became others: then every job is to be counted anew. */
static bool tell_node(struct place *place, struct state_node *node)
{
    struct place_node *mine = node->place;
    size_t ports = (size_t)((int64_t)node->port_hi - node->port_lo + 1);
    struct sched_amounts left =
        sched_amounts(node->cpu - node->used_cpu, node->ram_bytes - node->used_ram_bytes,
                      node->disk_bytes - node->used_disk_bytes, ports - node->n_used_ports);
    bool changed = false;

    if (mine == NULL) {
        mine = mem_alloc(sizeof(*mine));
        mine->sched = sched_node_add(place->sched, node);
        LL_PREPEND(place->nodes, mine);
        node->place = mine;
        changed = true;
    }
    if (changed || mine->attributes_version != node->attributes_version) {
        mine->attributes_version = node->attributes_version;
        sched_node_attributes(mine->sched, node->attributes);
        changed = true;
    }
    sched_node_set(mine->sched, node->alive, mode_of(node), &left);
    return changed;
}

static void count_job(struct place_job *mine)
{
    const struct state_task *task;

    sched_job_clear(mine->sched);
    DL_FOREACH2(mine->job->tasks, task, job_next)
    {
        if (task->node != NULL) {
            sched_job_count(mine->sched, ((struct place_node *)task->node->place)->sched);
        }
    }
    mine->moves = mine->job->moves;
}

static void tell(struct place *place)
{
    struct state_node *node;
    struct place_group *group;
    bool recount = false;

    for (node = state_nodes(place->state); node != NULL; node = node->hh.next) {
        recount |= tell_node(place, node);
    }
    DL_FOREACH(place->groups, group)
    {
        sched_group_wait(group->sched, group->n_pending);
        if (recount || group->job->moves != group->job->job->moves) {
            count_job(group->job);
        }
    }
}

/* ---- Groups ---- */

static struct place_job *job_for(struct place *place, struct state_job *job)
{
    struct place_job *mine = job->place;

    if (mine == NULL) {
        mine = mem_alloc(sizeof(*mine));
        mine->job = job;
        mine->sched = sched_job_add(place->sched);
        mine->moves = UINT64_MAX; /* Not counted yet. */
        job->place = mine;
    }
    mine->n_groups++;
    return mine;
}

static struct place_group *group_for(struct place *place, struct state_task *task)
{
    const struct job *job = task->config->job;
    struct sched_ask ask = {
        .demand = sched_amounts(job->cpu, job->ram_bytes, job->disk_bytes, job->n_ports),
        .constraints = job->constraints,
        .n_constraints = job->n_constraints,
        .role = job->key.role,
        .tier = job->tier,
        .priority = job->priority,
    };
    struct place_group *group = task->config->place;

    if (group == NULL) {
        group = mem_alloc(sizeof(*group));
        group->config = task->config;
        group->job = job_for(place, task->job);
        group->sched = sched_group_add(group->job->sched, &ask, group);
        DL_APPEND(place->groups, group);
        task->config->place = group;
    }
    return group;
}

static void group_free(struct place *place, struct place_group *group)
{
    struct place_job *job = group->job;

    DL_DELETE(place->groups, group);
    sched_group_remove(group->sched);
    free(group);
    if (--job->n_groups == 0) {
        sched_job_remove(job->sched);
        free(job);
    }
}

/* While its configuration and job are there. */
static void group_end(struct place *place, struct place_group *group)
{
    struct state_job *job = group->job->job;
    bool last = group->job->n_groups == 1;

    group->config->place = NULL;
    group->config->pending_reason[0] = '\0';
    group_free(place, group);
    if (last) {
        job->place = NULL;
    }
}

/* ---- Rounds ---- */

static void on_placed(struct sched_group *sched_group, struct sched_node *sched_node, void *data)
{
    struct place *place = data;
    struct place_group *group = sched_group_data(sched_group);
    struct state_node *node = sched_node_data(sched_node);
    const struct job *job = group->config->job;
    struct state_task *task = group->pending;

    for (size_t i = 0; i < job->n_ports; i++) {
        task_add_port(&task->t, job->ports[i], state_node_free_port(node));
    }
    state_task_place(place->state, task, node);
    group->job->moves = group->job->job->moves; /* The scheduler has counted it. */
    place->options.placed(task, place->options.data);
}

void place_group_reason(struct place *place, struct place_group *group)
{
    const char *reason =
        sched_slots(group->sched) > 0 ? PLACE_PREEMPTING : sched_group_reason(group->sched);

    if (strcmp(group->config->pending_reason, reason) != 0) {
        (void)snprintf(group->config->pending_reason, sizeof(group->config->pending_reason), "%s",
                       reason);
        state_bump(place->state);
    }
}

static void tell_reasons(struct place *place)
{
    struct place_group *group;
    struct sched_group *told;

    while ((told = sched_next_explained(place->sched)) != NULL) {
        place_group_reason(place, sched_group_data(told));
    }
    DL_FOREACH(place->groups, group)
    {
        if (group->slot_ms != 0) {
            place_group_reason(place, group);
        }
    }
}

static void end_empty_groups(struct place *place)
{
    struct place_group *group;
    struct place_group *next;

    DL_FOREACH_SAFE(place->groups, group, next)
    {
        if (group->n_pending == 0) {
            bool kept_room = sched_slots(group->sched) > 0;

            group_end(place, group);
            if (kept_room) {
                place_want(place);
            }
        }
    }
}

static void place_all(struct state *state, void *data)
{
    struct place *place = data;
    struct sched_result result;

    (void)state;
    if (!place->wanted || place->n_pending == 0) {
        return;
    }
    place->wanted = false;
    place_preempt_expire(place);
    tell(place);
    place->in_round = true;
    result = sched_round(place->sched, on_placed, place);
    place->in_round = false;
    tell_reasons(place);
    end_empty_groups(place);
    if (place->search) {
        place->search = false;
        place_preempt_search(place);
    }
    log_debug("scheduling round placed=%zu waiting=%zu groups=%zu", result.n_placed,
              place->n_pending, result.n_looked);
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
    struct place_group *group = group_for(place, task);

    DL_APPEND2(group->pending, task, wait_prev, wait_next);
    group->n_pending++;
    place->n_pending++;
    place_want(place);
}

void place_remove(struct place *place, struct state_task *task)
{
    struct place_group *group = task->config->place;

    DL_DELETE2(group->pending, task, wait_prev, wait_next);
    group->n_pending--;
    place->n_pending--;
    if (group->n_pending == 0 && !place->in_round) {
        group_end(place, group);
        place_want(place); /* It may have kept a slot. */
    }
}

size_t place_waiting(const struct place *place)
{
    return place->n_pending;
}

/* ---- Life ---- */

static void on_timer(uv_timer_t *timer)
{
    struct place *place = timer->data;

    place->search = true;
    place_want(place);
}

void place_preempt(struct place *place, uint64_t delay_ms, uint64_t every_ms)
{
    place->options.preempt_delay_ms = delay_ms;
    place->options.preempt_every_ms = every_ms;
    uv_timer_start(&place->timer, on_timer, every_ms, every_ms);
}

struct place *place_new(const struct place_options *options)
{
    struct place *place = mem_alloc(sizeof(*place));

    place->state = options->state;
    place->options = *options;
    place->sched = sched_new();
    uv_timer_init(state_loop(options->state), &place->timer);
    place->timer.data = place;
    place_preempt(place, options->preempt_delay_ms, options->preempt_every_ms);
    state_on_turn(options->state, place_all, place);
    return place;
}

static void on_closed(uv_handle_t *handle)
{
    struct place *place = handle->data;

    place->stop_cb(place->stop_data);
}

void place_stop(struct place *place, place_cb cb, void *data)
{
    state_on_turn(place->state, NULL, NULL);
    place->stop_cb = cb;
    place->stop_data = data;
    uv_close((uv_handle_t *)&place->timer, on_closed);
}

void place_free(struct place *place)
{
    struct place_node *node;
    struct place_node *next;

    if (place == NULL) {
        return;
    }
    /* The state may be gone already. */
    while (place->groups != NULL) {
        group_free(place, place->groups);
    }
    LL_FOREACH_SAFE(place->nodes, node, next)
    {
        free(node);
    }
    sched_free(place->sched);
    free(place);
}
