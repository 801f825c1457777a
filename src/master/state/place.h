/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "master/state/state.h"

#include <stddef.h>
#include <stdint.h>

/* PENDING tasks, and the rounds that give them nodes: the shell around sched/. */
struct place;

/* The task has its node, its ports and the node's resources: move it on.  From within a round. */
typedef void (*place_fn)(struct state_task *task, void *data);
/* The task must make room: end it, to run again elsewhere.  why is the event's message. */
typedef void (*place_preempt_fn)(struct state_task *task, const char *why, void *data);

struct place_options {
    struct state *state;
    place_fn placed;
    place_preempt_fn preempt;
    void *data;
    uint64_t preempt_delay_ms; /* PENDING for so long, a task may preempt others. */
    uint64_t preempt_every_ms; /* One search for victims. */
};

enum { PLACE_PREEMPT_DELAY_MS = 180 * 1000, PLACE_PREEMPT_EVERY_MS = 60 * 1000 };

/* Rounds run at the start of a turn's writing, so that a job and its places are one write.
 * The state outlives place. */
struct place *place_new(const struct place_options *options);
/* Other times for preemption, from now on. */
void place_preempt(struct place *place, uint64_t delay_ms, uint64_t every_ms);

/* No more rounds, before its state closes; cb once, from the loop.  place_free() after it. */
typedef void (*place_cb)(void *data);
void place_stop(struct place *place, place_cb cb, void *data);
void place_free(struct place *place);

/* A task is PENDING now, or no longer.  Uses its wait_prev and wait_next meanwhile. */
void place_add(struct place *place, struct state_task *task);
void place_remove(struct place *place, struct state_task *task);
size_t place_waiting(const struct place *place);

/* There may be room now: have a round, if anything waits. */
void place_want(struct place *place);

/* The reason of tasks for which victims were found. */
#define PLACE_PREEMPTING "Waiting for preempted tasks to end"
