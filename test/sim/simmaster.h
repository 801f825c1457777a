/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "master/operations/opcode_env.h"
#include "master/state/state.h"
#include "simtree.h"

#include <stdbool.h>

/* One davit-master: lead.c with all that hangs on it, on the simulation's store and time.  Only
 * its operations are the simulation's (simops.h). */
struct simmaster;
struct simops;

struct simmaster_options {
    struct simtree *tree;
    const char *name;
    struct simops *ops;
    uint64_t node_lost_ms, history_ms;
};

/* Down at first. */
struct simmaster *simmaster_new(const struct simmaster_options *options);
void simmaster_free(struct simmaster *master); /* Kills it if need be. */
const char *simmaster_name(const struct simmaster *master);

void simmaster_up(struct simmaster *master);
/* kill -9, at this very point. */
void simmaster_kill(struct simmaster *master);
/* SIGSTOP; SIGCONT after that time. */
void simmaster_freeze(struct simmaster *master, uint64_t ms);
bool simmaster_is_up(const struct simmaster *master);
struct zk *simmaster_zk(struct simmaster *master); /* NULL while it is down. */

/* NULL unless it leads, as far as it knows. */
struct state *simmaster_state(const struct simmaster *master);
/* Does it truly? */
bool simmaster_leads(const struct simmaster *master);
struct opcode_env *simmaster_env(struct simmaster *master);

/* Is nothing to be written, or under way?  Then the store says what the state says. */
bool simmaster_is_clean(const struct simmaster *master);

/* Whom do this program's events belong to? */
struct sim_proc *simmaster_proc(struct simmaster *master);
