/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdint.h>

/* Milliseconds since boot; never goes back.  For deadlines and durations. */
uint64_t clock_now_ms(void);

/* Milliseconds since 1970 UTC.  For records that people read. */
uint64_t clock_wall_ms(void);

/* For tests: from now on clock_wall_ms() tells that much more. */
void clock_shift_wall(int64_t offset_ms);

/* "2026-01-02T03:04:05.678Z" of wall milliseconds; ret holds CLOCK_UTC_SIZE. */
enum { CLOCK_UTC_SIZE = 32 };
void clock_format_utc(uint64_t wall_ms, char *ret);
