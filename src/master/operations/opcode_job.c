/* SPDX-License-Identifier: Apache-2.0 */
/* opcode_job: OP_JOB_CREATE and OP_JOB_KILL.
 *
 * What the opcodes check, tell their hooks and do; tasks are moved by steer.c alone.
 * Variables are those of contracts/ganeti.md section 4: J for both.
 *
 * Create: one step.  The job and its tasks are made, placed in the same turn, and the
 * step ends when that is durable.
 * Kill: one step.  Each task is asked to end; the step ends when all of them have, which
 * a listener on the state notices, and that is durable.
 * Asked again after a crash of the worker both find what is there and do what is missing.
 */
#include "base/buf.h"
#include "base/json.h"
#include "base/str.h"
#include "master/cron/crons.h"
#include "master/operations/opcode_common.h"
#include "master/operations/opcode_env.h"
#include "master/operations/opcode_step.h"
#include "master/operations/opcodes.h"
#include "master/operations/quotas.h"
#include "master/state/steer.h"
#include "model/job.h"

#include <string.h>
#include <utlist.h>

/* ---- Create ---- */

static int create_decode(const struct opcode_ref *ref, struct job **ret_job, struct err *err)
{
    json_t *doc;

    if (json_need_obj(ref->input, "job", &doc, err) < 0) {
        return err->code;
    }
    return job_decode(doc, ret_job, err);
}

static int may_create(const struct opcode_ref *ref, const struct job *job, struct err *err)
{
    if (steer_check_create(ref->env->steer, job, err) < 0) {
        return err->code;
    }
    return quotas_check_job(ref->env, job, (size_t)job->instances, err);
}

static int create_validate(const struct opcode_ref *ref, struct err *err)
{
    CLEANUP(job_freep) struct job *job = NULL;

    if (create_decode(ref, &job, err) < 0 || job == NULL || job_check_no_cron(job, err) < 0 ||
        crons_check_free(ref->env->crons, job, err) < 0) {
        return err->code;
    }
    return may_create(ref, job, err);
}

static char *create_job(const json_t *input)
{
    CLEANUP(job_freep) struct job *job = NULL;
    struct err err;

    if (job_decode_trusted(json_object_get(input, "job"), &job, &err) < 0) {
        return NULL;
    }
    return TAKE(job->key_text);
}

static void create_vars(const struct opcode_ref *ref, enum opcode_phase phase, json_t *vars)
{
    CLEANUP(job_freep) struct job *job = NULL;
    struct err err;

    (void)phase;
    if (create_decode(ref, &job, &err) == 0 && job != NULL) {
        opcode_common_put_job(vars, job);
    }
}

static void create_nodes(const struct opcode_ref *ref, enum opcode_phase phase, json_t *nodes)
{
    CLEANUP(mem_freep) char *key = create_job(ref->input);
    const struct state_job *job = key != NULL ? state_job_find(ref->env->state, key) : NULL;

    if (phase == OPCODE_POST && job != NULL) {
        opcode_common_add_nodes(job, nodes);
    }
}

static void create_durable(struct opcode_step *step)
{
    struct state_job *job = state_job_find(step->state, step->job);

    if (job != NULL) {
        size_t placed = state_job_active(job) - job->counts[TASK_PENDING];

        steer_created(step->steer, job);
        json_put_int(step->result, "placed", (int64_t)placed);
        if (job->counts[TASK_PENDING] > 0 && job->current->pending_reason[0] != '\0') {
            json_put_str(step->result, "pending_reason", job->current->pending_reason);
        }
    }
}

static void create_work(struct opcode_work *work)
{
    CLEANUP(job_freep) struct job *config = NULL;
    const struct opcode_ref *ref = &work->ref;
    struct state_job *job;
    struct opcode_step *step;
    struct err err;

    if (create_decode(ref, &config, &err) < 0 || config == NULL) {
        opcode_work_done(work, NULL, &err);
        return;
    }
    job = state_job_find(ref->env->state, config->key_text);
    if (job == NULL || !str_eq(job->op_id, ref->op_id)) {
        if (may_create(ref, config, &err) < 0) {
            opcode_work_done(work, NULL, &err);
            return;
        }
        job = steer_create_take(ref->env->steer, TAKE(config), ref->user, ref->op_id);
    }
    step = opcode_step_new(work, job->key_text);
    step->on_durable = create_durable;
    json_put_str(step->result, "job", job->key_text);
    json_put_str(step->result, "config", job->current->job->hash);
    json_put_int(step->result, "instances", job->current->job->instances);
    opcode_step_wait(step, NULL);
}

const struct opcode opcode_job_create = {
    .name = "OP_JOB_CREATE",
    .hooks_path = "job-create",
    .object_type = "JOB",
    .validate = create_validate,
    .job = create_job,
    .check = create_validate,
    .vars = create_vars,
    .nodes = create_nodes,
    .work = create_work,
    .cancel = opcode_step_cancel,
};

/* ---- Kill ---- */

static int kill_validate(const struct opcode_ref *ref, struct err *err)
{
    if (opcode_common_check_key(ref->input, err) < 0 ||
        opcode_common_check_instances(ref->input, err) < 0) {
        return err->code;
    }
    return steer_check_unlocked(opcode_common_find(ref), err);
}

static void put_active(json_t *vars, const struct state_job *job)
{
    CLEANUP_BUF list = { 0 };
    const struct state_task *task;

    if (job != NULL) {
        DL_FOREACH2(job->tasks, task, job_next)
        {
            if (task_is_active(task->t.status)) {
                buf_addf(&list, "%s%d", list.len > 0 ? " " : "", task->t.instance);
            }
        }
    }
    json_put_str(vars, "INSTANCES", buf_text(&list));
}

static void kill_vars(const struct opcode_ref *ref, enum opcode_phase phase, json_t *vars)
{
    const struct state_job *job = opcode_common_find(ref);
    const json_t *instances = json_object_get(ref->input, "instances");
    const json_t *wait;

    (void)phase;
    json_put_str(vars, "OP_TARGET", json_str_or(ref->input, "key", ""));
    json_put_str(vars, "JOB_KEY", json_str_or(ref->input, "key", ""));
    if (job != NULL && job->current != NULL) {
        opcode_common_put_job(vars, job->current->job);
        wait = json_object_get(job->current->job->task, "finalization_wait");
        opcode_common_put_int(vars, "SHUTDOWN_TIMEOUT",
                              wait != NULL ? (long long)json_number_value(wait) : 30);
    }
    if (json_is_array(instances)) {
        opcode_common_put_instances(vars, "INSTANCES", instances);
    } else {
        put_active(vars, job);
    }
    json_put_str(vars, "REASON", json_str_or(ref->input, "message", ""));
}

static void kill_nodes(const struct opcode_ref *ref, enum opcode_phase phase, json_t *nodes)
{
    const struct state_job *job = opcode_common_find(ref);

    if (phase == OPCODE_POST) {
        /* By now they live nowhere: the nodes are those that the work met. */
        (void)json_array_extend(nodes, json_object_get(ref->result, "nodes"));
    } else if (job != NULL) {
        opcode_common_add_nodes(job, nodes);
    }
}

static void kill_work(struct opcode_work *work)
{
    const struct opcode_ref *ref = &work->ref;
    const struct state_job *job = opcode_common_find(ref);
    const char *message = json_str_or(ref->input, "message", NULL);
    CLEANUP(mem_freep) int *named = NULL;
    json_t *killed = json_array();
    json_t *nodes = json_array();
    struct state_task *task;
    struct state_task *next;
    struct opcode_step *step;
    size_t n_named;

    named = opcode_common_instances(ref->input, &n_named);
    step = opcode_step_new(work, json_str_or(ref->input, "key", ""));
    if (job != NULL) {
        opcode_common_add_nodes(job, nodes);
        DL_FOREACH_SAFE2(job->tasks, task, next, job_next)
        {
            if (task_is_active(task->t.status) &&
                opcode_common_is_named(named, n_named, task->t.instance)) {
                json_array_append_new(killed, json_integer(task->t.instance));
                strv_add(&step->tasks, task->t.id);
                steer_kill(ref->env->steer, task, opcode_common_user(ref), message, ref->op_id);
            }
        }
    }
    if (json_array_size(killed) == 0) {
        json_put_str(step->result, "message", "No tasks to kill.");
    }
    json_put_take(step->result, "instances", killed);
    json_put_take(step->result, "nodes", nodes);
    opcode_step_wait(step, opcode_step_tasks_ended);
}

const struct opcode opcode_job_kill = {
    .name = "OP_JOB_KILL",
    .hooks_path = "job-kill",
    .object_type = "JOB",
    .validate = kill_validate,
    .job = opcode_common_key,
    .check = kill_validate,
    .vars = kill_vars,
    .nodes = kill_nodes,
    .work = kill_work,
    .cancel = opcode_step_cancel,
};
