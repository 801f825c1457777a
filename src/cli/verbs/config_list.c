/* SPDX-License-Identifier: Apache-2.0 */

/* davit config list: the jobs that a configuration file defines.  No cluster is asked. */

#include "base/buf.h"
#include "base/json.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/hooked.h"
#include "cli/verbs.h"
#include "config/config.h"

#include <stdio.h>

static const struct verb_option options[] = {
    HOOKED_FILE_OPTIONS,
    { 0 },
};

static int run_config_list(struct verb_call *call, struct err *err)
{
    CLEANUP(config_freep) struct config *config = hooked_config(call->cli);
    CLEANUP_BUF keys = { 0 };
    const struct config_options load = hooked_file_options(call);
    size_t i;
    json_t *key;

    if (config_load(config, call->operands[0], &load, err) < 0) {
        if (err->code == ERR_USAGE) {
            return err_code(err);
        }
        (void)fprintf(stderr, "Error loading configuration file: %s\n", config_message(config));
        int status = config_exit_status(config);

        return status >= 0 ? status : err_exit_status(ERR_FAILED);
    }
    hooked_print_warnings(config_warnings(config));
    if (call->cli->json) {
        cli_print_json(config_jobs(config));
        return 0;
    }
    json_array_foreach(config_jobs(config), i, key)
    {
        buf_addf(&keys, "%s%s", i > 0 ? ", " : "", json_string_value(key));
    }
    (void)printf("jobs=[%s]\n", buf_text(&keys));
    return 0;
}

const struct verb verb_config_list = {
    .noun = "config",
    .name = "list",
    .operands = "FILE",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "List the jobs that a configuration file defines.",
    .details = "Prints jobs=[KEY, ...]. A file that cannot be loaded: exit 4.",
    .options = options,
    .json = true,
    .run = run_config_list,
};
