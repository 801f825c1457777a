/* SPDX-License-Identifier: Apache-2.0 */
/* bench_sched: how fast the scheduler alone places.
 *
 * bench_sched [NODES [TASKS]]: prints one JSON object.  Nodes are of three sizes in 20 racks, one
 * in 50 is dedicated; groups have 1 to 500 tasks of 6 roles, each third one with constraints
 * (a limit per host or rack, or a kind of machine).
 */
#include "master/sched/sched.h"

#include "base/json.h"
#include "base/str.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static const int64_t MIB = 1024 * 1024;
static const int64_t GIB = 1024 * 1024 * 1024;

struct bench_group {
    struct sched_group *sched;
    size_t n_waiting;
};

struct bench {
    struct sched *sched;
    struct sched_node **nodes;
    struct sched_amounts *left;
    size_t n_nodes;
    unsigned seed;
    struct bench_group *groups; /* Room for as many as there are tasks. */
    size_t n_groups, n_waiting;
};

/* Processor time: one thread that waits for nothing, whatever else the machine does. */
static double now_s(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static unsigned pick(struct bench *bench, unsigned n)
{
    return (unsigned)rand_r(&bench->seed) % n;
}

static long resident_kib(void)
{
    FILE *file = fopen("/proc/self/statm", "re");
    long size = 0;
    long resident = 0;

    if (file != NULL) {
        if (fscanf(file, "%ld %ld", &size, &resident) != 2) { /* NOLINT(cert-err34-c) */
            resident = 0;
        }
        fclose(file);
    }
    return resident * 4;
}

static void add_nodes(struct bench *bench)
{
    static const int sizes[] = { 16, 32, 64 };

    bench->nodes = mem_alloc(bench->n_nodes * sizeof(bench->nodes[0]));
    bench->left = mem_alloc(bench->n_nodes * sizeof(bench->left[0]));
    for (size_t i = 0; i < bench->n_nodes; i++) {
        int size = sizes[i % 3];
        CLEANUP(mem_freep) char *host = str_printf("host%zu", i);
        CLEANUP(mem_freep) char *rack = str_printf("rack%zu", i % 20);
        CLEANUP(json_freep) json_t *attributes = json_object();

        json_put_str(attributes, "host", host);
        json_put_str(attributes, "rack", rack);
        json_put_str(attributes, "kind", i % 4 == 0 ? "ssd" : "disk");
        if (i % 50 == 0) {
            json_put_str(attributes, "dedicated", "role0/own");
        }
        bench->left[i] = sched_amounts(size, size * 4 * GIB, 2000 * GIB, 1000);
        bench->nodes[i] = sched_node_add(bench->sched, NULL);
        sched_node_attributes(bench->nodes[i], attributes);
        sched_node_set(bench->nodes[i], true, SCHED_ACTIVE, &bench->left[i]);
    }
}

static void add_group(struct bench *bench, size_t n_tasks)
{
    static const char *const rules[] = { "{\"host\":\"limit:2\"}", "{\"rack\":\"limit:30\"}",
                                         "{\"kind\":\"ssd\"}",
                                         "{\"rack\":\"!rack3,rack7\",\"host\":\"limit:3\"}",
                                         "{\"dedicated\":\"role0/own\"}" };
    static const char *const roles[] = { "role0", "role1", "role2", "role3", "role4", "role5" };
    struct bench_group *group = &bench->groups[bench->n_groups++];
    CLEANUP(json_freep) json_t *doc = NULL;
    struct constraint *constraints = NULL;
    struct sched_ask ask = {
        .demand = sched_amounts((1 + pick(bench, 8)) / 10.0, (64 + pick(bench, 1024)) * MIB, GIB,
                                pick(bench, 3)),
        .role = roles[pick(bench, 6)],
        .tier = pick(bench, 4) == 0 ? JOB_TIER_PREFERRED : JOB_TIER_PREEMPTIBLE,
        .priority = (int)pick(bench, 3),
    };

    if (pick(bench, 3) == 0) {
        doc = json_loads(rules[pick(bench, 5)], 0, NULL);
    }
    constraints_read(doc, &constraints, &ask.n_constraints);
    ask.constraints = constraints;
    group->n_waiting = n_tasks;
    group->sched = sched_group_add(sched_job_add(bench->sched), &ask, group);
    sched_group_wait(group->sched, n_tasks);
    constraints_free(constraints, ask.n_constraints);
    bench->n_waiting += n_tasks;
}

static void on_place(struct sched_group *group, struct sched_node *node, void *data)
{
    struct bench_group *mine = sched_group_data(group);

    (void)node;
    (void)data;
    mine->n_waiting--;
}

/* As place.c does. */
static void end_empty_groups(struct bench *bench)
{
    for (size_t i = 0; i < bench->n_groups; i++) {
        if (bench->groups[i].n_waiting == 0) {
            sched_group_remove(bench->groups[i].sched);
        }
    }
}

static void measure(size_t n_nodes, size_t n_tasks, unsigned largest, const char *name)
{
    CLEANUP(sched_freep) struct sched *sched = sched_new();
    struct bench bench = { .sched = sched, .n_nodes = n_nodes, .seed = 1 };
    long before = resident_kib();
    struct sched_result first;
    double t0;
    double t1;
    double t2;
    double idle;

    bench.groups = mem_alloc(n_tasks * sizeof(bench.groups[0]));
    add_nodes(&bench);
    while (bench.n_waiting < n_tasks) {
        size_t left = n_tasks - bench.n_waiting;
        size_t n = 1 + pick(&bench, largest);

        add_group(&bench, n < left ? n : left);
    }
    t0 = now_s();
    first = sched_round(sched, on_place, NULL);
    t1 = now_s();
    end_empty_groups(&bench);
    t2 = now_s();
    (void)sched_round(sched, on_place, NULL); /* Nothing has changed. */
    idle = now_s() - t2;
    printf("{\"mix\":\"%s\",\"nodes\":%zu,\"tasks\":%zu,\"groups\":%zu,\"placed\":%zu,"
           "\"round_s\":%.6f,\"idle_round_s\":%.6f,\"rss_kib\":%ld}\n",
           name, n_nodes, n_tasks, bench.n_groups, first.n_placed, t1 - t0, idle,
           resident_kib() - before);
    free(bench.groups);
    free(bench.nodes);
    free(bench.left);
}

int main(int argc, char **argv)
{
    size_t n_nodes = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000;
    size_t n_tasks = argc > 2 ? strtoul(argv[2], NULL, 10) : 50000;

    measure(n_nodes, n_tasks, 250, "jobs of 1 to 250");
    measure(n_nodes, n_tasks, 1, "single tasks");
    measure(n_nodes, n_tasks * 4, 250, "four times what fits");
    return 0;
}
