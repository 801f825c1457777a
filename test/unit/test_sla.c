/* SPDX-License-Identifier: Apache-2.0 */
#include "model/sla.h"

#include "base/json.h"

#include "test.h"

#include <string.h>

static void each_kind_is_read(void **state)
{
    (void)state;
    CLEANUP(json_freep) json_t *count = json_pack("{s:i,s:i}", "count", 19, "duration_secs", 60);
    CLEANUP(json_freep) json_t *asks = json_pack("{s:s}", "coordinator_url", "http://c/x");
    struct sla_policy policy;

    sla_policy_read(NULL, &policy);
    assert_int_equal(policy.kind, SLA_NONE);
    sla_policy_read(count, &policy);
    assert_int_equal(policy.kind, SLA_COUNT);
    assert_int_equal((int)policy.value, 19);
    assert_int_equal(policy.duration_secs, 60);
    sla_policy_read(asks, &policy);
    assert_int_equal(policy.kind, SLA_COORDINATOR);
    assert_string_equal(policy.url, "http://c/x");
    assert_string_equal(policy.status_key, "drain");
    sla_policy_fini(&policy);
}

static void check(json_t *taken, const char *tier, int instances, const char *message)
{
    CLEANUP(json_freep) json_t *doc = taken;
    struct sla_policy policy;
    struct err err = { 0 };
    int rv;

    sla_policy_read(doc, &policy);
    rv = sla_policy_check(doc, &policy, tier, instances, &err);
    sla_policy_fini(&policy);
    if (message == NULL) {
        assert_int_equal(rv, 0);
    } else {
        assert_int_equal(rv, ERR_CONFIG);
        assert_non_null(strstr(err.msg, message));
    }
}

static json_t *percentage(double value, int duration)
{
    return json_pack("{s:f,s:i}", "percentage", value, "duration_secs", duration);
}

static void policies_are_for_large_production_jobs(void **state)
{
    (void)state;
    check(NULL, "revocable", 1, NULL);
    check(percentage(95, 60), "preferred", 20, NULL);
    check(percentage(95, 60), "revocable", 20, "Tier 'revocable' does not support SlaPolicy.");
    check(percentage(95, 60), "preferred", 19,
          "Job with fewer than 20 instances cannot have Percentage/Count SlaPolicy.");
    check(percentage(101, 60), "preferred", 20, "101 is not valid");
    check(percentage(95, 7201), "preferred", 20,
          "must be less than cluster-wide maximum of 7200 secs.");
    check(percentage(95, -1), "preferred", 20, "durationSecs=-1");
    check(json_pack("{s:s}", "coordinator_url", "http://c"), "preferred", 1, NULL);
    check(json_pack("{s:s}", "coordinator_url", "file:///x"), "preferred", 1, "is no http URL");
    check(json_object(), "preferred", 20, "sla_policy must be");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_kind_is_read),
        cmocka_unit_test(policies_are_for_large_production_jobs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
