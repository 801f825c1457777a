/* SPDX-License-Identifier: Apache-2.0 */
/* opcode_cron: OP_CRON_ADD, OP_CRON_SET_PARAMS, OP_CRON_REMOVE and OP_CRON_START.
 *
 * The first two schedule a job, as a new one or in place of what was scheduled under its
 * key; the third ends that.  None of them touches a task.  All are one step that ends when it
 * is durable; asked again they find what is there.
 *
 * Start: one step.  Without active tasks the job is launched.  Else its collision policy
 * says: CANCEL_NEW ends the step without a launch; KILL_EXISTING ends the tasks, waits until
 * none is left, and launches.  A start that was asked for before another one's launch is
 * served by that launch ("further triggers while waiting are ignored").
 * Invariant: an operation launches once: its id is in the job's document.
 */
#include "base/clock.h"
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

#define CRON_KILLER "cronScheduler" /* "Killed by cronScheduler" */

static struct cron_entry *find(const struct opcode_ref *ref)
{
    return crons_find(ref->env->crons, json_str_or(ref->input, "key", ""));
}

/* "role/env/name" of "cluster/role/env/name" */
static const char *without_cluster(const char *key)
{
    const char *slash = strchr(key, '/');

    return slash != NULL ? slash + 1 : key;
}

static void put_plan(json_t *vars, const struct job *job, const struct cron_plan *plan)
{
    bool known = plan != NULL && plan->tz != NULL;

    json_put_str(vars, "CRON_SCHEDULE",
                 job != NULL && job->cron_schedule != NULL ? job->cron_schedule : "");
    json_put_str(vars, "CRON_TIMEZONE", known ? tz_name(plan->tz) : "");
    json_put_str(vars, "CRON_COLLISION_POLICY", known ? cron_plan_policy(plan) : "");
}

/* ---- Scheduling ---- */

static int put_decode(const struct opcode_ref *ref, struct job **ret_job,
                      struct cron_plan *ret_plan, struct err *err)
{
    CLEANUP(job_freep) struct job *job = NULL;
    json_t *doc;

    if (json_need_obj(ref->input, "job", &doc, err) < 0 || job_decode(doc, &job, err) < 0 ||
        cron_plan_read(job, ret_plan, err) < 0) {
        return err_code(err);
    }
    *ret_job = TAKE(job);
    return 0;
}

static int add_check(const struct opcode_ref *ref, struct err *err)
{
    CLEANUP(cron_plan_fini) struct cron_plan plan = { 0 };
    CLEANUP(job_freep) struct job *job = NULL;

    if (put_decode(ref, &job, &plan, err) < 0 || crons_check_free(ref->env->crons, job, err) < 0 ||
        quotas_check_job(ref->env, job, (size_t)job->instances, err) < 0) {
        return err_code(err);
    }
    return steer_check_create(ref->env->steer, job, err); /* No other job of that key runs. */
}

static int set_check(const struct opcode_ref *ref, struct err *err)
{
    CLEANUP(cron_plan_fini) struct cron_plan plan = { 0 };
    CLEANUP(job_freep) struct job *job = NULL;

    if (put_decode(ref, &job, &plan, err) < 0) {
        return err_code(err);
    }
    if (crons_find(ref->env->crons, job->key_text) == NULL) {
        return err_set(err, ERR_NOTFOUND, "No cron job found for %s/%s/%s", job->key.role,
                       job->key.env, job->key.name);
    }
    if (steer_check_unlocked(state_job_find(ref->env->state, job->key_text), err) < 0) {
        return err_code(err);
    }
    return quotas_check_job(ref->env, job, (size_t)job->instances, err);
}

static char *put_job(const json_t *input)
{
    CLEANUP(job_freep) struct job *job = NULL;
    struct err err;

    if (job_decode_trusted(json_object_get(input, "job"), &job, &err) < 0) {
        return NULL;
    }
    return TAKE(job->key_text);
}

static void put_vars(const struct opcode_ref *ref, enum opcode_phase phase, json_t *vars)
{
    CLEANUP(cron_plan_fini) struct cron_plan plan = { 0 };
    CLEANUP(job_freep) struct job *job = NULL;
    struct err err;

    (void)phase;
    if (put_decode(ref, &job, &plan, &err) == 0 && job != NULL) {
        opcode_common_put_job(vars, job);
        put_plan(vars, job, &plan);
    }
}

static void put_work(struct opcode_work *work)
{
    CLEANUP(cron_plan_fini) struct cron_plan plan = { 0 };
    CLEANUP(job_freep) struct job *job = NULL;
    const struct opcode_ref *ref = &work->ref;
    struct opcode_step *step;
    struct err err;

    if (put_decode(ref, &job, &plan, &err) < 0 || job == NULL) {
        opcode_work_done(work, NULL, &err);
        return;
    }
    /* Hooks took their time: others of the role may have come. */
    if (quotas_check_job(ref->env, job, (size_t)job->instances, &err) < 0) {
        opcode_work_done(work, NULL, &err);
        return;
    }
    step = opcode_step_new(work, job->key_text);
    json_put_str(step->result, "job", job->key_text);
    json_put_str(step->result, "config", job->hash);
    json_put_str(step->result, "schedule", job->cron_schedule);
    json_put_str(step->result, "timezone", tz_name(plan.tz));
    crons_put_take(ref->env->crons, TAKE(job), &plan, opcode_common_user(ref), ref->op_id);
    opcode_step_wait(step, NULL);
}

const struct opcode opcode_cron_add = {
    .name = "OP_CRON_ADD",
    .hooks_path = "cron-add",
    .object_type = "JOB",
    .validate = add_check,
    .job = put_job,
    .check = add_check,
    .vars = put_vars,
    .work = put_work,
    .cancel = opcode_step_cancel,
};

const struct opcode opcode_cron_set_params = {
    .name = "OP_CRON_SET_PARAMS",
    .hooks_path = "cron-modify",
    .object_type = "JOB",
    .validate = set_check,
    .job = put_job,
    .check = set_check,
    .vars = put_vars,
    .work = put_work,
    .cancel = opcode_step_cancel,
};

/* ---- Descheduling ---- */

static int remove_check(const struct opcode_ref *ref, struct err *err)
{
    if (opcode_common_check_key(ref->input, err) < 0) {
        return err_code(err);
    }
    return steer_check_unlocked(opcode_common_find(ref), err);
}

static void key_vars(const struct opcode_ref *ref, json_t *vars)
{
    const struct cron_entry *entry = find(ref);

    json_put_str(vars, "OP_TARGET", json_str_or(ref->input, "key", ""));
    json_put_str(vars, "JOB_KEY", json_str_or(ref->input, "key", ""));
    if (entry != NULL) {
        opcode_common_put_job(vars, entry->config);
    }
}

static void remove_vars(const struct opcode_ref *ref, enum opcode_phase phase, json_t *vars)
{
    const struct cron_entry *entry = find(ref);

    (void)phase;
    key_vars(ref, vars);
    put_plan(vars, entry != NULL ? entry->config : NULL, entry != NULL ? &entry->plan : NULL);
}

static void remove_work(struct opcode_work *work)
{
    const char *key = json_str_or(work->ref.input, "key", "");
    struct opcode_step *step = opcode_step_new(work, key);

    if (!crons_remove(work->ref.env->crons, key)) {
        CLEANUP(mem_freep)
        char *message = str_printf("Job %s is not scheduled with cron", without_cluster(key));

        json_put_str(step->result, "message", message);
    }
    opcode_step_wait(step, NULL);
}

const struct opcode opcode_cron_remove = {
    .name = "OP_CRON_REMOVE",
    .hooks_path = "cron-remove",
    .object_type = "JOB",
    .validate = remove_check,
    .job = opcode_common_key,
    .check = remove_check,
    .vars = remove_vars,
    .work = remove_work,
    .cancel = opcode_step_cancel,
};

/* ---- Starting ---- */

static bool is_timer(const json_t *input)
{
    return str_eq(json_str_or(input, "trigger", "manual"), "timer");
}

static int start_check(const struct opcode_ref *ref, struct err *err)
{
    if (opcode_common_check_key(ref->input, err) < 0) {
        return err_code(err);
    }
    if (find(ref) == NULL) {
        return err_set(err, ERR_NOTFOUND, "Failed to start cron job - No cron job found for %s",
                       without_cluster(json_str_or(ref->input, "key", "")));
    }
    return steer_check_unlocked(opcode_common_find(ref), err);
}

/* Of a request by somebody: ticks are the master's own (operations_ask()). */
static int start_validate(const struct opcode_ref *ref, struct err *err)
{
    if (!str_eq(json_str_or(ref->input, "trigger", "manual"), "manual")) {
        return err_set(err, ERR_INVALID, "member 'trigger' can only be manual");
    }
    return start_check(ref, err);
}

/* Was it launched after this was asked for?  A launch of tomorrow tells nothing: it was made by a
 * clock that was ahead. */
static bool is_served(const struct opcode_ref *ref, const struct cron_entry *entry)
{
    return ref->asked_ms > 0 && entry->launched_ms >= ref->asked_ms &&
           entry->launched_ms <= (int64_t)clock_wall_ms();
}

/* What a launch now would do to what runs. */
static const char *collision(const struct opcode_ref *ref, const struct cron_entry *entry)
{
    const struct state_job *job = opcode_common_find(ref);

    if (crons_launched_by(ref->env->crons, entry, ref->op_id)) {
        return "NONE"; /* By itself, before its worker was replaced. */
    }
    if (is_served(ref, entry)) {
        return "IGNORED";
    }
    return job == NULL || state_job_active(job) == 0 ? "NONE" : cron_plan_policy(&entry->plan);
}

static void start_vars(const struct opcode_ref *ref, enum opcode_phase phase, json_t *vars)
{
    const struct cron_entry *entry = find(ref);
    const char *action = entry != NULL ? collision(ref, entry) : "NONE";
    char at[CLOCK_UTC_SIZE] = "";

    key_vars(ref, vars);
    if (is_timer(ref->input)) {
        clock_format_utc((uint64_t)json_int_or(ref->input, "scheduled_ms", 0), at);
    }
    json_put_str(vars, "CRON_TRIGGER", is_timer(ref->input) ? "timer" : "manual");
    json_put_str(vars, "CRON_SCHEDULED_AT", at);
    json_put_str(vars, "CRON_COLLISION_ACTION",
                 phase == OPCODE_POST ? json_str_or(ref->result, "action", action) : action);
}

static void start_nodes(const struct opcode_ref *ref, enum opcode_phase phase, json_t *nodes)
{
    const struct state_job *job = opcode_common_find(ref);

    if (phase == OPCODE_POST && job != NULL) {
        opcode_common_add_nodes(job, nodes);
    }
}

static void start_durable(struct opcode_step *step)
{
    const struct state_job *job = state_job_find(step->state, step->job);

    if (job != NULL && str_eq(job->op_id, step->work->ref.op_id)) {
        size_t placed = state_job_active(job) - job->counts[TASK_PENDING];

        json_put_int(step->result, "placed", (int64_t)placed);
        if (job->counts[TASK_PENDING] > 0 && job->current->pending_reason[0] != '\0') {
            json_put_str(step->result, "pending_reason", job->current->pending_reason);
        }
    }
}

/* Launches as soon as nothing of the job is active. */
static bool start_is_over(struct opcode_step *step, struct err *err)
{
    const struct opcode_ref *ref = &step->work->ref;
    const struct state_job *job = state_job_find(step->state, step->job);
    struct cron_entry *entry = find(ref);

    if (job != NULL && state_job_active(job) > 0) {
        return false;
    }
    if (entry == NULL || crons_launch(ref->env->crons, entry, ref->op_id) == NULL) {
        err_set(err, ERR_FAILED, "Failed to start cron job - it cannot be read any more");
        return false;
    }
    json_put_int(step->result, "instances", entry->config->instances);
    return true;
}

static void kill_existing(struct opcode_step *step)
{
    struct state_job *job = state_job_find(step->state, step->job);
    struct state_task *task;
    struct state_task *next;

    if (job == NULL) {
        return;
    }
    DL_FOREACH_SAFE2(job->tasks, task, next, job_next)
    {
        if (task_is_active(task->t.status)) {
            steer_kill(step->steer, task, CRON_KILLER, NULL, step->work->ref.op_id);
        }
    }
}

static void start_work(struct opcode_work *work)
{
    const struct opcode_ref *ref = &work->ref;
    struct cron_entry *entry = find(ref);
    struct opcode_step *step = opcode_step_new(work, json_str_or(ref->input, "key", ""));
    const char *action = entry != NULL ? collision(ref, entry) : "NONE";

    json_put_str(step->result, "job", step->job);
    json_put_str(step->result, "action", action);
    step->on_durable = start_durable;
    if (entry != NULL && crons_launched_by(ref->env->crons, entry, ref->op_id)) {
        json_put_int(step->result, "instances", entry->config->instances);
        opcode_step_wait(step, NULL);
        return;
    }
    if (str_eq(action, "IGNORED") || str_eq(action, "CANCEL_NEW")) {
        json_put_str(step->result, "message",
                     str_eq(action, "IGNORED")
                         ? "a launch that began after this was asked for has served it"
                         : "it still runs, and its collision policy is CANCEL_NEW");
        opcode_step_wait(step, NULL);
        return;
    }
    if (str_eq(action, "KILL_EXISTING")) {
        kill_existing(step);
    }
    opcode_step_wait(step, start_is_over);
}

const struct opcode opcode_cron_start = {
    .name = "OP_CRON_START",
    .hooks_path = "cron-start",
    .object_type = "JOB",
    .validate = start_validate,
    .job = opcode_common_key,
    .check = start_check,
    .vars = start_vars,
    .nodes = start_nodes,
    .work = start_work,
    .cancel = opcode_step_cancel,
};
