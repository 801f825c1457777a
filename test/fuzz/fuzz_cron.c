/* SPDX-License-Identifier: Apache-2.0 */

/* Fuzzes what people and files tell a cron job: reaches cron_expr_parse() and cron_next(), and, for
 * inputs that begin with "TZif", tz_decode(), tz_offset(), tz_to_utc() and cron_next() in that
 * zone. */

#include "master/cron/cron_next.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look(const struct cron_expr *expr, const struct tz *tz)
{
    int64_t at = INT64_C(1700000000);

    for (int i = 0; i < 3; i++) {
        int64_t next = cron_next(expr, tz, at);

        assert(next > at);
        if (next == CRON_NEVER) {
            return;
        }
        assert(cron_latest(expr, tz, at, next) == next);
        assert(cron_latest(expr, tz, at, next - 1) == CRON_NEVER);
        at = next;
    }
}

static void zone(const uint8_t *data, size_t size)
{
    CLEANUP(tz_freep) struct tz *tz = NULL;
    struct cron_expr expr;
    struct err err = { 0 };
    int64_t at = INT64_C(1700000000), until, utc[2];

    if (tz_decode("fuzz", data, size, &tz, &err) < 0) {
        assert(tz == NULL && err.msg[0]);
        return;
    }
    for (int i = 0; i < 20 && at < INT64_C(4000000000); i++, at = until) {
        int32_t offset = tz_offset(tz, at, &until);
        size_t n = tz_to_utc(tz, at + offset, utc);

        assert(until > at && n >= 1 && (utc[0] == at || n == 2));
    }
    (void)cron_expr_parse("30 1-3 * * *", &expr, &err);
    look(&expr, tz);
    (void)cron_expr_parse("*/20 * * * *", &expr, &err);
    look(&expr, tz);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(mem_freep) char *text = NULL;
    CLEANUP(tz_freep) struct tz *utc = NULL;
    struct cron_expr expr = { 0 };
    struct err err = { 0 };

    if (size >= 4 && memcmp(data, "TZif", 4) == 0) {
        zone(data, size);
        return 0;
    }
    text = mem_strndup((const char *)data, size);
    if (cron_expr_parse(text, &expr, &err) < 0) {
        assert(expr.minutes == 0 && strncmp(err.msg, "Invalid cron schedule: ", 23) == 0);
        return 0;
    }
    (void)tz_load("UTC", &utc, &err);
    look(&expr, utc);
    return 0;
}
