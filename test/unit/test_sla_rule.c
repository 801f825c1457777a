/* SPDX-License-Identifier: Apache-2.0 */
#include "master/drain/sla_rule.h"

#include "test.h"

static const struct sla_policy ninety_five = { .kind = SLA_PERCENTAGE, .value = 95 };

static enum sla_verdict ask(const struct sla_policy *policy, bool production, size_t active,
                            size_t up)
{
    struct sla_question question = { policy, production, active, up };

    return sla_may_remove(&question);
}

static void a_percentage_of_the_active_stays_up(void **state)
{
    (void)state;
    assert_int_equal(ask(&ninety_five, true, 20, 19), SLA_MAY);
    assert_int_equal(ask(&ninety_five, true, 20, 18), SLA_WAIT);
    assert_int_equal(ask(&ninety_five, true, 100, 95), SLA_MAY);
    assert_int_equal(ask(&ninety_five, true, 100, 94), SLA_WAIT);
    assert_int_equal(ask(&ninety_five, true, 41, 39), SLA_MAY); /* 38.95 */
    assert_int_equal(ask(&ninety_five, true, 41, 38), SLA_WAIT);
}

static void a_count_stays_up(void **state)
{
    (void)state;
    const struct sla_policy ten = { .kind = SLA_COUNT, .value = 10 };

    assert_int_equal(ask(&ten, true, 30, 10), SLA_MAY);
    assert_int_equal(ask(&ten, true, 30, 9), SLA_WAIT);
}

static void a_policy_that_allows_none_allows_one(void **state)
{
    (void)state;
    const struct sla_policy all = { .kind = SLA_PERCENTAGE, .value = 100 };
    const struct sla_policy more = { .kind = SLA_COUNT, .value = 1000 };

    assert_int_equal(ask(&all, true, 20, 19), SLA_MAY);
    assert_int_equal(ask(&all, true, 20, 18), SLA_WAIT);
    assert_int_equal(ask(&more, true, 20, 19), SLA_MAY);
    assert_int_equal(ask(&more, true, 20, 18), SLA_WAIT);
}

static void small_jobs_and_other_tiers_have_none(void **state)
{
    (void)state;
    assert_int_equal(ask(&ninety_five, true, 19, 0), SLA_MAY);
    assert_int_equal(ask(&ninety_five, false, 100, 0), SLA_MAY);
    assert_int_equal(ask(NULL, true, 100, 0), SLA_MAY);
}

static void a_coordinator_is_always_asked(void **state)
{
    (void)state;
    const struct sla_policy asks = { .kind = SLA_COORDINATOR };

    assert_int_equal(ask(&asks, true, 1, 0), SLA_ASK);
    assert_int_equal(ask(&asks, true, 100, 99), SLA_ASK);
}

static void the_jobs_own_policy_comes_first(void **state)
{
    (void)state;
    const struct sla_policy none = { .kind = SLA_NONE };
    const struct sla_policy own = { .kind = SLA_COUNT, .value = 1 };

    assert_ptr_equal(sla_effective_policy(&own, &ninety_five), &own);
    assert_ptr_equal(sla_effective_policy(&none, &ninety_five), &ninety_five);
    assert_null(sla_effective_policy(&none, NULL));
}

/* However a drain goes through the instances, never fewer are up than the policy says. */
static void one_after_the_other_never_takes_too_many(void **state)
{
    (void)state;
    for (size_t active = 20; active <= 200; active++) {
        for (int percent = 0; percent <= 100; percent += 5) {
            const struct sla_policy policy = { .kind = SLA_PERCENTAGE, .value = percent };
            size_t up = active;
            size_t least = (active * (size_t)percent + 99) / 100;

            while (up > 0 && ask(&policy, true, active, up - 1) == SLA_MAY) {
                up--;
            }
            assert_true(up >= least || up == active - 1);
            assert_true(up < active);
            if (up > 0) {
                assert_true(up == least || up == active - 1);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_percentage_of_the_active_stays_up),
        cmocka_unit_test(a_count_stays_up),
        cmocka_unit_test(a_policy_that_allows_none_allows_one),
        cmocka_unit_test(small_jobs_and_other_tiers_have_none),
        cmocka_unit_test(a_coordinator_is_always_asked),
        cmocka_unit_test(the_jobs_own_policy_comes_first),
        cmocka_unit_test(one_after_the_other_never_takes_too_many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
