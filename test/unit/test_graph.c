/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/graph.h"

#include "base/buf.h"
#include "base/str.h"
#include "test.h"

#include <stdio.h>
#include <string.h>

/* A task under test: its graph, what it asked for since last looked at, and a clock. */
struct fixture {
    struct graph *graph;
    struct graph_actions actions;
    uint64_t now;
};

static int set_up(void **state)
{
    struct fixture *fix = mem_alloc(sizeof(*fix));

    fix->graph = graph_new(1, 0, 30000);
    fix->now = 1000;
    *state = fix;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fix = *state;

    graph_free(fix->graph);
    graph_actions_fini(&fix->actions);
    free(fix);
    return 0;
}

static void add_spec(struct fixture *fix, struct graph_spec spec)
{
    struct err err = { 0 };

    if (!spec.cmdline) {
        spec.cmdline = "true";
    }
    assert_int_equal(graph_add(fix->graph, &spec, &err), 0);
}

static void add(struct fixture *fix, const char *name)
{
    add_spec(fix, (struct graph_spec){ .name = name, .max_failures = 1, .min_duration_ms = 5000 });
}

static int try_order(struct fixture *fix, const char *names, struct err *err)
{
    CLEANUP(strv_freep) char **list = str_split(names, " ");

    return graph_order(fix->graph, (const char *const *)list, strv_len(list), err);
}

static void order(struct fixture *fix, const char *names)
{
    struct err err = { 0 };

    assert_int_equal(try_order(fix, names, &err), 0);
}

static void refused_order(struct fixture *fix, const char *names, const char *because)
{
    struct err err = { 0 };

    assert_int_equal(try_order(fix, names, &err), ERR_INVALID);
    assert_non_null(strstr(err.msg, because));
}

/* "a0 b1 TERM KILL": exactly what was asked for, in this order. */
static void asked(struct fixture *fix, const char *want)
{
    CLEANUP_BUF got = { 0 };

    for (size_t i = 0; i < fix->actions.n; i++) {
        const struct graph_action *action = &fix->actions.items[i];

        buf_add_text(&got, got.len ? " " : "");
        switch (action->type) {
        case GRAPH_START:
            buf_addf(&got, "%s%u", fix->graph->processes[action->process].spec.name, action->run);
            break;
        case GRAPH_TERM:
            buf_add_text(&got, "TERM");
            break;
        case GRAPH_KILL:
            buf_add_text(&got, "KILL");
            break;
        }
    }
    fix->actions.n = 0;
    assert_string_equal(buf_text(&got), want);
}

static void begin(struct fixture *fix)
{
    graph_begin(fix->graph, fix->now, &fix->actions);
}

static void exits(struct fixture *fix, const char *name, int code)
{
    graph_ended(fix->graph, graph_find(fix->graph, name), code, 0, fix->now, &fix->actions);
}

static void dies(struct fixture *fix, const char *name, int signum)
{
    graph_ended(fix->graph, graph_find(fix->graph, name), -1, signum, fix->now, &fix->actions);
}

static void emptied(struct fixture *fix)
{
    assert_true(graph_wants_empty(fix->graph));
    graph_emptied(fix->graph, fix->now, &fix->actions);
}

static void stop(struct fixture *fix, uint64_t grace_ms)
{
    graph_stop(fix->graph, grace_ms, NULL, fix->now, &fix->actions);
}

static void passes(struct fixture *fix, uint64_t ms)
{
    fix->now += ms;
    graph_tick(fix->graph, fix->now, &fix->actions);
}

static void state_is(struct fixture *fix, const char *name, enum graph_state want)
{
    size_t at = graph_find(fix->graph, name);

    assert_string_equal(graph_state_name(fix->graph->processes[at].state), graph_state_name(want));
}

static void ended_as(struct fixture *fix, enum graph_result result, const char *reason)
{
    assert_int_equal(fix->graph->stage, GRAPH_DONE);
    assert_int_equal(fix->graph->result, result);
    assert_string_equal(fix->graph->reason, reason);
    assert_true(graph_due(fix->graph) == GRAPH_NEVER);
}

/* From the last end of a process to DONE, when nothing is left behind. */
static void wind_down(struct fixture *fix)
{
    emptied(fix);
    asked(fix, "KILL");
    emptied(fix);
}

static void one_process_finishes(void **state)
{
    struct fixture *fix = *state;

    add(fix, "a");
    begin(fix);
    asked(fix, "a0");
    state_is(fix, "a", GRAPH_RUNNING);
    assert_true(graph_due(fix->graph) == GRAPH_NEVER);
    exits(fix, "a", 0);
    asked(fix, "TERM");
    wind_down(fix);
    ended_as(fix, GRAPH_SUCCESS, "Task finished.");
}

static void a_process_waits_for_all_before_it(void **state)
{
    struct fixture *fix = *state;

    add(fix, "a");
    add(fix, "b");
    add(fix, "c");
    add(fix, "d");
    order(fix, "a c");
    order(fix, "b c d");
    order(fix, "b c d"); /* said twice is said once */
    begin(fix);
    asked(fix, "a0 b0");
    exits(fix, "b", 0);
    asked(fix, "");
    exits(fix, "a", 0);
    asked(fix, "c0");
    exits(fix, "c", 0);
    asked(fix, "d0");
    exits(fix, "d", 0);
    asked(fix, "TERM");
    wind_down(fix);
    ended_as(fix, GRAPH_SUCCESS, "Task finished.");
}

static void a_failed_process_fails_the_task(void **state)
{
    struct fixture *fix = *state;

    add(fix, "a");
    add(fix, "b");
    begin(fix);
    asked(fix, "a0 b0");
    exits(fix, "a", 3);
    asked(fix, "TERM");
    state_is(fix, "a", GRAPH_FAILED);
    dies(fix, "b", 15);
    state_is(fix, "b", GRAPH_KILLED);
    wind_down(fix);
    ended_as(fix, GRAPH_FAILURE, "Task failed. Process a ended with status 3.");
}

static void failures_below_the_limit_run_again_after_min_duration(void **state)
{
    struct fixture *fix = *state;

    add_spec(fix, (struct graph_spec){ .name = "a", .max_failures = 3, .min_duration_ms = 5000 });
    begin(fix);
    asked(fix, "a0");
    exits(fix, "a", 1);
    asked(fix, "");
    assert_true(graph_due(fix->graph) == fix->now + 5000);
    passes(fix, 4999);
    asked(fix, "");
    passes(fix, 1);
    asked(fix, "a1");
    exits(fix, "a", 1);
    passes(fix, 5000);
    asked(fix, "a2");
    exits(fix, "a", 1);
    asked(fix, "TERM");
    wind_down(fix);
    ended_as(fix, GRAPH_FAILURE, "Task failed. Process a ended with status 1.");
}

static void the_first_run_waits_for_nothing(void **state)
{
    struct fixture *fix = *state;

    fix->now = 0;
    add(fix, "a");
    begin(fix);
    asked(fix, "a0");
}

static void no_limit_of_failures_ends_at_100_runs(void **state)
{
    struct fixture *fix = *state;
    char want[20];

    add_spec(fix, (struct graph_spec){ .name = "a", .max_failures = 0 });
    begin(fix);
    for (int run = 0; run < 100; run++) {
        (void)snprintf(want, sizeof(want), "a%d", run);
        asked(fix, want);
        exits(fix, "a", 1);
        passes(fix, 0);
    }
    asked(fix, "TERM");
    wind_down(fix);
    ended_as(fix, GRAPH_FAILURE, "Task failed. Process a was run 100 times.");
}

static void a_daemon_runs_again_after_success(void **state)
{
    struct fixture *fix = *state;

    add_spec(fix, (struct graph_spec){
                      .name = "d", .max_failures = 2, .min_duration_ms = 10, .daemon = true });
    begin(fix);
    asked(fix, "d0");
    exits(fix, "d", 0);
    passes(fix, 10);
    asked(fix, "d1");
    exits(fix, "d", 1);
    passes(fix, 10);
    asked(fix, "d2");
    exits(fix, "d", 1);
    state_is(fix, "d", GRAPH_FAILED);
    asked(fix, "TERM");
}

static void a_daemon_too_ends_at_100_runs(void **state)
{
    struct fixture *fix = *state;

    add_spec(fix, (struct graph_spec){ .name = "d", .max_failures = 1, .daemon = true });
    begin(fix);
    for (int run = 0; run < 100; run++) {
        fix->actions.n = 0;
        state_is(fix, "d", GRAPH_RUNNING);
        exits(fix, "d", 0);
        passes(fix, 0);
    }
    state_is(fix, "d", GRAPH_FAILED);
    asked(fix, "TERM");
}

static void a_running_ephemeral_does_not_hold_the_task(void **state)
{
    struct fixture *fix = *state;

    add(fix, "a");
    add_spec(fix, (struct graph_spec){
                      .name = "log", .max_failures = 1, .daemon = true, .ephemeral = true });
    begin(fix);
    asked(fix, "a0 log0");
    exits(fix, "a", 0);
    asked(fix, "TERM");
    dies(fix, "log", 15);
    state_is(fix, "log", GRAPH_KILLED);
    wind_down(fix);
    ended_as(fix, GRAPH_SUCCESS, "Task finished.");
}

static void a_failing_ephemeral_counts_as_finished(void **state)
{
    struct fixture *fix = *state;

    add(fix, "a");
    add_spec(fix, (struct graph_spec){ .name = "e", .max_failures = 1, .ephemeral = true });
    add_spec(fix, (struct graph_spec){ .name = "f", .max_failures = 1, .ephemeral = true });
    order(fix, "e f");
    begin(fix);
    asked(fix, "a0 e0");
    exits(fix, "e", 9);
    state_is(fix, "e", GRAPH_FINISHED);
    asked(fix, "f0");
}

static void lost_to_a_signal_runs_again_without_counting(void **state)
{
    struct fixture *fix = *state;

    add(fix, "a");
    begin(fix);
    for (unsigned run = 0; run < 5; run++) {
        assert_int_equal(fix->actions.n, 1);
        assert_int_equal(fix->actions.items[0].run, run);
        fix->actions.n = 0;
        dies(fix, "a", 9);
        asked(fix, "");
        passes(fix, 5000);
    }
    assert_int_equal(fix->graph->processes[0].failures, 0);
    asked(fix, "a5");
}

static void the_task_may_afford_failures(void **state)
{
    struct fixture *fix = *state;

    fix->graph->max_failures = 2;
    add(fix, "a");
    add(fix, "b");
    add(fix, "c");
    begin(fix);
    asked(fix, "a0 b0 c0");
    exits(fix, "a", 1);
    asked(fix, "");
    exits(fix, "b", 0);
    exits(fix, "c", 0);
    asked(fix, "TERM");
    wind_down(fix);
    ended_as(fix, GRAPH_SUCCESS, "Task finished.");
}

static void max_failures_0_affords_all(void **state)
{
    struct fixture *fix = *state;

    fix->graph->max_failures = 0;
    add(fix, "a");
    add(fix, "b");
    begin(fix);
    asked(fix, "a0 b0");
    exits(fix, "a", 1);
    exits(fix, "b", 1);
    asked(fix, "TERM");
    wind_down(fix);
    ended_as(fix, GRAPH_SUCCESS, "Task finished.");
}

static void waiting_for_a_failed_process_is_a_deadlock(void **state)
{
    struct fixture *fix = *state;

    fix->graph->max_failures = 0;
    add(fix, "a");
    add(fix, "b");
    order(fix, "a b");
    begin(fix);
    asked(fix, "a0");
    exits(fix, "a", 4);
    asked(fix, "TERM");
    wind_down(fix);
    ended_as(fix, GRAPH_FAILURE, "Task failed. Process a ended with status 4.");
    state_is(fix, "b", GRAPH_WAITING);
}

static void concurrency_is_capped_in_order_of_writing(void **state)
{
    struct fixture *fix = *state;

    fix->graph->max_concurrency = 2;
    add_spec(fix, (struct graph_spec){ .name = "a", .max_failures = 5, .min_duration_ms = 100 });
    add(fix, "b");
    add(fix, "c");
    add(fix, "d");
    begin(fix);
    asked(fix, "a0 b0");
    exits(fix, "a", 1); /* waits its 100 ms: the room is another's */
    asked(fix, "c0");
    assert_true(graph_due(fix->graph) == GRAPH_NEVER);
    passes(fix, 100);
    asked(fix, "");
    exits(fix, "b", 0);
    asked(fix, "a1");
    exits(fix, "c", 0);
    asked(fix, "d0");
}

static void final_processes_run_after_the_others_are_gone(void **state)
{
    struct fixture *fix = *state;

    add(fix, "a");
    add(fix, "b");
    add_spec(fix, (struct graph_spec){ .name = "f", .max_failures = 1, .final = true });
    add_spec(fix, (struct graph_spec){ .name = "g", .max_failures = 1, .final = true });
    order(fix, "f g");
    begin(fix);
    asked(fix, "a0 b0");
    exits(fix, "a", 1);
    asked(fix, "TERM");
    dies(fix, "b", 15);
    asked(fix, ""); /* what b forked may still be there */
    emptied(fix);
    asked(fix, "f0");
    exits(fix, "f", 0);
    asked(fix, "g0");
    exits(fix, "g", 0);
    asked(fix, "KILL");
    emptied(fix);
    ended_as(fix, GRAPH_FAILURE, "Task failed. Process a ended with status 1.");
}

static void failing_final_processes_do_not_change_the_result(void **state)
{
    struct fixture *fix = *state;

    add(fix, "a");
    add_spec(fix, (struct graph_spec){ .name = "f", .max_failures = 1, .final = true });
    add_spec(fix, (struct graph_spec){ .name = "g", .max_failures = 1, .final = true });
    order(fix, "f g");
    begin(fix);
    exits(fix, "a", 0);
    emptied(fix);
    asked(fix, "a0 TERM f0");
    exits(fix, "f", 1);
    asked(fix, "KILL");
    emptied(fix);
    ended_as(fix, GRAPH_SUCCESS, "Task finished.");
    state_is(fix, "g", GRAPH_WAITING);
}

static void only_final_processes(void **state)
{
    struct fixture *fix = *state;

    add_spec(fix, (struct graph_spec){ .name = "f", .max_failures = 1, .final = true });
    begin(fix);
    asked(fix, "TERM");
    emptied(fix);
    asked(fix, "f0");
    exits(fix, "f", 0);
    emptied(fix);
    asked(fix, "KILL");
    ended_as(fix, GRAPH_SUCCESS, "Task finished.");
}

static void cleaning_and_finalizing_share_one_deadline(void **state)
{
    struct fixture *fix = *state;

    add(fix, "a");
    add_spec(fix, (struct graph_spec){ .name = "f", .max_failures = 1, .final = true });
    begin(fix);
    asked(fix, "a0");
    stop(fix, 60000);
    asked(fix, "TERM");
    assert_true(graph_due(fix->graph) == fix->now + 30000);
    passes(fix, 20000);
    dies(fix, "a", 15);
    emptied(fix);
    asked(fix, "f0");
    assert_true(graph_due(fix->graph) == fix->now + 10000);
    passes(fix, 9999);
    asked(fix, "");
    passes(fix, 1);
    asked(fix, "KILL");
    dies(fix, "f", 9);
    state_is(fix, "f", GRAPH_KILLED);
    emptied(fix);
    ended_as(fix, GRAPH_STOPPED, "Task killed.");
}

static void the_grace_of_a_stop_bounds_it(void **state)
{
    struct fixture *fix = *state;

    add(fix, "a");
    begin(fix);
    stop(fix, 100);
    asked(fix, "a0 TERM");
    assert_true(graph_due(fix->graph) == fix->now + 100);
    stop(fix, 5000); /* never later */
    assert_true(graph_due(fix->graph) == fix->now + 100);
    stop(fix, 50);
    assert_true(graph_due(fix->graph) == fix->now + 50);
    passes(fix, 50);
    asked(fix, "KILL");
}

static void no_grace_kills_at_once(void **state)
{
    struct fixture *fix = *state;

    add(fix, "a");
    add_spec(fix, (struct graph_spec){ .name = "f", .max_failures = 1, .final = true });
    begin(fix);
    stop(fix, 0);
    asked(fix, "a0 KILL");
    dies(fix, "a", 9);
    emptied(fix);
    ended_as(fix, GRAPH_STOPPED, "Task killed.");
    state_is(fix, "f", GRAPH_WAITING);
}

static void kill_is_repeated_and_given_up(void **state)
{
    struct fixture *fix = *state;

    add(fix, "a");
    begin(fix);
    stop(fix, 0);
    asked(fix, "a0 KILL");
    for (int i = 1; i < GRAPH_GIVE_UP_MS / GRAPH_REKILL_MS; i++) {
        assert_true(graph_due(fix->graph) == fix->now + GRAPH_REKILL_MS);
        passes(fix, GRAPH_REKILL_MS);
        asked(fix, "KILL");
    }
    passes(fix, GRAPH_REKILL_MS);
    asked(fix, "");
    assert_true(fix->graph->leftovers);
    ended_as(fix, GRAPH_STOPPED, "Task killed.");
}

static void nothing_starts_again_while_cleaning(void **state)
{
    struct fixture *fix = *state;

    add_spec(fix, (struct graph_spec){ .name = "a", .max_failures = 0 });
    begin(fix);
    stop(fix, 1000);
    asked(fix, "a0 TERM");
    exits(fix, "a", 1);
    passes(fix, 500);
    asked(fix, "");
    state_is(fix, "a", GRAPH_KILLED);
}

static void a_stop_before_the_begin_runs_nothing(void **state)
{
    struct fixture *fix = *state;

    add(fix, "a");
    graph_stop(fix->graph, 1000, "Killed by root", fix->now, &fix->actions);
    begin(fix);
    asked(fix, "");
    ended_as(fix, GRAPH_STOPPED, "Killed by root");
}

static void the_first_result_stands(void **state)
{
    struct fixture *fix = *state;

    add(fix, "a");
    begin(fix);
    exits(fix, "a", 0);
    stop(fix, 1000);
    graph_fail(fix->graph, "too late", fix->now, &fix->actions);
    asked(fix, "a0 TERM");
    wind_down(fix);
    ended_as(fix, GRAPH_SUCCESS, "Task finished.");
}

static void a_task_can_be_failed_from_outside(void **state)
{
    struct fixture *fix = *state;

    add(fix, "a");
    begin(fix);
    graph_fail(fix->graph, "Sanity check failed.", fix->now, &fix->actions);
    asked(fix, "a0 TERM");
    dies(fix, "a", 15);
    wind_down(fix);
    ended_as(fix, GRAPH_FAILURE, "Sanity check failed.");
}

static void events_told_twice_do_nothing(void **state)
{
    struct fixture *fix = *state;

    add(fix, "a");
    add(fix, "b");
    order(fix, "a b");
    begin(fix);
    begin(fix);
    asked(fix, "a0");
    exits(fix, "a", 0);
    exits(fix, "a", 1);
    asked(fix, "b0");
    state_is(fix, "a", GRAPH_FINISHED);
}

static void wrong_orders_are_refused(void **state)
{
    struct fixture *fix = *state;

    add(fix, "a");
    add(fix, "b");
    add_spec(fix, (struct graph_spec){ .name = "d", .daemon = true });
    add_spec(fix, (struct graph_spec){ .name = "e", .ephemeral = true });
    add_spec(fix, (struct graph_spec){ .name = "f", .final = true });
    refused_order(fix, "a x", "'x', which is no process");
    refused_order(fix, "a f", "only one of them is final");
    refused_order(fix, "f a", "only one of them is final");
    refused_order(fix, "d a", "a daemon");
    refused_order(fix, "e a", "not ephemeral");
    order(fix, "a e");
    order(fix, "a d");
    order(fix, "a");
}

static void cycles_are_refused(void **state)
{
    struct fixture *fix = *state;
    struct err err = { 0 };

    add(fix, "a");
    add(fix, "b");
    add(fix, "c");
    order(fix, "a b c");
    assert_int_equal(graph_check(fix->graph, &err), 0);
    order(fix, "c b");
    assert_int_equal(graph_check(fix->graph, &err), ERR_INVALID);
    assert_non_null(strstr(err.msg, "cycle"));
}

static void a_process_cannot_wait_for_itself(void **state)
{
    struct fixture *fix = *state;
    struct err err = { 0 };

    add(fix, "a");
    order(fix, "a a");
    assert_int_equal(graph_check(fix->graph, &err), ERR_INVALID);
}

static void names_must_be_usable_as_directories(void **state)
{
    struct fixture *fix = *state;
    static const char *const bad[] = { "", ".", "..", ".a", "a/b", "a\nb", "a\x7f" };
    char too_long[GRAPH_NAME_MAX + 2];

    memset(too_long, 'x', sizeof(too_long));
    too_long[sizeof(too_long) - 1] = '\0';
    add(fix, "taken");
    for (size_t i = 0; i <= sizeof(bad) / sizeof(bad[0]) + 1; i++) {
        size_t n_bad = sizeof(bad) / sizeof(bad[0]);
        const char *name = i < n_bad ? bad[i] : i == n_bad ? too_long : "taken";
        struct err err = { 0 };
        struct graph_spec spec = { .name = name, .cmdline = "true" };

        assert_int_equal(graph_add(fix->graph, &spec, &err), ERR_INVALID);
    }
    assert_int_equal(fix->graph->n_processes, 1);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(one_process_finishes),
        TEST(a_process_waits_for_all_before_it),
        TEST(a_failed_process_fails_the_task),
        TEST(failures_below_the_limit_run_again_after_min_duration),
        TEST(the_first_run_waits_for_nothing),
        TEST(no_limit_of_failures_ends_at_100_runs),
        TEST(a_daemon_runs_again_after_success),
        TEST(a_daemon_too_ends_at_100_runs),
        TEST(a_running_ephemeral_does_not_hold_the_task),
        TEST(a_failing_ephemeral_counts_as_finished),
        TEST(lost_to_a_signal_runs_again_without_counting),
        TEST(the_task_may_afford_failures),
        TEST(max_failures_0_affords_all),
        TEST(waiting_for_a_failed_process_is_a_deadlock),
        TEST(concurrency_is_capped_in_order_of_writing),
        TEST(final_processes_run_after_the_others_are_gone),
        TEST(failing_final_processes_do_not_change_the_result),
        TEST(only_final_processes),
        TEST(cleaning_and_finalizing_share_one_deadline),
        TEST(the_grace_of_a_stop_bounds_it),
        TEST(no_grace_kills_at_once),
        TEST(kill_is_repeated_and_given_up),
        TEST(nothing_starts_again_while_cleaning),
        TEST(a_stop_before_the_begin_runs_nothing),
        TEST(the_first_result_stands),
        TEST(a_task_can_be_failed_from_outside),
        TEST(events_told_twice_do_nothing),
        TEST(wrong_orders_are_refused),
        TEST(cycles_are_refused),
        TEST(a_process_cannot_wait_for_itself),
        TEST(names_must_be_usable_as_directories),
#undef TEST
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
