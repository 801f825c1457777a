/* SPDX-License-Identifier: Apache-2.0 */

/* The table of statuses, commands and pulses one by one, and what a step orders; whole courses
 * are test_updater_sim.c's. */
#include "base/json.h"
#include "master/updater/updater.h"

#include "test.h"

#include <string.h>

enum { MINUTE = 60000, T0 = 1000000 };

/* The contract's table, spelled out a second time. */
static bool contract_allows(enum update_status from, enum update_status to)
{
    static const struct {
        enum update_status from, to[8];
        size_t n;
    } rows[] = {
        { UPDATE_ROLLING_FORWARD,
          { UPDATE_ROLLING_BACK, UPDATE_ROLL_FORWARD_PAUSED, UPDATE_ROLL_FORWARD_AWAITING_PULSE,
            UPDATE_ROLLED_FORWARD, UPDATE_ABORTED, UPDATE_FAILED, UPDATE_ERROR },
          7 },
        { UPDATE_ROLLING_BACK,
          { UPDATE_ROLL_BACK_PAUSED, UPDATE_ROLL_BACK_AWAITING_PULSE, UPDATE_ROLLED_BACK,
            UPDATE_ABORTED, UPDATE_ERROR, UPDATE_FAILED },
          6 },
        { UPDATE_ROLL_FORWARD_PAUSED,
          { UPDATE_ROLLING_BACK, UPDATE_ROLLING_FORWARD, UPDATE_ROLL_FORWARD_AWAITING_PULSE,
            UPDATE_ABORTED, UPDATE_ERROR },
          5 },
        { UPDATE_ROLL_BACK_PAUSED,
          { UPDATE_ROLLING_BACK, UPDATE_ROLL_BACK_AWAITING_PULSE, UPDATE_ABORTED, UPDATE_ERROR },
          4 },
        { UPDATE_ROLL_FORWARD_AWAITING_PULSE,
          { UPDATE_ROLLING_FORWARD, UPDATE_ROLL_FORWARD_PAUSED, UPDATE_ABORTED, UPDATE_ERROR,
            UPDATE_ROLLING_BACK },
          5 },
        { UPDATE_ROLL_BACK_AWAITING_PULSE,
          { UPDATE_ROLLING_BACK, UPDATE_ROLL_BACK_PAUSED, UPDATE_ABORTED, UPDATE_ERROR },
          4 },
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (size_t k = 0; rows[i].from == from && k < rows[i].n; k++) {
            if (rows[i].to[k] == to) {
                return true;
            }
        }
    }
    return false;
}

static void statuses_follow_each_other_as_the_contract_says(void **state)
{
    (void)state;
    for (unsigned from = 0; from < UPDATE_N_STATUS; from++) {
        for (unsigned to = 0; to < UPDATE_N_STATUS; to++) {
            assert_int_equal(updater_allows(from, to), contract_allows(from, to));
        }
    }
}

/* Instances 0 to n - 1 from "old" to "new", one at a time, RUNNING is enough. */
static struct update *make(int n, uint64_t pulse_ms)
{
    struct update *update = update_new("id", "c/r/devel/n", T0);

    update->settings.sizes = mem_alloc(sizeof(int));
    update->settings.sizes[0] = 1;
    update->settings.n_sizes = 1;
    update->settings.pulse_ms = pulse_ms;
    update->settings.rollback = true;
    update->target = update_add_config(update, "new");
    for (int i = 0; i < n; i++) {
        update_add_instance(update, i, update_add_config(update, "old"), update->target);
    }
    update_seal(update);
    updater_begin(update, T0);
    return update;
}

/* Brings an update into a status without its usual ways. */
static void force(struct update *update, enum update_status status)
{
    update->back = status == UPDATE_ROLLING_BACK || status == UPDATE_ROLL_BACK_PAUSED ||
                   status == UPDATE_ROLL_BACK_AWAITING_PULSE || status == UPDATE_ROLLED_BACK;
    update->status = status;
}

static void commands_are_taken_exactly_where_the_table_has_them(void **state)
{
    static const struct {
        enum updater_command command;
        enum update_status from, to;
    } taken[] = {
        { UPDATER_PAUSE, UPDATE_ROLLING_FORWARD, UPDATE_ROLL_FORWARD_PAUSED },
        { UPDATER_PAUSE, UPDATE_ROLL_FORWARD_AWAITING_PULSE, UPDATE_ROLL_FORWARD_PAUSED },
        { UPDATER_PAUSE, UPDATE_ROLLING_BACK, UPDATE_ROLL_BACK_PAUSED },
        { UPDATER_PAUSE, UPDATE_ROLL_BACK_AWAITING_PULSE, UPDATE_ROLL_BACK_PAUSED },
        { UPDATER_RESUME, UPDATE_ROLL_FORWARD_PAUSED, UPDATE_ROLLING_FORWARD },
        { UPDATER_RESUME, UPDATE_ROLL_BACK_PAUSED, UPDATE_ROLLING_BACK },
        { UPDATER_ABORT, UPDATE_ROLLING_FORWARD, UPDATE_ABORTED },
        { UPDATER_ABORT, UPDATE_ROLLING_BACK, UPDATE_ABORTED },
        { UPDATER_ABORT, UPDATE_ROLL_FORWARD_PAUSED, UPDATE_ABORTED },
        { UPDATER_ABORT, UPDATE_ROLL_BACK_PAUSED, UPDATE_ABORTED },
        { UPDATER_ABORT, UPDATE_ROLL_FORWARD_AWAITING_PULSE, UPDATE_ABORTED },
        { UPDATER_ABORT, UPDATE_ROLL_BACK_AWAITING_PULSE, UPDATE_ABORTED },
        { UPDATER_ROLLBACK, UPDATE_ROLLING_FORWARD, UPDATE_ROLLING_BACK },
        { UPDATER_ROLLBACK, UPDATE_ROLL_FORWARD_PAUSED, UPDATE_ROLLING_BACK },
        { UPDATER_ROLLBACK, UPDATE_ROLL_FORWARD_AWAITING_PULSE, UPDATE_ROLLING_BACK },
    };
    size_t n_taken = 0;

    (void)state;
    for (unsigned command = UPDATER_PAUSE; command <= UPDATER_ROLLBACK; command++) {
        for (unsigned from = 0; from < UPDATE_N_STATUS; from++) {
            struct update *update = make(2, 0);
            struct err err = { 0 };
            bool found = false;

            force(update, from);
            int code = updater_command(update, command, T0 + 5, "why", "who", &err);
            for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++) {
                if (taken[i].command == command && taken[i].from == from) {
                    found = true;
                    assert_int_equal(code, 0);
                    assert_int_equal(update->status, taken[i].to);
                    assert_string_equal(update->events[update->n_events - 1].message, "why");
                    assert_string_equal(update->events[update->n_events - 1].user, "who");
                }
            }
            if (!found) {
                assert_int_equal(code, ERR_CONFLICT);
                assert_non_null(strstr(err.msg, "Cannot transition update from "));
                assert_non_null(strstr(err.msg, update_status_name(from)));
                assert_int_equal(update->status, from);
            }
            n_taken += found;
            update_free(update);
        }
    }
    assert_int_equal(n_taken, sizeof(taken) / sizeof(taken[0]));
}

/* ---- A world of tasks that do what they are told at once ---- */

struct place {
    struct updater_seen seen[4];
    struct updater_order orders[16];
    size_t n_orders;
    bool may;
    unsigned asked;
};

static void look(void *data, int instance, struct updater_seen *ret_seen)
{
    *ret_seen = ((struct place *)data)->seen[instance];
}

static bool may_end(void *data, int instance)
{
    struct place *place = data;

    (void)instance;
    place->asked++;
    return place->may;
}

static void order(void *data, const struct updater_order *order)
{
    struct place *place = data;

    place->orders[place->n_orders++] = *order;
    place->seen[order->instance].status =
        order->kind == UPDATER_ADD ? TASK_PENDING : TASK_RESTARTING;
    if (order->kind == UPDATER_ADD) {
        place->seen[order->instance].there = true;
        place->seen[order->instance].config = order->config;
    }
}

static uint64_t step(struct update *update, struct place *place, uint64_t now)
{
    struct updater_world world = { look, may_end, order, place };
    uint64_t wake;

    updater_step(update, &world, now, &wake);
    return wake;
}

static struct updater_seen running(int config, uint64_t since)
{
    return (struct updater_seen){ true, config, TASK_RUNNING, since };
}

static void watches_for_watch_secs_and_wakes_then(void **state)
{
    struct update *update = make(1, 0);
    struct place place = { .seen = { running(1, T0) } };

    (void)state;
    update->settings.watch_ms = 45000;
    assert_int_equal(step(update, &place, T0), 0);
    assert_int_equal(place.n_orders, 1);
    assert_int_equal(place.orders[0].kind, UPDATER_REPLACE);
    place.seen[0] = running(0, T0 + 10);
    assert_int_equal(step(update, &place, T0 + 10), T0 + 45010);
    assert_int_equal(step(update, &place, T0 + 45009), T0 + 45010);
    assert_int_equal(update->status, UPDATE_ROLLING_FORWARD);
    assert_int_equal(step(update, &place, T0 + 45010), 0);
    assert_int_equal(update->status, UPDATE_ROLLED_FORWARD);
    assert_int_equal(place.n_orders, 1);
    update_free(update);
}

static void an_sla_is_asked_again_after_1_minute_doubling_to_5(void **state)
{
    static const unsigned minutes[] = { 1, 2, 4, 5, 5 };
    struct update *update = make(1, 0);
    struct place place = { .seen = { running(1, T0) } };
    uint64_t now = T0;

    (void)state;
    update->settings.sla_aware = true;
    for (unsigned i = 0; i < 5; i++) {
        uint64_t wake = step(update, &place, now);

        assert_int_equal(place.asked, i + 1);
        assert_int_equal(wake, now + (uint64_t)minutes[i] * MINUTE);
        assert_int_equal(step(update, &place, wake - 1), wake); /* Not asked before. */
        assert_int_equal(place.asked, i + 1);
        now = wake;
    }
    place.may = true;
    (void)step(update, &place, now);
    assert_int_equal(place.n_orders, 1);
    update_free(update);
}

static void pulses_begin_keep_and_block(void **state)
{
    struct update *update = make(2, MINUTE);
    struct place place = { .seen = { running(1, T0), running(1, T0) } };
    const struct update_event *event;

    (void)state;
    assert_int_equal(update->status, UPDATE_ROLL_FORWARD_AWAITING_PULSE);
    assert_int_equal(step(update, &place, T0), 0);
    assert_int_equal(place.n_orders, 0);
    assert_true(updater_pulse(update, T0 + 100));
    assert_int_equal(update->status, UPDATE_ROLLING_FORWARD);
    assert_int_equal(step(update, &place, T0 + 100), T0 + 100 + MINUTE);
    assert_int_equal(place.n_orders, 1);
    (void)step(update, &place, T0 + 100 + MINUTE);
    assert_int_equal(update->status, UPDATE_ROLL_FORWARD_AWAITING_PULSE);
    event = &update->events[update->n_events - 1];
    assert_string_equal(event->message, "Pulses from external service have timed out.");
    /* Paused while blocked, and resumed: it still waits for a pulse. */
    struct err err;
    assert_int_equal(updater_command(update, UPDATER_PAUSE, T0 + 2 * MINUTE, NULL, NULL, &err), 0);
    assert_int_equal(updater_command(update, UPDATER_RESUME, T0 + 2 * MINUTE, NULL, NULL, &err), 0);
    assert_int_equal(update->status, UPDATE_ROLL_FORWARD_AWAITING_PULSE);
    /* A pulse while it is paused counts when it goes on. */
    assert_int_equal(updater_command(update, UPDATER_PAUSE, T0 + 2 * MINUTE, NULL, NULL, &err), 0);
    assert_true(updater_pulse(update, T0 + 2 * MINUTE));
    assert_int_equal(update->status, UPDATE_ROLL_FORWARD_PAUSED);
    assert_int_equal(updater_command(update, UPDATER_RESUME, T0 + 2 * MINUTE, NULL, NULL, &err), 0);
    assert_int_equal(update->status, UPDATE_ROLLING_FORWARD);
    /* Rolled back while nobody pulses: the way back is blocked, too. */
    assert_int_equal(updater_command(update, UPDATER_ROLLBACK, T0 + 4 * MINUTE, NULL, NULL, &err),
                     0);
    (void)step(update, &place, T0 + 4 * MINUTE);
    assert_int_equal(update->status, UPDATE_ROLL_BACK_AWAITING_PULSE);
    assert_int_equal(updater_command(update, UPDATER_ABORT, T0 + 4 * MINUTE, NULL, NULL, &err), 0);
    assert_false(updater_pulse(update, T0 + 4 * MINUTE));
    update_free(update);
}

/* It ran on a master whose clock was a day ahead, or the clock was set right meanwhile. */
static void a_clock_that_was_set_back_lengthens_no_watch(void **state)
{
    const uint64_t day = (uint64_t)24 * 60 * MINUTE;
    struct update *update = make(1, 0);
    struct place place = { .seen = { running(1, T0) } };

    (void)state;
    update->settings.watch_ms = 45000;
    (void)step(update, &place, T0);
    place.seen[0] = running(0, T0 + day);
    assert_int_equal(step(update, &place, T0 + 10), T0 + 45010);
    assert_int_equal(step(update, &place, T0 + 45009), T0 + 45010);
    /* Once more, and further. */
    assert_int_equal(step(update, &place, T0 - 100000), T0 - 55000);
    assert_int_equal(update->status, UPDATE_ROLLING_FORWARD);
    assert_int_equal(step(update, &place, T0 - 55000), 0);
    assert_int_equal(update->status, UPDATE_ROLLED_FORWARD);
    update_free(update);
}

static void a_pulse_from_far_ahead_is_none(void **state)
{
    struct update *update = make(1, MINUTE);
    struct place place = { .seen = { running(1, T0) } };

    (void)state;
    assert_true(updater_pulse(update, T0 + 2 * MINUTE));
    assert_int_equal(step(update, &place, T0 + MINUTE), T0 + 3 * MINUTE);
    assert_int_equal(update->status, UPDATE_ROLLING_FORWARD);
    (void)step(update, &place, T0 + MINUTE - 1);
    assert_int_equal(update->status, UPDATE_ROLL_FORWARD_AWAITING_PULSE);
    update_free(update);
}

static void a_clock_that_was_set_back_lengthens_no_question(void **state)
{
    struct update *update = make(1, 0);
    struct place place = { .seen = { running(1, T0) } };

    (void)state;
    update->settings.sla_aware = true;
    assert_int_equal(step(update, &place, T0), T0 + MINUTE);
    assert_int_equal(step(update, &place, T0 - 10 * MINUTE), T0 - 8 * MINUTE);
    assert_int_equal(place.asked, 2);
    update_free(update);
}

static void a_run_that_ended_is_counted_once_and_says_so(void **state)
{
    struct update *update = make(2, 0);
    struct place place = { .seen = { running(1, T0), running(1, T0) } };

    (void)state;
    update->settings.per_instance = 1;
    (void)step(update, &place, T0);
    updater_ended(update, 0, 1, "run-of-the-old-one", false, "x", T0); /* Not what is wanted. */
    updater_ended(update, 1, 0, "run-of-another-one", false, "x", T0); /* Its turn has not come. */
    updater_ended(update, 0, 0, "run-that-was-asked", true, "x", T0);  /* By a drain. */
    assert_int_equal(update_find_instance(update, 0)->failures, 0);
    assert_int_equal(updater_next_config(update, 0, 1), 0);
    assert_int_equal(updater_next_config(update, 1, 1), 1);
    updater_ended(update, 0, 0, "run-00000001", false, "exited unexpectedly", T0);
    updater_ended(update, 0, 0, "run-00000001", false, "exited unexpectedly", T0);
    assert_int_equal(update_find_instance(update, 0)->failures, 1);
    updater_ended(update, 0, 0, "run-00000002", false, "exited unexpectedly", T0);
    assert_int_equal(update_find_instance(update, 0)->phase, UPDATE_INSTANCE_FAILED);
    (void)step(update, &place, T0);
    assert_int_equal(update->status, UPDATE_ROLLING_BACK);
    assert_string_equal(update->events[update->n_events - 1].message,
                        "Latest failure: instance 0 exited unexpectedly");
    assert_int_equal(update_find_instance(update, 1)->phase, UPDATE_DONE); /* Never touched. */
    update_free(update);
}

static void groups_of_statuses_are_those_of_the_command_line(void **state)
{
    (void)state;
    assert_true(update_status_in_group(UPDATE_ROLL_BACK_AWAITING_PULSE, "blocked"));
    assert_true(update_status_in_group(UPDATE_ROLL_BACK_AWAITING_PULSE, "active"));
    assert_true(update_status_in_group(UPDATE_ROLLED_BACK, "failed"));
    assert_true(update_status_in_group(UPDATE_ROLLED_BACK, "inactive"));
    assert_true(update_status_in_group(UPDATE_ROLLED_FORWARD, "succeeded"));
    assert_false(update_status_in_group(UPDATE_ROLLED_FORWARD, "paused"));
    assert_false(update_status_in_group(UPDATE_ROLLED_FORWARD, "no such group"));
}

static void largest_update(char filler)
{
    struct update *update = update_new("00000000-0000-4000-8000-000000000000", "c/r/devel/n", T0);
    char text[5000];
    json_t *doc;
    char *written;

    memset(text, filler, sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    update->settings.sizes = mem_alloc(sizeof(int));
    update->settings.sizes[0] = 4000;
    update->settings.n_sizes = 1;
    update->settings.per_instance = 5;
    update->target = update_add_config(update, "0123456789abcdef");
    for (int i = 0; i < 4000; i++) {
        /* Every other one has another configuration: no long ranges. */
        const char *old = i % 2 == 0 ? "fedcba9876543210" : "1111111111111111";

        update_add_instance(update, i, update_add_config(update, old), update->target);
    }
    update_seal(update);
    for (int i = 0; i < 4000; i++) {
        struct update_instance *instance = update_find_instance(update, i);
        char run[16];

        instance->phase = i % 2 == 0 ? UPDATE_WORKING : UPDATE_DONE;
        (void)snprintf(run, sizeof(run), "%08d", i);
        for (int k = 0; k < 3; k++) {
            update_add_instance_event(update, i, UPDATE_INSTANCE_UPDATING, T0 + 86400000);
        }
        updater_ended(update, i, update->target, run, false, text, T0);
    }
    for (int i = 0; i < 300; i++) {
        update_set_status(update, UPDATE_ROLLING_FORWARD, T0, text, text);
    }
    doc = update_encode(update);
    written = json_text(doc);
    assert_true(strlen(written) < 256 * 1024);
    assert_int_equal(update->n_events, UPDATE_MAX_EVENTS);
    assert_int_equal(update->n_instance_events, UPDATE_MAX_INSTANCE_EVENTS);
    (void)printf("# %zu bytes\n", strlen(written));
    free(written);
    json_decref(doc);
    update_free(update);
}

static void the_largest_update_fits_one_write(void **state)
{
    (void)state;
    largest_update('x');
    largest_update('"');
    largest_update('\x01'); /* Six bytes as JSON. */
}

static void texts_are_cut_between_characters(void **state)
{
    struct update *update = make(1, 0);
    char text[1000];

    (void)state;
    for (size_t i = 0; i < sizeof(text) - 3; i += 3) {
        memcpy(&text[i], "\xe2\x82\xac", 4); /* A euro sign. */
    }
    update_set_status(update, UPDATE_ROLLING_FORWARD, T0, text, NULL);
    const char *cut = update->events[update->n_events - 1].message;
    assert_int_equal(strlen(cut) % 3, 0);
    assert_true(strlen(cut) <= UPDATE_MAX_TEXT && strlen(cut) > UPDATE_MAX_TEXT - 6);
    assert_string_equal(cut + strlen(cut) - 6, "\xe2\x82\xac...");
    update_free(update);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statuses_follow_each_other_as_the_contract_says),
        cmocka_unit_test(commands_are_taken_exactly_where_the_table_has_them),
        cmocka_unit_test(watches_for_watch_secs_and_wakes_then),
        cmocka_unit_test(an_sla_is_asked_again_after_1_minute_doubling_to_5),
        cmocka_unit_test(pulses_begin_keep_and_block),
        cmocka_unit_test(a_clock_that_was_set_back_lengthens_no_watch),
        cmocka_unit_test(a_pulse_from_far_ahead_is_none),
        cmocka_unit_test(a_clock_that_was_set_back_lengthens_no_question),
        cmocka_unit_test(a_run_that_ended_is_counted_once_and_says_so),
        cmocka_unit_test(groups_of_statuses_are_those_of_the_command_line),
        cmocka_unit_test(the_largest_update_fits_one_write),
        cmocka_unit_test(texts_are_cut_between_characters),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
