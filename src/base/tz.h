/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"
#include "base/mem.h"

#include <stddef.h>
#include <stdint.h>

/* A time zone as a value: what a clock on the wall shows there, past and to come.  Read from the
 * system's database (TZif, RFC 8536); the process's own TZ and localtime() are never asked.
 *
 * Times are seconds: `utc` since 1970-01-01T00:00:00Z, `local` the same count of what the clock
 * shows, as if that were UTC. */
struct tz;

enum {
    TZ_MAX_NAME = 64,
    TZ_MAX_FILE = 128 * 1024, /* The largest of the database has 4 KiB. */
};

#define TZ_FOREVER INT64_MAX

/* "UTC" is built in; any other name is one of the database ("Europe/Berlin").  ERR_CONFIG says why
 * not: no such zone, not a name, not a file that can be used. */
int tz_load(const char *name, struct tz **ret_tz, struct err *err);

/* The same of a file's bytes. */
int tz_decode(const char *name, const void *bytes, size_t len, struct tz **ret_tz, struct err *err);

void tz_free(struct tz *tz);
DEFINE_FREEP(struct tz, tz_free)

const char *tz_name(const struct tz *tz);

/* Seconds that local is ahead of utc at that instant; *ret_until is the first instant at which
 * that may be another number, TZ_FOREVER when there is none. */
int32_t tz_offset(const struct tz *tz, int64_t utc, int64_t *ret_until);

/* The instants at which the clock shows local: 0 when it was skipped, 1, or 2 when it is repeated,
 * the earlier one first (never more than 2 are told). */
size_t tz_to_utc(const struct tz *tz, int64_t local, int64_t ret_utc[2]);

/* A date and time of the proleptic Gregorian calendar. */
struct tz_civil {
    int64_t year;
    unsigned month, day; /* 1..12, 1..31 */
    unsigned weekday;    /* 0 is Sunday; not read by tz_join(). */
    unsigned hour, minute, second;
};

void tz_split(int64_t local, struct tz_civil *ret_civil);
int64_t tz_join(const struct tz_civil *civil);
unsigned tz_days_of_month(int64_t year, unsigned month);

/* "2026-03-29T03:00:00+02:00" of an instant; ret holds TZ_TEXT_SIZE. */
enum { TZ_TEXT_SIZE = 48 };
void tz_format(const struct tz *tz, int64_t utc, char *ret);
