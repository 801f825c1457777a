/* SPDX-License-Identifier: Apache-2.0 */
/* round: one round of the scheduler.
 *
 * Happy path: open_groups() finds the groups for which something may have changed; for each tier
 * serve_tier() lets them take turns in a ring until none is left in it; those that are left with
 * tasks are stuck and get a reason.
 *
 * A wave is the open groups of one role and one priority.  Only the first wave of each role is
 * in the ring; when all of it is served or stuck, the role's next one enters.  So a higher
 * priority goes first within its role, and one role cannot hold up another.
 *
 * Cost: a look at all nodes for each open group, then the logarithm of its tasks for each task.
 * A group that stays stuck costs a look at each node that gained room, and nothing when none did.
 */
#include "master/sched/sched_priv.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

struct wave {
    struct sched_group **groups; /* Part of ring.sorted. */
    size_t n;
    size_t n_open;
};

struct ring {
    struct sched_group **sorted; /* Open groups: tier, role, priority, last served. */
    size_t n_sorted;
    struct wave *waves; /* One after the other in sorted. */
    size_t n_waves;
    struct sched_node **gained;
    size_t n_gained;
    struct sched_group **turn; /* Those that take turns now. */
    size_t n_turn;
    sched_place_fn place;
    void *data;
    size_t n_placed;
};

/* ---- Slots ---- */

void round_slot_release(struct sched_group *group, struct sched_slot *slot)
{
    for (int i = 0; i < SCHED_N_KINDS; i++) {
        slot->node->held.of[i] -= group->demand.of[i];
        slot->node->left.of[i] += group->demand.of[i];
    }
    slot->node->gained = true;
    LL_DELETE(group->slots, slot);
    group->n_slots--;
    free(slot);
}

/* With what the slot holds. */
static bool slot_is_free(const struct sched_group *group, const struct sched_slot *slot)
{
    for (int i = 0; i < SCHED_N_KINDS; i++) {
        if (slot->node->left.of[i] < 0) {
            return false; /* Its node has not got the room yet that is held. */
        }
    }
    return veto_allows(group, slot->node);
}

static struct sched_slot *free_slot(const struct sched_group *group)
{
    struct sched_slot *slot;

    LL_FOREACH(group->slots, slot)
    {
        if (slot_is_free(group, slot)) {
            return slot;
        }
    }
    return NULL;
}

/* ---- Which groups to look at ---- */

static size_t gained_nodes(struct sched *sched, struct sched_node ***ret_gained)
{
    struct sched_node **gained = mem_alloc((sched->n_nodes + 1) * sizeof(struct sched_node *));
    size_t n = 0;

    for (uint32_t i = 0; i < sched->n_nodes; i++) {
        if (sched->nodes[i]->gained) {
            gained[n++] = sched->nodes[i];
            sched->nodes[i]->gained = false;
            sched->nodes[i]->changed = true;
        }
    }
    *ret_gained = gained;
    return n;
}

static bool may_be_placed(const struct sched_group *group, struct sched_node *const *gained,
                          size_t n_gained)
{
    if (group->job->shrunk && group->rules.n_limits > 0) {
        return true;
    }
    for (size_t i = 0; i < n_gained; i++) {
        if (veto_none(group, gained[i])) {
            return true;
        }
    }
    return free_slot(group) != NULL;
}

static int by_turn(const void *a, const void *b)
{
    const struct sched_group *one = *(struct sched_group *const *)a;
    const struct sched_group *other = *(struct sched_group *const *)b;
    int role;

    if (one->tier != other->tier) {
        return one->tier < other->tier ? -1 : 1;
    }
    role = strcmp(one->role, other->role);
    if (role != 0) {
        return role;
    }
    if (one->priority != other->priority) {
        return one->priority > other->priority ? -1 : 1;
    }
    return one->served < other->served ? -1 : 1;
}

static int by_served(const void *a, const void *b)
{
    const struct sched_group *one = *(struct sched_group *const *)a;
    const struct sched_group *other = *(struct sched_group *const *)b;

    return one->served < other->served ? -1 : 1;
}

static void revive(struct sched *sched, const struct ring *ring)
{
    struct sched_group *group;
    struct sched_group *next;
    struct sched_job *job;

    if (ring->n_gained > 0 || sched->shrunk) {
        DL_FOREACH_SAFE(sched->stuck, group, next)
        {
            if (may_be_placed(group, ring->gained, ring->n_gained)) {
                DL_DELETE(sched->stuck, group);
                DL_APPEND(sched->live, group);
                group->stuck = false;
            }
        }
    }
    if (sched->shrunk) {
        sched->shrunk = false;
        DL_FOREACH(sched->jobs, job)
        {
            job->shrunk = false;
        }
    }
}

static void open_groups(struct sched *sched, struct ring *ring)
{
    struct sched_group *group;
    size_t n = 0;

    ring->n_gained = gained_nodes(sched, &ring->gained);
    revive(sched, ring);
    DL_COUNT(sched->live, group, n);
    ring->sorted = mem_alloc((n + 1) * sizeof(struct sched_group *));
    DL_FOREACH(sched->live, group)
    {
        if (group->n_waiting > 0) {
            ring->sorted[ring->n_sorted++] = group;
        }
    }
}

/* ---- Turns ---- */

static bool same_wave(const struct sched_group *a, const struct sched_group *b)
{
    return a->tier == b->tier && a->priority == b->priority && strcmp(a->role, b->role) == 0;
}

static void make_waves(struct ring *ring)
{
    if (ring->n_sorted > 0) {
        qsort(ring->sorted, ring->n_sorted, sizeof(struct sched_group *), by_turn);
    }
    ring->waves = mem_alloc((ring->n_sorted + 1) * sizeof(ring->waves[0]));
    ring->turn = mem_alloc((ring->n_sorted + 1) * sizeof(struct sched_group *));
    for (size_t i = 0; i < ring->n_sorted; i++) {
        struct wave *wave;

        if (i == 0 || !same_wave(ring->sorted[i - 1], ring->sorted[i])) {
            ring->waves[ring->n_waves++].groups = &ring->sorted[i];
        }
        wave = &ring->waves[ring->n_waves - 1];
        wave->n = ++wave->n_open;
        ring->sorted[i]->wave = wave;
    }
}

/* The next wave is of the same tier and role, or there is none. */
static bool goes_on(const struct ring *ring, const struct wave *wave)
{
    const struct sched_group *group = wave->groups[0];
    const struct sched_group *next;

    if (wave + 1 == ring->waves + ring->n_waves) {
        return false;
    }
    next = wave[1].groups[0];
    return group->tier == next->tier && strcmp(group->role, next->role) == 0;
}

static void enter(struct ring *ring, const struct wave *wave)
{
    for (size_t i = 0; i < wave->n; i++) {
        ring->turn[ring->n_turn++] = wave->groups[i];
    }
}

static void take(struct sched_group *group, struct sched_node *node)
{
    for (int i = 0; i < SCHED_N_KINDS; i++) {
        node->left.of[i] -= group->demand.of[i];
    }
    sched_job_count(group->job, node);
    if (group->job->n_groups > 1) {
        group->job->grown = group->job->sched->grown = true;
    }
    group->n_waiting--;
}

/* False when no node takes it. */
static bool place_one(struct ring *ring, struct sched_group *group)
{
    struct sched_slot *slot = free_slot(group);
    struct sched_node *node = slot != NULL ? slot->node : candidates_best(group);

    if (node == NULL) {
        return false;
    }
    if (slot != NULL) {
        round_slot_release(group, slot);
        take(group, node);
    } else {
        take(group, node);
        candidates_used(group);
    }
    ring->n_placed++;
    ring->place(group, node, ring->data);
    return true;
}

/* Nothing has room for it now: until something changes it is not looked at. */
static void set_stuck(struct sched_group *group)
{
    struct sched *sched = group->job->sched;

    group->stuck = true;
    DL_DELETE(sched->live, group);
    DL_APPEND(sched->stuck, group);
}

/* One turn; false when the group has no more of them in this round. */
static bool serve(struct ring *ring, struct sched_group *group)
{
    int served = 0;

    while (served < SCHED_TURN && group->n_waiting > 0) {
        if (!place_one(ring, group)) {
            set_stuck(group);
            break;
        }
        served++;
    }
    if (served > 0) {
        group->served = ++group->job->sched->stamp;
    }
    return group->n_waiting > 0 && !group->stuck;
}

/* It takes no more turns; the last one of its wave lets the next wave in. */
static void leave(struct ring *ring, struct sched_group *group)
{
    struct wave *wave = group->wave;

    candidates_fini(&group->candidates);
    if (--wave->n_open == 0 && goes_on(ring, wave)) {
        enter(ring, wave + 1);
    }
}

/* Each in the ring once; those that enter meanwhile come at its end. */
static void serve_all_once(struct ring *ring)
{
    size_t n = ring->n_turn;
    size_t kept = 0;

    for (size_t i = 0; i < n; i++) {
        struct sched_group *group = ring->turn[i];

        if (serve(ring, group)) {
            ring->turn[kept++] = group;
        } else {
            leave(ring, group);
        }
    }
    memmove(&ring->turn[kept], &ring->turn[n], (ring->n_turn - n) * sizeof(struct sched_group *));
    ring->n_turn -= n - kept;
}

/* All of one tier; returns the first wave of the next. */
static size_t serve_tier(struct ring *ring, size_t first)
{
    enum job_tier tier = ring->waves[first].groups[0]->tier;
    size_t end = first;

    ring->n_turn = 0;
    for (; end < ring->n_waves && ring->waves[end].groups[0]->tier == tier; end++) {
        if (end == first || !goes_on(ring, &ring->waves[end - 1])) {
            enter(ring, &ring->waves[end]);
        }
    }
    qsort(ring->turn, ring->n_turn, sizeof(struct sched_group *), by_served);
    while (ring->n_turn > 0) {
        serve_all_once(ring);
    }
    return end;
}

/* ---- Reasons ---- */

static void tell_if_other(struct sched_group *group, const char *before)
{
    if (strcmp(before, group->reason) != 0 && !group->told) {
        group->told = true;
        DL_APPEND2(group->job->sched->told, group, told_prev, told_next);
    }
}

static void explain(struct sched_group *group)
{
    char before[SCHED_REASON_SIZE];

    memcpy(before, group->reason, sizeof(before));
    group->reason[0] = '\0';
    if (group->n_waiting > 0) {
        veto_explain(group);
    }
    tell_if_other(group, before);
}

/* A reason that another node's may be nearer than now. */
static void explain_again(struct sched_group *group, const struct ring *ring)
{
    char before[SCHED_REASON_SIZE];

    if (group->nearest == NULL || group->nearest->changed || group->n_waiting == 0 ||
        (group->job->grown && group->rules.n_limits > 0)) {
        explain(group);
        return;
    }
    memcpy(before, group->reason, sizeof(before));
    for (size_t i = 0; i < ring->n_gained; i++) {
        veto_explain_by(group, ring->gained[i]);
    }
    tell_if_other(group, before);
}

static void explain_all(struct sched *sched, const struct ring *ring)
{
    struct sched_group *group;
    struct sched_job *job;

    for (size_t i = 0; i < ring->n_sorted; i++) {
        explain(ring->sorted[i]);
    }
    if (sched->worse || sched->grown) {
        sched->worse = false;
        DL_FOREACH(sched->stuck, group)
        {
            explain_again(group, ring);
        }
    }
    for (size_t i = 0; i < ring->n_gained; i++) {
        ring->gained[i]->changed = false;
    }
    if (sched->grown) {
        sched->grown = false;
        DL_FOREACH(sched->jobs, job)
        {
            job->grown = false;
        }
    }
}

struct sched_result sched_round(struct sched *sched, sched_place_fn place, void *data)
{
    struct ring ring = { .place = place, .data = data };

    open_groups(sched, &ring);
    make_waves(&ring);
    for (size_t wave = 0; wave < ring.n_waves;) {
        wave = serve_tier(&ring, wave);
    }
    explain_all(sched, &ring);
    free(ring.sorted);
    free(ring.waves);
    free(ring.turn);
    free(ring.gained);
    return (struct sched_result){ ring.n_placed, ring.n_sorted };
}
