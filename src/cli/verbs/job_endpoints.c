/* SPDX-License-Identifier: Apache-2.0 */

/* davit job endpoints: where the running instances of an announced job can be reached: what their
 * ServerSet members say, told by the master, so that no access to the store is needed.
 */

#include "base/buf.h"
#include "base/json.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/verbs.h"

static char *address(const json_t *endpoint)
{
    CLEANUP(mem_freep) char *host = cli_shown(endpoint, "host", "?");

    return str_printf("%s:%lld", host, (long long)json_int_or(endpoint, "port", 0));
}

static char *additional(const json_t *member)
{
    struct buf text = { 0 };
    const char *name;
    json_t *endpoint;

    json_object_foreach(json_object_get(member, "additionalEndpoints"), name, endpoint)
    {
        CLEANUP(mem_freep) char *shown = str_escape(name);
        CLEANUP(mem_freep) char *where = address(endpoint);

        buf_addf(&text, "%s%s=%s", text.len > 0 ? " " : "", shown, where);
    }
    return buf_take(&text);
}

static void print_members(const struct cli *cli, const json_t *tasks)
{
    CLEANUP(json_freep) json_t *rows = json_pack("[[sss]]", "INSTANCE", "ENDPOINT", "ADDITIONAL");
    size_t i;
    json_t *task;

    json_array_foreach(tasks, i, task)
    {
        const json_t *member = json_object_get(task, "member");
        json_t *row = json_array();

        if (member == NULL) {
            json_decref(row);
            continue;
        }
        cli_add_cell_take(row, str_printf("%lld", (long long)json_int_or(task, "instance", 0)));
        cli_add_cell_take(row, address(json_object_get(member, "serviceEndpoint")));
        cli_add_cell_take(row, additional(member));
        (void)json_array_append_new(rows, row);
    }
    cli_print_table(cli, rows);
}

static void print_json(const json_t *tasks)
{
    CLEANUP(json_freep) json_t *members = json_array();
    size_t i;
    json_t *task;

    json_array_foreach(tasks, i, task)
    {
        const json_t *member = json_object_get(task, "member");

        if (member != NULL) {
            json_t *copy = json_copy((json_t *)member);

            json_put_str(copy, "taskId", json_str_or(task, "id", ""));
            (void)json_array_append_new(members, copy);
        }
    }
    cli_print_json(members);
}

static int fetch_job(struct cli *cli, struct client *client, const struct cli_key *key,
                     json_t **ret_job, struct err *err)
{
    const char *const segments[] = { key->cluster, key->role, key->env, key->name };
    CLEANUP(mem_freep) char *text = cli_key_text(key);
    CLEANUP_BUF path = { 0 };

    buf_add_text(&path, "/v1/jobs");
    for (size_t i = 0; i < sizeof segments / sizeof segments[0]; i++) {
        client_segment(&path, segments[i]);
    }
    if (cli_request(cli, client, "GET", buf_text(&path), NULL, ret_job, err) < 0) {
        return err->code == ERR_NOTFOUND ? err_set(err, ERR_INVALID, "Job %s not found", text)
                                         : err_code(err);
    }
    return 0;
}

static int run_job_endpoints(struct verb_call *call, struct err *err)
{
    CLEANUP(cli_key_fini) struct cli_key key = { 0 };
    CLEANUP(json_freep) json_t *job = NULL;
    CLEANUP(json_freep) json_t *tasks = NULL;
    CLEANUP_BUF path = { 0 };
    struct client *client = NULL;

    if (cli_key_parse(call->operands[0], &key, err) < 0 ||
        cli_client(call->cli, key.cluster, &client, err) < 0 ||
        fetch_job(call->cli, client, &key, &job, err) < 0) {
        return err_code(err);
    }
    buf_add_text(&path, "/v1/tasks?active=true");
    client_query(&path, "job", call->operands[0]);
    if (cli_request_list(call->cli, client, buf_text(&path), &tasks, err) < 0) {
        return err_code(err);
    }
    if (!json_is_object(json_object_get(json_object_get(job, "job"), "announce"))) {
        return err_set(err, ERR_INVALID, "Job %s is not announced: it has no Announcer",
                       call->operands[0]);
    }
    if (call->cli->json) {
        print_json(tasks);
    } else {
        print_members(call->cli, tasks);
    }
    return 0;
}

const struct verb verb_job_endpoints = {
    .noun = "job",
    .name = "endpoints",
    .operands = "CLUSTER/ROLE/ENV/NAME",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "Show where the running instances of an announced job can be reached.",
    .details = "With --json their ServerSet members. A job that is not there, or not announced:\n"
               "exit 6.",
    .json = true,
    .run = run_job_endpoints,
};
