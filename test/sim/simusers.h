/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "simcheck.h"
#include "simmodel.h"
#include "simops.h"

#include <stddef.h>

/* What people ask of a cluster: jobs, updates and the like, at random. */
struct simusers {
    struct simops *ops;
    struct simmodel *model;
    const struct simcheck *check;
    size_t n_jobs, n_nodes;
    unsigned tasks_die; /* Of 1000 jobs have tasks that end by themselves. */
    unsigned choosy;    /* Of 1000 jobs have constraints, tiers, policies. */
    unsigned updating;  /* Of 1000 requests are about updates. */
    unsigned moving;    /* ... about nodes: drain, cordon, undrain. */
    unsigned handling;  /* ... restart or add instances. */
    unsigned timing;    /* ... are about cron jobs. */
};

/* One request. */
void simusers_ask(const struct simusers *users);

/* The first requests of all: quotas. */
void simusers_begin(const struct simusers *users);
/* No cron job is to fire any more: true once it is so. */
bool simusers_end_crons(const struct simusers *users, struct simtree *tree);

/* After the troubled times: whoever left something unfinished comes back to it. */
void simusers_tend(const struct simusers *users, bool give_up);
