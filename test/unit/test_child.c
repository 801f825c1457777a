/* SPDX-License-Identifier: Apache-2.0 */
#include "base/child.h"
#include "base/mem.h"
#include "test.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

enum { DEADLINE_MS = 20000 };

struct fixture {
    uv_loop_t loop;
    struct child child;
    int calls;
    int out[2]; /* The program's stdout. */
    char text[8192];
};

static int setup(void **ctx)
{
    struct fixture *f = mem_alloc(sizeof *f);

    assert_int_equal(uv_loop_init(&f->loop), 0);
    assert_int_equal(pipe2(f->out, O_CLOEXEC), 0);
    f->child.data = f;
    *ctx = f;
    return 0;
}

static int teardown(void **ctx)
{
    struct fixture *f = *ctx;

    assert_int_equal(uv_loop_close(&f->loop), 0);
    fd_closep(&f->out[0]);
    fd_closep(&f->out[1]);
    free(f);
    return 0;
}

static void on_child(struct child *child)
{
    struct fixture *f = child->data;

    f->calls++;
}

static void on_deadline(uv_timer_t *timer)
{
    (void)timer;
    fail_msg("the deadline of the test passed");
}

/* Run the loop until the child has ended, under a deadline. */
static void run(struct fixture *f)
{
    uv_timer_t timer;

    uv_timer_init(&f->loop, &timer);
    uv_timer_start(&timer, on_deadline, DEADLINE_MS, 0);
    uv_unref((uv_handle_t *)&timer);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(f->calls, 1);
}

/* Run `sh -c script`, its stdout in f->text. */
static void shell(struct fixture *f, struct child_options *options, const char *script)
{
    const char *argv[] = { "sh", "-c", script, NULL };
    struct child_fd fds[] = { { .from = f->out[1], .to = 1 } };
    struct err err = { 0 };

    options->path = "/bin/sh";
    options->argv = argv;
    if (options->fds == NULL) {
        options->fds = fds;
        options->n_fds = 1;
    }
    assert_int_equal(child_start(&f->child, &f->loop, options, on_child, &err), 0);
    close(f->out[1]);
    f->out[1] = -1;
    run(f);
    size_t used = 0;
    ssize_t n;
    while ((n = read(f->out[0], f->text + used, sizeof f->text - 1 - used)) > 0) {
        used += (size_t)n;
    }
}

static void exit_status_is_told(void **ctx)
{
    struct fixture *f = *ctx;

    shell(f, &(struct child_options){ 0 }, "exit 7");
    assert_int_equal(f->child.err.code, 0);
    assert_true(f->child.status_known);
    assert_int_equal(f->child.exit_code, 7);
    assert_int_equal(f->child.term_signal, 0);
}

static void signal_is_told(void **ctx)
{
    struct fixture *f = *ctx;

    shell(f, &(struct child_options){ 0 }, "kill -9 $$");
    assert_int_equal(f->child.exit_code, -1);
    assert_int_equal(f->child.term_signal, SIGKILL);
}

static void environment_is_exact(void **ctx)
{
    struct fixture *f = *ctx;
    const char *envp[] = { "A=1", "B=two words", NULL };
    const char *argv[] = { "/usr/bin/env", NULL };
    struct child_fd fds[] = { { .from = f->out[1], .to = 1 } };
    struct err err = { 0 };
    struct child_options options = { .argv = argv, .envp = envp, .fds = fds, .n_fds = 1 };

    assert_int_equal(child_start(&f->child, &f->loop, &options, on_child, &err), 0);
    run(f);
    assert_true(read(f->out[0], f->text, sizeof f->text - 1) > 0);
    assert_string_equal(f->text, "A=1\nB=two words\n");
}

static void only_named_descriptors_are_inherited(void **ctx)
{
    struct fixture *f = *ctx;
    int leak = open("/dev/zero", O_RDONLY);
    struct child_fd fds[] = { { .from = f->out[1], .to = 1 }, { .from = leak, .to = 5 } };

    shell(f, &(struct child_options){ .fds = fds, .n_fds = 2 }, "cd /proc/$$/fd; echo *");
    close(leak);
    /* dash opens the directory for the glob itself as 3, in some builds; nothing else. */
    assert_true(strcmp(f->text, "0 1 2 5\n") == 0 || strcmp(f->text, "0 1 2 3 5\n") == 0);
}

static void descriptors_may_be_swapped(void **ctx)
{
    struct fixture *f = *ctx;
    int a = open("/dev/null", O_RDONLY);
    int b = open("/dev/zero", O_RDONLY);
    struct child_fd fds[] = {
        { .from = f->out[1], .to = 1 },
        { .from = a, .to = b },
        { .from = b, .to = a },
    };
    char script[128];

    (void)snprintf(script, sizeof script, "readlink /proc/$$/fd/%d /proc/$$/fd/%d", a, b);
    shell(f, &(struct child_options){ .fds = fds, .n_fds = 3 }, script);
    close(a);
    close(b);
    assert_string_equal(f->text, "/dev/zero\n/dev/null\n");
}

static void stdin_is_dev_null_when_not_given(void **ctx)
{
    struct fixture *f = *ctx;

    shell(f, &(struct child_options){ 0 }, "readlink /proc/$$/fd/0");
    assert_string_equal(f->text, "/dev/null\n");
}

static void ignored_and_blocked_signals_are_reset(void **ctx)
{
    struct fixture *f = *ctx;
    sigset_t set;
    void (*old)(int) = signal(SIGPIPE, SIG_IGN);

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    shell(f, &(struct child_options){ 0 }, "grep -E '^Sig(Blk|Ign)' /proc/self/status");
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    signal(SIGPIPE, old);
    assert_string_equal(f->text, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
}

static void gets_group_directory_umask_and_limit(void **ctx)
{
    struct fixture *f = *ctx;
    struct child_rlimit limit = { RLIMIT_NOFILE, { 77, 77 } };
    struct child_options options = {
        .cwd = "/usr", .set_umask = true, .umask = 0137, .rlimits = &limit, .n_rlimits = 1
    };

    shell(f, &options,
          "pwd; umask; ulimit -n; test $(cut -d' ' -f5 /proc/$$/stat) = $$ && echo own");
    assert_string_equal(f->text, "/usr\n0137\n77\nown\n");
}

static void becomes_another_user(void **ctx)
{
    struct fixture *f = *ctx;
    const gid_t groups[] = { 65534, 7 };
    struct child_options options = {
        .set_user = true, .uid = 65534, .gid = 65534, .groups = groups, .n_groups = 2
    };

    if (geteuid() != 0) {
        print_message("skipped: needs root to change user\n");
        return;
    }
    shell(f, &options, "grep -E '^(Uid|Gid|Groups)' /proc/self/status | tr -s '\\t ' ' '");
    assert_string_equal(
        f->text, "Uid: 65534 65534 65534 65534\nGid: 65534 65534 65534 65534\nGroups: 7 65534 \n");
}

static void is_process_one_of_its_namespace(void **ctx)
{
    struct fixture *f = *ctx;

    if (geteuid() != 0) {
        print_message("skipped: needs root for a PID namespace\n");
        return;
    }
    shell(f, &(struct child_options){ .pid_namespace = true }, "sleep 1000 & echo $$");
    assert_string_equal(f->text, "1\n");
}

static void expect_failure(struct fixture *f, struct child_options *options, int code,
                           const char *message)
{
    struct err err = { 0 };

    assert_int_equal(child_start(&f->child, &f->loop, options, on_child, &err), code);
    assert_string_equal(err.msg, message);
    assert_int_equal(f->calls, 0);
    assert_int_equal(waitid(P_ALL, 0, &(siginfo_t){ 0 }, WEXITED | WNOHANG | WNOWAIT), -1);
}

static void failed_steps_are_named(void **ctx)
{
    struct fixture *f = *ctx;
    const char *argv[] = { "/nonexistent/x", NULL };
    struct child_rlimit limit = { 9999, { 1, 1 } };

    expect_failure(f, &(struct child_options){ .argv = argv }, ERR_NOTFOUND,
                   "execute /nonexistent/x: No such file or directory");
    argv[0] = "/etc/passwd";
    expect_failure(f, &(struct child_options){ .argv = argv }, ERR_DENIED,
                   "execute /etc/passwd: Permission denied");
    argv[0] = "/bin/true";
    expect_failure(f, &(struct child_options){ .argv = argv, .cwd = "/nonexistent" }, ERR_NOTFOUND,
                   "change to /nonexistent: No such file or directory");
    expect_failure(f, &(struct child_options){ .argv = argv, .rlimits = &limit, .n_rlimits = 1 },
                   ERR_IO, "set resource limit /bin/true: Invalid argument");
    struct child_fd fds[] = { { .from = 9999, .to = 1 } };
    expect_failure(f, &(struct child_options){ .argv = argv, .fds = fds, .n_fds = 1 }, ERR_IO,
                   "set up files /bin/true: Bad file descriptor");
}

static void canceled_process_runs_on(void **ctx)
{
    struct fixture *f = *ctx;
    const char *argv[] = { "/bin/sleep", "1000", NULL };
    struct err err = { 0 };

    assert_int_equal(
        child_start(&f->child, &f->loop, &(struct child_options){ .argv = argv }, on_child, &err),
        0);
    assert_true(child_is_known(f->child.pid));
    child_cancel(&f->child);
    child_cancel(&f->child);
    run(f);
    assert_int_equal(f->child.err.code, ERR_CANCELED);
    assert_false(child_is_known(f->child.pid));
    assert_int_equal(kill(f->child.pid, SIGKILL), 0);
    assert_int_equal(waitpid(f->child.pid, NULL, 0), f->child.pid);
}

static void foreign_process_is_watched_by_pid_and_start_time(void **ctx)
{
    struct fixture *f = *ctx;
    const char *argv[] = { "/bin/sleep", "1000", NULL };
    struct err err = { 0 };
    uint64_t ticks = 0;

    assert_int_equal(
        child_start(&f->child, &f->loop, &(struct child_options){ .argv = argv }, on_child, &err),
        0);
    pid_t pid = f->child.pid;
    child_cancel(&f->child);
    run(f);
    f->calls = 0;
    assert_int_equal(child_start_time(pid, &ticks, &err), 0);
    assert_int_equal(child_watch(&f->child, &f->loop, pid, ticks + 1, on_child, &err),
                     ERR_NOTFOUND);
    assert_int_equal(child_watch(&f->child, &f->loop, pid, ticks, on_child, &err), 0);
    child_signal(&f->child, SIGKILL);
    run(f);
    assert_int_equal(f->child.err.code, 0);
    assert_false(f->child.status_known);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

int main(void)
{
    alarm(DEADLINE_MS / 1000 * 3); /* A program that never writes must not hang the suite. */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(exit_status_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(signal_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(environment_is_exact, setup, teardown),
        cmocka_unit_test_setup_teardown(only_named_descriptors_are_inherited, setup, teardown),
        cmocka_unit_test_setup_teardown(descriptors_may_be_swapped, setup, teardown),
        cmocka_unit_test_setup_teardown(stdin_is_dev_null_when_not_given, setup, teardown),
        cmocka_unit_test_setup_teardown(ignored_and_blocked_signals_are_reset, setup, teardown),
        cmocka_unit_test_setup_teardown(gets_group_directory_umask_and_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(becomes_another_user, setup, teardown),
        cmocka_unit_test_setup_teardown(is_process_one_of_its_namespace, setup, teardown),
        cmocka_unit_test_setup_teardown(failed_steps_are_named, setup, teardown),
        cmocka_unit_test_setup_teardown(canceled_process_runs_on, setup, teardown),
        cmocka_unit_test_setup_teardown(foreign_process_is_watched_by_pid_and_start_time, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
