/* SPDX-License-Identifier: Apache-2.0 */
/* cluster_sim: seeded histories of clusters against the master's real code.  docs/simulator.md.
 *
 *   cluster_sim                   DAVIT_SIM_TASKS histories (default 200) from DAVIT_SIM_SEED (1)
 *   cluster_sim SEED [COUNT]      these
 *   cluster_sim --trace SEED      one, told line by line
 *
 * Every tenth history is run twice: both must have the same digest.
 */
#include "simloop.h"
#include "simworld.h"

#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LAST_LINES = 80 };

static uint64_t current;
static const char *program;
static bool again; /* This run is the repetition that tells the story. */

static void on_failed(const char *message)
{
    if (sim_tracing()) {
        sim_trace_dump();
    }
    (void)printf("seed %" PRIu64 ", step %" PRIu64 ", %" PRIu64 ".%03" PRIu64 " s: %s\n", current,
                 sim_steps(), sim_now() / 1000, sim_now() % 1000, message);
    if (!sim_tracing()) {
        char seed[32];

        (void)snprintf(seed, sizeof(seed), "%" PRIu64, current);
        (void)printf("again, with the last events:\n");
        (void)fflush(stdout);
        (void)execl(program, program, "--last", seed, (char *)NULL);
    }
    (void)printf("run it again: %s --trace %" PRIu64 "\n", program, current);
    (void)fflush(stdout);
    _exit(1);
}

static void on_signal(int number)
{
    static char text[] = "killed by signal .. (an assertion or a crash of the program)";

    (void)signal(number, SIG_DFL);
    text[17] = (char)('0' + number / 10);
    text[18] = (char)('0' + number % 10);
    on_failed(text);
}

static uint64_t env_number(const char *name, uint64_t fallback)
{
    const char *value = getenv(name);

    return value != NULL ? strtoull(value, NULL, 10) : fallback;
}

static double seconds(void)
{
    struct timespec ts = { 0 };

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void report(const struct simworld_tally *t, double took)
{
    (void)printf("%" PRIu64 " histories, %" PRIu64 " actions, %.0f hours of cluster time, %" PRIu64
                 " steps\n",
                 t->histories, t->actions, (double)t->virtual_ms / 3600e3, t->steps);
    (void)printf("%" PRIu64 " terms of leadership (%" PRIu64 " masters killed), %" PRIu64
                 " writes by leaders, %" PRIu64 " reloads compared\n",
                 t->terms, t->kills, t->writes, t->reloads);
    (void)printf("%" PRIu64 " operations (%" PRIu64 " disappeared), %" PRIu64
                 " tasks placed, %" PRIu64 " lost, %" PRIu64 " partitioned, %" PRIu64
                 " preempted\n",
                 t->operations, t->disappeared, t->tasks, t->lost, t->partitioned, t->preempted);
    (void)printf("updates: %" PRIu64 " rolled forward, %" PRIu64 " rolled back, %" PRIu64
                 " aborted, %" PRIu64 " failed; tasks: %" PRIu64 " drained, %" PRIu64
                 " restarted; %" PRIu64 " launches by cron\n",
                 t->forward, t->back, t->aborted, t->failed, t->draining, t->restarting,
                 t->launches);
    (void)printf("%.1f s, %.0f histories/s, %.0f steps/s\n", took, (double)t->histories / took,
                 (double)t->steps / took);
    (void)printf("%" PRIu64 " runs of histories with %" PRIu64 " master changes, no fault found\n",
                 t->histories, t->terms);
}

static void run_all(uint64_t first, uint64_t count)
{
    struct simworld_tally tally = { 0 };
    double began = seconds();

    for (uint64_t i = 0; i < count; i++) {
        uint64_t digest;

        current = first + i;
        digest = simworld_run(current, &tally);
        if (i % 10 == 0 && simworld_run(current, &tally) != digest) {
            (void)printf("seed %" PRIu64 " has two different histories\n", current);
            exit(1);
        }
    }
    report(&tally, seconds() - began);
}

int main(int argc, char **argv)
{
    struct simworld_tally tally = { 0 };
    uint64_t first = env_number("DAVIT_SIM_SEED", 1) * 1000 * 1000;
    uint64_t count = env_number("DAVIT_SIM_TASKS", 200);

    program = argv[0];
    sim_failed = on_failed;
    /* Not blocked in its own handler: the repetition must be able to die of it, too. */
    struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_NODEFER };
    (void)sigaction(SIGABRT, &action, NULL);
    (void)sigaction(SIGSEGV, &action, NULL);
    if (argc == 3 && (strcmp(argv[1], "--trace") == 0 || strcmp(argv[1], "--last") == 0)) {
        again = true;
        current = strtoull(argv[2], NULL, 10);
        sim_trace_on(LAST_LINES, strcmp(argv[1], "--trace") == 0);
        (void)simworld_run(current, &tally);
        report(&tally, 1);
        return 0;
    }
    if (argc > 1) {
        first = strtoull(argv[1], NULL, 10);
        count = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    }
    run_all(first, count);
    return 0;
}
