/* SPDX-License-Identifier: Apache-2.0 */
/* Seeded random clusters and histories of them, each round checked by a second implementation of
 * the rules that is as plain as can be: texts, and loops over everything. */
#include "master/sched/sched.h"

#include "base/json.h"
#include "base/str.h"

#include "test.h"

#include <float.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_NODES = 20, MAX_JOBS = 8, MAX_GROUPS = 24, MAX_TASKS = 3000, STEPS = 30, MAX_RULES = 3 };

static const int64_t GIB = 1024 * 1024 * 1024;
static const char *const NAMES[] = { "host", "rack", "kind", "dedicated" };

struct node {
    bool up;
    enum sched_mode mode;
    struct sched_amounts left; /* By our own count. */
    char *values[4];           /* Of NAMES; NULL: it has not got it. */
    struct sched_node *sched;
};

struct group {
    struct sched_ask ask;
    struct constraint rules[MAX_RULES];
    size_t job;
    size_t n_waiting;
    struct sched_group *sched;
};

struct task {
    size_t group, node;
};

struct sim {
    unsigned seed, random;
    struct sched *sched;
    struct node nodes[MAX_NODES];
    size_t n_nodes;
    struct sched_job *jobs[MAX_JOBS];
    struct group groups[MAX_GROUPS];
    size_t n_groups;
    struct task tasks[MAX_TASKS]; /* Those that are on a node. */
    size_t n_tasks;
    bool moved;      /* A task ended, or attributes became others: jobs are counted anew. */
    uint64_t digest; /* Of all that was placed. */
};

static unsigned pick(struct sim *sim, unsigned n)
{
    return (unsigned)rand_r(&sim->random) % n;
}

/* ---- The rules, once more ---- */

static bool has_value(const char *values, const char *value)
{
    size_t len = strlen(value);

    for (const char *at = values; at != NULL; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, value, len) == 0 && (at[len] == ',' || at[len] == '\0')) {
            return true;
        }
    }
    return false;
}

static const char *value_of(const struct node *node, const char *name)
{
    for (size_t i = 0; i < 4; i++) {
        if (strcmp(NAMES[i], name) == 0) {
            return node->values[i];
        }
    }
    return NULL;
}

static bool limit_holds(const struct sim *sim, const struct group *group,
                        const struct constraint *rule, const char *values)
{
    CLEANUP(mem_freep) char *copy = mem_strdup(values);

    for (char *value = strtok(copy, ","); value != NULL; value = strtok(NULL, ",")) {
        int n = 0;

        for (size_t i = 0; i < sim->n_tasks; i++) {
            const char *there = value_of(&sim->nodes[sim->tasks[i].node], rule->name);

            n += sim->groups[sim->tasks[i].group].job == group->job && there != NULL &&
                 has_value(there, value);
        }
        if (n >= rule->limit) {
            return false;
        }
    }
    return true;
}

static bool rule_holds(const struct sim *sim, const struct group *group,
                       const struct constraint *rule, const struct node *node)
{
    const char *values = value_of(node, rule->name);
    bool any = false;

    if (rule->is_limit) {
        return values != NULL && limit_holds(sim, group, rule, values);
    }
    for (size_t i = 0; values != NULL && i < rule->n_values; i++) {
        any |= has_value(values, rule->values[i]);
    }
    return any != rule->negated;
}

static bool names_dedicated(const struct group *group)
{
    for (size_t i = 0; i < group->ask.n_constraints; i++) {
        if (strcmp(group->rules[i].name, "dedicated") == 0) {
            return true;
        }
    }
    return false;
}

/* The score of the node and, in `why`, its reason; 0 when it takes one. */
static double judge(const struct sim *sim, const struct group *group, const struct node *node,
                    char *why)
{
    static const double range[] = { 16e6, 24.0 * (1 << 30), 450.0 * (1 << 30), 1000 };
    static const char *const kind[] = { "CPU", "RAM", "disk", "ports" };
    static const char *const mode[] = { "", "cordoned", "draining", "drained" };
    double score = 0;

    why[0] = '\0';
    if (node->values[3] != NULL && !names_dedicated(group)) {
        strcpy(why, "Host is dedicated");
        return 1e6;
    }
    if (node->mode != SCHED_ACTIVE) {
        sprintf(why, "Host %s for maintenance", mode[node->mode]);
        return 1e5;
    }
    for (int limits = 0; limits < 2; limits++) {
        for (size_t i = 0; i < group->ask.n_constraints; i++) {
            const struct constraint *rule = &group->rules[i];

            if (rule->is_limit == limits && !rule_holds(sim, group, rule, node)) {
                sprintf(why, "%s not satisfied: %s", limits ? "Limit" : "Constraint", rule->name);
                return 1e4;
            }
        }
    }
    for (int i = 0; i < SCHED_N_KINDS; i++) {
        double lacking = (double)(group->ask.demand.of[i] - node->left.of[i]);

        if (lacking > 0) {
            double part = 1000 * lacking / range[i];

            score += part < 1 ? 1 : part > 1000 ? 1000 : part;
            sprintf(why + strlen(why), "%sInsufficient: %s", why[0] != '\0' ? "," : "", kind[i]);
        }
    }
    return score;
}

static bool takes(const struct sim *sim, const struct group *group, const struct node *node)
{
    char why[400];

    return node->up && judge(sim, group, node, why) == 0;
}

static bool fits_somewhere(const struct sim *sim, const struct group *group)
{
    for (size_t i = 0; i < sim->n_nodes; i++) {
        if (takes(sim, group, &sim->nodes[i])) {
            return true;
        }
    }
    return false;
}

static size_t tasks_there(const struct sim *sim, size_t job, size_t node)
{
    size_t n = 0;

    for (size_t i = 0; i < sim->n_tasks; i++) {
        n += sim->tasks[i].node == node && sim->groups[sim->tasks[i].group].job == job;
    }
    return n;
}

/* ---- Each placement ---- */

static void check_place(const struct sim *sim, const struct group *group, size_t where)
{
    size_t here = tasks_there(sim, group->job, where);

    if (!takes(sim, group, &sim->nodes[where])) {
        fail_msg("seed %u: a node took what it must not", sim->seed);
    }
    for (size_t i = 0; i < sim->n_nodes; i++) {
        if (tasks_there(sim, group->job, i) < here && takes(sim, group, &sim->nodes[i])) {
            fail_msg("seed %u: a node with fewer tasks of the job was passed over", sim->seed);
        }
    }
    for (size_t i = 0; i < sim->n_groups; i++) {
        const struct group *other = &sim->groups[i];
        bool first =
            other->ask.tier < group->ask.tier ||
            (other->ask.tier == group->ask.tier && strcmp(other->ask.role, group->ask.role) == 0 &&
             other->ask.priority > group->ask.priority);

        if (first && other->n_waiting > 0 && fits_somewhere(sim, other)) {
            fail_msg("seed %u: group %zu should have gone first", sim->seed, i);
        }
    }
}

static void on_place(struct sched_group *sched_group, struct sched_node *sched_node, void *data)
{
    struct sim *sim = data;
    struct group *group = sched_group_data(sched_group);
    struct node *node = sched_node_data(sched_node);

    assert_true(group->n_waiting > 0);
    check_place(sim, group, (size_t)(node - sim->nodes));
    group->n_waiting--;
    for (int i = 0; i < SCHED_N_KINDS; i++) {
        node->left.of[i] -= group->ask.demand.of[i];
    }
    assert_true(sim->n_tasks < MAX_TASKS);
    sim->tasks[sim->n_tasks++] =
        (struct task){ (size_t)(group - sim->groups), (size_t)(node - sim->nodes) };
    sim->digest = sim->digest * 1099511628211U + (uint64_t)(group - sim->groups) * 64 +
                  (uint64_t)(node - sim->nodes);
}

/* ---- What happens ---- */

static void tell_jobs(struct sim *sim, struct sched_job **jobs, struct sched_node *const *nodes)
{
    for (size_t i = 0; i < MAX_JOBS; i++) {
        sched_job_clear(jobs[i]);
    }
    for (size_t i = 0; i < sim->n_tasks; i++) {
        sched_job_count(jobs[sim->groups[sim->tasks[i].group].job], nodes[sim->tasks[i].node]);
    }
}

static void recount(struct sim *sim)
{
    struct sched_node *nodes[MAX_NODES];

    for (size_t i = 0; i < sim->n_nodes; i++) {
        nodes[i] = sim->nodes[i].sched;
    }
    tell_jobs(sim, sim->jobs, nodes);
}

static json_t *attributes_of(const struct node *node)
{
    json_t *doc = json_object();

    for (size_t i = 0; i < 4; i++) {
        if (node->values[i] != NULL) {
            json_put_str(doc, NAMES[i], node->values[i]);
        }
    }
    return doc;
}

static void set_attributes(struct sim *sim, struct node *node)
{
    static const char *const dedicated[] = { "www/a", "db/b", "www/a,db/b" };
    size_t index = (size_t)(node - sim->nodes);
    CLEANUP(json_freep) json_t *doc = NULL;

    for (size_t i = 0; i < 4; i++) {
        free(node->values[i]);
        node->values[i] = NULL;
    }
    node->values[0] = str_printf("h%zu", index);
    if (pick(sim, 5) > 0) {
        node->values[1] = str_printf("r%u", pick(sim, 3));
    }
    if (pick(sim, 2) > 0) {
        node->values[2] = pick(sim, 4) == 0 ? mem_strdup("k0,k1") : str_printf("k%u", pick(sim, 2));
    }
    if (pick(sim, 6) == 0) {
        node->values[3] = mem_strdup(dedicated[pick(sim, 3)]);
    }
    doc = attributes_of(node);
    sched_node_attributes(node->sched, doc);
    sim->moved = true;
}

static void tell_node(struct node *node)
{
    sched_node_set(node->sched, node->up, node->mode, &node->left);
}

static void add_node(struct sim *sim)
{
    struct node *node = &sim->nodes[sim->n_nodes++];

    node->left = sched_amounts(pick(sim, 240) / 10.0, pick(sim, 48) * GIB, pick(sim, 100) * GIB,
                               pick(sim, 20));
    node->up = pick(sim, 10) > 0;
    node->sched = sched_node_add(sim->sched, node);
    set_attributes(sim, node);
    tell_node(node);
}

static void add_rule(struct sim *sim, struct group *group)
{
    struct constraint *rule = &group->rules[group->ask.n_constraints++];
    static const char *const dedicated[] = { "www/a", "db/b" };
    unsigned name = pick(sim, 4);

    *rule = (struct constraint){ .name = mem_strdup(NAMES[name]) };
    if (name != 3 && pick(sim, 2) == 0) {
        rule->is_limit = true;
        rule->limit = (int)pick(sim, 4);
        return;
    }
    rule->negated = name != 3 && pick(sim, 3) == 0;
    rule->n_values = name == 3 ? 1 : 1 + pick(sim, 2);
    rule->values = mem_alloc(rule->n_values * sizeof(rule->values[0]));
    for (size_t i = 0; i < rule->n_values; i++) {
        rule->values[i] = name == 3 ? mem_strdup(dedicated[pick(sim, 2)])
                                    : str_printf("%c%u", NAMES[name][0], pick(sim, 3));
    }
}

static void add_group(struct sim *sim)
{
    struct group *group = &sim->groups[sim->n_groups++];

    group->job = pick(sim, MAX_JOBS);
    group->ask = (struct sched_ask){
        .demand = sched_amounts(pick(sim, 30) / 10.0, pick(sim, 4096) * (GIB / 1024),
                                pick(sim, 20) * GIB, pick(sim, 3)),
        .constraints = group->rules,
        .role = group->job % 2 == 0 ? "www" : "db",
        .tier = (enum job_tier)pick(sim, 3),
        .priority = (int)pick(sim, 3),
    };
    for (unsigned i = pick(sim, MAX_RULES + 1); i > 0; i--) {
        add_rule(sim, group);
    }
    group->sched = sched_group_add(sim->jobs[group->job], &group->ask, group);
}

/* Frees what the task holds. */
static void end_task(struct sim *sim, size_t which)
{
    struct node *node = &sim->nodes[sim->tasks[which].node];
    const struct group *group = &sim->groups[sim->tasks[which].group];

    for (int i = 0; i < SCHED_N_KINDS; i++) {
        node->left.of[i] += group->ask.demand.of[i];
    }
    sim->tasks[which] = sim->tasks[--sim->n_tasks];
    sim->moved = true;
    tell_node(node);
}

static void happen(struct sim *sim)
{
    struct node *node = &sim->nodes[pick(sim, (unsigned)sim->n_nodes)];

    switch (pick(sim, 10)) {
    case 0:
        if (sim->n_nodes < MAX_NODES) {
            add_node(sim);
        }
        break;
    case 1:
        node->up = !node->up;
        break;
    case 2:
        node->mode = (enum sched_mode)pick(sim, 4);
        break;
    case 3:
        set_attributes(sim, node);
        break;
    case 4:
    case 5:
        if (sim->n_groups < MAX_GROUPS) {
            add_group(sim);
        }
        break;
    default:
        for (unsigned i = pick(sim, 8); i > 0 && sim->n_tasks > 0; i--) {
            end_task(sim, pick(sim, (unsigned)sim->n_tasks));
        }
        break;
    }
    tell_node(node);
    for (size_t i = 0; i < sim->n_groups; i++) {
        sim->groups[i].n_waiting += pick(sim, 6) == 0 ? pick(sim, 20) : 0;
        sched_group_wait(sim->groups[i].sched, sim->groups[i].n_waiting);
    }
    if (sim->moved) {
        recount(sim);
        sim->moved = false;
    }
}

/* ---- After each round ---- */

static void no_task_waits_for_nothing(const struct sim *sim)
{
    for (size_t i = 0; i < sim->n_groups; i++) {
        if (sim->groups[i].n_waiting > 0 && fits_somewhere(sim, &sim->groups[i])) {
            fail_msg("seed %u: group %zu waits though a node takes it", sim->seed, i);
        }
    }
}

static void not_one(struct sched_group *group, struct sched_node *node, void *data)
{
    (void)group;
    (void)node;
    *(bool *)data = true;
}

/* Of the text of a reason: a node's score lies in one of these. */
static char class_of(const char *reason)
{
    if (strchr(reason, ':') != NULL) {
        return strncmp(reason, "Insufficient", 12) == 0 ? 'I' : 'C';
    }
    return strcmp(reason, "Host is dedicated") == 0 ? 'D' : reason[0];
}

/* exact: with all its words, not its class alone. */
static void check_reason(const struct sim *sim, const struct group *group, const char *told,
                         bool exact)
{
    char nearest[400] = SCHED_NO_NODE;
    double lowest = DBL_MAX;

    for (size_t i = 0; i < sim->n_nodes; i++) {
        char why[400];
        double score = judge(sim, group, &sim->nodes[i], why);

        if (sim->nodes[i].up && score < lowest) {
            lowest = score;
            strcpy(nearest, why);
        }
    }
    if (exact ? strcmp(told, nearest) != 0 : class_of(told) != class_of(nearest)) {
        fail_msg("seed %u: reason '%s', it is '%s'", sim->seed, told, nearest);
    }
}

/* One that knows nothing of the past comes to the same, and tells the same reasons. */
static void a_new_scheduler_agrees(struct sim *sim)
{
    CLEANUP(sched_freep) struct sched *sched = sched_new();
    struct sched_node *nodes[MAX_NODES];
    struct sched_job *jobs[MAX_JOBS];
    struct sched_group *groups[MAX_GROUPS];
    bool placed = false;

    for (size_t i = 0; i < sim->n_nodes; i++) {
        CLEANUP(json_freep) json_t *doc = attributes_of(&sim->nodes[i]);

        nodes[i] = sched_node_add(sched, NULL);
        sched_node_attributes(nodes[i], doc);
        sched_node_set(nodes[i], sim->nodes[i].up, sim->nodes[i].mode, &sim->nodes[i].left);
    }
    for (size_t i = 0; i < MAX_JOBS; i++) {
        jobs[i] = sched_job_add(sched);
    }
    tell_jobs(sim, jobs, nodes);
    for (size_t i = 0; i < sim->n_groups; i++) {
        groups[i] = sched_group_add(jobs[sim->groups[i].job], &sim->groups[i].ask, NULL);
        sched_group_wait(groups[i], sim->groups[i].n_waiting);
    }
    (void)sched_round(sched, not_one, &placed);
    assert_false(placed);
    for (size_t i = 0; i < sim->n_groups; i++) {
        if (sim->groups[i].n_waiting > 0) {
            check_reason(sim, &sim->groups[i], sched_group_reason(groups[i]), true);
        }
    }
}

/* Of what kind the reason is, is right after every round; how far it is, is that of the last look.
 */
static void reasons_are_right(const struct sim *sim)
{
    for (size_t i = 0; i < sim->n_groups; i++) {
        const char *told = sched_group_reason(sim->groups[i].sched);

        if (sim->groups[i].n_waiting > 0) {
            check_reason(sim, &sim->groups[i], told, false);
        } else {
            assert_string_equal(told, "");
        }
    }
}

static uint64_t live(unsigned seed)
{
    static struct sim sim;
    uint64_t digest;

    memset(&sim, 0, sizeof(sim));
    sim.seed = sim.random = seed;
    sim.sched = sched_new();
    for (size_t i = 0; i < MAX_JOBS; i++) {
        sim.jobs[i] = sched_job_add(sim.sched);
    }
    for (unsigned i = 1 + pick(&sim, MAX_NODES); i > 0; i--) {
        add_node(&sim);
    }
    for (unsigned i = pick(&sim, 12); i > 0; i--) {
        add_group(&sim);
    }
    for (unsigned step = 0; step < STEPS; step++) {
        happen(&sim);
        (void)sched_round(sim.sched, on_place, &sim);
        no_task_waits_for_nothing(&sim);
        reasons_are_right(&sim);
    }
    a_new_scheduler_agrees(&sim);
    digest = sim.digest;
    sched_free(sim.sched);
    for (size_t i = 0; i < sim.n_nodes; i++) {
        for (size_t k = 0; k < 4; k++) {
            free(sim.nodes[i].values[k]);
        }
    }
    for (size_t i = 0; i < sim.n_groups; i++) {
        for (size_t k = 0; k < sim.groups[i].ask.n_constraints; k++) {
            free(sim.groups[i].rules[k].name);
            for (size_t v = 0; v < sim.groups[i].rules[k].n_values; v++) {
                free(sim.groups[i].rules[k].values[v]);
            }
            free(sim.groups[i].rules[k].values);
        }
    }
    return digest;
}

/* DAVIT_SIM_SEED and DAVIT_SIM_TASKS: another seed, more clusters. */
static void random_clusters_hold_the_rules(void **state)
{
    (void)state;
    const char *first = getenv("DAVIT_SIM_SEED"), *many = getenv("DAVIT_SIM_TASKS");
    unsigned seed = first != NULL ? (unsigned)strtoul(first, NULL, 10) * 1000000U : 1;
    unsigned n = many != NULL ? (unsigned)strtoul(many, NULL, 10) : 1000;

    for (unsigned i = 0; i < n; i++) {
        uint64_t digest = live(seed + i);

        if (i % 10 == 0) {
            assert_int_equal(digest, live(seed + i)); /* Deterministic. */
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_clusters_hold_the_rules),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
