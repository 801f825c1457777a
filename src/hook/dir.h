/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum hook_rules {
    HOOK_RULES_GANETI, /* <base>/<event>.d, e.g. event "job-create-pre" */
    HOOK_RULES_P2,     /* <base>/<event>/<name>, then <base>/<name> */
    HOOK_RULES_POD,    /* <base>/<event>, or <base>/<event>.d/<name> */
};

enum hook_verdict {
    HOOK_ENTRY_RUN,
    HOOK_ENTRY_SKIP,  /* Ganeti: a result of its own, HKR_SKIP. */
    HOOK_ENTRY_AUDIT, /* p2: not executable; an audit failure without an error. */
};

struct hook_entry {
    char *name; /* File name. */
    char *path; /* What is run and becomes argv[0]; absolute if base was. */
    enum hook_verdict verdict;
    const char *why;  /* For SKIP and AUDIT. */
    bool leave;       /* Side file <name>.leave: may leave processes behind. */
    bool tokens;      /* Side file <name>.env: wants HOOK_TOKEN and HOOK_OP_ID too. */
    uint64_t term_ms; /* From the directory's `.deadline`; 0: none. */
};

/* In the order in which they run.  A zeroed one is empty. */
struct hook_dir {
    struct hook_entry *entries;
    size_t n;
};

/* List what one event runs by one contract's rules.  A missing directory is zero
 * entries; one that cannot be read, or holds more than 4,096 entries, is an error.
 *
 * Side files are never listed themselves:
 *   <hook>.leave   the hook means to leave processes behind;
 *   <hook>.env     HOOK_TOKEN and HOOK_OP_ID are added to its environment (with Ganeti
 *                  and p2 hooks, whose contracts fix the environment otherwise);
 *   .deadline      seconds (decimal) until TERM, for all hooks of that directory. */
int dir_read(enum hook_rules rules, const char *base, const char *event, struct hook_dir *ret_dir,
             struct err *err);
void dir_fini(struct hook_dir *dir);
