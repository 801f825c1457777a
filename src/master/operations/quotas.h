/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"
#include "master/operations/opcode_env.h"
#include "master/sched/quota.h"
#include "model/job.h"

#include <stdbool.h>
#include <stddef.h>

/* Quotas of roles: who may use how much for production, and who does use how much.
 *
 * A quota is about production tasks (preferred tier) that are not on dedicated nodes; it is zero
 * until it is set.  A job counts by the most that it may come to: of its running tasks, of the old
 * and the new configuration of its update, of its cron template, per kind of resource. */

/* What the role is allowed; *ret_set false: nobody ever set it. */
struct quota quotas_allowed(const struct opcode_env *env, const char *role, bool *ret_set);

enum quotas_class {
    QUOTAS_PRODUCTION_SHARED, /* The only one that is limited. */
    QUOTAS_PRODUCTION_DEDICATED,
    QUOTAS_OTHER_SHARED,
    QUOTAS_OTHER_DEDICATED,
    QUOTAS_N_CLASSES,
};

struct quotas_use {
    struct quota of[QUOTAS_N_CLASSES];
};

struct quotas_use quotas_use(const struct opcode_env *env, const char *role);

/* May the job come to `instances` tasks of this configuration in all?  For create and for a cron
 * job's template.  "Insufficient resource quota: CPU quota exceeded by 1.00 core(s); ..."
 * (ERR_CONFLICT).  What makes a job no larger is always allowed. */
int quotas_check_job(const struct opcode_env *env, const struct job *config, size_t instances,
                     struct err *err);

/* ... get n tasks of this configuration more?  For job add. */
int quotas_check_add(const struct opcode_env *env, const struct job *config, size_t n,
                     struct err *err);

/* ... be updated to this configuration, all of it (only NULL) or these ascending instances? */
int quotas_check_update(const struct opcode_env *env, const struct job *config,
                        const struct diff_scope *only, struct err *err);

/* May the role's quota become this?  Not less than what it uses. */
int quotas_check_set(const struct opcode_env *env, const char *role, struct quota quota,
                     struct err *err);
void quotas_set(const struct opcode_env *env, const char *role, struct quota quota);
