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
#include "cli/command_hooks.h"
#include "cli/verbs.h"
#include "config/config.h"

#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

enum { API_ERROR = 10 };

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

static bool is_aurora(void)
{
    return strcmp(verb_program(), "aurora") == 0;
}

/* Scripts of the Aurora client know no status of ours: what a hook of the operation, the
 * present state or a missing object refuse was API_ERROR or INVALID_PARAMETER to them. */
static int old_status(const struct verb *verb, int status, const struct err *err)
{
    bool creates = verb == &verb_job_create || verb == &verb_runtask;

    if (!is_aurora() || err->code == 0) {
        return status;
    }
    if (status == err_exit_status(ERR_NOTFOUND)) {
        return err_exit_status(ERR_INVALID);
    }
    return status == err_exit_status(ERR_REFUSED) || status == err_exit_status(ERR_CONFLICT)
               ? (creates ? err_exit_status(ERR_FAILED) : API_ERROR)
               : status;
}

/* The last log line; a failure with a message of its own has said enough. */
static void log_end(const struct cli *cli, int status, const struct err *err)
{
    if (status > 0 && err->code == 0 && !cli->json) {
        (void)fprintf(stderr, " INFO] Command terminated with error code %d\n", status);
    } else if (status == 0 && cli->verbose) {
        (void)fprintf(stderr, "DEBUG] Command terminated successfully\n");
    }
}

/* The verb between its command hooks; the status to end with. */
static int run_hooked(struct verb_call *call, int n, char **words)
{
    struct err err = { 0 };
    bool ended = false;
    int rv = command_hooks_before(call, n, words, &ended, &err);

    if (rv == 0 && !ended) {
        rv = call->verb->run(call, &err);
        if (rv == 0) {
            browser_after(call);
            rv = command_hooks_after(call, n, words);
        }
    }
    if (rv < 0) {
        rv = err.code == ERR_USAGE ? verb_complain(call->verb, &err)
                                   : cli_report(call->cli, &err, err_exit_status(err.code));
    }
    rv = old_status(call->verb, rv, &err);
    log_end(call->cli, rv, &err);
    return rv;
}

/* line: the verb's last word and what is behind it; words: everything, for hooks. */
static int run_verb(const struct verb *verb, int argc, char **line, int n, char **words)
{
    struct cli cli = { 0 };
    struct verb_call call = { .cli = &cli, .verb = verb };
    struct err err = { 0 };
    int rv = verb_parse(&call, argc, line, &err);

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
    rv = run_hooked(&call, n, words);
    config_free(cli.plugins);
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

/* How many words before the noun are options: --skip-hooks X and -v may stand there, too. */
static int count_leading(int n, char **words)
{
    int at = 0;

    while (at < n) {
        if (strcmp(words[at], "-v") == 0 || strcmp(words[at], "--verbose") == 0 ||
            strncmp(words[at], "--skip-hooks=", strlen("--skip-hooks=")) == 0) {
            at++;
        } else if (strcmp(words[at], "--skip-hooks") == 0 && at + 1 < n) {
            at += 2;
        } else {
            break;
        }
    }
    return at;
}

static bool is_noun(const char *word)
{
    for (const struct verb *const *v = verb_table; *v != NULL; v++) {
        if (str_eq((*v)->noun, word)) {
            return true;
        }
    }
    return false;
}

static int print_take(char *text)
{
    (void)fputs(text, stdout);
    free(text);
    return 0;
}

/* Runs what the words behind the program's name ask for; the first `leading` are options. */
static int run_line(int n, char **words, int leading, struct err *err)
{
    CLEANUP(mem_freep) char **line = mem_alloc((size_t)(n + 1) * sizeof *line);
    const struct verb *verb = NULL;
    int skip = 0, at = 0;

    if (verb_find(n - leading, words + leading, &verb, &skip, err) < 0) {
        return err_code(err);
    }
    line[at++] = words[leading + skip];
    for (int i = 0; i < leading; i++) {
        line[at++] = words[i];
    }
    for (int i = leading + skip + 1; i < n; i++) {
        line[at++] = words[i];
    }
    return run_verb(verb, at, line, n, words);
}

/* The same for what is no verb: help, version, other programs. */
static int run_words(int n, char **words, struct err *err)
{
    int leading = count_leading(n, words);
    char **rest = words + leading;
    int n_rest = n - leading;

    if (n == 0 || (n_rest > 0 && is_help(rest[0])) ||
        (n_rest == 1 && strcmp(rest[0], "help") == 0)) {
        return print_take(verb_help_all());
    }
    if (n_rest == 0) {
        return err_set(err, ERR_USAGE, "too few arguments; see '%s --help'", verb_program());
    }
    if (strcmp(rest[0], "--version") == 0) {
        return print_take(mem_strdup(DAVIT_VERSION "\n"));
    }
    if (strcmp(rest[0], "--skip-hooks") == 0) {
        return err_set(err, ERR_USAGE, "argument --skip-hooks: expected one argument");
    }
    for (const char *const *program = programs; *program != NULL; program++) {
        if (strcmp(rest[0], *program) == 0) {
            return exec_program(*program, rest);
        }
    }
    if (n_rest > 1 && is_help(rest[1]) && is_noun(rest[0])) {
        return print_take(verb_help_noun(rest[0]));
    }
    return run_line(n, words, leading, err);
}

static void set_program(const char *path)
{
    const char *slash = path != NULL ? strrchr(path, '/') : NULL;
    const char *name = slash != NULL ? slash + 1 : path;

    if (str_eq(name, "aurora")) {
        verb_set_program("aurora");
    }
}

int main(int argc, char **argv)
{
    struct err err = { 0 };

    (void)setlocale(LC_CTYPE, "");
    (void)signal(SIGPIPE, SIG_DFL);
    log_init("davit");
    set_program(argc > 0 ? argv[0] : NULL);

    int rv = run_words(argc > 0 ? argc - 1 : 0, argv + 1, &err);

    if (rv < 0) {
        (void)fprintf(stderr, "%s: error: %s\n", verb_program(), err.msg);
        return err_exit_status(err.code);
    }
    return rv;
}
