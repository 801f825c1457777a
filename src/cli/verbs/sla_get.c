/* SPDX-License-Identifier: Apache-2.0 */

/* davit sla get-task-up-count, sla get-job-uptime: how long the instances of a job have been up.
 *
 * The Aurora client's words and arithmetic: the uptime of an instance is the time since the first
 * RUNNING event of its present task; one that never ran counts as an instance that is not up.
 */

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/verbs.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LIST_MAX = 100 };

static const int64_t SECS_MAX = 100LL * 365 * 24 * 3600;

/* Instances of a job: how many, and how long each has been up, the shortest first. */
struct uptimes {
    size_t n_instances;
    double *secs;
    size_t n;
};

static void uptimes_fini(struct uptimes *uptimes)
{
    free(uptimes->secs);
}

static int compare_numbers(const void *a, const void *b)
{
    double one = *(const double *)a;
    double two = *(const double *)b;

    return (one > two) - (one < two);
}

static void add_task(struct uptimes *uptimes, const json_t *task, uint64_t now_ms)
{
    size_t i;
    json_t *event;

    uptimes->n_instances++;
    json_array_foreach(json_object_get(task, "events"), i, event)
    {
        if (str_eq(json_str_or(event, "state", ""), "RUNNING")) {
            uint64_t since_ms = (uint64_t)json_int_or(event, "time_ms", 0);

            uptimes->secs[uptimes->n++] =
                now_ms > since_ms ? floor((double)(now_ms - since_ms) / 1000) : 0;
            return;
        }
    }
}

static int fetch(struct verb_call *call, struct uptimes *uptimes, struct err *err)
{
    CLEANUP(cli_key_fini) struct cli_key key = { 0 };
    CLEANUP(json_freep) json_t *tasks = NULL;
    CLEANUP_BUF path = { 0 };
    struct client *client = NULL;
    uint64_t now_ms;
    size_t i;
    json_t *task;

    buf_add_text(&path, "/v1/tasks");
    client_query(&path, "job", call->operands[0]);
    if (cli_key_parse(call->operands[0], &key, err) < 0 ||
        cli_client(call->cli, key.cluster, &client, err) < 0 ||
        cli_request_list(call->cli, client, buf_text(&path), &tasks, err) < 0) {
        return err_code(err);
    }
    if (json_array_size(tasks) == 0) {
        return err_set(err, ERR_INVALID, "Job %s not found", call->operands[0]);
    }
    now_ms = clock_wall_ms();
    uptimes->secs = mem_alloc(json_array_size(tasks) * sizeof(double));
    json_array_foreach(tasks, i, task)
    {
        if (json_bool_or(task, "active", false)) {
            add_task(uptimes, task, now_ms);
        }
    }
    if (uptimes->n > 0) {
        qsort(uptimes->secs, uptimes->n, sizeof(double), compare_numbers);
    }
    return 0;
}

/* As Python prints a float: at least one decimal. */
static void format_float(double value, char *ret, size_t size)
{
    (void)snprintf(ret, size, "%.12g", value);
    if (strpbrk(ret, ".e") == NULL) {
        (void)snprintf(ret, size, "%.1f", value);
    }
}

/* ---- get-task-up-count ---- */

struct duration {
    int64_t secs;
    int64_t count; /* In the smallest unit that was named: */
    const char *unit;
};

/* "XdYhZmWs", each optional, in that order. */
static bool parse_duration(const char *text, struct duration *ret)
{
    static const struct {
        char letter;
        int64_t secs;
        const char *name;
    } units[] = {
        { 'd', 86400, "days" }, { 'h', 3600, "hrs" }, { 'm', 60, "mins" }, { 's', 1, "secs" }
    };
    struct duration duration = { 0 };
    size_t unit = 0;

    if (*text == '\0') {
        return false;
    }
    while (*text != '\0') {
        size_t digits = strspn(text, "0123456789");
        CLEANUP(mem_freep) char *number = mem_strndup(text, digits);
        int64_t count = 0;
        struct err ignored = { 0 };

        if (str_to_int(number, 0, SECS_MAX, "", &count, &ignored) < 0) {
            return false;
        }
        while (unit < 4 && units[unit].letter != text[digits]) {
            unit++;
        }
        if (unit == 4 || count > SECS_MAX / units[unit].secs) {
            return false;
        }
        duration.secs += count * units[unit].secs;
        duration.count = duration.secs / units[unit].secs;
        duration.unit = units[unit++].name;
        text += digits + 1;
    }
    *ret = duration;
    return true;
}

static int compare_durations(const void *a, const void *b)
{
    const struct duration *one = a;
    const struct duration *two = b;

    return (one->secs > two->secs) - (one->secs < two->secs);
}

static int parse_durations(const char *text, struct duration *durations, size_t *ret_n,
                           struct err *err)
{
    CLEANUP(strv_freep) char **parts = str_split(text, ",");
    size_t n = 0;

    for (char **part = parts; *part != NULL; part++) {
        if (n == LIST_MAX || !parse_duration(*part, &durations[n])) {
            return err_set(err, ERR_USAGE,
                           "argument --durations: Invalid time value: '%.100s' (wanted XdYhZmWs)",
                           *part);
        }
        n++;
    }
    qsort(durations, n, sizeof durations[0], compare_durations);
    *ret_n = n;
    return 0;
}

static double up_percent(const struct uptimes *uptimes, int64_t secs)
{
    size_t up = 0;

    for (size_t i = 0; i < uptimes->n; i++) {
        up += uptimes->secs[i] >= (double)secs;
    }
    return uptimes->n_instances > 0 ? 100.0 * (double)up / (double)uptimes->n_instances : 0;
}

static int run_task_up_count(struct verb_call *call, struct err *err)
{
    CLEANUP(uptimes_fini) struct uptimes uptimes = { 0 };
    CLEANUP(json_freep) json_t *rows = json_array();
    struct duration durations[LIST_MAX];
    size_t n = 0;

    if (parse_durations(verb_text(call, "durations"), durations, &n, err) < 0 ||
        fetch(call, &uptimes, err) < 0) {
        return err_code(err);
    }
    for (size_t i = 0; i < n; i++) {
        double percent = up_percent(&uptimes, durations[i].secs);

        if (call->cli->json) {
            (void)json_array_append_new(rows, json_pack("{sI sf}", "duration_secs",
                                                        (json_int_t)durations[i].secs, "percent",
                                                        percent));
        } else {
            (void)printf("%lld %s\t- %.2f %%\n", (long long)durations[i].count, durations[i].unit,
                         percent);
        }
    }
    if (call->cli->json) {
        cli_print_json(rows);
    }
    return 0;
}

static const struct verb_option up_count_options[] = {
    { "durations", 0, ARGS_TEXT, "D,...", "durations as XdYhZmWs (1m,10m,1h,12h,7d)",
      "1m,10m,1h,12h,7d", 0, 0 },
    { 0 },
};

const struct verb verb_sla_get_task_up_count = {
    .noun = "sla",
    .name = "get-task-up-count",
    .operands = "CLUSTER/ROLE/ENV/NAME",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "Print the percentage of instances that have been up for at least each duration.",
    .details = "An unknown job: exit 6.",
    .options = up_count_options,
    .json = true,
    .run = run_task_up_count,
};

/* ---- get-job-uptime ---- */

static int parse_percentiles(const char *text, double *percentiles, size_t *ret_n, struct err *err)
{
    CLEANUP(strv_freep) char **parts = str_split(text, ",");
    size_t n = 0;

    for (char **part = parts; *part != NULL; part++) {
        char *end = NULL;
        double value = strtod(*part, &end);

        if (n == LIST_MAX || **part == '\0' || *end != '\0' || !(value > 0 && value < 100)) {
            return err_set(err, ERR_USAGE,
                           "argument --percentiles: Invalid percentile value: '%.100s' (wanted "
                           "numbers between 0 and 100)",
                           *part);
        }
        percentiles[n++] = value;
    }
    qsort(percentiles, n, sizeof percentiles[0], compare_numbers);
    *ret_n = n;
    return 0;
}

/* For how long have that many percent of the instances been up? */
static double job_uptime(const struct uptimes *uptimes, double percentile)
{
    size_t n = uptimes->n;
    size_t skipped = (size_t)(percentile * (double)n / 100);

    return n > skipped ? uptimes->secs[n - skipped - 1] : 0;
}

static int run_job_uptime(struct verb_call *call, struct err *err)
{
    CLEANUP(uptimes_fini) struct uptimes uptimes = { 0 };
    CLEANUP(json_freep) json_t *rows = json_array();
    double percentiles[LIST_MAX];
    size_t n = 0;

    if (parse_percentiles(verb_text(call, "percentiles"), percentiles, &n, err) < 0 ||
        fetch(call, &uptimes, err) < 0) {
        return err_code(err);
    }
    while (n-- > 0) {
        double secs = job_uptime(&uptimes, percentiles[n]);
        char percentile[32];

        format_float(percentiles[n], percentile, sizeof percentile);
        if (call->cli->json) {
            (void)json_array_append_new(
                rows, json_pack("{sf sf}", "percentile", percentiles[n], "uptime_secs", secs));
        } else {
            (void)printf("%s percentile\t- %.1f seconds\n", percentile, secs);
        }
    }
    if (call->cli->json) {
        cli_print_json(rows);
    }
    return 0;
}

static const struct verb_option uptime_options[] = {
    { "percentiles", 0, ARGS_TEXT, "P,...",
      "numbers between 0 and 100 (99,95,90,85,75,60,50,30,10)", "99,95,90,85,75,60,50,30,10", 0,
      0 },
    { 0 },
};

const struct verb verb_sla_get_job_uptime = {
    .noun = "sla",
    .name = "get-job-uptime",
    .operands = "CLUSTER/ROLE/ENV/NAME",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "Print for how long each percentile of the instances has been up.",
    .details = "An unknown job: exit 6.",
    .options = uptime_options,
    .json = true,
    .run = run_job_uptime,
};
