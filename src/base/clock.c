/* SPDX-License-Identifier: Apache-2.0 */

/* clock: the only place that reads the time.  Pure cores get it passed in. */

#include "base/clock.h"

#include <stdio.h>
#include <time.h>

static int64_t wall_offset_ms;

static uint64_t read_ms(clockid_t id)
{
    struct timespec ts = { 0 };

    (void)clock_gettime(id, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

uint64_t clock_now_ms(void)
{
    return read_ms(CLOCK_BOOTTIME);
}

uint64_t clock_wall_ms(void)
{
    return read_ms(CLOCK_REALTIME) + (uint64_t)wall_offset_ms;
}

void clock_shift_wall(int64_t offset_ms)
{
    wall_offset_ms = offset_ms;
}

void clock_format_utc(uint64_t wall_ms, char *ret)
{
    time_t secs = (time_t)(wall_ms / 1000);
    struct tm tm = { 0 };
    char date[24];

    (void)gmtime_r(&secs, &tm);
    (void)strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &tm);
    (void)snprintf(ret, CLOCK_UTC_SIZE, "%s.%03uZ", date, (unsigned)(wall_ms % 1000));
}
