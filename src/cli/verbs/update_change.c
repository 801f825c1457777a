/* SPDX-License-Identifier: Apache-2.0 */

/* davit update pause, resume, abort, rollback: one operation on the active update of a job.
 *
 * Only abort is a method that client hooks know: cancel_update.
 */

#include "base/json.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/hooked.h"
#include "cli/refused.h"
#include "cli/update_view.h"
#include "cli/verbs.h"

#include <stdio.h>
#include <string.h>

#define COMMON_OPTIONS                                                                \
    HOOKED_CONFIG_OPTIONS,                                                            \
    {                                                                                 \
        "message", 'm', ARGS_TEXT, "TEXT", "why, for the update's events", NULL, 0, 0 \
    }

static const struct verb_option options[] = { COMMON_OPTIONS, { 0 } };
static const struct verb_option abort_options[] = {
    COMMON_OPTIONS,
    { "rollback", 0, ARGS_FLAG, NULL, "restore the old configuration instead of leaving a mix",
      NULL, 0, 0 },
    { 0 },
};
static const struct verb_option rollback_options[] = {
    COMMON_OPTIONS,
    { "wait", 0, ARGS_FLAG, NULL, "wait until the rollback has ended", NULL, 0, 0 },
    { 0 },
};

/* What the four differ in. */
struct kind {
    const char *verb, *op, *done, *method;
};

static const struct kind pause_kind = { "pause", "OP_JOB_UPDATE_PAUSE", "Update has been paused.",
                                        NULL };
static const struct kind resume_kind = { "resume", "OP_JOB_UPDATE_RESUME",
                                         "Update has been resumed.", NULL };
static const struct kind abort_kind = { "abort", "OP_JOB_UPDATE_ABORT", "Update has been aborted.",
                                        "cancel_update" };
static const struct kind abort_rollback_kind = { "abort", "OP_JOB_UPDATE_ROLLBACK",
                                                 "Update rollback has started.", "cancel_update" };
static const struct kind rollback_kind = { "rollback", "OP_JOB_UPDATE_ROLLBACK",
                                           "Update rollback has started.", NULL };

struct change {
    struct verb_call *call;
    const struct kind *kind;
    const char *key, *id;
};

static json_t *change_opcode(const json_t *changed, void *data)
{
    const struct change *change = data;
    json_t *opcode = json_object();

    (void)changed;
    json_put_str(opcode, "op", change->kind->op);
    json_put_str(opcode, "key", change->key);
    json_put_str(opcode, "update", change->id);
    json_put_str(opcode, "message", verb_text(change->call, "message"));
    return opcode;
}

static int change_now(struct change *change, struct client *client, struct config *config,
                      json_t **ret_record, int *ret_status, struct err *err)
{
    struct cli *cli = change->call->cli;
    CLEANUP(mem_freep) char *what = str_printf("%s of the update", change->kind->verb);
    CLEANUP(mem_freep)
    char *context = str_printf("Failed to %s update due to error:", change->kind->verb);
    CLEANUP(json_freep) json_t *args = json_object();
    const struct hooked hooked = { change->kind->method != NULL ? config : NULL,
                                   change->kind->method,
                                   change->key,
                                   args,
                                   what,
                                   change_opcode,
                                   change };
    bool vetoed = false;

    json_put_str(args, "message", verb_text(change->call, "message"));
    if (hooked_run(cli, client, &hooked, ret_record, &vetoed, err) < 0) {
        *ret_status = refused_report(cli, err, vetoed, context);
        return -1;
    }
    return 0;
}

static int run_change(struct verb_call *call, const struct kind *kind, bool wait, struct err *err)
{
    CLEANUP(cli_key_fini) struct cli_key key = { 0 };
    CLEANUP(mem_freep) char *text = NULL;
    CLEANUP(config_freep) struct config *config = NULL;
    CLEANUP(json_freep) json_t *update = NULL;
    CLEANUP(json_freep) json_t *last = NULL;
    CLEANUP(json_freep) json_t *record = NULL;
    struct change change = { .call = call, .kind = kind };
    struct client *client = NULL;
    int status = 0;

    if (cli_key_parse(call->operands[0], &key, err) < 0 ||
        cli_client(call->cli, key.cluster, &client, err) < 0) {
        return err_code(err);
    }
    text = cli_key_text(&key);
    status = hooked_begin(call, 1, text, &config, err);
    if (status != 0) {
        return status;
    }
    if (update_view_active(call->cli, client, text, "No active update found for this job.", &update,
                           err) < 0) {
        return err_code(err);
    }
    change.key = text;
    change.id = json_str_or(update, "id", "");
    if (change_now(&change, client, config, &record, &status, err) < 0) {
        return status;
    }
    if (!call->cli->json) {
        (void)printf("%s\n", kind->done);
        (void)fflush(stdout);
    } else if (!wait) {
        cli_print_json(record);
    }
    if (!wait) {
        return 0;
    }
    if (update_view_follow(call->cli, client, text, change.id, &last, err) < 0) {
        return err_code(err);
    }
    return update_view_verdict(call->cli, last, "ROLLED_BACK", "ROLLED_FORWARD");
}

static int run_update_pause(struct verb_call *call, struct err *err)
{
    return run_change(call, &pause_kind, false, err);
}

static int run_update_resume(struct verb_call *call, struct err *err)
{
    return run_change(call, &resume_kind, false, err);
}

static int run_update_abort(struct verb_call *call, struct err *err)
{
    return run_change(call, verb_flag(call, "rollback") ? &abort_rollback_kind : &abort_kind, false,
                      err);
}

static int run_update_rollback(struct verb_call *call, struct err *err)
{
    return run_change(call, &rollback_kind, verb_flag(call, "wait"), err);
}

#define CHANGE_OPERANDS "CLUSTER/ROLE/ENV/NAME [FILE]"
#define CHANGE_EXITS                                                                              \
    "Exit 1: a client hook refused. 6: no update is active. 10: the master refused. 12: a hook\n" \
    "of the operation refused."

const struct verb verb_update_pause = {
    .noun = "update",
    .name = "pause",
    .operands = CHANGE_OPERANDS,
    .min_operands = 1,
    .max_operands = 2,
    .summary = "Pause the active update of a job: what is under way goes on, nothing new begins.",
    .details = CHANGE_EXITS,
    .options = options,
    .json = true,
    .run = run_update_pause,
};

const struct verb verb_update_resume = {
    .noun = "update",
    .name = "resume",
    .operands = CHANGE_OPERANDS,
    .min_operands = 1,
    .max_operands = 2,
    .summary = "Go on with the paused update of a job.",
    .details = CHANGE_EXITS,
    .options = options,
    .json = true,
    .run = run_update_resume,
};

const struct verb verb_update_abort = {
    .noun = "update",
    .name = "abort",
    .operands = CHANGE_OPERANDS,
    .min_operands = 1,
    .max_operands = 2,
    .summary = "End the active update of a job where it is; old and new instances stay.",
    .details =
        "FILE, or --config FILE: a configuration whose cancel_update hooks run.\n" CHANGE_EXITS,
    .options = abort_options,
    .json = true,
    .run = run_update_abort,
};

const struct verb verb_update_rollback = {
    .noun = "update",
    .name = "rollback",
    .operands = CHANGE_OPERANDS,
    .min_operands = 1,
    .max_operands = 2,
    .summary = "Turn the active update of a job around, back to the old configuration.",
    .details = CHANGE_EXITS " With --wait, 4: it rolled forward. 20: it ended otherwise.",
    .options = rollback_options,
    .json = true,
    .run = run_update_rollback,
};
