/* SPDX-License-Identifier: Apache-2.0 */

/* davit config dump: what a configuration file evaluates to. */

#include "base/json.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/hooked.h"
#include "cli/verbs.h"

#include <string.h>

static const struct verb_option options[] = {
    { "select", 0, ARGS_LIST, "KEY", "only this job (repeatable; all of them)", NULL, 0, 0 },
    { "instance", 0, ARGS_INT, "N", "also the task as instance N has it", "-1", -1, INT32_MAX },
    HOOKED_FILE_OPTIONS,
    { 0 },
};

/* Without an environment a job cannot be selected. */
static bool lacks_environment(const char *key)
{
    const char *role = strchr(key, '/');
    const char *env = role != NULL ? strchr(role + 1, '/') : NULL;

    return env != NULL && str_starts(env, "/{MISSING}/");
}

static int dump(struct verb_call *call, struct config *config, json_t *configs, struct err *err)
{
    char **wanted = verb_list(call, "select");
    const json_t *jobs = config_jobs(config);
    size_t n = 0;

    while (wanted != NULL && wanted[n] != NULL) {
        n++;
    }
    for (size_t i = 0; i < (n > 0 ? n : json_array_size(jobs)); i++) {
        const char *key = n > 0 ? wanted[i] : json_string_value(json_array_get(jobs, i));
        json_t *one = NULL;

        if (n == 0 && lacks_environment(key)) {
            continue;
        }
        if (config_dump(config, key, verb_number(call, "instance"), &one, err) < 0) {
            return err_code(err);
        }
        hooked_print_warnings(json_object_get(one, "warnings"));
        (void)json_object_del(one, "warnings");
        json_array_append_new(configs, one);
    }
    return 0;
}

static int run_config_dump(struct verb_call *call, struct err *err)
{
    CLEANUP(config_freep) struct config *config = hooked_config(call->cli);
    CLEANUP(json_freep) json_t *answer = json_object();
    const struct config_options load = hooked_file_options(call);
    json_t *configs = json_array();

    json_put_take(answer, "configs", configs);
    if (config_load(config, call->operands[0], &load, err) < 0 ||
        dump(call, config, configs, err) < 0) {
        if (err->code == ERR_USAGE) {
            return err_code(err);
        }
        return hooked_config_failed(config, err);
    }
    hooked_print_warnings(config_warnings(config));
    json_put_bool(answer, "ok", true);
    json_put_take(answer, "jobs", json_incref((json_t *)config_jobs(config)));
    json_put_take(answer, "hooks", json_incref((json_t *)config_hook_names(config)));
    cli_print_json(answer);
    return 0;
}

const struct verb verb_config_dump = {
    .noun = "config",
    .name = "dump",
    .operands = "FILE",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "Print what a configuration file evaluates to, as JSON.",
    .details = "One object: ok, jobs (keys in the file's order), hooks (class names) and configs,\n"
               "one per selected job: key, job, ports, unbound, and with --instance also\n"
               "instance_task and instance_unbound. A file or job that is wrong: exit 3.",
    .options = options,
    .run = run_config_dump,
};
