/* SPDX-License-Identifier: Apache-2.0 */
/* steer_jobs: jobs come, and what people and operations ask of their tasks.
 *
 * Each asks one task one thing; what follows is task_state.c's to say and steer.c's to
 * carry out.  A task on a node that is given up cannot answer: what it is asked to do
 * counts as done, and the node ends it when it comes back.
 */
#include "master/state/steer_priv.h"

#include "base/clock.h"
#include "base/str.h"

#include <string.h>
#include <utlist.h>

int steer_check_unlocked(const struct state_job *job, struct err *err)
{
    if (job != NULL && job->update_id != NULL) {
        return err_set(err, ERR_CONFLICT, "Job is currently updating");
    }
    return 0;
}

int steer_check_create(const struct steer *steer, const struct job *job, struct err *err)
{
    const struct state_job *old = state_job_find(steer->state, job->key_text);

    if (strcmp(job->key.cluster, state_cluster(steer->state)) != 0) {
        return err_set(err, ERR_CONFIG, "this is cluster %s, not %s", state_cluster(steer->state),
                       job->key.cluster);
    }
    if (old != NULL && (old->creating || state_job_active(old) > 0)) {
        return err_set(err, ERR_EXISTS, "Job %s/%s/%s already exists", job->key.role, job->key.env,
                       job->key.name);
    }
    return steer_check_unlocked(old, err);
}

void steer_add_missing(struct steer *steer, struct state_job *job)
{
    int n = job->current->job->instances;
    CLEANUP(mem_freep) bool *there = mem_alloc((size_t)n * sizeof(bool));
    struct state_task *task;

    DL_FOREACH2(job->tasks, task, job_next)
    {
        if (task->config == job->current && str_eq(task->t.op_id, job->op_id) &&
            task->t.instance < n) {
            there[task->t.instance] = true;
        }
    }
    for (int i = 0; i < n; i++) {
        if (!there[i]) {
            (void)steer_add_instance(steer, job, job->current, i, job->op_id);
        }
    }
}

struct state_task *steer_add_instance(struct steer *steer, struct state_job *job,
                                      struct state_config *config, int instance, const char *op_id)
{
    struct task_stimulus created = { .kind = TASK_EV_CREATED };
    struct state_task *task = steer_add_run(steer, job, config, instance, op_id);

    steer_apply(steer, task, &created, NULL);
    return task;
}

struct state_job *steer_create_take(struct steer *steer, struct job *config, const char *user,
                                    const char *op_id)
{
    struct state_job *job = state_job_add(steer->state, &config->key);

    free(job->user);
    free(job->op_id);
    job->user = mem_strdup(user);
    job->op_id = mem_strdup(op_id);
    job->created_ms = clock_wall_ms();
    job->creating = true;
    job->current = state_config_add_take(job, config);
    steer_prune(steer, job);
    state_job_touch(steer->state, job); /* Before its tasks: a task needs its job. */
    steer_add_missing(steer, job);
    return job;
}

void steer_created(struct steer *steer, struct state_job *job)
{
    if (job->creating) {
        job->creating = false;
        state_job_touch(steer->state, job);
    }
}

/* What a task on a node that is given up cannot hear is done. */
static void ask(struct steer *steer, struct state_task *task, enum task_event_kind kind,
                const char *message, const char *op_id)
{
    struct task_stimulus stimulus = { .kind = kind, .message = message };
    bool unheard = task->node != NULL && task->node->lost;

    steer_apply(steer, task, &stimulus, op_id);
    if (unheard) {
        steer_task_partitioned(steer, task);
    }
}

void steer_kill(struct steer *steer, struct state_task *task, const char *user, const char *message,
                const char *op_id)
{
    CLEANUP(mem_freep) char *text = task_state_asked_message("Killed", user, message);

    ask(steer, task, TASK_EV_KILL, text, op_id);
}

void steer_restart(struct steer *steer, struct state_task *task, const char *user,
                   const char *message, const char *op_id)
{
    CLEANUP(mem_freep) char *text = task_state_asked_message("Restarted", user, message);

    ask(steer, task, TASK_EV_RESTART, text, op_id);
}

void steer_drain(struct steer *steer, struct state_task *task)
{
    ask(steer, task, TASK_EV_DRAIN, "Draining machine for maintenance.", NULL);
}

void steer_preempt(struct steer *steer, struct state_task *task, const char *why)
{
    ask(steer, task, TASK_EV_PREEMPT, why, NULL);
}
