/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "master/sched/sched.h"
#include "master/state/place.h"

/* Between place.c (rounds) and place_preempt.c (who makes room). */

struct place_node {
    struct sched_node *sched;
    unsigned attributes_version;
    struct place_node *next;
};

struct place_job {
    struct state_job *job;
    struct sched_job *sched;
    uint64_t moves; /* Of job, counted so far. */
    size_t n_groups;
};

struct place_group {
    struct state_config *config;
    struct place_job *job;
    struct sched_group *sched;
    struct state_task *pending; /* By wait_next, in the order of arrival. */
    size_t n_pending;
    uint64_t slot_ms; /* Wall clock: when it last was given a slot; 0: never. */
    struct place_group *prev, *next;
};

struct place {
    struct state *state;
    struct place_options options;
    struct sched *sched;
    struct place_node *nodes;
    struct place_group *groups;
    size_t n_pending;
    bool wanted;   /* A round is worth while. */
    bool in_round; /* The scheduler's groups must stay. */
    bool search;   /* After the next round, look for victims. */
    uv_timer_t timer;
    place_cb stop_cb;
    void *stop_data;
};

/* Searches for victims for all that wait for too long, after a round: nothing fits then. */
void place_preempt_search(struct place *place);

/* Lets go of slots that were held for too long. */
void place_preempt_expire(struct place *place);

/* What its configuration is to say. */
void place_group_reason(struct place *place, struct place_group *group);
