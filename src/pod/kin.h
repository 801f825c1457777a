/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* All that descends from this process, which must be a child subreaper: then whatever was
 * forked, also twice and in other sessions, is either below it or gone. */

struct kin_process {
    pid_t pid;
    pid_t parent;
};

/* Every descendant, parents before their children; zombies may be among them.  *ret_list
 * is the caller's (NULL when there are none).  A snapshot: what forks meanwhile may
 * be missed, so whoever kills asks again until kin_none(). */
size_t kin_list(struct kin_process **ret_list);

/* Signals exactly the process that was listed, or, when it is gone, nobody. */
bool kin_signal(const struct kin_process *process, int signum);

/* Has this process no child at all, not even a zombie? */
bool kin_none(void);

/* Reap children that came to us because their parent died.  False: one of child.c's own is
 * still to be reaped first; ask again after the next turn of the loop. */
bool kin_reap_adopted(void);
