/* SPDX-License-Identifier: Apache-2.0 */

/* op_serve: what davit-op asks the master, step by step.
 *
 * Each request is checked against the record (the current attempt, the current
 * opcode), decided by op_record.c on a copy, written, and answered when the
 * write is durable.  Work is the opcode's own; hooks on nodes are hook_relay.c's.
 *
 * Failures: a stale or misplaced request is refused with ERR_CONFLICT and
 * changes nothing.  A davit-op that dies leaves pending requests: answering them
 * is harmless, and op_serve_abandon() has works and relays end soon.
 * Invariant: nothing is answered with success before it is durable.
 */

#include "base/clock.h"
#include "base/fault.h"
#include "base/json.h"
#include "base/log.h"
#include "base/str.h"
#include "master/operations/operations_priv.h"

#include <inttypes.h>
#include <utlist.h>

enum { RELAY_EXTRA_MS = 60000, DEFAULT_TERM_MS = 15 * 60 * 1000 };

static void refuse(struct rpc_request *request, const struct err *err)
{
    log_warn("refused a request of davit-op: %s: %s", rpc_request_method(request), err->msg);
    rpc_reply_error(request, err, NULL);
}

/* The run and opcode that a request speaks of; NULL when it was refused. */
static struct op_run *admit(struct rpc_request *request, const json_t *params, void *data,
                            size_t *ret_index)
{
    struct op_run *run = op_supervisor_data(data);
    int64_t index = json_int_or(params, "index", -1);
    struct err err = { 0 };

    if (run == NULL) {
        (void)err_set(&err, ERR_CONFLICT, "this davit-op has no operation");
        refuse(request, &err);
        return NULL;
    }
    if (json_int_or(params, "op", -1) != (int64_t)op_record_number(run->record)) {
        (void)err_set(&err, ERR_CONFLICT, "not its operation");
        refuse(request, &err);
        return NULL;
    }
    if (op_record_expect(run->record, index, json_int_or(params, "attempt", -1), &err) < 0) {
        refuse(request, &err);
        return NULL;
    }
    *ret_index = (size_t)index;
    return run;
}

static struct opcode_ref make_ref(struct op_run *run, size_t index)
{
    const json_t *opcode = op_record_opcode(run->record, index);

    return (struct opcode_ref){
        .env = run->ops->options.env,
        .op_id = run->id,
        .number = op_record_number(run->record),
        .index = index,
        .user = json_str_or(run->record, "user", ""),
        .asked_ms = json_int_or(run->record, "created_ms", 0),
        .input = json_object_get(opcode, "input"),
        .result = json_object_get(opcode, "result"),
    };
}

static const struct opcode *find_opcode(struct op_run *run, size_t index)
{
    return opcodes_find(run->ops->options.opcodes,
                        json_str_or(op_record_opcode(run->record, index), "op", ""));
}

/* Replaces the record by its next version, and has it written. */
static void commit_take(struct op_run *run, json_t *next)
{
    json_decref(run->record);
    run->record = next;
    op_run_write(run);
}

static void ask_opcode(const struct opcode *opcode, const struct opcode_ref *ref,
                       enum opcode_phase phase, json_t *vars, json_t *nodes)
{
    if (opcode != NULL && opcode->vars != NULL) {
        opcode->vars(ref, phase, vars);
    }
    if (opcode != NULL && opcode->nodes != NULL && opcode->hooks_path != NULL) {
        opcode->nodes(ref, phase, nodes);
    }
}

/* What davit-op needs of an opcode whatever the step. */
static json_t *describe(const json_t *opcode)
{
    return json_pack("{s:s, s:s, s:O?, s:s}", "token", json_str_or(opcode, "token", ""),
                     "object_type", json_str_or(opcode, "object_type", OP_NOT_APPLICABLE),
                     "hooks_path", json_object_get(opcode, "hooks_path"), "op",
                     json_str_or(opcode, "op", ""));
}

static void serve_begin(struct rpc_request *request, const json_t *params, void *data)
{
    size_t index;
    struct op_run *run = admit(request, params, data, &index);
    struct err err = { 0 };

    if (run == NULL) {
        return;
    }
    const struct opcode *opcode = find_opcode(run, index);
    struct opcode_ref ref = make_ref(run, index);
    CLEANUP(json_freep) json_t *next = op_record_copy(run->record);
    CLEANUP(json_freep) json_t *answer = describe(op_record_opcode(next, index));
    CLEANUP(json_freep) json_t *vars = json_object();
    CLEANUP(json_freep) json_t *nodes = json_array();
    bool local = json_bool_or(params, "local_hooks", true);
    int rv;

    if (opcode == NULL) {
        (void)err_set(&err, ERR_UNSUPPORTED, "this master does not know the opcode");
    } else if (opcode->check != NULL) {
        (void)opcode->check(&ref, &err);
    }
    if (err.code < 0) {
        json_put_str(answer, "rejected", err.msg);
        rv = op_record_reject(next, index, err.msg, &err);
    } else {
        ask_opcode(opcode, &ref, OPCODE_PRE, vars, nodes);
        op_run_drop_own(run->ops, nodes);
        bool pre_done = !local && json_array_size(nodes) == 0;

        (void)json_object_set(answer, "vars", vars);
        (void)json_object_set(answer, "nodes", nodes);
        json_put_bool(answer, "pre_done", pre_done);
        rv = op_record_begin(next, index, vars, nodes, pre_done, &err);
    }
    if (rv < 0) {
        refuse(request, &err);
        return;
    }
    CRASH_POINT("master.op.begin");
    commit_take(run, TAKE(next));
    op_run_answer(run, request, TAKE(answer));
    CRASH_POINT("master.op.begun");
}

static void serve_pre_done(struct rpc_request *request, const json_t *params, void *data)
{
    size_t index;
    struct op_run *run = admit(request, params, data, &index);
    struct err err = { 0 };

    if (run == NULL) {
        return;
    }
    CLEANUP(json_freep) json_t *next = op_record_copy(run->record);
    bool refused = str_eq(json_str_or(params, "verdict", ""), OP_VERDICT_REFUSED);

    if (op_record_pre_done(next, index, refused, json_str_or(params, "error", NULL),
                           json_str_or(params, "hook", NULL), &err) < 0) {
        refuse(request, &err);
        return;
    }
    CRASH_POINT("master.op.pre_done");
    commit_take(run, TAKE(next));
    op_run_answer(run, request, json_object());
}

/* Records the end of opcode `index` and says whether another follows. */
static int finish_opcode(struct op_run *run, json_t *next, size_t index, const json_t *log,
                         json_t *answer, struct err *err)
{
    if (op_record_finish(next, index, log, run->last, clock_wall_ms(), err) < 0) {
        return err_code(err);
    }
    json_put_bool(answer, "next", !op_record_is_over(next));
    return 0;
}

static void after_commit(struct op_run *run, struct rpc_request *request, json_t *answer)
{
    op_run_answer(run, request, answer);
    if (op_record_is_over(run->record)) {
        op_run_over(run);
    }
}

/* The variables and nodes of the post hooks, into the outcome. */
static void ask_after(struct op_run *run, size_t index, struct op_record_outcome *outcome)
{
    struct opcode_ref ref = make_ref(run, index);

    if (!str_eq(outcome->status, OP_STATUS_SUCCEEDED)) {
        json_t *saved = json_object_get(op_record_opcode(run->record, index), "pre_nodes");

        (void)json_array_extend(outcome->nodes, saved != NULL ? saved : outcome->nodes);
        return;
    }
    if (outcome->result != NULL) {
        ref.result = outcome->result;
    }
    ask_opcode(find_opcode(run, index), &ref, OPCODE_POST, outcome->vars, outcome->nodes);
    op_run_drop_own(run->ops, outcome->nodes);
}

static json_t *member_or(const json_t *object, const char *key, json_t *(*make)(void))
{
    json_t *value = json_object_get(object, key);

    return value != NULL ? json_incref(value) : make();
}

static void serve_vars(struct rpc_request *request, const json_t *params, void *data)
{
    size_t index;
    struct op_run *run = admit(request, params, data, &index);
    struct err err = { 0 };

    if (run == NULL) {
        return;
    }
    CLEANUP(json_freep) json_t *next = op_record_copy(run->record);
    json_t *opcode = op_record_opcode(next, index);
    CLEANUP(json_freep) json_t *answer = describe(opcode);
    CLEANUP(json_freep) json_t *vars = json_object();
    CLEANUP(json_freep) json_t *nodes = json_array();
    struct op_record_outcome outcome = {
        .status = json_str_or(params, "status", OP_STATUS_FAILED),
        .result = json_object_get(params, "result"),
        .error = json_str_or(params, "error", NULL),
        .log = json_object_get(params, "log"),
        .vars = vars,
        .nodes = nodes,
    };

    op_serve_abandon(run, false); /* A dead worker's steps: nobody waits for them. */
    ask_after(run, index, &outcome);
    if (op_record_post_intent(next, index, &outcome, &err) < 0) {
        refuse(request, &err);
        return;
    }
    json_put_str(answer, "status", json_str_or(opcode, "post_status", OP_STATUS_FAILED));
    json_put_take(answer, "vars", member_or(opcode, "post_vars", json_object));
    json_put_take(answer, "pre_vars", member_or(opcode, "pre_vars", json_object));
    json_put_take(answer, "nodes", member_or(opcode, "post_nodes", json_array));

    bool done = !json_bool_or(params, "local_hooks", true) &&
                json_array_size(json_object_get(answer, "nodes")) == 0;
    json_put_bool(answer, "done", done);
    if (done && finish_opcode(run, next, index, NULL, answer, &err) < 0) {
        refuse(request, &err);
        return;
    }
    CRASH_POINT("master.op.vars");
    commit_take(run, TAKE(next));
    after_commit(run, request, TAKE(answer));
    CRASH_POINT("master.op.post_intent");
}

static void serve_finish(struct rpc_request *request, const json_t *params, void *data)
{
    size_t index;
    struct op_run *run = admit(request, params, data, &index);
    struct err err = { 0 };

    if (run == NULL) {
        return;
    }
    CLEANUP(json_freep) json_t *next = op_record_copy(run->record);
    CLEANUP(json_freep) json_t *answer = json_object();

    if (finish_opcode(run, next, index, json_object_get(params, "log"), answer, &err) < 0) {
        refuse(request, &err);
        return;
    }
    CRASH_POINT("master.op.finish");
    commit_take(run, TAKE(next));
    after_commit(run, request, TAKE(answer));
    CRASH_POINT("master.op.finished");
}

/* --- work and nodes: answered when somebody else is done ------------------ */

static struct op_pending *add_pending(struct op_run *run, struct rpc_request *request)
{
    struct op_pending *pending = mem_alloc(sizeof *pending);

    *pending = (struct op_pending){ .ops = run->ops, .run = run, .request = request };
    DL_APPEND(run->pending, pending);
    return pending;
}

static void on_work_done(struct opcode_work *work, json_t *result, const struct err *err)
{
    struct op_pending *pending = work->owner;
    struct op_run *run = pending->run;
    CLEANUP(json_freep) json_t *answer = result != NULL ? result : json_object();

    if (err != NULL && err->code < 0) {
        rpc_reply_error(pending->request, err, NULL);
    } else {
        rpc_reply(pending->request, answer);
    }
    op_pending_free(pending);
    if (run != NULL) {
        op_run_settled(run, false);
    }
}

void opcode_work_done(struct opcode_work *work, json_t *result, const struct err *err)
{
    work->done(work, result, err);
}

void opcode_work_progress(struct opcode_work *work)
{
    struct op_pending *pending = work->owner;

    if (pending->run != NULL && pending->run->supervisor != NULL) {
        op_supervisor_notify(pending->run->supervisor, OP_METHOD_PROGRESS);
    }
}

void opcode_work_log(struct opcode_work *work, const char *message)
{
    struct op_pending *pending = work->owner;
    struct op_run *run = pending->run;

    if (run != NULL && !run->over) {
        CLEANUP(json_freep) json_t *next = op_record_copy(run->record);

        op_record_log(next, work->ref.index, message, clock_wall_ms());
        commit_take(run, TAKE(next));
    }
    opcode_work_progress(work);
}

static void serve_work(struct rpc_request *request, const json_t *params, void *data)
{
    size_t index;
    struct op_run *run = admit(request, params, data, &index);
    struct err err = { 0 };

    if (run == NULL) {
        return;
    }
    const struct opcode *opcode = find_opcode(run, index);
    const char *step;

    if (!str_eq(json_str_or(op_record_opcode(run->record, index), "step", ""), "pre_done")) {
        (void)err_set(&err, ERR_CONFLICT, "work before the pre hooks are done, or after the work");
        refuse(request, &err);
        return;
    }
    if (opcode == NULL || opcode->work == NULL || json_need_str(params, "step", &step, &err) < 0) {
        if (err.code == 0) {
            (void)err_set(&err, ERR_UNSUPPORTED, "the opcode has no such work");
        }
        refuse(request, &err);
        return;
    }
    CRASH_POINT("master.op.work");
    struct op_pending *pending = add_pending(run, request);

    pending->opcode = opcode;
    pending->params = json_incref((json_t *)params);
    pending->work = (struct opcode_work){
        .ref = make_ref(run, index),
        .params = params,
        .step = step,
        .owner = pending,
        .done = on_work_done,
    };
    /* The record may be replaced while the work goes on: the reference has its own. */
    pending->answer = json_incref(run->record);
    opcode->work(&pending->work);
}

static void on_relayed(struct hook_relay *relay, json_t *results, void *data)
{
    struct op_pending *pending = data;
    struct op_run *run = pending->run;
    CLEANUP(json_freep) json_t *answer = json_pack("{s:O}", "results", results);

    (void)relay;
    pending->relay = NULL;
    rpc_reply(pending->request, answer);
    op_pending_free(pending);
    if (run != NULL) {
        op_run_settled(run, false);
    }
}

static const char *address_of(void *data, const char *node)
{
    struct op_pending *pending = data;
    struct state_node *found =
        pending->ops->state != NULL ? state_node_find(pending->ops->state, node) : NULL;

    return found != NULL && found->alive ? found->address : NULL;
}

static void serve_nodes(struct rpc_request *request, const json_t *params, void *data)
{
    size_t index;
    struct op_run *run = admit(request, params, data, &index);
    struct err err = { 0 };
    json_t *nodes, *env;

    if (run == NULL) {
        return;
    }
    if (json_need_array(params, "nodes", &nodes, &err) < 0 ||
        json_need_obj(params, "env", &env, &err) < 0) {
        refuse(request, &err);
        return;
    }
    const struct operations_options *options = &run->ops->options;
    uint64_t term_ms = options->op_term_ms != 0 ? options->op_term_ms : DEFAULT_TERM_MS;
    const json_t *opcode = op_record_opcode(run->record, index);
    CLEANUP(json_freep)
    json_t *body =
        json_pack("{s:O?, s:O, s:s, s:I, s:I, s:O?, s:O?, s:O?, s:I}", "dir",
                  json_object_get(params, "dir"), "env", env, "op_id", run->id, "op_number",
                  (json_int_t)op_record_number(run->record), "opcode_index", (json_int_t)index,
                  "job", json_object_get(opcode, "job"), "phase", json_object_get(params, "phase"),
                  "token", json_object_get(params, "token"), "term_ms", (json_int_t)term_ms);
    struct op_pending *pending = add_pending(run, request);

    CRASH_POINT("master.op.nodes");
    pending->relay = hook_relay_start(&(struct hook_relay_options){
        .loop = options->loop,
        .httpc = run->ops->httpc,
        .token = run->ops->token,
        .nodes = nodes,
        .body = body,
        .timeout_ms = 2 * term_ms + RELAY_EXTRA_MS,
        .address = address_of,
        .cb = on_relayed,
        .data = pending,
    });
}

static void forget_answer(struct op_pending *pending)
{
    struct err err = { 0 };

    (void)err_set(&err, ERR_NOTLEADER, "this master does not lead any more");
    state_sync_forget(&pending->sync);
    if (pending->request != NULL) {
        rpc_reply_error(pending->request, &err, NULL);
    }
    op_pending_free(pending);
}

void op_serve_abandon(struct op_run *run, bool forget)
{
    struct op_pending *pending, *tmp;

    DL_FOREACH_SAFE(run->pending, pending, tmp)
    {
        if (pending->relay == NULL && pending->opcode == NULL) {
            if (forget) {
                forget_answer(pending);
            }
            continue;
        }
        if (forget) {
            DL_DELETE(run->pending, pending);
            DL_APPEND(run->ops->orphans, pending);
            pending->run = NULL;
        }
        if (pending->relay != NULL) {
            hook_relay_cancel(pending->relay);
        } else if (pending->opcode->cancel != NULL) {
            pending->opcode->cancel(&pending->work); /* May end it, and free pending. */
        }
    }
}

const struct rpc_method op_serve_methods[] = {
    { OP_METHOD_HELLO, op_supervisor_hello }, { OP_METHOD_BEGIN, serve_begin },
    { OP_METHOD_PRE_DONE, serve_pre_done },   { OP_METHOD_WORK, serve_work },
    { OP_METHOD_VARS, serve_vars },           { OP_METHOD_FINISH, serve_finish },
    { OP_METHOD_NODES, serve_nodes },         { NULL, NULL },
};
