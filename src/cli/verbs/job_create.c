/* SPDX-License-Identifier: Apache-2.0 */

/* davit job create: evaluate the file, run its client hooks around one
 * OP_JOB_CREATE, and wait as long as the user asked for.
 */

#include "base/buf.h"
#include "base/json.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/hooked.h"
#include "cli/job_wait.h"
#include "cli/verbs.h"

#include <stdio.h>
#include <string.h>

static const struct verb_option options[] = {
    HOOKED_CALL_OPTIONS,
    { "wait-until", 0, ARGS_TEXT, "PENDING|RUNNING|FINISHED",
      "return when every instance has come so far (PENDING)", "PENDING", 0, 0 },
    { "open-browser", 0, ARGS_FLAG, NULL, "open the job's page in the browser", NULL, 0, 0 },
    { 0 },
};

static json_t *create_opcode(const json_t *changed, void *data)
{
    const json_t *selected = changed != NULL ? changed : data;
    json_t *opcode = json_object();

    json_put_str(opcode, "op", "OP_JOB_CREATE");
    json_put_take(opcode, "job", json_incref(json_object_get(selected, "job")));
    return opcode;
}

static int rejected(const struct cli *cli, const struct err *err)
{
    CLEANUP(mem_freep) char *message = str_escape(err->msg);
    int status = err_exit_status(err->code == ERR_REFUSED ? ERR_REFUSED : ERR_FAILED);

    if (cli->json) {
        return cli_report(cli, err, status);
    }
    (void)fprintf(stderr, "Job creation failed due to error:\n\t%s\n", message);
    return status;
}

static int create(struct verb_call *call, const struct cli_key *key, struct config *config,
                  json_t *selected, struct err *err)
{
    CLEANUP(mem_freep) char *text = cli_key_text(key);
    CLEANUP(mem_freep) char *what = str_printf("creating %s", text);
    CLEANUP(json_freep) json_t *record = NULL;
    const struct hooked hooked = {
        config, "create_job", text, NULL, what, create_opcode, selected
    };
    struct client *client = NULL;
    bool vetoed = false;

    if (cli_client(call->cli, key->cluster, &client, err) < 0) {
        return err_code(err);
    }
    if (hooked_run(call->cli, client, &hooked, &record, &vetoed, err) < 0) {
        if (vetoed) {
            return cli_report(call->cli, err, 1);
        }
        bool unreachable = err->code == ERR_UNREACHABLE || err->code == ERR_TIMEOUT ||
                           err->code == ERR_UNAUTH || err->code == ERR_EOF;

        return unreachable ? err_code(err) : rejected(call->cli, err);
    }
    if (strcmp(verb_text(call, "wait-until"), "PENDING") != 0 &&
        job_wait_until(call->cli, client, key, json_str_or(record, "id", ""), true,
                       verb_text(call, "wait-until"), err) < 0) {
        return err_code(err);
    }
    CLEANUP(mem_freep) char *url = cli_job_url(call->cli, key);

    if (call->cli->json) {
        cli_print_json(record);
    } else {
        (void)printf("Job create succeeded: job url=%s\n", url);
    }
    return 0;
}

static int run_job_create(struct verb_call *call, struct err *err)
{
    CLEANUP(cli_key_fini) struct cli_key key = { 0 };
    CLEANUP(config_freep) struct config *config = NULL;
    CLEANUP(json_freep) json_t *selected = NULL;
    struct client *client = NULL;

    if (job_wait_check(verb_text(call, "wait-until"), err) < 0 ||
        cli_key_parse(call->operands[0], &key, err) < 0 ||
        cli_client(call->cli, key.cluster, &client, err) < 0) {
        return err_code(err);
    }
    if (hooked_load(call, call->operands[1], call->operands[0], &config, &selected, err) < 0) {
        return err->code == ERR_USAGE ? err_code(err) : hooked_config_failed(config, err);
    }
    if (json_is_string(json_object_get(json_object_get(selected, "job"), "cron_schedule"))) {
        return err_set(err, ERR_FAILED,
                       "Cron jobs may only be scheduled with \"aurora cron schedule\" command");
    }
    return create(call, &key, config, selected, err);
}

const struct verb verb_job_create = {
    .noun = "job",
    .name = "create",
    .operands = "CLUSTER/ROLE/ENV/NAME FILE",
    .min_operands = 2,
    .max_operands = 2,
    .summary = "Create a job from a configuration file.",
    .details = "Exit 1: a client hook refused. 3: the configuration is wrong. 4: the job was\n"
               "rejected. 12: a hook of the operation refused.",
    .options = options,
    .json = true,
    .run = run_job_create,
};

/* One call of create_job, under the name that the first client had for one-off tasks. */
const struct verb verb_runtask = {
    .name = "runtask",
    .operands = "CLUSTER/ROLE/ENV/NAME FILE",
    .min_operands = 2,
    .max_operands = 2,
    .summary = "The same as 'job create', for one-off tasks.",
    .details = "Options, hooks and exit codes are those of 'job create'.",
    .options = options,
    .json = true,
    .same_as = &verb_job_create,
    .run = run_job_create,
};
