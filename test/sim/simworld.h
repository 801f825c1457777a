/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdint.h>

/* One history: a cluster, its users and its misfortunes, all from the seed. */

struct simworld_tally {
    uint64_t histories, steps, actions, writes, virtual_ms;
    uint64_t terms, kills, reloads; /* Of masters; comparisons of memory with the store. */
    uint64_t tasks, lost, partitioned;
    uint64_t launches, draining, restarting, preempted, forward, back, aborted, failed;
    uint64_t operations, disappeared;
};

/* Runs it to its end and returns its digest; a fault ends in sim_fail(). */
uint64_t simworld_run(uint64_t seed, struct simworld_tally *tally);
