/* SPDX-License-Identifier: Apache-2.0 */

/* davit cron deschedule: one OP_CRON_REMOVE.  No client hook stands around it: a configuration is
 * taken as every verb does, and only has to be right.
 */

#include "base/json.h"
#include "base/str.h"
#include "cli/hooked.h"
#include "cli/operation.h"
#include "cli/verbs.h"
#include "cli/verbs/cron_error.h"

#include <stdio.h>

static const struct verb_option options[] = { HOOKED_CONFIG_OPTIONS, { 0 } };

static int run_cron_deschedule(struct verb_call *call, struct err *err)
{
    CLEANUP(cli_key_fini) struct cli_key key = { 0 };
    CLEANUP(config_freep) struct config *config = NULL;
    CLEANUP(mem_freep) char *text = NULL;
    CLEANUP(mem_freep) char *what = NULL;
    CLEANUP(mem_freep) char *message = NULL;
    CLEANUP(operation_fini) struct operation operation = { 0 };
    struct client *client = NULL;
    json_t *opcode;
    int rv;

    if (cli_key_parse(call->operands[0], &key, err) < 0 ||
        cli_client(call->cli, key.cluster, &client, err) < 0) {
        return err_code(err);
    }
    text = cli_key_text(&key);
    rv = hooked_begin(call, 1, text, &config, err);
    if (rv != 0) {
        return rv;
    }
    what = str_printf("descheduling %s", text);
    opcode = json_object();
    json_put_str(opcode, "op", "OP_CRON_REMOVE");
    json_put_str(opcode, "key", text);
    operation_init(&operation);
    if (operation_run(call->cli, client, &operation, opcode, what, err) < 0) {
        return cron_error(call->cli, "Error descheduling cron job", text, err);
    }
    if (call->cli->json) {
        cli_print_json(operation.record);
        return 0;
    }
    message = cli_shown(
        json_object_get(json_array_get(json_object_get(operation.record, "opcodes"), 0), "result"),
        "message", "");
    if (message[0] != '\0') {
        (void)fprintf(stderr, " INFO] %s\n", message);
    }
    (void)printf("Cron descheduling succeeded.\n");
    return 0;
}

const struct verb verb_cron_deschedule = {
    .noun = "cron",
    .name = "deschedule",
    .operands = "CLUSTER/ROLE/ENV/NAME [FILE]",
    .min_operands = 1,
    .max_operands = 2,
    .summary = "Take a cron job's schedule away; what runs of it is left alone.",
    .details = "A job that is not scheduled is no error, but is told. FILE is accepted: no client\n"
               "hook stands around this command. Exit 3: FILE is wrong. 10: the master refused.",
    .options = options,
    .json = true,
    .run = run_cron_deschedule,
};
