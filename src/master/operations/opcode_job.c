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
#include "master/operations/opcode_env.h"
#include "master/operations/opcodes.h"
#include "master/state/steer.h"
#include "model/job.h"

#include <string.h>
#include <utlist.h>

enum { MIB = 1024 * 1024, MAX_MESSAGE = 4096 };

/* ---- What both share ---- */

static void put_int(json_t *vars, const char *name, long long value)
{
    char text[32];

    (void)snprintf(text, sizeof(text), "%lld", value);
    json_put_str(vars, name, text);
}

static void put_resources(json_t *vars, const struct job *job)
{
    char cpu[32];

    (void)snprintf(cpu, sizeof(cpu), "%g", job->cpu);
    json_put_str(vars, "JOB_CPU", cpu);
    put_int(vars, "JOB_MEMORY", job->ram_bytes / MIB);
    put_int(vars, "JOB_DISK", job->disk_bytes / MIB);
    put_int(vars, "JOB_PORT_COUNT", (long long)job->n_ports);
    for (size_t i = 0; i < job->n_ports; i++) {
        CLEANUP(mem_freep) char *name = str_printf("JOB_PORT%zu_NAME", i);

        json_put_str(vars, name, job->ports[i]);
    }
}

static void put_tags(json_t *vars, const json_t *doc)
{
    CLEANUP_BUF tags = { 0 };
    json_t *item;
    size_t i;

    json_array_foreach(json_object_get(doc, "metadata"), i, item)
    {
        buf_addf(&tags, "%s%s=%s", i > 0 ? " " : "", json_str_or(item, "key", ""),
                 json_str_or(item, "value", ""));
    }
    json_put_str(vars, "JOB_TAGS", buf_text(&tags));
}

/* J of the contract. */
static void put_job(json_t *vars, const struct job *job)
{
    json_put_str(vars, "OP_TARGET", job->key_text);
    json_put_str(vars, "JOB_KEY", job->key_text);
    json_put_str(vars, "JOB_NAME", job->key.name);
    json_put_str(vars, "JOB_OWNER", job->key.role);
    json_put_str(vars, "JOB_ENV", job->key.env);
    put_int(vars, "JOB_PRIORITY", json_int_or(job->doc, "priority", 0));
    json_put_str(vars, "JOB_TIER", json_str_or(job->doc, "tier", "preemptible"));
    put_tags(vars, job->doc);
    put_int(vars, "JOB_INSTANCE_COUNT", job->instances);
    put_resources(vars, job);
    json_put_str(vars, "JOB_CONFIG_HASH", job->hash);
}

/* Nodes on which tasks of the job live, each once. */
static void add_nodes(const struct state_job *job, json_t *nodes)
{
    const struct state_task *task;
    json_t *seen = json_object();

    DL_FOREACH2(job->tasks, task, job_next)
    {
        if (task->node != NULL && json_object_get(seen, task->node->name) == NULL) {
            json_put_bool(seen, task->node->name, true);
            json_array_append_new(nodes, json_string(task->node->name));
        }
    }
    json_decref(seen);
}

/* A step that waits for the state. */
struct step {
    struct opcode_work *work;
    struct state *state;
    struct steer *steer;
    struct state_sync sync;
    struct state_listener listener;
    char *job;
    char **tasks; /* Ids of those that are to end. */
    json_t *result;
};

static void step_end(struct step *step, const struct err *err)
{
    struct opcode_work *work = step->work;
    json_t *result = TAKE(step->result);
    struct err outcome = err != NULL ? *err : (struct err){ 0 }; /* err may lie in step. */

    state_unlisten(&step->listener);
    state_sync_forget(&step->sync);
    work->data = NULL;
    free(step->job);
    strv_free(step->tasks);
    free(step);
    if (outcome.code != 0) {
        json_decref(result);
        opcode_work_done(work, NULL, &outcome);
    } else {
        opcode_work_done(work, result, NULL);
    }
}

static struct step *step_new(struct opcode_work *work, const char *job)
{
    struct step *step = mem_alloc(sizeof(*step));

    step->work = work;
    step->state = work->ref.env->state;
    step->steer = work->ref.env->steer;
    step->job = mem_strdup(job);
    step->sync.data = step;
    step->listener.data = step;
    work->data = step;
    return step;
}

static void cancel(struct opcode_work *work)
{
    struct step *step = work->data;
    struct err err;

    if (step != NULL) {
        err_set(&err, ERR_CANCELED, "nobody waits for it any more");
        step_end(step, &err);
    }
}

/* ---- Create ---- */

static int create_decode(const struct opcode_ref *ref, struct job **ret_job, struct err *err)
{
    json_t *doc;

    if (json_need_obj(ref->input, "job", &doc, err) < 0) {
        return err->code;
    }
    return job_decode(doc, ret_job, err);
}

static int create_validate(const struct opcode_ref *ref, struct err *err)
{
    CLEANUP(job_freep) struct job *job = NULL;

    if (create_decode(ref, &job, err) < 0 || job_check_no_cron(job, err) < 0) {
        return err->code;
    }
    return steer_check_create(ref->env->steer, job, err);
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
        put_job(vars, job);
    }
}

static void create_nodes(const struct opcode_ref *ref, enum opcode_phase phase, json_t *nodes)
{
    CLEANUP(mem_freep) char *key = create_job(ref->input);
    const struct state_job *job = key != NULL ? state_job_find(ref->env->state, key) : NULL;

    if (phase == OPCODE_POST && job != NULL) {
        add_nodes(job, nodes);
    }
}

static void on_created(struct state_sync *sync)
{
    struct step *step = sync->data;
    struct state_job *job = state_job_find(step->state, step->job);

    if (sync->err.code == 0 && job != NULL) {
        size_t placed = state_job_active(job) - job->counts[TASK_PENDING];

        steer_created(step->steer, job);
        json_put_int(step->result, "placed", (int64_t)placed);
        if (job->counts[TASK_PENDING] > 0 && job->current->pending_reason[0] != '\0') {
            json_put_str(step->result, "pending_reason", job->current->pending_reason);
        }
    }
    step_end(step, &sync->err);
}

static void create_work(struct opcode_work *work)
{
    CLEANUP(job_freep) struct job *config = NULL;
    const struct opcode_ref *ref = &work->ref;
    struct state_job *job;
    struct step *step;
    struct err err;

    if (create_decode(ref, &config, &err) < 0 || config == NULL) {
        opcode_work_done(work, NULL, &err);
        return;
    }
    job = state_job_find(ref->env->state, config->key_text);
    if (job == NULL || !str_eq(job->op_id, ref->op_id)) {
        if (steer_check_create(ref->env->steer, config, &err) < 0) {
            opcode_work_done(work, NULL, &err);
            return;
        }
        job = steer_create_take(ref->env->steer, TAKE(config), ref->user, ref->op_id);
    }
    step = step_new(work, job->key_text);
    step->result = json_object();
    json_put_str(step->result, "job", job->key_text);
    json_put_str(step->result, "config", job->current->job->hash);
    json_put_int(step->result, "instances", job->current->job->instances);
    state_sync_start(step->state, &step->sync, on_created);
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
    .cancel = cancel,
};

/* ---- Kill ---- */

static int kill_check_instances(const json_t *input, struct err *err)
{
    const json_t *instances = json_object_get(input, "instances");
    json_t *item;
    size_t i;

    if (instances == NULL || json_is_null(instances)) {
        return 0;
    }
    if (!json_is_array(instances) || json_array_size(instances) > JOB_MAX_INSTANCES) {
        return err_set(err, ERR_INVALID, "instances must be an array of at most %d numbers",
                       JOB_MAX_INSTANCES);
    }
    json_array_foreach(instances, i, item)
    {
        if (!json_is_integer(item) || json_integer_value(item) < 0) {
            return err_set(err, ERR_INVALID, "instances must be numbers from 0");
        }
    }
    return 0;
}

static int kill_validate(const struct opcode_ref *ref, struct err *err)
{
    struct job_key key = { 0 };
    const char *text;

    if (json_need_str(ref->input, "key", &text, err) < 0 || job_key_parse(text, &key, err) < 0) {
        return err->code;
    }
    job_key_fini(&key);
    if (strlen(json_str_or(ref->input, "message", "")) > MAX_MESSAGE) {
        return err_set(err, ERR_TOOBIG, "the message is longer than %d bytes", MAX_MESSAGE);
    }
    return kill_check_instances(ref->input, err);
}

static char *kill_job(const json_t *input)
{
    return mem_strdup_opt(json_str_or(input, "key", NULL));
}

static const struct state_job *kill_find(const struct opcode_ref *ref)
{
    return state_job_find(ref->env->state, json_str_or(ref->input, "key", ""));
}

static bool kill_wants(const json_t *input, const struct state_task *task)
{
    const json_t *instances = json_object_get(input, "instances");
    json_t *item;
    size_t i;

    if (!task_is_active(task->t.status)) {
        return false;
    }
    if (!json_is_array(instances)) {
        return true;
    }
    json_array_foreach(instances, i, item)
    {
        if (json_integer_value(item) == task->t.instance) {
            return true;
        }
    }
    return false;
}

static void kill_vars(const struct opcode_ref *ref, enum opcode_phase phase, json_t *vars)
{
    const struct state_job *job = kill_find(ref);
    const json_t *instances = json_object_get(ref->input, "instances");
    const json_t *wait;
    CLEANUP_BUF list = { 0 };
    json_t *item;
    size_t i;

    (void)phase;
    json_put_str(vars, "OP_TARGET", json_str_or(ref->input, "key", ""));
    json_put_str(vars, "JOB_KEY", json_str_or(ref->input, "key", ""));
    if (job != NULL && job->current != NULL) {
        put_job(vars, job->current->job);
        wait = json_object_get(job->current->job->task, "finalization_wait");
        put_int(vars, "SHUTDOWN_TIMEOUT", wait != NULL ? (long long)json_number_value(wait) : 30);
    }
    if (json_is_array(instances)) {
        json_array_foreach(instances, i, item)
        {
            buf_addf(&list, "%s%lld", i > 0 ? " " : "", (long long)json_integer_value(item));
        }
    } else if (job != NULL) {
        const struct state_task *task;

        DL_FOREACH2(job->tasks, task, job_next)
        {
            if (task_is_active(task->t.status)) {
                buf_addf(&list, "%s%d", list.len > 0 ? " " : "", task->t.instance);
            }
        }
    }
    json_put_str(vars, "INSTANCES", buf_text(&list));
    json_put_str(vars, "REASON", json_str_or(ref->input, "message", ""));
}

static void kill_nodes(const struct opcode_ref *ref, enum opcode_phase phase, json_t *nodes)
{
    const struct state_job *job = kill_find(ref);

    if (phase == OPCODE_POST) {
        /* By now they live nowhere: the nodes are those that the work met. */
        (void)json_array_extend(nodes, json_object_get(ref->result, "nodes"));
    } else if (job != NULL) {
        add_nodes(job, nodes);
    }
}

/* Have all of them ended? */
static bool kill_is_over(const struct step *step)
{
    for (char **id = step->tasks; id != NULL && *id != NULL; id++) {
        const struct state_task *task = state_task_find(step->state, *id);

        if (task != NULL && !task_is_terminal(task->t.status)) {
            return false;
        }
    }
    return true;
}

static void on_killed(struct state_sync *sync)
{
    step_end(sync->data, &sync->err);
}

static void on_changed(struct state_listener *listener)
{
    struct step *step = listener->data;

    if (kill_is_over(step)) {
        state_unlisten(listener);
        state_sync_start(step->state, &step->sync, on_killed);
    }
}

static void kill_work(struct opcode_work *work)
{
    const struct opcode_ref *ref = &work->ref;
    const struct state_job *job = kill_find(ref);
    const char *message = json_str_or(ref->input, "message", NULL);
    json_t *killed = json_array();
    json_t *nodes = json_array();
    struct state_task *task;
    struct state_task *next;
    struct step *step;

    step = step_new(work, json_str_or(ref->input, "key", ""));
    step->result = json_object();
    if (job != NULL) {
        add_nodes(job, nodes);
        DL_FOREACH_SAFE2(job->tasks, task, next, job_next)
        {
            if (kill_wants(ref->input, task)) {
                json_array_append_new(killed, json_integer(task->t.instance));
                strv_add(&step->tasks, task->t.id);
                steer_kill(ref->env->steer, task, ref->user != NULL ? ref->user : "UNSECURE",
                           message, ref->op_id);
            }
        }
    }
    if (json_array_size(killed) == 0) {
        json_put_str(step->result, "message", "No tasks to kill.");
    }
    json_put_take(step->result, "instances", killed);
    json_put_take(step->result, "nodes", nodes);
    if (kill_is_over(step)) {
        state_sync_start(step->state, &step->sync, on_killed);
    } else {
        state_listen(step->state, &step->listener, on_changed);
    }
}

const struct opcode opcode_job_kill = {
    .name = "OP_JOB_KILL",
    .hooks_path = "job-kill",
    .object_type = "JOB",
    .validate = kill_validate,
    .job = kill_job,
    .check = NULL,
    .vars = kill_vars,
    .nodes = kill_nodes,
    .work = kill_work,
    .cancel = cancel,
};
