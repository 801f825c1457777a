/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/ending.h"

#include "test.h"

static struct ending begun(uint64_t wait_ms, uint64_t deadline_ms)
{
    struct ending ending = { 0 };

    ending_begin(&ending, true, "why", wait_ms, deadline_ms);
    return ending;
}

static void the_last_part_belongs_to_signals(void **state)
{
    (void)state;
    struct ending ending = begun(30000, 100000);

    assert_true(ending.begun && ending.failed);
    assert_string_equal(ending.reason, "why");
    assert_int_equal(ending_rest_ms(&ending, 58000), 42000);
    assert_int_equal(ending_ask_ms(&ending, 58000), 12000);
    assert_int_equal(ending_ask_ms(&ending, 70000), 0);
    assert_int_equal(ending_ask_ms(&ending, 100001), 0);
    assert_int_equal(ending_rest_ms(&ending, 100001), 0);
    ending_fini(&ending);
}

static void a_later_one_only_shortens(void **state)
{
    (void)state;
    struct ending ending = begun(1000, 100000);

    assert_false(ending_shorten(&ending, 200000));
    assert_false(ending_shorten(&ending, 100000));
    assert_int_equal(ending_rest_ms(&ending, 0), 100000);
    assert_true(ending_shorten(&ending, 5000));
    assert_int_equal(ending_rest_ms(&ending, 0), 5000);
    assert_int_equal(ending_ask_ms(&ending, 0), 4000);
    assert_true(ending_shorten(&ending, 500));
    assert_int_equal(ending_ask_ms(&ending, 0), 0);
    ending_fini(&ending);
}

static void tear_down_leaves_a_quarter(void **state)
{
    (void)state;
    struct ending ending = begun(1000, 40000);
    uint64_t over_ms = 0;

    assert_int_equal(ending_tear_down_ms(&ending, 0, &over_ms), 20001);
    assert_int_equal(over_ms, 30002);
    assert_int_equal(ending_tear_down_ms(&ending, 40000, &over_ms), 0);
    ending_fini(&ending);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_part_belongs_to_signals),
        cmocka_unit_test(a_later_one_only_shortens),
        cmocka_unit_test(tear_down_leaves_a_quarter),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
