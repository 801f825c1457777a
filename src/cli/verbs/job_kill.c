/* SPDX-License-Identifier: Apache-2.0 */

/* davit job kill, job killall: end some or all instances of a job, in batches, with
 * one kill_job call (its client hooks and one OP_JOB_KILL) for each batch.
 */

#include "base/buf.h"
#include "base/json.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/hooked.h"
#include "cli/refused.h"
#include "cli/verbs.h"

#include <stdio.h>
#include <string.h>

#define KILL_OPTIONS                                                                              \
    HOOKED_CONFIG_OPTIONS,                                                                        \
        { "open-browser", 0, ARGS_FLAG, NULL, "open the job's page in the browser", NULL, 0, 0 }, \
        { "batch-size", 0, ARGS_INT, "N", "instances to kill at a time (1)", "1", 1, 100000 },    \
        { "max-total-failures", 0, ARGS_INT, "N", "batches that may fail (0)", "0", 0, 100000 },  \
        { "no-batching", 0, ARGS_FLAG, NULL, "kill all of them in one call", NULL, 0, 0 },        \
    {                                                                                             \
        "message", 'm', ARGS_TEXT, "TEXT", "why, for the tasks' events", NULL, 0, 0               \
    }

static const struct verb_option kill_options[] = {
    KILL_OPTIONS,
    { "strict", 0, ARGS_FLAG, NULL, "fail when a named instance is not active", NULL, 0, 0 },
    { 0 },
};
static const struct verb_option killall_options[] = { KILL_OPTIONS, { 0 } };

struct kill {
    struct verb_call *call;
    struct client *client;
    struct config *config; /* NULL: no client hooks */
    char *key;
    json_t *instances;  /* of the batch; json null for all */
    json_t *operations; /* records of the batches that are done */
};

static json_t *kill_opcode(const json_t *changed, void *data)
{
    const struct kill *kill = data;
    json_t *opcode = json_object();

    (void)changed;
    json_put_str(opcode, "op", "OP_JOB_KILL");
    json_put_str(opcode, "key", kill->key);
    json_put_take(opcode, "instances", json_incref(kill->instances));
    json_put_str(opcode, "message", verb_text(kill->call, "message"));
    return opcode;
}

/* "[0, 1]" */
static char *list_text(const json_t *instances)
{
    struct buf buf = { 0 };
    size_t i;
    json_t *id;

    buf_add_text(&buf, "[");
    json_array_foreach(instances, i, id)
    {
        buf_addf(&buf, "%s%lld", i > 0 ? ", " : "", (long long)json_integer_value(id));
    }
    buf_add_text(&buf, "]");
    return buf_take(&buf);
}

static int active_instances(struct kill *kill, json_t **ret_ids, struct err *err)
{
    CLEANUP_BUF path = { 0 };
    CLEANUP(json_freep) json_t *tasks = NULL;
    CLEANUP(json_freep) json_t *ids = json_array();
    size_t i;
    json_t *task;

    buf_add_text(&path, "/v1/tasks");
    client_query(&path, "job", kill->key);
    client_query(&path, "active", "true");
    if (cli_request_list(kill->call->cli, kill->client, buf_text(&path), &tasks, err) < 0) {
        return err_code(err);
    }
    json_array_foreach(tasks, i, task)
    {
        (void)json_array_append_new(ids, json_integer(json_int_or(task, "instance", 0)));
    }
    if (json_array_size(ids) == 0) {
        return err_set(err, ERR_INVALID, "No tasks to kill found for job %s", kill->key);
    }
    *ret_ids = TAKE(ids);
    return 0;
}

static bool contains(const json_t *ids, json_int_t id)
{
    size_t i;
    json_t *item;

    json_array_foreach(ids, i, item)
    {
        if (json_integer_value(item) == id) {
            return true;
        }
    }
    return false;
}

/* Those of wanted that are active; with strict, an error names the others. */
static int intersect(const json_t *wanted, const json_t *active, bool strict, json_t **ret_ids,
                     struct err *err)
{
    CLEANUP(json_freep) json_t *ids = json_array();
    CLEANUP(json_freep) json_t *missing = json_array();
    size_t i;
    json_t *id;

    json_array_foreach(wanted, i, id)
    {
        (void)json_array_append(contains(active, json_integer_value(id)) ? ids : missing, id);
    }
    if (strict && json_array_size(missing) > 0) {
        CLEANUP(mem_freep) char *text = list_text(missing);

        return err_set(err, ERR_INVALID, "Invalid instance parameter: %s", text);
    }
    *ret_ids = TAKE(ids);
    return 0;
}

/* One kill_job call.  0, ERR_*, or the status to end with (the reason was printed). */
static int kill_batch(struct kill *kill, struct err *err)
{
    CLEANUP(mem_freep)
    char *text = json_is_null(kill->instances) ? mem_strdup("all") : list_text(kill->instances);
    CLEANUP(mem_freep) char *what = str_printf("killing instances %s of %s", text, kill->key);
    CLEANUP(json_freep) json_t *args = json_object();
    CLEANUP(json_freep) json_t *record = NULL;
    CLEANUP(mem_freep) char *context = str_printf("Kill of instances %s failed with error:", text);
    const struct hooked hooked = { kill->config, "kill_job",  kill->key, args,
                                   what,         kill_opcode, kill };
    bool vetoed = false;

    json_put_take(args, "instances", json_incref(kill->instances));
    json_put_str(args, "message", verb_text(kill->call, "message"));
    if (hooked_run(kill->call->cli, kill->client, &hooked, &record, &vetoed, err) < 0) {
        return refused_report(kill->call->cli, err, vetoed, context);
    }
    (void)json_array_append(kill->operations, record);
    if (!json_is_null(kill->instances) && !kill->call->cli->json) {
        (void)printf("Successfully killed instances %s\n", text);
    }
    return 0;
}

static int kill_in_batches(struct kill *kill, const json_t *ids, struct err *err)
{
    size_t size = (size_t)verb_number(kill->call, "batch-size");

    for (size_t at = 0; at < json_array_size(ids); at += size) {
        kill->instances = json_array();
        for (size_t i = at; i < at + size && i < json_array_size(ids); i++) {
            (void)json_array_append(kill->instances, json_array_get(ids, i));
        }
        int rv = kill_batch(kill, err);

        json_decref(kill->instances);
        kill->instances = NULL;
        if (rv != 0) {
            return rv;
        }
    }
    return 0;
}

static void kill_fini(struct kill *kill)
{
    config_free(kill->config);
    free(kill->key);
    json_decref(kill->instances);
    json_decref(kill->operations);
}

static int kill_wanted(struct kill *kill, const json_t *wanted, struct err *err)
{
    CLEANUP(json_freep) json_t *active = NULL;
    CLEANUP(json_freep) json_t *ids = NULL;
    bool strict = wanted != NULL && verb_flag(kill->call, "strict");

    if (active_instances(kill, &active, err) < 0 ||
        intersect(wanted != NULL ? wanted : active, active, strict, &ids, err) < 0) {
        return err_code(err);
    }
    if (!verb_flag(kill->call, "no-batching")) {
        return kill_in_batches(kill, ids, err);
    }
    kill->instances = wanted != NULL ? json_incref(ids) : json_null();
    return kill_batch(kill, err);
}

static int run_kill(struct verb_call *call, struct cli_key *key, const json_t *wanted,
                    const char *done, struct err *err)
{
    CLEANUP(kill_fini) struct kill kill = { .call = call, .operations = json_array() };
    int rv;

    kill.key = cli_key_text(key);
    if (cli_client(call->cli, key->cluster, &kill.client, err) < 0) {
        return err_code(err);
    }
    rv = hooked_begin(call, 1, kill.key, &kill.config, err);
    if (rv != 0) {
        return rv;
    }
    rv = kill_wanted(&kill, wanted, err);
    if (rv != 0) {
        return rv;
    }
    if (call->cli->json) {
        cli_print_json(kill.operations);
    } else {
        (void)printf("%s\n", done);
    }
    return 0;
}

static int run_job_kill(struct verb_call *call, struct err *err)
{
    CLEANUP(cli_key_fini) struct cli_key key = { 0 };
    CLEANUP(json_freep) json_t *wanted = NULL;

    if (cli_instances_parse(call->operands[0], &key, &wanted, err) < 0) {
        return err_code(err);
    }
    if (wanted == NULL) {
        return err_set(err, ERR_INVALID,
                       "The instances list cannot be omitted in a kill command!; "
                       "use killall to kill all instances");
    }
    return run_kill(call, &key, wanted, "Job kill succeeded", err);
}

static int run_job_killall(struct verb_call *call, struct err *err)
{
    CLEANUP(cli_key_fini) struct cli_key key = { 0 };

    if (cli_key_parse(call->operands[0], &key, err) < 0) {
        return err_code(err);
    }
    return run_kill(call, &key, NULL, "Job killall succeeded", err);
}

const struct verb verb_job_kill = {
    .noun = "job",
    .name = "kill",
    .operands = "CLUSTER/ROLE/ENV/NAME/INSTANCES [FILE]",
    .min_operands = 1,
    .max_operands = 2,
    .summary = "Kill the named instances of a job (0-3,5), batch by batch.",
    .details =
        "FILE, or --config FILE: a configuration whose client hooks run around each batch.\n"
        "Exit 1: a client hook refused. 6: nothing to kill. 10: the master refused. 12: a hook\n"
        "of the operation refused.",
    .options = kill_options,
    .json = true,
    .run = run_job_kill,
};

const struct verb verb_job_killall = {
    .noun = "job",
    .name = "killall",
    .operands = "CLUSTER/ROLE/ENV/NAME [FILE]",
    .min_operands = 1,
    .max_operands = 2,
    .summary = "Kill all instances of a job, batch by batch.",
    .details = "FILE, or --config FILE: a configuration whose client hooks run around each batch.",
    .options = killall_options,
    .json = true,
    .run = run_job_killall,
};
