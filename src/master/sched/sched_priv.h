/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "master/sched/attrs.h"
#include "master/sched/candidates.h"
#include "master/sched/sched.h"
#include "master/sched/tally.h"

enum { SCHED_REASON_SIZE = 160 };

struct sched_node {
    struct sched *sched;
    uint32_t id; /* From 1; nodes[id - 1]. */
    void *data;
    bool up;
    bool gained;  /* There may be room for what did not fit at the last round. */
    bool changed; /* Was gained when the present round began. */
    enum sched_mode mode;
    struct sched_amounts left; /* Without what slots hold. */
    struct sched_amounts held;
    struct attr_set attrs;
};

struct sched_job {
    struct sched *sched;
    struct tally by_node; /* Keys: ids of nodes. */
    struct tally by_pair; /* Of attributes. */
    unsigned n_groups;
    bool shrunk; /* Counted anew since the last round: limits may have room. */
    bool grown;  /* In this round, with other groups that may wait: limits may be reached. */
    struct sched_job *prev, *next;
};

struct sched_slot {
    struct sched_node *node;
    struct sched_slot *next;
};

struct sched_group {
    struct sched_job *job;
    void *data;
    struct sched_amounts demand;
    struct attr_rules rules;
    char *role;
    enum job_tier tier;
    int priority;
    uint64_t served; /* Stamp of its last turn, or of its arrival. */
    size_t n_waiting;
    bool stuck; /* Nothing had room for it at the last look: in sched.stuck. */
    struct candidates candidates;
    struct sched_slot *slots;
    size_t n_slots;
    struct wave *wave;
    bool told;                        /* In sched.told. */
    const struct sched_node *nearest; /* Whose reason it has; NULL: no node is up. */
    double nearest_score;
    char reason[SCHED_REASON_SIZE];
    struct sched_group *prev, *next;
    struct sched_group *told_prev, *told_next;
};

struct sched {
    struct attrs *attrs;
    struct sched_node **nodes;
    uint32_t n_nodes;
    struct sched_job *jobs;
    struct sched_group *live;  /* Those that a round looks at in any case, */
    struct sched_group *stuck; /* and those that need a reason for it. */
    struct sched_group *told;  /* Whose reason became another. */
    uint64_t stamp;
    bool worse;                 /* A node went, or is of another mode: reasons may be others. */
    bool shrunk, grown;         /* Some job has. */
    struct heap_entry *scratch; /* n_nodes of them, for candidates.c. */
};

/* ---- round.c ---- */

void round_slot_release(struct sched_group *group, struct sched_slot *slot);

/* ---- veto.c ---- */

/* What is left of node for this group, its own slot there counted. */
bool veto_none(const struct sched_group *group, const struct sched_node *node);
/* Fills group->reason, from all nodes. */
void veto_explain(struct sched_group *group);
/* The same from the reason that it has, when only this node changed and is not its nearest. */
void veto_explain_by(struct sched_group *group, const struct sched_node *node);
/* Less is fuller, on a scale common to all kinds. */
double veto_left_over(const struct sched_amounts *left, const struct sched_amounts *demand);
bool veto_fits(const struct sched_amounts *left, const struct sched_amounts *demand);
/* What sched_node_attributes and job rules say, without amounts: dedicated, maintenance, rules. */
bool veto_allows(const struct sched_group *group, const struct sched_node *node);
