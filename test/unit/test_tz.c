/* SPDX-License-Identifier: Apache-2.0 */

#include "base/tz.h"

#include "base/buf.h"
#include "test.h"

#include <string.h>

static struct tz *load(const char *name)
{
    struct tz *tz = NULL;
    struct err err = { 0 };

    if (tz_load(name, &tz, &err) < 0) {
        fail_msg("%s", err.msg);
    }
    return tz;
}

static int64_t at(int64_t year, unsigned month, unsigned day, unsigned hour, unsigned minute)
{
    return tz_join(&(struct tz_civil){
        .year = year, .month = month, .day = day, .hour = hour, .minute = minute });
}

static void offset_is(const char *zone, int64_t utc, int32_t offset, int64_t until)
{
    CLEANUP(tz_freep) struct tz *tz = load(zone);
    int64_t end;

    assert_int_equal(tz_offset(tz, utc, &end), offset);
    assert_int_equal(end, until);
}

static void dates_go_there_and_back(void **state)
{
    struct tz_civil civil;

    (void)state;
    for (int64_t day = -800000; day < 800000; day += 7) {
        int64_t local = day * 86400 + (day % 86400 + 86400) % 86400;

        tz_split(local, &civil);
        assert_int_equal(tz_join(&civil), local);
        assert_true(civil.day >= 1 && civil.day <= tz_days_of_month(civil.year, civil.month));
    }
    tz_split(at(2026, 11, 20, 21, 30), &civil);
    assert_int_equal(civil.weekday, 5);
    tz_split(-1, &civil);
    assert_int_equal(civil.year, 1969);
    assert_int_equal(civil.weekday, 3);
    assert_int_equal(civil.second, 59);
}

static void utc_is_built_in(void **state)
{
    (void)state;
    offset_is("UTC", 0, 0, TZ_FOREVER);
    offset_is("Etc/UTC", 1, 0, TZ_FOREVER);
}

static void tables_and_rules_are_followed(void **state)
{
    (void)state;
    /* In the table, and past it. */
    offset_is("Europe/Berlin", at(2020, 3, 29, 0, 59), 3600, at(2020, 3, 29, 1, 0));
    offset_is("Europe/Berlin", at(2020, 3, 29, 1, 0), 7200, at(2020, 10, 25, 1, 0));
    offset_is("Europe/Berlin", at(2090, 3, 26, 0, 59), 3600, at(2090, 3, 26, 1, 0));
    offset_is("Europe/Berlin", at(2090, 3, 26, 1, 0), 7200, at(2090, 10, 29, 1, 0));
    offset_is("America/New_York", at(2060, 11, 7, 5, 59), -4 * 3600, at(2060, 11, 7, 6, 0));
    /* South of the equator the year begins in daylight saving time. */
    offset_is("Australia/Sydney", at(2061, 1, 1, 0, 0), 11 * 3600, at(2061, 4, 2, 16, 0));
    offset_is("Australia/Lord_Howe", at(2061, 1, 1, 0, 0), 11 * 3600, at(2061, 4, 2, 15, 0));
    /* "<-02>2<-01>,M3.5.0/-1,M10.5.0/0": by the clock of the day before. */
    offset_is("America/Nuuk", at(2061, 3, 27, 0, 59), -2 * 3600, at(2061, 3, 27, 1, 0));
    /* Without daylight saving time there is no next change. */
    offset_is("Asia/Tokyo", at(2026, 1, 1, 0, 0), 9 * 3600, TZ_FOREVER);
    /* Before all. */
    offset_is("Asia/Tokyo", at(1800, 1, 1, 0, 0), 33539, at(1887, 12, 31, 15, 0));
}

static void local_times_may_be_skipped_or_repeated(void **state)
{
    CLEANUP(tz_freep) struct tz *berlin = load("Europe/Berlin");
    CLEANUP(tz_freep) struct tz *apia = load("Pacific/Apia");
    int64_t utc[2];

    (void)state;
    assert_int_equal(tz_to_utc(berlin, at(2026, 7, 1, 12, 0), utc), 1);
    assert_int_equal(utc[0], at(2026, 7, 1, 10, 0));
    assert_int_equal(tz_to_utc(berlin, at(2026, 3, 29, 2, 30), utc), 0);
    assert_int_equal(tz_to_utc(berlin, at(2026, 3, 29, 3, 0), utc), 1);
    assert_int_equal(utc[0], at(2026, 3, 29, 1, 0));
    assert_int_equal(tz_to_utc(berlin, at(2026, 10, 25, 2, 30), utc), 2);
    assert_int_equal(utc[0], at(2026, 10, 25, 0, 30));
    assert_int_equal(utc[1], at(2026, 10, 25, 1, 30));
    assert_int_equal(tz_to_utc(apia, at(2011, 12, 30, 12, 0), utc), 0); /* No such day there. */
}

static void instants_are_written_with_their_offset(void **state)
{
    CLEANUP(tz_freep) struct tz *berlin = load("Europe/Berlin");
    CLEANUP(tz_freep) struct tz *caracas = load("America/Caracas");
    char text[TZ_TEXT_SIZE];

    (void)state;
    tz_format(berlin, at(2026, 3, 29, 1, 0), text);
    assert_string_equal(text, "2026-03-29T03:00:00+02:00");
    tz_format(caracas, at(2010, 1, 1, 0, 0), text);
    assert_string_equal(text, "2009-12-31T19:30:00-04:30");
}

static void names_cannot_leave_the_database(void **state)
{
    static const char *const bad[] = { "",
                                       "/etc/passwd",
                                       "../../../etc/passwd",
                                       "Europe//X",
                                       "Europe/",
                                       "./UTC",
                                       "Europe/..",
                                       "Europe",
                                       "zone.tab",
                                       "localtime",
                                       "Mars/Olympus",
                                       "a b",
                                       "right/UTC",
                                       "Etc/UTC\n",
                                       "\xff",
                                       "leap-seconds",
                                       "posixrules/a" };
    struct tz *tz = NULL;
    struct err err;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        err.code = 0;
        assert_int_equal(tz_load(bad[i], &tz, &err), ERR_CONFIG);
        assert_int_equal(err.code, ERR_CONFIG);
    }
    assert_null(tz);
}

/* A file of version 2: an empty first block, `n` changes of one type, a footer. */
static void build(struct buf *file, unsigned n, unsigned types, const char *footer)
{
    unsigned char header[44] = "TZif2";

    header[39] = 1; /* One type. */
    header[43] = 4;
    buf_add(file, header, sizeof header);
    buf_add(file, "\0\0\0\0\0\0UTC\0", 10);
    header[35] = (unsigned char)n;
    header[39] = (unsigned char)types;
    buf_add(file, header, sizeof header);
    for (unsigned i = 0; i < n; i++) {
        unsigned char time[8] = { 0, 0, 0, 0, 0, 0, 1, (unsigned char)i };

        buf_add(file, time, sizeof time);
    }
    for (unsigned i = 0; i < n; i++) {
        buf_add(file, "\0", 1);
    }
    for (unsigned i = 0; i < types; i++) {
        buf_add(file, "\0\0\x0e\x10\0\0", 6);
    }
    buf_add(file, "UTC\0", 4);
    buf_add_text(file, footer);
}

static int decode(const void *bytes, size_t len)
{
    CLEANUP(tz_freep) struct tz *tz = NULL;
    struct err err;
    /* Exactly as long as it is, so that ASan sees a byte too many being read. */
    CLEANUP(mem_freep) char *copy = mem_dup(bytes, len);

    return tz_decode("test", copy, len, &tz, &err);
}

static void broken_files_are_refused(void **state)
{
    static const char *const rules[] = { "CET",
                                         "CET-",
                                         "CET-1CEST",
                                         "C-1",
                                         "CET-1CEST,M3.5.0",
                                         "CET-1CEST,M13.1.0,M10.5.0",
                                         "CET-1CEST,M3.6.0,M10.5.0",
                                         "CET-1CEST,J0,J9",
                                         "CET-1CEST,M3.5.0,M10.5.0x",
                                         "<+1-1",
                                         "CET-25",
                                         "CET-1CEST,M3.5.0/168,M10.5.0" };
    CLEANUP_BUF file = { 0 };

    (void)state;
    build(&file, 3, 2, "\nCET-1CEST,M3.5.0,M10.5.0/3\n");
    assert_int_equal(decode(file.data, file.len), 0);
    for (size_t len = 0; len < file.len; len++) {
        assert_true(decode(file.data, len) < 0);
    }
    for (size_t i = 0; i < file.len; i++) { /* No flipped byte does more than being refused. */
        for (int bit = 0; bit < 8; bit++) {
            file.data[i] = (char)(file.data[i] ^ 1 << bit);
            (void)decode(file.data, file.len);
            file.data[i] = (char)(file.data[i] ^ 1 << bit);
        }
    }
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        CLEANUP_BUF other = { 0 };

        buf_addf(&other, "\n%s\n", rules[i]);
        buf_clear(&file);
        build(&file, 3, 2, buf_text(&other));
        assert_int_equal(decode(file.data, file.len), ERR_CONFIG);
    }
    buf_clear(&file);
    build(&file, 0, 1, "\n\n"); /* No rule is a rule. */
    assert_int_equal(decode(file.data, file.len), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dates_go_there_and_back),
        cmocka_unit_test(utc_is_built_in),
        cmocka_unit_test(tables_and_rules_are_followed),
        cmocka_unit_test(local_times_may_be_skipped_or_repeated),
        cmocka_unit_test(instants_are_written_with_their_offset),
        cmocka_unit_test(names_cannot_leave_the_database),
        cmocka_unit_test(broken_files_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
