/* SPDX-License-Identifier: Apache-2.0 */
/* sla: a job's own words about how much of it must go on, read and checked.
 *
 * Not whether a task may go now: that is master/drain/sla_rule.c.
 */
#include "model/sla.h"

#include "base/json.h"
#include "base/str.h"

#include <stdlib.h>
#include <string.h>

/* Numbers may come as texts of a templated field would: only real ones count. */
static int64_t seconds(const json_t *doc)
{
    double value = json_num_or(doc, "duration_secs", 0);

    return value > 0 && value < 1e9 ? (int64_t)value : 0;
}

void sla_policy_read(const json_t *doc, struct sla_policy *ret_policy)
{
    const char *url = json_str_or(doc, "coordinator_url", NULL);

    *ret_policy = (struct sla_policy){ .kind = SLA_NONE };
    if (url != NULL) {
        ret_policy->kind = SLA_COORDINATOR;
        ret_policy->url = mem_strdup(url);
        ret_policy->status_key = mem_strdup(json_str_or(doc, "status_key", "drain"));
    } else if (json_is_number(json_object_get(doc, "percentage"))) {
        ret_policy->kind = SLA_PERCENTAGE;
        ret_policy->value = json_num_or(doc, "percentage", 0);
        ret_policy->duration_secs = seconds(doc);
    } else if (json_is_number(json_object_get(doc, "count"))) {
        ret_policy->kind = SLA_COUNT;
        ret_policy->value = json_num_or(doc, "count", 0);
        ret_policy->duration_secs = seconds(doc);
    }
}

void sla_policy_fini(struct sla_policy *policy)
{
    free(policy->url);
    free(policy->status_key);
    policy->url = NULL;
    policy->status_key = NULL;
}

static int check_running(const json_t *doc, const struct sla_policy *policy, int instances,
                         struct err *err)
{
    const char *name = policy->kind == SLA_PERCENTAGE ? "PercentageSlaPolicy" : "CountSlaPolicy";
    double duration = json_num_or(doc, "duration_secs", -1);

    if (instances < SLA_MIN_INSTANCES) {
        return err_set(err, ERR_CONFIG,
                       "Job with fewer than %d instances cannot have Percentage/Count SlaPolicy.",
                       SLA_MIN_INSTANCES);
    }
    if (policy->kind == SLA_PERCENTAGE ? !(policy->value >= 0 && policy->value <= 100)
                                       : !(policy->value >= 0 && policy->value < 1e9)) {
        return err_set(err, ERR_CONFIG, "%s: %g is not valid", name, policy->value);
    }
    if (!(duration >= 0 && duration <= SLA_MAX_DURATION_SECS)) {
        return err_set(err, ERR_CONFIG,
                       "%s: durationSecs=%g must be less than cluster-wide maximum of %d secs.",
                       name, duration, SLA_MAX_DURATION_SECS);
    }
    return 0;
}

int sla_policy_check(const json_t *doc, const struct sla_policy *policy, const char *tier,
                     int instances, struct err *err)
{
    if (doc == NULL || json_is_null(doc)) {
        return 0;
    }
    if (policy->kind == SLA_NONE) {
        return err_set(err, ERR_CONFIG,
                       "sla_policy must be a PercentageSlaPolicy, CountSlaPolicy or "
                       "CoordinatorSlaPolicy");
    }
    if (!str_eq(tier, "preferred")) {
        return err_set(err, ERR_CONFIG, "Tier '%s' does not support SlaPolicy.", tier);
    }
    if (policy->kind != SLA_COORDINATOR) {
        return check_running(doc, policy, instances, err);
    }
    if (!str_starts(policy->url, "http://") && !str_starts(policy->url, "https://")) {
        return err_set(err, ERR_CONFIG, "CoordinatorSlaPolicy: %.200s is no http URL", policy->url);
    }
    return 0;
}
