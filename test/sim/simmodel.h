/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "simcheck.h"
#include "simops.h"

#include <stdbool.h>

/* What the users have a right to: which instances are to run, and as what.  Follows the ends of
 * operations, never the master. */
struct simmodel;

struct simmodel *simmodel_new(const struct simcheck *check);
void simmodel_free(struct simmodel *model);

/* An operation is over. */
void simmodel_ended(struct simmodel *model, const struct simop *op);

/* Might one of this job's instances be wanted? */
bool simmodel_wants(const struct simmodel *model, const char *job);

/* Once nothing moves any more: does the store hold what the users have a right to? */
void simmodel_check(const struct simmodel *model);
