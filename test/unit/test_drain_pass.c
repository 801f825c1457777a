/* SPDX-License-Identifier: Apache-2.0 */
#include "master/drain/drain_pass.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/str.h"
#include "master/state/state_doc.h"
#include "master/state/steer_priv.h"

#include "test.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

/* The master's own state and steer; nothing is written, because the loop takes no turn before the
 * end. */
struct world {
    uv_loop_t loop;
    struct state *state;
    struct steer *steer;
};

enum { NODES = 5, DEADLINE_MS = 3600 * 1000 };

static const char *const node_names[NODES] = { "a", "b", "c", "d", "e" };

static struct state_node *node(struct world *world, const char *name)
{
    return state_node_find(world->state, name);
}

static int setup(void **state)
{
    struct world *world = mem_alloc(sizeof(*world));
    struct state_options options = { .loop = &world->loop, .cluster = "c", .epoch = 1 };

    uv_loop_init(&world->loop);
    world->state = state_new(&options);
    world->steer = steer_new(world->state, 1000000);
    for (size_t i = 0; i < NODES; i++) {
        struct state_node *one = state_node_add(world->state, node_names[i]);

        state_node_capacity(one, 1000, INT64_C(1) << 40, INT64_C(1) << 40, 1000, 2000);
        one->alive = true;
    }
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;

    steer_close(world->steer, NULL, NULL);
    state_close(world->state, NULL, NULL);
    uv_run(&world->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&world->loop), 0);
    free(world);
    return 0;
}

/* Takes policy. */
static struct job *config_of(const char *name, int instances, const char *tier, const char *member,
                             json_t *policy)
{
    CLEANUP(json_freep)
    json_t *doc =
        json_pack("{s:s,s:s,s:s,s:s,s:i,s:b,s:s,s:{s:s,s:[{s:s,s:s}],s:{s:f,s:i,s:i}}}", "cluster",
                  "c", "role", "www", "environment", "devel", "name", name, "instances", instances,
                  "service", 1, "tier", tier, "task", "name", "t", "processes", "name", "p",
                  "cmdline", "x", "resources", "cpu", 0.1, "ram", 1 << 20, "disk", 1 << 20);
    struct job *job = NULL;
    struct err err = { 0 };

    if (policy != NULL) {
        json_put_take(doc, member, policy);
    }
    assert_int_equal(job_decode(doc, &job, &err), 0);
    return job;
}

/* Takes policy. */
static struct state_job *create(struct world *world, const char *name, int instances,
                                const char *tier, const char *member, json_t *policy)
{
    return steer_create_take(world->steer, config_of(name, instances, tier, member, policy), "me",
                             "op");
}

/* What the scheduler and an agent would do of one task. */
static void run(struct world *world, struct state_task *task, struct state_node *where)
{
    struct task_stimulus placed = { .kind = TASK_EV_PLACED };

    state_task_place(world->state, task, where);
    steer_apply(world->steer, task, &placed, NULL);
    steer_pod(world->steer, task, POD_RUNNING, NULL);
}

/* Every PENDING task of the job runs, on active nodes in turn. */
static void run_all(struct world *world, struct state_job *job)
{
    struct state_task *task;
    size_t next = 0;

    DL_FOREACH2(job->tasks, task, job_next)
    {
        if (task->t.status == TASK_PENDING || task->t.status == TASK_THROTTLED) {
            while (strcmp(node(world, node_names[next % NODES])->mode, STATE_NODE_ACTIVE) != 0) {
                next++;
            }
            if (task->t.status == TASK_THROTTLED) {
                struct task_stimulus released = { .kind = TASK_EV_RELEASED };

                steer_apply(world->steer, task, &released, NULL);
            }
            run(world, task, node(world, node_names[next++ % NODES]));
        }
    }
}

static void drain(struct world *world, const char *name)
{
    uint64_t now = clock_wall_ms();
    struct drain_plan plan = { .since_ms = now,
                               .deadline_ms = now + DEADLINE_MS,
                               .fallback = { .value = 90, .duration_secs = 0 } };

    drain_begin_take(world->state, world->steer, node(world, name),
                     drain_plan_make(&plan, "why", "me", "op"));
}

static struct drain_left look(struct world *world, const char *name, uint64_t later_ms)
{
    struct drain_left left;

    drain_node(world->state, world->steer, node(world, name), clock_wall_ms() + later_ms, NULL,
               NULL, &left);
    return left;
}

/* Agents end what they are asked to. */
static void end_asked(struct world *world, struct state_job *job)
{
    struct state_task *task;
    struct state_task *next;

    DL_FOREACH_SAFE2(job->tasks, task, next, job_next)
    {
        if (task->t.status == TASK_DRAINING) {
            steer_pod(world->steer, task, POD_KILLED, NULL);
        }
    }
}

static void small_jobs_move_at_once(void **state)
{
    struct world *world = *state;
    struct state_job *job = create(world, "x", 10, "preferred", NULL, NULL);
    struct drain_left left;

    run_all(world, job);
    drain(world, "a");
    left = look(world, "a", 0);
    assert_int_equal(left.leaving, 2);
    assert_int_equal(left.waiting, 0);
    assert_int_equal(job->counts[TASK_DRAINING], 2);
    assert_string_equal(node(world, "a")->mode, STATE_NODE_DRAINING);
    end_asked(world, job);
    assert_int_equal(job->counts[TASK_PENDING], 2);
    (void)look(world, "a", 0);
    assert_string_equal(node(world, "a")->mode, STATE_NODE_DRAINED);
    drain_end(world->state, world->steer, node(world, "a"), STATE_NODE_ACTIVE);
    assert_null(node(world, "a")->drain);
}

static void the_operators_default_holds_large_jobs_back(void **state)
{
    struct world *world = *state;
    struct state_job *job = create(world, "x", 20, "preferred", NULL, NULL);
    struct drain_left left;

    run_all(world, job);
    drain(world, "a");
    left = look(world, "a", 0);
    assert_int_equal(left.leaving, 2); /* 18 of 20 are 90 %. */
    assert_int_equal(left.waiting, 2);
    left = look(world, "a", 0);
    assert_int_equal(job->counts[TASK_DRAINING], 2);
    assert_int_equal(left.waiting, 2);
    end_asked(world, job);
    run_all(world, job);
    left = look(world, "a", 0);
    assert_int_equal(left.leaving, 2);
    assert_int_equal(left.waiting, 0);
}

/* An update is taking the tier away: the new runs go at once, from both nodes, and those of before
 * are held by what that leaves up. */
static void what_nothing_holds_goes_first_and_counts_as_gone(void **state)
{
    struct world *world = *state;
    struct state_job *job = create(world, "x", 20, "preferred", NULL, NULL);
    struct state_config *config =
        state_config_add_take(job, config_of("x", 24, "preemptible", NULL, NULL));

    run_all(world, job);
    for (int i = 20; i < 24; i++) {
        run(world, steer_add_instance(world->steer, job, config, i, "op"),
            node(world, i < 22 ? "a" : "b"));
    }
    drain(world, "a");
    drain(world, "b");
    drain_node_unheld(world->steer, node(world, "a"), clock_wall_ms());
    drain_node_unheld(world->steer, node(world, "b"), clock_wall_ms());
    assert_int_equal(job->counts[TASK_DRAINING], 4); /* 20 of 24 are not 90 %. */
    assert_int_equal(look(world, "a", 0).waiting, 4);
    assert_int_equal(look(world, "b", 0).waiting, 4);
    assert_int_equal(job->counts[TASK_RUNNING], 20);
}

static void an_instance_must_be_up_for_the_policys_duration(void **state)
{
    struct world *world = *state;
    struct state_job *job = create(world, "x", 20, "preferred", "sla_policy",
                                   json_pack("{s:i,s:i}", "count", 19, "duration_secs", 600));

    run_all(world, job);
    drain(world, "a");
    assert_int_equal(look(world, "a", 0).waiting, 4);
    assert_int_equal(look(world, "a", 599 * 1000).waiting, 4);
    assert_int_equal(look(world, "a", 601 * 1000).waiting, 3);
}

static void at_the_deadline_all_go(void **state)
{
    struct world *world = *state;
    struct state_job *job = create(world, "x", 20, "preferred", "sla_policy",
                                   json_pack("{s:i,s:i}", "count", 20, "duration_secs", 7200));

    run_all(world, job);
    drain(world, "a");
    assert_int_equal(look(world, "a", DEADLINE_MS - 1000).waiting, 4);
    assert_int_equal(look(world, "a", DEADLINE_MS + 1000).waiting, 0);
    assert_int_equal(job->counts[TASK_DRAINING], 4);
}

static void a_coordinators_task_goes_when_granted(void **state)
{
    struct world *world = *state;
    struct state_job *job = create(world, "x", 1, "preferred", "sla_policy",
                                   json_pack("{s:s}", "coordinator_url", "http://c"));

    run_all(world, job);
    drain_granted(world->state, world->steer, job->tasks->t.id); /* Its node stays: no. */
    assert_int_equal(job->tasks->t.status, TASK_RUNNING);
    drain(world, "a");
    assert_int_equal(look(world, "a", 0).asking, 1);
    drain_granted(world->state, world->steer, job->tasks->t.id);
    drain_granted(world->state, world->steer, "none");
    assert_int_equal(job->tasks->t.status, TASK_DRAINING);
}

static void a_plan_is_what_was_written(void **state)
{
    (void)state;
    struct drain_plan plan = { .since_ms = 5,
                               .deadline_ms = 7,
                               .fallback = { .value = 50, .duration_secs = 3 } };
    CLEANUP(json_freep) json_t *doc = drain_plan_make(&plan, NULL, "me", "op");
    struct drain_plan read;

    drain_plan_read(doc, &read);
    assert_int_equal(read.deadline_ms, 7);
    assert_int_equal((int)read.fallback.value, 50);
    assert_int_equal(read.fallback.duration_secs, 3);
    drain_plan_read(NULL, &read);
    assert_int_equal(read.deadline_ms, (uint64_t)DRAIN_TIMEOUT_S * 1000);
    assert_int_equal((int)read.fallback.value, DRAIN_PERCENTAGE);
    assert_int_equal(read.fallback.duration_secs, DRAIN_DURATION_S);
}

static uint64_t seed;

static unsigned pick(unsigned below)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(seed >> 33) % below;
}

/* Whichever nodes are drained in whatever order, no drain takes the job below its policy, and
 * each node is empty in the end. */
static void random_drains_keep_the_sla(void **state)
{
    struct world *world = *state;
    struct state_job *job = create(world, "x", 40, "preferred", "sla_policy",
                                   json_pack("{s:f,s:i}", "percentage", 85.0, "duration_secs", 0));
    unsigned drained = 0;

    run_all(world, job);
    for (unsigned step = 0; step < 4000; step++) {
        struct state_node *one = node(world, node_names[pick(NODES)]);

        if (strcmp(one->mode, STATE_NODE_DRAINED) == 0) {
            drained++;
            drain_end(world->state, world->steer, one, STATE_NODE_ACTIVE);
        } else if (strcmp(one->mode, STATE_NODE_DRAINING) == 0) {
            (void)look(world, one->name, 0);
        } else if (pick(4) == 0) {
            unsigned active = 0;

            for (size_t i = 0; i < NODES; i++) {
                active += strcmp(node(world, node_names[i])->mode, STATE_NODE_ACTIVE) == 0;
            }
            if (active > 1) {
                drain(world, one->name);
            }
        }
        if (pick(3) == 0) {
            end_asked(world, job);
        }
        if (pick(3) == 0) {
            run_all(world, job);
        }
        assert_int_equal(state_job_active(job), 40);
        assert_true(job->counts[TASK_RUNNING] >= 34);
    }
    assert_true(drained > 50);
}

/* ---- Nodes that are given up: steer_nodes.c ---- */

static void give_up(struct world *world, const char *name)
{
    struct state_node *one = node(world, name);

    one->alive = false;
    one->lost = true;
    steer_partition(world->steer, one);
}

static void a_partition_goes_by_the_jobs_policy(void **state)
{
    struct world *world = *state;
    struct state_job *now = create(world, "now", 1, "preemptible", NULL, NULL);
    struct state_job *never = create(world, "never", 1, "preemptible", "partition_policy",
                                     json_pack("{s:b}", "reschedule", 0));
    struct state_job *late = create(world, "late", 1, "preemptible", "partition_policy",
                                    json_pack("{s:i}", "delay_secs", 60));

    run_all(world, now);
    run_all(world, never);
    run_all(world, late);
    give_up(world, "a");
    assert_int_equal(now->counts[TASK_LOST], 1);
    assert_int_equal(now->counts[TASK_PENDING], 1);
    assert_string_equal(now->tasks->t.events[now->tasks->t.n_events - 1].message,
                        "Task partitioned for too long.");
    assert_int_equal(now->tasks->intent, STATE_INTENT_STOP); /* The stray will be ended. */
    assert_int_equal(never->counts[TASK_PARTITIONED], 1);
    assert_int_equal(late->counts[TASK_PARTITIONED], 1);
    assert_int_equal(steer_partition_due_ms(never->tasks), 0);
    assert_true(steer_partition_due_ms(late->tasks) > clock_wall_ms() + 50000);
    /* What was read of a node that is away is old; once it is back it counts. */
    steer_pod(world->steer, late->tasks, POD_RUNNING, NULL);
    assert_int_equal(late->tasks->t.status, TASK_PARTITIONED);
    node(world, "a")->alive = true;
    node(world, "a")->lost = false;
    assert_int_equal(steer_partition_due_ms(late->tasks), 0);
    steer_pod(world->steer, late->tasks, POD_RUNNING, NULL);
    assert_int_equal(late->tasks->t.status, TASK_RUNNING);
}

static void what_a_lost_node_is_asked_is_done(void **state)
{
    struct world *world = *state;
    struct state_job *job = create(world, "x", 3, "preemptible", "partition_policy",
                                   json_pack("{s:b}", "reschedule", 0));
    struct state_task *task[3];
    size_t n = 0;
    struct state_task *each;

    DL_FOREACH2(job->tasks, each, job_next)
    {
        task[n++] = each;
        run(world, each, node(world, "a"));
    }
    give_up(world, "a");
    assert_int_equal(job->counts[TASK_PARTITIONED], 3);
    steer_kill(world->steer, task[0], "me", NULL, "op");
    steer_restart(world->steer, task[1], "me", "now", "op");
    steer_drain(world->steer, task[2]);
    assert_int_equal(job->counts[TASK_LOST], 3);
    assert_int_equal(job->counts[TASK_PENDING], 2); /* The killed one has no next run. */
}

/* ---- Documents: state_doc.c ---- */

static void documents_are_put_found_and_deleted(void **state)
{
    struct world *world = *state;
    struct state_doc *doc;

    assert_null(state_doc_find(world->state, STATE_DOC_QUOTA, "www"));
    doc = state_doc_put_take(world->state, STATE_DOC_QUOTA, "www", json_pack("{s:i}", "v", 1));
    assert_ptr_equal(state_doc_find(world->state, STATE_DOC_QUOTA, "www"), doc);
    assert_null(state_doc_find(world->state, STATE_DOC_CRON, "www"));
    assert_ptr_equal(
        state_doc_put_take(world->state, STATE_DOC_QUOTA, "www", json_pack("{s:i}", "v", 2)), doc);
    assert_int_equal(json_int_or(doc->json, "v", 0), 2);
    assert_ptr_equal(state_docs(world->state, STATE_DOC_QUOTA), doc);
    state_doc_delete(world->state, STATE_DOC_QUOTA, "www");
    state_doc_delete(world->state, STATE_DOC_QUOTA, "www");
    assert_null(state_docs(world->state, STATE_DOC_QUOTA));
    (void)state_doc_put_take(world->state, STATE_DOC_QUOTA, "www", json_pack("{s:i}", "v", 3));
    assert_int_equal(
        json_int_or(state_doc_find(world->state, STATE_DOC_QUOTA, "www")->json, "v", 0), 3);
}

static void an_updating_job_is_locked(void **state)
{
    struct world *world = *state;
    struct state_job *job = create(world, "x", 1, "preemptible", NULL, NULL);
    struct err err = { 0 };

    assert_int_equal(steer_check_unlocked(NULL, &err), 0);
    assert_int_equal(steer_check_unlocked(job, &err), 0);
    job->update_id = mem_strdup("u");
    assert_int_equal(steer_check_unlocked(job, &err), ERR_CONFLICT);
    assert_string_equal(err.msg, "Job is currently updating");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(small_jobs_move_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(the_operators_default_holds_large_jobs_back, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_nothing_holds_goes_first_and_counts_as_gone, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(an_instance_must_be_up_for_the_policys_duration, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(at_the_deadline_all_go, setup, teardown),
        cmocka_unit_test_setup_teardown(a_coordinators_task_goes_when_granted, setup, teardown),
        cmocka_unit_test(a_plan_is_what_was_written),
        cmocka_unit_test_setup_teardown(random_drains_keep_the_sla, setup, teardown),
        cmocka_unit_test_setup_teardown(a_partition_goes_by_the_jobs_policy, setup, teardown),
        cmocka_unit_test_setup_teardown(what_a_lost_node_is_asked_is_done, setup, teardown),
        cmocka_unit_test_setup_teardown(documents_are_put_found_and_deleted, setup, teardown),
        cmocka_unit_test_setup_teardown(an_updating_job_is_locked, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
