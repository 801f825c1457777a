/* SPDX-License-Identifier: Apache-2.0 */

/* run: one hook program, from its start to its record.
 *
 * One program only; order and policy are chain.c's, where records go is the sink's.
 *
 *   RUNNING --exit, deadline with go_on_at_term, cancel, cannot start--> REPORTED
 *   --process gone, what it left behind gone, handles closed--> the job is freed.
 *
 * Happy path: the program is born in a short-lived tree with its output on a pipe; its exit
 * ends the run, the pipe is emptied without waiting, one look says that the tree is empty,
 * the record is filled, told to the sink and to the caller.
 * Failure: cannot start -> `unstartable`, from the loop; past term_ms -> TERM to the whole
 * tree, past kill_ms -> KILL; what is left behind gets TERM, then KILL 2 s later, behind
 * the caller's back.
 * Invariants: the end is the program's exit, never the end of its output; output is always
 * read, kept as head and tail, so no printer blocks; once reported, the caller's run and
 * record are not touched again.
 */
#include "hook/run.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <utlist.h>

enum {
    READ_BYTES = 64 * 1024,
    READS_PER_TURN = 16,
    DRAIN_READS = 16, /* A full pipe is one; somebody may still be writing. */
    LEFT_TERM_MS = 2000,
    LEFT_DEADLINE_MS = 5000,
    KILL_AFTER_TERM_MS = 30000,
};

struct hook_engine {
    uv_loop_t *loop;
    enum tree_rung rung;
    bool spare_orphans;
    struct hook_job *jobs;
    bool closing;
    uv_idle_t idle; /* Fires the close callback from the loop. */
    void (*close_cb)(void *data);
    void *close_data;
    char bytes[READ_BYTES];
};

/* What one pipe from the program gave. */
struct output {
    uv_poll_t poll;
    int fd;         /* -1: closed, or never there. */
    bool is_answer; /* Keep it whole, up to a cap; else head and tail. */
    struct buf head;
    char *tail; /* The last HOOK_OUTPUT_KEEP bytes behind the head, as a ring. */
    uint64_t bytes;
    struct hook_job *job;
};

struct hook_job {
    struct hook_engine *engine;
    struct hook_run *run; /* NULL once reported. */
    struct hook_record *record;
    const struct hook_sink *sink;
    struct child child;
    bool child_alive;
    struct tree *tree;
    struct tree_kill kill;
    bool killing;
    bool canceled;
    bool term_sent;
    bool go_on_at_term;
    bool wants_answer;
    bool may_refuse;
    uint64_t term_ms, kill_ms;
    uv_timer_t timer;
    struct output output, answer;
    unsigned open_handles;
    bool closed; /* The timer was closed: only waiting to be freed. */
    struct hook_job *prev, *next;
};

static void maybe_free(struct hook_job *job);

/* --- Output. --- */

static void keep_tail(struct output *out, const char *bytes, size_t len)
{
    if (out->tail == NULL) {
        out->tail = mem_alloc(HOOK_OUTPUT_KEEP);
    }
    uint64_t at = out->bytes - HOOK_OUTPUT_KEEP; /* Position behind the head. */
    if (len > HOOK_OUTPUT_KEEP) {
        at += len - HOOK_OUTPUT_KEEP;
        bytes += len - HOOK_OUTPUT_KEEP;
        len = HOOK_OUTPUT_KEEP;
    }
    size_t start = (size_t)(at % HOOK_OUTPUT_KEEP);
    size_t first = len < HOOK_OUTPUT_KEEP - start ? len : HOOK_OUTPUT_KEEP - start;
    memcpy(out->tail + start, bytes, first);
    memcpy(out->tail, bytes + first, len - first);
}

static void keep(struct output *out, const char *bytes, size_t len)
{
    size_t cap = out->is_answer ? HOOK_ANSWER_MAX : HOOK_OUTPUT_KEEP;
    size_t room = cap - out->head.len;
    size_t take = len < room ? len : room;

    if (take > 0) {
        buf_add(&out->head, bytes, take);
        out->bytes += take;
    }
    if (take < len && !out->is_answer) {
        keep_tail(out, bytes + take, len - take);
    }
    out->bytes += len - take;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct hook_job *job = handle->data;

    job->open_handles--;
    maybe_free(job);
}

static void close_output(struct output *out)
{
    if (out->fd >= 0) {
        (void)uv_poll_stop(&out->poll);
        uv_close((uv_handle_t *)&out->poll, on_handle_closed);
        fd_closep(&out->fd);
        out->fd = -1;
    }
}

/* Read what is there, up to so many times. */
static void read_output(struct output *out, int times)
{
    char *bytes = out->job->engine->bytes;

    for (int i = 0; i < times; i++) {
        ssize_t n = read(out->fd, bytes, READ_BYTES);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            return;
        }
        if (n <= 0) {
            close_output(out);
            return;
        }
        keep(out, bytes, (size_t)n);
        if (n < READ_BYTES) {
            return; /* Empty for now, most likely: save the read that says so. */
        }
    }
}

static void on_output(uv_poll_t *poll, int status, int events)
{
    struct output *out = (struct output *)poll; /* Its first member. */

    (void)status;
    (void)events;
    read_output(out, READS_PER_TURN);
}

static int open_output(struct hook_job *job, struct output *out, int *ret_child_fd)
{
    int fds[2];

    if (pipe2(fds, O_CLOEXEC) < 0) {
        return -1;
    }
    (void)fcntl(fds[0], F_SETFL, O_NONBLOCK);
    if (uv_poll_init(job->engine->loop, &out->poll, fds[0]) < 0) {
        fd_closep(&fds[0]);
        fd_closep(&fds[1]);
        return -1;
    }
    out->job = job;
    out->fd = fds[0];
    out->poll.data = job;
    job->open_handles++;
    (void)uv_poll_start(&out->poll, UV_READABLE, on_output);
    *ret_child_fd = fds[1];
    return 0;
}

/* The text of a record: NUL would end it early. */
static char *as_text(const char *bytes, size_t len)
{
    struct buf text = { 0 };

    for (size_t i = 0; i < len;) {
        const char *nul = memchr(bytes + i, '\0', len - i);
        size_t run = nul != NULL ? (size_t)(nul - bytes) - i : len - i;
        buf_add(&text, bytes + i, run);
        i += run;
        if (nul != NULL) {
            buf_add_text(&text, "\xEF\xBF\xBD");
            i++;
        }
    }
    return buf_take(&text);
}

static void fill_output(struct hook_record *record, struct output *out)
{
    record->output_bytes = (int64_t)out->bytes;
    record->output_head = as_text(buf_text(&out->head), out->head.len);
    if (out->tail != NULL) {
        uint64_t behind = out->bytes - HOOK_OUTPUT_KEEP;
        struct buf tail = { 0 };
        if (behind > HOOK_OUTPUT_KEEP) {
            size_t start = (size_t)(behind % HOOK_OUTPUT_KEEP);
            buf_add(&tail, out->tail + start, HOOK_OUTPUT_KEEP - start);
            buf_add(&tail, out->tail, start);
        } else {
            buf_add(&tail, out->tail, (size_t)behind);
        }
        record->output_tail = as_text(tail.data, tail.len);
        buf_fini(&tail);
    }
}

/* --- The end of a run. --- */

static void engine_maybe_closed(struct hook_engine *engine);

static void on_left_gone(struct tree_kill *kill)
{
    struct hook_job *job = kill->data;

    job->killing = false;
    if (kill->err.code == ERR_TIMEOUT) {
        log_warn("hook left %zu processes that cannot be killed, giving up", kill->left);
    }
    maybe_free(job);
}

/* Empty the tree behind the caller's back. */
static void clear_tree(struct hook_job *job, uint64_t term_ms)
{
    if (!job->killing && job->tree != NULL) {
        job->killing = true;
        job->kill.data = job;
        tree_kill_start(&job->kill, job->engine->loop, job->tree,
                        job->engine->closing ? 0 : term_ms, LEFT_DEADLINE_MS, on_left_gone);
    }
}

static void maybe_free(struct hook_job *job)
{
    struct hook_engine *engine = job->engine;

    if (job->run != NULL || job->child_alive || job->killing) {
        return;
    }
    if (!job->closed) {
        job->closed = true;
        close_output(&job->output);
        close_output(&job->answer);
        uv_close((uv_handle_t *)&job->timer, on_handle_closed);
    }
    if (job->open_handles > 0) {
        return;
    }
    DL_DELETE(engine->jobs, job);
    tree_free(job->tree);
    buf_fini(&job->output.head);
    buf_fini(&job->answer.head);
    free(job->output.tail);
    free(job);
    engine_maybe_closed(engine);
}

static void fill_verdict(struct hook_job *job)
{
    struct hook_record *record = job->record;
    enum hook_outcome failed = job->may_refuse ? HOOK_REFUSED : HOOK_FAILED;

    if (job->child.status_known) {
        record->exit_code = job->child.exit_code;
        record->signal = job->child.term_signal;
    }
    record->timed_out = job->term_sent;
    if (job->canceled) {
        record->outcome =
            HOOK_LOST; /* Ours was the end: whoever repeats the event runs it again. */
        record_set(&record->error, "canceled");
    } else if (job->term_sent) {
        char *text =
            str_printf("Hook %s timed out after %llums", record->hook != NULL ? record->hook : "",
                       (unsigned long long)job->term_ms);
        record->outcome = HOOK_TIMED_OUT;
        free(record->error);
        record->error = text;
    } else if (record->signal != 0) {
        char *text = str_printf(
            "killed by signal %d (%s)", (int)record->signal,
            sigabbrev_np((int)record->signal) != NULL ? sigabbrev_np((int)record->signal) : "?");
        record->outcome = failed;
        free(record->error);
        record->error = text;
    } else if (record->exit_code != 0) {
        char *text = str_printf("exited with status %d", (int)record->exit_code);
        record->outcome = failed;
        free(record->error);
        record->error = text;
    } else {
        record->outcome = HOOK_OK;
    }
}

static void report(struct hook_job *job)
{
    struct hook_run *run = TAKE(job->run);
    struct hook_record *record = TAKE(job->record);
    const struct hook_sink *sink = job->sink;
    struct err err = { 0 };

    record->finished_ms = clock_wall_ms();
    if (job->wants_answer) {
        run->answer_cut = job->answer.bytes > job->answer.head.len;
        run->answer_len = job->answer.head.len;
        run->answer = buf_take(&job->answer.head);
    }
    if (job->canceled) {
        err_setf(&run->err, ERR_CANCELED, "hook %s: canceled", record->hook);
    }
    run->job = NULL;
    CRASH_POINT("hook.ended");
    if (sink != NULL && sink->finished(sink->ctx, record, &err) < 0) {
        log_error("record of a finished hook is not kept, going on: %s hook=%s", err.msg,
                  record->hook);
    }
    maybe_free(job);
    run->cb(run); /* Last: the callback may free run and record. */
}

/* Known by now: the verdict.  Everything still running is dealt with behind. */
static void finish(struct hook_job *job)
{
    struct hook_record *record = job->record;

    for (struct output *out = &job->output; out != NULL;
         out = out == &job->output ? &job->answer : NULL) {
        if (out->fd >= 0) {
            read_output(out, DRAIN_READS);
        }
    }
    fill_verdict(job);
    fill_output(record, &job->output);
    if (!job->child_alive && !tree_is_empty(job->tree)) {
        pid_t *pids = NULL;
        record->left_behind = (int64_t)tree_pids(job->tree, &pids);
        free(pids);
        if (!record->leave || job->term_sent || job->canceled) {
            clear_tree(job, LEFT_TERM_MS);
        }
    }
    if (!job->child_alive) {
        (void)uv_timer_stop(&job->timer);
    }
    report(job);
}

static void on_child(struct child *child)
{
    struct hook_job *job = child->data;

    job->child_alive = false;
    if (job->run != NULL) {
        finish(job);
        return;
    }
    /* Reported before, at TERM or when canceled: nobody is told of the rest. */
    (void)uv_timer_stop(&job->timer);
    if (!tree_is_empty(job->tree)) {
        clear_tree(job, LEFT_TERM_MS);
    }
    maybe_free(job);
}

static void on_kill_time(uv_timer_t *timer)
{
    clear_tree(timer->data, 0);
}

static void on_term_time(uv_timer_t *timer)
{
    struct hook_job *job = timer->data;

    job->term_sent = true;
    tree_signal(job->tree, SIGTERM);
    (void)uv_timer_start(timer, on_kill_time, job->kill_ms - job->term_ms, 0);
    if (job->go_on_at_term) {
        finish(job);
    }
}

static void on_canceled(uv_timer_t *timer)
{
    struct hook_job *job = timer->data;

    clear_tree(job, LEFT_TERM_MS);
    finish(job);
}

static void on_unstartable(uv_timer_t *timer)
{
    struct hook_job *job = timer->data;

    job->record->outcome = HOOK_UNSTARTABLE;
    if (job->canceled) {
        job->record->outcome = HOOK_FAILED;
    }
    report(job);
}

/* --- The start. --- */

static int open_input(const struct hook_spec *spec, int *ret_fd)
{
    int fd = memfd_create("hook-input", MFD_CLOEXEC);

    if (fd < 0 || write(fd, spec->input, spec->input_len) != (ssize_t)spec->input_len ||
        lseek(fd, 0, SEEK_SET) < 0) {
        fd_closep(&fd);
        return -1;
    }
    *ret_fd = fd;
    return 0;
}

/* The tree's own variable added; that of a tree around it (a pod's) keeps its token under the other
 * name, so that this one is found from both.  *ret_outer is the caller's, and part of it. */
static const char **make_env(const struct hook_spec *spec, const struct tree *tree,
                             char **ret_outer)
{
    const char *added = tree_env(tree);
    size_t n = 0;

    while (spec->env != NULL && spec->env[n] != NULL) {
        n++;
    }
    const char **env = mem_alloc((n + 2) * sizeof *env);
    for (size_t i = 0; i < n; i++) {
        env[i] = spec->env[i];
        if (added != NULL && *ret_outer == NULL && str_starts(env[i], TREE_ENV)) {
            *ret_outer = str_printf(TREE_ENV_OUTER "%s", env[i] + strlen(TREE_ENV));
            env[i] = *ret_outer;
        }
    }
    env[n] = added;
    return env;
}

static int spawn(struct hook_job *job, const struct hook_spec *spec, struct err *err)
{
    CLEANUP(fd_closep) int input = -1;
    CLEANUP(fd_closep) int output = -1;
    CLEANUP(fd_closep) int answer = -1;
    CLEANUP(mem_freep) const char **env = NULL;
    CLEANUP(mem_freep) char *outer = NULL;
    const char *const alone[] = { spec->path, NULL };

    /* A process that may stay cannot sit in a group that is used again, nor in a PID
     * namespace that ends with the program. */
    struct tree_options tree = { .token = job->record->run_id, .rung = job->engine->rung };
    tree.shortlived = !spec->leave;
    tree.spare_orphans = job->engine->spare_orphans;
    tree.limits = spec->limits;
    if (spec->leave && (tree.rung != TREE_AUTO ? tree.rung : tree_best_rung()) == TREE_PIDNS) {
        tree.rung = TREE_SWEEP;
    }
    if (tree_new(&tree, &job->tree, err) < 0) {
        return err_code(err);
    }
    if ((spec->input != NULL && open_input(spec, &input) < 0) ||
        open_output(job, &job->output, &output) < 0 ||
        (spec->wants_answer && open_output(job, &job->answer, &answer) < 0)) {
        return err_set(err, ERR_IO, "open pipes: %s", strerror(errno));
    }
    env = make_env(spec, job->tree, &outer);
    struct child_fd fds[3] = { { .from = spec->wants_answer ? answer : output, .to = 1 },
                               { .from = output, .to = 2 },
                               { .from = input, .to = 0 } };
    struct child_options options = {
        .path = spec->path,
        .argv = spec->argv != NULL ? spec->argv : alone,
        .envp = env,
        .cwd = spec->cwd,
        .fds = fds,
        .n_fds = input >= 0 ? 3 : 2,
        .death_signal = SIGKILL,
        .set_user = spec->set_user,
        .uid = spec->uid,
        .gid = spec->gid,
        .groups = spec->groups,
        .n_groups = spec->n_groups,
        .set_umask = spec->set_umask,
        .umask = spec->umask,
    };
    tree_join(job->tree, &options);
    job->child.data = job;
    if (child_start(&job->child, job->engine->loop, &options, on_child, err) < 0) {
        return err_code(err);
    }
    job->child_alive = true;
    tree_started(job->tree, job->child.pid);
    return 0;
}

void run_start(struct hook_run *run, struct hook_engine *engine, const struct hook_spec *spec,
               struct hook_record *record, const struct hook_sink *sink, hook_run_cb cb)
{
    struct hook_job *job = mem_alloc(sizeof *job);
    struct err err = { 0 };

    *run = (struct hook_run){ .data = run->data, .record = record, .job = job, .cb = cb };
    job->engine = engine;
    job->run = run;
    job->record = record;
    job->sink = sink;
    job->output.fd = job->answer.fd = -1;
    job->answer.is_answer = true;
    job->go_on_at_term = spec->go_on_at_term;
    job->wants_answer = spec->wants_answer;
    job->may_refuse = spec->may_refuse;
    job->term_ms = spec->term_ms;
    job->kill_ms =
        spec->kill_ms > spec->term_ms ? spec->kill_ms : spec->term_ms + KILL_AFTER_TERM_MS;
    DL_APPEND(engine->jobs, job);
    (void)uv_timer_init(engine->loop, &job->timer);
    job->timer.data = job;
    job->open_handles++;
    record->leave = spec->leave;
    record->started_ms = clock_wall_ms();
    if (engine->closing) {
        err_setf(&err, ERR_CANCELED, "the hook engine is closing");
    }
    if (engine->closing || spawn(job, spec, &err) < 0) {
        job->canceled = engine->closing;
        record_set(&record->error, err.msg);
        (void)uv_timer_start(&job->timer, on_unstartable, 0, 0);
        return;
    }
    CRASH_POINT("hook.started");
    record->pid = job->child.pid;
    record->started_ms = job->child.started_ms;
    if (sink != NULL && sink->started(sink->ctx, record, &err) < 0) {
        log_error("record of a started hook is not kept, going on: %s hook=%s", err.msg,
                  record->hook);
    }
    CRASH_POINT("hook.noted");
    if (job->term_ms > 0) {
        uv_update_time(engine->loop); /* Starting may have taken longer than a turn. */
        (void)uv_timer_start(&job->timer, on_term_time, job->term_ms, 0);
    }
}

static void cancel(struct hook_job *job)
{
    if (!job->canceled && job->child_alive) {
        job->canceled = true;
        (void)uv_timer_start(&job->timer, on_canceled, 0, 0);
    }
}

void run_cancel(struct hook_run *run)
{
    if (run->job != NULL) {
        cancel(run->job);
    }
}

void run_fini(struct hook_run *run)
{
    free(run->answer);
    run->answer = NULL;
}

/* --- The engine. --- */

struct hook_engine *run_engine_new(uv_loop_t *loop, enum tree_rung rung)
{
    struct hook_engine *engine = mem_alloc(sizeof *engine);

    engine->loop = loop;
    engine->rung = rung;
    return engine;
}

void run_engine_spare_orphans(struct hook_engine *engine)
{
    engine->spare_orphans = true;
}

uv_loop_t *run_engine_loop(const struct hook_engine *engine)
{
    return engine->loop;
}

size_t run_engine_busy(const struct hook_engine *engine)
{
    const struct hook_job *job;
    size_t n = 0;

    DL_COUNT(engine->jobs, job, n);
    return n;
}

static void on_idle_closed(uv_handle_t *handle)
{
    struct hook_engine *engine = handle->data;
    void (*cb)(void *data) = engine->close_cb;
    void *data = engine->close_data;

    tree_drop_spares();
    free(engine);
    if (cb != NULL) {
        cb(data); /* Last. */
    }
}

static void engine_maybe_closed(struct hook_engine *engine)
{
    if (engine->closing && engine->jobs == NULL && !uv_is_closing((uv_handle_t *)&engine->idle)) {
        uv_close((uv_handle_t *)&engine->idle, on_idle_closed);
    }
}

void run_engine_close(struct hook_engine *engine, void (*cb)(void *data), void *data)
{
    struct hook_job *job;
    struct hook_job *tmp;

    engine->closing = true;
    engine->close_cb = cb;
    engine->close_data = data;
    (void)uv_idle_init(engine->loop, &engine->idle);
    engine->idle.data = engine;
    DL_FOREACH_SAFE(engine->jobs, job, tmp)
    {
        if (job->run != NULL) {
            cancel(job);
        } else if (job->tree != NULL) {
            tree_signal(job->tree, SIGKILL);
        }
    }
    engine_maybe_closed(engine);
}
