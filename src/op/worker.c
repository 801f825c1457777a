/* SPDX-License-Identifier: Apache-2.0 */

/* worker: does the work of opcodes, one at a time, and may die at any moment.
 *
 * Kept apart from davit-op so that nothing that work does can keep the post
 * hooks from running.  It has no state of its own: what is to last is changed by
 * the master, step by step (op.work).
 *
 *   IDLE --worker.run--> WORKING --work_done()--> IDLE
 *   any --end of file--> exit
 *
 * Failures: end of file means that davit-op is gone: exit at once, without
 * closing anything, as a kill would.
 */

#include "op/worker.h"

#include "base/fault.h"
#include "base/json.h"
#include "base/mem.h"
#include "guest/rpc.h"
#include "master/op_proto.h"

#include <unistd.h>

struct worker {
    uv_loop_t loop;
    struct rpc_config config;
    struct rpc *rpc;
    struct rpc_request *request; /* NULL while idle. */
    json_t *params;
    struct work work;
    struct rpc_call call;
    work_step_cb step_cb;
};

/* There is one worker in the process, and one work in it. */
static struct worker *owner_of(struct work *work)
{
    return (struct worker *)((char *)work - offsetof(struct worker, work));
}

static void on_step(struct rpc_call *call)
{
    struct worker *worker = call->data;

    CRASH_POINT("worker.stepped");
    worker->step_cb(&worker->work, call->err.code < 0 ? &call->err : NULL, call->result);
}

void work_step(struct work *work, json_t *params, work_step_cb cb)
{
    struct worker *worker = owner_of(work);

    CRASH_POINT("worker.step");
    worker->step_cb = cb;
    worker->call = (struct rpc_call){ .data = worker };
    rpc_call_start(&worker->call, worker->rpc, OP_METHOD_WORK, params, 0, on_step);
    json_decref(params);
}

void work_log(struct work *work, const char *message)
{
    CLEANUP(json_freep) json_t *params = json_object();

    json_put_str(params, "message", message);
    rpc_notify(owner_of(work)->rpc, OP_METHOD_LOG, params);
}

void work_done(struct work *work, json_t *result, const struct err *err)
{
    struct worker *worker = owner_of(work);
    struct rpc_request *request = TAKE(worker->request);
    CLEANUP(json_freep) json_t *answer = result != NULL ? result : json_object();

    CRASH_POINT("worker.done");
    json_decref(TAKE(worker->params));
    if (err != NULL && err->code < 0) {
        rpc_reply_error(request, err, NULL);
    } else {
        rpc_reply(request, answer);
    }
}

static void on_ran(struct work *work, const struct err *err, const json_t *answer)
{
    work_done(work, answer != NULL ? json_incref((json_t *)answer) : NULL, err);
}

/* What needs nothing of the worker but that it asks. */
static void work_run(struct work *work)
{
    work_step(work, json_pack("{s:s}", "step", "run"), on_ran);
}

static void serve_run(struct rpc_request *request, const json_t *params, void *data)
{
    struct worker *worker = data;
    struct err err = { 0 };
    const char *op;
    json_t *input;

    if (worker->request != NULL) {
        (void)err_set(&err, ERR_CONFLICT, "the worker is at work");
        rpc_reply_error(request, &err, NULL);
        return;
    }
    if (json_need_str(params, "op", &op, &err) < 0 ||
        json_need_obj(params, "input", &input, &err) < 0) {
        rpc_reply_error(request, &err, NULL);
        return;
    }
    CRASH_POINT("worker.run");
    worker->request = request;
    worker->params = json_incref((json_t *)params);
    worker->work = (struct work){ .input = input, .loop = &worker->loop };
    work_fn work = works_find(op);
    (work != NULL ? work : work_run)(&worker->work);
}

static void on_end(struct rpc *rpc, const struct err *why, void *data)
{
    (void)rpc;
    (void)why;
    (void)data;
    _exit(0);
}

int worker_main(int fd)
{
    static const struct rpc_method methods[] = { { OP_METHOD_RUN, serve_run }, { NULL, NULL } };
    struct worker *worker = mem_alloc(sizeof *worker);

    (void)uv_loop_init(&worker->loop);
    worker->config = (struct rpc_config){
        .peer = "davit-op",
        .protocol = OP_PROTO_WORKER_NAME,
        .version = OP_PROTO_VERSION,
        .methods = methods,
        .on_end = on_end,
        .data = worker,
    };
    worker->rpc = rpc_new(&worker->loop, fd, &worker->config);
    (void)uv_run(&worker->loop, UV_RUN_DEFAULT);
    return 1; /* The loop ends only with the process. */
}
