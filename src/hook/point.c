/* SPDX-License-Identifier: Apache-2.0 */

/* point: the one table of all places where davit calls hooks.
 *
 * What a row means to the flow around it is the caller's business (op, agent, pod,
 * client); here stand only form, policy and deadlines.
 */
#include "hook/point.h"

#include <stddef.h>
#include <string.h>

enum {
    OPERATION_TERM_MS = 15 * 60 * 1000,
    OPERATION_KILL_MS = OPERATION_TERM_MS + 30 * 1000,
    NODE_TERM_MS = 30 * 1000,
    NODE_KILL_MS = 60 * 1000,
};

#define OPERATION_MS OPERATION_TERM_MS, OPERATION_KILL_MS, false
#define NODE_MS      NODE_TERM_MS, NODE_KILL_MS, true

/* clang-format off */
static const struct hook_point points[] = {
    { HOOK_CLIENT,    "pre_*",            HOOK_FORM_GUEST,   HOOK_POLICY_STOP,     0, 0, 0 },
    { HOOK_CLIENT,    "post_*",           HOOK_FORM_GUEST,   HOOK_POLICY_LOG,      0, 0, 0 },
    { HOOK_CLIENT,    "err_*",            HOOK_FORM_GUEST,   HOOK_POLICY_LOG,      0, 0, 0 },
    { HOOK_CLIENT,    "generic_hook",     HOOK_FORM_GUEST,   HOOK_POLICY_STOP,     0, 0, 0 },
    { HOOK_OPERATION, "*-pre",            HOOK_FORM_PROGRAM, HOOK_POLICY_JUDGE,    OPERATION_MS },
    { HOOK_OPERATION, "*-post",           HOOK_FORM_PROGRAM, HOOK_POLICY_LOG,      OPERATION_MS },
    { HOOK_NODE,      "preparer_init",    HOOK_FORM_PROGRAM, HOOK_POLICY_LOG,      NODE_MS },
    { HOOK_NODE,      "before_install",   HOOK_FORM_PROGRAM, HOOK_POLICY_REQUIRED, NODE_MS },
    { HOOK_NODE,      "after_install",    HOOK_FORM_PROGRAM, HOOK_POLICY_REQUIRED, NODE_MS },
    { HOOK_NODE,      "before_launch",    HOOK_FORM_PROGRAM, HOOK_POLICY_REQUIRED, NODE_MS },
    { HOOK_NODE,      "after_launch",     HOOK_FORM_PROGRAM, HOOK_POLICY_REQUIRED, NODE_MS },
    { HOOK_NODE,      "before_uninstall", HOOK_FORM_PROGRAM, HOOK_POLICY_REQUIRED, NODE_MS },
    { HOOK_NODE,      "after_auth_fail",  HOOK_FORM_PROGRAM, HOOK_POLICY_REQUIRED, NODE_MS },
    { HOOK_POD,       "initialize",       HOOK_FORM_GUEST,   HOOK_POLICY_STOP,     0, 0, 0 },
    { HOOK_POD,       "configure",        HOOK_FORM_GUEST,   HOOK_POLICY_STOP,     0, 0, 0 },
    { HOOK_POD,       "can_configure",    HOOK_FORM_GUEST,   HOOK_POLICY_STOP,     0, 0, 0 },
    { HOOK_POD,       "configured",       HOOK_FORM_GUEST,   HOOK_POLICY_LOG,      0, 0, 0 },
    { HOOK_POD,       "sanity_check",     HOOK_FORM_GUEST,   HOOK_POLICY_STOP,     0, 0, 0 },
    { HOOK_POD,       "probe",            HOOK_FORM_GUEST,   HOOK_POLICY_LOG,      0, 0, 0 },
    { HOOK_POD,       "signaled",         HOOK_FORM_GUEST,   HOOK_POLICY_LOG,      0, 0, 0 },
    { HOOK_POD,       "tear_down",        HOOK_FORM_GUEST,   HOOK_POLICY_LOG,      0, 0, 0 },
    { HOOK_POD,       "finalize",         HOOK_FORM_GUEST,   HOOK_POLICY_LOG,      0, 0, 0 },
    { HOOK_POD,       NULL,               HOOK_FORM_GUEST,   HOOK_POLICY_LOG,      0, 0, 0 },
};
/* clang-format on */

static const char *const level_names[] = {
    [HOOK_CLIENT] = "client",
    [HOOK_OPERATION] = "operation",
    [HOOK_NODE] = "node",
    [HOOK_POD] = "pod",
};

static int matches(const char *pattern, const char *event)
{
    size_t len = strlen(pattern);
    size_t event_len = strlen(event);

    if (pattern[0] == '*') {
        return event_len > len - 1 && strcmp(event + event_len - (len - 1), pattern + 1) == 0;
    }
    if (pattern[len - 1] == '*') {
        return event_len > len - 1 && strncmp(event, pattern, len - 1) == 0;
    }
    return strcmp(pattern, event) == 0;
}

const struct hook_point *point_find(enum hook_level level, const char *event)
{
    for (const struct hook_point *point = points; point->event != NULL; point++) {
        if (point->level == level && matches(point->event, event)) {
            return point;
        }
    }
    return NULL;
}

const struct hook_point *point_table(void)
{
    return points;
}

const char *point_level_name(enum hook_level level)
{
    return level_names[level];
}
