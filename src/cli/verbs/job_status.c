/* SPDX-License-Identifier: Apache-2.0 */

/* davit job status: the tasks of the jobs that a wildcard key names, worded as the
 * Aurora client worded them, since scripts read them.  JSON is the client's too:
 * [{"job","active":[ScheduledTask],"inactive":[ScheduledTask]}].
 */

#include "base/buf.h"
#include "base/json.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/verbs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MIB = 1 << 20 };

static bool is_active(const json_t *task)
{
    const char *state = json_str_or(task, "state", "");

    return strcmp(state, "FINISHED") != 0 && strcmp(state, "FAILED") != 0 &&
           strcmp(state, "KILLED") != 0 && strcmp(state, "LOST") != 0;
}

/* Local time, as the original client prints events. */
static void format_local(uint64_t wall_ms, char *ret, size_t size)
{
    time_t secs = (time_t)(wall_ms / 1000);
    struct tm tm = { 0 };

    (void)localtime_r(&secs, &tm);
    (void)strftime(ret, size, "%Y-%m-%d %H:%M:%S", &tm);
}

/* As Python prints a float. */
static void format_cpu(double cpu, char *ret, size_t size)
{
    (void)snprintf(ret, size, "%.12g", cpu);
    if (strpbrk(ret, ".e") == NULL) {
        (void)snprintf(ret, size, "%.1f", cpu);
    }
}

static char *port_names(const json_t *task)
{
    struct buf buf = { 0 };
    size_t i;
    json_t *port;

    json_array_foreach(json_object_get(json_object_get(task, "resources"), "ports"), i, port)
    {
        CLEANUP(mem_freep) char *shown = str_escape(json_string_value(port));

        buf_addf(&buf, "%s%s", buf.len > 0 ? ", " : "", shown);
    }
    return buf_take(&buf);
}

static char *ports_assigned(const json_t *task)
{
    struct buf buf = { 0 };
    const char *name;
    json_t *port;

    json_object_foreach(json_object_get(task, "ports"), name, port)
    {
        CLEANUP(mem_freep) char *shown = str_escape(name);

        buf_addf(&buf, "%s'%s': %lld", buf.len > 0 ? ", " : "", shown,
                 (long long)json_integer_value(port));
    }
    return buf_take(&buf);
}

/* "Killed by alice.\nwhy": an event is a line here. */
static char *in_one_line(const json_t *event)
{
    CLEANUP(mem_freep) char *text = mem_strdup(json_str_or(event, "message", ""));

    for (char *end = strchr(text, '\n'); end != NULL; end = strchr(end, '\n')) {
        *end = ' ';
    }
    return str_escape(text);
}

static void print_events(const struct cli *cli, const json_t *task)
{
    size_t i;
    json_t *event;

    (void)printf("\t  events:\n");
    json_array_foreach(json_object_get(task, "events"), i, event)
    {
        CLEANUP(mem_freep) char *state = cli_shown(event, "state", "?");
        CLEANUP(mem_freep) char *message = in_one_line(event);
        char when[32];

        format_local((uint64_t)json_int_or(event, "time_ms", 0), when, sizeof when);
        (void)printf("\t   %s %s%s%s:%s%s\n", when, cli_color_of(cli, state), state,
                     cli_color_end(cli), message[0] != 0 ? " " : "", message);
    }
}

static void print_task(const struct cli *cli, const json_t *task)
{
    CLEANUP(mem_freep) char *job = cli_shown(task, "job", "///");
    CLEANUP(strv_freep) char **key = str_split(job, "/");
    const json_t *resources = json_object_get(task, "resources");
    const json_t *metadata = json_object_get(task, "metadata");
    CLEANUP(mem_freep) char *state = cli_shown(task, "state", "?");
    CLEANUP(mem_freep) char *host = cli_shown(task, "host", json_str_or(task, "node", "None"));
    const char *reason = json_str_or(task, "reason", NULL);
    CLEANUP(mem_freep) char *names = port_names(task);
    CLEANUP(mem_freep) char *assigned = ports_assigned(task);
    char cpu[32];
    size_t i;
    json_t *item;

    (void)printf("\tTask role: %s, env: %s, name: %s, instance: %lld, status: %s%s%s on %s\n",
                 key[1], key[2], key[3], (long long)json_int_or(task, "instance", 0),
                 cli_color_of(cli, state), state, cli_color_end(cli), host);
    format_cpu(json_num_or(resources, "cpu", 0), cpu, sizeof cpu);
    (void)printf("\t  CPU: %s core(s), RAM: %lld MB, Disk: %lld MB%s%s", cpu,
                 (long long)(json_int_or(resources, "ram_bytes", 0) / MIB),
                 (long long)(json_int_or(resources, "disk_bytes", 0) / MIB),
                 names[0] != 0 ? ", Port: " : "", names);
    if (json_num_or(resources, "gpu", 0) > 0) {
        (void)printf(", GPU: %g GPU(s)", json_num_or(resources, "gpu", 0));
    }
    (void)printf("\n");
    if (assigned[0] != 0) {
        (void)printf("\t  assigned ports: {%s}\n", assigned);
    }
    (void)printf("\t  failure count: %lld (max %lld)\n",
                 (long long)json_int_or(task, "failures", 0),
                 (long long)json_int_or(task, "max_failures", 1));
    if (reason != NULL) {
        CLEANUP(mem_freep) char *text = str_escape(reason);

        (void)printf("\t  pending reason: %s\n", text);
    }
    print_events(cli, task);
    (void)printf("\t  metadata:\n");
    json_array_foreach(metadata, i, item)
    {
        CLEANUP(mem_freep) char *name = cli_shown(item, "key", "");
        CLEANUP(mem_freep) char *value = cli_shown(item, "value", "");

        (void)printf("\t   (key: '%s', value: '%s')\n", name, value);
    }
}

static void add_resource(json_t *list, const char *name, json_t *value)
{
    json_t *one = json_object();

    json_put_take(one, name, value);
    (void)json_array_append_new(list, one);
}

/* "limit:2", "a,b", "!a" as the scheduler's Constraint. */
static json_t *constraint(const char *name, const char *text)
{
    json_t *rule = json_object();

    if (str_starts(text, "limit:")) {
        json_put_take(
            rule, "limit",
            json_pack("{sI}", "limit", (json_int_t)strtoll(text + strlen("limit:"), NULL, 10)));
    } else {
        CLEANUP(strv_freep) char **parts = str_split(text + (text[0] == '!'), ",");
        json_t *values = json_array();

        for (char **part = parts; *part != NULL; part++) {
            (void)json_array_append_new(values, json_string(*part));
        }
        json_put_take(rule, "value",
                      json_pack("{sb so}", "negated", text[0] == '!', "values", values));
    }
    return json_pack("{ss so}", "name", name, "constraint", rule);
}

static json_t *constraints_of(const json_t *task)
{
    json_t *list = json_array();
    const char *name;
    json_t *value;

    json_object_foreach(json_object_get(task, "constraints"), name, value)
    {
        if (json_is_string(value)) {
            (void)json_array_append_new(list, constraint(name, json_string_value(value)));
        }
    }
    return list;
}

/* TaskConfig, as far as the API tells it. */
static json_t *task_config(const json_t *task)
{
    CLEANUP(strv_freep) char **key = str_split(json_str_or(task, "job", "///"), "/");
    const json_t *resources = json_object_get(task, "resources");
    json_t *config = json_object();
    json_t *job = json_object();
    json_t *list = json_array();
    size_t i;
    json_t *port;

    json_put_str(job, "role", key[1]);
    json_put_str(job, "environment", key[2]);
    json_put_str(job, "name", key[3]);
    json_put_take(config, "job", job);
    json_put_bool(config, "isService", json_bool_or(task, "service", false));
    json_put_int(config, "maxTaskFailures", json_int_or(task, "max_failures", 1));
    add_resource(list, "numCpus", json_real(json_num_or(resources, "cpu", 0)));
    add_resource(list, "ramMb", json_integer(json_int_or(resources, "ram_bytes", 0) / MIB));
    add_resource(list, "diskMb", json_integer(json_int_or(resources, "disk_bytes", 0) / MIB));
    json_array_foreach(json_object_get(resources, "ports"), i, port)
    {
        add_resource(list, "namedPort", json_incref(port));
    }
    if (json_num_or(resources, "gpu", 0) > 0) {
        add_resource(list, "numGpus", json_incref(json_object_get(resources, "gpu")));
    }
    json_put_take(config, "resources", list);
    json_put_take(config, "owner", json_pack("{ss}", "user", key[1]));
    json_put_int(config, "priority", json_int_or(task, "priority", 0));
    json_put_bool(config, "production", json_bool_or(task, "production", false));
    json_put_str(config, "tier", json_str_or(task, "tier", NULL));
    json_put_str(config, "contactEmail", json_str_or(task, "contact", NULL));
    json_put_take(config, "constraints", constraints_of(task));
    if (json_object_get(task, "metadata") != NULL) {
        json_put_take(config, "metadata", json_incref(json_object_get(task, "metadata")));
    }
    return config;
}

/* The thrift field names that scripts' jq expressions use. */
static json_t *scheduled_task(const json_t *task)
{
    json_t *scheduled = json_object();
    json_t *assigned = json_object();
    json_t *events = json_array();
    int times_partitioned = 0;
    size_t i;
    json_t *event;

    json_put_str(assigned, "taskId", json_str_or(task, "id", ""));
    json_put_str(assigned, "slaveId", json_str_or(task, "node", NULL));
    json_put_str(assigned, "slaveHost", json_str_or(task, "host", json_str_or(task, "node", NULL)));
    json_put_int(assigned, "instanceId", json_int_or(task, "instance", 0));
    if (json_object_get(task, "ports") != NULL) {
        json_put_take(assigned, "assignedPorts", json_incref(json_object_get(task, "ports")));
    }
    json_put_take(assigned, "task", task_config(task));
    json_array_foreach(json_object_get(task, "events"), i, event)
    {
        json_t *row = json_object();

        json_put_int(row, "timestamp", json_int_or(event, "time_ms", 0));
        json_put_str(row, "status", json_str_or(event, "state", ""));
        json_put_str(row, "message", json_str_or(event, "message", NULL));
        json_put_str(row, "scheduler", "davit");
        times_partitioned += str_eq(json_str_or(event, "state", ""), "PARTITIONED");
        (void)json_array_append_new(events, row);
    }
    json_put_take(scheduled, "assignedTask", assigned);
    json_put_str(scheduled, "status", json_str_or(task, "state", ""));
    json_put_int(scheduled, "failureCount", json_int_or(task, "failures", 0));
    json_put_take(scheduled, "taskEvents", events);
    json_put_int(scheduled, "timesPartitioned", times_partitioned);
    json_put_str(scheduled, "ancestorId", json_str_or(task, "ancestor", NULL));
    json_put_str(scheduled, "pendingReason", json_str_or(task, "reason", NULL));
    return scheduled;
}

/* The tasks of one job. */
static void select_tasks(const json_t *tasks, const char *job, bool active, json_t *selected)
{
    size_t i;
    json_t *task;

    json_array_foreach(tasks, i, task)
    {
        if (str_eq(json_str_or(task, "job", NULL), job) && is_active(task) == active) {
            (void)json_array_append(selected, task);
        }
    }
}

static json_t *job_keys(const json_t *tasks)
{
    json_t *keys = json_object(); /* As a set that keeps the order of arrival. */
    size_t i;
    json_t *task;

    json_array_foreach(tasks, i, task)
    {
        (void)json_object_set_new(keys, json_str_or(task, "job", "?"), json_true());
    }
    return keys;
}

static void print_text(const struct cli *cli, const json_t *tasks, const char *job)
{
    CLEANUP(json_freep) json_t *active = json_array();
    CLEANUP(json_freep) json_t *inactive = json_array();
    size_t i;
    json_t *task;

    select_tasks(tasks, job, true, active);
    select_tasks(tasks, job, false, inactive);
    (void)printf("Active tasks (%zu):\n", json_array_size(active));
    json_array_foreach(active, i, task)
    {
        print_task(cli, task);
    }
    (void)printf("Inactive tasks (%zu):\n", json_array_size(inactive));
    json_array_foreach(inactive, i, task)
    {
        print_task(cli, task);
    }
}

static json_t *json_of(const json_t *tasks, const char *job)
{
    json_t *row = json_object();

    json_put_str(row, "job", job);
    for (int active = 1; active >= 0; active--) {
        CLEANUP(json_freep) json_t *selected = json_array();
        json_t *scheduled = json_array();
        size_t i;
        json_t *task;

        select_tasks(tasks, job, active != 0, selected);
        json_array_foreach(selected, i, task)
        {
            (void)json_array_append_new(scheduled, scheduled_task(task));
        }
        json_put_take(row, active != 0 ? "active" : "inactive", scheduled);
    }
    return row;
}

static int fetch(struct cli *cli, const char *cluster, const struct cli_key *wild, json_t *tasks,
                 struct err *err)
{
    CLEANUP_BUF path = { 0 };
    CLEANUP(mem_freep)
    char *key = str_printf("%s/%s/%s/%s", cluster, wild->role, wild->env, wild->name);
    CLEANUP(json_freep) json_t *items = NULL;
    struct client *client = NULL;

    buf_add_text(&path, "/v1/tasks");
    client_query(&path, "job", key);
    if (cli_client(cli, cluster, &client, err) < 0 ||
        cli_request_list(cli, client, buf_text(&path), &items, err) < 0) {
        return err_code(err);
    }
    (void)json_array_extend(tasks, items);
    return 0;
}

static int nothing_found(const struct cli *cli, const char *spec, const struct cli_key *wild,
                         struct err *err)
{
    if (cli->json) {
        CLEANUP(json_freep) json_t *answer = json_object();

        json_put_str(answer, "jobspec", spec);
        json_put_str(answer, "error", "No matching jobs found");
        cli_print_json(answer);
        return 0;
    }
    CLEANUP(mem_freep) char *key = cli_key_text(wild);

    return err_set(err, ERR_INVALID, "Found no jobs matching %s", key);
}

static int run_job_status(struct verb_call *call, struct err *err)
{
    CLEANUP(cli_key_fini) struct cli_key wild = { 0 };
    CLEANUP(json_freep) json_t *tasks = json_array();
    CLEANUP(strv_freep) char **clusters = NULL;
    CLEANUP(json_freep) json_t *rows = json_array();
    const char *job;
    json_t *unused;

    if (cli_wild_parse(call->operands[0], &wild, err) < 0 ||
        cli_clusters_matching(call->cli, wild.cluster, &clusters, err) < 0) {
        return err_code(err);
    }
    for (char **cluster = clusters; *cluster != NULL; cluster++) {
        if (fetch(call->cli, *cluster, &wild, tasks, err) < 0) {
            return err_code(err);
        }
    }
    if (json_array_size(tasks) == 0) {
        return nothing_found(call->cli, call->operands[0], &wild, err);
    }
    CLEANUP(json_freep) json_t *jobs = job_keys(tasks);

    json_object_foreach(jobs, job, unused)
    {
        if (call->cli->json) {
            (void)json_array_append_new(rows, json_of(tasks, job));
        } else {
            print_text(call->cli, tasks, job);
        }
    }
    if (call->cli->json) {
        cli_print_json(rows);
    }
    return 0;
}

const struct verb verb_job_status = {
    .noun = "job",
    .name = "status",
    .operands = "CLUSTER[/ROLE[/ENV[/NAME]]]",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "Show active and inactive tasks, and why a pending one waits.",
    .details = "Nothing found: exit 6; with --json an object with `error`, exit 0.",
    .json = true,
    .run = run_job_status,
};
