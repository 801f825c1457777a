/* SPDX-License-Identifier: Apache-2.0 */

/* davit config hooks: which client hooks a verb would run, without running them. */

#include "base/json.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/hooked.h"
#include "cli/verbs.h"

#include <stdio.h>
#include <string.h>

static const struct verb_option options[] = {
    HOOKED_FILE_OPTIONS,
    { 0 },
};

/* The API call behind each verb that has client hooks. */
static const struct {
    const char *verb, *method;
} CALLS[] = {
    { "job create", "create_job" },
    { "job add", "add_instances" },
    { "job kill", "kill_job" },
    { "job killall", "kill_job" },
    { "job restart", "restart" },
    { "cron start", "start_cronjob" },
    { "update start", "start_job_update" },
    { "update abort", "cancel_update" },
};

static const char *method_of(const char *verb)
{
    for (size_t i = 0; i < sizeof(CALLS) / sizeof(CALLS[0]); i++) {
        if (strcmp(verb, CALLS[i].verb) == 0 || strcmp(verb, CALLS[i].method) == 0) {
            return CALLS[i].method;
        }
    }
    return NULL;
}

static void print_plan(const json_t *plan)
{
    static const char *const phases[] = { "pre", "post", "err" };

    for (size_t i = 0; i < sizeof(phases) / sizeof(phases[0]); i++) {
        size_t at;
        json_t *name;

        json_array_foreach(json_object_get(plan, phases[i]), at, name)
        {
            (void)printf("%s\t%s\n", phases[i], json_string_value(name));
        }
    }
}

static int run_config_hooks(struct verb_call *call, struct err *err)
{
    CLEANUP(config_freep) struct config *config = NULL;
    CLEANUP(json_freep) json_t *selected = NULL, *plan = NULL;
    CLEANUP(mem_freep)
    char *verb = call->n_operands == 4 ? str_printf("%s %s", call->operands[2], call->operands[3])
                                       : mem_strdup(call->operands[2]);
    const char *method = method_of(verb);

    if (method == NULL) {
        return err_set(err, ERR_USAGE,
                       "'%s' runs no client hooks; these do: job create, job add, job kill, "
                       "job killall, job restart, cron start, update start, update abort",
                       verb);
    }
    if (hooked_load(call, call->operands[0], call->operands[1], &config, &selected, err) < 0 ||
        config_plan(config, method, &plan, err) < 0) {
        if (err->code == ERR_USAGE) {
            return err_code(err);
        }
        (void)fprintf(stderr, "Error loading configuration: ");
        return hooked_config_failed(config, err);
    }
    if (call->cli->json) {
        cli_print_json(plan);
        return 0;
    }
    if (json_array_size(config_hook_names(config)) > 0 &&
        !json_bool_or(selected, "enable_hooks", false)) {
        (void)fprintf(stderr, "the job does not say enable_hooks=True: the file's hooks do not "
                              "run for it\n");
    }
    print_plan(plan);
    return 0;
}

const struct verb verb_config_hooks = {
    .noun = "config",
    .name = "hooks",
    .operands = "FILE KEY VERB",
    .min_operands = 3,
    .max_operands = 4,
    .summary = "List the client hooks that a verb would run, in order, without running them.",
    .details = "VERB is as on the command line (job create) or the API's method (create_job).\n"
               "One line each: pre, post or err, a tab, Class.method.",
    .options = options,
    .json = true,
    .run = run_config_hooks,
};
