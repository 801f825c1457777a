/* SPDX-License-Identifier: Apache-2.0 */

/* davit cron start: launch a cron job now, by one start_cronjob call (its client hooks and one
 * OP_CRON_START).
 */

#include "base/json.h"
#include "base/str.h"
#include "cli/hooked.h"
#include "cli/verbs.h"
#include "cli/verbs/cron_error.h"

#include <stdio.h>

static const struct verb_option options[] = {
    HOOKED_CONFIG_OPTIONS,
    { "open-browser", 0, ARGS_FLAG, NULL, "open the job's page in the browser", NULL, 0, 0 },
    { 0 },
};

static json_t *start_opcode(const json_t *changed, void *data)
{
    json_t *opcode = json_object();

    (void)changed;
    json_put_str(opcode, "op", "OP_CRON_START");
    json_put_str(opcode, "key", data);
    return opcode;
}

static int run_cron_start(struct verb_call *call, struct err *err)
{
    CLEANUP(cli_key_fini) struct cli_key key = { 0 };
    CLEANUP(config_freep) struct config *config = NULL;
    CLEANUP(json_freep) json_t *record = NULL;
    CLEANUP(mem_freep) char *text = NULL;
    CLEANUP(mem_freep) char *what = NULL;
    struct client *client = NULL;
    bool vetoed = false;
    int rv;

    if (cli_key_parse(call->operands[0], &key, err) < 0 ||
        cli_client(call->cli, key.cluster, &client, err) < 0) {
        return err_code(err);
    }
    text = cli_key_text(&key);
    what = str_printf("starting %s", text);
    rv = hooked_begin(call, 1, text, &config, err);
    if (rv != 0) {
        return rv;
    }
    const struct hooked hooked = { config, "start_cronjob", text, NULL, what, start_opcode, text };

    if (hooked_run(call->cli, client, &hooked, &record, &vetoed, err) < 0) {
        return vetoed ? cli_report(call->cli, err, 1)
                      : cron_error(call->cli, "Error starting cron job", text, err);
    }
    const json_t *result =
        json_object_get(json_array_get(json_object_get(record, "opcodes"), 0), "result");
    CLEANUP(mem_freep) char *message = cli_shown(result, "message", "");

    if (message[0] != 0) { /* Nothing was launched. */
        (void)fprintf(stderr, " INFO] %s: %s\n", text, message);
    }
    if (call->cli->json) {
        cli_print_json(record);
    }
    return 0;
}

const struct verb verb_cron_start = {
    .noun = "cron",
    .name = "start",
    .operands = "CLUSTER/ROLE/ENV/NAME [FILE]",
    .min_operands = 1,
    .max_operands = 2,
    .summary = "Launch a cron job now, by the same collision rule as its schedule.",
    .details = "Prints nothing on success. FILE, or --config FILE: a configuration whose client\n"
               "hooks run. Exit 1: a client hook refused. 10: the master refused.",
    .options = options,
    .json = true,
    .run = run_cron_start,
};
