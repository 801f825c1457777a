/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/id.h"
#include "base/str.h"
#include "base/tree.h"
#include "running.h"
#include "test.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

enum { DEADLINE_MS = 20000 };

struct fixture {
    enum tree_rung rung;
    uv_loop_t loop;
    struct child child;
    struct tree *tree;
    struct tree_kill kill;
    int ended, killed;
    char token[ID_TOKEN_SIZE];
};

static enum tree_rung rung_under_test;

static int setup(void **ctx)
{
    struct fixture *f = mem_alloc(sizeof *f);

    f->rung = rung_under_test;
    f->child.data = f;
    f->kill.data = f;
    id_token(f->token);
    assert_int_equal(uv_loop_init(&f->loop), 0);
    *ctx = f;
    return 0;
}

static int teardown(void **ctx)
{
    struct fixture *f = *ctx;

    if (f->tree != NULL) {
        tree_signal(f->tree, SIGKILL); /* After a failed test. */
    }
    tree_free(f->tree);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    free(f);
    return 0;
}

static void on_child(struct child *child)
{
    ((struct fixture *)child->data)->ended++;
}

static void on_killed(struct tree_kill *kill)
{
    ((struct fixture *)kill->data)->killed++;
}

static void on_deadline(uv_timer_t *timer)
{
    (void)timer;
    fail_msg("the deadline of the test passed");
}

/* Run the loop until *flag is set. */
static void run_until(struct fixture *f, const int *flag)
{
    uv_timer_t timer;

    uv_timer_init(&f->loop, &timer);
    uv_timer_start(&timer, on_deadline, DEADLINE_MS, 0);
    while (*flag == 0) {
        uv_run(&f->loop, UV_RUN_ONCE);
    }
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&f->loop, UV_RUN_NOWAIT);
}

/* Start `sh -c script` in a new tree and wait for the line that it prints when it is set up. */
static void start(struct fixture *f, const char *script, bool shortlived)
{
    CLEANUP(mem_freep) char *marked = running_mark(script);
    const char *argv[] = { "/bin/sh", "-c", marked, NULL };
    struct tree_options options = { .token = f->token, .rung = f->rung, .shortlived = shortlived };
    struct err err = { 0 };
    int out[2];
    char byte;

    assert_int_equal(tree_new(&options, &f->tree, &err), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    const char *envp[] = { "PATH=/usr/bin:/bin", tree_env(f->tree), NULL };
    struct child_fd fds[] = { { .from = out[1], .to = 1 } };
    struct child_options child = { .argv = argv, .envp = envp, .fds = fds, .n_fds = 1 };
    tree_join(f->tree, &child);
    if (child_start(&f->child, &f->loop, &child, on_child, &err) < 0) {
        fail_msg("%s", err.msg);
    }
    tree_started(f->tree, f->child.pid);
    close(out[1]);
    assert_int_equal(read(out[0], &byte, 1), 1);
    close(out[0]);
}

static void kill_all(struct fixture *f)
{
    tree_kill_start(&f->kill, &f->loop, f->tree, 0, DEADLINE_MS, on_killed);
    run_until(f, &f->killed);
    assert_int_equal(f->kill.err.code, 0);
    run_until(f, &f->ended);
    assert_true(tree_is_empty(f->tree));
}

static void whole_tree_dies(void **ctx)
{
    struct fixture *f = *ctx;

    /* A child in the group, one in its own session, a double fork, one without environment. */
    start(f,
          "trap '' TERM; sleep 98761 & setsid sleep 98761 & (setsid sh -c 'sleep 98761 & exit' &);"
          " (env -i setsid /bin/sleep 98761 &); sleep 0.3; echo up; sleep 98761",
          false);
    pid_t *pids = NULL;
    size_t n = tree_pids(f->tree, &pids);
    free(pids);
    assert_true(n >= 5);
    assert_false(tree_is_empty(f->tree));
    kill_all(f);
    assert_int_equal(running_count("sleep 98761"), 0);
}

static void daemon_left_behind_is_seen_and_killed(void **ctx)
{
    struct fixture *f = *ctx;

    start(f, "(setsid sleep 98762 >/dev/null 2>&1 &) ; echo up", true);
    run_until(f, &f->ended);
    if (f->rung != TREE_PIDNS) { /* There it died with the first process. */
        assert_false(tree_is_empty(f->tree));
    }
    kill_all(f);
    assert_int_equal(running_count("sleep 98762"), 0);
}

static void program_without_leftovers_leaves_an_empty_tree(void **ctx)
{
    struct fixture *f = *ctx;

    start(f, "echo up", true);
    run_until(f, &f->ended);
    assert_true(tree_is_empty(f->tree));
}

static void term_is_tried_first(void **ctx)
{
    struct fixture *f = *ctx;

    start(f, "trap 'exit 9' TERM; echo up; while :; do sleep 0.01; done", false);
    tree_kill_start(&f->kill, &f->loop, f->tree, DEADLINE_MS, DEADLINE_MS, on_killed);
    run_until(f, &f->killed);
    run_until(f, &f->ended);
    assert_int_equal(f->child.exit_code, 9);
}

static void fork_bomb_dies(void **ctx)
{
    struct fixture *f = *ctx;

    /* Bounded by its depth: at most 2^9 processes. */
    start(f, "b() { [ $1 -gt 8 ] && sleep 98763; b $(($1+1)) & b $(($1+1)) & wait; }; echo up; b 1",
          false);
    kill_all(f);
    assert_int_equal(running_count("sleep 98763"), 0);
}

static void tree_is_found_again_by_token(void **ctx)
{
    struct fixture *f = *ctx;

    start(f, "setsid sleep 98764 & echo up; sleep 98764", false);
    struct tree *again = tree_adopt(f->token);
    assert_false(tree_is_empty(again));
    if (f->rung <= TREE_CGROUP1) {
        assert_int_equal(tree_rung(again), f->rung);
    }
    tree_kill_start(&f->kill, &f->loop, again, 0, DEADLINE_MS, on_killed);
    run_until(f, &f->killed);
    run_until(f, &f->ended);
    tree_free(again);
    assert_int_equal(running_count("sleep 98764"), 0);
    assert_true(tree_is_empty(f->tree));
}

static void unknown_token_is_an_empty_tree(void **ctx)
{
    (void)ctx;
    struct tree *tree = tree_adopt("nobody-ever-used-this");

    assert_true(tree_is_empty(tree));
    tree_free(tree);
}

static void limits_are_in_force_where_reported(void **ctx)
{
    struct fixture *f = *ctx;
    struct tree_options options = { .token = f->token, .limits = { .pids = 20, .cpu_milli = 500 } };
    struct err err = { 0 };

    assert_int_equal(tree_new(&options, &f->tree, &err), 0);
    unsigned applied = tree_limits_applied(f->tree);
    if ((applied & TREE_LIMIT_PIDS) == 0) {
        print_message("skipped: no pids controller for this user\n");
        return;
    }
    const char *argv[] = { "/bin/sh", "-c", "for i in $(seq 40); do sleep 1000 & done; wait",
                           NULL };
    const char *envp[] = { "PATH=/usr/bin:/bin", tree_env(f->tree), NULL };
    struct child_options child = { .argv = argv, .envp = envp };
    tree_join(f->tree, &child);
    assert_int_equal(child_start(&f->child, &f->loop, &child, on_child, &err), 0);
    tree_started(f->tree, f->child.pid);
    /* The shell gives up when it cannot fork, and ends with an error. */
    run_until(f, &f->ended);
    assert_int_not_equal(f->child.exit_code, 0);
    tree_kill_start(&f->kill, &f->loop, f->tree, 0, DEADLINE_MS, on_killed);
    run_until(f, &f->killed);
}

static void bad_tokens_are_refused(void **ctx)
{
    (void)ctx;
    struct tree *tree = NULL;
    struct err err = { 0 };

    assert_int_equal(tree_new(&(struct tree_options){ .token = "../x" }, &tree, &err), ERR_INVALID);
    assert_int_equal(tree_new(&(struct tree_options){ .token = "" }, &tree, &err), ERR_INVALID);
    assert_null(tree);
}

#define ON_RUNG(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest each_rung[] = {
        ON_RUNG(whole_tree_dies),
        ON_RUNG(daemon_left_behind_is_seen_and_killed),
        ON_RUNG(program_without_leftovers_leaves_an_empty_tree),
        ON_RUNG(term_is_tried_first),
        ON_RUNG(fork_bomb_dies),
        ON_RUNG(tree_is_found_again_by_token),
    };
    const struct CMUnitTest once[] = {
        cmocka_unit_test(unknown_token_is_an_empty_tree),
        cmocka_unit_test(bad_tokens_are_refused),
        ON_RUNG(limits_are_in_force_where_reported),
    };
    int failed = 0;

    alarm(DEADLINE_MS / 1000 * 3);
    for (int rung = TREE_CGROUP2; rung <= TREE_SWEEP; rung++) {
        struct tree *tree = NULL;
        struct err err = { 0 };

        rung_under_test = (enum tree_rung)rung;
        if (tree_new(&(struct tree_options){ .token = "probe", .rung = rung_under_test }, &tree,
                     &err) < 0) {
            print_message("skipped: %s\n", err.msg);
            continue;
        }
        tree_free(tree);
        print_message("rung %s\n", tree_rung_name(rung_under_test));
        failed += cmocka_run_group_tests(each_rung, NULL, NULL);
    }
    failed += cmocka_run_group_tests(once, NULL, NULL);
    tree_drop_spares();
    return failed;
}
