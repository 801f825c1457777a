/* SPDX-License-Identifier: Apache-2.0 */

/* davit job add: more instances of a job, like one that runs.
 */

#include "base/buf.h"
#include "base/json.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/hooked.h"
#include "cli/job_wait.h"
#include "cli/refused.h"
#include "cli/verbs.h"

#include <stdio.h>
#include <string.h>

static const struct verb_option options[] = {
    HOOKED_CONFIG_OPTIONS,
    { "open-browser", 0, ARGS_FLAG, NULL, "open the job's page in the browser", NULL, 0, 0 },
    { "wait-until", 0, ARGS_TEXT, "PENDING|RUNNING|FINISHED",
      "return when every new instance has come so far (PENDING)", "PENDING", 0, 0 },
    { 0 },
};

struct add {
    char *key;
    int64_t instance, count;
};

static json_t *add_opcode(const json_t *changed, void *data)
{
    const struct add *add = data;
    json_t *opcode = json_object();

    (void)changed;
    json_put_str(opcode, "op", "OP_JOB_SCALE");
    json_put_str(opcode, "key", add->key);
    json_put_int(opcode, "instance", add->instance);
    json_put_int(opcode, "count", add->count);
    return opcode;
}

static int check_template(struct cli *cli, struct client *client, const struct add *add,
                          struct err *err)
{
    CLEANUP_BUF path = { 0 };
    CLEANUP(json_freep) json_t *tasks = NULL;
    size_t i;
    json_t *task;

    buf_add_text(&path, "/v1/tasks");
    client_query(&path, "job", add->key);
    client_query(&path, "active", "true");
    if (cli_request_list(cli, client, buf_text(&path), &tasks, err) < 0) {
        return err_code(err);
    }
    json_array_foreach(tasks, i, task)
    {
        if (json_int_or(task, "instance", -1) == add->instance) {
            return 0;
        }
    }
    return err_set(err, ERR_INVALID, "No active task found for a given instance ID.");
}

/* An SLA policy in numbers of instances was written for the old number. */
static int warn_of_sla(struct cli *cli, struct client *client, const struct cli_key *key,
                       struct err *err)
{
    const char *const segments[] = { key->cluster, key->role, key->env, key->name };
    CLEANUP_BUF path = { 0 };
    CLEANUP(json_freep) json_t *answer = NULL;

    buf_add_text(&path, "/v1/jobs");
    for (size_t i = 0; i < sizeof segments / sizeof segments[0]; i++) {
        client_segment(&path, segments[i]);
    }
    if (cli_request(cli, client, "GET", buf_text(&path), NULL, &answer, err) < 0) {
        return err_code(err);
    }
    const json_t *policy = json_object_get(json_object_get(answer, "job"), "sla_policy");

    if ((json_object_get(policy, "count") != NULL ||
         json_object_get(policy, "percentage") != NULL) &&
        !cli->json) {
        (void)printf("WARNING: Adding instances without updating SlaPolicy.\n");
    }
    return 0;
}

static int add_now(struct verb_call *call, struct client *client, const struct cli_key *key,
                   struct add *add, struct config *config, struct err *err)
{
    CLEANUP(mem_freep) char *what = str_printf("adding instances to %s", add->key);
    CLEANUP(mem_freep) char *context = str_printf("Error adding instances to job %s:", add->key);
    CLEANUP(json_freep) json_t *args = json_object();
    CLEANUP(json_freep) json_t *record = NULL;
    const struct hooked hooked = { config, "add_instances", add->key, args, what, add_opcode, add };
    bool vetoed = false;

    json_put_int(args, "instance_id", add->instance);
    json_put_int(args, "count", add->count);
    if (hooked_run(call->cli, client, &hooked, &record, &vetoed, err) < 0) {
        return refused_report(call->cli, err, vetoed, context);
    }
    if (strcmp(verb_text(call, "wait-until"), "PENDING") != 0 &&
        job_wait_until(call->cli, client, key, json_str_or(record, "id", ""), false,
                       verb_text(call, "wait-until"), err) < 0) {
        return err_code(err);
    }
    if (call->cli->json) {
        cli_print_json(record);
    }
    return 0;
}

static void add_fini(struct add *add)
{
    free(add->key);
}

static int run_job_add(struct verb_call *call, struct err *err)
{
    CLEANUP(cli_key_fini) struct cli_key key = { 0 };
    CLEANUP(add_fini) struct add add = { 0 };
    CLEANUP(config_freep) struct config *config = NULL;
    CLEANUP(json_freep) json_t *instances = NULL;
    struct client *client = NULL;
    int rv;

    if (job_wait_check(verb_text(call, "wait-until"), err) < 0 ||
        cli_instances_parse(call->operands[0], &key, &instances, err) < 0) {
        return err_code(err);
    }
    if (json_array_size(instances) != 1) {
        return err_set(err, ERR_USAGE,
                       "argument CLUSTER/ROLE/ENV/NAME/INSTANCE: invalid taskinstance value: '%s'",
                       call->operands[0]);
    }
    if (str_to_int(call->operands[1], -INT32_MAX, INT32_MAX, "argument COUNT", &add.count, err) <
        0) {
        err->code = ERR_USAGE;
        return err_code(err);
    }
    add.key = cli_key_text(&key);
    add.instance = json_integer_value(json_array_get(instances, 0));
    if (cli_client(call->cli, key.cluster, &client, err) < 0) {
        return err_code(err);
    }
    rv = hooked_begin(call, 2, add.key, &config, err);
    if (rv != 0) {
        return rv;
    }
    if (check_template(call->cli, client, &add, err) < 0 ||
        warn_of_sla(call->cli, client, &key, err) < 0) {
        return err_code(err);
    }
    return add_now(call, client, &key, &add, config, err);
}

const struct verb verb_job_add = {
    .noun = "job",
    .name = "add",
    .operands = "CLUSTER/ROLE/ENV/NAME/INSTANCE COUNT [FILE]",
    .min_operands = 2,
    .max_operands = 3,
    .summary = "Add COUNT instances to a job, with the configuration of an active one.",
    .details =
        "They get the numbers after the highest active one. Prints nothing when it succeeds.\n"
        "Exit 1: a client hook refused. 6: the instance is not active. 10: the master\n"
        "refused. 12: a hook of the operation refused.",
    .options = options,
    .json = true,
    .run = run_job_add,
};
