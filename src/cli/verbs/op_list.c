/* SPDX-License-Identifier: Apache-2.0 */

/* davit op list, op show: operations, what they did and how they ended. */

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/verbs.h"

#include <stdio.h>
#include <string.h>

static const struct verb_option list_options[] = {
    { "cluster", 'c', ARGS_TEXT, "NAME", "the cluster (default: the only one known)", NULL, 0, 0 },
    { "job", 0, ARGS_TEXT, "KEY", "only operations of this job", NULL, 0, 0 },
    { "state", 0, ARGS_TEXT, "queued|running|succeeded|failed|canceled|disappeared",
      "only operations in this state", NULL, 0, 0 },
    { "limit", 0, ARGS_INT, "N", "the newest N (20)", "20", 1, 1000 },
    { 0 },
};

static json_t *first_opcode(const json_t *operation)
{
    return json_array_get(json_object_get(operation, "opcodes"), 0);
}

/* Of an operation on nodes: "node1,node2". */
static char *subject_of(const json_t *opcode)
{
    CLEANUP_BUF names = { 0 };
    size_t i;
    json_t *node;

    if (json_str_or(opcode, "job", NULL) != NULL ||
        strcmp(json_str_or(opcode, "object_type", ""), "NODE") != 0) {
        return mem_strdup(json_str_or(opcode, "job", "-"));
    }
    json_array_foreach(json_object_get(opcode, "pre_nodes"), i, node)
    {
        buf_addf(&names, "%s%s", i > 0 ? "," : "",
                 json_is_string(node) ? json_string_value(node) : "?");
    }
    return mem_strdup(names.len > 0 ? buf_text(&names) : "-");
}

static json_t *row_of(const json_t *operation)
{
    const json_t *opcode = first_opcode(operation);
    json_t *row = json_array();
    char when[CLOCK_UTC_SIZE];

    clock_format_utc((uint64_t)json_int_or(operation, "created_ms", 0), when);
    cli_add_cell_take(row, str_printf("%lld", (long long)json_int_or(operation, "number", 0)));
    cli_add_cell_take(row, mem_strdup(json_str_or(operation, "state", "?")));
    cli_add_cell_take(row, mem_strdup(json_str_or(opcode, "op", "?")));
    cli_add_cell_take(row, subject_of(opcode));
    cli_add_cell_take(row, mem_strdup(json_str_or(operation, "user", "-")));
    cli_add_cell_take(row, mem_strdup(when));
    return row;
}

static int run_op_list(struct verb_call *call, struct err *err)
{
    CLEANUP_BUF path = { 0 };
    CLEANUP(json_freep) json_t *answer = NULL;
    CLEANUP(json_freep)
    json_t *rows =
        json_pack("[[s,s,s,s,s,s]]", "NUMBER", "STATE", "OPCODE", "JOB/NODE", "USER", "CREATED");
    CLEANUP(mem_freep) char *limit = str_printf("%lld", (long long)verb_number(call, "limit"));
    struct client *client = NULL;
    size_t i;
    json_t *operation;

    buf_add_text(&path, "/v1/operations");
    client_query(&path, "job", verb_text(call, "job"));
    client_query(&path, "state", verb_text(call, "state"));
    client_query(&path, "limit", limit);
    if (cli_default_client(call->cli, verb_text(call, "cluster"), &client, err) < 0 ||
        cli_request(call->cli, client, "GET", buf_text(&path), NULL, &answer, err) < 0) {
        return err_code(err);
    }
    if (call->cli->json) {
        cli_print_json(json_object_get(answer, "items"));
        return 0;
    }
    json_array_foreach(json_object_get(answer, "items"), i, operation)
    {
        (void)json_array_append_new(rows, row_of(operation));
    }
    cli_print_table(call->cli, rows);
    return 0;
}

const struct verb verb_op_list = {
    .noun = "op",
    .name = "list",
    .operands = "",
    .summary = "List operations, the newest first.",
    .options = list_options,
    .json = true,
    .run = run_op_list,
};

static const struct verb_option show_options[] = {
    { "cluster", 'c', ARGS_TEXT, "NAME", "the cluster (default: the only one known)", NULL, 0, 0 },
    { 0 },
};

static void print_time(const json_t *operation, const char *key, const char *label)
{
    char when[CLOCK_UTC_SIZE];
    int64_t time_ms = json_int_or(operation, key, 0);

    if (time_ms > 0) {
        clock_format_utc((uint64_t)time_ms, when);
        (void)printf("%-10s %s\n", label, when);
    }
}

static void print_opcode(const struct cli *cli, const json_t *opcode)
{
    CLEANUP(mem_freep) char *op = cli_shown(opcode, "op", "?");
    CLEANUP(mem_freep) char *job = cli_shown(opcode, "job", "-");
    CLEANUP(mem_freep) char *status = cli_shown(opcode, "status", "?");
    CLEANUP(mem_freep) char *step = cli_shown(opcode, "step", "-");
    const char *error = json_str_or(opcode, "error", NULL);
    size_t i;
    json_t *line;

    (void)printf("  %s  %s%s%s", op, cli_color_of(cli, status), status, cli_color_end(cli));
    (void)printf("  job=%s step=%s\n", job, step);
    if (error != NULL) {
        CLEANUP(mem_freep) char *text = str_escape(error);

        (void)printf("    error: %s\n", text);
    }
    json_array_foreach(json_object_get(opcode, "log"), i, line)
    {
        CLEANUP(mem_freep) char *text = str_escape(json_str_or(line, "message", ""));
        char when[CLOCK_UTC_SIZE];

        clock_format_utc((uint64_t)json_int_or(line, "time_ms", 0), when);
        (void)printf("    %s %s\n", when, text);
    }
}

static int run_op_show(struct verb_call *call, struct err *err)
{
    CLEANUP_BUF path = { 0 };
    CLEANUP(json_freep) json_t *operation = NULL;
    struct client *client = NULL;
    size_t i;
    json_t *opcode;

    buf_add_text(&path, "/v1/operations");
    client_segment(&path, call->operands[0]);
    if (cli_default_client(call->cli, verb_text(call, "cluster"), &client, err) < 0 ||
        cli_request(call->cli, client, "GET", buf_text(&path), NULL, &operation, err) < 0) {
        return err_code(err);
    }
    if (call->cli->json) {
        cli_print_json(operation);
        return 0;
    }
    CLEANUP(mem_freep) char *id = cli_shown(operation, "id", "?");
    CLEANUP(mem_freep) char *state = cli_shown(operation, "state", "?");
    CLEANUP(mem_freep) char *user = cli_shown(operation, "user", "-");

    (void)printf("%-10s %lld\n%-10s %s\n", "number", (long long)json_int_or(operation, "number", 0),
                 "id", id);
    (void)printf("%-10s %s%s%s\n%-10s %s\n", "state", cli_color_of(call->cli, state), state,
                 cli_color_end(call->cli), "user", user);
    print_time(operation, "created_ms", "created");
    print_time(operation, "started_ms", "started");
    print_time(operation, "ended_ms", "ended");
    (void)printf("opcodes\n");
    json_array_foreach(json_object_get(operation, "opcodes"), i, opcode)
    {
        print_opcode(call->cli, opcode);
    }
    return 0;
}

const struct verb verb_op_show = {
    .noun = "op",
    .name = "show",
    .operands = "ID",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "Show one operation, by number or id, with its opcodes and their log.",
    .details = "No such operation: exit 14.",
    .options = show_options,
    .json = true,
    .run = run_op_show,
};
