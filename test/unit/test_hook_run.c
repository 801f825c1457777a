/* SPDX-License-Identifier: Apache-2.0 */

/* Hostile hooks, on each rung of the kill ladder: the right verdict, nothing left running,
 * and a caller who did not wait for what was left behind. */
#include "base/clock.h"
#include "hook/run.h"
#include "hook_fixture.h"

#include <signal.h>

static enum tree_rung rung_under_test;

struct fixture {
    struct hook_fixture hook;
    struct hook_run run;
    struct hook_record record;
    bool done;
    int calls;
};

static int setup(void **ctx)
{
    struct fixture *f = mem_alloc(sizeof *f);

    fixture_init(&f->hook, rung_under_test);
    record_init(&f->record, true);
    record_set(&f->record.hook, "hook");
    f->run.data = f;
    *ctx = f;
    return 0;
}

static int teardown(void **ctx)
{
    struct fixture *f = *ctx;

    run_fini(&f->run);
    record_fini(&f->record);
    fixture_fini(&f->hook);
    free(f);
    return 0;
}

static void on_run(struct hook_run *run)
{
    struct fixture *f = run->data;

    f->done = true;
    f->calls++;
}

static void start(struct fixture *f, struct hook_spec *spec, const char *script)
{
    static const char *const env[] = { "PATH=/usr/bin:/bin", "LC_ALL=C", NULL };
    char path[128];

    if (script != NULL) {
        put_file(&f->hook, "hook", script, 0755);
    }
    (void)snprintf(path, sizeof path, "%s/hook", f->hook.dir);
    spec->path = path;
    spec->env = env;
    run_start(&f->run, f->hook.engine, spec, &f->record, NULL, on_run);
    assert_int_equal(f->calls, 0);
}

/* Run to the report, then to the end of everything behind it. */
static void run_all(struct fixture *f, struct hook_spec *spec, const char *script)
{
    start(f, spec, script);
    run_until(&f->hook, &f->done);
    run_until_idle(&f->hook);
    assert_int_equal(f->calls, 1);
}

static void success_is_ok(void **ctx)
{
    struct fixture *f = *ctx;

    run_all(f, &(struct hook_spec){ .cwd = "/" }, "#!/bin/sh\npwd; echo to stderr >&2\n");
    assert_int_equal(f->record.outcome, HOOK_OK);
    assert_int_equal(f->record.exit_code, 0);
    assert_string_equal(f->record.output_head, "/\nto stderr\n");
    assert_int_equal(f->record.output_bytes, 12);
    assert_int_equal(f->record.left_behind, 0);
    assert_true(f->record.pid > 0);
    assert_true(f->record.finished_ms >= f->record.started_ms);
}

static void status_and_signal_are_failures(void **ctx)
{
    struct fixture *f = *ctx;

    run_all(f, &(struct hook_spec){ 0 }, "#!/bin/sh\nexit 3\n");
    assert_int_equal(f->record.outcome, HOOK_FAILED);
    assert_int_equal(f->record.exit_code, 3);
    assert_string_equal(f->record.error, "exited with status 3");
}

static void killed_by_a_signal_is_failed(void **ctx)
{
    struct fixture *f = *ctx;

    run_all(f, &(struct hook_spec){ .may_refuse = true }, "#!/bin/sh\nkill -KILL $$; sleep 0.1\n");
    if (f->record.exit_code == 0) {
        return; /* As process 1 of a PID namespace it cannot be killed from inside. */
    }
    assert_int_equal(f->record.outcome, HOOK_REFUSED);
    assert_int_equal(f->record.signal, SIGKILL);
}

static void sleeper_is_ended_at_its_deadline(void **ctx)
{
    struct fixture *f = *ctx;

    run_all(f, &(struct hook_spec){ .term_ms = 100, .kill_ms = 400 }, "#!/bin/sh\nsleep 98771\n");
    assert_int_equal(f->record.outcome, HOOK_TIMED_OUT);
    assert_true(f->record.timed_out);
    assert_string_equal(f->record.error, "Hook hook timed out after 100ms");
    assert_int_equal(running_count("sleep 98771"), 0);
}

static void ignoring_term_brings_kill(void **ctx)
{
    struct fixture *f = *ctx;

    run_all(f, &(struct hook_spec){ .term_ms = 100, .kill_ms = 300 },
            "#!/bin/sh\ntrap '' TERM\nwhile :; do sleep 98772; done\n");
    assert_int_equal(f->record.outcome, HOOK_TIMED_OUT);
    assert_int_equal(f->record.signal, SIGKILL);
    assert_int_equal(running_count("sleep 98772"), 0);
}

static void flow_goes_on_at_term_when_asked(void **ctx)
{
    struct fixture *f = *ctx;

    start(f, &(struct hook_spec){ .term_ms = 100, .kill_ms = 1500, .go_on_at_term = true },
          "#!/bin/sh\ntrap '' TERM\nwhile :; do sleep 98773; done\n");
    run_until(&f->hook, &f->done);
    assert_int_equal(f->record.outcome, HOOK_TIMED_OUT);
    assert_int_equal(run_engine_busy(f->hook.engine), 1); /* Still there, behind our back. */
    run_until_idle(&f->hook);
    assert_int_equal(running_count("sleep 98773"), 0);
}

static void daemon_holding_stdout_does_not_delay(void **ctx)
{
    struct fixture *f = *ctx;

    start(f, &(struct hook_spec){ 0 },
          "#!/bin/sh\nsetsid sh -c 'trap \"\" TERM; sleep 98774; sleep 98774' &\n"
          "sleep 98774 &\necho done\n");
    run_until(&f->hook, &f->done);
    assert_int_equal(f->record.outcome, HOOK_OK);
    assert_string_equal(f->record.output_head, "done\n");
    if (rung_under_test != TREE_PIDNS) { /* There they died with the program. */
        assert_true(f->record.left_behind >= 2);
    }
    run_until_idle(&f->hook);
    assert_int_equal(running_count("sleep 98774"), 0);
}

static void double_fork_without_environment_is_caught(void **ctx)
{
    struct fixture *f = *ctx;

    run_all(f, &(struct hook_spec){ 0 },
            "#!/bin/sh\n(env -i setsid sh -c '(sleep 98775 >/dev/null 2>&1 &)' &)\nsleep 0.2\n");
    assert_int_equal(f->record.outcome, HOOK_OK);
    assert_int_equal(running_count("sleep 98775"), 0);
}

static void declared_leftover_stays(void **ctx)
{
    struct fixture *f = *ctx;

    run_all(f, &(struct hook_spec){ .leave = true },
            "#!/bin/sh\nsetsid sleep 98776 >/dev/null 2>&1 &\necho $!\n");
    assert_int_equal(f->record.outcome, HOOK_OK);
    assert_true(f->record.leave);
    assert_int_equal(f->record.left_behind, 1);
    while (running_count("sleep 98776") != 1) { /* Until it has executed: the alarm limits it. */
    }
    struct tree *tree = tree_adopt(f->record.run_id);
    assert_int_equal(kill((pid_t)strtol(f->record.output_head, NULL, 10), SIGKILL), 0);
    while (!tree_is_empty(tree)) { /* Until the kernel is done with it: the alarm limits it. */
    }
    tree_free(tree);
}

static void hundred_megabytes_are_counted_not_kept(void **ctx)
{
    struct fixture *f = *ctx;

    run_all(f, &(struct hook_spec){ 0 },
            "#!/bin/sh\necho first; head -c 104857600 /dev/zero | tr '\\0' x; echo; echo last\n");
    assert_int_equal(f->record.outcome, HOOK_OK);
    assert_int_equal(f->record.output_bytes, 104857600 + 12);
    assert_int_equal(strlen(f->record.output_head), HOOK_OUTPUT_KEEP);
    assert_int_equal(strlen(f->record.output_tail), HOOK_OUTPUT_KEEP);
    assert_true(str_starts(f->record.output_head, "first\nxxx"));
    assert_true(str_ends(f->record.output_tail, "xxx\nlast\n"));
}

static void output_just_over_the_head_is_whole(void **ctx)
{
    struct fixture *f = *ctx;

    run_all(f, &(struct hook_spec){ 0 },
            "#!/bin/sh\nhead -c 32768 /dev/zero | tr '\\0' a; sleep 0.05; printf bcd\n");
    assert_int_equal(f->record.output_bytes, 32771);
    assert_string_equal(f->record.output_tail, "bcd");
}

static void nul_and_invalid_utf8_become_text(void **ctx)
{
    struct fixture *f = *ctx;

    run_all(f, &(struct hook_spec){ 0 }, "#!/bin/sh\nprintf 'a\\000b\\377\\033[31mc'\n");
    json_t *json = record_to_json(&f->record);
    assert_string_equal(json_string_value(json_object_get(json, "output_head")),
                        "a\xEF\xBF\xBD"
                        "b\xEF\xBF\xBD\033[31mc");
    json_decref(json);
}

static void closed_descriptors_change_nothing(void **ctx)
{
    struct fixture *f = *ctx;

    run_all(f, &(struct hook_spec){ 0 }, "#!/bin/sh\nexec 0<&- 1>&- 2>&-\nsleep 0.1\nexit 4\n");
    assert_int_equal(f->record.outcome, HOOK_FAILED);
    assert_int_equal(f->record.exit_code, 4);
}

static void fork_bomb_is_ended_at_its_deadline(void **ctx)
{
    struct fixture *f = *ctx;

    /* Bounded: 1,000 processes. */
    run_all(f, &(struct hook_spec){ .term_ms = 300, .kill_ms = 500 },
            "#!/bin/sh\ntrap '' TERM\ni=0\n"
            "while [ $i -lt 1000 ]; do (exec sleep 98777) & i=$((i+1)); done\nwait\nsleep 98777\n");
    assert_int_equal(f->record.outcome, HOOK_TIMED_OUT);
    assert_int_equal(running_count("sleep 98777"), 0);
}

static void cancel_tells_at_once(void **ctx)
{
    struct fixture *f = *ctx;

    start(f, &(struct hook_spec){ 0 }, "#!/bin/sh\nsleep 98778\n");
    run_cancel(&f->run);
    run_cancel(&f->run);
    assert_false(f->done);
    run_until(&f->hook, &f->done);
    assert_int_equal(f->run.err.code, ERR_CANCELED);
    assert_string_equal(f->record.error, "canceled");
    assert_int_equal(f->record.outcome, HOOK_LOST);
    run_until_idle(&f->hook);
    assert_int_equal(f->calls, 1);
    assert_int_equal(running_count("sleep 98778"), 0);
}

static void closing_the_engine_ends_all(void **ctx)
{
    struct fixture *f = *ctx;

    start(f, &(struct hook_spec){ 0 },
          "#!/bin/sh\ntrap '' TERM\nsetsid sleep 98779 &\nsleep 98779\n");
    uv_sleep(0);
    run_engine_close(f->hook.engine, on_fixture_closed, &f->hook.engine_closed);
    run_until(&f->hook, &f->hook.engine_closed);
    assert_int_equal(f->calls, 1);
    assert_int_equal(f->run.err.code, ERR_CANCELED);
    assert_int_equal(running_count("sleep 98779"), 0);
    f->hook.engine_closed = false;
    f->hook.engine = run_engine_new(&f->hook.loop, rung_under_test); /* For the teardown. */
}

static void unstartable(struct fixture *f, const char *error)
{
    char expected[256];

    start(f, &(struct hook_spec){ 0 }, NULL);
    run_until(&f->hook, &f->done);
    assert_int_equal(f->run.err.code, 0);
    assert_int_equal(f->record.outcome, HOOK_UNSTARTABLE);
    (void)snprintf(expected, sizeof expected, "execute %s/hook: %s", f->hook.dir, error);
    assert_string_equal(f->record.error, expected);
    assert_int_equal(f->record.pid, 0);
}

static void not_executable_is_unstartable(void **ctx)
{
    struct fixture *f = *ctx;

    put_file(&f->hook, "hook", "#!/bin/sh\n", 0644);
    unstartable(f, "Permission denied");
}

static void missing_interpreter_is_unstartable(void **ctx)
{
    struct fixture *f = *ctx;

    put_file(&f->hook, "hook", "#!/no/such/interpreter\n", 0755);
    unstartable(f, "No such file or directory");
}

static void no_shebang_is_unstartable(void **ctx)
{
    struct fixture *f = *ctx;

    put_file(&f->hook, "hook", "echo hello\n", 0755);
    unstartable(f, "Exec format error");
}

static void dangling_link_is_unstartable(void **ctx)
{
    struct fixture *f = *ctx;
    char path[128];

    (void)snprintf(path, sizeof path, "%s/hook", f->hook.dir);
    assert_int_equal(symlink("/no/such/file", path), 0);
    unstartable(f, "No such file or directory");
}

static void directory_is_unstartable(void **ctx)
{
    struct fixture *f = *ctx;

    put_file(&f->hook, "hook/x", "", 0644);
    unstartable(f, "Permission denied");
}

static void json_goes_in_and_comes_out(void **ctx)
{
    struct fixture *f = *ctx;
    char input[200000];

    memset(input, 'j', sizeof input);
    run_all(f,
            &(struct hook_spec){ .input = input, .input_len = sizeof input, .wants_answer = true },
            "#!/bin/sh\necho note >&2\nwc -c\n");
    assert_int_equal(f->record.outcome, HOOK_OK);
    assert_string_equal(f->run.answer, "200000\n");
    assert_string_equal(f->record.output_head, "note\n");
}

static void environment_and_descriptors_are_exact(void **ctx)
{
    struct fixture *f = *ctx;

    assert_int_equal(setenv("BASH_ENV", "/leak", 1), 0);
    assert_int_equal(setenv("LD_PRELOAD_X", "leak", 1), 0);
    run_all(f, &(struct hook_spec){ 0 },
            "#!/bin/sh\nread pid rest </proc/self/stat\n"
            "tr '\\0' '\\n' </proc/$pid/environ | grep -v '^DAVIT_RUN='\n"
            "for i in 3 4 5 6 7 8 9 11 12 13; do readlink /proc/$pid/fd/$i; done\n"
            "exit 0\n");
    assert_string_equal(f->record.output_head, "PATH=/usr/bin:/bin\nLC_ALL=C\n");
}

#define ON_RUNG(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest each_rung[] = {
        ON_RUNG(success_is_ok),
        ON_RUNG(status_and_signal_are_failures),
        ON_RUNG(killed_by_a_signal_is_failed),
        ON_RUNG(sleeper_is_ended_at_its_deadline),
        ON_RUNG(ignoring_term_brings_kill),
        ON_RUNG(flow_goes_on_at_term_when_asked),
        ON_RUNG(daemon_holding_stdout_does_not_delay),
        ON_RUNG(double_fork_without_environment_is_caught),
        ON_RUNG(declared_leftover_stays),
        ON_RUNG(closed_descriptors_change_nothing),
        ON_RUNG(fork_bomb_is_ended_at_its_deadline),
        ON_RUNG(cancel_tells_at_once),
        ON_RUNG(closing_the_engine_ends_all),
        ON_RUNG(no_shebang_is_unstartable),
        ON_RUNG(environment_and_descriptors_are_exact),
    };
    const struct CMUnitTest once[] = {
        ON_RUNG(hundred_megabytes_are_counted_not_kept),
        ON_RUNG(output_just_over_the_head_is_whole),
        ON_RUNG(nul_and_invalid_utf8_become_text),
        ON_RUNG(not_executable_is_unstartable),
        ON_RUNG(missing_interpreter_is_unstartable),
        ON_RUNG(dangling_link_is_unstartable),
        ON_RUNG(directory_is_unstartable),
        ON_RUNG(json_goes_in_and_comes_out),
    };
    int failed = 0;

    alarm(120);
    for (int rung = TREE_CGROUP2; rung <= TREE_SWEEP; rung++) {
        struct tree *tree = NULL;
        struct err err = { 0 };

        rung_under_test = (enum tree_rung)rung;
        if (tree_new(&(struct tree_options){ .token = "probe-hooks", .rung = rung_under_test },
                     &tree, &err) < 0) {
            print_message("skipped: %s\n", err.msg);
            continue;
        }
        tree_free(tree);
        print_message("rung %s\n", tree_rung_name(rung_under_test));
        failed += cmocka_run_group_tests(each_rung, NULL, NULL);
    }
    rung_under_test = TREE_AUTO;
    failed += cmocka_run_group_tests(once, NULL, NULL);
    return failed;
}
