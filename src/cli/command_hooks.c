/* SPDX-License-Identifier: Apache-2.0 */

/* command_hooks: Python around a whole command.
 *
 *   plugin files --run--> pre hooks --all let it pass--> the verb --status 0--> post hooks
 *                             |
 *                             +--one does not--> its status
 *
 * The guest that ran the plugin files stays (cli.plugins): it evaluates the configuration
 * too, so that API hooks which a plugin file registered run around every call.
 * Commands without a noun (up, help) have no hooks: nothing of a cluster is done by them.
 */

#include "cli/command_hooks.h"

#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/hooked.h"
#include "config/config.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_NAME "command_hooks.py"

/* Adds the file if it is there.  Who may write it runs code as us. */
static int add_file(char ***paths, char *path_take, struct err *err)
{
    CLEANUP(mem_freep) char *path = path_take;
    struct stat st;

    if (path == NULL || stat(path, &st) < 0) {
        return 0;
    }
    if ((st.st_mode & S_IWOTH) != 0) {
        return err_set(err, ERR_CONFIG, "%s may be written by everybody: it is not run", path);
    }
    if (st.st_uid != 0 && st.st_uid != geteuid()) {
        return err_set(err, ERR_CONFIG, "%s is neither root's nor yours: it is not run", path);
    }
    strv_add(paths, path);
    return 0;
}

static int find_files(char ***ret_paths, struct err *err)
{
    CLEANUP(strv_freep) char **paths = NULL;
    const char *root = getenv("AURORA_CONFIG_ROOT");
    const char *home = getenv("HOME");
    const char *config = getenv("XDG_CONFIG_HOME");
    bool has_config = config != NULL && config[0] != 0;

    if (add_file(&paths, file_join(root != NULL && root[0] != 0 ? root : "/etc/aurora", FILE_NAME),
                 err) < 0 ||
        add_file(&paths, home != NULL ? file_join(home, ".aurora/" FILE_NAME) : NULL, err) < 0 ||
        add_file(&paths,
                 has_config     ? file_join(config, "davit/" FILE_NAME)
                 : home != NULL ? file_join(home, ".config/davit/" FILE_NAME)
                                : NULL,
                 err) < 0) {
        return err_code(err);
    }
    *ret_paths = TAKE(paths);
    return 0;
}

static json_t *texts(int n, char **words)
{
    json_t *list = json_array();

    for (int i = 0; i < n; i++) {
        (void)json_array_append_new(list, json_str_repaired(words[i], strlen(words[i])));
    }
    return list;
}

static json_t *params_of(struct verb_call *call, const char *phase, int n, char **argv)
{
    const struct verb *verb = call->verb->same_as != NULL ? call->verb->same_as : call->verb;
    char **skip = verb_list(call, "skip-hooks");
    json_t *params = json_object();

    json_put_str(params, "phase", phase);
    json_put_str(params, "noun", verb->noun);
    json_put_str(params, "verb", verb->name);
    json_put_take(params, "options", verb_options_json(call));
    json_put_take(params, "operands", texts(call->n_operands, call->operands));
    json_put_take(params, "argv", texts(n, argv));
    json_put_take(params, "skip", texts(skip != NULL ? (int)strv_len(skip) : 0, skip));
    return params;
}

static bool has_hooks(const struct verb *verb)
{
    return verb->noun != NULL || verb->same_as != NULL;
}

static int load(struct verb_call *call, bool *ret_ended, struct err *err)
{
    CLEANUP(strv_freep) char **paths = NULL;
    CLEANUP(json_freep) json_t *plugins = NULL;

    if (find_files(&paths, err) < 0) {
        return err_code(err);
    }
    if (paths == NULL) {
        return 0;
    }
    call->cli->plugins = config_new();
    if (config_plugins(call->cli->plugins, (const char *const *)paths, call->cli->verbose, &plugins,
                       err) < 0) {
        *ret_ended = true;
        return hooked_config_failed(call->cli->plugins, err);
    }
    hooked_print_warnings(json_object_get(plugins, "warnings"));
    return 0;
}

/* The status the hooks of a phase leave; *ret_ended: it is to be the command's. */
static int run(struct verb_call *call, json_t *params_take, bool *ret_ended, struct err *err)
{
    CLEANUP(json_freep) json_t *result = NULL;

    (void)fflush(stdout); /* What hooks print comes after what we said. */
    if (config_command(call->cli->plugins, params_take, &result, err) < 0) {
        *ret_ended = true;
        return hooked_config_failed(call->cli->plugins, err);
    }
    const char *message = json_str_or(result, "message", NULL);
    const char *error = json_str_or(result, "error", NULL);
    int status = (int)json_int_or(result, "status", 0);

    if (error != NULL) {
        (void)fprintf(stderr, "%s\n", error);
    }
    if (message != NULL) {
        (void)printf("%s\n", message);
    }
    *ret_ended = status != 0 || json_bool_or(result, "exit", false);
    return status;
}

int command_hooks_before(struct verb_call *call, int n, char **argv, bool *ret_ended,
                         struct err *err)
{
    int rv;

    *ret_ended = false;
    rv = has_hooks(call->verb) ? load(call, ret_ended, err) : 0;
    if (rv != 0 || *ret_ended || call->cli->plugins == NULL) {
        return rv;
    }
    return run(call, params_of(call, "pre", n, argv), ret_ended, err);
}

int command_hooks_after(struct verb_call *call, int n, char **argv)
{
    struct err err = { 0 };
    json_t *params = NULL;
    bool ended = false;

    if (call->cli->plugins == NULL) {
        return 0;
    }
    params = params_of(call, "post", n, argv);
    json_put_int(params, "result", 0);
    return run(call, params, &ended, &err);
}
