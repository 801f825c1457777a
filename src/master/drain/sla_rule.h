/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "master/state/state.h"
#include "model/sla.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* May an instance be taken away now?  contracts/aurora.md 4.9, for drains and sla_aware updates. */

enum sla_verdict {
    SLA_MAY,
    SLA_WAIT, /* Too few others are up: ask again when that has changed. */
    SLA_ASK,  /* The policy's coordinator decides: coordinator.h. */
};

struct sla_question {
    const struct sla_policy *policy; /* From sla_effective_policy(); NULL: none. */
    bool production;                 /* Policies are for jobs of the tier preferred. */
    size_t active; /* Active instances of the job, the one in question included. */
    size_t up;     /* Others that are RUNNING for the policy's duration or longer. */
};

/* The job's own, or else fallback (may be NULL: then none). */
const struct sla_policy *sla_effective_policy(const struct sla_policy *own,
                                              const struct sla_policy *fallback);

/* Pure.  Jobs of less than SLA_MIN_INSTANCES active instances have only coordinators; a policy that
 * would never let any go lets one go while all the others are up. */
enum sla_verdict sla_may_remove(const struct sla_question *question);

/* The same about a task of the state: counts its job's tasks.  now_ms: wall clock. */
enum sla_verdict sla_task_may_go(const struct state_task *task, const struct sla_policy *fallback,
                                 uint64_t now_ms);

/* Has a policy anything to say about the task?  If not, it may go whatever else is up. */
bool sla_task_is_held(const struct state_task *task, const struct sla_policy *fallback);
