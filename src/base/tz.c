/* SPDX-License-Identifier: Apache-2.0 */

/* tz: time zones from the system's database, as values.
 *
 * A file has a table of instants at which the offset changes, and behind it one rule in
 * the notation of POSIX's TZ ("CET-1CEST,M3.5.0,M10.5.0/3") for all times past the table.
 * The first block of a file, with 32-bit times, is only read when there is no second one.
 * Not here: names of offsets ("CEST"), and files that count leap seconds, which are refused.
 *
 * A file is somebody else's bytes: every count in it is checked against the file's length
 * before it is believed.
 */

#include "base/tz.h"

#include "base/file.h"
#include "base/str.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define DATABASE "/usr/share/zoneinfo"

enum {
    DAY_S = 86400,
    HOUR_S = 3600,
    MAX_OFFSET_S = 26 * HOUR_S,
    HEADER_BYTES = 44,
    MAX_TYPES = 256,
    MAX_FOOTER = 128,
    MAX_RULE_HOURS = 167, /* Of the time at which a rule's change happens: RFC 8536. */
};

static const int64_t big_bang_s = INT64_C(1) << 59; /* No file goes further back. */

/* One of the two changes of a year. */
struct tz_change {
    char kind; /* 'M' month.week.weekday, 'J' day 1..365 without leap days, 'N' day 0..365 */
    unsigned month, week, day;
    int32_t time_s; /* Of that day, by the clock before the change. */
};

struct tz_rule {
    bool known, dst; /* Is there one; does it change at all? */
    int32_t std_s, dst_s;
    struct tz_change start, end; /* Of daylight saving time. */
};

struct tz {
    char *name;
    size_t n;            /* Changes of the table. */
    int64_t *at;         /* Instants, ascending. */
    int32_t *offset;     /* From at[i] on. */
    int32_t before_s;    /* Offset before the first of them. */
    struct tz_rule rule; /* From the last of them on. */
};

/* ---- The calendar ---- */

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0 ? 1 : 0);
}

static bool is_leap(int64_t year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

unsigned tz_days_of_month(int64_t year, unsigned month)
{
    static const unsigned char days[12] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

    return month == 2 && is_leap(year) ? 29 : days[(month - 1) % 12];
}

/* Days since 1970-01-01.  Years begin in March here, so that the leap day is the last one. */
static int64_t days_of(int64_t year, unsigned month, unsigned day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = floor_div(y, 400);
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;

    return era * 146097 + day_of_era - 719468;
}

void tz_split(int64_t local, struct tz_civil *ret_civil)
{
    int64_t days = floor_div(local, DAY_S);
    unsigned second = (unsigned)(local - days * DAY_S);
    int64_t z = days + 719468;
    int64_t era = floor_div(z, 146097);
    int64_t doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    unsigned mp = (unsigned)((5 * doy + 2) / 153);

    ret_civil->day = (unsigned)(doy - (153 * mp + 2) / 5 + 1);
    ret_civil->month = mp < 10 ? mp + 3 : mp - 9;
    ret_civil->year = yoe + era * 400 + (ret_civil->month <= 2 ? 1 : 0);
    ret_civil->weekday = (unsigned)(days + 4 - 7 * floor_div(days + 4, 7));
    ret_civil->hour = second / HOUR_S;
    ret_civil->minute = second % HOUR_S / 60;
    ret_civil->second = second % 60;
}

int64_t tz_join(const struct tz_civil *civil)
{
    return days_of(civil->year, civil->month, civil->day) * DAY_S + (int64_t)civil->hour * HOUR_S +
           (int64_t)civil->minute * 60 + civil->second;
}

/* ---- The rule ---- */

/* What is left of a rule's text. */
struct scan {
    const char *at;
    bool bad;
};

static bool scan_skip(struct scan *scan, char c)
{
    if (*scan->at != c) {
        return false;
    }
    scan->at++;
    return true;
}

static void scan_need(struct scan *scan, char c)
{
    if (!scan_skip(scan, c)) {
        scan->bad = true;
    }
}

static int32_t scan_number(struct scan *scan, int32_t min, int32_t max)
{
    int32_t value = 0;
    const char *begin = scan->at;

    while (*scan->at >= '0' && *scan->at <= '9' && scan->at - begin < 4) {
        value = value * 10 + (*scan->at++ - '0');
    }
    if (scan->at == begin || value < min || value > max) {
        scan->bad = true;
        return min;
    }
    return value;
}

/* "EST" or "<-03>": only skipped. */
static void scan_name(struct scan *scan)
{
    bool quoted = scan_skip(scan, '<');
    const char *begin = scan->at;

    while ((*scan->at >= 'a' && *scan->at <= 'z') || (*scan->at >= 'A' && *scan->at <= 'Z') ||
           (quoted &&
            ((*scan->at >= '0' && *scan->at <= '9') || *scan->at == '+' || *scan->at == '-'))) {
        scan->at++;
    }
    if (scan->at - begin < 3) {
        scan->bad = true;
    }
    if (quoted) {
        scan_need(scan, '>');
    }
}

/* [+-]hh[:mm[:ss]] in seconds. */
static int32_t scan_time(struct scan *scan, int32_t max_hours)
{
    bool minus = scan_skip(scan, '-');
    int32_t value;

    if (!minus) {
        (void)scan_skip(scan, '+');
    }
    value = scan_number(scan, 0, max_hours) * HOUR_S;
    if (scan_skip(scan, ':')) {
        value += scan_number(scan, 0, 59) * 60;
        if (scan_skip(scan, ':')) {
            value += scan_number(scan, 0, 59);
        }
    }
    return minus ? -value : value;
}

static void scan_change(struct scan *scan, struct tz_change *ret_change)
{
    scan_need(scan, ',');
    ret_change->kind = 'N';
    if (scan_skip(scan, 'M')) {
        ret_change->kind = 'M';
        ret_change->month = (unsigned)scan_number(scan, 1, 12);
        scan_need(scan, '.');
        ret_change->week = (unsigned)scan_number(scan, 1, 5);
        scan_need(scan, '.');
        ret_change->day = (unsigned)scan_number(scan, 0, 6);
    } else if (scan_skip(scan, 'J')) {
        ret_change->kind = 'J';
        ret_change->day = (unsigned)scan_number(scan, 1, 365);
    } else {
        ret_change->day = (unsigned)scan_number(scan, 0, 365);
    }
    ret_change->time_s = scan_skip(scan, '/') ? scan_time(scan, MAX_RULE_HOURS) : 2 * HOUR_S;
}

static int parse_rule(const char *text, struct tz_rule *ret_rule, struct err *err)
{
    struct tz_rule rule = { .known = true };
    struct scan scan = { .at = text };

    scan_name(&scan);
    rule.std_s = -scan_time(&scan, 24); /* POSIX counts to the west. */
    if (*scan.at != '\0' && !scan.bad) {
        rule.dst = true;
        scan_name(&scan);
        rule.dst_s = *scan.at == ',' ? rule.std_s + HOUR_S : -scan_time(&scan, 24);
        scan_change(&scan, &rule.start);
        scan_change(&scan, &rule.end);
    }
    if (scan.bad || *scan.at != '\0') {
        return err_set(err, ERR_CONFIG, "its rule '%.80s' cannot be read", text);
    }
    *ret_rule = rule;
    return 0;
}

/* The day of that year, as days since 1970. */
static int64_t change_day(const struct tz_change *change, int64_t year)
{
    int64_t first = days_of(year, 1, 1);
    unsigned leap_day = is_leap(year) && change->day >= 60 ? 1 : 0;
    struct tz_civil civil;
    unsigned day;

    if (change->kind == 'J') {
        return first + change->day - 1 + leap_day;
    }
    if (change->kind == 'N') {
        return first + change->day;
    }
    first = days_of(year, change->month, 1);
    tz_split(first * DAY_S, &civil);
    day = (change->day + 7 - civil.weekday) % 7 + 7 * (change->week - 1); /* Counted from 0. */
    while (day >= tz_days_of_month(year, change->month)) {
        day -= 7; /* Week 5 is the last one. */
    }
    return first + day;
}

static int32_t rule_offset(const struct tz_rule *rule, int64_t utc, int64_t *ret_until)
{
    struct tz_civil civil;
    int64_t begun = INT64_MIN; /* The latest change until utc. */
    int32_t offset = rule->std_s;

    *ret_until = TZ_FOREVER;
    if (!rule->dst) {
        return offset;
    }
    tz_split(utc, &civil);
    /* A change may lie a week outside of its year. */
    for (int64_t year = civil.year - 1; year <= civil.year + 2; year++) {
        int64_t start = change_day(&rule->start, year) * DAY_S + rule->start.time_s - rule->std_s;
        int64_t end = change_day(&rule->end, year) * DAY_S + rule->end.time_s - rule->dst_s;

        if (end <= utc && end > begun) {
            begun = end;
            offset = rule->std_s;
        }
        if (start <= utc && start >= begun) { /* At the same instant: it never ended. */
            begun = start;
            offset = rule->dst_s;
        }
        *ret_until = start > utc && start < *ret_until ? start : *ret_until;
        *ret_until = end > utc && end < *ret_until ? end : *ret_until;
    }
    return offset;
}

/* ---- Files ---- */

static uint32_t read_u32(const unsigned char *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static int64_t read_time(const unsigned char *at, size_t width)
{
    return width == 4 ? (int32_t)read_u32(at)
                      : (int64_t)((uint64_t)read_u32(at) << 32 | read_u32(at + 4));
}

/* Header of one of the two blocks. */
struct block {
    char version;
    size_t isut, isstd, leap, time, type, chars;
    size_t bytes; /* Behind the header, with times of that width. */
};

static int read_header(const unsigned char *at, size_t left, size_t width, struct block *ret_block,
                       struct err *err)
{
    struct block b = { 0 };

    if (left < HEADER_BYTES || memcmp(at, "TZif", 4) != 0) {
        return err_set(err, ERR_CONFIG, "it is not a TZif file");
    }
    b.version = (char)at[4];
    b.isut = read_u32(at + 20);
    b.isstd = read_u32(at + 24);
    b.leap = read_u32(at + 28);
    b.time = read_u32(at + 32);
    b.type = read_u32(at + 36);
    b.chars = read_u32(at + 40);
    if (b.isut > MAX_TYPES || b.isstd > MAX_TYPES || b.type > MAX_TYPES || b.type == 0 ||
        b.leap > left || b.time > left || b.chars > left) {
        return err_set(err, ERR_CONFIG, "its counts are not those of a TZif file");
    }
    b.bytes = b.time * (width + 1) + b.type * 6 + b.chars + b.leap * (width + 4) + b.isstd + b.isut;
    if (b.bytes > left - HEADER_BYTES) {
        return err_set(err, ERR_CONFIG, "it is cut off");
    }
    *ret_block = b;
    return 0;
}

/* at is behind the header, which says that all of it is there. */
static int read_table(const unsigned char *at, const struct block *b, size_t width, struct tz *tz,
                      struct err *err)
{
    const unsigned char *index = at + b->time * width;
    const unsigned char *types = index + b->time;
    int32_t offsets[MAX_TYPES];

    if (b->leap > 0) {
        return err_set(err, ERR_CONFIG, "it counts leap seconds");
    }
    for (size_t i = 0; i < b->type; i++) {
        offsets[i] = (int32_t)read_u32(types + i * 6);
        if (offsets[i] <= -MAX_OFFSET_S || offsets[i] >= MAX_OFFSET_S) {
            return err_set(err, ERR_CONFIG, "it has an offset of %" PRId32 " seconds", offsets[i]);
        }
    }
    tz->before_s = offsets[0];
    tz->at = mem_alloc((b->time + 1) * sizeof(*tz->at));
    tz->offset = mem_alloc((b->time + 1) * sizeof(*tz->offset));
    for (size_t i = 0; i < b->time; i++) {
        tz->at[i] = read_time(at + i * width, width);
        if (index[i] >= b->type || (i > 0 && tz->at[i] <= tz->at[i - 1]) ||
            tz->at[i] < -big_bang_s || tz->at[i] > big_bang_s) {
            return err_set(err, ERR_CONFIG, "its table of changes is not in order");
        }
        tz->offset[i] = offsets[index[i]];
    }
    tz->n = b->time;
    return 0;
}

/* "\nCET-1CEST,M3.5.0,M10.5.0/3\n" */
static int read_footer(const unsigned char *at, size_t left, struct tz *tz, struct err *err)
{
    CLEANUP(mem_freep) char *text = NULL;
    const unsigned char *end = left > 1 ? memchr(at + 1, '\n', left - 1) : NULL;

    if (end == NULL || at[0] != '\n' || end - at > MAX_FOOTER) {
        return err_set(err, ERR_CONFIG, "its last line is not a rule");
    }
    text = mem_strndup((const char *)at + 1, (size_t)(end - at - 1));
    return text[0] == '\0' ? 0 : parse_rule(text, &tz->rule, err);
}

static int decode(const unsigned char *at, size_t len, struct tz *tz, struct err *err)
{
    struct block block;
    size_t second;

    if (read_header(at, len, 4, &block, err) < 0) {
        return err_code(err);
    }
    if (block.version == '\0') {
        return read_table(at + HEADER_BYTES, &block, 4, tz, err);
    }
    second = HEADER_BYTES + block.bytes;
    if (read_header(at + second, len - second, 8, &block, err) < 0 ||
        read_table(at + second + HEADER_BYTES, &block, 8, tz, err) < 0) {
        return err_code(err);
    }
    second += HEADER_BYTES + block.bytes;
    return read_footer(at + second, len - second, tz, err);
}

int tz_decode(const char *name, const void *bytes, size_t len, struct tz **ret_tz, struct err *err)
{
    CLEANUP(tz_freep) struct tz *tz = mem_alloc(sizeof(*tz));

    tz->name = mem_strdup(name);
    if (len > TZ_MAX_FILE) {
        return err_set(err, ERR_TOOBIG, "time zone %s: larger than %d bytes", name, TZ_MAX_FILE);
    }
    if (decode(bytes, len, tz, err) < 0) {
        return err_wrap(err, "time zone %s", name);
    }
    *ret_tz = TAKE(tz);
    return 0;
}

/* Parts of letters, digits and _+-, parted by single slashes. */
static bool is_name(const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789_+-";

    if (strlen(name) > TZ_MAX_NAME) {
        return false;
    }
    for (;;) {
        size_t n = strspn(name, letters);

        if (n == 0) {
            return false;
        }
        name += n;
        if (*name == '\0') {
            return true;
        }
        if (*name++ != '/') {
            return false;
        }
    }
}

static int read_file(const char *name, char *ret, size_t size, size_t *ret_len, struct err *err)
{
    CLEANUP(fd_closep) int root = open(DATABASE, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CLEANUP(fd_closep) int fd = -1;
    ssize_t got;

    *ret_len = 0;
    if (root < 0) {
        return err_set(err, ERR_CONFIG, "there is no time zone database at " DATABASE);
    }
    if (file_open_beneath(root, name, O_RDONLY | O_NONBLOCK, 0, &fd, err) < 0) {
        return err_set(err, ERR_CONFIG, "there is no time zone %s", name);
    }
    while (*ret_len < size && (got = read(fd, ret + *ret_len, size - *ret_len)) != 0) {
        if (got < 0) {
            return err_set(err, ERR_CONFIG, "there is no time zone %s: %s", name, strerror(errno));
        }
        *ret_len += (size_t)got;
    }
    return 0;
}

int tz_load(const char *name, struct tz **ret_tz, struct err *err)
{
    CLEANUP(mem_freep) char *bytes = NULL;
    size_t len;

    if (str_eq(name, "UTC")) {
        struct tz *tz = mem_alloc(sizeof(*tz));

        tz->name = mem_strdup(name);
        *ret_tz = tz;
        return 0;
    }
    if (!is_name(name)) {
        return err_set(err, ERR_CONFIG, "'%.80s' is not the name of a time zone", name);
    }
    bytes = mem_alloc(TZ_MAX_FILE + 1);
    if (read_file(name, bytes, TZ_MAX_FILE + 1, &len, err) < 0) {
        return err_code(err);
    }
    return tz_decode(name, bytes, len, ret_tz, err);
}

void tz_free(struct tz *tz)
{
    if (tz != NULL) {
        free(tz->name);
        free(tz->at);
        free(tz->offset);
        free(tz);
    }
}

/* ---- Asking ---- */

const char *tz_name(const struct tz *tz)
{
    return tz->name;
}

int32_t tz_offset(const struct tz *tz, int64_t utc, int64_t *ret_until)
{
    size_t lo = 0;
    size_t hi = tz->n; /* at[lo - 1] <= utc < at[hi] */

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (tz->at[mid] <= utc) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    if (lo < tz->n) {
        *ret_until = tz->at[lo];
    } else if (tz->rule.known) {
        return rule_offset(&tz->rule, utc, ret_until);
    } else {
        *ret_until = TZ_FOREVER;
    }
    return lo == 0 ? tz->before_s : tz->offset[lo - 1];
}

size_t tz_to_utc(const struct tz *tz, int64_t local, int64_t ret_utc[2])
{
    size_t n = 0;
    int64_t until;

    for (int64_t at = local - MAX_OFFSET_S; at <= local + MAX_OFFSET_S && n < 2; at = until) {
        int64_t utc = local - tz_offset(tz, at, &until);

        if (utc >= at && utc < until) {
            ret_utc[n++] = utc;
        }
    }
    return n;
}

void tz_format(const struct tz *tz, int64_t utc, char *ret)
{
    struct tz_civil civil;
    int64_t until;
    int32_t offset = tz_offset(tz, utc, &until);
    int minutes = (offset < 0 ? -offset : offset) / 60;

    tz_split(utc + offset, &civil);
    (void)snprintf(ret, TZ_TEXT_SIZE, "%04" PRId64 "-%02u-%02uT%02u:%02u:%02u%c%02d:%02d",
                   civil.year, civil.month, civil.day, civil.hour, civil.minute, civil.second,
                   offset < 0 ? '-' : '+', minutes / 60, minutes % 60);
}
