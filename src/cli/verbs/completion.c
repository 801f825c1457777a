/* SPDX-License-Identifier: Apache-2.0 */

/* davit completion bash, davit help TOPIC: texts made from the verb table. */

#include "base/json.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/verbs.h"

#include <stdio.h>
#include <string.h>

static int run_completion(struct verb_call *call, struct err *err)
{
    if (strcmp(call->operands[0], "bash") != 0) {
        return err_set(err, ERR_USAGE, "no completion for '%s'; known: bash", call->operands[0]);
    }
    CLEANUP(mem_freep) char *script = verb_bash_completion();

    (void)fputs(script, stdout);
    return 0;
}

const struct verb verb_completion = {
    .name = "completion",
    .operands = "SHELL",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "Print a completion script; SHELL is bash.",
    .details = "source <(davit completion bash)",
    .run = run_completion,
};

static const char exit_codes[] =
    "0    done\n"
    "1    refused by a client hook, or a check that the Aurora client dies on\n"
    "2    bad usage: options, job key, instance range\n"
    "3    the configuration is wrong, or the cluster is unknown\n"
    "4    the command failed (a create was rejected, a restart gave up, an update rolled back)\n"
    "6    nothing matched, or a parameter is wrong\n"
    "7    the master cannot be reached\n"
    "9    not done in time\n"
    "10   the master answered with an error\n"
    "12   refused by a hook of the operation\n"
    "13   conflicts with the present state\n"
    "14   no such object\n"
    "20   anything else that went wrong (an update was aborted or failed)\n"
    "30   not authenticated, or not allowed\n"
    "130  interrupted\n";

static const char environment[] =
    "AURORA_CONFIG_ROOT   directory of clusters.json (default /etc/aurora)\n"
    "XDG_STATE_HOME       davit up keeps its clusters below it (default ~/.local/state)\n"
    "XDG_CONFIG_HOME      davit/clusters.json below it is read too (default ~/.config)\n"
    "BROWSER              programs that show a page, between colons; %s is its address\n"
    "DIFF_VIEWER          program that shows two files, for job diff (a unified diff)\n"
    "NO_COLOR             no colour; CLICOLOR_FORCE=1: colour also without a terminal\n"
    "DAVIT_LOG            error, warn, info or debug\n"
    "DAVIT_LOG_FORMAT     text or json\n"
    "DAVIT_PYTHON         interpreter of the guests (default /usr/bin/python3)\n";

static int run_help(struct verb_call *call, struct err *err)
{
    const char *topic = call->operands[0];

    if (strcmp(topic, "exit-codes") == 0) {
        (void)fputs(exit_codes, stdout);
    } else if (strcmp(topic, "environment") == 0) {
        (void)fputs(environment, stdout);
    } else if (strcmp(topic, "verbs") == 0) {
        CLEANUP(json_freep) json_t *table = verb_table_json();

        cli_print_json(table);
    } else {
        return err_set(err, ERR_USAGE, "no help on '%s'; topics: exit-codes, environment, verbs",
                       topic);
    }
    return 0;
}

const struct verb verb_help = {
    .name = "help",
    .operands = "TOPIC",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "Explain exit-codes or environment, or print the table of verbs as JSON.",
    .run = run_help,
};
