/* SPDX-License-Identifier: Apache-2.0 */

/* cron_next: the next instant at which a schedule fires.
 *
 * Time is walked in stretches in which the zone's offset stays the same: in one of them the
 * next matching local time is found by its fields, not by trying minutes.  `seen` is how far
 * the clock on the wall had come before the present stretch: local times before it are
 * repeated ones, and those from it to the stretch's beginning were skipped.
 *
 * The walk begins LOOKBACK_S before the asked instant, longer than any clock was ever turned
 * back; so the answer depends on the instant alone.
 */

#include "master/cron/cron_next.h"

#include <stdbool.h>

enum {
    DAY_S = 86400,
    LOOKBACK_S = 3 * DAY_S,
    MAX_MONTHS = 9 * 12, /* 29 FEB comes after eight years at most (1896 to 1904). */
};

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0 ? 1 : 0);
}

/* The lowest number of the set that is at least `from`; -1 when there is none. */
static int lowest(uint64_t set, int from)
{
    set = from < 64 ? set >> from << from : 0;
    return set != 0 ? __builtin_ctzll(set) : -1;
}

/* The first local midnight of a matching day that is not before `day`, in days since 1970. */
static int64_t next_day(const struct cron_expr *expr, int64_t day)
{
    struct tz_civil civil;

    tz_split(day * DAY_S, &civil);
    for (int i = 0; i < MAX_MONTHS; i++) {
        unsigned days = tz_days_of_month(civil.year, civil.month);

        if ((expr->months >> civil.month & 1) != 0) {
            for (unsigned d = civil.day; d <= days; d++) {
                unsigned weekday = (civil.weekday + d - civil.day) % 7;

                if ((expr->days >> d & 1) != 0 && (expr->weekdays >> weekday & 1) != 0) {
                    return day + d - civil.day;
                }
            }
        }
        day += days - civil.day + 1;
        civil.weekday = (civil.weekday + days - civil.day + 1) % 7;
        civil.day = 1;
        civil.year += civil.month == 12 ? 1 : 0;
        civil.month = civil.month % 12 + 1;
    }
    return CRON_NEVER;
}

/* The first matching local time that is not before `local`. */
static int64_t next_local(const struct cron_expr *expr, int64_t local)
{
    int64_t minutes = floor_div(local + 59, 60);
    int64_t day = floor_div(minutes, DAY_S / 60);
    int of_day = (int)(minutes - day * (DAY_S / 60));
    int64_t first = next_day(expr, day);
    int hour = of_day / 60;
    int minute = of_day % 60;

    if (first == day) {
        int h = lowest(expr->hours, hour);
        int m = h == hour ? lowest(expr->minutes, minute) : lowest(expr->minutes, 0);

        if (h == hour && m < 0) {
            h = lowest(expr->hours, hour + 1);
            m = lowest(expr->minutes, 0);
        }
        if (h >= 0) {
            return day * DAY_S + (int64_t)h * 3600 + (int64_t)m * 60;
        }
        first = next_day(expr, day + 1);
    }
    if (first == CRON_NEVER) {
        return CRON_NEVER;
    }
    return first * DAY_S + (int64_t)lowest(expr->hours, 0) * 3600 +
           (int64_t)lowest(expr->minutes, 0) * 60;
}

int64_t cron_next(const struct cron_expr *expr, const struct tz *tz, int64_t after)
{
    bool hourly = cron_expr_is_hourly(expr);
    int64_t at = after - LOOKBACK_S;
    int64_t seen = INT64_MIN;
    int64_t until;

    for (;; at = until) {
        int64_t offset = tz_offset(tz, at, &until);
        int64_t from = (at > after ? at : after + 1) + offset;

        if (!hourly && seen != INT64_MIN) {
            if (at > after && at + offset > seen && next_local(expr, seen) < at + offset) {
                return at; /* Skipped ones. */
            }
            from = from > seen ? from : seen;
        }
        if (until > after + 1) {
            int64_t match = next_local(expr, from);

            if (match == CRON_NEVER) {
                return CRON_NEVER;
            }
            if (match - offset < until) {
                return match - offset;
            }
        }
        /* A match is never beyond an endless stretch: until is an instant. */
        seen = until + offset > seen ? until + offset : seen;
    }
}

int64_t cron_latest(const struct cron_expr *expr, const struct tz *tz, int64_t after, int64_t until)
{
    int64_t lo = cron_next(expr, tz, after); /* Fires at lo, and not after hi. */
    int64_t hi = until;

    if (lo > until) {
        return CRON_NEVER;
    }
    while (lo < hi) {
        int64_t mid = lo + (hi - lo) / 2;
        int64_t next = cron_next(expr, tz, mid);

        if (next <= hi) {
            lo = next;
        } else {
            hi = mid;
        }
    }
    return lo;
}
