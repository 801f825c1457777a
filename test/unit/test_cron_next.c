/* SPDX-License-Identifier: Apache-2.0 */

/* The rules of cron_next.h, each at a place where it matters; test/chaos/test_cron_oracle.py
 * compares a million times with other implementations. */

#include "master/cron/cron_next.h"

#include "base/mem.h"
#include "test.h"

#include <string.h>

static void parse(const char *text, struct cron_expr *ret)
{
    struct err err = { 0 };

    if (cron_expr_parse(text, ret, &err) < 0) {
        fail_msg("%s", err.msg);
    }
}

/* The fire times after `after` (UTC) are those, as the zone's clock shows them. */
static void fires(const char *text, const char *zone, const struct tz_civil *after,
                  const char *const *times)
{
    CLEANUP(tz_freep) struct tz *tz = NULL;
    struct cron_expr expr;
    struct err err = { 0 };
    int64_t at = tz_join(after);
    char shown[TZ_TEXT_SIZE];

    parse(text, &expr);
    if (tz_load(zone, &tz, &err) < 0) {
        fail_msg("%s", err.msg);
    }
    for (; *times != NULL; times++) {
        at = cron_next(&expr, tz, at);
        assert_true(at != CRON_NEVER);
        tz_format(tz, at, shown);
        assert_string_equal(shown, *times);
    }
}

#define FIRES(text, zone, y, m, d, ...)                                \
    fires(text, zone, &(struct tz_civil){ (y), (m), (d), 0, 0, 0, 0 }, \
          (const char *const[]){ __VA_ARGS__, NULL })

static void calendar_fields_are_matched(void **state)
{
    (void)state;
    FIRES("0 0 29 2 *", "UTC", 2095, 1, 1, "2096-02-29T00:00:00+00:00",
          "2104-02-29T00:00:00+00:00");
    FIRES("59 23 31 12 *", "UTC", 2026, 1, 1, "2026-12-31T23:59:00+00:00",
          "2027-12-31T23:59:00+00:00");
    FIRES("30 9 * * MON-FRI", "UTC", 2026, 11, 20, "2026-11-20T09:30:00+00:00",
          "2026-11-23T09:30:00+00:00");
    FIRES("*/20 12 31 * *", "UTC", 2026, 1, 31, "2026-01-31T12:00:00+00:00",
          "2026-01-31T12:20:00+00:00", "2026-01-31T12:40:00+00:00", "2026-03-31T12:00:00+00:00");
}

static void after_is_not_included(void **state)
{
    CLEANUP(tz_freep) struct tz *tz = NULL;
    struct cron_expr expr;
    struct err err;

    (void)state;
    assert_int_equal(tz_load("UTC", &tz, &err), 0);
    parse("* * * * *", &expr);
    assert_int_equal(cron_next(&expr, tz, 0), 60);
    assert_int_equal(cron_next(&expr, tz, 59), 60);
    assert_int_equal(cron_next(&expr, tz, -1), 0);
    assert_int_equal(cron_next(&expr, tz, -61), -60);
}

static void skipped_times_fire_once_at_the_change(void **state)
{
    (void)state;
    FIRES("30 2 * * *", "Europe/Berlin", 2026, 3, 28, "2026-03-28T02:30:00+01:00",
          "2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00");
    FIRES("*/15 2 * * *", "Europe/Berlin", 2026, 3, 28, "2026-03-28T02:00:00+01:00",
          "2026-03-28T02:15:00+01:00", "2026-03-28T02:30:00+01:00", "2026-03-28T02:45:00+01:00",
          "2026-03-29T03:00:00+02:00", "2026-03-30T02:00:00+02:00");
    /* One that fires at the change anyway fires once. */
    FIRES("0 2,3 * * *", "Europe/Berlin", 2026, 3, 28, "2026-03-28T02:00:00+01:00",
          "2026-03-28T03:00:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-30T02:00:00+02:00");
    /* Only half an hour is skipped. */
    FIRES("45 2 * * *", "Australia/Lord_Howe", 2026, 10, 3, "2026-10-04T02:45:00+11:00");
    FIRES("15 2 * * *", "Australia/Lord_Howe", 2026, 10, 3, "2026-10-04T02:30:00+11:00",
          "2026-10-05T02:15:00+11:00");
    /* A whole day. */
    FIRES("0 12 30 12 *", "Pacific/Apia", 2011, 12, 1, "2011-12-31T00:00:00+14:00",
          "2012-12-30T12:00:00+14:00");
    /* Midnight is what is skipped. */
    FIRES("0 0 * * *", "America/Sao_Paulo", 2018, 11, 3, "2018-11-03T00:00:00-03:00",
          "2018-11-04T01:00:00-02:00", "2018-11-05T00:00:00-02:00");
}

static void repeated_times_fire_at_the_first(void **state)
{
    (void)state;
    FIRES("30 2 * * *", "Europe/Berlin", 2026, 10, 24, "2026-10-24T02:30:00+02:00",
          "2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00");
    FIRES("0,30 1-3 * * *", "America/New_York", 2026, 11, 1, "2026-11-01T01:00:00-04:00",
          "2026-11-01T01:30:00-04:00", "2026-11-01T02:00:00-05:00", "2026-11-01T02:30:00-05:00");
    /* Midnight is shown twice: the day before is not begun again. */
    FIRES("30 23 17 2 *", "America/Sao_Paulo", 2018, 1, 1, "2018-02-17T23:30:00-02:00",
          "2019-02-17T23:30:00-03:00");
}

static void hourly_ones_follow_the_clock(void **state)
{
    (void)state;
    FIRES("30 * * * *", "Europe/Berlin", 2026, 3, 29, "2026-03-29T01:30:00+01:00",
          "2026-03-29T03:30:00+02:00", "2026-03-29T04:30:00+02:00");
    FIRES("30 * * * *", "Europe/Berlin", 2026, 10, 25, "2026-10-25T02:30:00+02:00",
          "2026-10-25T02:30:00+01:00", "2026-10-25T03:30:00+01:00");
    FIRES("0,30 0-23 * * *", "Australia/Lord_Howe", 2026, 4, 4, "2026-04-04T11:30:00+11:00");
    FIRES("0,30 */1 5 4 *", "Australia/Lord_Howe", 2026, 4, 4, "2026-04-05T00:00:00+11:00",
          "2026-04-05T00:30:00+11:00", "2026-04-05T01:00:00+11:00", "2026-04-05T01:30:00+11:00",
          "2026-04-05T01:30:00+10:30", "2026-04-05T02:00:00+10:30");
}

static void the_latest_is_the_one_before_the_next(void **state)
{
    CLEANUP(tz_freep) struct tz *tz = NULL;
    static const char *const texts[] = { "* * * * *", "*/7 3 * * *", "30 2 29 2 *", "0 0 * * 1" };
    struct err err;

    (void)state;
    assert_int_equal(tz_load("Europe/Berlin", &tz, &err), 0);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct cron_expr expr;
        int64_t at = 1500000000;

        parse(texts[i], &expr);
        at = cron_next(&expr, tz, at);
        for (int n = 0; n < 200; n++) {
            int64_t next = cron_next(&expr, tz, at);

            assert_int_equal(cron_latest(&expr, tz, at - 1, next - 1), at);
            assert_int_equal(cron_latest(&expr, tz, 0, next - 1), at);
            assert_int_equal(cron_latest(&expr, tz, at - 1, at), at);
            assert_int_equal(cron_latest(&expr, tz, at, next - 1), CRON_NEVER);
            at = next;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calendar_fields_are_matched),
        cmocka_unit_test(after_is_not_included),
        cmocka_unit_test(skipped_times_fire_once_at_the_change),
        cmocka_unit_test(repeated_times_fire_at_the_first),
        cmocka_unit_test(hourly_ones_follow_the_clock),
        cmocka_unit_test(the_latest_is_the_one_before_the_next),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
