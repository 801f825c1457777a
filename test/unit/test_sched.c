/* SPDX-License-Identifier: Apache-2.0 */
#include "master/sched/sched.h"

#include "base/json.h"

#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const int64_t MIB = 1024 * 1024;
static const int64_t GIB = 1024 * 1024 * 1024;

/* What a round did, in order: data of groups and nodes are their names. */
struct record {
    char text[4000];
    size_t n, n_looked;
};

static void on_place(struct sched_group *group, struct sched_node *node, void *data)
{
    struct record *log = data;
    size_t at = strlen(log->text);

    (void)snprintf(log->text + at, sizeof(log->text) - at, "%s%s:%s", at > 0 ? " " : "",
                   (const char *)sched_group_data(group), (const char *)sched_node_data(node));
    log->n++;
}

static struct sched_node *node(struct sched *sched, char *name, double cpu, int64_t ram_gib,
                               const char *rack)
{
    struct sched_amounts left = sched_amounts(cpu, ram_gib * GIB, 100 * GIB, 10);
    CLEANUP(json_freep) json_t *attributes = json_object();
    struct sched_node *made = sched_node_add(sched, name);

    sched_node_set(made, true, SCHED_ACTIVE, &left);
    json_put_str(attributes, "host", name);
    if (rack != NULL) {
        json_put_str(attributes, "rack", rack);
    }
    sched_node_attributes(made, attributes);
    return made;
}

/* rules: {"host": "limit:1"} or NULL. */
static struct sched_group *ask(struct sched_job *job, char *name, const char *role, double cpu,
                               size_t n, const char *rules)
{
    struct sched_ask ask = { .demand = sched_amounts(cpu, 128 * MIB, MIB, 0),
                             .role = role,
                             .tier = JOB_TIER_PREEMPTIBLE };
    CLEANUP(json_freep) json_t *doc = rules != NULL ? json_loads(rules, 0, NULL) : NULL;
    struct constraint *constraints;
    struct sched_group *group;

    constraints_read(doc, &constraints, &ask.n_constraints);
    ask.constraints = constraints;
    group = sched_group_add(job, &ask, name);
    constraints_free(constraints, ask.n_constraints);
    sched_group_wait(group, n);
    return group;
}

static struct sched_group *group(struct sched *sched, char *name, double cpu, size_t n,
                                 const char *rules)
{
    return ask(sched_job_add(sched), name, "www", cpu, n, rules);
}

static struct record run(struct sched *sched)
{
    struct record log = { .text = "" };

    log.n_looked = sched_round(sched, on_place, &log).n_looked;
    return log;
}

static void the_fullest_node_that_fits_is_taken(void **state)
{
    (void)state;
    CLEANUP(sched_freep) struct sched *sched = sched_new();
    struct record log;

    node(sched, "a", 8, 8, NULL);
    node(sched, "b", 2, 8, NULL);
    node(sched, "c", 1, 8, NULL);
    node(sched, "d", 2, 8, NULL);
    group(sched, "x", 2, 3, NULL);
    log = run(sched);
    assert_string_equal(log.text, "x:b x:d x:a");
}

static void tasks_of_a_job_spread_before_they_share(void **state)
{
    (void)state;
    CLEANUP(sched_freep) struct sched *sched = sched_new();
    struct sched_job *job = sched_job_add(sched);
    struct record log;

    node(sched, "a", 8, 8, NULL);
    node(sched, "b", 4, 8, NULL);
    sched_job_count(job, node(sched, "c", 2, 8, NULL));
    ask(job, "x", "www", 1, 4, NULL);
    log = run(sched);
    assert_string_equal(log.text, "x:b x:a x:c x:b");
}

static void tenths_of_a_cpu_add_up(void **state)
{
    (void)state;
    CLEANUP(sched_freep) struct sched *sched = sched_new();
    struct sched_group *x;

    node(sched, "a", 1, 8, NULL);
    x = group(sched, "x", 0.1, 11, NULL);
    assert_int_equal(run(sched).n, 10);
    assert_string_equal(sched_group_reason(x), "Insufficient: CPU");
}

static void a_reason_names_what_the_nearest_node_lacks(void **state)
{
    (void)state;
    static const struct {
        double cpu;
        int64_t ram, disk;
        size_t ports;
        const char *reason;
    } cases[] = {
        { 3, 1, 1, 0, "Insufficient: CPU" },
        { 1, 9LL << 30, 1, 0, "Insufficient: RAM" },
        { 1, 1, 200LL << 30, 0, "Insufficient: disk" },
        { 1, 1, 1, 11, "Insufficient: ports" },
        { 3, 9LL << 30, 1, 0, "Insufficient: CPU,Insufficient: RAM" },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CLEANUP(sched_freep) struct sched *sched = sched_new();
        struct sched_ask ask = { .demand = sched_amounts(cases[i].cpu, cases[i].ram, cases[i].disk,
                                                         cases[i].ports),
                                 .role = "www" };
        struct sched_group *x = sched_group_add(sched_job_add(sched), &ask, "x");

        node(sched, "a", 0.1, 1, NULL);
        node(sched, "b", 2, 8, NULL);
        sched_group_wait(x, 1);
        assert_int_equal(run(sched).n, 0);
        assert_ptr_equal(sched_next_explained(sched), x);
        assert_string_equal(sched_group_reason(x), cases[i].reason);
        assert_null(sched_next_explained(sched));
    }
}

static void the_worst_class_of_veto_counts(void **state)
{
    (void)state;
    CLEANUP(sched_freep) struct sched *sched = sched_new();
    struct sched_amounts room = sched_amounts(8, 8 * GIB, 100 * GIB, 10);
    CLEANUP(json_freep) json_t *dedicated = json_loads("{\"dedicated\":\"db/big\"}", 0, NULL);
    struct sched_group *x = group(sched, "x", 2, 1, "{\"rack\":\"r1\"}");
    struct sched_node *a, *b;

    (void)run(sched);
    assert_string_equal(sched_group_reason(x), SCHED_NO_NODE);
    a = node(sched, "a", 8, 8, "r1");
    sched_node_attributes(a, dedicated);
    (void)run(sched);
    assert_string_equal(sched_group_reason(x), "Host is dedicated");
    b = node(sched, "b", 8, 8, "r1");
    sched_node_set(b, true, SCHED_DRAINED, &room);
    (void)run(sched);
    assert_string_equal(sched_group_reason(x), "Host drained for maintenance");
    sched_node_set(b, true, SCHED_DRAINING, &room);
    (void)run(sched);
    assert_string_equal(sched_group_reason(x), "Host draining for maintenance");
    node(sched, "c", 8, 8, "r2");
    (void)run(sched);
    assert_string_equal(sched_group_reason(x), "Constraint not satisfied: rack");
    node(sched, "d", 1, 8, "r1");
    (void)run(sched);
    assert_string_equal(sched_group_reason(x), "Insufficient: CPU");
    sched_node_set(b, true, SCHED_ACTIVE, &room);
    assert_string_equal(run(sched).text, "x:b");
    assert_string_equal(sched_group_reason(x), "");
}

static void value_rules_are_any_of_and_none_of(void **state)
{
    (void)state;
    CLEANUP(sched_freep) struct sched *sched = sched_new();

    node(sched, "a", 8, 8, "r1");
    node(sched, "b", 8, 8, "r2");
    node(sched, "c", 8, 8, NULL);
    group(sched, "any", 1, 1, "{\"rack\":\"r2,r3\"}");
    assert_string_equal(run(sched).text, "any:b");
    group(sched, "none", 1, 4, "{\"rack\":\"!r1,r2\"}"); /* A node without a rack will do. */
    assert_string_equal(run(sched).text, "none:c none:c none:c none:c");
}

static void limits_count_tasks_of_the_job_per_value(void **state)
{
    (void)state;
    CLEANUP(sched_freep) struct sched *sched = sched_new();
    struct sched_job *job = sched_job_add(sched);
    struct sched_node *a = node(sched, "a", 8, 8, "r1");
    struct sched_node *c;
    struct sched_group *x;

    node(sched, "b", 8, 8, "r1");
    c = node(sched, "c", 8, 8, "r2");
    node(sched, "d", 8, 8, NULL);
    x = ask(job, "x", "www", 1, 5, "{\"rack\":\"limit:2\"}");
    assert_string_equal(run(sched).text, "x:a x:b x:c x:c");
    assert_string_equal(sched_group_reason(x), "Limit not satisfied: rack");
    assert_int_equal(run(sched).n_looked, 0);
    /* One of r1 ends: there is room though no node gained any. */
    sched_job_clear(job);
    sched_job_count(job, a);
    sched_job_count(job, c);
    sched_job_count(job, c);
    assert_string_equal(run(sched).text, "x:b");
}

static void dedicated_nodes_take_only_those_that_name_them(void **state)
{
    (void)state;
    CLEANUP(sched_freep) struct sched *sched = sched_new();
    CLEANUP(json_freep)
    json_t *two = json_loads("{\"dedicated\":\"www/gpu,db/big\"}", 0, NULL);

    sched_node_attributes(node(sched, "a", 8, 8, NULL), two);
    group(sched, "all", 1, 1, NULL);
    assert_string_equal(run(sched).text, "");
    node(sched, "b", 8, 8, NULL);
    group(sched, "db", 1, 1, "{\"dedicated\":\"db/big\"}");
    group(sched, "gpu", 1, 1, "{\"dedicated\":\"www/gpu\"}");
    group(sched, "no", 1, 1, "{\"dedicated\":\"www/big\"}");
    assert_string_equal(run(sched).text, "all:b db:a gpu:a");
}

static void groups_take_turns(void **state)
{
    (void)state;
    CLEANUP(sched_freep) struct sched *sched = sched_new();
    struct record log;

    node(sched, "a", 100, 100, NULL);
    group(sched, "x", 0.01, 11, NULL);
    group(sched, "y", 0.01, 1, NULL);
    group(sched, "z", 0.01, 7, NULL);
    log = run(sched);
    assert_string_equal(log.text, "x:a x:a x:a x:a x:a y:a z:a z:a z:a z:a z:a "
                                  "x:a x:a x:a x:a x:a z:a z:a x:a");
}

/* One place becomes free at a time: each gets its share, the newcomer no more than others. */
static void nobody_starves_on_a_full_cluster(void **state)
{
    (void)state;
    CLEANUP(sched_freep) struct sched *sched = sched_new();
    struct sched_amounts one = sched_amounts(1, 8 * GIB, 100 * GIB, 10);
    struct sched_node *a = node(sched, "a", 0, 8, NULL);
    struct record log = { .text = "" };

    group(sched, "x", 1, 100, NULL);
    group(sched, "y", 1, 100, NULL);
    for (int i = 0; i < 8; i++) {
        if (i == 3) {
            group(sched, "z", 1, 100, NULL);
        }
        sched_node_set(a, true, SCHED_ACTIVE, &one);
        assert_int_equal(sched_round(sched, on_place, &log).n_placed, 1);
    }
    assert_string_equal(log.text, "x:a y:a x:a y:a x:a z:a y:a x:a");
}

static void priority_goes_first_within_its_role(void **state)
{
    (void)state;
    CLEANUP(sched_freep) struct sched *sched = sched_new();
    struct sched_ask high = { .demand = sched_amounts(1, MIB, MIB, 0),
                              .role = "www",
                              .tier = JOB_TIER_PREEMPTIBLE,
                              .priority = 5 };
    struct sched_ask preferred = high;

    node(sched, "a", 18, 8, NULL);
    ask(sched_job_add(sched), "low", "www", 1, 3, NULL);
    ask(sched_job_add(sched), "other", "db", 1, 7, NULL);
    sched_group_wait(sched_group_add(sched_job_add(sched), &high, "high"), 6);
    preferred.tier = JOB_TIER_PREFERRED;
    preferred.priority = 0;
    sched_group_wait(sched_group_add(sched_job_add(sched), &preferred, "best"), 2);
    assert_string_equal(run(sched).text,
                        "best:a best:a other:a other:a other:a other:a other:a high:a high:a "
                        "high:a high:a high:a other:a other:a high:a low:a low:a low:a");
}

static void what_cannot_have_changed_is_not_looked_at(void **state)
{
    (void)state;
    CLEANUP(sched_freep) struct sched *sched = sched_new();
    struct sched_node *a = node(sched, "a", 1, 8, NULL);
    struct sched_amounts less = sched_amounts(0.5, 8 * GIB, 100 * GIB, 10);
    struct sched_amounts more = sched_amounts(1.5, 8 * GIB, 100 * GIB, 10);
    struct sched_group *x;

    group(sched, "big", 4, 100, NULL);
    x = group(sched, "x", 1.5, 1, NULL);
    assert_int_equal(run(sched).n_looked, 2);
    assert_int_equal(run(sched).n_looked, 0);
    sched_node_set(a, true, SCHED_ACTIVE, &less);
    assert_int_equal(run(sched).n_looked, 0);
    sched_node_set(a, true, SCHED_ACTIVE, &more);
    assert_string_equal(run(sched).text, "x:a");
    assert_string_equal(sched_group_reason(x), "");
}

static void a_slot_is_kept_for_its_group(void **state)
{
    (void)state;
    CLEANUP(sched_freep) struct sched *sched = sched_new();
    struct sched_node *a = node(sched, "a", 1, 8, NULL);
    struct sched_amounts room = sched_amounts(2, 8 * GIB, 100 * GIB, 10);
    struct sched_group *x = group(sched, "x", 2, 1, NULL);

    assert_int_equal(run(sched).n, 0);
    sched_slot_hold(x, a);
    assert_int_equal(sched_slots(x), 1);
    group(sched, "y", 1, 1, NULL);
    assert_string_equal(run(sched).text, "");
    sched_node_set(a, true, SCHED_ACTIVE, &room); /* What was in the way has ended. */
    assert_string_equal(run(sched).text, "x:a");
    assert_int_equal(sched_slots(x), 0);
    sched_node_set(a, true, SCHED_ACTIVE, &room);
    sched_slot_hold(x, a);
    sched_slots_drop(x);
    assert_string_equal(run(sched).text, "y:a");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_fullest_node_that_fits_is_taken),
        cmocka_unit_test(tasks_of_a_job_spread_before_they_share),
        cmocka_unit_test(tenths_of_a_cpu_add_up),
        cmocka_unit_test(a_reason_names_what_the_nearest_node_lacks),
        cmocka_unit_test(the_worst_class_of_veto_counts),
        cmocka_unit_test(value_rules_are_any_of_and_none_of),
        cmocka_unit_test(limits_count_tasks_of_the_job_per_value),
        cmocka_unit_test(dedicated_nodes_take_only_those_that_name_them),
        cmocka_unit_test(groups_take_turns),
        cmocka_unit_test(nobody_starves_on_a_full_cluster),
        cmocka_unit_test(priority_goes_first_within_its_role),
        cmocka_unit_test(what_cannot_have_changed_is_not_looked_at),
        cmocka_unit_test(a_slot_is_kept_for_its_group),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
