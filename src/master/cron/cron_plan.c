/* SPDX-License-Identifier: Apache-2.0 */

/* cron_plan: what a job says of its cron schedule, checked.  Reads the time zone's file, else
 * pure. */

#include "master/cron/cron_plan.h"

#include "base/json.h"

#include <strings.h>

void cron_plan_fini(struct cron_plan *plan)
{
    tz_free(plan->tz);
    plan->tz = NULL;
}

static int read_policy(const struct job *job, struct cron_plan *plan, struct err *err)
{
    const char *policy = job->cron_collision_policy;

    if (strcasecmp(policy, "RUN_OVERLAP") == 0) {
        return err_set(err, ERR_CONFIG,
                       "The RUN_OVERLAP collision policy has been removed (AURORA-38).");
    }
    plan->kill_existing = strcasecmp(policy, "KILL_EXISTING") == 0;
    if (!plan->kill_existing && strcasecmp(policy, "CANCEL_NEW") != 0) {
        return err_set(err, ERR_CONFIG,
                       "Invalid cron collision policy: '%.50s'; KILL_EXISTING or CANCEL_NEW is "
                       "allowed",
                       policy);
    }
    return 0;
}

int cron_plan_read(const struct job *job, struct cron_plan *ret_plan, struct err *err)
{
    CLEANUP(cron_plan_fini) struct cron_plan plan = { 0 };
    const char *zone = json_str_or(job->doc, "cron_timezone", "");

    if (job->cron_schedule == NULL) {
        return err_set(err, ERR_CONFIG, "Job %s/%s/%s has no cron schedule", job->key.role,
                       job->key.env, job->key.name);
    }
    if (job->service) {
        return err_set(err, ERR_CONFIG,
                       "A service task may not be run on a cron schedule: %s/%s/%s", job->key.role,
                       job->key.env, job->key.name);
    }
    if (cron_expr_parse(job->cron_schedule, &plan.expr, err) < 0 ||
        read_policy(job, &plan, err) < 0) {
        return err_code(err);
    }
    if (tz_load(zone[0] != '\0' ? zone : "UTC", &plan.tz, err) < 0) {
        return err_wrap(err, "Invalid cron timezone");
    }
    *ret_plan = TAKE(plan);
    return 0;
}

const char *cron_plan_policy(const struct cron_plan *plan)
{
    return plan->kill_existing ? "KILL_EXISTING" : "CANCEL_NEW";
}
