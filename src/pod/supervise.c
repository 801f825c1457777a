/* SPDX-License-Identifier: Apache-2.0 */

/* supervise: carries out what graph.c decides, and tells it what happened.
 *
 * Not a judge of anything: when which process runs is the graph's, what the pod's state
 * is called is lifecycle.c's.
 *
 * Happy path: begin -> START actions -> child_start() of `/bin/bash -c` in a session of
 * its own, stdout and stderr straight into files -> the child's callback -> graph_ended()
 * -> more actions, until the graph is DONE.
 * Failures: a run that cannot be started is told to the graph with the reason, which is in its
 * own stderr file too.  A process that the kernel killed for want of memory fails the
 * task at once.  What was double-forked becomes our child (subreaper), gets
 * TERM and KILL like the rest and is reaped on SIGCHLD.  Killed ourselves: PDEATHSIG takes
 * the direct children along, the agent sweeps the rest.
 * Invariants: the only timer runs only while the graph waits for time; GRAPH_DONE with nothing
 * left over means that this process has no children.
 */
#include "pod/supervise.h"

#include "base/child.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/str.h"
#include "base/tree.h"
#include "pod/kin.h"
#include "pod/proto.h"
#include "pod/runlog.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { UMASK = 022 };

static const char profile[] = ".thermos_profile";

/* The present or latest run of one process. */
struct run {
    struct child child;
    struct supervise *supervise;
    size_t process;
    uint64_t started_ms; /* wall clock, as the next */
    uint64_t ended_ms;
    struct runlog log;
};

struct supervise {
    uv_loop_t *loop;
    struct taskfile *task;
    struct graph *graph;
    char *sandbox;
    struct runlogs logs; /* with the sandbox */
    struct run **runs;   /* by process; NULL before its first */
    struct graph_actions actions;
    bool acting;
    struct tree *tree; /* NULL: no limits, or none possible here */
    uv_signal_t sigchld;
    uv_check_t reap_again;
    uv_timer_t timer;
    pid_t *termed; /* while CLEANING: who got TERM */
    size_t n_termed;
    supervise_cb changed;
    void *data;
    unsigned open_handles;
    void (*on_closed)(void *data);
    void *closed_data;
};

static void carry_out(struct supervise *supervise);

/* --- Signalling all. --- */

static bool was_termed(const struct supervise *supervise, pid_t pid)
{
    for (size_t i = 0; i < supervise->n_termed; i++) {
        if (supervise->termed[i] == pid) {
            return true;
        }
    }
    return false;
}

/* TERM to each process once; called again when orphans came to us meanwhile. */
static void term_all(struct supervise *supervise)
{
    CLEANUP(mem_freep) struct kin_process *kin = NULL;
    size_t n = kin_none() ? 0 : kin_list(&kin);

    for (size_t i = 0; i < n; i++) {
        if (!was_termed(supervise, kin[i].pid) && kin_signal(&kin[i], SIGTERM)) {
            supervise->termed = mem_realloc(supervise->termed,
                                            (supervise->n_termed + 1) * sizeof(*supervise->termed));
            supervise->termed[supervise->n_termed++] = kin[i].pid;
        }
    }
}

static void kill_all(struct supervise *supervise)
{
    CLEANUP(mem_freep) struct kin_process *kin = NULL;
    size_t n = kin_none() ? 0 : kin_list(&kin);

    if (supervise->tree && n > 0) {
        tree_signal(supervise->tree, SIGKILL);
    }
    for (size_t i = 0; i < n; i++) {
        (void)kin_signal(&kin[i], SIGKILL);
    }
}

/* --- Starting one run. --- */

char **supervise_env(const struct supervise *supervise)
{
    const struct taskfile *task = supervise->task;
    char **env = NULL;

    strv_addf(&env, "HOME=%s", supervise->sandbox);
    strv_addf(&env, "LOGNAME=%s", task->user);
    strv_addf(&env, "USER=%s", task->user);
    strv_addf(&env, "PATH=%s", task->path);
    strv_addf(&env, "DAVIT_RUN=%s", task->token);
    for (char **var = task->env; var && *var; var++) {
        strv_add(&env, *var);
    }
    return env;
}

const char *supervise_sandbox(const struct supervise *supervise)
{
    return supervise->sandbox;
}

/* Before the graph hears how a process ended: else it would be a failed run like any other.
 * True: it failed the task. */
static bool check_memory(struct supervise *supervise)
{
    const struct graph *graph = supervise->graph;

    if (!supervise->tree || graph->stage != GRAPH_ACTIVE || tree_oom_kills(supervise->tree) == 0) {
        return false;
    }
    CLEANUP(mem_freep)
    char *reason = str_printf("Memory limit exceeded.  Reserved %llu bytes vs used %llu bytes.",
                              (unsigned long long)supervise->task->ram_bytes,
                              (unsigned long long)tree_mem_peak_bytes(supervise->tree));
    graph_fail(supervise->graph, reason, clock_now_ms(), &supervise->actions);
    return true;
}

static void on_ended(struct child *child)
{
    struct run *run = child->data;
    struct supervise *supervise = run->supervise;

    run->ended_ms = clock_wall_ms();
    CRASH_POINT("pod.process_ended");
    runlog_drain(&run->log, &supervise->logs);
    (void)check_memory(supervise);
    graph_ended(supervise->graph, run->process, child->exit_code, child->term_signal,
                clock_now_ms(), &supervise->actions);
    carry_out(supervise);
}

static int start_child(struct supervise *supervise, struct run *run, int out, int errors,
                       struct err *err)
{
    const struct taskfile *task = supervise->task;
    const struct graph_process *process = &supervise->graph->processes[run->process];
    const char *const argv[] = { "/bin/bash", "-c", process->spec.cmdline, NULL };
    const struct child_fd fds[] = { { out, 1 }, { errors, 2 } };
    CLEANUP(strv_freep) char **env = supervise_env(supervise);

    /* Looked for at each start, so that an earlier process may write it; as itself, since a link
     * of theirs is not to be followed with our rights. */
    if (faccessat(supervise->logs.sandbox_fd, profile, F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
        strv_addf(&env, "BASH_ENV=%s", profile);
    }
    struct child_options options = {
        .argv = argv,
        .envp = (const char *const *)env,
        .cwd = supervise->sandbox,
        .fds = fds,
        .n_fds = sizeof(fds) / sizeof(fds[0]),
        .group = CHILD_GROUP_SESSION,
        .death_signal = SIGKILL,
        .set_user = task->set_user,
        .uid = task->uid,
        .gid = task->gid,
        .groups = task->groups,
        .n_groups = task->n_groups,
        .set_umask = true,
        .umask = UMASK,
    };
    if (supervise->tree) {
        tree_join(supervise->tree, &options);
    }
    CRASH_POINT("pod.before_start");
    if (child_start(&run->child, supervise->loop, &options, on_ended, err) < 0) {
        return err->code;
    }
    CRASH_POINT("pod.after_start");
    if (supervise->tree) {
        tree_started(supervise->tree, run->child.pid);
    }
    return 0;
}

struct fds {
    int of[RUNLOG_STREAMS];
};

static void close_fds(const struct fds *fds)
{
    fd_closep(&fds->of[0]);
    fd_closep(&fds->of[1]);
}

static void start(struct supervise *supervise, const struct graph_action *action)
{
    const struct graph_spec *spec = &supervise->graph->processes[action->process].spec;
    CLEANUP(close_fds) struct fds fds = { { -1, -1 } };
    struct err err = { 0 };

    if (!supervise->runs[action->process]) {
        supervise->runs[action->process] = mem_alloc(sizeof(struct run));
    }
    struct run *run = supervise->runs[action->process];
    run->supervise = supervise;
    run->process = action->process;
    run->child.data = run;
    run->started_ms = clock_wall_ms();
    run->ended_ms = 0;
    if (runlog_open(&run->log, &supervise->logs, spec, action->run, fds.of, &err) == 0 &&
        start_child(supervise, run, fds.of[0], fds.of[1], &err) == 0) {
        log_debug("started process=%s run=%u pid=%d", spec->name, action->run, (int)run->child.pid);
        return;
    }
    log_warn("cannot start a process error=\"%s\" process=%s run=%u", err.msg, spec->name,
             action->run);
    if (fds.of[1] >= 0) {
        (void)dprintf(fds.of[1], "davit-pod: cannot start: %s\n", err.msg);
    }
    run->ended_ms = run->started_ms;
    graph_unstarted(supervise->graph, action->process, err.msg, clock_now_ms(),
                    &supervise->actions);
}

/* --- The turn of the crank. --- */

static void on_due(uv_timer_t *timer)
{
    struct supervise *supervise = timer->data;

    graph_tick(supervise->graph, clock_now_ms(), &supervise->actions);
    carry_out(supervise);
}

static void arm(struct supervise *supervise)
{
    uint64_t due = graph_due(supervise->graph);
    uint64_t now = clock_now_ms();

    if (due == GRAPH_NEVER) {
        (void)uv_timer_stop(&supervise->timer);
        return;
    }
    uv_update_time(supervise->loop);
    (void)uv_timer_start(&supervise->timer, on_due, due > now ? due - now : 0, 0);
}

/* Until the graph asks for nothing more.  Actions may make more actions. */
static void carry_out(struct supervise *supervise)
{
    struct graph *graph = supervise->graph;
    size_t next = 0;

    if (supervise->acting) {
        return; /* The call below us goes on with what was added. */
    }
    supervise->acting = true;
    for (;;) {
        if (next < supervise->actions.n) {
            struct graph_action action = supervise->actions.items[next++];

            switch (action.type) {
            case GRAPH_START:
                start(supervise, &action);
                break;
            case GRAPH_TERM:
                term_all(supervise);
                break;
            case GRAPH_KILL:
                kill_all(supervise);
                break;
            }
        } else if (graph_wants_empty(graph) && kin_none()) {
            graph_emptied(graph, clock_now_ms(), &supervise->actions);
        } else {
            break;
        }
    }
    supervise->actions.n = 0;
    supervise->acting = false;
    arm(supervise);
    supervise->changed(supervise->data);
}

/* Orphans came, or went. */
static void reap(struct supervise *supervise)
{
    if (kin_reap_adopted()) {
        (void)uv_check_stop(&supervise->reap_again);
    }
    if (graph_wants_empty(supervise->graph)) {
        if (kin_none()) {
            carry_out(supervise);
        } else if (supervise->graph->stage == GRAPH_CLEANING) {
            term_all(supervise);
        } else {
            kill_all(supervise);
        }
    }
}

static void on_reap_again(uv_check_t *check)
{
    reap(check->data);
}

static void on_sigchld(uv_signal_t *handle, int signum)
{
    struct supervise *supervise = handle->data;

    (void)signum;
    (void)uv_check_start(&supervise->reap_again, on_reap_again);
    reap(supervise);
}

/* --- From outside. --- */

static void limit(struct supervise *supervise)
{
    const struct taskfile *task = supervise->task;
    struct err err = { 0 };

    if (task->cpu_milli == 0 && task->ram_bytes == 0) {
        return;
    }
    enum tree_rung rung = tree_best_rung();
    if (rung != TREE_CGROUP2 && rung != TREE_CGROUP1) {
        return; /* Nothing else can limit; whom to kill we know without. */
    }
    struct tree_options options = {
        .token = task->token,
        .rung = rung,
        .limits = { .cpu_milli = task->cpu_milli, .mem_bytes = task->ram_bytes },
    };
    if (tree_new(&options, &supervise->tree, &err) < 0) {
        log_warn("running without limits error=\"%s\"", err.msg);
        return;
    }
    unsigned applied = tree_limits_applied(supervise->tree);

    if ((task->cpu_milli > 0 && (applied & TREE_LIMIT_CPU) == 0) ||
        (task->ram_bytes > 0 && (applied & TREE_LIMIT_MEM) == 0)) {
        log_warn("running without all limits cpu=%d memory=%d", (applied & TREE_LIMIT_CPU) != 0,
                 (applied & TREE_LIMIT_MEM) != 0);
    }
}

struct supervise *supervise_new(uv_loop_t *loop, const char *home, struct taskfile *task,
                                supervise_cb changed, void *data)
{
    struct supervise *supervise = mem_alloc(sizeof(*supervise));

    supervise->loop = loop;
    supervise->task = task;
    supervise->graph = task->graph;
    supervise->sandbox = file_join(home, PROTO_SANDBOX);
    supervise->logs =
        (struct runlogs){ .task = task, .sandbox_fd = -1, .rotate = { .loop = loop } };
    supervise->runs = mem_alloc(task->graph->n_processes * sizeof(struct run *));
    supervise->changed = changed;
    supervise->data = data;
    supervise->sigchld.data = supervise->reap_again.data = supervise->timer.data = supervise;
    (void)uv_signal_init(loop, &supervise->sigchld);
    (void)uv_check_init(loop, &supervise->reap_again);
    (void)uv_timer_init(loop, &supervise->timer);
    supervise->open_handles = 3;
    return supervise;
}

void supervise_begin(struct supervise *supervise)
{
    struct err err = { 0 };

    supervise->logs.sandbox_fd = open(supervise->sandbox, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (supervise->logs.sandbox_fd < 0) {
        err_setf(&err, ERR_IO, "%s: %s", supervise->sandbox, strerror(errno));
    }
    if (err.code < 0 || runlog_prepare(&supervise->logs, &err) < 0) {
        CLEANUP(mem_freep)
        char *reason = str_printf("Failed to initialize sandbox: %s", err.msg);
        supervise_fail(supervise, reason);
        return;
    }
    limit(supervise);
    (void)uv_signal_start(&supervise->sigchld, on_sigchld, SIGCHLD);
    graph_begin(supervise->graph, clock_now_ms(), &supervise->actions);
    carry_out(supervise);
}

void supervise_stop(struct supervise *supervise, uint64_t grace_ms, const char *reason)
{
    graph_stop(supervise->graph, grace_ms, reason, clock_now_ms(), &supervise->actions);
    carry_out(supervise);
}

void supervise_fail(struct supervise *supervise, const char *reason)
{
    graph_fail(supervise->graph, reason, clock_now_ms(), &supervise->actions);
    carry_out(supervise);
}

void supervise_leave(struct supervise *supervise, bool failed, const char *reason,
                     uint64_t leave_ms, uint64_t clean_ms)
{
    graph_leave(supervise->graph, failed, reason, leave_ms, clean_ms, clock_now_ms(),
                &supervise->actions);
    carry_out(supervise);
}

void supervise_check_memory(struct supervise *supervise)
{
    if (check_memory(supervise)) {
        carry_out(supervise); /* Else nobody is to be woken: it is asked all the time. */
    }
}

int supervise_signal(struct supervise *supervise, const char *process, int signum, struct err *err)
{
    const struct graph *graph = supervise->graph;
    size_t only = process ? graph_find(graph, process) : graph->n_processes;

    if (process && only == graph->n_processes) {
        return err_set(err, ERR_NOTFOUND, "no process is called '%.200s'", process);
    }
    if (process && graph->processes[only].state != GRAPH_RUNNING) {
        return err_set(err, ERR_CONFLICT, "process '%.200s' does not run", process);
    }
    for (size_t i = 0; i < graph->n_processes; i++) {
        if ((!process || i == only) && graph->processes[i].state == GRAPH_RUNNING) {
            child_signal_group(&supervise->runs[i]->child, signum);
        }
    }
    return 0;
}

json_t *supervise_processes(const struct supervise *supervise)
{
    json_t *all = json_object();

    for (size_t i = 0; i < supervise->graph->n_processes; i++) {
        const struct graph_process *process = &supervise->graph->processes[i];
        const struct run *run = supervise->runs[i];
        json_t *one = json_object();

        json_put_str(one, "state", graph_state_name(process->state));
        json_put_int(one, "runs", process->runs);
        json_put_int(one, "failures", process->failures);
        if (process->ended && process->term_signal == 0) {
            json_put_int(one, "exit", process->exit_code);
        } else if (process->ended) {
            json_put_int(one, "signal", process->term_signal);
        }
        if (process->state == GRAPH_RUNNING && run) {
            json_put_int(one, "pid", run->child.pid);
        }
        if (run) {
            json_put_int(one, "started_ms", (int64_t)run->started_ms);
        }
        if (run && run->ended_ms > 0) {
            json_put_int(one, "ended_ms", (int64_t)run->ended_ms);
        }
        json_put_take(all, process->spec.name, one);
    }
    return all;
}

static void part_closed(void *data)
{
    struct supervise *supervise = data;

    if (--supervise->open_handles > 0) {
        return;
    }
    void (*cb)(void *data) = supervise->on_closed;
    void *cb_data = supervise->closed_data;

    for (size_t i = 0; i < supervise->graph->n_processes; i++) {
        free(supervise->runs[i]);
    }
    tree_free(supervise->tree);
    fd_closep(&supervise->logs.sandbox_fd);
    graph_actions_fini(&supervise->actions);
    free(supervise->runs);
    free(supervise->termed);
    free(supervise->sandbox);
    free(supervise);
    cb(cb_data);
}

static void on_handle_closed(uv_handle_t *handle)
{
    part_closed(handle->data);
}

void supervise_close(struct supervise *supervise, void (*cb)(void *data), void *data)
{
    supervise->on_closed = cb;
    supervise->closed_data = data;
    supervise->open_handles++;
    supervise->logs.rotate.on_idle = part_closed;
    supervise->logs.rotate.data = supervise;
    rotate_close(&supervise->logs.rotate);
    uv_close((uv_handle_t *)&supervise->sigchld, on_handle_closed);
    uv_close((uv_handle_t *)&supervise->reap_again, on_handle_closed);
    uv_close((uv_handle_t *)&supervise->timer, on_handle_closed);
}
