/* SPDX-License-Identifier: Apache-2.0 */

/* davit hook log: the one timeline of every hook that ran, over all levels and
 * nodes.  The master merges it; nodes that did not answer are named on stderr.
 */

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/verbs.h"

#include <stdio.h>
#include <string.h>

static const struct verb_option options[] = {
    { "cluster", 'c', ARGS_TEXT, "NAME", "the cluster (default: the only one known)", NULL, 0, 0 },
    { "op", 0, ARGS_TEXT, "ID", "only runs of this operation (number or id)", NULL, 0, 0 },
    { "job", 0, ARGS_TEXT, "KEY", "only runs for this job", NULL, 0, 0 },
    { "level", 0, ARGS_TEXT, "client|operation|node|pod", "only runs of this level", NULL, 0, 0 },
    { "failed", 0, ARGS_FLAG, NULL, "only runs that did not end well", NULL, 0, 0 },
    { "limit", 0, ARGS_INT, "N", "the newest N (200)", "200", 1, 1000 },
    { 0 },
};

/* Of a program that failed the last line is the one that tells why. */
static char *last_line(const char *text)
{
    size_t end = strlen(text);
    size_t begin;

    while (end > 0 && (text[end - 1] == '\n' || text[end - 1] == ' ')) {
        end--;
    }
    for (begin = end; begin > 0 && text[begin - 1] != '\n'; begin--) {
    }
    return mem_strndup(text + begin, end - begin);
}

static char *detail_of(const json_t *record)
{
    const char *error = json_str_or(record, "error", NULL);
    const char *head = json_str_or(record, "output_head", "");

    if (error != NULL && error[0] != 0) {
        CLEANUP(mem_freep) char *said = last_line(json_str_or(record, "output_tail", head));

        return said[0] != 0 && strstr(error, said) == NULL ? str_printf("%s: %s", error, said)
                                                           : mem_strdup(error);
    }
    return mem_strndup(head, strcspn(head, "\n"));
}

static char *where_of(const json_t *record)
{
    const char *level = json_str_or(record, "level", "");
    const char *node = json_str_or(record, "node", "-");

    if (strcmp(level, "pod") == 0 && json_object_get(record, "instance") != NULL) {
        return str_printf("%s/%lld", node, (long long)json_int_or(record, "instance", 0));
    }
    return mem_strdup(node);
}

static json_t *row_of(const json_t *record)
{
    json_t *row = json_array();
    uint64_t started =
        (uint64_t)json_int_or(record, "started_ms", json_int_or(record, "intent_ms", 0));
    int64_t finished = json_int_or(record, "finished_ms", 0);
    char when[CLOCK_UTC_SIZE];

    clock_format_utc(started, when);
    cli_add_cell_take(row, mem_strdup(when));
    cli_add_cell_take(row, mem_strdup(json_str_or(record, "level", "?")));
    cli_add_cell_take(row, where_of(record));
    cli_add_cell_take(row, mem_strdup(json_str_or(record, "event", "?")));
    cli_add_cell_take(row, mem_strdup(json_str_or(record, "hook", "?")));
    cli_add_cell_take(row, mem_strdup(json_str_or(record, "outcome", "running")));
    cli_add_cell_take(row, finished > 0
                               ? str_printf("%lld ms", (long long)(finished - (int64_t)started))
                               : mem_strdup("-"));
    cli_add_cell_take(row, detail_of(record));
    return row;
}

static void name_missing(const json_t *answer)
{
    CLEANUP_BUF names = { 0 };
    size_t i;
    json_t *node;

    json_array_foreach(json_object_get(answer, "missing"), i, node)
    {
        CLEANUP(mem_freep)
        char *name = str_escape(json_is_string(node) ? json_string_value(node) : "?");

        buf_addf(&names, "%s%s", i > 0 ? ", " : "", name);
    }
    if (names.len > 0) {
        (void)fprintf(stderr, "davit: no answer from %s; their records are missing here\n",
                      buf_text(&names));
    }
}

static int run_hook_log(struct verb_call *call, struct err *err)
{
    CLEANUP_BUF path = { 0 };
    CLEANUP(json_freep) json_t *answer = NULL;
    CLEANUP(json_freep)
    json_t *rows = json_pack("[[s,s,s,s,s,s,s,s]]", "TIME", "LEVEL", "NODE", "EVENT", "HOOK",
                             "OUTCOME", "TOOK", "DETAIL");
    CLEANUP(mem_freep) char *limit = str_printf("%lld", (long long)verb_number(call, "limit"));
    struct client *client = NULL;
    size_t i;
    json_t *record;

    buf_add_text(&path, "/v1/hook-runs");
    client_query(&path, "op", verb_text(call, "op"));
    client_query(&path, "job", verb_text(call, "job"));
    client_query(&path, "level", verb_text(call, "level"));
    client_query(&path, "failed", verb_flag(call, "failed") ? "true" : NULL);
    client_query(&path, "limit", limit);
    if (cli_default_client(call->cli, verb_text(call, "cluster"), &client, err) < 0 ||
        cli_request(call->cli, client, "GET", buf_text(&path), NULL, &answer, err) < 0) {
        return err_code(err);
    }
    name_missing(answer);
    if (call->cli->json) {
        cli_print_json(json_object_get(answer, "items"));
        return 0;
    }
    json_array_foreach(json_object_get(answer, "items"), i, record)
    {
        (void)json_array_append_new(rows, row_of(record));
    }
    cli_print_table(call->cli, rows);
    return 0;
}

const struct verb verb_hook_log = {
    .noun = "hook",
    .name = "log",
    .operands = "",
    .summary = "Show every hook that ran, at client, operation, node and pod level, in time order.",
    .options = options,
    .json = true,
    .run = run_hook_log,
};
