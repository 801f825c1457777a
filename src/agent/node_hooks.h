/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"
#include "hook/chain.h"
#include "hook/journal.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* p2's hooks around the life of a pod on this node. */
struct node_hooks {
    struct hook_engine *engine;
    struct hook_journal *journal;
    const char *node;
    const char *dir; /* p2's hook directory */
    const char *pod_root;
    const char *const *required; /* file names of hooks whose failure blocks; NULL-ended */
};

/* Which pod, and for whom.  Borrowed until node_hooks_start() returns. */
struct node_hooks_pod {
    const char *id;
    const char *home;
    const char *manifest; /* its text */
    size_t manifest_len;
    const char *digest; /* of the intent it was or will be launched with */
    bool readonly;
    int instance; /* -1: none */
    /* NULL when not known. */
    const char *job;
    const char *op_id;
};

struct node_hooks_run;
typedef void (*node_hooks_cb)(struct node_hooks_run *run);

/* Caller-owned; zeroed or finished before each start. */
struct node_hooks_run {
    void *data;
    struct err err; /* ERR_REFUSED by a required hook; ERR_CANCELED; 0 for all else. */

    /* Private to node_hooks.c. */
    struct hook_chain chain;
    char *manifest_path;
    node_hooks_cb cb;
};

/* Has this event any hook?  When not, nothing needs to be started.  A directory that cannot be
 * read is logged and counts as empty. */
bool node_hooks_any(const struct node_hooks *hooks, const char *event);

/* Run all hooks of the event, in p2's order, with its 12 variables.  cb fires once, from the
 * loop, with everything of the run already freed. */
void node_hooks_start(struct node_hooks_run *run, const struct node_hooks *hooks, const char *event,
                      const struct node_hooks_pod *pod, node_hooks_cb cb);
void node_hooks_cancel(struct node_hooks_run *run);
