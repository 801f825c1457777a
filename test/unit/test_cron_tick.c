/* SPDX-License-Identifier: Apache-2.0 */

#include "master/cron/cron_tick.h"

#include "base/mem.h"
#include "test.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>

enum { MINUTE_MS = 60000, HOUR_MS = 60 * MINUTE_MS };

static const int64_t noon_ms = INT64_C(1763640000000); /* 2025-11-20T12:00:00Z */

static struct cron_tick ask(const char *text, int64_t last_ms, int64_t now_ms, int64_t catch_up_ms)
{
    CLEANUP(tz_freep) struct tz *tz = NULL;
    struct cron_expr expr;
    struct cron_tick tick;
    struct err err;

    assert_int_equal(tz_load("UTC", &tz, &err), 0);
    assert_int_equal(cron_expr_parse(text, &expr, &err), 0);
    cron_tick(&expr, tz, last_ms, now_ms, catch_up_ms, &tick);
    return tick;
}

static void is(struct cron_tick tick, enum cron_tick_kind kind, int64_t tick_ms, int64_t next_ms)
{
    assert_int_equal(tick.kind, kind);
    assert_int_equal(tick.tick_ms, tick_ms);
    assert_int_equal(tick.next_ms, next_ms);
}

static void nothing_is_due_before_the_tick(void **state)
{
    (void)state;
    is(ask("* * * * *", noon_ms, noon_ms, 1000), CRON_TICK_NONE, noon_ms, noon_ms + MINUTE_MS);
    is(ask("* * * * *", noon_ms, noon_ms + MINUTE_MS - 1, 1000), CRON_TICK_NONE, noon_ms,
       noon_ms + MINUTE_MS);
    /* Scheduled in the middle of a second, and of a minute. */
    is(ask("* * * * *", noon_ms - 1, noon_ms - 1, 1000), CRON_TICK_NONE, noon_ms - 1, noon_ms);
    is(ask("* * * * *", noon_ms + 1, noon_ms + 1, 1000), CRON_TICK_NONE, noon_ms + 1,
       noon_ms + MINUTE_MS);
}

static void a_tick_is_launched_when_it_is_young_enough(void **state)
{
    int64_t tick_ms = noon_ms + MINUTE_MS;

    (void)state;
    is(ask("* * * * *", noon_ms, tick_ms, 1000), CRON_TICK_LAUNCH, tick_ms, tick_ms + MINUTE_MS);
    is(ask("* * * * *", noon_ms, tick_ms + 1000, 1000), CRON_TICK_LAUNCH, tick_ms,
       tick_ms + MINUTE_MS);
    is(ask("* * * * *", noon_ms, tick_ms + 1001, 1000), CRON_TICK_MISSED, tick_ms,
       tick_ms + MINUTE_MS);
}

static void of_missed_ticks_only_the_last_counts(void **state)
{
    int64_t now_ms = noon_ms + 90 * MINUTE_MS + 5000;

    (void)state;
    is(ask("* * * * *", noon_ms, now_ms, MINUTE_MS), CRON_TICK_LAUNCH, noon_ms + 90 * MINUTE_MS,
       noon_ms + 91 * MINUTE_MS);
    is(ask("0 * * * *", noon_ms, now_ms, MINUTE_MS), CRON_TICK_MISSED, noon_ms + HOUR_MS,
       noon_ms + 2 * HOUR_MS);
    is(ask("0 * * * *", noon_ms, now_ms, HOUR_MS), CRON_TICK_LAUNCH, noon_ms + HOUR_MS,
       noon_ms + 2 * HOUR_MS);
}

static void a_clock_set_back_repeats_nothing(void **state)
{
    (void)state;
    is(ask("* * * * *", noon_ms, noon_ms - HOUR_MS, MINUTE_MS), CRON_TICK_NONE, noon_ms,
       noon_ms + MINUTE_MS);
    is(ask("* * * * *", noon_ms, noon_ms - 24 * HOUR_MS, MINUTE_MS), CRON_TICK_NONE, noon_ms,
       noon_ms + MINUTE_MS);
    /* More than a day: the clock had been wrong. */
    is(ask("* * * * *", noon_ms, noon_ms - 25 * HOUR_MS, MINUTE_MS), CRON_TICK_CLOCK,
       noon_ms - 25 * HOUR_MS, noon_ms - 25 * HOUR_MS + MINUTE_MS);
}

/* Whatever the clock does within a day: ticks are launched in order, none twice, and none of a
 * clock that only runs is missed. */
static void no_tick_is_launched_twice(void **state)
{
    unsigned seed = 1;

    (void)state;
    for (int life = 0; life < 300; life++) {
        int64_t now_ms = noon_ms;
        int64_t last_ms = now_ms;
        int64_t launched_ms = 0;

        for (int step = 0; step < 100; step++) {
            int kind = rand_r(&seed) % 10;
            int64_t by_ms = rand_r(&seed) % (3 * MINUTE_MS);
            struct cron_tick tick;

            now_ms += kind == 0 ? -by_ms * 5 : kind == 1 ? by_ms * 20 : by_ms / 3;
            tick = ask("*/2 * * * *", last_ms, now_ms, MINUTE_MS);
            assert_true(tick.kind != CRON_TICK_CLOCK);
            assert_true(tick.next_ms > tick.tick_ms);
            if (tick.kind == CRON_TICK_LAUNCH) {
                assert_true(tick.tick_ms > launched_ms);
                assert_true(tick.tick_ms <= now_ms && tick.tick_ms + MINUTE_MS >= now_ms);
                launched_ms = tick.tick_ms;
            }
            assert_true(tick.kind == CRON_TICK_NONE || tick.tick_ms > last_ms);
            last_ms = tick.tick_ms;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_due_before_the_tick),
        cmocka_unit_test(a_tick_is_launched_when_it_is_young_enough),
        cmocka_unit_test(of_missed_ticks_only_the_last_counts),
        cmocka_unit_test(a_clock_set_back_repeats_nothing),
        cmocka_unit_test(no_tick_is_launched_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
