/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "simmaster.h"

/* Is what the leader has in memory what another master would read from the store now?  Only while
 * simmaster_is_clean().  Fails the history if not. */
void simcompare_reload(struct simmaster *master, struct simtree *tree);

/* Do the sums of its nodes, jobs and configurations agree with its tasks, and does every PENDING
 * task have a reason? */
void simcompare_sums(const struct state *state);
