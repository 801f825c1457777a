/* SPDX-License-Identifier: Apache-2.0 */
#include "master/sched/sched.h"

#include "test.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_NODES = 40, MAX_GROUPS = 12, MAX_LOG = 20000 };

static const int64_t MIB = 1024 * 1024;
static const int64_t GIB = 1024 * 1024 * 1024;

/* What a round did, in order. */
struct record {
    size_t group[MAX_LOG], node[MAX_LOG];
    size_t n;
    const struct sched_group *groups;
    const struct sched_node *nodes;
};

static void on_place(struct sched_group *group, size_t nth, struct sched_node *node, void *data)
{
    struct record *log = data;

    assert_int_equal(nth, group->n_placed);
    assert_true(log->n < MAX_LOG);
    log->group[log->n] = (size_t)(group - log->groups);
    log->node[log->n++] = (size_t)(node - log->nodes);
}

static struct sched_node node_of(double cpu, int64_t ram_gib)
{
    return (struct sched_node){
        .cpu = cpu, .ram_bytes = ram_gib * GIB, .disk_bytes = 100 * GIB, .ports = 10
    };
}

static struct sched_group group_of(double cpu, int64_t ram_mib, size_t n)
{
    return (struct sched_group){ .demand = { cpu, ram_mib * MIB, MIB, 0 }, .n_tasks = n };
}

static void run(struct sched_node *nodes, size_t n_nodes, struct sched_group *groups,
                size_t n_groups, struct record *log)
{
    log->n = 0;
    log->groups = groups;
    log->nodes = nodes;
    sched_round(nodes, n_nodes, groups, n_groups, on_place, log);
}

static void the_fullest_node_that_fits_is_taken(void **state)
{
    (void)state;
    static struct record log;
    struct sched_node nodes[] = { node_of(8, 8), node_of(2, 8), node_of(1, 8), node_of(2, 8) };
    struct sched_group group = group_of(2, 128, 3);

    run(nodes, 4, &group, 1, &log);
    assert_int_equal(group.n_placed, 3);
    assert_int_equal(log.node[0], 1);
    assert_int_equal(log.node[1], 3);
    assert_int_equal(log.node[2], 0);
}

static void tenths_of_a_cpu_add_up(void **state)
{
    (void)state;
    static struct record log;
    struct sched_node node = node_of(1, 8);
    struct sched_group group = group_of(0.1, 1, 11);

    run(&node, 1, &group, 1, &log);
    assert_int_equal(group.n_placed, 10);
    assert_string_equal(group.reason, "Insufficient: CPU");
}

static void a_reason_names_what_the_nearest_node_lacks(void **state)
{
    (void)state;
    static struct record log;
    static const struct {
        struct sched_demand demand;
        const char *reason;
    } cases[] = {
        { { 3, 1, 1, 0 }, "Insufficient: CPU" },
        { { 1, 9LL << 30, 1, 0 }, "Insufficient: RAM" },
        { { 1, 1, 200LL << 30, 0 }, "Insufficient: disk" },
        { { 1, 1, 1, 11 }, "Insufficient: ports" },
        { { 3, 9LL << 30, 1, 0 }, "Insufficient: CPU,Insufficient: RAM" },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct sched_node nodes[] = { node_of(0.1, 1), node_of(2, 8) };
        struct sched_group group = { .demand = cases[i].demand, .n_tasks = 1 };

        run(nodes, 2, &group, 1, &log);
        assert_int_equal(group.n_placed, 0);
        assert_string_equal(group.reason, cases[i].reason);
    }
}

static void nowhere_and_drained_are_said(void **state)
{
    (void)state;
    static struct record log;
    struct sched_node nodes[] = { node_of(8, 8), node_of(1, 1) };
    struct sched_group group = group_of(2, 1, 1);

    run(nodes, 0, &group, 1, &log);
    assert_string_equal(group.reason, SCHED_NO_NODE);
    nodes[0].drained = true;
    run(nodes, 1, &group, 1, &log);
    assert_string_equal(group.reason, SCHED_DRAINED);
    /* A node that is merely too small is nearer than one in maintenance. */
    run(nodes, 2, &group, 1, &log);
    assert_string_equal(group.reason, "Insufficient: CPU");
}

static void groups_take_turns(void **state)
{
    (void)state;
    static struct record log;
    struct sched_node node = node_of(100, 100);
    struct sched_group groups[] = { group_of(0.01, 1, 1000), group_of(0.01, 1, 1),
                                    group_of(0.01, 1, 7) };

    run(&node, 1, groups, 3, &log);
    for (size_t i = 0; i < SCHED_TURN; i++) {
        assert_int_equal(log.group[i], 0);
        assert_int_equal(log.group[SCHED_TURN + 1 + i], 2);
    }
    assert_int_equal(log.group[SCHED_TURN], 1);
}

/* ---- Random clusters ---- */

static void fill(unsigned *seed, struct sched_node *nodes, size_t n_nodes,
                 struct sched_group *groups, size_t n_groups)
{
    for (size_t i = 0; i < n_nodes; i++) {
        nodes[i] = node_of((double)(rand_r(seed) % 160) / 10, rand_r(seed) % 32);
        nodes[i].disk_bytes = rand_r(seed) % 100 * GIB;
        nodes[i].ports = (unsigned)(rand_r(seed) % 20);
        nodes[i].drained = rand_r(seed) % 10 == 0;
    }
    for (size_t i = 0; i < n_groups; i++) {
        groups[i] = (struct sched_group){
            .demand = { (double)(rand_r(seed) % 40) / 10, rand_r(seed) % 4096 * MIB,
                        rand_r(seed) % 20 * GIB, (unsigned)(rand_r(seed) % 3) },
            .n_tasks = (size_t)(rand_r(seed) % 30),
        };
    }
}

static bool has_room(const struct sched_node *node, const struct sched_demand *demand)
{
    return !node->drained && node->cpu + 1e-6 >= demand->cpu &&
           node->ram_bytes >= demand->ram_bytes && node->disk_bytes >= demand->disk_bytes &&
           node->ports >= demand->ports;
}

static void check_cluster(unsigned seed)
{
    static struct record log, again;
    struct sched_node before[MAX_NODES], nodes[MAX_NODES], copy[MAX_NODES];
    struct sched_group groups[MAX_GROUPS], same[MAX_GROUPS];
    unsigned random = seed;
    size_t n_nodes = (size_t)(rand_r(&random) % MAX_NODES);
    size_t n_groups = (size_t)(rand_r(&random) % MAX_GROUPS);
    size_t placed = 0;

    fill(&random, before, n_nodes, groups, n_groups);
    memcpy(nodes, before, sizeof(nodes));
    memcpy(copy, before, sizeof(copy));
    memcpy(same, groups, sizeof(same));
    run(nodes, n_nodes, groups, n_groups, &log);
    run(copy, n_nodes, same, n_groups, &again);

    /* Deterministic. */
    assert_int_equal(log.n, again.n);
    assert_memory_equal(log.node, again.node, log.n * sizeof(log.node[0]));
    assert_memory_equal(log.group, again.group, log.n * sizeof(log.group[0]));
    /* Never over capacity, by a count of our own. */
    for (size_t i = 0; i < log.n; i++) {
        const struct sched_demand *demand = &groups[log.group[i]].demand;
        struct sched_node *node = &before[log.node[i]];

        if (!has_room(node, demand)) {
            fail_msg("seed %u: over capacity", seed);
        }
        node->cpu -= demand->cpu;
        node->ram_bytes -= demand->ram_bytes;
        node->disk_bytes -= demand->disk_bytes;
        node->ports -= demand->ports;
    }
    /* No starvation: what was left out fits nowhere in what is left, and says why. */
    for (size_t i = 0; i < n_groups; i++) {
        placed += groups[i].n_placed;
        if (groups[i].n_placed < groups[i].n_tasks) {
            assert_true(groups[i].reason[0] != '\0');
            for (size_t k = 0; k < n_nodes; k++) {
                if (has_room(&before[k], &groups[i].demand)) {
                    fail_msg("seed %u: group %zu starves", seed, i);
                }
            }
        } else {
            assert_string_equal(groups[i].reason, "");
        }
    }
    assert_int_equal(placed, log.n);
}

static void random_clusters_hold_the_rules(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 5000; seed++) {
        check_cluster(seed);
    }
}

static void count(struct sched_group *group, size_t nth, struct sched_node *node, void *data)
{
    (void)group;
    (void)nth;
    (void)node;
    (*(size_t *)data)++;
}

/* Not a timing: that such a round ends within a test's patience. */
static void a_thousand_nodes_take_fifty_thousand_tasks(void **state)
{
    (void)state;
    enum { NODES = 1000, GROUPS = 100 };
    struct sched_node *nodes = mem_alloc(NODES * sizeof(*nodes));
    struct sched_group *groups = mem_alloc(GROUPS * sizeof(*groups));
    size_t placed = 0;

    for (size_t i = 0; i < NODES; i++) {
        nodes[i] = node_of(16, 64);
    }
    for (size_t i = 0; i < GROUPS; i++) {
        groups[i] = group_of(0.2, (int64_t)(64 + i), 500);
    }
    sched_round(nodes, NODES, groups, GROUPS, count, &placed);
    assert_int_equal(placed, 50000);
    free(nodes);
    free(groups);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_fullest_node_that_fits_is_taken),
        cmocka_unit_test(tenths_of_a_cpu_add_up),
        cmocka_unit_test(a_reason_names_what_the_nearest_node_lacks),
        cmocka_unit_test(nowhere_and_drained_are_said),
        cmocka_unit_test(groups_take_turns),
        cmocka_unit_test(random_clusters_hold_the_rules),
        cmocka_unit_test(a_thousand_nodes_take_fifty_thousand_tasks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
