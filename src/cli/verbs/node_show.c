/* SPDX-License-Identifier: Apache-2.0 */

/* davit node show: all that is known of one machine, its own agent asked too. */

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/verbs.h"

#include <stdio.h>
#include <string.h>

enum { MIB = 1 << 20 };

static const struct verb_option options[] = {
    { "cluster", 'c', ARGS_TEXT, "NAME", "the cluster (default: the only one known)", NULL, 0, 0 },
    { 0 },
};

static void line(const char *label, const char *text)
{
    CLEANUP(mem_freep) char *shown = str_escape(text);

    (void)printf("%-12s %s\n", label, shown);
}

static void print_resources(const json_t *node)
{
    const json_t *total = json_object_get(node, "resources");
    const json_t *used = json_object_get(node, "used");
    double cpu = json_num_or(total, "cpu", 0);
    double used_cpu = json_num_or(used, "cpu", 0);
    static const struct {
        const char *label, *key, *unit;
        int64_t divisor;
    } rows[] = { { "ram", "ram_bytes", " MB", MIB },
                 { "disk", "disk_bytes", " MB", MIB },
                 { "ports", "ports", "", 1 } };

    (void)printf("%-12s %.2f used, %.2f free of %.2f\n", "cpu", used_cpu, cpu - used_cpu, cpu);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int64_t all = json_int_or(total, rows[i].key, 0) / rows[i].divisor;
        int64_t taken = json_int_or(used, rows[i].key, 0) / rows[i].divisor;

        (void)printf("%-12s %lld%s used, %lld%s free of %lld%s\n", rows[i].label, (long long)taken,
                     rows[i].unit, (long long)(all - taken), rows[i].unit, (long long)all,
                     rows[i].unit);
    }
}

static void print_attributes(const json_t *node)
{
    const json_t *own = json_object_get(node, "own_attributes");
    const char *name;
    json_t *value;

    (void)printf("attributes\n");
    json_object_foreach(json_object_get(node, "attributes"), name, value)
    {
        CLEANUP(mem_freep) char *shown_name = str_escape(name);
        CLEANUP(mem_freep)
        char *shown = str_escape(json_is_string(value) ? json_string_value(value) : "?");

        (void)printf("  %s=%s%s\n", shown_name, shown,
                     json_object_get(own, name) != NULL ? "  (set by an operator)" : "");
    }
}

static void print_drain(const json_t *drain)
{
    long long waiting = (long long)json_int_or(drain, "waiting_for_sla", 0);
    long long asking = (long long)json_int_or(drain, "waiting_for_coordinator", 0);
    char when[CLOCK_UTC_SIZE];

    if (!json_is_object(drain)) {
        return;
    }
    clock_format_utc((uint64_t)json_int_or(drain, "since_ms", 0), when);
    (void)printf("%-12s since %s", "drain", when);
    clock_format_utc((uint64_t)json_int_or(drain, "deadline_ms", 0), when);
    (void)printf(", forced at %s\n", when);
    line("  by", json_str_or(drain, "user", "-"));
    line("  reason", json_str_or(drain, "reason", "-"));
    if (waiting + asking > 0) {
        (void)printf("  %-10s %lld for the SLA of their jobs, %lld for a coordinator\n", "waiting",
                     waiting, asking);
    }
}

static void print_agent(const json_t *node)
{
    const json_t *agent = json_object_get(node, "agent");

    if (!json_is_object(agent)) {
        line("agent", json_str_or(node, "agent_error", "does not answer"));
        return;
    }
    line("agent", json_str_or(agent, "version", "?"));
    line("kill ladder", json_str_or(agent, "rung", "?"));
    line("store", json_str_or(agent, "store", "?"));
    (void)printf("%-12s %lld running\n", "hooks",
                 (long long)json_int_or(agent, "hooks_running", 0));
}

static void print_items(const struct cli *cli, const json_t *items)
{
    CLEANUP(json_freep) json_t *rows = json_pack("[[s,s,s]]", "INSTANCE", "STATE", "TASK");
    json_t *item;
    size_t i;

    if (json_array_size(items) == 0) {
        return;
    }
    json_array_foreach(items, i, item)
    {
        json_t *row = json_array();

        cli_add_cell_take(row, str_printf("%s/%lld", json_str_or(item, "job", "?"),
                                          (long long)json_int_or(item, "instance", 0)));
        cli_add_cell_take(row, mem_strdup(json_str_or(item, "state", "?")));
        cli_add_cell_take(row, mem_strdup(json_str_or(item, "id", "?")));
        (void)json_array_append_new(rows, row);
    }
    (void)printf("\n");
    cli_print_table(cli, rows);
}

static int run_node_show(struct verb_call *call, struct err *err)
{
    CLEANUP_BUF path = { 0 };
    CLEANUP(json_freep) json_t *node = NULL;
    struct client *client = NULL;

    buf_add_text(&path, "/v1/nodes");
    client_segment(&path, call->operands[0]);
    client_query(&path, "agent", "true");
    if (cli_default_client(call->cli, verb_text(call, "cluster"), &client, err) < 0 ||
        cli_request(call->cli, client, "GET", buf_text(&path), NULL, &node, err) < 0) {
        return err_code(err);
    }
    if (call->cli->json) {
        cli_print_json(node);
        return 0;
    }
    line("node", json_str_or(node, "name", "?"));
    line("state", json_bool_or(node, "alive", false)  ? "alive"
                  : json_bool_or(node, "lost", false) ? "lost"
                                                      : "away");
    line("mode", json_str_or(node, "mode", "active"));
    print_drain(json_object_get(node, "drain"));
    line("address", json_str_or(node, "address", "-"));
    print_agent(node);
    print_resources(node);
    print_attributes(node);
    (void)printf("%-12s %lld\n", "tasks", (long long)json_int_or(node, "tasks", 0));
    print_items(call->cli, json_object_get(node, "items"));
    return 0;
}

const struct verb verb_node_show = {
    .noun = "node",
    .name = "show",
    .operands = "NODE",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "Show one node: its mode, what it offers and holds, and how it ends processes.",
    .details = "'kill ladder' is the means by which its agent ends a whole tree of processes:\n"
               "cgroup2, cgroup1, pidns or sweep.  No such node: exit 14.",
    .options = options,
    .json = true,
    .run = run_node_show,
};
