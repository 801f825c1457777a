/* SPDX-License-Identifier: Apache-2.0 */

/* davit update start: show what will change, then start a rolling update.
 */

#include "base/id.h"
#include "base/json.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/hooked.h"
#include "cli/preview.h"
#include "cli/refused.h"
#include "cli/update_view.h"
#include "cli/verbs.h"

#include <stdio.h>

#define UPDATE_ID_KEY "org.apache.aurora.client.update_id"

static const struct verb_option options[] = {
    HOOKED_CALL_OPTIONS,
    { "open-browser", 0, ARGS_FLAG, NULL, "open the job's page in the browser", NULL, 0, 0 },
    { "message", 'm', ARGS_TEXT, "TEXT", "why, for the update's events", NULL, 0, 0 },
    { "wait", 0, ARGS_FLAG, NULL, "wait until the update has ended", NULL, 0, 0 },
    { "healthcheck-interval-seconds", 0, ARGS_INT, "SECONDS", "accepted", "3", 0, 86400 },
    { "strict", 0, ARGS_FLAG, NULL, "accepted", NULL, 0, 0 },
    { 0 },
};

struct start {
    struct verb_call *call;
    json_t *selected;
    json_t *instances; /* NULL: all */
    char id[ID_UUID_SIZE];
};

static json_t *instances_of(const struct start *start)
{
    return start->instances != NULL ? json_incref(start->instances) : json_null();
}

static json_t *start_opcode(const json_t *changed, void *data)
{
    const struct start *start = data;
    const json_t *selected = changed != NULL ? changed : start->selected;
    json_t *opcode = json_object();

    json_put_str(opcode, "op", "OP_JOB_UPDATE_START");
    json_put_take(opcode, "job", json_incref(json_object_get(selected, "job")));
    json_put_take(opcode, "instances", instances_of(start));
    json_put_str(opcode, "message", verb_text(start->call, "message"));
    json_put_take(opcode, "metadata",
                  json_pack("[{s:s, s:s}]", "key", UPDATE_ID_KEY, "value", start->id));
    return opcode;
}

static json_t *hook_args(const struct start *start)
{
    json_t *args = json_object();

    json_put_str(args, "message", verb_text(start->call, "message"));
    json_put_take(args, "instances", instances_of(start));
    json_put_take(args, "metadata", json_pack("{s:s}", UPDATE_ID_KEY, start->id));
    return args;
}

/* What the master answered, once it accepted. */
static int report(struct start *start, struct client *client, const struct cli_key *key,
                  const json_t *record, struct err *err)
{
    struct cli *cli = start->call->cli;
    const json_t *result =
        json_object_get(json_array_get(json_object_get(record, "opcodes"), 0), "result");
    const char *id = json_str_or(result, "update", NULL);
    CLEANUP(mem_freep) char *message = cli_shown(result, "message", "");
    CLEANUP(mem_freep) char *text = cli_key_text(key);
    CLEANUP(json_freep) json_t *update = NULL;
    bool wait = verb_flag(start->call, "wait");

    if (cli->json && (id == NULL || !wait)) {
        cli_print_json(record);
        return 0;
    }
    if (id == NULL) {
        (void)printf("%s\n", message);
        return 0;
    }
    if (!cli->json) {
        CLEANUP(mem_freep) char *url = update_view_url(cli, key, id);

        (void)printf("Job update has started. View your update progress at %s\n", url);
        (void)fflush(stdout);
    }
    if (!wait) {
        return 0;
    }
    if (update_view_follow(cli, client, text, id, &update, err) < 0) {
        return err_code(err);
    }
    return update_view_verdict(cli, update, "ROLLED_FORWARD", "ROLLED_BACK");
}

static int refused(const struct cli *cli, const struct err *err, bool vetoed)
{
    return refused_report(cli, err, vetoed, "Failed to start update due to error:");
}

static int start_now(struct start *start, struct client *client, const struct cli_key *key,
                     struct config *config, struct err *err)
{
    struct cli *cli = start->call->cli;
    CLEANUP(mem_freep) char *text = cli_key_text(key);
    CLEANUP(mem_freep) char *what = str_printf("updating %s", text);
    CLEANUP(json_freep) json_t *args = hook_args(start);
    CLEANUP(json_freep) json_t *diff = NULL;
    CLEANUP(json_freep) json_t *record = NULL;
    const struct hooked hooked = {
        config, "start_job_update", text, args, what, start_opcode, start
    };
    bool vetoed = false;

    if (preview_ask(cli, client, json_object_get(start->selected, "job"), start->instances, &diff,
                    err) < 0) {
        return refused(cli, err, false);
    }
    if (!cli->json) {
        preview_print(diff, NULL);
    }
    if (hooked_run(cli, client, &hooked, &record, &vetoed, err) < 0) {
        return refused(cli, err, vetoed);
    }
    return report(start, client, key, record, err);
}

static void start_fini(struct start *start)
{
    json_decref(start->selected);
    json_decref(start->instances);
}

static int run_update_start(struct verb_call *call, struct err *err)
{
    CLEANUP(cli_key_fini) struct cli_key key = { 0 };
    CLEANUP(start_fini) struct start start = { .call = call };
    CLEANUP(config_freep) struct config *config = NULL;
    CLEANUP(mem_freep) char *text = NULL;
    struct client *client = NULL;

    id_uuid(start.id);
    if (cli_instances_parse(call->operands[0], &key, &start.instances, err) < 0 ||
        cli_client(call->cli, key.cluster, &client, err) < 0) {
        return err_code(err);
    }
    text = cli_key_text(&key);
    if (hooked_load(call, call->operands[1], text, &config, &start.selected, err) < 0) {
        return err->code == ERR_USAGE ? err_code(err) : hooked_config_failed(config, err);
    }
    if (json_is_string(json_object_get(json_object_get(start.selected, "job"), "cron_schedule"))) {
        return err_set(err, ERR_FAILED,
                       "Cron jobs may only be updated with \"aurora cron schedule\" command");
    }
    return start_now(&start, client, &key, config, err);
}

const struct verb verb_update_start = {
    .noun = "update",
    .name = "start",
    .operands = "CLUSTER/ROLE/ENV/NAME[/INSTANCES] FILE",
    .min_operands = 2,
    .max_operands = 2,
    .summary = "Start a rolling update of a job to the file's configuration.",
    .details =
        "Exit 1: a client hook refused. 3: the configuration is wrong. 4: with --wait, it was\n"
        "rolled back. 10: the master refused. 12: a hook of the operation refused. 20: with\n"
        "--wait, it ended otherwise.",
    .options = options,
    .json = true,
    .run = run_update_start,
};
