/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "simmodel.h"

/* Between simmodel.c (instances) and simupdates.c. */

enum { MAX_INSTANCES = 64 };

enum want { WANT_NO, WANT_YES, WANT_MAYBE };

struct instance {
    enum want want;
    char config[17]; /* "": any. */
    bool service;
};

struct entry {
    char *job;
    struct instance instances[MAX_INSTANCES];
    struct followed *update; /* The active one. */
    UT_hash_handle hh;
};

struct simmodel {
    struct simtree *tree;
    const struct simcheck *check;
    const struct simops *ops;
    bool quiet;
    struct entry *entries;
    struct launch *launches; /* Of cron jobs. */
    uint64_t n_launches;
    uint64_t forward, back, aborted, failed;
};

struct entry *simmodel_find(const struct simmodel *model, const char *job);
struct entry *simmodel_need(struct simmodel *model, const char *job);

/* Follows /davit/updates. */
void simupdates_begin(struct simmodel *model);
void simupdates_end(struct simmodel *model);

/* Was the entry's update there before this time? */
bool simupdates_older(const struct entry *entry, uint64_t at_ms);

/* Follows the launches of cron jobs, whose names begin with c. */
void simcrons_begin(struct simmodel *model);
void simcrons_end(struct simmodel *model);
bool simcrons_is(const char *job);
