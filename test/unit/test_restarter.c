/* SPDX-License-Identifier: Apache-2.0 */
#include "master/updater/restarter.h"

#include "base/mem.h"
#include "base/str.h"

#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX = 64, WATCH_MS = 1000, MAX_ASKED = 10000 };

/* A job of instances whose runs do what a test or a seed says. */
struct instance {
    enum restarter_phase phase;
    int run; /* Its number is its name. */
    char name[16], before[16];
    const char *ended;
    bool fixed; /* Ending its run starts no other. */
    bool was_restarted;
    bool stopping;
    unsigned bad_starts; /* So many of the next runs do not last. */
    unsigned failures;   /* As told by the core. */
    bool given_up;
};

struct world {
    struct instance instances[MAX];
    int asked[MAX_ASKED]; /* In order. */
    size_t n_asked, n_failed;
    char why[256];
    uint64_t now_ms, wake_ms;
    struct restarter *restarter;
    unsigned seed;
};

static void look(void *data, int id, struct restarter_view *ret_view)
{
    struct instance *instance = &((struct world *)data)->instances[id];

    (void)snprintf(instance->name, sizeof(instance->name), "run%d", instance->run);
    (void)snprintf(instance->before, sizeof(instance->before), "run%d", instance->run - 1);
    *ret_view = (struct restarter_view){
        .phase = instance->phase,
        .after = instance->before,
        .run = instance->phase >= RESTARTER_COMING ? instance->name : NULL,
        .state = "PENDING: Insufficient: CPU",
        .ended = instance->ended,
        .can_restart = !instance->fixed && !instance->stopping,
        .was_restarted = instance->was_restarted,
    };
}

static void ask_restart(void *data, int id)
{
    struct world *world = data;

    assert_true(world->n_asked < MAX_ASKED);
    assert_false(world->instances[id].stopping);
    world->instances[id].stopping = true;
    world->asked[world->n_asked++] = id;
}

static void on_failed(void *data, int id, const char *why, bool given_up)
{
    struct world *world = data;

    world->n_failed++;
    world->instances[id].failures++;
    assert_false(world->instances[id].given_up);
    world->instances[id].given_up = given_up;
    (void)snprintf(world->why, sizeof(world->why), "%s", why);
}

static const struct restarter_settings plain = { .batch_size = 1, .watch_ms = WATCH_MS };

static void begin(struct world *world, const struct restarter_settings *settings, size_t n)
{
    int ids[MAX];

    memset(world, 0, sizeof(*world));
    world->now_ms = 1;
    for (size_t i = 0; i < n; i++) {
        ids[i] = (int)i;
        world->instances[i].phase = RESTARTER_RUNNING;
        world->instances[i].run = 1;
    }
    world->restarter = restarter_new(settings, ids, n);
}

static enum restarter_verdict step(struct world *world)
{
    const struct restarter_port port = { world, look, ask_restart, on_failed };

    return restarter_step(world->restarter, world->now_ms, &port, &world->wake_ms);
}

/* Its old run has ended, and the next one is RUNNING. */
static void comes_back(struct world *world, int id)
{
    world->instances[id].stopping = false;
    world->instances[id].run++;
    world->instances[id].phase = RESTARTER_RUNNING;
}

static void one_after_the_other_in_ascending_order(void **state)
{
    (void)state;
    static struct world world;

    begin(&world, &plain, 3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(step(&world), RESTARTER_GOES_ON);
        assert_int_equal(world.n_asked, i + 1);
        assert_int_equal(world.asked[i], i);
        assert_int_equal(step(&world), RESTARTER_GOES_ON); /* Asking more often changes nothing. */
        comes_back(&world, i);
        assert_int_equal(step(&world), RESTARTER_GOES_ON);
        assert_int_equal(world.wake_ms, world.now_ms + WATCH_MS);
        world.now_ms += WATCH_MS - 1;
        assert_int_equal(step(&world), RESTARTER_GOES_ON);
        assert_int_equal(world.n_asked, i + 1);
        world.now_ms++;
    }
    assert_int_equal(step(&world), RESTARTER_SUCCEEDED);
    assert_int_equal(restarter_count(world.restarter).well, 3);
    restarter_free(world.restarter);
}

static void a_batch_waits_for_all_of_the_one_before(void **state)
{
    (void)state;
    static struct world world;
    const struct restarter_settings settings = { .batch_size = 2, .watch_ms = WATCH_MS };

    begin(&world, &settings, 3);
    assert_int_equal(step(&world), RESTARTER_GOES_ON);
    assert_int_equal(world.n_asked, 2);
    comes_back(&world, 1);
    (void)step(&world);
    world.now_ms += WATCH_MS;
    (void)step(&world);
    assert_int_equal(world.n_asked, 2);
    comes_back(&world, 0);
    (void)step(&world);
    world.now_ms += WATCH_MS;
    (void)step(&world);
    assert_int_equal(world.n_asked, 3);
    assert_int_equal(world.asked[2], 2);
    restarter_free(world.restarter);
}

static void without_watching_running_is_enough(void **state)
{
    (void)state;
    static struct world world;
    const struct restarter_settings settings = { .batch_size = 1 };

    begin(&world, &settings, 1);
    assert_int_equal(step(&world), RESTARTER_GOES_ON);
    comes_back(&world, 0);
    assert_int_equal(step(&world), RESTARTER_SUCCEEDED);
    restarter_free(world.restarter);
}

static void one_failure_too_many_gives_up(void **state)
{
    (void)state;
    static struct world world;

    begin(&world, &plain, 3);
    (void)step(&world);
    comes_back(&world, 0);
    (void)step(&world);
    comes_back(&world, 0); /* The run that was watched is gone. */
    world.instances[0].ended = "FAILED: exit 3";
    assert_int_equal(step(&world), RESTARTER_GAVE_UP);
    assert_int_equal(world.n_asked, 1);
    assert_string_equal(world.why, "the run did not last: FAILED: exit 3");
    assert_true(world.instances[0].given_up);
    assert_int_equal(step(&world), RESTARTER_GAVE_UP); /* And stays so. */
    restarter_free(world.restarter);
}

static void a_failed_one_is_tried_again_after_the_others(void **state)
{
    (void)state;
    static struct world world;
    const struct restarter_settings settings = { .batch_size = 1, .max_per_instance_failures = 1 };
    static const int order[] = { 0, 1, 2, 0 };

    begin(&world, &settings, 3);
    (void)step(&world);
    world.instances[0].stopping = false;
    world.instances[0].run++;
    world.instances[0].phase = RESTARTER_COMING;
    (void)step(&world);
    world.instances[0].run++; /* It ended before it was RUNNING. */
    world.instances[0].phase = RESTARTER_RUNNING;
    (void)step(&world);
    comes_back(&world, 1);
    (void)step(&world);
    comes_back(&world, 2);
    (void)step(&world);
    comes_back(&world, 0);
    assert_int_equal(step(&world), RESTARTER_SUCCEEDED);
    assert_int_equal(world.n_asked, 4);
    assert_memory_equal(world.asked, order, sizeof(order));
    assert_int_equal(world.n_failed, 1);
    restarter_free(world.restarter);
}

static void given_up_ones_within_the_limit_do_not_end_it(void **state)
{
    (void)state;
    static struct world world;
    const struct restarter_settings settings = { .batch_size = 1, .max_total_failures = 1 };

    begin(&world, &settings, 2);
    (void)step(&world);
    comes_back(&world, 0);
    world.instances[0].phase = RESTARTER_NONE;
    world.instances[0].ended = "FAILED";
    assert_int_equal(step(&world), RESTARTER_GOES_ON);
    comes_back(&world, 1);
    assert_int_equal(step(&world), RESTARTER_SUCCEEDED);
    assert_int_equal(restarter_count(world.restarter).given_up, 1);
    assert_int_equal(restarter_count(world.restarter).well, 1);
    restarter_free(world.restarter);
}

static void a_run_that_came_and_went_unseen_is_a_failure(void **state)
{
    (void)state;
    static struct world world;

    begin(&world, &plain, 1);
    (void)step(&world);
    comes_back(&world, 0);
    comes_back(&world, 0);
    assert_int_equal(step(&world), RESTARTER_GAVE_UP);
    assert_string_equal(world.why, "the run did not last");
    restarter_free(world.restarter);
}

static void too_late_is_a_failure(void **state)
{
    (void)state;
    static struct world world;
    const struct restarter_settings settings = { .batch_size = 1, .start_ms = 60000 };

    begin(&world, &settings, 1);
    (void)step(&world);
    world.instances[0].stopping = false;
    world.instances[0].run++;
    world.instances[0].phase = RESTARTER_COMING;
    assert_int_equal(step(&world), RESTARTER_GOES_ON);
    assert_int_equal(world.wake_ms, 60001);
    world.now_ms = 60001;
    assert_int_equal(step(&world), RESTARTER_GAVE_UP);
    assert_string_equal(world.why, "not RUNNING after 60 s (PENDING: Insufficient: CPU)");
    restarter_free(world.restarter);
}

static void one_that_waits_for_room_is_watched_not_restarted(void **state)
{
    (void)state;
    static struct world world;

    begin(&world, &plain, 1);
    world.instances[0].phase = RESTARTER_COMING;
    world.instances[0].fixed = true;
    assert_int_equal(step(&world), RESTARTER_GOES_ON);
    assert_int_equal(world.n_asked, 0);
    world.instances[0].phase = RESTARTER_RUNNING;
    (void)step(&world);
    world.now_ms += WATCH_MS;
    assert_int_equal(step(&world), RESTARTER_SUCCEEDED);
    restarter_free(world.restarter);
}

static void resumed_it_goes_on_where_it_was(void **state)
{
    (void)state;
    static struct world world;
    const struct restarter_settings settings = { .batch_size = 1, .max_per_instance_failures = 1 };

    begin(&world, &settings, 2);
    world.instances[0].was_restarted = true;
    assert_int_equal(step(&world), RESTARTER_GOES_ON);
    assert_int_equal(world.n_asked, 1);
    assert_int_equal(world.asked[0], 1);
    restarter_free(world.restarter);
}

static void a_batch_job_that_ended_well_is_well(void **state)
{
    (void)state;
    static struct world world;

    begin(&world, &plain, 1);
    (void)step(&world);
    world.instances[0].phase = RESTARTER_OVER;
    assert_int_equal(step(&world), RESTARTER_SUCCEEDED);
    restarter_free(world.restarter);
}

/* ---- Simulation ---- */

static unsigned pick(struct world *world, unsigned n)
{
    world->seed = world->seed * 1103515245u + 12345u;
    return (world->seed >> 16) % n;
}

/* What the rules of the contract say of the whole, from how often each instance's runs fail.
 * Batches make no difference to the outcome but when it gives up, so batch_size is 1 here. */
static size_t model_given_up(const struct world *world, size_t n,
                             const struct restarter_settings *settings)
{
    size_t given_up = 0;

    for (size_t i = 0; i < n; i++) {
        given_up += world->instances[i].bad_starts > settings->max_per_instance_failures;
    }
    return given_up;
}

/* The world moves: what was asked to end is followed by another run, which fails if it must. */
static void move(struct world *world, size_t n)
{
    size_t under_way = 0;

    for (size_t i = 0; i < n; i++) {
        struct instance *instance = &world->instances[i];

        if (instance->stopping && pick(world, 2) == 0) {
            instance->stopping = false;
            instance->run++;
            instance->phase = RESTARTER_COMING;
        } else if (instance->phase == RESTARTER_COMING && pick(world, 2) == 0) {
            bool bad = instance->failures < instance->bad_starts;

            instance->phase = bad && pick(world, 2) == 0 ? RESTARTER_COMING : RESTARTER_RUNNING;
            instance->run += bad && instance->phase == RESTARTER_COMING;
        } else if (instance->run > 1 && instance->phase == RESTARTER_RUNNING &&
                   instance->failures < instance->bad_starts && !instance->stopping) {
            instance->run++; /* Well before WATCH_MS are over. */
        }
        under_way += instance->stopping;
    }
    assert_true(under_way <= n);
    world->now_ms += 1 + pick(world, 50);
    if (world->wake_ms != 0 && pick(world, 3) == 0) {
        world->now_ms += pick(world, 100);
    }
}

static void simulate(unsigned seed)
{
    static struct world world;
    struct restarter_settings settings = { .watch_ms = WATCH_MS, .start_ms = 1000000000 };
    enum restarter_verdict verdict;
    size_t n, asked_before;
    unsigned turns = 0;

    world.seed = seed;
    n = 1 + pick(&world, 12);
    settings.batch_size = 1 + pick(&world, 5);
    settings.max_per_instance_failures = pick(&world, 3);
    settings.max_total_failures = pick(&world, 4);
    begin(&world, &settings, n);
    world.seed = seed * 7 + 1;
    for (size_t i = 0; i < n; i++) {
        world.instances[i].bad_starts = pick(&world, 3) == 0 ? pick(&world, 4) : 0;
    }
    do {
        struct restarter_counts counts;

        asked_before = world.n_asked;
        verdict = step(&world);
        counts = restarter_count(world.restarter);
        assert_true(counts.under_way <= settings.batch_size);
        assert_true(world.n_asked - asked_before <= settings.batch_size);
        move(&world, n);
        if (++turns > 1000000) {
            fail_msg("seed %u does not end", seed);
        }
    } while (verdict == RESTARTER_GOES_ON);
    size_t given_up = model_given_up(&world, n, &settings);

    if (verdict == RESTARTER_SUCCEEDED) {
        assert_int_equal(restarter_count(world.restarter).given_up, given_up);
        assert_int_equal(restarter_count(world.restarter).well, n - given_up);
        assert_true(given_up <= settings.max_total_failures);
    } else {
        assert_true(given_up > settings.max_total_failures);
    }
    /* The first of each are asked in ascending order, as far as it came. */
    for (size_t i = 0, next = 0; i < world.n_asked && next < n; i++) {
        if ((size_t)world.asked[i] == next) {
            next++;
        } else {
            assert_true((size_t)world.asked[i] < next);
        }
    }
    restarter_free(world.restarter);
}

static void any_history_ends_as_the_rules_say(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 3000; seed++) {
        simulate(seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_after_the_other_in_ascending_order),
        cmocka_unit_test(a_batch_waits_for_all_of_the_one_before),
        cmocka_unit_test(without_watching_running_is_enough),
        cmocka_unit_test(one_failure_too_many_gives_up),
        cmocka_unit_test(a_failed_one_is_tried_again_after_the_others),
        cmocka_unit_test(given_up_ones_within_the_limit_do_not_end_it),
        cmocka_unit_test(a_run_that_came_and_went_unseen_is_a_failure),
        cmocka_unit_test(too_late_is_a_failure),
        cmocka_unit_test(one_that_waits_for_room_is_watched_not_restarted),
        cmocka_unit_test(resumed_it_goes_on_where_it_was),
        cmocka_unit_test(a_batch_job_that_ended_well_is_well),
        cmocka_unit_test(any_history_ends_as_the_rules_say),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
