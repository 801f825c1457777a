/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/tz.h"
#include "master/cron/cron_expr.h"

#include <stdint.h>

/* Is a cron job due, as one pure function of its schedule, the last tick that is done with, and
 * the wall clock.
 *
 * A tick that is late by at most catch_up_ms is launched; of several missed ones only the last.
 * Older ones are passed over.  A clock that is set back repeats no tick: nothing is due before the
 * tick after last_ms.  Set forward, it is like an outage of that length.  A last tick more than a
 * day ahead of the clock says that the clock had been wrong: then counting begins anew. */

enum cron_tick_kind {
    CRON_TICK_NONE,   /* Nothing is due before next_ms. */
    CRON_TICK_LAUNCH, /* tick_ms is due. */
    CRON_TICK_MISSED, /* tick_ms is the last of those that are too old. */
    CRON_TICK_CLOCK,  /* The clock had been wrong: tick_ms is where counting begins. */
};

struct cron_tick {
    enum cron_tick_kind kind;
    int64_t tick_ms; /* The new last_ms, unless NONE. */
    int64_t next_ms; /* The tick after that; INT64_MAX: never. */
};

void cron_tick(const struct cron_expr *expr, const struct tz *tz, int64_t last_ms, int64_t now_ms,
               int64_t catch_up_ms, struct cron_tick *ret_tick);
