/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"
#include "master/state/state.h"
#include "master/state/task_state.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What happens to tasks: carries out what task_state.c and sched.c decide. */
struct steer;

/* Begins with what was loaded: unfinished creations go on, PENDING tasks are placed, time limits
 * run.  state outlives steer.  Ended tasks are forgotten history_ms after their end. */
struct steer *steer_new(struct state *state, uint64_t history_ms);

/* How long a task is PENDING before others may have to make room, and how often that is looked at;
 * three minutes and one before the call. */
void steer_set_preempt(struct steer *steer, uint64_t delay_ms, uint64_t every_ms);

typedef void (*steer_cb)(void *data);
void steer_close(struct steer *steer, steer_cb cb, void *data);

/* Asked when a task is about to end as `status`, while it still has its state of before: the
 * configuration of its next run, should there be one; NULL: as before.  Adds and ends no task. */
typedef struct state_config *(*steer_ended_fn)(struct state_task *task, enum task_status status,
                                               const char *reason, void *data);
/* One; NULL ends it. */
void steer_on_ended(struct steer *steer, steer_ended_fn fn, void *data);

/* May this job be created?  "Job role/env/name already exists". */
int steer_check_create(const struct steer *steer, const struct job *job, struct err *err);

/* Makes the job and all its tasks, to be placed at the end of the turn.  Takes config. */
struct state_job *steer_create_take(struct steer *steer, struct job *config, const char *user,
                                    const char *op_id);

/* All its tasks are durable: it is no longer half made. */
void steer_created(struct steer *steer, struct state_job *job);

/* Ends one task; one that was never placed is gone at once, with the task itself. */
void steer_kill(struct steer *steer, struct state_task *task, const char *user, const char *message,
                const char *op_id);

/* The same, and the instance runs again.  Nothing happens to one that has no node yet. */
void steer_restart(struct steer *steer, struct state_task *task, const char *user,
                   const char *message, const char *op_id);

/* ... elsewhere, if its node takes no more: "Draining machine for maintenance." */
void steer_drain(struct steer *steer, struct state_task *task);

/* ... because another needs the room; why is the event's message. */
void steer_preempt(struct steer *steer, struct state_task *task, const char *why);

/* A new run of an instance, PENDING, of one of the job's configurations.  The caller has seen that
 * the instance has no active run. */
struct state_task *steer_add_instance(struct steer *steer, struct state_job *job,
                                      struct state_config *config, int instance, const char *op_id);

/* Does no update hold it?  "Job is currently updating" (ERR_CONFLICT).  job may be NULL. */
int steer_check_unlocked(const struct state_job *job, struct err *err);

/* An agent says so of its pod. */
void steer_pod(struct steer *steer, struct state_task *task, enum pod_state pod,
               const char *reason);

/* A node came, or what it offers, its mode or its attributes changed. */
void steer_node_changed(struct steer *steer, struct state_node *node);

/* A node is away for longer than the grace; its `lost` is set.  Its tasks are PARTITIONED, and LOST
 * after the delay of their jobs' partition policies. */
void steer_partition(struct steer *steer, struct state_node *node);
