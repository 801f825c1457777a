/* SPDX-License-Identifier: Apache-2.0 */

/* davit task logs: what one process of one instance wrote, from the node that runs
 * it, through the master.  --follow goes on until the task has ended.
 */

#include "base/buf.h"
#include "base/json.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/verbs.h"

#include <stdio.h>
#include <string.h>

static const struct verb_option options[] = {
    { "stderr", 0, ARGS_FLAG, NULL, "standard error instead of standard output", NULL, 0, 0 },
    { "follow", 'f', ARGS_FLAG, NULL, "go on as it grows, until the task has ended", NULL, 0, 0 },
    { "run", 0, ARGS_TEXT, "N", "the N-th run of the process (the latest)", NULL, 0, 0 },
    { 0 },
};

/* The instance's active task, else its latest one. */
static int find_task(struct cli *cli, struct client *client, const struct cli_key *key,
                     int64_t instance, char **ret_task, struct err *err)
{
    CLEANUP_BUF path = { 0 };
    CLEANUP(mem_freep) char *text = cli_key_text(key);
    CLEANUP(json_freep) json_t *tasks = NULL;
    const char *found = NULL;
    int64_t newest = -1;
    size_t i;
    json_t *task;

    buf_add_text(&path, "/v1/tasks");
    client_query(&path, "job", text);
    if (cli_request_list(cli, client, buf_text(&path), &tasks, err) < 0) {
        return err_code(err);
    }
    json_array_foreach(tasks, i, task)
    {
        const json_t *events = json_object_get(task, "events");
        int64_t since = json_int_or(json_array_get(events, 0), "time_ms", 0);

        if (json_int_or(task, "instance", -1) == instance && since > newest &&
            json_object_get(task, "node") != NULL) {
            newest = since;
            found = json_str_or(task, "id", NULL);
        }
    }
    if (found == NULL) {
        return err_set(err, ERR_INVALID, "Job or instance %s/%lld not found, or it never ran", text,
                       (long long)instance);
    }
    *ret_task = mem_strdup(found);
    return 0;
}

struct follow {
    bool done;
    struct err err;
    json_t *row;     /* with --json: task and stream, to which each line is added */
    struct buf line; /* with --json: what has no end yet */
};

enum { LINE_CAP = 64 * 1024 }; /* A longer line is told in parts. */

static void print_line(struct follow *follow)
{
    json_put_take(follow->row, "line", json_str_repaired(follow->line.data, follow->line.len));
    cli_print_json(follow->row);
    follow->line.len = 0;
}

static void add_json_lines(struct follow *follow, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] != '\n') {
            buf_add(&follow->line, &bytes[i], 1);
        }
        if (bytes[i] == '\n' || follow->line.len == LINE_CAP) {
            print_line(follow);
        }
    }
}

static void on_bytes(struct client_call *call, const void *bytes, size_t len)
{
    struct follow *follow = call->data;

    if (follow->row != NULL) {
        add_json_lines(follow, bytes, len);
    } else {
        (void)fwrite(bytes, 1, len, stdout);
    }
    (void)fflush(stdout);
}

static void follow_fini(struct follow *follow)
{
    json_decref(follow->row);
    buf_fini(&follow->line);
}

static void on_end(struct client_call *call)
{
    struct follow *follow = call->data;

    follow->done = true;
    follow->err = call->err;
}

static int run_task_logs(struct verb_call *call, struct err *err)
{
    CLEANUP(cli_key_fini) struct cli_key key = { 0 };
    CLEANUP(json_freep) json_t *instances = NULL;
    CLEANUP(mem_freep) char *task = NULL;
    CLEANUP_BUF path = { 0 };
    struct client *client = NULL;
    CLEANUP(follow_fini) struct follow follow = { 0 };
    struct client_call stream = { .data = &follow, .on_data = on_bytes };

    if (cli_instances_parse(call->operands[0], &key, &instances, err) < 0) {
        return err_code(err);
    }
    if (json_array_size(instances) != 1) {
        return err_set(err, ERR_USAGE,
                       "argument CLUSTER/ROLE/ENV/NAME/INSTANCE: name one instance in '%s'",
                       call->operands[0]);
    }
    if (cli_client(call->cli, key.cluster, &client, err) < 0 ||
        find_task(call->cli, client, &key, json_integer_value(json_array_get(instances, 0)), &task,
                  err) < 0) {
        return err_code(err);
    }
    buf_add_text(&path, "/v1/tasks");
    client_segment(&path, task);
    buf_add_text(&path, "/logs");
    client_query(&path, "process", call->n_operands > 1 ? call->operands[1] : NULL);
    client_query(&path, "stream", verb_flag(call, "stderr") ? "stderr" : "stdout");
    client_query(&path, "follow", verb_flag(call, "follow") ? "true" : NULL);
    client_query(&path, "run", verb_text(call, "run"));
    if (call->cli->json) {
        follow.row = json_object();
        json_put_str(follow.row, "task", task);
        json_put_str(follow.row, "stream", verb_flag(call, "stderr") ? "stderr" : "stdout");
        buf_add_text(&follow.line, "");
    }
    client_call_start(&stream, client, "GET", buf_text(&path), NULL, on_end);
    while (!follow.done) {
        (void)uv_run(&call->cli->loop, UV_RUN_ONCE);
    }
    if (follow.row != NULL && follow.line.len > 0) {
        print_line(&follow);
    }
    if (follow.err.code < 0) {
        *err = follow.err;
        return err_wrap(err, "logs of %s", call->operands[0]);
    }
    return 0;
}

const struct verb verb_task_logs = {
    .noun = "task",
    .name = "logs",
    .operands = "CLUSTER/ROLE/ENV/NAME/INSTANCE [PROCESS]",
    .min_operands = 1,
    .max_operands = 2,
    .summary = "Print what a process of an instance wrote.",
    .details = "Without PROCESS: the task's last process in order that has run.\n"
               "With --json an object a line: task, stream, line.",
    .options = options,
    .json = true,
    .run = run_task_logs,
};
