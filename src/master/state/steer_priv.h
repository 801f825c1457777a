/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "master/state/place.h"
#include "master/state/steer.h"

/* Between steer.c (a task's step, time limits, life), steer_jobs.c and steer_nodes.c. */

struct steer {
    struct state *state;
    struct place *place;
    struct state_task *timed; /* By wait_next. */
    uint64_t next_due_ms;     /* clock_now_ms(); 0: the timer does not run. */
    uv_timer_t timer;
    uint64_t history_ms;
    uv_timer_t history_timer;
    steer_ended_fn on_ended;
    void *ended_data;
    unsigned open_handles;
    steer_cb close_cb;
    void *close_data;
};

/* Carries out what task_state.c says follows: the only way by which a task changes.  stop_op_id:
 * who asked, for the pod's manifest; may be NULL.  The task may be gone afterwards. */
void steer_apply(struct steer *steer, struct state_task *task, const struct task_stimulus *stimulus,
                 const char *stop_op_id);

/* A new run, INIT. */
struct state_task *steer_add_run(struct steer *steer, struct state_job *job,
                                 struct state_config *config, int instance, const char *op_id);

/* The instances of a job that is being created and that it does not have yet. */
void steer_add_missing(struct steer *steer, struct state_job *job);

/* Forgets what a job remembers too much of. */
void steer_prune(struct steer *steer, struct state_job *job);

/* Its node is gone for longer than the grace. */
void steer_task_partitioned(struct steer *steer, struct state_task *task);

/* When, by wall clock, a PARTITIONED task is given up; 0: never, or its node may be there. */
uint64_t steer_partition_due_ms(const struct state_task *task);

/* The time limit of its state became another: look again. */
void steer_limit_changed(struct steer *steer, struct state_task *task);
