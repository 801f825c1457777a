/* SPDX-License-Identifier: Apache-2.0 */

/* davit config lint: what in a configuration file is wrong or may surprise its author. */

#include "base/json.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/hooked.h"
#include "cli/verbs.h"

#include <stdio.h>

static const struct verb_option options[] = {
    HOOKED_FILE_OPTIONS,
    { 0 },
};

/* FILE[:LINE]: LEVEL: [KEY: ]TEXT, as compilers say it. */
static void print_finding(const char *file, const json_t *finding)
{
    const char *job = json_str_or(finding, "job", NULL);
    int64_t line = json_int_or(finding, "line", 0);
    CLEANUP(mem_freep) char *level = cli_shown(finding, "level", "?");
    CLEANUP(mem_freep) char *text = cli_shown(finding, "text", "");
    CLEANUP(mem_freep)
    char *where = line > 0 ? str_printf("%s:%lld", file, (long long)line) : mem_strdup(file);

    (void)printf("%s: %s: %s%s%s\n", where, level, job != NULL ? job : "", job != NULL ? ": " : "",
                 text);
}

static int run_config_lint(struct verb_call *call, struct err *err)
{
    CLEANUP(config_freep) struct config *config = hooked_config(call->cli);
    CLEANUP(json_freep) json_t *findings = NULL;
    const struct config_options load = hooked_file_options(call);
    bool wrong = false;
    size_t i;
    json_t *finding;

    if (config_load(config, call->operands[0], &load, err) < 0 ||
        config_lint(config, &findings, err) < 0) {
        if (err->code == ERR_USAGE) {
            return err_code(err);
        }
        (void)fprintf(stderr, "Error loading configuration: ");
        return hooked_config_failed(config, err);
    }
    json_array_foreach(findings, i, finding)
    {
        wrong = str_eq(json_str_or(finding, "level", NULL), "error") || wrong;
        if (!call->cli->json) {
            print_finding(call->operands[0], finding);
        }
    }
    if (call->cli->json) {
        cli_print_json(findings);
    }
    return wrong ? err_exit_status(ERR_CONFIG) : 0;
}

const struct verb verb_config_lint = {
    .noun = "config",
    .name = "lint",
    .operands = "FILE",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "Explain what in a configuration file is wrong or may surprise.",
    .details = "One line each: FILE[:LINE]: error|warning|note: [KEY:] TEXT. Exit 3 when there is\n"
               "an error, which is what any verb would refuse; else 0.",
    .options = options,
    .json = true,
    .run = run_config_lint,
};
