/* SPDX-License-Identifier: Apache-2.0 */

/* davit task scp: copy files to and from sandboxes.  Becomes scp; a sandbox on this
 * machine is a plain path to it.
 */

#include "base/json.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/sandbox.h"
#include "cli/verbs.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static const struct verb_option options[] = {
    { "scp-options", 0, ARGS_TEXT, "OPTIONS", "more options for scp, one text", NULL, 0, 0 },
    { "ssh-user", 'l', ARGS_TEXT, "USER", "who to be there (the role)", NULL, 0, 0 },
    { "executor-sandbox", 0, ARGS_FLAG, NULL, "paths begin in the pod's own directory", NULL, 0,
      0 },
    { "ssh", 0, ARGS_FLAG, NULL, "over ssh, also when the node is this machine", NULL, 0, 0 },
    { 0 },
};

/* KEY/INSTANCE:PATH to what scp knows. */
static int add_remote(struct verb_call *call, const char *spec, const char *colon, char ***argv,
                      struct err *err)
{
    CLEANUP(cli_key_fini) struct cli_key key = { 0 };
    CLEANUP(json_freep) json_t *instances = NULL;
    CLEANUP(mem_freep) char *text = mem_strndup(spec, (size_t)(colon - spec));
    CLEANUP(mem_freep) char *path = NULL, *address = NULL, *word = NULL, *dir = NULL;
    struct sandbox *all = NULL;
    size_t n = 0;

    if (cli_instances_parse(text, &key, &instances, err) < 0) {
        return err_code(err);
    }
    if (json_array_size(instances) != 1) {
        return err_set(err, ERR_USAGE, "name one instance in '%s'", text);
    }
    if (colon[1] == '~') {
        return err_set(err, ERR_INVALID, "Command does not support tilde expansion for path: %s",
                       colon + 1);
    }
    if (sandbox_find(call->cli, &key, instances, &all, &n, err) < 0) {
        return err->code == ERR_INVALID
                   ? err_set(err, ERR_INVALID, "Job or instance %s not found", text)
                   : err_code(err);
    }
    dir = sandbox_dir(&all[0], verb_flag(call, "executor-sandbox"));
    path = colon[1] == '/' ? mem_strdup(colon + 1) : str_printf("%s/%s", dir, colon + 1);
    address = sandbox_address(&all[0], verb_text(call, "ssh-user"));
    word = all[0].here && !verb_flag(call, "ssh") ? mem_strdup(path)
                                                  : str_printf("%s:%s", address, path);
    strv_add(argv, word);
    sandbox_free_all(all, n);
    return 0;
}

static int run_task_scp(struct verb_call *call, struct err *err)
{
    CLEANUP(strv_freep) char **argv = NULL;

    strv_add(&argv, "scp");
    sandbox_add_words(&argv, verb_text(call, "scp-options"));
    strv_add(&argv, "--");
    for (int i = 0; i < call->n_operands; i++) {
        const char *colon = strchr(call->operands[i], ':');

        if (colon == NULL) {
            strv_add(&argv, call->operands[i]);
        } else if (add_remote(call, call->operands[i], colon, &argv, err) < 0) {
            return err_code(err);
        }
    }
    (void)signal(SIGINT, SIG_DFL);
    (void)execvp(argv[0], argv);
    return err_set(err, ERR_FAILED, "cannot run scp: %s", strerror(errno));
}

const struct verb verb_task_scp = {
    .noun = "task",
    .name = "scp",
    .operands = "SOURCE... DESTINATION",
    .min_operands = 2,
    .max_operands = 1000,
    .summary = "Copy files to and from the sandboxes of instances.",
    .details =
        "Each may be CLUSTER/ROLE/ENV/NAME/INSTANCE:PATH; a relative PATH begins in the sandbox.\n"
        "The exit status is that of scp.",
    .options = options,
    .run = run_task_scp,
};
