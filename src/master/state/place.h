/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "master/state/state.h"

#include <stddef.h>

/* PENDING tasks, and the rounds that give them nodes: the shell around sched/. */
struct place;

/* The task has its node, its ports and the node's resources: move it on.  From within a round. */
typedef void (*place_fn)(struct state_task *task, void *data);

/* Rounds run at the start of a turn's writing, so that a job and its places are one write.
 * state outlives place. */
struct place *place_new(struct state *state, place_fn placed, void *data);
/* No more rounds; before its state closes. */
void place_stop(struct place *place);
void place_free(struct place *place);

/* A task is PENDING now, or no longer.  Uses its wait_prev and wait_next meanwhile. */
void place_add(struct place *place, struct state_task *task);
void place_remove(struct place *place, struct state_task *task);
size_t place_waiting(const struct place *place);

/* There may be room now: have a round, if anything waits. */
void place_want(struct place *place);
