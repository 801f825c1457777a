/* SPDX-License-Identifier: Apache-2.0 */
/* test_reconcile: each row of the decision by itself, then whole lives of pods under
 * random crashes, compared with what a correct node would do. */
#include "test.h"

#include "agent/reconcile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Give the busy action a good end and ask again. */
static enum reconcile_action then(struct reconcile *pod, uint64_t now_ms)
{
    reconcile_done(pod, true, now_ms);
    return reconcile_next(pod, now_ms);
}

static void bring_up(struct reconcile *pod)
{
    *pod = (struct reconcile){ 0 };
    reconcile_intent(pod, RECONCILE_RUN, true);
    assert_int_equal(reconcile_next(pod, 0), RECONCILE_BEFORE_INSTALL);
    assert_int_equal(then(pod, 0), RECONCILE_INSTALL);
    assert_int_equal(then(pod, 0), RECONCILE_AFTER_INSTALL);
    assert_int_equal(then(pod, 0), RECONCILE_BEFORE_LAUNCH);
    assert_int_equal(then(pod, 0), RECONCILE_LAUNCH);
    reconcile_life(pod, RECONCILE_LIFE_RUNNING);
    assert_int_equal(then(pod, 0), RECONCILE_AFTER_LAUNCH);
    assert_int_equal(then(pod, 0), RECONCILE_NOTHING);
    assert_string_equal(reconcile_state(pod), "running");
}

static void install_goes_in_the_order_of_p2(void **state)
{
    struct reconcile pod;

    (void)state;
    bring_up(&pod);
}

static void end_goes_in_the_order_of_p2(void **state)
{
    struct reconcile pod;

    (void)state;
    bring_up(&pod);
    reconcile_intent(&pod, RECONCILE_STOP, true);
    assert_string_equal(reconcile_state(&pod), "stopping");
    assert_int_equal(reconcile_next(&pod, 0), RECONCILE_HALT);
    reconcile_life(&pod, RECONCILE_LIFE_KILLED);
    assert_int_equal(then(&pod, 0), RECONCILE_NOTHING);
    assert_string_equal(reconcile_state(&pod), "killed");
    reconcile_intent(&pod, RECONCILE_ABSENT, false);
    assert_int_equal(reconcile_next(&pod, 0), RECONCILE_BEFORE_UNINSTALL);
    assert_int_equal(then(&pod, 0), RECONCILE_UNINSTALL);
    assert_int_equal(then(&pod, 0), RECONCILE_FORGET);
}

static void unknown_intent_changes_nothing(void **state)
{
    struct reconcile pod;

    (void)state;
    bring_up(&pod);
    reconcile_intent(&pod, RECONCILE_UNKNOWN, true);
    assert_int_equal(reconcile_next(&pod, 0), RECONCILE_NOTHING);
    assert_int_equal(pod.wish, RECONCILE_RUN);

    reconcile_adopt(&pod, &(struct reconcile_found){ .has_home = true,
                                                     .launched = true,
                                                     .started = true,
                                                     .up = true,
                                                     .alive = true,
                                                     .life = RECONCILE_LIFE_RUNNING });
    assert_int_equal(reconcile_next(&pod, 0), RECONCILE_NOTHING);
    assert_string_equal(reconcile_state(&pod), "running");
}

static void failed_launch_waits_longer_each_time_and_begins_anew(void **state)
{
    static const uint64_t waits_ms[] = { 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000 };
    struct reconcile pod = { 0 };
    uint64_t now_ms = 0;

    (void)state;
    reconcile_intent(&pod, RECONCILE_RUN, true);
    for (size_t i = 0; i < sizeof(waits_ms) / sizeof(waits_ms[0]); i++) {
        assert_int_equal(reconcile_next(&pod, now_ms), RECONCILE_BEFORE_INSTALL);
        assert_int_equal(then(&pod, now_ms), RECONCILE_INSTALL);
        reconcile_done(&pod, false, now_ms);
        assert_int_equal(pod.retry_at_ms - now_ms, waits_ms[i]);
        assert_int_equal(reconcile_next(&pod, pod.retry_at_ms - 1), RECONCILE_NOTHING);
        assert_string_equal(reconcile_state(&pod), "installing");
        now_ms = pod.retry_at_ms;
    }
    reconcile_intent(&pod, RECONCILE_RUN, true); /* A corrected manifest is tried at once. */
    reconcile_done(&pod, reconcile_next(&pod, 0) == RECONCILE_BEFORE_INSTALL, 0);
    assert_int_equal(pod.stage, RECONCILE_PREPARED);
}

static void stop_before_launch_is_reported_without_one(void **state)
{
    struct reconcile pod = { 0 };

    (void)state;
    reconcile_intent(&pod, RECONCILE_STOP, true);
    assert_int_equal(reconcile_next(&pod, 0), RECONCILE_NOTHING);
    assert_string_equal(reconcile_state(&pod), "killed");
    reconcile_intent(&pod, RECONCILE_ABSENT, false);
    assert_int_equal(reconcile_next(&pod, 0), RECONCILE_FORGET);
}

static void stop_during_a_hook_takes_effect_after_it(void **state)
{
    struct reconcile pod = { 0 };

    (void)state;
    reconcile_intent(&pod, RECONCILE_RUN, true);
    assert_int_equal(reconcile_next(&pod, 0), RECONCILE_BEFORE_INSTALL);
    reconcile_intent(&pod, RECONCILE_STOP, true);
    assert_int_equal(reconcile_next(&pod, 0), RECONCILE_NOTHING);
    assert_int_equal(then(&pod, 0), RECONCILE_NOTHING);
    assert_string_equal(reconcile_state(&pod), "killed");
}

static void died_pod_is_reaped_and_lost(void **state)
{
    struct reconcile pod;

    (void)state;
    bring_up(&pod);
    reconcile_life(&pod, RECONCILE_LIFE_DIED);
    assert_int_equal(reconcile_next(&pod, 0), RECONCILE_REAP);
    assert_string_equal(reconcile_state(&pod), "running"); /* Its processes may still be there. */
    assert_int_equal(then(&pod, 0), RECONCILE_NOTHING);
    assert_string_equal(reconcile_state(&pod), "lost");
    assert_int_equal(reconcile_next(&pod, 1000000), RECONCILE_NOTHING);
}

static void died_while_halted_counts_as_killed(void **state)
{
    struct reconcile pod;

    (void)state;
    bring_up(&pod);
    reconcile_intent(&pod, RECONCILE_STOP, true);
    assert_int_equal(reconcile_next(&pod, 0), RECONCILE_HALT);
    reconcile_life(&pod, RECONCILE_LIFE_DIED);
    assert_int_equal(then(&pod, 0), RECONCILE_NOTHING);
    assert_string_equal(reconcile_state(&pod), "killed");
}

static void finished_pod_is_settled_and_kept(void **state)
{
    struct reconcile pod;

    (void)state;
    bring_up(&pod);
    reconcile_life(&pod, RECONCILE_LIFE_FINISHED);
    assert_string_equal(reconcile_state(&pod), "finished");
    assert_int_equal(reconcile_next(&pod, 0), RECONCILE_SETTLE);
    reconcile_life(&pod, RECONCILE_LIFE_DIED); /* Its exit is no second end. */
    assert_int_equal(then(&pod, 0), RECONCILE_NOTHING);
    assert_string_equal(reconcile_state(&pod), "finished");
}

static void leaving_agent_takes_its_pods_and_calls_them_lost(void **state)
{
    struct reconcile pod;
    struct reconcile idle = { 0 };

    (void)state;
    bring_up(&pod);
    reconcile_leave(&pod);
    assert_int_equal(reconcile_next(&pod, 0), RECONCILE_HALT);
    reconcile_life(&pod, RECONCILE_LIFE_KILLED);
    assert_string_equal(reconcile_state(&pod), "stopping");
    assert_int_equal(then(&pod, 0), RECONCILE_NOTHING);
    assert_string_equal(reconcile_state(&pod), "lost");

    reconcile_intent(&idle, RECONCILE_RUN, true);
    reconcile_leave(&idle);
    assert_int_equal(reconcile_next(&idle, 0), RECONCILE_NOTHING);

    /* The mark on disk outlives an agent that was killed in the middle. */
    reconcile_adopt(&pod, &(struct reconcile_found){ .has_home = true,
                                                     .launched = true,
                                                     .started = true,
                                                     .leaving = true,
                                                     .life = RECONCILE_LIFE_KILLED });
    assert_int_equal(reconcile_next(&pod, 0), RECONCILE_SETTLE);
    assert_int_equal(then(&pod, 0), RECONCILE_NOTHING);
    assert_string_equal(reconcile_state(&pod), "lost");
    reconcile_intent(&pod, RECONCILE_ABSENT, false);
    assert_int_equal(reconcile_next(&pod, 0), RECONCILE_BEFORE_UNINSTALL);
}

static void mark_without_a_start_is_launched_again(void **state)
{
    struct reconcile pod;

    (void)state;
    reconcile_adopt(&pod, &(struct reconcile_found){ .has_home = true, .launched = true });
    reconcile_intent(&pod, RECONCILE_RUN, true);
    assert_int_equal(reconcile_next(&pod, 0), RECONCILE_BEFORE_INSTALL);
}

static void intent_that_comes_back_is_installed_anew(void **state)
{
    struct reconcile pod;

    (void)state;
    bring_up(&pod);
    reconcile_intent(&pod, RECONCILE_ABSENT, false);
    assert_int_equal(reconcile_next(&pod, 0), RECONCILE_HALT);
    reconcile_life(&pod, RECONCILE_LIFE_KILLED);
    assert_int_equal(then(&pod, 0), RECONCILE_BEFORE_UNINSTALL);
    assert_int_equal(then(&pod, 0), RECONCILE_UNINSTALL);
    reconcile_intent(&pod, RECONCILE_RUN, true);
    assert_int_equal(then(&pod, 0), RECONCILE_BEFORE_INSTALL);
}

/* ---- Simulation: one pod on a node whose agent is killed at any moment. ---- */

struct world {
    unsigned seed;
    /* The node's disk and processes, which outlive the agent. */
    struct reconcile_found disk;
    unsigned launches;
    bool ended_once; /* a davit-pod of this pod has ended, or died */
    /* The master's view. */
    enum reconcile_wish intent;
    /* The agent's memory. */
    struct reconcile pod;
    bool forgotten;
    uint64_t now_ms;
};

static unsigned dice(struct world *world, unsigned n)
{
    return (unsigned)rand_r(&world->seed) % n;
}

/* What an action does to the world, up to the point where the agent may be killed:
 * half means that only the first part happened. */
static void carry_out(struct world *world, enum reconcile_action action, bool half)
{
    struct reconcile_found *disk = &world->disk;

    switch (action) {
    case RECONCILE_INSTALL:
        assert_false(disk->alive);
        *disk = (struct reconcile_found){ .has_home = true };
        break;
    case RECONCILE_LAUNCH:
        assert_true(disk->has_home);
        disk->launched = true;
        if (half) {
            return;
        }
        assert_false(disk->alive);   /* Never a second one beside it, */
        assert_false(disk->started); /* never one after it. */
        disk->alive = true;
        disk->started = true;
        disk->life = RECONCILE_LIFE_RUNNING;
        world->launches++;
        break;
    case RECONCILE_AFTER_LAUNCH:
        disk->up = true;
        break;
    case RECONCILE_HALT:
        disk->leaving = disk->leaving || world->pod.leaving;
        if (!half) {
            if (!reconcile_life_ended(disk->life) && disk->alive) {
                disk->life = RECONCILE_LIFE_KILLED;
            }
            disk->alive = false;
            world->ended_once = true;
        }
        break;
    case RECONCILE_REAP:
    case RECONCILE_SETTLE:
        disk->alive = false;
        break;
    case RECONCILE_UNINSTALL:
        assert_false(disk->alive);
        if (!half) {
            *disk = (struct reconcile_found){ 0 };
        }
        break;
    case RECONCILE_FORGET:
        assert_false(disk->has_home);
        world->forgotten = true;
        break;
    case RECONCILE_NOTHING:
    case RECONCILE_BEFORE_INSTALL:
    case RECONCILE_AFTER_INSTALL:
    case RECONCILE_BEFORE_LAUNCH:
    case RECONCILE_BEFORE_UNINSTALL:
        break;
    }
}

static void tell_life(struct world *world)
{
    const struct reconcile_found *disk = &world->disk;

    if (!reconcile_lives(&world->pod) || !disk->started) {
        return;
    }
    if (disk->alive || reconcile_life_ended(disk->life)) {
        reconcile_life(&world->pod, disk->life);
    } else {
        reconcile_life(&world->pod, RECONCILE_LIFE_DIED);
    }
}

static void restart_agent(struct world *world)
{
    if (world->disk.has_home) {
        reconcile_adopt(&world->pod, &world->disk);
    } else {
        world->pod = (struct reconcile){ 0 };
    }
    world->forgotten = false;
    if (dice(world, 4) > 0) { /* The store may be away for a while. */
        reconcile_intent(&world->pod, world->intent, true);
    }
}

/* The master follows the rules of docs/architecture.md, "How a task ends". */
static void master_turn(struct world *world)
{
    const char *state = world->forgotten ? NULL : reconcile_state(&world->pod);
    bool terminal = state && (strcmp(state, "finished") == 0 || strcmp(state, "failed") == 0 ||
                              strcmp(state, "killed") == 0 || strcmp(state, "lost") == 0);

    if (world->intent == RECONCILE_ABSENT) {
        return;
    }
    if (terminal) {
        world->intent = RECONCILE_ABSENT;
    } else if (world->intent == RECONCILE_RUN && dice(world, 40) == 0) {
        world->intent = RECONCILE_STOP;
    }
}

static void step(struct world *world, bool calm)
{
    enum reconcile_action action = RECONCILE_NOTHING;
    unsigned fate = calm ? 100 : dice(world, 100);

    world->now_ms += 500;
    if (world->disk.alive && !reconcile_life_ended(world->disk.life) && fate < 4) {
        world->disk.life = RECONCILE_LIFE_FINISHED;
        world->ended_once = true;
    } else if (world->disk.alive && fate < 8) {
        world->disk.alive = false; /* kill -9 of davit-pod */
        world->ended_once = true;
    }
    tell_life(world);
    reconcile_intent(&world->pod, world->intent, false);
    action = reconcile_next(&world->pod, world->now_ms);
    if (action == RECONCILE_NOTHING) {
        if (fate > 90 && !calm) {
            restart_agent(world);
        }
        return;
    }
    if (!calm && dice(world, 5) == 0) {
        carry_out(world, action, true);
        restart_agent(world); /* Killed in the middle. */
        return;
    }
    carry_out(world, action, false);
    if (!calm && dice(world, 10) == 0) {
        restart_agent(world); /* Killed before it knew that it was done. */
        return;
    }
    if (action != RECONCILE_FORGET) {
        tell_life(world);
        reconcile_done(&world->pod,
                       calm || dice(world, 10) > 0 || action == RECONCILE_LAUNCH ||
                           action == RECONCILE_HALT || action == RECONCILE_SETTLE ||
                           action == RECONCILE_REAP,
                       world->now_ms);
    }
}

static void crashes_anywhere_converge_without_a_second_launch(void **state)
{
    const char *first = getenv("DAVIT_SIM_SEED"), *many = getenv("DAVIT_SIM_TASKS");
    unsigned base = first != NULL ? (unsigned)strtoul(first, NULL, 10) : 1;
    unsigned tasks = many != NULL ? (unsigned)strtoul(many, NULL, 10) : 3000;

    (void)state;
    for (unsigned seed = base; seed < base + tasks; seed++) {
        struct world world = { .seed = seed, .intent = RECONCILE_RUN };

        for (int i = 0; i < 120; i++) {
            if (!world.forgotten) {
                step(&world, false);
            }
            master_turn(&world);
        }
        for (int i = 0; i < 400 && !world.forgotten; i++) {
            step(&world, true);
            master_turn(&world);
        }
        if (world.launches > 1) {
            print_error("seed %u: %u launches\n", seed, world.launches);
        }
        assert_true(world.launches <= 1);
        if (world.intent == RECONCILE_RUN) {
            assert_true(world.disk.alive);
            assert_string_equal(reconcile_state(&world.pod), "running");
        } else {
            assert_false(world.disk.alive);
            assert_false(world.disk.has_home);
            assert_true(world.forgotten);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(install_goes_in_the_order_of_p2),
        cmocka_unit_test(end_goes_in_the_order_of_p2),
        cmocka_unit_test(unknown_intent_changes_nothing),
        cmocka_unit_test(failed_launch_waits_longer_each_time_and_begins_anew),
        cmocka_unit_test(stop_before_launch_is_reported_without_one),
        cmocka_unit_test(stop_during_a_hook_takes_effect_after_it),
        cmocka_unit_test(died_pod_is_reaped_and_lost),
        cmocka_unit_test(died_while_halted_counts_as_killed),
        cmocka_unit_test(finished_pod_is_settled_and_kept),
        cmocka_unit_test(leaving_agent_takes_its_pods_and_calls_them_lost),
        cmocka_unit_test(mark_without_a_start_is_launched_again),
        cmocka_unit_test(intent_that_comes_back_is_installed_anew),
        cmocka_unit_test(crashes_anywhere_converge_without_a_second_launch),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
