/* SPDX-License-Identifier: Apache-2.0 */
/* opcode_node: OP_NODE_SET_PARAMS and OP_NODE_EVACUATE.
 *
 * Set: {"node","mode":"active|cordoned","drain":bool,"attributes":{name:text|null},"reason"},
 * each but node optional.  One step; ends when it is durable.  `drain` says that a drain is
 * what it is for: hooks are told DRAINED True.
 * Evacuate: {"node","timeout_ms","percentage","duration_secs","reason","wait_ms"}.  One step: the
 * node's mode becomes draining, and drain.c moves its instances off.  The step ends when the
 * node is drained, or after wait_ms: the drain itself goes on by its node's document,
 * whatever becomes of this operation, for days if it must.
 * Asked again after a crash of the worker both find what is there.
 */
#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/str.h"
#include "master/drain/drain_pass.h"
#include "master/operations/opcode_common.h"
#include "master/operations/opcode_step.h"
#include "master/operations/opcodes.h"
#include "master/state/steer.h"

#include <inttypes.h>
#include <string.h>
#include <utlist.h>

enum {
    MAX_ATTRIBUTES = 100,
    MAX_ATTRIBUTE_BYTES = 255,
    WAIT_MS = 60 * 1000,
    MAX_WAIT_MS = 30 * 60 * 1000,
    MAX_TIMEOUT_S = 366 * 24 * 3600,
};

static const char NONE[] = "None"; /* How hooks are told what was not asked for. */

/* ---- What both share ---- */

static const char *node_name(const struct opcode_ref *ref)
{
    return json_str_or(ref->input, "node", "");
}

/* One that only a task or an intent names has no document to write. */
static struct state_node *find_node(const struct opcode_ref *ref, struct err *err)
{
    struct state_node *node = state_node_find(ref->env->state, node_name(ref));

    if (node == NULL || !node->listed) {
        err_setf(err, ERR_NOTFOUND, "there is no node %.200s", node_name(ref));
        return NULL;
    }
    return node;
}

static int check_node(const struct opcode_ref *ref, struct err *err)
{
    return find_node(ref, err) != NULL ? 0 : err_code(err);
}

static int check_words(const json_t *input, struct err *err)
{
    const char *text;

    if (json_need_str(input, "node", &text, err) < 0) {
        return err->code;
    }
    text = json_str_or(input, "reason", "");
    if (strlen(text) > OPCODE_COMMON_MAX_MESSAGE) {
        return err_set(err, ERR_TOOBIG, "the reason is longer than %d bytes",
                       OPCODE_COMMON_MAX_MESSAGE);
    }
    return 0;
}

static void add_target(const struct opcode_ref *ref, enum opcode_phase phase, json_t *nodes)
{
    (void)phase;
    json_array_append_new(nodes, json_string(node_name(ref)));
}

/* ---- Set ---- */

static int check_attributes(const json_t *attributes, struct err *err)
{
    const char *name;
    json_t *value;

    if (attributes == NULL) {
        return 0;
    }
    if (!json_is_object(attributes) || json_object_size(attributes) > MAX_ATTRIBUTES) {
        return err_set(err, ERR_INVALID, "attributes must be an object of at most %d members",
                       MAX_ATTRIBUTES);
    }
    json_object_foreach((json_t *)attributes, name, value)
    {
        if (name[0] == '\0' || strlen(name) > MAX_ATTRIBUTE_BYTES ||
            (!json_is_null(value) &&
             (!json_is_string(value) || json_string_length(value) > MAX_ATTRIBUTE_BYTES))) {
            return err_set(err, ERR_INVALID,
                           "attribute '%.100s' must be a text of at most %d bytes, or null", name,
                           MAX_ATTRIBUTE_BYTES);
        }
    }
    return 0;
}

/* The caller's. */
static json_t *merge_attributes(const struct state_node *node, const json_t *changes)
{
    json_t *own = json_copy(node->own_attributes);
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)changes, name, value)
    {
        if (json_is_null(value)) {
            json_object_del(own, name);
        } else {
            json_object_set(own, name, value);
        }
    }
    return own;
}

/* The changes and what is there already; those that are taken away do not count. */
static int check_all_attributes(const struct opcode_ref *ref, struct err *err)
{
    const json_t *changes = json_object_get(ref->input, "attributes");
    const struct state_node *node = find_node(ref, err);
    CLEANUP(json_freep) json_t *own = NULL;

    if (node == NULL) {
        return err_code(err);
    }
    own = merge_attributes(node, changes);
    if (json_object_size(own) > MAX_ATTRIBUTES) {
        return err_set(err, ERR_INVALID, "node %s would have more than %d attributes", node->name,
                       MAX_ATTRIBUTES);
    }
    return 0;
}

static int set_validate(const struct opcode_ref *ref, struct err *err)
{
    const json_t *mode = json_object_get(ref->input, "mode");
    const char *word = json_string_value(mode);

    if (check_words(ref->input, err) < 0) {
        return err->code;
    }
    if (mode != NULL && !str_eq(word, STATE_NODE_ACTIVE) && !str_eq(word, STATE_NODE_CORDONED)) {
        return err_set(err, ERR_INVALID,
                       "mode must be active or cordoned; a drain is begun by "
                       "OP_NODE_EVACUATE");
    }
    if (check_attributes(json_object_get(ref->input, "attributes"), err) < 0) {
        return err->code;
    }
    return check_all_attributes(ref, err);
}

/* As Ganeti's: what is asked for, not what is. */
static void set_vars(const struct opcode_ref *ref, enum opcode_phase phase, json_t *vars)
{
    const char *mode = json_str_or(ref->input, "mode", NULL);
    bool active = str_eq(mode, STATE_NODE_ACTIVE);
    bool drain = json_bool_or(ref->input, "drain", false);

    (void)phase;
    json_put_str(vars, "OP_TARGET", node_name(ref));
    json_put_str(vars, "NODE_NAME", node_name(ref));
    json_put_str(vars, "MASTER_CANDIDATE", NONE);
    json_put_str(vars, "MASTER_CAPABLE", NONE);
    json_put_str(vars, "OFFLINE", NONE);
    json_put_str(vars, "DRAINED", drain ? "True" : active ? "False" : NONE);
    json_put_str(vars, "VM_CAPABLE", active ? "True" : mode != NULL && !drain ? "False" : NONE);
    json_put_str(vars, "REASON", json_str_or(ref->input, "reason", ""));
}

static void set_attributes(struct state *state, struct state_node *node, const json_t *changes)
{
    json_t *own = merge_attributes(node, changes);

    json_decref(node->own_attributes);
    node->own_attributes = own;
    state_node_attributes_changed(node);
    state_node_touch(state, node);
}

static void set_work(struct opcode_work *work)
{
    const struct opcode_ref *ref = &work->ref;
    const char *mode = json_str_or(ref->input, "mode", NULL);
    const json_t *attributes = json_object_get(ref->input, "attributes");
    struct state *state = ref->env->state;
    struct state_node *node;
    struct opcode_step *step;
    struct err err = { 0 };

    node = find_node(ref, &err);
    if (node == NULL || check_all_attributes(ref, &err) < 0) { /* Hooks took their time. */
        opcode_work_done(work, NULL, &err);
        return;
    }
    if (attributes != NULL) {
        set_attributes(state, node, attributes);
        steer_node_changed(ref->env->steer, node);
    }
    /* A node that is being drained takes nothing new: cordoning it would end the drain. */
    if (str_eq(mode, STATE_NODE_ACTIVE) ||
        (str_eq(mode, STATE_NODE_CORDONED) && str_eq(node->mode, STATE_NODE_ACTIVE))) {
        drain_end(state, ref->env->steer, node, mode);
    }
    step = opcode_step_new(work, "");
    json_put_str(step->result, "node", node->name);
    json_put_str(step->result, "mode", node->mode);
    opcode_step_wait(step, NULL);
}

const struct opcode opcode_node_set_params = {
    .name = "OP_NODE_SET_PARAMS",
    .hooks_path = "node-modify",
    .object_type = "NODE",
    .operators_only = true,
    .validate = set_validate,
    .check = check_all_attributes,
    .vars = set_vars,
    .nodes = add_target,
    .work = set_work,
    .cancel = opcode_step_cancel,
};

/* ---- Evacuate ---- */

static int check_number(const json_t *input, const char *key, double max, struct err *err)
{
    const json_t *value = json_object_get(input, key);

    if (value != NULL && !(json_is_number(value) && json_number_value(value) >= 0 &&
                           json_number_value(value) <= max)) {
        return err_set(err, ERR_INVALID, "member '%s' must be a number from 0 to %.0f", key, max);
    }
    return 0;
}

static int evacuate_validate(const struct opcode_ref *ref, struct err *err)
{
    if (check_words(ref->input, err) < 0 ||
        check_number(ref->input, "timeout_ms", MAX_TIMEOUT_S * 1000.0, err) < 0 ||
        check_number(ref->input, "percentage", 100, err) < 0 ||
        check_number(ref->input, "duration_secs", SLA_MAX_DURATION_SECS, err) < 0 ||
        check_number(ref->input, "wait_ms", MAX_WAIT_MS, err) < 0) {
        return err->code;
    }
    return check_node(ref, err);
}

static uint64_t timeout_ms(const json_t *input)
{
    return (uint64_t)json_num_or(input, "timeout_ms", DRAIN_TIMEOUT_S * 1000.0);
}

/* "key/instance" of what lives on the node. */
static void put_instances(json_t *vars, const struct state_node *node)
{
    CLEANUP_BUF text = { 0 };
    const struct state_task *task;

    if (node != NULL) {
        DL_FOREACH2(node->tasks, task, node_next)
        {
            buf_addf(&text, "%s%s/%d", text.len > 0 ? " " : "", task->job->key_text,
                     task->t.instance);
        }
    }
    json_put_str(vars, "INSTANCES", buf_text(&text));
}

static void evacuate_vars(const struct opcode_ref *ref, enum opcode_phase phase, json_t *vars)
{
    CLEANUP(mem_freep)
    char *seconds = str_printf("%" PRIu64, timeout_ms(ref->input) / 1000);

    (void)phase;
    json_put_str(vars, "OP_TARGET", node_name(ref));
    json_put_str(vars, "NODE_NAME", node_name(ref));
    put_instances(vars, state_node_find(ref->env->state, node_name(ref)));
    json_put_str(vars, "EVAC_TIMEOUT", seconds);
}

static void evacuate_nodes(const struct opcode_ref *ref, enum opcode_phase phase, json_t *nodes)
{
    add_target(ref, phase, nodes);
    if (phase == OPCODE_POST) {
        (void)json_array_extend(nodes, json_object_get(ref->result, "nodes"));
    }
}

/* One that moves, wherever its run is. */
struct mover {
    char *job;
    int instance;
};

struct evacuation {
    char *node;
    char *op_id;
    struct mover *movers;
    size_t n_movers;
    uv_timer_t timer;
    struct state *state;
    bool late;
};

static void on_timer_closed(uv_handle_t *handle)
{
    struct evacuation *evacuation = handle->data;

    for (size_t i = 0; i < evacuation->n_movers; i++) {
        free(evacuation->movers[i].job);
    }
    free(evacuation->movers);
    free(evacuation->node);
    free(evacuation->op_id);
    free(evacuation);
}

static void evacuation_free(void *data)
{
    struct evacuation *evacuation = data;

    uv_close((uv_handle_t *)&evacuation->timer, on_timer_closed);
}

static void on_late(uv_timer_t *timer)
{
    struct evacuation *evacuation = timer->data;

    evacuation->late = true;
    state_bump(evacuation->state); /* The step looks again. */
}

static struct evacuation *evacuation_new(struct state *state, const struct state_node *node,
                                         const char *op_id, uint64_t wait_ms)
{
    struct evacuation *evacuation = mem_alloc(sizeof(*evacuation));
    const struct state_task *task;

    evacuation->state = state;
    evacuation->node = mem_strdup(node->name);
    evacuation->op_id = mem_strdup(op_id);
    evacuation->movers = mem_alloc((node->n_tasks + 1) * sizeof(struct mover));
    DL_FOREACH2(node->tasks, task, node_next)
    {
        evacuation->movers[evacuation->n_movers++] =
            (struct mover){ mem_strdup(task->job->key_text), task->t.instance };
    }
    uv_timer_init(state_loop(state), &evacuation->timer);
    evacuation->timer.data = evacuation;
    uv_timer_start(&evacuation->timer, on_late, wait_ms, 0);
    return evacuation;
}

static bool evacuate_over(struct opcode_step *step, struct err *err)
{
    const struct evacuation *evacuation = step->data;
    const struct state_node *node = state_node_find(step->state, evacuation->node);

    if (node == NULL || str_eq(node->mode, STATE_NODE_DRAINED) || evacuation->late) {
        return true;
    }
    if (!str_eq(node->mode, STATE_NODE_DRAINING) ||
        !str_eq(json_str_or(node->drain, "op_id", NULL), evacuation->op_id)) {
        err_setf(err, ERR_CONFLICT, "the drain of node %s was ended or replaced", node->name);
    }
    return false;
}

/* Where the active run of an instance is; NULL: nowhere. */
static const struct state_node *home_of(const struct state *state, const struct mover *mover)
{
    const struct state_job *job = state_job_find(state, mover->job);
    const struct state_task *task;

    if (job != NULL) {
        DL_FOREACH2(job->tasks, task, job_next)
        {
            if (task->t.instance == mover->instance && task_is_active(task->t.status)) {
                return task->node;
            }
        }
    }
    return NULL;
}

static void evacuate_durable(struct opcode_step *step)
{
    const struct evacuation *evacuation = step->data;
    const struct state_node *node = state_node_find(step->state, evacuation->node);
    CLEANUP(json_freep) json_t *seen = json_object();
    json_t *nodes = json_array();

    for (size_t i = 0; i < evacuation->n_movers; i++) {
        const struct state_node *home = home_of(step->state, &evacuation->movers[i]);

        if (home != NULL && home != node && json_object_get(seen, home->name) == NULL) {
            json_put_bool(seen, home->name, true);
            json_array_append_new(nodes, json_string(home->name));
        }
    }
    json_put_bool(step->result, "drained", node != NULL && str_eq(node->mode, STATE_NODE_DRAINED));
    json_put_int(step->result, "left", node != NULL ? (int64_t)node->n_tasks : 0);
    json_put_take(step->result, "nodes", nodes);
}

static void begin(const struct opcode_ref *ref, struct state_node *node)
{
    uint64_t now = clock_wall_ms();
    struct drain_plan plan = {
        .since_ms = now,
        .deadline_ms = now + timeout_ms(ref->input),
        .fallback = { .value = json_num_or(ref->input, "percentage", DRAIN_PERCENTAGE),
                      .duration_secs =
                          (int64_t)json_num_or(ref->input, "duration_secs", DRAIN_DURATION_S) },
    };

    drain_begin_take(ref->env->state, ref->env->steer, node,
                     drain_plan_make(&plan, json_str_or(ref->input, "reason", NULL),
                                     opcode_common_user(ref), ref->op_id));
}

static void evacuate_work(struct opcode_work *work)
{
    const struct opcode_ref *ref = &work->ref;
    struct state_node *node;
    struct opcode_step *step;
    struct err err = { 0 };

    node = find_node(ref, &err);
    if (node == NULL) {
        opcode_work_done(work, NULL, &err);
        return;
    }
    step = opcode_step_new(work, "");
    step->data = evacuation_new(ref->env->state, node, ref->op_id,
                                (uint64_t)json_num_or(ref->input, "wait_ms", WAIT_MS));
    step->free_data = evacuation_free;
    step->on_durable = evacuate_durable;
    json_put_str(step->result, "node", node->name);
    if (!str_eq(json_str_or(node->drain, "op_id", NULL), ref->op_id)) {
        begin(ref, node);
    }
    opcode_step_wait(step, evacuate_over);
}

const struct opcode opcode_node_evacuate = {
    .name = "OP_NODE_EVACUATE",
    .hooks_path = "node-evacuate",
    .object_type = "NODE",
    .operators_only = true,
    .validate = evacuate_validate,
    .check = check_node,
    .vars = evacuate_vars,
    .nodes = evacuate_nodes,
    .work = evacuate_work,
    .cancel = opcode_step_cancel,
};
