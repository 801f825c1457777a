/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "simcheck.h"
#include "simops.h"

#include <stdbool.h>

/* What the users have a right to: which instances are to run, and as what.  Follows the ends of
 * operations and of updates, never the master's own idea of it. */
struct simmodel;

/* quiet: no node and no task fails in this history. */
struct simmodel *simmodel_new(struct simtree *tree, const struct simcheck *check,
                              const struct simops *ops, bool quiet);
void simmodel_free(struct simmodel *model);

/* An operation is over. */
void simmodel_ended(struct simmodel *model, const struct simop *op);

/* Might one of this job's instances be wanted? */
bool simmodel_wants(const struct simmodel *model, const char *job);

/* A command was given to the job's update; it may be carried out from now on. */
void simmodel_commanded(struct simmodel *model, const char *job, const char *op);
/* The job's active update, and its status as the store has it; NULL for none. */
const char *simmodel_update(const struct simmodel *model, const char *job);
const char *simmodel_update_status(const struct simmodel *model, const char *job);
bool simmodel_is_updating(const struct simmodel *model);
/* How many updates have come to this end. */
uint64_t simmodel_updates(const struct simmodel *model, const char *status);

uint64_t simmodel_launches(const struct simmodel *model);

/* Once nothing moves any more: does the store hold what the users have a right to? */
void simmodel_check(const struct simmodel *model);
