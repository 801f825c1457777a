/* SPDX-License-Identifier: Apache-2.0 */

/* browser: starts the user's web browser.
 *
 * $BROWSER as Python's webbrowser reads it: commands between colons, "%s" is the address, the
 * first that can be started is taken.  No shell sees the address.
 */

#include "cli/browser.h"

#include "base/child.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char *find_program(const char *name)
{
    CLEANUP(strv_freep) char **folders = str_split(getenv("PATH") ?: "/usr/bin:/bin", ":");

    if (strchr(name, '/') != NULL) {
        return access(name, X_OK) == 0 ? mem_strdup(name) : NULL;
    }
    for (char **folder = folders; *folder != NULL; folder++) {
        CLEANUP(mem_freep) char *path = file_join(*folder, name);

        if (access(path, X_OK) == 0) {
            return TAKE(path);
        }
    }
    return NULL;
}

static void on_ended(struct child *child)
{
    *(bool *)child->data = true;
}

/* The words of command with the address in them: argv. */
static char **make_argv(const char *command, const char *url)
{
    CLEANUP(strv_freep) char **words = str_split(command, " ");
    char **argv = NULL;
    bool has_url = false;

    for (char **word = words; *word != NULL; word++) {
        const char *mark = strstr(*word, "%s");

        if (mark != NULL) {
            strv_addf(&argv, "%.*s%s%s", (int)(mark - *word), *word, url, mark + 2);
            has_url = true;
        } else if (**word != '\0') {
            strv_add(&argv, *word);
        }
    }
    if (argv != NULL && !has_url) {
        strv_add(&argv, url);
    }
    return argv;
}

/* Waits for it: a browser in the terminal has the terminal until it ends. */
static bool run(struct cli *cli, const char *command, const char *url)
{
    extern char **environ;
    CLEANUP(strv_freep) char **argv = make_argv(command, url);
    CLEANUP(mem_freep) char *path = argv != NULL ? find_program(argv[0]) : NULL;
    bool ended = false;
    struct child child = { .data = &ended };
    const struct child_fd fds[] = { { 0, 0 }, { 1, 1 }, { 2, 2 } };
    struct err err = { 0 };
    const struct child_options options = {
        .path = path,
        .argv = (const char *const *)argv,
        .envp = (const char *const *)environ,
        .fds = fds,
        .n_fds = sizeof fds / sizeof fds[0],
        .group = CHILD_GROUP_SAME,
    };

    (void)fflush(stdout);
    if (path == NULL || child_start(&child, &cli->loop, &options, on_ended, &err) < 0) {
        return false;
    }
    while (!ended) {
        uv_run(&cli->loop, UV_RUN_ONCE);
    }
    return child.exit_code == 0;
}

bool browser_open(struct cli *cli, const char *url)
{
    const char *given = getenv("BROWSER");
    bool has_display = getenv("DISPLAY") != NULL || getenv("WAYLAND_DISPLAY") != NULL;
    CLEANUP(strv_freep)
    char **commands = str_split(given != NULL ? given : has_display ? "xdg-open" : "", ":");

    for (char **command = commands; *command != NULL; command++) {
        if (run(cli, *command, url)) {
            return true;
        }
    }
    return false;
}

void browser_after(struct verb_call *call)
{
    CLEANUP(cli_key_fini) struct cli_key key = { 0 };
    CLEANUP(json_freep) json_t *instances = NULL;
    const struct verb_option *option = call->verb->options;
    struct err ignored = { 0 };

    while (option != NULL && option->name != NULL && !str_eq(option->name, "open-browser")) {
        option++;
    }
    if (option == NULL || option->name == NULL || !verb_flag(call, "open-browser") ||
        cli_instances_parse(call->operands[0], &key, &instances, &ignored) < 0) {
        return;
    }
    CLEANUP(mem_freep) char *url = cli_job_url(call->cli, &key);

    if (!browser_open(call->cli, url)) {
        log_debug("no browser for %s", url);
    }
}
