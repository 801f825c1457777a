/* SPDX-License-Identifier: Apache-2.0 */
/* sla_rule: may an instance be taken away now?
 *
 * Pure.  What is being taken away already is not RUNNING, so that the next question counts
 * it as down: asking one task after the other never takes too many.  One job may have tasks that
 * a policy holds and others that none does, while an update changes its tier or its policy.
 */
#include "master/drain/sla_rule.h"

#include <math.h>
#include <utlist.h>

const struct sla_policy *sla_effective_policy(const struct sla_policy *own,
                                              const struct sla_policy *fallback)
{
    return own->kind != SLA_NONE ? own : fallback;
}

/* How many others must be up. */
static size_t required(const struct sla_policy *policy, size_t active)
{
    double wanted = policy->value;

    if (policy->kind == SLA_PERCENTAGE) {
        /* 95 % of 20 is 19, whatever the digits behind the point say. */
        wanted = ceil(policy->value * (double)active / 100 - 1e-9);
    }
    if (wanted < 0) {
        return 0;
    }
    return wanted < (double)(active - 1) ? (size_t)wanted : active - 1;
}

static bool is_held(const struct sla_policy *policy, bool production)
{
    return policy != NULL && policy->kind != SLA_NONE && production;
}

enum sla_verdict sla_may_remove(const struct sla_question *question)
{
    const struct sla_policy *policy = question->policy;

    if (!is_held(policy, question->production)) {
        return SLA_MAY;
    }
    if (policy->kind == SLA_COORDINATOR) {
        return SLA_ASK;
    }
    if (question->active < SLA_MIN_INSTANCES) {
        return SLA_MAY;
    }
    return question->up >= required(policy, question->active) ? SLA_MAY : SLA_WAIT;
}

static bool is_up(const struct state_task *task, uint64_t duration_ms, uint64_t now_ms)
{
    return task->t.status == TASK_RUNNING && task->since_ms + duration_ms <= now_ms;
}

enum sla_verdict sla_task_may_go(const struct state_task *task, const struct sla_policy *fallback,
                                 uint64_t now_ms)
{
    const struct job *job = task->config->job;
    struct sla_question question = { .policy = sla_effective_policy(&job->sla, fallback),
                                     .production = job->is_production,
                                     .active = state_job_active(task->job) };
    const struct state_task *other;

    if (question.policy != NULL && question.production && question.active >= SLA_MIN_INSTANCES) {
        uint64_t duration_ms = (uint64_t)question.policy->duration_secs * 1000;

        DL_FOREACH2(task->job->tasks, other, job_next)
        {
            question.up += other != task && is_up(other, duration_ms, now_ms);
        }
    }
    return sla_may_remove(&question);
}

bool sla_task_is_held(const struct state_task *task, const struct sla_policy *fallback)
{
    const struct job *job = task->config->job;

    return is_held(sla_effective_policy(&job->sla, fallback), job->is_production);
}
