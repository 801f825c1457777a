/* SPDX-License-Identifier: Apache-2.0 */

/* davit update wait: follow an update until it has ended.
 */

#include "base/json.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/update_view.h"
#include "cli/verbs.h"

static int run_update_wait(struct verb_call *call, struct err *err)
{
    CLEANUP(cli_key_fini) struct cli_key key = { 0 };
    CLEANUP(mem_freep) char *text = NULL;
    CLEANUP(json_freep) json_t *update = NULL;
    CLEANUP(json_freep) json_t *last = NULL;
    struct client *client = NULL;
    int rv;

    if (cli_key_parse(call->operands[0], &key, err) < 0 ||
        cli_client(call->cli, key.cluster, &client, err) < 0) {
        return err_code(err);
    }
    text = cli_key_text(&key);
    if (call->n_operands > 1) {
        rv = update_view_get(call->cli, client, text, call->operands[1], "Job update not found.",
                             &update, err);
    } else {
        rv = update_view_active(call->cli, client, text, "No active update found for this job.",
                                &update, err);
    }
    if (rv < 0 || update_view_follow(call->cli, client, text, json_str_or(update, "id", ""), &last,
                                     err) < 0) {
        return err_code(err);
    }
    return update_view_verdict(call->cli, last, "ROLLED_FORWARD", "ROLLED_BACK");
}

const struct verb verb_update_wait = {
    .noun = "update",
    .name = "wait",
    .operands = "CLUSTER/ROLE/ENV/NAME [ID]",
    .min_operands = 1,
    .max_operands = 2,
    .summary = "Wait until an update (the active one) has ended, and print its states.",
    .details =
        "Exit 0: ROLLED_FORWARD. 4: ROLLED_BACK. 20: it ended otherwise. 6: there is no such\n"
        "update.",
    .json = true,
    .run = run_update_wait,
};
