/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "simtree.h"

#include <stdbool.h>
#include <stdint.h>

/* A node of the simulation: what its agent does to the store, and how its pods fare.
 *
 * What to do next with a pod is the real agent's answer (agent/reconcile.h); how long it takes and
 * how a task ends is the history's luck.  A task's command line says what it is like:
 * "good", "done:MS" (finishes), "crash:PER_MILLE" (of its runs end by themselves), "sick" (never
 * becomes RUNNING and fails). */
struct simagent;

struct simagent_options {
    struct simtree *tree;
    const char *name;
    double cpu;
    int64_t ram_bytes, disk_bytes;
    int port_lo, port_hi;
    const char *attributes; /* JSON object's members: "\"rack\":\"a\"". */
    unsigned late;          /* Of 1000 stops: far beyond any patience. */
    unsigned clumsy;        /* Of 1000 actions fail and are repeated. */
};

struct simagent *simagent_new(const struct simagent_options *options);
void simagent_free(struct simagent *agent);
const char *simagent_name(const struct simagent *agent);

/* The machine (re)starts: its pods have died; their homes are there unless wiped. */
void simagent_boot(struct simagent *agent, bool wiped);
/* The machine dies: the store learns of it when its session is over. */
void simagent_die(struct simagent *agent);
/* Only the agent dies and comes back later; pods go on. */
void simagent_restart(struct simagent *agent, uint64_t away_ms);
/* It cannot reach the store for so long; pods go on. */
void simagent_partition(struct simagent *agent, uint64_t away_ms);

bool simagent_is_up(const struct simagent *agent); /* The machine. */
bool simagent_is_busy(const struct simagent *agent);

/* Fortune: from now on no task crashes and nothing is late. */
void simagent_calm(struct simagent *agent);

/* ... and what was sick gets well. */
void simagent_heal(struct simagent *agent);

/* Does a process of this pod live there now? */
bool simagent_pod_lives(const struct simagent *agent, const char *pod);
/* Names of pods that live although nothing asks for them: NULL when there are none. */
const char *simagent_stray(const struct simagent *agent);
