/* SPDX-License-Identifier: Apache-2.0 */

/* davit update pulse: tell a coordinated update (pulse_interval_secs) that all is well.
 */

#include "base/buf.h"
#include "base/json.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/update_view.h"
#include "cli/verbs.h"

#include <stdio.h>

static int run_update_pulse(struct verb_call *call, struct err *err)
{
    CLEANUP(cli_key_fini) struct cli_key key = { 0 };
    CLEANUP(mem_freep) char *text = NULL;
    CLEANUP_BUF path = { 0 };
    CLEANUP(json_freep) json_t *update = NULL;
    CLEANUP(json_freep) json_t *answer = NULL;
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
    if (rv < 0) {
        return err_code(err);
    }
    buf_add_text(&path, "/v1/updates");
    client_segment(&path, json_str_or(update, "id", ""));
    buf_add_text(&path, "/pulse");
    if (cli_request(call->cli, client, "POST", buf_text(&path), NULL, &answer, err) < 0) {
        return err_code(err);
    }
    if (call->cli->json) {
        cli_print_json(answer);
    } else {
        CLEANUP(mem_freep) char *status = cli_shown(answer, "status", "?");

        (void)printf("%s\n", status);
    }
    return 0;
}

const struct verb verb_update_pulse = {
    .noun = "update",
    .name = "pulse",
    .operands = "CLUSTER/ROLE/ENV/NAME [ID]",
    .min_operands = 1,
    .max_operands = 2,
    .summary = "Tell an update with a pulse interval that it may go on.",
    .details =
        "Prints OK, or FINISHED for an update that has ended. Exit 6: there is no such update.",
    .json = true,
    .run = run_update_pulse,
};
