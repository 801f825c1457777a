/* SPDX-License-Identifier: Apache-2.0 */

/* davit-pod: supervises the processes of one plain task pod.
 *
 * Thousands of these run on one machine, so it is linked statically with libuv and
 * jansson and nothing else; what only some pods need stays in other programs or,
 * later, in modules loaded on demand.
 */
#include "base/args.h"
#include "base/daemon.h"
#include "base/file.h"
#include "base/log.h"
#include "pod/lifecycle.h"
#include "pod/proto.h"
#include "pod/status.h"

#include <string.h>
#include <sys/prctl.h>
#include <uv.h>

enum { USAGE_EVERY_MS = 15 * 1000 };

struct program {
    const char *home;
    const char *pod_hooks_dir;
    int64_t agent_fd;
    int64_t ready_fd;
    int64_t usage_every_ms;

    uv_loop_t loop;
    struct daemon_stop stop;
    struct lifecycle *life;
    struct taskfile *task;
    bool written;
};

static void on_stop(struct daemon_stop *stop)
{
    struct program *program = stop->data;

    lifecycle_stop(program->life, NULL);
}

static void on_over(void *data, bool written)
{
    struct program *program = data;

    program->written = written;
    daemon_stop_close(&program->stop);
}

/* On failure the caller leaves by exit(): nothing runs, and nothing is worth unwinding. */
static int serve(struct program *program, struct err *err)
{
    CLEANUP(mem_freep) char *lock_path = file_join(program->home, PROTO_LOCK_FILE);
    CLEANUP(fd_closep) int lock_fd = -1;

    if (file_lock(lock_path, &lock_fd, err) < 0) {
        return err->code;
    }
    if (taskfile_load(program->home, &program->task, err) < 0) {
        struct err why = *err;
        if (status_refuse(program->home, why.msg, err) == 0) {
            *err = why;
        }
        return err->code;
    }
    /* What our processes orphan comes to us, so that none is lost from sight. */
    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0 || uv_loop_init(&program->loop) < 0) {
        return err_set(err, ERR_INTERNAL, "set up: %s", strerror(errno));
    }
    const struct lifecycle_options options = {
        .home = program->home,
        .pod_hooks_dir = program->pod_hooks_dir,
        .agent_fd = (int)program->agent_fd,
        .usage_every_ms = (uint64_t)program->usage_every_ms,
        .task = program->task,
    };
    program->stop.data = program;
    daemon_stop_start(&program->stop, &program->loop, on_stop);
    if (lifecycle_start(&program->loop, &options, on_over, program, &program->life, err) < 0) {
        return err->code;
    }
    daemon_ready((int)program->ready_fd);
    (void)uv_run(&program->loop, UV_RUN_DEFAULT);
    lifecycle_free(program->life);
    taskfile_free(program->task);
    if (uv_loop_close(&program->loop) < 0) {
        log_warn("the loop still has handles at the end");
    }
    return program->written ? 0 : err_set(err, ERR_IO, "the final state could not be written");
}

int main(int argc, char **argv)
{
    struct program program = { .agent_fd = -1, .ready_fd = -1, .usage_every_ms = USAGE_EVERY_MS };
    const struct args_option options[] = {
        { "home", 0, ARGS_TEXT, "DIR", "the pod's directory, with task.json", &program.home, 0, 0 },
        { "agent-fd", 0, ARGS_INT, "N", "connected socket of the first agent", &program.agent_fd, 0,
          INT32_MAX },
        { "pod-hooks-dir", 0, ARGS_TEXT, "DIR", "pod hooks: DIR/EVENT or DIR/EVENT.d/*",
          &program.pod_hooks_dir, 0, 0 },
        { "usage-every-ms", 0, ARGS_INT, "N", "how often disk and memory are looked at; 0: never",
          &program.usage_every_ms, 0, INT32_MAX },
        { "ready-fd", 0, ARGS_INT, "N", "gets one newline when the pod is up", &program.ready_fd, 0,
          INT32_MAX },
    };
    const struct args_spec spec = {
        .program = "davit-pod",
        .usage = "--home DIR [options]",
        .summary = "Supervise the processes of one task.  Started by davit-agent.",
        .options = options,
        .n_options = sizeof(options) / sizeof(options[0]),
    };
    struct err err = { 0 };
    int rest = argc;

    int ret = args_parse(&spec, argc, argv, &rest, &err);
    if (ret > 0) {
        return 0;
    }
    if (ret == 0 && rest < argc) {
        err_setf(&err, ERR_USAGE, "'%s' is one too many", argv[rest]);
    } else if (ret == 0 && !program.home) {
        err_setf(&err, ERR_USAGE, "--home is needed");
    }
    if (err.code < 0) {
        return args_complain(&spec, &err);
    }
    log_init("davit-pod");
    return serve(&program, &err) < 0 ? daemon_fail("davit-pod", &err) : 0;
}
