/* SPDX-License-Identifier: Apache-2.0 */

/* checker: makes the health checks of one pod when health.c says so, and tells it the outcomes.
 *
 *   WAITING --due--> CHECKING --outcome--> WAITING ...   STOPPED: failed, or checker_stop()
 *
 * Happy path: the timer fires, the snooze file is looked for, one HTTP request or one run of
 * the command is made, its verdict goes to the core, the timer is set to the core's next time.
 * Failures: an attempt that could not be made is a failed one, with the reason.
 * A command that cannot be killed is told as failed all the same; while BUSY_MOST such are left no
 * other one is started.
 * Invariants: one attempt at a time; the callback fires only for a change of the core's state.
 */
#include "pod/health/checker.h"

#include "base/clock.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/log.h"
#include "base/str.h"
#include "pod/health/probe_http.h"
#include "pod/health/probe_shell.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { BUSY_MOST = 32, TOLD_MOST = 5, TELL_EVERY_MS = 10 * 60 * 1000 };

struct checker {
    uv_loop_t *loop;
    const struct taskfile *task;
    char *sandbox;
    char *snooze;
    char **env;
    struct health health;
    uint64_t telling_ms; /* since then `told` failures were logged, `untold` were not */
    uint64_t untold;
    unsigned told;
    checker_cb cb;
    void *data;

    bool checking;
    bool stopped;
    uint64_t started_ms;
    struct probe_http http;
    struct probe_shell shell;
    struct hook_engine *engine; /* NULL before the first command */
    uv_timer_t timer;

    bool closing;
    unsigned open_parts;
    void (*on_closed)(void *data);
    void *closed_data;
};

static void close_parts(struct checker *checker);

static void on_due(uv_timer_t *timer);

static void arm(struct checker *checker)
{
    uint64_t now = clock_now_ms();
    uint64_t next = checker->health.next_ms;

    uv_update_time(checker->loop);
    (void)uv_timer_start(&checker->timer, on_due, next > now ? next - now : 0, 0);
}

/* A check may fail as often as it likes, but the log is not the task's disk. */
static void tell(struct checker *checker, const char *why)
{
    uint64_t now = clock_now_ms();

    if (now - checker->telling_ms >= TELL_EVERY_MS) {
        checker->telling_ms = now;
        checker->told = 0;
    }
    if (checker->told >= TOLD_MOST) {
        checker->untold++;
        return;
    }
    log_info("health check failed attempt=%llu in_a_row=%u untold=%llu reason=\"%s\" task=%s",
             (unsigned long long)checker->health.attempts, checker->health.failures,
             (unsigned long long)checker->untold, why, checker->task->id);
    checker->told++;
    checker->untold = 0;
}

/* why NULL: healthy. */
static void attempted(struct checker *checker, const char *why)
{
    enum health_state before = checker->health.state;

    CRASH_POINT("pod.checked");
    health_attempted(&checker->health, checker->started_ms, why, clock_now_ms());
    if (why) {
        tell(checker, why);
    }
    if (checker->health.next_ms == HEALTH_NEVER) {
        checker->stopped = true;
    } else {
        arm(checker);
    }
    if (checker->health.state != before) {
        checker->cb(checker->data, checker->health.state, checker->health.reason);
    }
}

static void over(struct checker *checker, bool canceled, const char *why)
{
    checker->checking = false;
    if (!checker->stopped && !canceled) {
        attempted(checker, why);
    }
    if (checker->closing) {
        close_parts(checker);
    }
}

static void on_shell(struct probe_shell *probe)
{
    struct checker *checker = probe->data;
    CLEANUP(mem_freep) char *why = TAKE(probe->why);

    over(checker, probe->canceled, why);
}

static void on_http(struct probe_http *probe)
{
    struct checker *checker = probe->data;
    const struct taskfile_check *check = checker->task->check;
    CLEANUP(mem_freep) char *why = NULL;

    if (probe->err.code < 0) {
        why = str_printf("Failed to signal http://localhost:%d%s%.200s: %s", check->port,
                         check->endpoint[0] == '/' ? "" : "/", check->endpoint, probe->err.msg);
    } else {
        why = probe_http_verdict(&probe->answer, check->expected, check->expected_code);
    }
    probe_http_fini(probe);
    over(checker, probe->err.code == ERR_CANCELED, why);
}

static void start_shell(struct checker *checker)
{
    const struct taskfile_check *check = checker->task->check;
    const struct probe_shell_spec spec = {
        .task = checker->task,
        .command = check->command,
        .sandbox = checker->sandbox,
        .env = checker->env,
        .timeout_ms = check->timeout_ms,
    };

    if (!checker->engine) {
        enum tree_rung best = tree_best_rung();

        /* As pod hooks: what is process 1 would not feel TERM. */
        checker->engine =
            run_engine_new(checker->loop, best == TREE_PIDNS ? TREE_SWEEP : TREE_AUTO);
        run_engine_spare_orphans(checker->engine); /* Those of the task. */
    }
    probe_shell_start(&checker->shell, checker->engine, &spec, on_shell);
}

static void start_http(struct checker *checker)
{
    const struct taskfile_check *check = checker->task->check;
    const struct probe_http_spec spec = { "GET", check->port, check->endpoint, check->timeout_ms };

    probe_http_start(&checker->http, checker->loop, &spec, on_http);
}

static void on_due(uv_timer_t *timer)
{
    struct checker *checker = timer->data;

    if (checker->checking || checker->stopped) {
        return;
    }
    checker->started_ms = clock_now_ms();
    if (faccessat(AT_FDCWD, checker->snooze, F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
        attempted(checker, NULL);
        return;
    }
    if (checker->engine && run_engine_busy(checker->engine) >= BUSY_MOST) {
        attempted(checker, "The commands before it are still there.");
        return;
    }
    CRASH_POINT("pod.check");
    checker->checking = true;
    if (checker->task->check->command) {
        start_shell(checker);
    } else {
        start_http(checker);
    }
}

struct checker *checker_new(uv_loop_t *loop, const struct taskfile *task, const char *sandbox,
                            char *const *env, checker_cb cb, void *data)
{
    struct checker *checker = mem_alloc(sizeof(*checker));

    checker->loop = loop;
    checker->task = task;
    checker->sandbox = mem_strdup(sandbox);
    checker->snooze = file_join(sandbox, CHECKER_SNOOZE_FILE);
    checker->env = strv_dup(env);
    checker->cb = cb;
    checker->data = data;
    checker->http.data = checker->shell.data = checker->timer.data = checker;
    (void)uv_timer_init(loop, &checker->timer);
    health_init(&checker->health, &task->check->health, clock_now_ms());
    arm(checker);
    return checker;
}

void checker_stop(struct checker *checker)
{
    checker->stopped = true;
    if (!uv_is_closing((uv_handle_t *)&checker->timer)) {
        (void)uv_timer_stop(&checker->timer);
    }
    if (checker->checking && checker->task->check->command) {
        probe_shell_cancel(&checker->shell);
    } else if (checker->checking) {
        probe_http_cancel(&checker->http);
    }
}

static void part_closed(void *data)
{
    struct checker *checker = data;

    if (--checker->open_parts > 0) {
        return;
    }
    void (*cb)(void *data) = checker->on_closed;
    void *cb_data = checker->closed_data;

    strv_free(checker->env);
    free(checker->snooze);
    free(checker->sandbox);
    free(checker);
    cb(cb_data);
}

static void on_timer_closed(uv_handle_t *handle)
{
    part_closed(handle->data);
}

static void close_parts(struct checker *checker)
{
    checker->open_parts = checker->engine ? 2 : 1;
    uv_close((uv_handle_t *)&checker->timer, on_timer_closed);
    if (checker->engine) {
        run_engine_close(checker->engine, part_closed, checker);
    }
}

void checker_close(struct checker *checker, void (*cb)(void *data), void *data)
{
    checker->closing = true;
    checker->on_closed = cb;
    checker->closed_data = data;
    checker_stop(checker);
    if (!checker->checking) {
        close_parts(checker);
    }
}
