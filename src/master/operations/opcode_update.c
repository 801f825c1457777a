/* SPDX-License-Identifier: Apache-2.0 */
/* opcode_update: OP_JOB_UPDATE_START, _PAUSE, _RESUME, _ABORT and _ROLLBACK.
 *
 * Each ends when the master has accepted it, durably; what follows goes on by itself
 * (master/updater/updates.c).  Variables and nodes are those of contracts/ganeti.md section 4.
 * Asked again after a crash of the worker: a start finds the update that it began, a command
 * the update in the state that it wanted.
 */
#include "base/json.h"
#include "base/str.h"
#include "master/cron/crons.h"
#include "master/operations/opcode_common.h"
#include "master/operations/opcode_env.h"
#include "master/operations/opcode_step.h"
#include "master/operations/opcodes.h"
#include "master/operations/quotas.h"
#include "master/updater/updates.h"
#include "model/job.h"

#include <stdlib.h>
#include <string.h>

/* ---- Start ---- */

/* A request with what it owns. */
struct start {
    struct updates_request request;
    struct job *config;
    int *ids;
    struct diff_scope only;
};

static void start_fini(struct start *start)
{
    job_free(start->config);
    free(start->ids);
}

/* start is zeroed; start_fini() in any case. */
static int start_decode(const struct opcode_ref *ref, struct start *start, struct err *err)
{
    const json_t *instances = json_object_get(ref->input, "instances");
    json_t *doc;

    if (json_need_obj(ref->input, "job", &doc, err) < 0 ||
        job_decode(doc, &start->config, err) < 0 || start->config == NULL) {
        return err->code;
    }
    if (start->config->cron_schedule != NULL) {
        return err_set(err, ERR_CONFIG,
                       "Cron jobs may only be created/updated by calling scheduleCronJob.");
    }
    if (opcode_common_check_instances(ref->input, err) < 0) {
        return err->code;
    }
    if (strlen(json_str_or(ref->input, "message", "")) > OPCODE_COMMON_MAX_MESSAGE) {
        return err_set(err, ERR_TOOBIG, "the message is longer than %d bytes",
                       OPCODE_COMMON_MAX_MESSAGE);
    }
    if (json_is_array(instances) && json_array_size(instances) > 0) {
        size_t n;

        start->ids = opcode_common_instances(ref->input, &n);
        start->only = (struct diff_scope){ start->ids, n };
        start->request.only = &start->only;
        if (start->ids[n - 1] == INT32_MAX) {
            return err_set(err, ERR_INVALID, "instances must be numbers below %d", INT32_MAX);
        }
    }
    start->request.config = start->config;
    start->request.user = opcode_common_user(ref);
    start->request.op_id = ref->op_id;
    start->request.message = json_str_or(ref->input, "message", NULL);
    start->request.metadata = json_object_get(ref->input, "metadata");
    return 0;
}

static int may_start(const struct opcode_ref *ref, const struct updates_request *request,
                     struct err *err)
{
    if (updates_find(ref->env->updates, ref->op_id) != NULL) {
        return 0; /* It began, and its worker died: what it changed is no reason to refuse it. */
    }
    if (crons_find(ref->env->crons, request->config->key_text) != NULL) {
        return err_set(err, ERR_CONFIG,
                       "Cron jobs may only be created/updated by calling scheduleCronJob.");
    }
    if (updates_check(ref->env->updates, request, err) < 0) {
        return err->code;
    }
    return quotas_check_update(ref->env, request->config, request->only, err);
}

static int start_check(const struct opcode_ref *ref, struct err *err)
{
    CLEANUP(start_fini) struct start start = { 0 };

    if (start_decode(ref, &start, err) < 0 || start.config == NULL) {
        return err->code;
    }
    return may_start(ref, &start.request, err);
}

static char *start_job(const json_t *input)
{
    CLEANUP(job_freep) struct job *job = NULL;
    struct err err;

    if (job_decode_trusted(json_object_get(input, "job"), &job, &err) < 0) {
        return NULL;
    }
    return TAKE(job->key_text);
}

static void put_sizes(json_t *vars, const struct update_settings *settings)
{
    json_t *sizes = json_array();

    for (size_t i = 0; i < settings->n_sizes; i++) {
        json_array_append_new(sizes, json_integer(settings->sizes[i]));
    }
    opcode_common_put_instances(vars, "BATCH_SIZE", sizes);
    json_decref(sizes);
}

/* Before the work: the one that the update is going to have. */
static const char *start_id(const struct opcode_ref *ref, enum opcode_phase phase,
                            const struct update *update)
{
    if (update != NULL) {
        return update->id;
    }
    return phase == OPCODE_PRE && ref->index == 0 ? ref->op_id : "";
}

static void start_vars(const struct opcode_ref *ref, enum opcode_phase phase, json_t *vars)
{
    CLEANUP(start_fini) struct start start = { 0 };
    struct update_settings settings = { 0 };
    const struct state_job *job;
    const struct update *update;
    const char *old_hash = "";
    struct err err;

    if (start_decode(ref, &start, &err) < 0 || start.config == NULL) {
        return;
    }
    job = state_job_find(ref->env->state, start.config->key_text);
    update = updates_find(ref->env->updates, json_str_or(ref->result, "update", NULL));
    if (update != NULL) {
        old_hash = update->old_hash != NULL ? update->old_hash : "";
    } else if (job != NULL && job->current != NULL) {
        old_hash = job->current->job->hash;
    }
    opcode_common_put_job(vars, start.config);
    json_put_str(vars, "UPDATE_ID", start_id(ref, phase, update));
    json_put_str(vars, "OLD_CONFIG_HASH", old_hash);
    json_put_str(vars, "NEW_CONFIG_HASH", start.config->hash);
    if (update_settings_read(start.config, &settings, &err) == 0) {
        put_sizes(vars, &settings);
        opcode_common_put_int(vars, "MAX_FAILURES", settings.total);
        json_put_str(vars, "ROLLBACK_ON_FAILURE", settings.rollback ? "True" : "False");
    }
    update_settings_fini(&settings);
}

static void start_nodes(const struct opcode_ref *ref, enum opcode_phase phase, json_t *nodes)
{
    CLEANUP(mem_freep) char *key = start_job(ref->input);
    const struct state_job *job = key != NULL ? state_job_find(ref->env->state, key) : NULL;

    if (phase == OPCODE_POST && job != NULL) {
        opcode_common_add_nodes(job, nodes);
    }
}

static void start_work(struct opcode_work *work)
{
    CLEANUP(start_fini) struct start start = { 0 };
    const struct update *update = NULL;
    struct opcode_step *step;
    struct err err = { 0 };

    if (start_decode(&work->ref, &start, &err) < 0 || start.config == NULL ||
        may_start(&work->ref, &start.request, &err) < 0 ||
        updates_start(work->ref.env->updates, &start.request, &update, &err) < 0) {
        opcode_work_done(work, NULL, &err);
        return;
    }
    step = opcode_step_new(work, start.config->key_text);
    json_put_str(step->result, "job", start.config->key_text);
    if (update != NULL) {
        json_put_str(step->result, "update", update->id);
    } else {
        json_put_take(step->result, "update", json_null());
        json_put_str(step->result, "message", "Job is unchanged by proposed update.");
    }
    opcode_step_wait(step, NULL);
}

const struct opcode opcode_update_start = {
    .name = "OP_JOB_UPDATE_START",
    .hooks_path = "job-update",
    .object_type = "JOB",
    .validate = start_check,
    .job = start_job,
    .check = start_check,
    .vars = start_vars,
    .nodes = start_nodes,
    .work = start_work,
    .cancel = opcode_step_cancel,
};

/* ---- Commands ---- */

static enum updater_command command_of(const struct opcode_ref *ref)
{
    const char *op = json_str_or(ref->input, "op", "");

    if (str_eq(op, "OP_JOB_UPDATE_PAUSE")) {
        return UPDATER_PAUSE;
    }
    if (str_eq(op, "OP_JOB_UPDATE_RESUME")) {
        return UPDATER_RESUME;
    }
    return str_eq(op, "OP_JOB_UPDATE_ABORT") ? UPDATER_ABORT : UPDATER_ROLLBACK;
}

/* The update that it is about, whatever its state. */
static const struct update *find_update(const struct opcode_ref *ref)
{
    const char *id = json_str_or(ref->input, "update", json_str_or(ref->result, "update", NULL));

    return id != NULL ? updates_find(ref->env->updates, id)
                      : updates_active(ref->env->updates, json_str_or(ref->input, "key", ""));
}

static int command_check(const struct opcode_ref *ref, struct err *err)
{
    const struct update *update = NULL;

    if (opcode_common_check_key(ref->input, err) < 0) {
        return err->code;
    }
    return updates_check_command(ref->env->updates, json_str_or(ref->input, "key", ""),
                                 json_str_or(ref->input, "update", NULL), command_of(ref), &update,
                                 err);
}

static void command_vars(const struct opcode_ref *ref, enum opcode_phase phase, json_t *vars)
{
    const struct update *update = find_update(ref);

    (void)phase;
    json_put_str(vars, "OP_TARGET", json_str_or(ref->input, "key", ""));
    json_put_str(vars, "JOB_KEY", json_str_or(ref->input, "key", ""));
    json_put_str(vars, "UPDATE_ID", update != NULL ? update->id : "");
    json_put_str(vars, "UPDATE_STATE", update != NULL ? update_status_name(update->status) : "");
    json_put_str(vars, "REASON", json_str_or(ref->input, "message", ""));
}

/* Was it carried out before a worker died over it? */
static bool command_is_done(const struct update *update, enum updater_command command)
{
    switch (command) {
    case UPDATER_PAUSE:
        return update_status_in_group(update->status, "paused");
    case UPDATER_RESUME:
        return update_status_is_active(update->status) &&
               !update_status_in_group(update->status, "paused");
    case UPDATER_ABORT:
        return update->status == UPDATE_ABORTED;
    case UPDATER_ROLLBACK:
        break;
    }
    return update->back;
}

static void command_work(struct opcode_work *work)
{
    const struct opcode_ref *ref = &work->ref;
    const char *key = json_str_or(ref->input, "key", "");
    const char *id = json_str_or(ref->input, "update", NULL);
    const struct update *update = find_update(ref);
    CLEANUP(mem_freep) char *found = update != NULL ? mem_strdup(update->id) : NULL;
    struct opcode_step *step;
    struct err err = { 0 };

    if (updates_command(ref->env->updates, key, id, command_of(ref),
                        json_str_or(ref->input, "message", NULL), opcode_common_user(ref),
                        &err) < 0 &&
        (update == NULL || strcmp(update->job, key) != 0 ||
         !command_is_done(update, command_of(ref)))) {
        opcode_work_done(work, NULL, &err);
        return;
    }
    update = updates_find(ref->env->updates, found);
    step = opcode_step_new(work, key);
    json_put_str(step->result, "update", found);
    json_put_str(step->result, "status", update != NULL ? update_status_name(update->status) : "");
    opcode_step_wait(step, NULL);
}

/* clang-format off */
#define COMMAND(variable, op, hooks)      \
    const struct opcode variable = {      \
        .name = (op),                     \
        .hooks_path = (hooks),            \
        .object_type = "JOB",             \
        .validate = command_check,        \
        .job = opcode_common_key,         \
        .check = command_check,           \
        .vars = command_vars,             \
        .work = command_work,             \
        .cancel = opcode_step_cancel,     \
    }
/* clang-format on */

COMMAND(opcode_update_pause, "OP_JOB_UPDATE_PAUSE", "job-update-pause");
COMMAND(opcode_update_resume, "OP_JOB_UPDATE_RESUME", "job-update-resume");
COMMAND(opcode_update_abort, "OP_JOB_UPDATE_ABORT", "job-update-abort");
COMMAND(opcode_update_rollback, "OP_JOB_UPDATE_ROLLBACK", "job-update-rollback");
