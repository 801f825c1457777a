/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/mem.h"
#include "model/constraint.h"
#include "model/job.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where tasks go: pure and deterministic, the same calls give the same places.
 *
 * It is told of nodes and of what waits, remembers what cannot be placed, and in a round looks
 * again only at what a change since then may have made possible. */
struct sched;

struct sched *sched_new(void);
/* With all its nodes, jobs and groups. */
void sched_free(struct sched *sched);
DEFINE_FREEP(struct sched, sched_free)

enum sched_kind { SCHED_CPU, SCHED_RAM, SCHED_DISK, SCHED_PORTS, SCHED_N_KINDS };

/* CPU in millionths of a core, so that ten times 0.1 is 1; RAM and disk in bytes. */
struct sched_amounts {
    int64_t of[SCHED_N_KINDS];
};

struct sched_amounts sched_amounts(double cpu, int64_t ram_bytes, int64_t disk_bytes, size_t ports);

/* ---- Nodes ---- */

enum sched_mode {
    SCHED_ACTIVE,
    SCHED_CORDONED, /* Takes nothing new. */
    SCHED_DRAINING,
    SCHED_DRAINED,
};

struct sched_node;
struct sched_node *sched_node_add(struct sched *sched, void *data);
void *sched_node_data(const struct sched_node *node);

/* What it has left, the tasks that sched_round() sent there counted already.  A node that is not
 * up takes nothing and explains nothing. */
void sched_node_set(struct sched_node *node, bool up, enum sched_mode mode,
                    const struct sched_amounts *left);
/* {name: text}; a text with commas is several values.  All jobs are counted again after this:
 * sched_job_clear(). */
void sched_node_attributes(struct sched_node *node, const json_t *attributes);

/* ---- Jobs: where the tasks of one are, whatever their configuration ---- */

struct sched_job;
struct sched_job *sched_job_add(struct sched *sched);
void sched_job_remove(struct sched_job *job); /* After its groups. */
/* To be counted anew, each task that is on a node once.  A round counts what it places. */
void sched_job_clear(struct sched_job *job);
void sched_job_count(struct sched_job *job, const struct sched_node *node);

/* ---- Groups: tasks that want the same, instances of one job configuration ---- */

struct sched_ask {
    struct sched_amounts demand;
    const struct constraint *constraints; /* Read at once, not kept. */
    size_t n_constraints;
    const char *role;
    enum job_tier tier;
    int priority;
};

struct sched_group;
struct sched_group *sched_group_add(struct sched_job *job, const struct sched_ask *ask, void *data);
void sched_group_remove(struct sched_group *group);
void *sched_group_data(const struct sched_group *group);
/* So many of its tasks wait now; a round takes away those that it places. */
void sched_group_wait(struct sched_group *group, size_t n);
/* "" or why the last round could not place one: of the node that came nearest. */
const char *sched_group_reason(const struct sched_group *group);

/* ---- Rounds ---- */

/* A task of the group, the one that waits longest, goes to node.  Calls nothing of sched. */
typedef void (*sched_place_fn)(struct sched_group *group, struct sched_node *node, void *data);

struct sched_result {
    size_t n_placed;
    size_t n_looked; /* Groups that were looked at; the others could not have changed. */
};

enum { SCHED_TURN = 5 }; /* Tasks of a group in a row. */

/* Places all that fits.
 * Which group: of better tiers first; within a tier groups take turns, SCHED_TURN tasks each, the
 * one first that was not served for longest; of one role those of a higher priority first.
 * Which node: the one with the fewest tasks of the job; of those the fullest, so that room for
 * large tasks is left; of equals the first. */
struct sched_result sched_round(struct sched *sched, sched_place_fn place, void *data);

/* Groups whose reason may be another one since the last call; NULL ends it. */
struct sched_group *sched_next_explained(struct sched *sched);

/* ---- Slots: room on a node that is kept for a group ---- */

/* For one task of the group, until one is placed there or sched_slots_drop(). */
void sched_slot_hold(struct sched_group *group, struct sched_node *node);
size_t sched_slots(const struct sched_group *group);
void sched_slots_drop(struct sched_group *group);

#define SCHED_NO_NODE "No host is available"
