/* SPDX-License-Identifier: Apache-2.0 */

/* davit job restart: end and start instances again, batch by batch, watching each.
 *
 * One OP_JOB_RESTART does all of it: the master goes on when this program ends.
 * Unlike the Aurora client's, a restart that gave up is a failure.
 */

#include "base/json.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/hooked.h"
#include "cli/instances.h"
#include "cli/refused.h"
#include "cli/verbs.h"

#include <stdio.h>

static const struct verb_option options[] = {
    HOOKED_CONFIG_OPTIONS,
    { "open-browser", 0, ARGS_FLAG, NULL, "open the job's page in the browser", NULL, 0, 0 },
    { "batch-size", 0, ARGS_INT, "N", "instances to restart at a time (1)", "1", 1, 4000 },
    { "watch-secs", 0, ARGS_INT, "SECONDS", "how long each must be RUNNING (30)", "30", 0, 86400 },
    { "healthcheck-interval-seconds", 0, ARGS_INT, "SECONDS",
      "accepted; the master is told of every change", "3", 0, 86400 },
    { "max-per-instance-failures", 0, ARGS_INT, "N",
      "how often one instance may fail before it is given up (0)", "0", 0, 1000 },
    { "max-total-failures", 0, ARGS_INT, "N",
      "how many instances may be given up before the restart is (0)", "0", INT32_MIN, INT32_MAX },
    { "message", 'm', ARGS_TEXT, "TEXT", "why, for the tasks' events", NULL, 0, 0 },
    { "strict", 0, ARGS_FLAG, NULL, "fail when a named instance is not active", NULL, 0, 0 },
    { "force", 0, ARGS_FLAG, NULL, "accepted", NULL, 0, 0 },
    { 0 },
};

struct restart {
    struct verb_call *call;
    char *key;
    json_t *instances; /* NULL: all */
};

static json_t *instances_of(const struct restart *restart)
{
    return restart->instances != NULL ? json_incref(restart->instances) : json_null();
}

static json_t *restart_opcode(const json_t *changed, void *data)
{
    const struct restart *restart = data;
    const struct verb_call *call = restart->call;
    json_t *opcode = json_object();

    (void)changed;
    json_put_str(opcode, "op", "OP_JOB_RESTART");
    json_put_str(opcode, "key", restart->key);
    json_put_take(opcode, "instances", instances_of(restart));
    json_put_int(opcode, "batch_size", verb_number(call, "batch-size"));
    json_put_int(opcode, "watch_secs", verb_number(call, "watch-secs"));
    json_put_int(opcode, "max_per_instance_failures",
                 verb_number(call, "max-per-instance-failures"));
    json_put_int(opcode, "max_total_failures", verb_number(call, "max-total-failures"));
    json_put_str(opcode, "message", verb_text(call, "message"));
    return opcode;
}

/* As pre_restart() hooks know them. */
static json_t *hook_args(const struct restart *restart)
{
    const struct verb_call *call = restart->call;
    json_t *args = json_object();
    json_t *settings = json_object();

    json_put_int(settings, "batch_size", verb_number(call, "batch-size"));
    json_put_int(settings, "watch_secs", verb_number(call, "watch-secs"));
    json_put_int(settings, "max_per_instance_failures",
                 verb_number(call, "max-per-instance-failures"));
    json_put_int(settings, "max_total_failures", verb_number(call, "max-total-failures"));
    json_put_int(settings, "health_check_interval_seconds",
                 verb_number(call, "healthcheck-interval-seconds"));
    json_put_take(args, "shards", instances_of(restart));
    json_put_take(args, "restart_settings", settings);
    return args;
}

static void restart_fini(struct restart *restart)
{
    free(restart->key);
    json_decref(restart->instances);
}

/* --strict: every named instance is active. */
static int check_active(struct restart *restart, struct client *client, struct err *err)
{
    CLEANUP_BUF path = { 0 };
    CLEANUP(json_freep) json_t *tasks = NULL;
    CLEANUP(json_freep) json_t *missing = json_array();
    size_t i, j;
    json_t *id, *task;

    buf_add_text(&path, "/v1/tasks");
    client_query(&path, "job", restart->key);
    client_query(&path, "active", "true");
    if (cli_request_list(restart->call->cli, client, buf_text(&path), &tasks, err) < 0) {
        return err_code(err);
    }
    json_array_foreach(restart->instances, i, id)
    {
        bool active = false;

        json_array_foreach(tasks, j, task)
        {
            active = active || json_int_or(task, "instance", -1) == json_integer_value(id);
        }
        if (!active) {
            (void)json_array_append(missing, id);
        }
    }
    if (json_array_size(missing) > 0) {
        CLEANUP(mem_freep) char *text = instances_list(missing);

        return err_set(err, ERR_INVALID, "Invalid instance parameter: %s", text);
    }
    return 0;
}

/* It began, and did not end well: what was done stays done. */
static bool had_begun(const json_t *record)
{
    const json_t *opcode = json_array_get(json_object_get(record, "opcodes"), 0);

    return json_object_size(json_object_get(opcode, "pre_vars")) > 0;
}

static int restart_now(struct restart *restart, struct client *client, struct config *config,
                       struct err *err)
{
    struct cli *cli = restart->call->cli;
    CLEANUP(mem_freep) char *what = str_printf("restarting %s", restart->key);
    CLEANUP(mem_freep) char *context = str_printf("Error restarting job %s:", restart->key);
    CLEANUP(json_freep) json_t *args = hook_args(restart);
    CLEANUP(json_freep) json_t *record = NULL;
    const struct hooked hooked = { config, "restart",      restart->key, args,
                                   what,   restart_opcode, restart };
    bool vetoed = false;

    if (hooked_run(cli, client, &hooked, &record, &vetoed, err) < 0) {
        if (err->code == ERR_FAILED && had_begun(record)) {
            return err_code(err); /* Exit 4: it gave up, or somebody died over it. */
        }
        return refused_report(cli, err, vetoed, context);
    }
    const json_t *result =
        json_object_get(json_array_get(json_object_get(record, "opcodes"), 0), "result");
    CLEANUP(mem_freep) char *message = cli_shown(result, "message", "");

    if (message[0] != 0) {
        (void)fprintf(stderr, " INFO] %s\n", message);
    }
    if (cli->json) {
        cli_print_json(record);
    } else {
        (void)printf("Job %s restarted successfully\n", restart->key);
    }
    return 0;
}

static int run_job_restart(struct verb_call *call, struct err *err)
{
    CLEANUP(cli_key_fini) struct cli_key key = { 0 };
    CLEANUP(restart_fini) struct restart restart = { .call = call };
    CLEANUP(config_freep) struct config *config = NULL;
    struct client *client = NULL;
    int rv;

    if (cli_instances_parse(call->operands[0], &key, &restart.instances, err) < 0) {
        return err_code(err);
    }
    if (verb_number(call, "max-total-failures") < 0) {
        return err_set(err, ERR_INVALID,
                       "max_total_failures option must be >0, but you specified %lld",
                       (long long)verb_number(call, "max-total-failures"));
    }
    restart.key = cli_key_text(&key);
    if (cli_client(call->cli, key.cluster, &client, err) < 0) {
        return err_code(err);
    }
    rv = hooked_begin(call, 1, restart.key, &config, err);
    if (rv != 0) {
        return rv;
    }
    if (restart.instances != NULL && verb_flag(call, "strict") &&
        check_active(&restart, client, err) < 0) {
        return err_code(err);
    }
    return restart_now(&restart, client, config, err);
}

const struct verb verb_job_restart = {
    .noun = "job",
    .name = "restart",
    .operands = "CLUSTER/ROLE/ENV/NAME[/INSTANCES] [FILE]",
    .min_operands = 1,
    .max_operands = 2,
    .summary = "Restart a job's instances, or some of them, batch by batch.",
    .details =
        "The master does it: it goes on when this program ends ('davit op wait' follows it).\n"
        "An instance is well when it has been RUNNING for --watch-secs; one that fails is tried\n"
        "again after the others.  A kill of the job ends the restart.  FILE, or --config FILE: a\n"
        "configuration whose client hooks run.\n"
        "Exit 1: a client hook refused. 4: too many instances failed, and it gave up. 6: wrong\n"
        "parameters. 10: the master refused. 12: a hook of the operation refused.",
    .options = options,
    .json = true,
    .run = run_job_restart,
};
