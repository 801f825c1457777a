/* SPDX-License-Identifier: Apache-2.0 */

/* davit cron show: a cron job's schedule, and when it fires next. */

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/verbs.h"

#include <stdio.h>
#include <string.h>

static const struct verb_option options[] = {
    { "next", 0, ARGS_INT, "N", "the next N fire times too, in the job's time zone and in UTC", "0",
      0, 1000 },
    { 0 },
};

static void print_times(const struct cli *cli, const json_t *entry)
{
    CLEANUP(mem_freep) char *zone = cli_shown(entry, "timezone", "UTC");
    CLEANUP(json_freep) json_t *rows = json_array();
    bool is_utc = strcmp(zone, "UTC") == 0; /* The same twice tells nothing. */
    json_t *row = json_array();
    json_t *time;
    size_t i;

    if (!is_utc) {
        cli_add_cell_take(row, mem_strdup(zone));
    }
    cli_add_cell_take(row, mem_strdup("UTC"));
    (void)json_array_append_new(rows, row);
    json_array_foreach(json_object_get(entry, "next"), i, time)
    {
        char utc[CLOCK_UTC_SIZE];

        clock_format_utc((uint64_t)json_int_or(time, "time_ms", 0), utc);
        row = json_array();
        if (!is_utc) {
            cli_add_cell_take(row, cli_shown(time, "local", "?"));
        }
        cli_add_cell_take(row, str_printf("%.19sZ", utc)); /* Without milliseconds. */
        (void)json_array_append_new(rows, row);
    }
    cli_print_table(cli, rows);
}

/* Why it does not do what its schedule says. */
static void print_warnings(const json_t *entry)
{
    const char *error = json_str_or(entry, "error", NULL);

    if (error != NULL) {
        CLEANUP(mem_freep) char *shown = str_escape(error);

        (void)fprintf(stderr, " WARN] It never fires: %s\n", shown);
    }
}

static int run_cron_show(struct verb_call *call, struct err *err)
{
    CLEANUP(cli_key_fini) struct cli_key key = { 0 };
    CLEANUP(json_freep) json_t *entry = NULL;
    CLEANUP(mem_freep) char *text = NULL;
    CLEANUP(mem_freep) char *schedule = NULL;
    CLEANUP_BUF path = { 0 };
    struct client *client = NULL;
    int64_t next = verb_number(call, "next");

    if (cli_key_parse(call->operands[0], &key, err) < 0 ||
        cli_client(call->cli, key.cluster, &client, err) < 0) {
        return err_code(err);
    }
    const char *const segments[] = { key.cluster, key.role, key.env, key.name };

    text = cli_key_text(&key);
    buf_add_text(&path, "/v1/cron");
    for (size_t i = 0; i < sizeof(segments) / sizeof(segments[0]); i++) {
        client_segment(&path, segments[i]);
    }
    buf_addf(&path, "?next=%lld", (long long)next);
    if (cli_request(call->cli, client, "GET", buf_text(&path), NULL, &entry, err) < 0) {
        return err->code == ERR_NOTFOUND
                   ? err_set(err, ERR_INVALID, "No cron entry found for job %s", text)
                   : err_code(err);
    }
    if (call->cli->json) {
        cli_print_json(entry);
        return 0;
    }
    schedule = cli_shown(entry, "schedule", "");
    (void)printf("%s\t %s\n", text, schedule);
    print_warnings(entry);
    if (next > 0 && json_array_size(json_object_get(entry, "next")) > 0) {
        print_times(call->cli, entry);
    }
    return 0;
}

const struct verb verb_cron_show = {
    .noun = "cron",
    .name = "show",
    .operands = "CLUSTER/ROLE/ENV/NAME",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "Show a cron job's schedule.",
    .details = "Exit 6: the job has no cron entry.",
    .options = options,
    .json = true,
    .run = run_cron_show,
};
