/* SPDX-License-Identifier: Apache-2.0 */
/* sched: what is known of nodes, jobs and groups.
 *
 * Not how a round goes (round.c), not why a node is refused (veto.c), not the order of nodes
 * (candidates.c): the objects, and what each change means for the next round.
 *
 * Invariant: a group that is `stuck` fits on no node that is not `gained` since, as long as its
 * job has not `shrunk`.  So a round that finds neither has nothing to do for it.
 */
#include "master/sched/sched.h"

#include "master/sched/sched_priv.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

struct sched *sched_new(void)
{
    struct sched *sched = mem_alloc(sizeof(*sched));

    sched->attrs = attrs_new();
    return sched;
}

void sched_free(struct sched *sched)
{
    struct sched_group *group, *next_group;
    struct sched_job *job, *next_job;

    if (sched == NULL) {
        return;
    }
    DL_FOREACH_SAFE(sched->live, group, next_group)
    {
        sched_group_remove(group);
    }
    DL_FOREACH_SAFE(sched->stuck, group, next_group)
    {
        sched_group_remove(group);
    }
    DL_FOREACH_SAFE(sched->jobs, job, next_job)
    {
        sched_job_remove(job);
    }
    for (uint32_t i = 0; i < sched->n_nodes; i++) {
        attr_set_fini(&sched->nodes[i]->attrs);
        free(sched->nodes[i]);
    }
    free(sched->nodes);
    free(sched->scratch);
    attrs_free(sched->attrs);
    free(sched);
}

/* ---- Nodes ---- */

struct sched_node *sched_node_add(struct sched *sched, void *data)
{
    struct sched_node *node = mem_alloc(sizeof(*node));
    size_t n = sched->n_nodes;

    if ((n & (n - 1)) == 0) { /* Full: it holds powers of two. */
        sched->nodes = mem_realloc(sched->nodes, (2 * n + 1) * sizeof(struct sched_node *));
        sched->scratch = mem_realloc(sched->scratch, (2 * n + 1) * sizeof(sched->scratch[0]));
    }
    node->sched = sched;
    node->data = data;
    sched->nodes[sched->n_nodes++] = node;
    node->id = sched->n_nodes;
    return node;
}

void *sched_node_data(const struct sched_node *node)
{
    return node->data;
}

void sched_node_set(struct sched_node *node, bool up, enum sched_mode mode,
                    const struct sched_amounts *left)
{
    if (node->up != up || node->mode != mode) {
        node->gained = true;
        node->sched->worse = true;
    }
    node->up = up;
    node->mode = mode;
    for (int i = 0; i < SCHED_N_KINDS; i++) {
        int64_t now = left->of[i] - node->held.of[i];

        node->gained |= now > node->left.of[i];
        node->left.of[i] = now;
    }
}

void sched_node_attributes(struct sched_node *node, const json_t *attributes)
{
    attrs_read(node->sched->attrs, attributes, &node->attrs);
    node->gained = true;
    node->sched->worse = true;
}

/* ---- Jobs ---- */

struct sched_job *sched_job_add(struct sched *sched)
{
    struct sched_job *job = mem_alloc(sizeof(*job));

    job->sched = sched;
    DL_APPEND(sched->jobs, job);
    return job;
}

void sched_job_remove(struct sched_job *job)
{
    DL_DELETE(job->sched->jobs, job);
    tally_fini(&job->by_node);
    tally_fini(&job->by_pair);
    free(job);
}

void sched_job_clear(struct sched_job *job)
{
    tally_clear(&job->by_node);
    tally_clear(&job->by_pair);
    job->shrunk = true;
    job->sched->shrunk = true;
}

void sched_job_count(struct sched_job *job, const struct sched_node *node)
{
    (void)tally_add(&job->by_node, node->id, 1);
    for (size_t i = 0; i < node->attrs.n; i++) {
        (void)tally_add(&job->by_pair, node->attrs.of[i].pair, 1);
    }
}

/* ---- Groups ---- */

struct sched_group *sched_group_add(struct sched_job *job, const struct sched_ask *ask, void *data)
{
    struct sched_group *group = mem_alloc(sizeof(*group));

    group->job = job;
    group->data = data;
    group->demand = ask->demand;
    group->role = mem_strdup(ask->role);
    group->tier = ask->tier;
    group->priority = ask->priority;
    group->served = ++job->sched->stamp; /* Behind all that came before. */
    attrs_compile(job->sched->attrs, ask->constraints, ask->n_constraints, &group->rules);
    DL_APPEND(job->sched->live, group);
    job->n_groups++;
    return group;
}

void sched_group_remove(struct sched_group *group)
{
    struct sched *sched = group->job->sched;

    sched_slots_drop(group);
    if (group->told) {
        DL_DELETE2(sched->told, group, told_prev, told_next);
    }
    if (group->stuck) {
        DL_DELETE(sched->stuck, group);
    } else {
        DL_DELETE(sched->live, group);
    }
    group->job->n_groups--;
    candidates_fini(&group->candidates);
    attr_rules_fini(&group->rules);
    free(group->role);
    free(group);
}

void *sched_group_data(const struct sched_group *group)
{
    return group->data;
}

void sched_group_wait(struct sched_group *group, size_t n)
{
    group->n_waiting = n;
}

const char *sched_group_reason(const struct sched_group *group)
{
    return group->reason;
}

struct sched_group *sched_next_explained(struct sched *sched)
{
    struct sched_group *group = sched->told;

    if (group != NULL) {
        DL_DELETE2(sched->told, group, told_prev, told_next);
        group->told = false;
    }
    return group;
}

/* ---- Slots ---- */

void sched_slot_hold(struct sched_group *group, struct sched_node *node)
{
    struct sched_slot *slot = mem_alloc(sizeof(*slot));

    slot->node = node;
    LL_PREPEND(group->slots, slot);
    group->n_slots++;
    for (int i = 0; i < SCHED_N_KINDS; i++) {
        node->held.of[i] += group->demand.of[i];
        node->left.of[i] -= group->demand.of[i];
    }
}

size_t sched_slots(const struct sched_group *group)
{
    return group->n_slots;
}

void sched_slots_drop(struct sched_group *group)
{
    while (group->slots != NULL) {
        round_slot_release(group, group->slots);
    }
}
