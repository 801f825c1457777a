/* SPDX-License-Identifier: Apache-2.0 */
/* opcode_scale: OP_JOB_SCALE, more instances of a job.
 *
 * {"key","instance":N,"count":N}: the new ones have the configuration of the active instance N and
 * the numbers after the highest active one.  The job's `instances` grows with them, so that it is
 * what a later update compares with.
 *
 * The work is one step: everything is made in one turn and answered when it is durable.
 * Asked again by the same operation it finds its tasks and makes none.
 */
#include "base/fault.h"
#include "base/json.h"
#include "base/str.h"
#include "master/operations/opcode_common.h"
#include "master/operations/opcode_env.h"
#include "master/operations/opcode_step.h"
#include "master/operations/opcodes.h"
#include "master/operations/quotas.h"
#include "master/state/steer.h"

#include <utlist.h>

/* What the job is like now. */
struct scale {
    struct state_job *job;
    struct state_task *template; /* The active run of the instance; NULL: there is none. */
    int64_t first;               /* The first new number. */
    int64_t active, count;
};

static struct scale look(const struct opcode_ref *ref)
{
    struct scale scale = { .job = opcode_common_find(ref),
                           .count = json_int_or(ref->input, "count", 0) };
    int64_t wanted = json_int_or(ref->input, "instance", -1);
    struct state_task *task;

    if (scale.job == NULL) {
        return scale;
    }
    DL_FOREACH2(scale.job->tasks, task, job_next)
    {
        if (task_is_active(task->t.status)) {
            scale.active++;
            if (task->t.instance == wanted) {
                scale.template = task;
            }
            if (task->t.instance >= scale.first) {
                scale.first = task->t.instance + 1;
            }
        }
    }
    return scale;
}

static int scale_check(const struct opcode_ref *ref, struct err *err)
{
    struct scale scale = look(ref);
    const struct state_job *job = scale.job;

    if (job != NULL && job->current != NULL &&
        json_is_string(json_object_get(job->current->job->doc, "cron_schedule"))) {
        return err_set(err, ERR_INVALID, "Instances may not be added to cron jobs.");
    }
    if (steer_check_unlocked(job, err) < 0) {
        return err_code(err);
    }
    if (scale.template == NULL) {
        return err_set(err, ERR_INVALID, "No active task found for a given instance ID.");
    }
    if (scale.first + scale.count > JOB_MAX_INSTANCES) {
        return err_set(err, ERR_INVALID, "Instance count must be between 1 and %d inclusive.",
                       JOB_MAX_INSTANCES);
    }
    return quotas_check_add(ref->env, scale.template->config->job, (size_t)scale.count, err);
}

static int scale_validate(const struct opcode_ref *ref, struct err *err)
{
    int64_t instance, count;

    if (opcode_common_check_key(ref->input, err) < 0 ||
        json_need_int(ref->input, "instance", 0, INT32_MAX, &instance, err) < 0 ||
        json_need_int(ref->input, "count", INT32_MIN, INT32_MAX, &count, err) < 0) {
        return err_code(err);
    }
    if (count < 1) {
        return err_set(err, ERR_INVALID, "Instance count must be positive.");
    }
    return scale_check(ref, err);
}

static void scale_vars(const struct opcode_ref *ref, enum opcode_phase phase, json_t *vars)
{
    struct scale scale = look(ref);
    int64_t old_count = scale.active, new_count = scale.active + scale.count;

    if (phase == OPCODE_POST && ref->result != NULL) {
        old_count = json_int_or(ref->result, "old_count", 0);
        new_count = json_int_or(ref->result, "new_count", 0);
    }
    if (scale.job != NULL && scale.job->current != NULL) {
        opcode_common_put_job(vars, scale.job->current->job);
    }
    json_put_str(vars, "OP_TARGET", json_str_or(ref->input, "key", ""));
    json_put_str(vars, "JOB_KEY", json_str_or(ref->input, "key", ""));
    opcode_common_put_int(vars, "OLD_COUNT", old_count);
    opcode_common_put_int(vars, "NEW_COUNT", new_count);
}

/* Is it a run of an instance that this operation made? */
static bool is_ours(const struct opcode_ref *ref, const struct state_task *task)
{
    return str_eq(task->t.op_id, ref->op_id);
}

static void scale_nodes(const struct opcode_ref *ref, enum opcode_phase phase, json_t *nodes)
{
    const struct state_job *job = opcode_common_find(ref);
    const struct state_task *task;
    CLEANUP(json_freep) json_t *seen = json_object();

    if (phase == OPCODE_PRE || job == NULL) {
        return;
    }
    DL_FOREACH2(job->tasks, task, job_next)
    {
        if (task->node != NULL && is_ours(ref, task) &&
            json_object_get(seen, task->node->name) == NULL) {
            json_put_bool(seen, task->node->name, true);
            json_array_append_new(nodes, json_string(task->node->name));
        }
    }
}

/* The newest configuration says how many there are: the same one with another number. */
static void grow(const struct opcode_ref *ref, struct state_job *job, int64_t instances)
{
    CLEANUP(json_freep) json_t *doc = NULL;
    CLEANUP(job_freep) struct job *grown = NULL;
    struct err err = { 0 };

    if (job->current == NULL || job->current->job->instances >= instances) {
        return;
    }
    doc = json_copy(job->current->job->doc);
    json_put_int(doc, "instances", instances);
    if (job_decode_trusted(doc, &grown, &err) == 0) {
        job->current = state_config_add_take(job, TAKE(grown));
        state_job_touch(ref->env->state, job); /* Before its tasks. */
    }
}

static bool began_before(const struct opcode_ref *ref, const struct state_job *job)
{
    const struct state_task *task;

    if (job != NULL) {
        DL_FOREACH2(job->tasks, task, job_next)
        {
            if (is_ours(ref, task)) {
                return true;
            }
        }
    }
    return false;
}

static void list_ours(const struct opcode_ref *ref, const struct state_job *job, json_t *instances)
{
    const struct state_task *task;

    DL_FOREACH2(job->tasks, task, job_next)
    {
        if (is_ours(ref, task) && task->t.ancestor == NULL) {
            json_array_append_new(instances, json_integer(task->t.instance));
        }
    }
}

static void scale_work(struct opcode_work *work)
{
    const struct opcode_ref *ref = &work->ref;
    struct scale scale = look(ref);
    bool again = began_before(ref, scale.job);
    json_t *instances = json_array();
    struct opcode_step *step;
    struct err err;

    if (!again && scale_check(ref, &err) < 0) {
        json_decref(instances);
        opcode_work_done(work, NULL, &err);
        return;
    }
    if (!again) {
        assert(scale.template != NULL); /* Checked. */
        struct state_config *config = scale.template->config;

        grow(ref, scale.job, scale.first + scale.count);
        for (int64_t i = 0; i < scale.count; i++) {
            (void)steer_add_instance(ref->env->steer, scale.job, config, (int)(scale.first + i),
                                     ref->op_id);
        }
        scale.active += scale.count;
    }
    CRASH_POINT("master.scale.made");
    list_ours(ref, scale.job, instances);
    step = opcode_step_new(work, scale.job->key_text);
    json_put_take(step->result, "instances", instances);
    json_put_int(step->result, "old_count", scale.active - scale.count);
    json_put_int(step->result, "new_count", scale.active);
    opcode_step_wait(step, NULL);
}

const struct opcode opcode_job_scale = {
    .name = "OP_JOB_SCALE",
    .hooks_path = "job-scale",
    .object_type = "JOB",
    .validate = scale_validate,
    .job = opcode_common_key,
    .check = scale_check,
    .vars = scale_vars,
    .nodes = scale_nodes,
    .work = scale_work,
    .cancel = opcode_step_cancel,
};
