/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum hook_level { HOOK_CLIENT, HOOK_OPERATION, HOOK_NODE, HOOK_POD };
enum hook_form { HOOK_FORM_PROGRAM, HOOK_FORM_GUEST };

/* What a failure means to the caller. */
enum hook_policy {
    HOOK_POLICY_LOG,      /* All run; failures are recorded and nothing else. */
    HOOK_POLICY_JUDGE,    /* All run, then any failure refuses the step. */
    HOOK_POLICY_REQUIRED, /* A failure of a hook named as required stops and refuses. */
    HOOK_POLICY_STOP,     /* The first failure stops and refuses. */
};

/* A place where hooks are called.  event may end in '*': "pre_*", "*-post". */
struct hook_point {
    enum hook_level level;
    const char *event;
    enum hook_form form;
    enum hook_policy policy;
    uint64_t term_ms;   /* TERM after this, 0: the caller's own deadline. */
    uint64_t kill_ms;   /* KILL, counted from the start too. */
    bool go_on_at_term; /* The flow goes on at TERM; the rest is done behind it. */
};

/* The row for an event, or NULL. */
const struct hook_point *point_find(enum hook_level level, const char *event);

/* All rows, ended by one with a NULL event. */
const struct hook_point *point_table(void);

/* "client", "operation", "node", "pod". */
const char *point_level_name(enum hook_level level);
