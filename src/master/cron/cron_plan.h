/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"
#include "base/tz.h"
#include "master/cron/cron_expr.h"
#include "model/job.h"

#include <stdbool.h>

/* When a job is launched, and what happens when it still runs: read from its members
 * cron_schedule, cron_timezone (UTC when not given) and cron_collision_policy. */
struct cron_plan {
    struct cron_expr expr;
    struct tz *tz;      /* Owned. */
    bool kill_existing; /* Else CANCEL_NEW. */
};

void cron_plan_fini(struct cron_plan *plan);

/* ERR_CONFIG with Aurora's words: no schedule, an invalid one, a service, RUN_OVERLAP. */
int cron_plan_read(const struct job *job, struct cron_plan *ret_plan, struct err *err);

/* "KILL_EXISTING" or "CANCEL_NEW" */
const char *cron_plan_policy(const struct cron_plan *plan);
