/* SPDX-License-Identifier: Apache-2.0 */

/* davit: the command line.  Finds the verb, parses it, runs it, and turns its one
 * error into one line and an exit status.  `davit X` for an X that is a program of
 * its own (store, master, agent, pod, op) becomes davit-X.
 */

#include "base/daemon.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/selfpath.h"
#include "base/str.h"
#include "cli/browser.h"
#include "cli/cli.h"

#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static const char *const programs[] = { "store", "master", "agent", "rest", NULL };

static bool wants_color(const char *when)
{
    const char *no_color = getenv("NO_COLOR");
    const char *force = getenv("CLICOLOR_FORCE");
    const char *term = getenv("TERM");

    if (strcmp(when, "auto") != 0) {
        return strcmp(when, "always") == 0;
    }
    if (no_color != NULL && no_color[0] != 0) {
        return false;
    }
    if (force != NULL && force[0] != 0 && strcmp(force, "0") != 0) {
        return true;
    }
    return isatty(STDOUT_FILENO) && !str_eq(term, "dumb");
}

static int run_verb(const struct verb *verb, int argc, char **argv)
{
    struct cli cli = { 0 };
    struct verb_call call = { .cli = &cli, .verb = verb };
    struct err err = { 0 };
    int rv = verb_parse(&call, argc, argv, &err);

    if (rv != 0) {
        verb_call_fini(&call);
        return rv > 0 ? 0 : verb_complain(verb, &err);
    }
    cli.verbose = verb_flag(&call, "verbose");
    cli.json = verb->json && (verb_flag(&call, "json") || verb_flag(&call, "write-json"));
    cli.color = wants_color(verb_text(&call, "color"));
    cli.terminal = isatty(STDERR_FILENO) != 0 && !str_eq(getenv("TERM"), "dumb");
    if (cli.verbose) {
        (void)log_set_level("debug", &err);
    }
    cli_catch_interrupt();
    (void)uv_loop_init(&cli.loop);
    rv = verb->run(&call, &err);
    if (rv == 0) {
        browser_after(&call);
    }
    if (rv < 0) {
        rv = err.code == ERR_USAGE ? verb_complain(verb, &err)
                                   : cli_report(&cli, &err, err_exit_status(err.code));
    }
    cli_fini(&cli);
    (void)uv_run(&cli.loop, UV_RUN_DEFAULT);
    (void)uv_loop_close(&cli.loop);
    verb_call_fini(&call);
    return fflush(stdout) == 0 ? rv : err_exit_status(ERR_IO);
}

/* Becomes davit-NAME, which then says itself what is wrong with its options. */
static int exec_program(const char *name, char **argv)
{
    CLEANUP(mem_freep) char *path = selfpath_program(name);
    struct err err = { 0 };

    argv[0] = path;
    (void)execv(path, argv);
    (void)err_set(&err, ERR_IO, "cannot run %s: %s", path, strerror(errno));
    return daemon_fail("davit", &err);
}

static bool is_help(const char *word)
{
    return strcmp(word, "-h") == 0 || strcmp(word, "--help") == 0;
}

int main(int argc, char **argv)
{
    const struct verb *verb = NULL;
    struct err err = { 0 };
    int skip = 0;

    (void)setlocale(LC_CTYPE, "");
    (void)signal(SIGPIPE, SIG_DFL);
    log_init("davit");
    if (argc < 2 || is_help(argv[1]) || (strcmp(argv[1], "help") == 0 && argc == 2)) {
        CLEANUP(mem_freep) char *help = verb_help_all();

        (void)fputs(help, stdout);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        (void)printf("%s\n", DAVIT_VERSION);
        return 0;
    }
    for (const char *const *program = programs; *program != NULL; program++) {
        if (strcmp(argv[1], *program) == 0) {
            return exec_program(*program, argv + 1);
        }
    }
    if (argc > 2 && is_help(argv[2]) && verb_find(2, argv + 1, &verb, &skip, &err) < 0) {
        CLEANUP(mem_freep) char *help = verb_help_noun(argv[1]);

        (void)fputs(help, stdout);
        return 0;
    }
    if (verb_find(argc - 1, argv + 1, &verb, &skip, &err) < 0) {
        (void)fprintf(stderr, "davit: error: %s\n", err.msg);
        return err_exit_status(err.code);
    }
    return run_verb(verb, argc - 1 - skip, argv + 1 + skip);
}
