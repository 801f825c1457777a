/* SPDX-License-Identifier: Apache-2.0 */
#include "master/sched/preempt.h"

#include "base/json.h"
#include "base/str.h"

#include "test.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_NODES = 8, MAX_TASKS = 12 };

static const int64_t MIB = 1024 * 1024;

static struct sched_amounts cpus(double cpu)
{
    return sched_amounts(cpu, MIB, MIB, 0);
}

/* A cluster of nodes with tasks on them. */
struct cluster {
    struct sched *sched;
    struct preempt_node nodes[MAX_NODES];
    struct preempt_task tasks[MAX_NODES][MAX_TASKS];
    size_t n;
};

static struct preempt_node *node(struct cluster *c, double left, const char *rack)
{
    struct preempt_node *made = &c->nodes[c->n];
    CLEANUP(json_freep) json_t *attributes = json_object();
    struct sched_amounts amounts = sched_amounts(left, 100 * MIB, 100 * MIB, 10);

    json_put_str(attributes, "rack", rack);
    made->node = sched_node_add(c->sched, made);
    made->tasks = c->tasks[c->n++];
    sched_node_set(made->node, true, SCHED_ACTIVE, &amounts);
    sched_node_attributes(made->node, attributes);
    return made;
}

static void lives(struct preempt_node *on, char *name, double cpu, const char *role,
                  enum job_tier tier, int priority)
{
    on->tasks[on->n_tasks++] = (struct preempt_task){
        .data = name, .holds = cpus(cpu), .role = role, .tier = tier, .priority = priority
    };
}

static struct sched_group *group(struct cluster *c, double cpu, const char *role,
                                 enum job_tier tier, int priority, const char *rack)
{
    char *values[] = { (char *)rack };
    struct constraint rule = { .name = "rack", .values = values, .n_values = 1 };
    struct sched_ask ask = { .demand = cpus(cpu),
                             .role = role,
                             .tier = tier,
                             .priority = priority,
                             .constraints = &rule,
                             .n_constraints = rack != NULL };

    return sched_group_add(sched_job_add(c->sched), &ask, NULL);
}

/* "node: names of victims", the node by its number; NULL for none.  The caller's. */
static char *find(struct cluster *c, struct sched_group *of)
{
    struct preempt_slot slot;
    char *text;

    if (!preempt_find(of, c->nodes, c->n, &slot)) {
        return NULL;
    }
    text = str_printf("%zu:", (size_t)(slot.node - c->nodes));
    for (size_t i = 0; i < slot.n_victims; i++) {
        char *longer = str_printf("%s %s", text, (char *)slot.victims[i]->data);

        free(text);
        text = longer;
    }
    free(slot.victims);
    return text;
}

static void expect(struct cluster *c, struct sched_group *of, const char *wanted)
{
    CLEANUP(mem_freep) char *found = find(c, of);

    if (wanted == NULL) {
        assert_null(found);
    } else {
        assert_non_null(found);
        assert_string_equal(found, wanted);
    }
}

static void a_slot_counts_against_a_limit(void **state)
{
    (void)state;
    struct cluster c = { .sched = sched_new() };
    struct preempt_node *a = node(&c, 0, "r1");
    struct preempt_node *b = node(&c, 0, "r2");
    struct constraint limit = { .name = "rack", .is_limit = true, .limit = 1 };
    struct sched_ask ask = { .demand = cpus(2),
                             .role = "www",
                             .tier = JOB_TIER_PREFERRED,
                             .constraints = &limit,
                             .n_constraints = 1 };
    struct sched_group *limited = sched_group_add(sched_job_add(c.sched), &ask, NULL);

    lives(a, "one", 2, "db", JOB_TIER_PREEMPTIBLE, 0);
    lives(a, "two", 2, "db", JOB_TIER_PREEMPTIBLE, 0);
    lives(b, "half", 1, "db", JOB_TIER_PREEMPTIBLE, 0);
    lives(b, "other", 1, "db", JOB_TIER_PREEMPTIBLE, 0);
    preempt_prepare(c.nodes, c.n);
    expect(&c, limited, "0: one");
    sched_slot_hold(limited, a->node);
    expect(&c, limited, "1: half other");
    sched_slot_hold(limited, b->node);
    expect(&c, limited, NULL);
    sched_slots_drop(limited);
    expect(&c, limited, "0:"); /* Nothing was left behind; that of `one` comes. */
    sched_free(c.sched);
}

static void the_largest_go_until_it_fits_and_no_more(void **state)
{
    (void)state;
    struct cluster c = { .sched = sched_new() };
    struct preempt_node *a = node(&c, 0.5, "r1");

    lives(a, "one", 1, "db", JOB_TIER_PREEMPTIBLE, 0);
    lives(a, "three", 3, "db", JOB_TIER_PREEMPTIBLE, 9);
    lives(a, "two", 2, "db", JOB_TIER_REVOCABLE, 0);
    lives(a, "own", 9, "db", JOB_TIER_PREFERRED, 0);
    preempt_prepare(c.nodes, c.n);
    expect(&c, group(&c, 5, "www", JOB_TIER_PREFERRED, 0, NULL), "0: three two");
    /* What was found leaves; the rest is not enough for a second one. */
    expect(&c, group(&c, 7, "www", JOB_TIER_PREFERRED, 0, NULL), NULL);
    sched_free(c.sched);
}

static void victims_that_do_not_help_are_let_off(void **state)
{
    (void)state;
    struct cluster c = { .sched = sched_new() };
    struct preempt_node *a = node(&c, 0, "r1");

    lives(a, "wide", 1, "db", JOB_TIER_PREEMPTIBLE, 0);
    a->tasks[0].holds = sched_amounts(0, 9000LL * 1000 * MIB, MIB, 0); /* Much RAM, no CPU. */
    lives(a, "cpu", 2, "db", JOB_TIER_PREEMPTIBLE, 0);
    preempt_prepare(c.nodes, c.n);
    expect(&c, group(&c, 2, "www", JOB_TIER_PREFERRED, 0, NULL), "0: cpu");
    sched_free(c.sched);
}

static void who_may_preempt_whom(void **state)
{
    (void)state;
    static const struct {
        enum job_tier tier;
        int priority;
        const char *role;
        enum job_tier victim_tier;
        int victim_priority;
        bool may;
    } cases[] = {
        { JOB_TIER_PREFERRED, 0, "www", JOB_TIER_PREEMPTIBLE, 9, true },
        { JOB_TIER_PREFERRED, 0, "www", JOB_TIER_REVOCABLE, 9, true },
        { JOB_TIER_PREFERRED, 9, "www", JOB_TIER_PREFERRED, 0, false }, /* Another role. */
        { JOB_TIER_PREFERRED, 9, "db", JOB_TIER_PREFERRED, 0, true },
        { JOB_TIER_PREFERRED, 1, "db", JOB_TIER_PREFERRED, 1, false },
        { JOB_TIER_PREEMPTIBLE, 9, "db", JOB_TIER_PREFERRED, 0, false },
        { JOB_TIER_PREEMPTIBLE, 9, "db", JOB_TIER_PREEMPTIBLE, 0, true },
        { JOB_TIER_PREEMPTIBLE, 9, "db", JOB_TIER_REVOCABLE, 0, true },
        { JOB_TIER_PREEMPTIBLE, 9, "www", JOB_TIER_REVOCABLE, 0, false },
        { JOB_TIER_REVOCABLE, 0, "db", JOB_TIER_PREEMPTIBLE, 0, false },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct cluster c = { .sched = sched_new() };

        lives(node(&c, 0, "r1"), "it", 2, "db", cases[i].victim_tier, cases[i].victim_priority);
        preempt_prepare(c.nodes, c.n);
        expect(&c, group(&c, 1, cases[i].role, cases[i].tier, cases[i].priority, NULL),
               cases[i].may ? "0: it" : NULL);
        sched_free(c.sched);
    }
}

static void nobody_goes_for_what_comes_by_itself(void **state)
{
    (void)state;
    struct cluster c = { .sched = sched_new() };
    struct preempt_node *a = node(&c, 0, "r1");
    struct preempt_node *b = node(&c, 0, "r1");

    lives(a, "victim", 2, "db", JOB_TIER_PREEMPTIBLE, 0);
    lives(b, "leaves", 2, "db", JOB_TIER_PREFERRED, 0);
    b->tasks[0].leaving = true;
    preempt_prepare(c.nodes, c.n);
    expect(&c, group(&c, 2, "www", JOB_TIER_PREFERRED, 0, NULL), "1:");
    expect(&c, group(&c, 2, "db", JOB_TIER_PREEMPTIBLE, 9, NULL), NULL);
    sched_free(c.sched);
}

static void the_node_with_the_fewest_victims_that_is_allowed(void **state)
{
    (void)state;
    struct cluster c = { .sched = sched_new() };
    struct preempt_node *a = node(&c, 0, "r1");
    struct preempt_node *b = node(&c, 0, "r2");
    struct preempt_node *d = node(&c, 0, "r2");
    struct preempt_node *e = node(&c, 0, "r3");

    lives(a, "a1", 1, "db", JOB_TIER_PREEMPTIBLE, 0);
    lives(a, "a2", 1, "db", JOB_TIER_PREEMPTIBLE, 0);
    lives(b, "b", 4, "db", JOB_TIER_PREEMPTIBLE, 0);
    lives(d, "d", 3, "db", JOB_TIER_PREEMPTIBLE, 0);
    lives(e, "e", 2, "db", JOB_TIER_PREEMPTIBLE, 0);
    preempt_prepare(c.nodes, c.n);
    expect(&c, group(&c, 2, "www", JOB_TIER_PREFERRED, 0, "r1"), "0: a1 a2");
    expect(&c, group(&c, 2, "www", JOB_TIER_PREFERRED, 0, "r2"), "2: d");
    expect(&c, group(&c, 2, "www", JOB_TIER_PREFERRED, 0, "r3"), "3: e");
    expect(&c, group(&c, 1, "www", JOB_TIER_PREFERRED, 0, "r4"), NULL);
    sched_free(c.sched);
}

/* ---- Random clusters ---- */

static unsigned pick(unsigned *seed, unsigned n)
{
    return (unsigned)rand_r(seed) % n;
}

static double cpu_of(const struct preempt_task *task)
{
    return (double)task->holds.of[SCHED_CPU] / 1e6;
}

/* May it be a victim, said another way. */
static bool allowed(enum job_tier tier, const char *role, int priority,
                    const struct preempt_task *task)
{
    bool better = tier == JOB_TIER_PREFERRED && task->tier != JOB_TIER_PREFERRED;
    bool alike = (tier == JOB_TIER_PREFERRED) == (task->tier == JOB_TIER_PREFERRED);

    return better || (alike && strcmp(role, task->role) == 0 && priority > task->priority);
}

/* By every subset of the tasks of a node: the fewest victims with which the demand fits; -1. */
static int fewest(const struct preempt_node *on, double left, double want, enum job_tier tier,
                  const char *role, int priority)
{
    int least = -1;

    for (unsigned set = 0; set < 1U << on->n_tasks; set++) {
        double room = left;
        int n = 0;
        bool ok = true;

        for (size_t i = 0; i < on->n_tasks; i++) {
            if (on->tasks[i].leaving) {
                room += cpu_of(&on->tasks[i]);
            } else if (set & 1U << i) {
                room += cpu_of(&on->tasks[i]);
                ok &= allowed(tier, role, priority, &on->tasks[i]);
                n++;
            }
        }
        if (ok && room + 1e-9 >= want && (least < 0 || n < least)) {
            least = n;
        }
    }
    return least;
}

static void check_cluster(unsigned seed)
{
    static const char *const roles[] = { "www", "db" };
    struct cluster c = { .sched = sched_new() };
    double left[MAX_NODES];
    unsigned random = seed;
    size_t n_nodes = 1 + pick(&random, 4);
    enum job_tier tier;
    const char *role = roles[pick(&random, 2)];
    int priority = (int)pick(&random, 4);
    double want = (1 + pick(&random, 40)) / 10.0;
    int best = -1;
    struct preempt_slot slot;
    bool found;

    tier = (enum job_tier)pick(&random, 3);
    for (size_t i = 0; i < n_nodes; i++) {
        struct preempt_node *on;

        left[i] = pick(&random, 10) / 10.0;
        on = node(&c, left[i], "r");
        for (unsigned k = pick(&random, 7); k > 0; k--) {
            lives(on, "t", (1 + pick(&random, 20)) / 10.0, roles[pick(&random, 2)],
                  (enum job_tier)pick(&random, 3), (int)pick(&random, 4));
            on->tasks[on->n_tasks - 1].leaving = pick(&random, 12) == 0;
        }
    }
    preempt_prepare(c.nodes, c.n);
    for (size_t i = 0; i < n_nodes; i++) {
        int n = fewest(&c.nodes[i], left[i], want, tier, role, priority);

        best = n >= 0 && (best < 0 || n < best) ? n : best;
    }
    found = preempt_find(group(&c, want, role, tier, priority, NULL), c.nodes, c.n, &slot);
    if (found != (best > 0 || (best == 0 && tier == JOB_TIER_PREFERRED))) {
        fail_msg("seed %u: found %d, the fewest are %d", seed, found, best);
    }
    if (found) {
        double room = left[slot.node - c.nodes];
        double without = 1e9;

        for (size_t i = 0; i < slot.node->n_tasks; i++) {
            room += slot.node->tasks[i].leaving ? cpu_of(&slot.node->tasks[i]) : 0;
        }
        for (size_t i = 0; i < slot.n_victims; i++) {
            if (!allowed(tier, role, priority, slot.victims[i])) {
                fail_msg("seed %u: a victim that must not be", seed);
            }
            without = cpu_of(slot.victims[i]) < without ? cpu_of(slot.victims[i]) : without;
        }
        if (room + 1e-9 < want || (best > 0 && room - without + 1e-9 >= want)) {
            fail_msg("seed %u: room %g for %g, one needless", seed, room, want);
        }
        if ((int)slot.n_victims != best) { /* One kind only: the largest are the fewest. */
            fail_msg("seed %u: %zu victims, %d would do", seed, slot.n_victims, best);
        }
        free(slot.victims);
    }
    sched_free(c.sched);
}

/* DAVIT_SIM_SEED and DAVIT_SIM_TASKS: another seed, more clusters. */
static void random_clusters_hold_the_rules(void **state)
{
    (void)state;
    const char *first = getenv("DAVIT_SIM_SEED"), *many = getenv("DAVIT_SIM_TASKS");
    unsigned seed = first != NULL ? (unsigned)strtoul(first, NULL, 10) * 1000000U : 1;
    unsigned n = many != NULL ? (unsigned)strtoul(many, NULL, 10) : 3000;

    for (unsigned i = 0; i < n; i++) {
        check_cluster(seed + i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slot_counts_against_a_limit),
        cmocka_unit_test(the_largest_go_until_it_fits_and_no_more),
        cmocka_unit_test(victims_that_do_not_help_are_let_off),
        cmocka_unit_test(who_may_preempt_whom),
        cmocka_unit_test(nobody_goes_for_what_comes_by_itself),
        cmocka_unit_test(the_node_with_the_fewest_victims_that_is_allowed),
        cmocka_unit_test(random_clusters_hold_the_rules),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
