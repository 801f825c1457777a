/* SPDX-License-Identifier: Apache-2.0 */
#include "master/state/task_state.h"

#include "test.h"

#include <string.h>

/* contracts/aurora.md 4.1, row by row, in this order of columns. */
/* clang-format off */
static const enum task_status COLUMN[] = {
    TASK_THROTTLED, TASK_PENDING, TASK_ASSIGNED, TASK_STARTING, TASK_RUNNING, TASK_PREEMPTING,
    TASK_RESTARTING, TASK_DRAINING, TASK_KILLING, TASK_PARTITIONED, TASK_FINISHED, TASK_FAILED,
    TASK_KILLED, TASK_LOST, TASK_INIT,
};
static const struct {
    enum task_status from;
    const char *to; /* x: allowed */
} TABLE[] = {
    /*                    THR PEN ASS STA RUN PRE RES DRA KIL PAR FIN FAI KIL LOS INI */
    { TASK_INIT,         "x   x   .   .   .   .   .   .   .   .   .   .   .   .   ." },
    { TASK_THROTTLED,    ".   x   .   .   .   .   .   .   x   .   .   .   .   .   ." },
    { TASK_PENDING,      ".   .   x   .   .   .   .   .   x   .   .   .   .   .   ." },
    { TASK_ASSIGNED,     ".   .   .   x   x   x   x   x   x   .   x   x   x   x   ." },
    { TASK_STARTING,     ".   .   .   .   x   x   x   x   x   x   x   x   x   x   ." },
    { TASK_RUNNING,      ".   .   .   .   .   x   x   x   x   x   x   x   x   x   ." },
    { TASK_PREEMPTING,   ".   .   .   .   .   .   .   .   x   x   x   x   x   x   ." },
    { TASK_RESTARTING,   ".   .   .   .   .   .   .   .   x   x   x   x   x   x   ." },
    { TASK_DRAINING,     ".   .   .   .   .   .   .   .   x   x   x   x   x   x   ." },
    { TASK_KILLING,      ".   .   .   .   .   .   .   .   .   x   x   x   x   x   ." },
    { TASK_PARTITIONED,  ".   .   x   x   x   x   x   x   x   .   x   x   .   x   ." },
    { TASK_FINISHED,     ".   .   .   .   .   .   .   .   .   .   .   .   .   .   ." },
    { TASK_FAILED,       ".   .   .   .   .   .   .   .   .   .   .   .   .   .   ." },
    { TASK_KILLED,       ".   .   .   .   .   .   .   .   .   .   .   .   .   .   ." },
    { TASK_LOST,         ".   .   .   .   .   .   .   .   .   .   .   .   .   .   ." },
};
/* clang-format on */

enum { N = sizeof(TABLE) / sizeof(TABLE[0]) };

static void every_cell_is_the_contracts(void **state)
{
    (void)state;
    assert_int_equal(N, TASK_N_STATUS);
    for (int row = 0; row < N; row++) {
        for (int column = 0; column < N; column++) {
            bool allowed = TABLE[row].to[4 * column] == 'x';

            if (task_state_allows(TABLE[row].from, COLUMN[column]) != allowed) {
                fail_msg("%s -> %s", task_status_name(TABLE[row].from),
                         task_status_name(COLUMN[column]));
            }
        }
    }
}

static struct task_step step(struct task_rules rules, enum task_event_kind kind, enum pod_state pod)
{
    struct task_stimulus stimulus = { .kind = kind, .pod = pod };
    struct task_step result;

    task_state_step(&rules, &stimulus, &result);
    return result;
}

/* Whatever comes, in whatever state: only moves of the table, and what follows is consistent. */
static void no_event_leaves_the_table(void **state)
{
    (void)state;
    for (int from = 0; from < TASK_N_STATUS; from++) {
        for (int kind = 0; kind < TASK_N_EVENT_KINDS; kind++) {
            for (int pod = 0; pod < POD_N_STATES; pod++) {
                struct task_rules rules = { (enum task_status)from, true, 1, 0 };
                struct task_step s = step(rules, (enum task_event_kind)kind, (enum pod_state)pod);

                if (s.moved) {
                    assert_true(task_state_allows(rules.status, s.status));
                } else {
                    assert_int_equal(s.status, rules.status);
                    assert_false(s.forget || s.reschedule);
                }
                if (s.reschedule) {
                    assert_true(task_is_terminal(s.status));
                }
                if (s.forget) {
                    assert_int_equal(s.status, TASK_KILLING);
                }
                /* A terminal task never moves, and an intent never returns. */
                if (task_is_terminal(rules.status)) {
                    assert_false(s.moved);
                    assert_int_not_equal(s.intent, TASK_INTENT_RUN);
                }
            }
        }
    }
}

static void a_task_runs_and_ends(void **state)
{
    (void)state;
    struct task_rules rules = { TASK_INIT, false, 1, 0 };
    struct task_step s = step(rules, TASK_EV_CREATED, 0);

    assert_int_equal(s.status, TASK_PENDING);
    rules.status = TASK_PENDING;
    s = step(rules, TASK_EV_PLACED, 0);
    assert_int_equal(s.status, TASK_ASSIGNED);
    assert_int_equal(s.intent, TASK_INTENT_RUN);
    rules.status = TASK_ASSIGNED;
    assert_false(step(rules, TASK_EV_POD, POD_INSTALLING).moved);
    assert_int_equal(step(rules, TASK_EV_POD, POD_RUNNING).status, TASK_RUNNING);
    rules.status = TASK_RUNNING;
    assert_false(step(rules, TASK_EV_POD, POD_STARTING).moved);
    assert_false(step(rules, TASK_EV_POD, POD_STOPPING).moved);
    s = step(rules, TASK_EV_POD, POD_FINISHED);
    assert_int_equal(s.status, TASK_FINISHED);
    assert_int_equal(s.intent, TASK_INTENT_DELETE);
    assert_false(s.reschedule);
}

static void failures_count_against_the_limit(void **state)
{
    (void)state;
    /* service, max, failures before, rescheduled? */
    static const struct {
        bool service;
        int max, before;
        bool again;
    } cases[] = {
        { false, 1, 0, false }, { false, 2, 0, true },  { false, 2, 1, false },
        { false, -1, 9, true }, { true, 1, 9, true },   { false, 0, 0, false },
        { false, 3, 1, true },  { false, 3, 2, false },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct task_rules rules = { TASK_RUNNING, cases[i].service, cases[i].max, cases[i].before };
        struct task_step s = step(rules, TASK_EV_POD, POD_FAILED);

        assert_int_equal(s.status, TASK_FAILED);
        assert_int_equal(s.failures, cases[i].before + 1);
        assert_int_equal(s.reschedule, cases[i].again);
    }
}

static void what_follows_an_end_depends_on_who_asked(void **state)
{
    (void)state;
    static const enum task_status asked[] = { TASK_RESTARTING, TASK_DRAINING, TASK_PREEMPTING };
    static const enum pod_state ends[] = { POD_FINISHED, POD_FAILED, POD_KILLED, POD_LOST };
    static const enum task_status unasked[] = { TASK_ASSIGNED, TASK_STARTING, TASK_RUNNING };

    for (size_t e = 0; e < 4; e++) {
        struct task_rules killing = { TASK_KILLING, true, -1, 0 };

        assert_true(step(killing, TASK_EV_POD, ends[e]).moved);
        assert_false(step(killing, TASK_EV_POD, ends[e]).reschedule);
        for (size_t i = 0; i < 3; i++) {
            struct task_rules rules = { asked[i], false, 1, 0 };

            assert_true(step(rules, TASK_EV_POD, ends[e]).reschedule);
        }
    }
    for (size_t i = 0; i < 3; i++) {
        struct task_rules rules = { unasked[i], false, 1, 0 };

        assert_true(step(rules, TASK_EV_POD, POD_KILLED).reschedule);
        assert_true(step(rules, TASK_EV_POD, POD_LOST).reschedule);
        assert_true(step(rules, TASK_EV_NODE_LOST, 0).reschedule);
        assert_false(step(rules, TASK_EV_POD, POD_FINISHED).reschedule);
    }
}

static void a_kill_before_placing_leaves_nothing(void **state)
{
    (void)state;
    static const enum task_status early[] = { TASK_PENDING, TASK_THROTTLED };

    for (size_t i = 0; i < 2; i++) {
        struct task_rules rules = { early[i], true, 1, 0 };

        assert_true(step(rules, TASK_EV_KILL, 0).forget);
    }
    struct task_rules running = { TASK_RUNNING, true, 1, 0 };

    assert_false(step(running, TASK_EV_KILL, 0).forget);
    assert_int_equal(step(running, TASK_EV_KILL, 0).intent, TASK_INTENT_STOP);
}

static void an_unseen_pod_keeps_an_intent_that_stops_it(void **state)
{
    (void)state;
    struct task_rules rules = { TASK_RUNNING, true, 1, 0 };
    struct task_step s = step(rules, TASK_EV_NODE_LOST, 0);

    assert_int_equal(s.status, TASK_LOST);
    assert_int_equal(s.intent, TASK_INTENT_STOP);
    /* It is seen again: a late RUNNING is stopped, an end is forgotten. */
    rules.status = TASK_LOST;
    assert_int_equal(step(rules, TASK_EV_POD, POD_RUNNING).intent, TASK_INTENT_STOP);
    assert_int_equal(step(rules, TASK_EV_POD, POD_KILLED).intent, TASK_INTENT_DELETE);
}

static void short_states_time_out(void **state)
{
    (void)state;
    for (int i = 0; i < TASK_N_STATUS; i++) {
        enum task_status status = (enum task_status)i;
        struct task_rules rules = { status, true, 1, 0 };
        bool brief = status == TASK_ASSIGNED || status == TASK_PREEMPTING ||
                     status == TASK_RESTARTING || status == TASK_KILLING || status == TASK_DRAINING;

        assert_int_equal(task_state_is_transient(status), brief);
        assert_int_equal(step(rules, TASK_EV_TIMEOUT, 0).moved, brief);
    }
}

static void a_partition_loses_what_was_to_end(void **state)
{
    (void)state;
    struct task_rules rules = { TASK_RUNNING, true, 1, 0 };

    assert_int_equal(step(rules, TASK_EV_PARTITION, 0).status, TASK_PARTITIONED);
    rules.status = TASK_KILLING;
    assert_int_equal(step(rules, TASK_EV_PARTITION, 0).status, TASK_LOST);
    rules.status = TASK_ASSIGNED; /* It never ran: nothing is worth waiting for. */
    assert_int_equal(step(rules, TASK_EV_PARTITION, 0).status, TASK_LOST);
    assert_true(step(rules, TASK_EV_PARTITION, 0).reschedule);
    rules.status = TASK_PARTITIONED;
    assert_int_equal(step(rules, TASK_EV_NODE_LOST, 0).status, TASK_LOST);
    assert_true(step(rules, TASK_EV_NODE_LOST, 0).reschedule);
    assert_int_equal(step(rules, TASK_EV_NODE_LOST, 0).intent, TASK_INTENT_STOP);
    assert_int_equal(step(rules, TASK_EV_POD, POD_RUNNING).status, TASK_RUNNING);
    assert_int_equal(step(rules, TASK_EV_POD, POD_INSTALLING).status, TASK_ASSIGNED);
}

static struct task run_of(uint64_t ran_ms, enum task_status middle, enum task_status end)
{
    struct task task;

    task_init(&task);
    task_add_event(&task, 1000, TASK_PENDING, NULL);
    task_add_event(&task, 1001, TASK_ASSIGNED, NULL);
    task_add_event(&task, 2000, middle, NULL);
    task_add_event(&task, 2000 + ran_ms, end, NULL);
    return task;
}

static void a_flap_is_an_early_end_of_its_own(void **state)
{
    (void)state;
    struct task early = run_of(1000, TASK_RUNNING, TASK_FAILED);
    struct task late = run_of(TASK_FLAP_MS, TASK_RUNNING, TASK_FAILED);
    struct task asked = run_of(1000, TASK_KILLING, TASK_KILLED);
    struct task restarted = run_of(1000, TASK_RESTARTING, TASK_KILLED);
    struct task preempted = run_of(1000, TASK_PREEMPTING, TASK_KILLED);
    struct task finished = run_of(1000, TASK_RUNNING, TASK_FINISHED);

    struct task cut_off = run_of(TASK_FLAP_MS, TASK_RUNNING, TASK_PARTITIONED);

    task_add_event(&cut_off, 2000 + TASK_FLAP_MS + 1, TASK_LOST, NULL);
    assert_false(task_state_flapped(&cut_off)); /* It ran long before its node was away. */
    task_fini(&cut_off);
    assert_true(task_state_flapped(&early));
    assert_false(task_state_flapped(&late));
    assert_false(task_state_flapped(&asked));
    assert_false(task_state_flapped(&restarted));
    assert_false(task_state_flapped(&preempted));
    assert_true(task_state_flapped(&finished));
    task_fini(&early);
    task_fini(&late);
    task_fini(&asked);
    task_fini(&restarted);
    task_fini(&preempted);
    task_fini(&finished);
}

static void the_penalty_doubles_up_to_five_minutes(void **state)
{
    (void)state;
    static const uint64_t wanted[] = { 0, 30000, 60000, 120000, 240000, 300000, 300000 };

    for (unsigned flaps = 0; flaps < 7; flaps++) {
        assert_int_equal(task_state_penalty_ms(flaps, false), wanted[flaps]);
        /* One LOST in the row is forgiven. */
        assert_int_equal(task_state_penalty_ms(flaps, true), wanted[flaps > 0 ? flaps - 1 : 0]);
    }
    assert_int_equal(task_state_penalty_ms(1000000, false), 300000);
}

static void messages_are_auroras(void **state)
{
    (void)state;
    CLEANUP(mem_freep) char *killed = task_state_asked_message("Killed", "root", NULL);
    CLEANUP(mem_freep) char *why = task_state_asked_message("Killed", "root", "too old");
    CLEANUP(mem_freep) char *again = task_state_reschedule_message(0);
    CLEANUP(mem_freep) char *later = task_state_reschedule_message(30000);

    assert_string_equal(killed, "Killed by root");
    assert_string_equal(why, "Killed by root.\ntoo old");
    assert_string_equal(again, "Rescheduled");
    assert_string_equal(later, "Rescheduled, penalized for 30000 ms for flapping");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cell_is_the_contracts),
        cmocka_unit_test(no_event_leaves_the_table),
        cmocka_unit_test(a_task_runs_and_ends),
        cmocka_unit_test(failures_count_against_the_limit),
        cmocka_unit_test(what_follows_an_end_depends_on_who_asked),
        cmocka_unit_test(a_kill_before_placing_leaves_nothing),
        cmocka_unit_test(an_unseen_pod_keeps_an_intent_that_stops_it),
        cmocka_unit_test(short_states_time_out),
        cmocka_unit_test(a_partition_loses_what_was_to_end),
        cmocka_unit_test(a_flap_is_an_early_end_of_its_own),
        cmocka_unit_test(the_penalty_doubles_up_to_five_minutes),
        cmocka_unit_test(messages_are_auroras),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
