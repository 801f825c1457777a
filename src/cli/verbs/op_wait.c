/* SPDX-License-Identifier: Apache-2.0 */

/* davit op wait: follow an operation that somebody asked for, to its end.
 */

#include "base/buf.h"
#include "base/json.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/operation.h"
#include "cli/verbs.h"

#include <stdio.h>

static const struct verb_option options[] = {
    { "cluster", 'c', ARGS_TEXT, "NAME", "the cluster (default: the only one known)", NULL, 0, 0 },
    { 0 },
};

static int run_op_wait(struct verb_call *call, struct err *err)
{
    CLEANUP_BUF path = { 0 };
    CLEANUP(json_freep) json_t *record = NULL;
    CLEANUP(mem_freep) char *what = str_printf("operation %s", call->operands[0]);
    struct client *client = NULL;

    buf_add_text(&path, "/v1/operations");
    client_segment(&path, call->operands[0]);
    if (cli_default_client(call->cli, verb_text(call, "cluster"), &client, err) < 0 ||
        operation_request(call->cli, client, "GET", buf_text(&path), NULL, &record, err) < 0 ||
        operation_follow(call->cli, client, &record, what, err) < 0) {
        return err_code(err);
    }
    if (call->cli->json) {
        cli_print_json(record);
    } else {
        CLEANUP(mem_freep) char *state = cli_shown(record, "state", "?");

        (void)printf("operation %lld %s\n", (long long)json_int_or(record, "number", 0), state);
    }
    return operation_verdict(record, err);
}

const struct verb verb_op_wait = {
    .noun = "op",
    .name = "wait",
    .operands = "ID",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "Wait until an operation, by number or id, is over.",
    .details = "Exit 0: it succeeded. 4: it did not. 12: a hook refused it. 14: there is none.",
    .options = options,
    .json = true,
    .run = run_op_wait,
};
