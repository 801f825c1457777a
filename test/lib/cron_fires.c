/* SPDX-License-Identifier: Apache-2.0 */

/* cron_fires: prints fire times for test/chaos/test_cron_oracle.py.
 *
 * Each line "ZONE<TAB>FROM<TAB>TO<TAB>EXPRESSION" of its input is answered by one line: the fire
 * times in (FROM, TO] as seconds since 1970 UTC. */

#include "base/str.h"
#include "master/cron/cron_next.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int answer(char *line, struct err *err)
{
    CLEANUP(strv_freep) char **parts = str_split(line, "\t");
    CLEANUP(tz_freep) struct tz *tz = NULL;
    struct cron_expr expr;
    int64_t from, to;

    if (strv_len(parts) != 4) {
        return err_set(err, ERR_USAGE, "ZONE FROM TO EXPRESSION");
    }
    if (tz_load(parts[0], &tz, err) < 0 || cron_expr_parse(parts[3], &expr, err) < 0 ||
        str_to_int(parts[1], INT32_MIN, INT64_MAX, "FROM", &from, err) < 0 ||
        str_to_int(parts[2], INT32_MIN, INT64_MAX, "TO", &to, err) < 0) {
        return err->code;
    }
    for (int64_t at = cron_next(&expr, tz, from); at <= to; at = cron_next(&expr, tz, at)) {
        printf("%" PRId64 " ", at);
    }
    printf("\n");
    return 0;
}

int main(void)
{
    CLEANUP(mem_freep) char *line = NULL;
    size_t size = 0;
    struct err err;

    while (getline(&line, &size, stdin) > 0) {
        line[strcspn(line, "\n")] = '\0';
        if (answer(line, &err) < 0) {
            (void)fprintf(stderr, "%s: %s\n", line, err.msg);
            return 1;
        }
    }
    return 0;
}
