/* SPDX-License-Identifier: Apache-2.0 */

/* davit node list: the machines, whether they answer, and what is used of them. */

#include "base/buf.h"
#include "base/json.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/verbs.h"

#include <string.h>

enum { MIB = 1 << 20 };

static const struct verb_option options[] = {
    { "cluster", 'c', ARGS_TEXT, "NAME", "the cluster (default: the only one known)", NULL, 0, 0 },
    { 0 },
};

/* "host=a rack=b" */
static char *attributes_of(const json_t *node)
{
    CLEANUP_BUF text = { 0 };
    const char *name;
    json_t *value;

    json_object_foreach(json_object_get(node, "attributes"), name, value)
    {
        buf_addf(&text, "%s%s=%s", text.len > 0 ? " " : "", name,
                 json_is_string(value) ? json_string_value(value) : "?");
    }
    return mem_strdup(text.len > 0 ? buf_text(&text) : "-");
}

static json_t *row_of(const json_t *node)
{
    const json_t *total = json_object_get(node, "resources");
    const json_t *used = json_object_get(node, "used");
    json_t *row = json_array();

    cli_add_cell_take(row, mem_strdup(json_str_or(node, "name", "?")));
    cli_add_cell_take(row, mem_strdup(json_bool_or(node, "alive", false)  ? "alive"
                                      : json_bool_or(node, "lost", false) ? "lost"
                                                                          : "away"));
    cli_add_cell_take(row, mem_strdup(json_str_or(node, "mode", "active")));
    cli_add_cell_take(row, str_printf("%lld", (long long)json_int_or(node, "tasks", 0)));
    cli_add_cell_take(
        row, str_printf("%.2f/%.2f", json_num_or(used, "cpu", 0), json_num_or(total, "cpu", 0)));
    cli_add_cell_take(row, str_printf("%lld/%lld MB",
                                      (long long)(json_int_or(used, "ram_bytes", 0) / MIB),
                                      (long long)(json_int_or(total, "ram_bytes", 0) / MIB)));
    cli_add_cell_take(row, str_printf("%lld/%lld MB",
                                      (long long)(json_int_or(used, "disk_bytes", 0) / MIB),
                                      (long long)(json_int_or(total, "disk_bytes", 0) / MIB)));
    cli_add_cell_take(row, mem_strdup(json_str_or(node, "address", "-")));
    cli_add_cell_take(row, attributes_of(node));
    return row;
}

static int run_node_list(struct verb_call *call, struct err *err)
{
    CLEANUP(json_freep) json_t *nodes = NULL;
    CLEANUP(json_freep)
    json_t *rows = json_pack("[[s,s,s,s,s,s,s,s,s]]", "NODE", "STATE", "MODE", "TASKS", "CPU",
                             "RAM", "DISK", "ADDRESS", "ATTRIBUTES");
    struct client *client = NULL;
    size_t i;
    json_t *node;

    if (cli_default_client(call->cli, verb_text(call, "cluster"), &client, err) < 0 ||
        cli_request_list(call->cli, client, "/v1/nodes", &nodes, err) < 0) {
        return err_code(err);
    }
    if (call->cli->json) {
        cli_print_json(nodes);
        return 0;
    }
    json_array_foreach(nodes, i, node)
    {
        (void)json_array_append_new(rows, row_of(node));
    }
    cli_print_table(call->cli, rows);
    return 0;
}

const struct verb verb_node_list = {
    .noun = "node",
    .name = "list",
    .operands = "",
    .summary = "List the nodes, their resources and how much of them is in use.",
    .options = options,
    .json = true,
    .run = run_node_list,
};
