/* SPDX-License-Identifier: Apache-2.0 */

/* davit cron schedule: evaluate the file and put the job under its key, as a new one
 * (OP_CRON_ADD) or in place of what was scheduled there (OP_CRON_SET_PARAMS).  No client hook
 * stands around it: the Aurora client had none.
 */

#include "base/buf.h"
#include "base/json.h"
#include "base/str.h"
#include "cli/hooked.h"
#include "cli/operation.h"
#include "cli/verbs.h"
#include "cli/verbs/cron_error.h"

#include <stdio.h>

static const struct verb_option options[] = {
    HOOKED_FILE_OPTIONS,
    { "timezone", 0, ARGS_TEXT, "NAME", "instead of the job's cron_timezone (UTC)", NULL, 0, 0 },
    { 0 },
};

static int is_scheduled(struct cli *cli, struct client *client, const struct cli_key *key,
                        bool *ret_there, struct err *err)
{
    const char *const segments[] = { key->cluster, key->role, key->env, key->name };
    CLEANUP_BUF path = { 0 };

    buf_add_text(&path, "/v1/cron");
    for (size_t i = 0; i < sizeof(segments) / sizeof(segments[0]); i++) {
        client_segment(&path, segments[i]);
    }
    *ret_there = true;
    if (cli_request(cli, client, "GET", buf_text(&path), NULL, NULL, err) < 0) {
        if (err->code != ERR_NOTFOUND) {
            return err_code(err);
        }
        err->code = 0;
        *ret_there = false;
    }
    return 0;
}

static int schedule_once(struct cli *cli, struct client *client, const struct cli_key *key,
                         json_t *job, json_t **ret_record, struct err *err)
{
    CLEANUP(mem_freep) char *text = cli_key_text(key);
    CLEANUP(mem_freep) char *what = str_printf("scheduling %s", text);
    CLEANUP(operation_fini) struct operation operation;
    json_t *opcode;
    bool there;

    operation_init(&operation);
    if (is_scheduled(cli, client, key, &there, err) < 0) {
        return err_code(err);
    }
    opcode = json_object();
    json_put_str(opcode, "op", there ? "OP_CRON_SET_PARAMS" : "OP_CRON_ADD");
    json_put_take(opcode, "job", json_incref(job));
    if (operation_run(cli, client, &operation, opcode, what, err) < 0) {
        return err_code(err);
    }
    *ret_record = json_incref(operation.record);
    return 0;
}

static int schedule(struct verb_call *call, const struct cli_key *key, json_t *job, struct err *err)
{
    CLEANUP(mem_freep) char *text = cli_key_text(key);
    CLEANUP(mem_freep) char *url = NULL;
    CLEANUP(json_freep) json_t *record = NULL;
    struct client *client = NULL;
    int rv;

    if (cli_client(call->cli, key->cluster, &client, err) < 0) {
        return err_code(err);
    }
    rv = schedule_once(call->cli, client, key, job, &record, err);
    if (rv == ERR_NOTFOUND || rv == ERR_EXISTS) {
        rv = schedule_once(call->cli, client, key, job, &record, err); /* It came or went. */
    }
    if (rv < 0) {
        return cron_error(call->cli, "Error scheduling cron job", text, err);
    }
    url = cli_job_url(call->cli, key);
    if (call->cli->json) {
        cli_print_json(record);
    } else {
        (void)printf("Cron job scheduled, status can be viewed at %s\n", url);
    }
    return 0;
}

static int run_cron_schedule(struct verb_call *call, struct err *err)
{
    CLEANUP(cli_key_fini) struct cli_key key = { 0 };
    CLEANUP(config_freep) struct config *config = NULL;
    CLEANUP(json_freep) json_t *selected = NULL;
    struct client *client = NULL;
    json_t *job;

    if (cli_key_parse(call->operands[0], &key, err) < 0 ||
        cli_client(call->cli, key.cluster, &client, err) < 0) {
        return err_code(err);
    }
    if (hooked_load(call, call->operands[1], call->operands[0], &config, &selected, err) < 0) {
        return err->code == ERR_USAGE ? err_code(err) : hooked_config_failed(config, err);
    }
    job = json_object_get(selected, "job");
    if (!json_is_string(json_object_get(job, "cron_schedule"))) {
        return err_set(err, ERR_FAILED,
                       "Non-cron jobs may only be created with \"aurora job create\" command");
    }
    json_put_str(job, "cron_timezone",
                 verb_text(call, "timezone") != NULL ? verb_text(call, "timezone")
                                                     : json_str_or(job, "cron_timezone", NULL));
    return schedule(call, &key, job, err);
}

const struct verb verb_cron_schedule = {
    .noun = "cron",
    .name = "schedule",
    .operands = "CLUSTER/ROLE/ENV/NAME FILE",
    .min_operands = 2,
    .max_operands = 2,
    .summary = "Schedule a cron job from a configuration file, or replace it.",
    .details = "What runs of the job is left alone.\n"
               "Exit 3: the configuration is wrong. 4: it has no cron_schedule. 10: the master\n"
               "refused. 12: a hook of the operation refused.",
    .options = options,
    .json = true,
    .run = run_cron_schedule,
};
