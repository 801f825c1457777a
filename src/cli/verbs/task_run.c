/* SPDX-License-Identifier: Apache-2.0 */

/* davit task run: one command in the sandboxes of many instances, each line of output
 * with its host in front.
 *
 * At most --threads commands run at once, in the order of instances; one ends when its
 * process has ended and its output was read to the end.
 */

#include "base/buf.h"
#include "base/child.h"
#include "base/json.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/sandbox.h"
#include "cli/verbs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { CHUNK = 16 * 1024, LINE_CAP = 64 * 1024 };

static const struct verb_option options[] = {
    { "threads", 't', ARGS_INT, "N", "how many at once (1)", "1", 1, 1000 },
    { "ssh-user", 'l', ARGS_TEXT, "USER", "who to be there (the role)", NULL, 0, 0 },
    { "ssh-options", 0, ARGS_TEXT, "OPTIONS", "more options for ssh, one text", NULL, 0, 0 },
    { "executor-sandbox", 0, ARGS_FLAG, NULL, "in the pod's own directory", NULL, 0, 0 },
    { "ssh", 0, ARGS_FLAG, NULL, "over ssh, also when the node is this machine", NULL, 0, 0 },
    { 0 },
};

struct run {
    struct verb_call *call;
    struct sandbox *all;
    size_t n, next;
    size_t running, failed;
};

/* One command. */
struct one {
    struct run *run;
    const struct sandbox *sandbox;
    struct child child;
    uv_pipe_t output;
    struct buf line;
    unsigned open; /* Of child and output. */
    char chunk[CHUNK];
};

static void start_more(struct run *run);

static void print_line(struct one *one)
{
    (void)printf("%s:  %.*s\n", one->sandbox->host, (int)one->line.len,
                 one->line.len > 0 ? one->line.data : "");
    one->line.len = 0;
}

static void part_over(struct one *one)
{
    struct run *run = one->run;

    if (--one->open > 0) {
        return;
    }
    if (one->line.len > 0) {
        print_line(one);
    }
    (void)fflush(stdout);
    buf_fini(&one->line);
    free(one);
    run->running--;
    start_more(run);
}

static void on_output_closed(uv_handle_t *handle)
{
    part_over(handle->data);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct one *one = handle->data;

    (void)suggested;
    *buf = uv_buf_init(one->chunk, sizeof(one->chunk));
}

static void on_output(uv_stream_t *stream, ssize_t len, const uv_buf_t *buf)
{
    struct one *one = stream->data;

    for (ssize_t i = 0; i < len; i++) {
        if (buf->base[i] != '\n') {
            buf_add(&one->line, &buf->base[i], 1);
        }
        if (buf->base[i] == '\n' || one->line.len == LINE_CAP) {
            print_line(one);
        }
    }
    if (len < 0) {
        uv_close((uv_handle_t *)stream, on_output_closed);
    }
}

static void on_ended(struct child *child)
{
    struct one *one = child->data;

    if (child->exit_code != 0) {
        (void)fprintf(stderr, "instance %d: the command ended with %s %d\n", one->sandbox->instance,
                      child->term_signal != 0 ? "signal" : "status",
                      child->term_signal != 0 ? child->term_signal : child->exit_code);
        one->run->failed++;
    }
    part_over(one);
}

static bool is_direct(const struct one *one)
{
    return one->sandbox->here && !verb_flag(one->run->call, "ssh");
}

/* What is executed: a shell here, ssh for there. */
static void words_for(const struct one *one, char ***argv)
{
    struct verb_call *call = one->run->call;
    CLEANUP(mem_freep)
    char *line =
        sandbox_command(one->sandbox, verb_flag(call, "executor-sandbox"), call->operands[1]);

    if (is_direct(one)) {
        strv_add(argv, "/bin/bash");
        strv_add(argv, "-c");
    } else {
        CLEANUP(mem_freep)
        char *address = sandbox_address(one->sandbox, verb_text(call, "ssh-user"));

        strv_add(argv, "/usr/bin/env");
        strv_add(argv, "ssh");
        strv_add(argv, "-n");
        strv_add(argv, "-q");
        sandbox_add_words(argv, verb_text(call, "ssh-options"));
        strv_add(argv, address);
    }
    strv_add(argv, line);
}

static int spawn(struct one *one, int write_end, struct err *err)
{
    const struct child_fd fds[] = { { write_end, STDOUT_FILENO }, { write_end, STDERR_FILENO } };
    CLEANUP(strv_freep) char **argv = NULL;
    CLEANUP(strv_freep) char **envp = NULL;
    struct sandbox_user user = { 0 };

    words_for(one, &argv);
    strv_addf(&envp, "PATH=%s", "/usr/local/bin:/usr/bin:/bin");
    if (is_direct(one)) {
        strv_addf(&envp, "HOME=%s/sandbox", one->sandbox->home);
        if (sandbox_find_user(one->sandbox, verb_text(one->run->call, "ssh-user"), &user, err) <
            0) {
            return err_code(err);
        }
    }
    const struct child_options program = {
        .argv = (const char *const *)argv,
        .envp = is_direct(one) ? (const char *const *)envp : (const char *const *)environ,
        .fds = fds,
        .n_fds = 2,
        .group = CHILD_GROUP_SAME,
        .death_signal = SIGTERM,
        .set_user = user.change,
        .uid = user.uid,
        .gid = user.gid,
        .groups = user.groups,
        .n_groups = user.n_groups,
    };
    return child_start(&one->child, &one->run->call->cli->loop, &program, on_ended, err);
}

static int start_one(struct run *run, const struct sandbox *sandbox, struct err *err)
{
    struct one *one = mem_alloc(sizeof(*one));
    int ends[2];

    one->run = run;
    one->sandbox = sandbox;
    one->child.data = one;
    one->output.data = one;
    if (pipe2(ends, O_CLOEXEC) < 0) {
        free(one);
        return err_set(err, ERR_IO, "pipe: %s", strerror(errno));
    }
    if (spawn(one, ends[1], err) < 0) {
        (void)close(ends[0]);
        (void)close(ends[1]);
        free(one);
        return err_code(err);
    }
    (void)close(ends[1]);
    (void)uv_pipe_init(&run->call->cli->loop, &one->output, 0);
    (void)uv_pipe_open(&one->output, ends[0]);
    (void)uv_read_start((uv_stream_t *)&one->output, on_alloc, on_output);
    one->open = 2;
    run->running++;
    return 0;
}

static void start_more(struct run *run)
{
    while (run->next < run->n && run->running < (size_t)verb_number(run->call, "threads")) {
        const struct sandbox *sandbox = &run->all[run->next++];
        struct err err = { 0 };

        if (start_one(run, sandbox, &err) < 0) {
            (void)fprintf(stderr, "instance %d: %s\n", sandbox->instance, err.msg);
            run->failed++;
        }
    }
}

static int run_task_run(struct verb_call *call, struct err *err)
{
    CLEANUP(cli_key_fini) struct cli_key key = { 0 };
    CLEANUP(json_freep) json_t *instances = NULL;
    struct run run = { .call = call };

    if (cli_instances_parse(call->operands[0], &key, &instances, err) < 0 ||
        sandbox_find(call->cli, &key, instances, &run.all, &run.n, err) < 0) {
        return err_code(err);
    }
    start_more(&run);
    while (run.running > 0) {
        (void)uv_run(&call->cli->loop, UV_RUN_ONCE);
    }
    sandbox_free_all(run.all, run.n);
    if (run.failed > 0) {
        return err_set(err, ERR_FAILED, "the command failed in %zu of %zu instances", run.failed,
                       run.n);
    }
    return 0;
}

const struct verb verb_task_run = {
    .noun = "task",
    .name = "run",
    .operands = "CLUSTER/ROLE/ENV/NAME[/INSTANCES] COMMAND",
    .min_operands = 2,
    .max_operands = 2,
    .summary = "Run a command in the sandbox of each live instance.",
    .details =
        "Each line of output: the host, a colon, two blanks, the line. {{mesos.instance}},\n"
        "{{thermos.task_id}} and {{thermos.ports[NAME]}} in COMMAND are each instance's own.\n"
        "Over ssh where the node is another machine, directly where it is this one. Exit 4\n"
        "when the command failed somewhere.",
    .options = options,
    .run = run_task_run,
};
