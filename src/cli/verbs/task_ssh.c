/* SPDX-License-Identifier: Apache-2.0 */

/* davit task ssh: a shell, or one command, in the sandbox of an instance.
 *
 * Becomes ssh, whose exit status is ours; on this machine, unless tunnels are asked
 * for, becomes the shell itself.
 */

#include "base/file.h"
#include "base/json.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/sandbox.h"
#include "cli/verbs.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct verb_option options[] = {
    { "ssh-user", 'l', ARGS_TEXT, "USER", "who to be there (the role)", NULL, 0, 0 },
    { "ssh-options", 0, ARGS_TEXT, "OPTIONS", "more options for ssh, one text", NULL, 0, 0 },
    { "executor-sandbox", 0, ARGS_FLAG, NULL, "in the pod's own directory", NULL, 0, 0 },
    { "tunnels", 'L', ARGS_LIST, "PORT:NAME", "forward a local port to a port of the task", NULL, 0,
      0 },
    { "command", 'c', ARGS_TEXT, "COMMAND", "run this instead of a shell", NULL, 0, 0 },
    { "pid-file", 'p', ARGS_TEXT, "FILE", "write the pid of ssh there", NULL, 0, 0 },
    { "ssh", 0, ARGS_FLAG, NULL, "over ssh, also when the node is this machine", NULL, 0, 0 },
    { 0 },
};

static int add_tunnels(const struct sandbox *sandbox, char **tunnels, char ***argv, struct err *err)
{
    for (; tunnels != NULL && *tunnels != NULL; tunnels++) {
        const char *colon = strchr(*tunnels, ':');
        char *end = NULL;
        long local = strtol(*tunnels, &end, 10);
        CLEANUP(mem_freep) char *forward = NULL;
        int port;

        if (colon == NULL || end != colon || local < 1 || local > 65535 || colon[1] == '\0') {
            return err_set(err, ERR_INVALID,
                           "Could not parse tunnel: %s.  Must be of form PORT:NAME", *tunnels);
        }
        port = sandbox_port(sandbox, colon + 1);
        if (port < 0) {
            return err_set(err, ERR_INVALID, "Task %s has no port named %s", sandbox->task,
                           colon + 1);
        }
        forward = str_printf("-L%ld:%s:%d", local, sandbox->host, port);
        strv_add(argv, forward);
    }
    return 0;
}

static int write_pid(const char *path, struct err *err)
{
    CLEANUP(mem_freep) char *text = str_printf("%d\n", (int)getpid());

    return path == NULL ? 0 : file_write(path, text, strlen(text), 0644, false, err);
}

static int become(char **argv, struct err *err)
{
    (void)fflush(stdout);
    (void)signal(SIGINT, SIG_DFL);
    (void)execvp(argv[0], argv);
    return err_set(err, ERR_FAILED, "cannot run %s: %s", argv[0], strerror(errno));
}

static int go_here(struct verb_call *call, const struct sandbox *sandbox, struct err *err)
{
    bool executor = verb_flag(call, "executor-sandbox");
    const char *command = verb_text(call, "command");
    CLEANUP(mem_freep) char *dir = sandbox_dir(sandbox, executor);
    CLEANUP(mem_freep) char *line = NULL;
    struct sandbox_user user;
    char *shell[] = { "/bin/bash", NULL, NULL, NULL };

    if (command != NULL) {
        line = sandbox_command(sandbox, executor, command);
        shell[1] = "-c";
        shell[2] = line;
    }
    if (sandbox_find_user(sandbox, verb_text(call, "ssh-user"), &user, err) < 0) {
        return err_code(err);
    }
    if (chdir(dir) < 0) {
        return err_set(err, ERR_IO, "cannot enter %s: %s", dir, strerror(errno));
    }
    if (sandbox_become(&user, err) < 0 || write_pid(verb_text(call, "pid-file"), err) < 0) {
        return err_code(err);
    }
    return become(shell, err);
}

static int go_there(struct verb_call *call, const struct sandbox *sandbox, struct err *err)
{
    const char *command = verb_text(call, "command");
    CLEANUP(mem_freep)
    char *line = sandbox_command(sandbox, verb_flag(call, "executor-sandbox"),
                                 command != NULL ? command : "bash");
    CLEANUP(mem_freep) char *address = sandbox_address(sandbox, verb_text(call, "ssh-user"));
    CLEANUP(strv_freep) char **argv = NULL;

    strv_add(&argv, "ssh");
    strv_add(&argv, "-t");
    sandbox_add_words(&argv, verb_text(call, "ssh-options"));
    if (add_tunnels(sandbox, verb_list(call, "tunnels"), &argv, err) < 0) {
        return err_code(err);
    }
    strv_add(&argv, address);
    strv_add(&argv, line);
    if (write_pid(verb_text(call, "pid-file"), err) < 0) {
        return err_code(err);
    }
    return become(argv, err);
}

static int run_task_ssh(struct verb_call *call, struct err *err)
{
    CLEANUP(cli_key_fini) struct cli_key key = { 0 };
    CLEANUP(json_freep) json_t *instances = NULL;
    struct sandbox *all = NULL;
    size_t n = 0;
    bool direct;
    int rv;

    if (cli_instances_parse(call->operands[0], &key, &instances, err) < 0) {
        return err_code(err);
    }
    if (instances == NULL && verb_text(call, "command") != NULL) {
        return err_set(err, ERR_INVALID,
                       "INSTANCE must be specified when --command option is given");
    }
    if (sandbox_find(call->cli, &key, instances, &all, &n, err) < 0) {
        return err_code(err);
    }
    direct = all[0].here && !verb_flag(call, "ssh") && verb_list(call, "tunnels") == NULL;
    rv = direct ? go_here(call, &all[0], err) : go_there(call, &all[0], err);
    sandbox_free_all(all, n);
    return rv;
}

const struct verb verb_task_ssh = {
    .noun = "task",
    .name = "ssh",
    .operands = "CLUSTER/ROLE/ENV/NAME[/INSTANCE]",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "Open a shell, or run a command, in the sandbox of an instance.",
    .details =
        "Without INSTANCE: its first one. Over ssh when its node is another machine, directly\n"
        "when it is this one. The exit status is that of ssh, or of the command.",
    .options = options,
    .run = run_task_ssh,
};
