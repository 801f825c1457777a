/* SPDX-License-Identifier: Apache-2.0 */

#include "master/cron/cron_expr.h"

#include "test.h"

#include <string.h>

static void reads(const char *text, uint64_t minutes, uint32_t hours, uint32_t days,
                  uint32_t months, uint32_t weekdays)
{
    struct cron_expr expr;
    struct err err = { 0 };

    if (cron_expr_parse(text, &expr, &err) < 0) {
        fail_msg("%s: %s", text, err.msg);
    }
    assert_int_equal(expr.minutes, minutes);
    assert_int_equal(expr.hours, hours);
    assert_int_equal(expr.days, days);
    assert_int_equal(expr.months, months);
    assert_int_equal(expr.weekdays, weekdays);
}

static const uint64_t all_minutes = (UINT64_C(1) << 60) - 1;
enum {
    ALL_HOURS = (1 << 24) - 1,
    ALL_MONTHS = (1 << 13) - 2,
    ALL_WEEKDAYS = 127,
};
static const uint32_t all_days = UINT32_MAX - 1;

static void five_fields_become_sets(void **state)
{
    (void)state;
    reads("* * * * *", all_minutes, ALL_HOURS, all_days, ALL_MONTHS, ALL_WEEKDAYS);
    reads("0 0 1 1 *", 1, 1, 2, 2, ALL_WEEKDAYS);
    reads("59 23 31 12 *", UINT64_C(1) << 59, 1 << 23, UINT32_C(1) << 31, 1 << 12, ALL_WEEKDAYS);
    reads("\t*/15   5-7,9 *\t* 6-6 ", UINT64_C(1) | 1 << 15 | 1 << 30 | UINT64_C(1) << 45,
          1 << 5 | 1 << 6 | 1 << 7 | 1 << 9, all_days, ALL_MONTHS, 1 << 6);
    reads("1-9/4 * * jan-Mar,DEC MON-fri", 1 << 1 | 1 << 5 | 1 << 9, ALL_HOURS, all_days,
          1 << 1 | 1 << 2 | 1 << 3 | 1 << 12, 62);
    reads("*/90 * * * 0-6", 1, ALL_HOURS, all_days, ALL_MONTHS, ALL_WEEKDAYS);
    reads("00 0 * * SUN,2", 1, 1, all_days, ALL_MONTHS, 5);
}

static void refuses(const char *text, const char *message)
{
    struct cron_expr expr = { .minutes = 77 };
    struct err err = { 0 };

    assert_int_equal(cron_expr_parse(text, &expr, &err), ERR_CONFIG);
    assert_string_equal(err.msg, message);
    assert_int_equal(expr.minutes, 77);
}

static void what_aurora_refuses_is_refused_and_explained(void **state)
{
    (void)state;
    refuses("60 * * * *", "Invalid cron schedule: minute '60': out of range; 0-59 is allowed");
    refuses("* 24 * * *", "Invalid cron schedule: hour '24': out of range; 0-23 is allowed");
    refuses("* * 0 * *", "Invalid cron schedule: day of month '0': out of range; 1-31 is allowed");
    refuses("* * * 13 *",
            "Invalid cron schedule: month '13': out of range; 1-12 or JAN-DEC is allowed");
    refuses("* * * * 7", "Invalid cron schedule: day of week '7': Sunday is 0 here, 7 is out of "
                         "range; 0-6 or SUN-SAT is allowed");
    refuses("5/15 * * * *", "Invalid cron schedule: minute '5/15': a step needs a range, write "
                            "A-B/S or */S; 0-59 is allowed");
    refuses("*/0 * * * *", "Invalid cron schedule: minute '*/0': a step must be greater than 0; "
                           "0-59 is allowed");
    refuses("* 1-5/5 * * *", "Invalid cron schedule: hour '1-5/5': the step of A-B/S must be "
                             "smaller than B; 0-23 is allowed");
    refuses("* 9-5 * * *",
            "Invalid cron schedule: hour '9-5': the range runs backwards; 0-23 is allowed");
    refuses("1,,2 * * * *",
            "Invalid cron schedule: minute '1,,2': an item of the list is empty; 0-59 is allowed");
    refuses("* * * janu *", "Invalid cron schedule: month 'janu': this is not *, N, A-B, */S or "
                            "A-B/S; 1-12 or JAN-DEC is allowed");
    refuses("jan * * * *", "Invalid cron schedule: minute 'jan': this is not *, N, A-B, */S or "
                           "A-B/S; 0-59 is allowed");
    refuses("99999999999999999999 * * * *", "Invalid cron schedule: minute "
                                            "'99999999999999999999': the number is too large; "
                                            "0-59 is allowed");
    refuses("* * 1 * 1", "Invalid cron schedule: '* * 1 * 1': limiting both day of month and day "
                         "of week is not supported, one of them must be *");
    refuses("0 0 30 2 *", "Invalid cron schedule: '0 0 30 2 *' never fires, there is no such day "
                          "in any year");
    refuses("@daily", "Invalid cron schedule: '@daily' is not supported, write '0 0 * * *'");
    refuses("* * * *", "Invalid cron schedule: '* * * *' has fewer than five fields: minute hour "
                       "day-of-month month day-of-week");
    refuses("* * * * * *", "Invalid cron schedule: '* * * * * *' has more than five fields: minute "
                           "hour day-of-month month day-of-week");
    refuses("", "Invalid cron schedule: '' has fewer than five fields: minute hour day-of-month "
                "month day-of-week");
}

static void odd_bytes_are_refused(void **state)
{
    static const char *const bad[] = { "+1 * * * *",    "-1 * * * *",       "1- * * * *",
                                       "*/ * * * *",    "** * * * *",       "*-5 * * * *",
                                       "1-2-3 * * * *", "1/2/3 * * * *",    "*/5-9 * * * *",
                                       "? * * * *",     "L * * * *",        "* * L * *",
                                       "* * * * 5#2",   "* * 15W * *",      "1.5 * * * *",
                                       "\xff * * * *",  "\x1b[31m * * * *", "0x1 * * * *",
                                       "* * * * MON-",  "* * * * SAT-SUN",  "* * 31 2,4,6,9,11 *" };
    struct cron_expr expr;
    struct err err;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        err = (struct err){ 0 };
        assert_int_equal(cron_expr_parse(bad[i], &expr, &err), ERR_CONFIG);
        assert_int_equal(strncmp(err.msg, "Invalid cron schedule: ", 23), 0);
        assert_null(strpbrk(err.msg, "\x1b\xff"));
    }
}

static void leap_days_exist(void **state)
{
    (void)state;
    reads("0 0 29 feb *", 1, 1, 1 << 29, 1 << 2, ALL_WEEKDAYS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(five_fields_become_sets),
        cmocka_unit_test(what_aurora_refuses_is_refused_and_explained),
        cmocka_unit_test(odd_bytes_are_refused),
        cmocka_unit_test(leap_days_exist),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
