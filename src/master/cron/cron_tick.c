/* SPDX-License-Identifier: Apache-2.0 */

/* cron_tick: is a cron job due?  Pure; crons.c carries it out. */

#include "master/cron/cron_tick.h"

#include "master/cron/cron_next.h"

static const int64_t clock_error_ms = INT64_C(24) * 3600 * 1000;

static int64_t next_ms(const struct cron_expr *expr, const struct tz *tz, int64_t after_ms)
{
    int64_t next = cron_next(expr, tz, after_ms / 1000);

    return next == CRON_NEVER ? INT64_MAX : next * 1000;
}

void cron_tick(const struct cron_expr *expr, const struct tz *tz, int64_t last_ms, int64_t now_ms,
               int64_t catch_up_ms, struct cron_tick *ret_tick)
{
    struct cron_tick tick = { .kind = CRON_TICK_NONE, .tick_ms = last_ms };

    if (last_ms > now_ms + clock_error_ms) {
        tick.kind = CRON_TICK_CLOCK;
        tick.tick_ms = now_ms;
    } else if (next_ms(expr, tz, last_ms) <= now_ms) {
        tick.tick_ms = 1000 * cron_latest(expr, tz, last_ms / 1000, now_ms / 1000);
        tick.kind = now_ms - tick.tick_ms <= catch_up_ms ? CRON_TICK_LAUNCH : CRON_TICK_MISSED;
    }
    tick.next_ms = next_ms(expr, tz, tick.tick_ms);
    *ret_tick = tick;
}
