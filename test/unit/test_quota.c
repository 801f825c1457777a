/* SPDX-License-Identifier: Apache-2.0 */
#include "master/sched/quota.h"

#include "base/mem.h"
#include "model/job.h"

#include "test.h"

static const int64_t MIB = 1024 * 1024;

static void each_kind_that_is_exceeded_is_named(void **state)
{
    (void)state;
    struct quota allowed = { 2, 100 * MIB, 100 * MIB };
    static const struct {
        struct quota wanted;
        const char *message;
    } cases[] = {
        { { 3, 0, 0 }, "Insufficient resource quota: CPU quota exceeded by 1.00 core(s)" },
        { { 0, 164 * 1024 * 1024LL, 0 },
          "Insufficient resource quota: RAM quota exceeded by 64.00 MB" },
        { { 0, 0, 101 * 1024 * 1024LL },
          "Insufficient resource quota: disk quota exceeded by 1.00 MB" },
        { { 2.25, 101 * 1024 * 1024LL, 102 * 1024 * 1024LL },
          "Insufficient resource quota: CPU quota exceeded by 0.25 core(s); "
          "RAM quota exceeded by 1.00 MB; disk quota exceeded by 2.00 MB" },
    };
    struct err err;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(quota_check(allowed, cases[i].wanted, &err), ERR_CONFLICT);
        assert_string_equal(err.msg, cases[i].message);
    }
    assert_int_equal(quota_check(allowed, allowed, &err), 0);
}

static void tenths_of_a_cpu_add_up(void **state)
{
    (void)state;
    struct quota sum = { 0 };
    struct quota tenth = { 0.1, MIB, MIB };
    struct err err;

    for (int i = 0; i < 10; i++) {
        sum = quota_sum(sum, tenth);
    }
    assert_int_equal(quota_check((struct quota){ 1, 10 * MIB, 10 * MIB }, sum, &err), 0);
    assert_int_equal(quota_check((struct quota){ 0.999, 10 * MIB, 10 * MIB }, sum, &err),
                     ERR_CONFLICT);
}

static void the_larger_of_each_kind(void **state)
{
    (void)state;
    struct quota max = quota_max((struct quota){ 1, 20, 30 }, (struct quota){ 2, 10, 40 });

    assert_true(max.cpu == 2);
    assert_int_equal(max.ram_bytes, 20);
    assert_int_equal(max.disk_bytes, 40);
}

static void only_production_off_dedicated_nodes_counts(void **state)
{
    (void)state;
    struct job job = { .is_production = true };

    assert_true(quota_counts(&job));
    job.dedicated = "www/own";
    assert_false(quota_counts(&job));
    job.dedicated = NULL;
    job.is_production = false;
    assert_false(quota_counts(&job));
}

static void sums_stop_at_the_largest_number(void **state)
{
    (void)state;
    struct job job = { .cpu = 1, .ram_bytes = INT64_C(1) << 61, .disk_bytes = MIB };
    struct quota used = quota_of(&job, 4);
    struct quota allowed = { 100, 100 * MIB, 100 * MIB };
    struct err err;

    assert_int_equal(used.ram_bytes, INT64_MAX);
    assert_int_equal(used.disk_bytes, 4 * MIB);
    assert_int_equal(quota_sum(used, used).ram_bytes, INT64_MAX);
    assert_int_equal(quota_check(allowed, used, &err), ERR_CONFLICT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_kind_that_is_exceeded_is_named),
        cmocka_unit_test(tenths_of_a_cpu_add_up),
        cmocka_unit_test(the_larger_of_each_kind),
        cmocka_unit_test(sums_stop_at_the_largest_number),
        cmocka_unit_test(only_production_off_dedicated_nodes_counts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
