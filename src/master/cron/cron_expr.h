/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

/* Aurora's crontab syntax: five fields, "minute hour day-of-month month day-of-week".  A field is a
 * comma list of *, N, A-B, * / S and A-B / S (without the blanks); months and days of the week have
 * names, JAN-DEC and SUN-SAT, in any case.  Not accepted, as Aurora does not: N/S, day of the week
 * 7, @daily and its like, and limiting both day of month and day of week. */
struct cron_expr {
    uint64_t minutes; /* Bit n: n matches. */
    uint32_t hours;
    uint32_t days;   /* Of the month, bits 1..31. */
    uint32_t months; /* Bits 1..12. */
    uint32_t weekdays;
};

enum { CRON_EXPR_MAX = 1024 }; /* Bytes of an expression. */

/* ERR_CONFIG "Invalid cron schedule: ..." names the field, what is wrong, and what is allowed.  One
 * that matches no day of any year (30 FEB) is refused as well. */
int cron_expr_parse(const char *text, struct cron_expr *ret_expr, struct err *err);

/* Does it match every hour of the day?  See cron_next.h. */
bool cron_expr_is_hourly(const struct cron_expr *expr);
