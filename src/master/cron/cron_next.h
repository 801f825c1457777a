/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/tz.h"
#include "master/cron/cron_expr.h"

#include <stdint.h>

/* When does a schedule fire?  Pure: a time zone is data, and nothing reads a clock.
 *
 * A schedule speaks of what the clock on the wall shows in its zone.  Where that clock is turned:
 *
 * - A schedule for certain hours ("30 2 * * *") fires once for each of its times.  One that is
 *   skipped fires at the instant of the change (clocks go from 02:00 to 03:00: at 03:00), several
 *   skipped ones together once.  One that the clock shows twice fires at the first.
 * - A schedule for every hour ("15,45 * * * *": the hour field matches all 24) follows the clock:
 *   skipped times do not fire, repeated ones fire again, so that it goes on at its pace.
 *
 * Instants are seconds since 1970 UTC. */

#define CRON_NEVER INT64_MAX

/* The first one after `after`. */
int64_t cron_next(const struct cron_expr *expr, const struct tz *tz, int64_t after);

/* The last one in (after, until]; CRON_NEVER when there is none. */
int64_t cron_latest(const struct cron_expr *expr, const struct tz *tz, int64_t after,
                    int64_t until);
