/* SPDX-License-Identifier: Apache-2.0 */

/* runner: the shell around life.c, one operation from hello to its end.
 *
 * It decides nothing: life.c names the next step, carry_out() starts it, and
 * each step's outcome goes back by advance().  The master writes the store, a
 * worker does the work, op_hooks.c runs programs here, the master has other
 * nodes' ones run.
 *
 *   hello -> lock -> [opcode's life]* -> CLOSING (worker, hooks, channel) -> exit
 *
 * Happy path: as life.c has it; the answer to the last step says whether another
 * opcode follows.
 * Failures: end of file or an error from the master at any step means that this
 * davit-op does not count any more: give_up() kills worker and hooks and exits;
 * whoever leads starts another one.  A worker's death is just an outcome, and so is work
 * that passes its deadline (which the master moves on as long as the work makes progress):
 * it failed, and what it did stays done.
 * Invariants: the lock is held from before the first step until the process
 * ends, so a free lock means that nothing of this operation is being done.  At
 * most one of call, hooks and worker is under way.
 */

#include "op/runner.h"

#include "base/clock.h"
#include "base/daemon.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/str.h"
#include "guest/rpc.h"
#include "op/life.h"
#include "op/op_env.h"
#include "op/op_hooks.h"
#include "op/worker_link.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

enum {
    LOCK_RETRY_MS = 10,
    LOCK_WAIT_MS = 20000, /* For the last one of this operation to end. */
    LATE_MS = 1000,       /* From the deadline of the work to its end. */
    GIVE_UP_MS = 8000,    /* Then the process ends whatever is left to close. */
    MAX_LOG = 200,
    MAX_MESSAGE = 2048,
};

struct runner {
    uv_loop_t loop;
    struct rpc *rpc;
    struct rpc_config config;
    struct rpc_call call;
    struct daemon_stop stop;
    uv_timer_t timer;      /* Lock retries, then the last deadline. */
    uv_timer_t work_timer; /* The work's deadline. */
    bool work_late;        /* It has passed: the work ends if nothing was heard meanwhile. */
    struct op_hooks *hooks;
    struct worker_link *worker;
    int lock_fd;
    int status;
    bool closing;
    unsigned open_parts;

    /* The operation. */
    json_t *hello;
    uint64_t number, lock_deadline_ms;
    uint64_t work_ms; /* 0: as long as it takes. */
    int64_t attempt;
    const char *lock;
    bool again; /* Mode disappeared. */

    /* The opcode. */
    size_t index;
    struct life life;
    const json_t *opcode;                     /* In hello. */
    json_t *nodes, *vars, *post_vars;         /* As the master answered. */
    const char *token, *hooks_path, *op_code; /* In hello. */
    const char *object_type;
    json_t *result, *log;
    char *error, *hook;
    bool next; /* Another opcode follows. */
};

/* Work asked for by the worker, on its way to the master. */
struct forward {
    struct rpc_call call;
    struct rpc_request *request;
};

static void carry_out(struct runner *runner, enum life_state state);
static void begin_opcode(struct runner *runner, size_t index);

/* --- the end ----------------------------------------------------------------- */

static void on_part_closed(void *data)
{
    struct runner *runner = data;

    if (--runner->open_parts == 0) {
        uv_close((uv_handle_t *)&runner->timer, NULL);
        uv_close((uv_handle_t *)&runner->work_timer, NULL);
        daemon_stop_close(&runner->stop);
    }
}

static void on_too_long(uv_timer_t *timer)
{
    struct runner *runner = timer->data;

    log_warn("could not close everything in time, ending op=%" PRIu64, runner->number);
    _exit(1);
}

static void close_all(struct runner *runner, int status)
{
    if (runner->closing) {
        return;
    }
    runner->closing = true;
    runner->status = status;
    (void)uv_timer_start(&runner->timer, on_too_long, GIVE_UP_MS, 0);
    runner->open_parts = 3;
    worker_link_close(runner->worker, on_part_closed, runner);
    rpc_close(runner->rpc, on_part_closed, runner);
    if (runner->hooks != NULL) {
        op_hooks_close(runner->hooks, on_part_closed, runner);
    } else {
        on_part_closed(runner);
    }
}

static void give_up(struct runner *runner, const char *why)
{
    if (!runner->closing) {
        log_info("giving the operation up op=%" PRIu64 ": %s", runner->number, why);
    }
    close_all(runner, 1);
}

/* --- the opcode's log ---------------------------------------------------------- */

static void add_log(struct runner *runner, const char *message)
{
    CLEANUP(mem_freep) char *cut = mem_strndup(message, MAX_MESSAGE);
    json_t *entry = json_object();

    json_put_int(entry, "time_ms", (int64_t)clock_wall_ms());
    json_put_str(entry, "message", cut);
    if (json_array_size(runner->log) < MAX_LOG) {
        (void)json_array_append(runner->log, entry);
    }
    json_decref(entry);
}

/* The first reason counts: it is what the user is told. */
static void set_error(struct runner *runner, const char *error, const char *hook)
{
    if (runner->error == NULL) {
        runner->error = mem_strdup(error);
        runner->hook = mem_strdup_opt(hook);
    }
}

/* --- steps ----------------------------------------------------------------------- */

static void crash_point(const struct runner *runner, const char *when)
{
#ifdef WITH_FAULTS
    CLEANUP(mem_freep)
    char *point = str_printf("op.%s%s%s", runner->again ? "again." : "",
                             life_state_name(life_state(&runner->life)), when);

    fault_crash_point(point);
#else
    (void)runner;
    (void)when;
#endif
}

static void advance(struct runner *runner, enum life_event event)
{
    if (runner->closing) {
        return;
    }
    crash_point(runner, ".end");
    enum life_state state = life_on(&runner->life, event);
    crash_point(runner, "");
    carry_out(runner, state);
}

/* A request to the master about the current opcode; params is taken. */
static void ask(struct runner *runner, const char *method, json_t *params, rpc_call_cb cb)
{
    json_put_int(params, "op", (int64_t)runner->number);
    json_put_int(params, "index", (int64_t)runner->index);
    json_put_int(params, "attempt", runner->attempt);
    runner->call = (struct rpc_call){ .data = runner };
    rpc_call_start(&runner->call, runner->rpc, method, params, 0, cb);
    json_decref(params);
}

/* NULL when the call failed, and everything is being ended. */
static struct runner *answered(struct rpc_call *call)
{
    struct runner *runner = call->data;

    if (call->err.code < 0) {
        give_up(runner, call->err.msg);
        return NULL;
    }
    return runner;
}

static void keep(json_t **slot, const json_t *value)
{
    json_t *old = *slot;

    *slot = value != NULL ? json_incref((json_t *)value) : NULL;
    json_decref(old);
}

static char *own_event(const struct runner *runner, const char *phase)
{
    return str_printf("%s-%s", runner->hooks_path, phase);
}

/* Is there any hook on this machine for this phase? */
static bool any_hooks(const struct runner *runner, const char *phase, bool own)
{
    CLEANUP(mem_freep) char *global = str_printf("global-%s", phase);

    if (op_hooks_any(runner->hooks, global)) {
        return true;
    }
    if (!own || runner->hooks_path == NULL) {
        return false;
    }
    CLEANUP(mem_freep) char *event = own_event(runner, phase);
    return op_hooks_any(runner->hooks, event);
}

static void on_begun(struct rpc_call *call)
{
    struct runner *runner = answered(call);
    const char *rejected;

    if (runner == NULL) {
        return;
    }
    rejected = json_str_or(call->result, "rejected", NULL);
    if (rejected != NULL) {
        set_error(runner, rejected, NULL);
        advance(runner, LIFE_EV_REJECTED);
        return;
    }
    keep(&runner->vars, json_object_get(call->result, "vars"));
    keep(&runner->nodes, json_object_get(call->result, "nodes"));
    runner->life.far = json_array_size(runner->nodes) > 0;
    advance(runner, json_bool_or(call->result, "pre_done", false) ? LIFE_EV_NO_PRE : LIFE_EV_OK);
}

static void do_begin(struct runner *runner)
{
    json_t *params = json_object();

    json_put_bool(params, "local_hooks", any_hooks(runner, "pre", true));
    ask(runner, OP_METHOD_BEGIN, params, on_begun);
}

static void on_pre_done(struct rpc_call *call)
{
    struct runner *runner = answered(call);

    if (runner != NULL) {
        advance(runner, LIFE_EV_OK);
    }
}

static void do_pre_done(struct runner *runner)
{
    json_t *params = json_object();

    json_put_str(params, "verdict", runner->life.refused ? OP_VERDICT_REFUSED : OP_VERDICT_OK);
    json_put_str(params, "error", runner->error);
    json_put_str(params, "hook", runner->hook);
    ask(runner, OP_METHOD_PRE_DONE, params, on_pre_done);
}

static void after_last_step(struct runner *runner, const json_t *answer)
{
    runner->next = json_bool_or(answer, "next", false);
}

static void on_vars(struct rpc_call *call)
{
    struct runner *runner = answered(call);
    bool done;

    if (runner == NULL) {
        return;
    }
    /* What was recorded first counts, see op_record_post_intent(). */
    if (!life_status_parse(json_str_or(call->result, "status", ""), &runner->life.status)) {
        give_up(runner, "the master answered an unknown status");
        return;
    }
    keep(&runner->vars, json_object_get(call->result, "pre_vars"));
    keep(&runner->post_vars, json_object_get(call->result, "vars"));
    keep(&runner->nodes, json_object_get(call->result, "nodes"));
    runner->life.far = json_array_size(runner->nodes) > 0;
    json_array_clear(runner->log); /* Recorded. */
    done = json_bool_or(call->result, "done", false);
    if (done) {
        after_last_step(runner, call->result);
    }
    advance(runner, done ? LIFE_EV_NO_POST : LIFE_EV_OK);
}

static void do_vars(struct runner *runner)
{
    bool own = runner->again || runner->life.status == LIFE_SUCCEEDED;
    json_t *params = json_object();

    json_put_str(params, "status", life_status_name(runner->life.status));
    json_put_str(params, "error", runner->error);
    if (runner->result != NULL) {
        (void)json_object_set(params, "result", runner->result);
    }
    json_put_take(params, "log", json_copy(runner->log));
    json_put_bool(params, "local_hooks", any_hooks(runner, "post", own));
    ask(runner, OP_METHOD_VARS, params, on_vars);
}

static void on_finished(struct rpc_call *call)
{
    struct runner *runner = answered(call);

    if (runner == NULL) {
        return;
    }
    after_last_step(runner, call->result);
    advance(runner, LIFE_EV_OK);
}

static void do_finish(struct runner *runner)
{
    json_t *params = json_object();

    json_put_str(params, "status", life_status_name(runner->life.status));
    json_put_take(params, "log", json_copy(runner->log));
    ask(runner, OP_METHOD_FINISH, params, on_finished);
}

/* --- hooks -------------------------------------------------------------------------- */

static struct op_env make_env(const struct runner *runner, bool global, bool post, bool far)
{
    return (struct op_env){
        .op_code = runner->op_code,
        .hooks_path = runner->hooks_path,
        .object_type = runner->object_type,
        .data_dir = json_str_or(runner->hello, "data_dir", ""),
        .cluster = json_str_or(runner->hello, "cluster", ""),
        .master = json_str_or(runner->hello, "node", ""),
        .number = runner->number,
        .global = global,
        .post = post,
        .on_master = !far,
        .status = post ? life_status_name(runner->life.status) : NULL,
        .vars = runner->vars,
        .post_vars = runner->post_vars,
    };
}

/* Notes what one hook said, as the original words it.  True when it failed. */
static bool judge(struct runner *runner, const struct hook_record *record, const char *node)
{
    const char *output = record->output_tail != NULL   ? record->output_tail
                         : record->output_head != NULL ? record->output_head
                                                       : record->error;

    if (!record_is_bad(record)) {
        return false;
    }
    CLEANUP(mem_freep) char *lines = mem_strdup(output != NULL ? output : "");

    for (size_t len = strlen(lines); len > 0 && strchr(" \r\n", lines[len - 1]) != NULL; len--) {
        lines[len - 1] = 0;
    }
    CLEANUP(mem_freep) char *escaped = str_escape(lines);
    CLEANUP(mem_freep) char *hook = str_printf("%s.d/%s", record->event, record->hook);
    CLEANUP(mem_freep)
    char *message = str_printf("On %s script %s failed, output: %s", node, hook,
                               escaped[0] != 0 ? escaped : "(no output)");

    add_log(runner, message);
    if (life_state(&runner->life) < LIFE_PRE_DONE) {
        CLEANUP(mem_freep)
        char *why = str_printf("refused by hook %s on %s: %s", hook, node,
                               escaped[0] != 0 ? escaped : "(no output)");

        set_error(runner, why, hook);
    }
    return true;
}

static void on_hooks(const struct err *err, const struct hook_record *records, size_t n, void *data)
{
    struct runner *runner = data;
    bool bad = err != NULL;

    if (err != NULL) {
        CLEANUP(mem_freep) char *message = str_printf("hooks could not be run: %s", err->msg);

        add_log(runner, message);
        set_error(runner, message, NULL);
    }
    for (size_t i = 0; i < n; i++) {
        bad = judge(runner, &records[i], json_str_or(runner->hello, "node", "")) || bad;
    }
    advance(runner, bad ? LIFE_EV_REFUSED : LIFE_EV_OK);
}

static void do_hooks(struct runner *runner, bool global, bool post)
{
    struct op_env env = make_env(runner, global, post, false);
    CLEANUP(json_freep) json_t *vars = op_env_build(&env);
    CLEANUP(mem_freep)
    char *event = global ? str_printf("global-%s", post ? "post" : "pre")
                         : own_event(runner, post ? "post" : "pre");
    const json_t *operation = json_object_get(runner->hello, "operation");

    if (!op_hooks_any(runner->hooks, event)) {
        advance(runner, LIFE_EV_OK);
        return;
    }
    op_hooks_start(runner->hooks,
                   &(struct op_hooks_spec){
                       .event = event,
                       .post = post,
                       .env = vars,
                       .token = runner->token,
                       .op_id = json_str_or(operation, "id", ""),
                       .job = json_str_or(runner->opcode, "job", NULL),
                       .number = (int64_t)runner->number,
                       .index = (int64_t)runner->index,
                       .attempt = runner->attempt,
                       .again = runner->again,
                   },
                   on_hooks, runner);
}

/* One node's answer.  True when one of its hooks failed. */
static bool judge_node(struct runner *runner, const json_t *result)
{
    const char *node = json_str_or(result, "node", "?");
    bool bad = false;
    size_t i;
    json_t *item;

    if (!json_bool_or(result, "reachable", false)) {
        CLEANUP(mem_freep)
        char *message = str_printf("Node %s could not be reached, its hooks did not run: %s", node,
                                   json_str_or(result, "error", ""));

        add_log(runner, message);
        return false;
    }
    json_array_foreach(json_object_get(result, "runs"), i, item)
    {
        struct hook_record record = { 0 };
        struct err err = { 0 };

        if (record_from_json(item, &record, &err) < 0) {
            log_warn("unreadable hook record from node=%s: %s", node, err.msg);
            continue;
        }
        bad = judge(runner, &record, node) || bad;
        record_fini(&record);
    }
    return bad;
}

static void on_nodes(struct rpc_call *call)
{
    struct runner *runner = answered(call);
    bool bad = false;
    size_t i;
    json_t *result;

    if (runner == NULL) {
        return;
    }
    json_array_foreach(json_object_get(call->result, "results"), i, result)
    {
        bad = judge_node(runner, result) || bad;
    }
    advance(runner, bad ? LIFE_EV_REFUSED : LIFE_EV_OK);
}

static void do_nodes(struct runner *runner, bool global, bool post)
{
    struct op_env env = make_env(runner, global, post, true);
    CLEANUP(mem_freep) char *dir = op_env_dir(&env);
    json_t *params = json_object();

    json_put_str(params, "dir", dir);
    json_put_str(params, "phase", post ? "post" : "pre");
    json_put_take(params, "nodes", json_incref(runner->nodes));
    json_put_take(params, "env", op_env_build(&env));
    json_put_str(params, "token", runner->token);
    ask(runner, OP_METHOD_NODES, params, on_nodes);
}

/* --- the work -------------------------------------------------------------------------- */

static void on_forwarded(struct rpc_call *call)
{
    struct forward *forward = call->data;

    if (call->err.code < 0) {
        rpc_reply_error(forward->request, &call->err, NULL);
    } else {
        rpc_reply(forward->request, call->result);
    }
    free(forward);
}

static void serve_work(struct rpc_request *request, const json_t *params, void *data)
{
    struct runner *runner = worker_link_owner(data);

    if (runner->closing) { /* The channel to the master may be gone already. */
        rpc_reply(request, NULL);
        return;
    }
    struct forward *forward = mem_alloc(sizeof *forward);
    CLEANUP(json_freep) json_t *full = json_copy((json_t *)params);

    json_put_int(full, "op", (int64_t)runner->number);
    json_put_int(full, "index", (int64_t)runner->index);
    json_put_int(full, "attempt", runner->attempt);
    forward->request = request;
    forward->call.data = forward;
    rpc_call_start(&forward->call, runner->rpc, OP_METHOD_WORK, full, 0, on_forwarded);
}

static void serve_log(struct rpc_request *request, const json_t *params, void *data)
{
    add_log(worker_link_owner(data), json_str_or(params, "message", ""));
    rpc_reply(request, NULL);
}

static const struct rpc_method worker_methods[] = {
    { OP_METHOD_WORK, serve_work },
    { OP_METHOD_LOG, serve_log },
    { NULL, NULL },
};

/* The worker, or what it waits for in the master, does not end: the operation does.  But what was
 * said before the deadline is heard first: this process may have been the one that stood still. */
static void on_work_late(uv_timer_t *timer)
{
    struct runner *runner = timer->data;
    CLEANUP(mem_freep) char *message = NULL;

    if (!runner->work_late) {
        runner->work_late = true;
        (void)uv_timer_start(timer, on_work_late, LATE_MS, 0);
        return;
    }
    message = str_printf("the work did not end within %" PRIu64 " s", runner->work_ms / 1000);
    worker_link_abort(runner->worker);
    set_error(runner, message, NULL);
    add_log(runner, message);
    advance(runner, LIFE_EV_FAILED);
}

static void begin_deadline(struct runner *runner)
{
    runner->work_late = false;
    (void)uv_timer_start(&runner->work_timer, on_work_late, runner->work_ms, 0);
}

/* Work of many parts, each of which has the whole time. */
static void serve_progress(struct rpc_request *request, const json_t *params, void *data)
{
    struct runner *runner = data;

    (void)params;
    if (uv_is_active((uv_handle_t *)&runner->work_timer)) {
        begin_deadline(runner);
    }
    rpc_reply(request, NULL);
}

static const struct rpc_method master_methods[] = {
    { OP_METHOD_PROGRESS, serve_progress },
    { NULL, NULL },
};

static void on_worked(const struct err *err, bool died, const json_t *result, void *data)
{
    struct runner *runner = data;

    (void)uv_timer_stop(&runner->work_timer);
    if (died) {
        set_error(runner, "the worker process disappeared", NULL);
        add_log(runner, "The worker process disappeared");
        advance(runner, LIFE_EV_DIED);
    } else if (err != NULL) {
        set_error(runner, err->msg, NULL);
        advance(runner, LIFE_EV_FAILED);
    } else {
        keep(&runner->result, result);
        advance(runner, LIFE_EV_OK);
    }
}

static void do_work(struct runner *runner)
{
    CLEANUP(json_freep)
    json_t *params = json_pack("{s:s, s:O?, s:O?}", "op", runner->op_code, "input",
                               json_object_get(runner->opcode, "input"), "vars", runner->vars);

    if (runner->work_ms > 0) {
        begin_deadline(runner);
    }
    worker_link_run(runner->worker, params, on_worked, runner);
}

static void carry_out(struct runner *runner, enum life_state state)
{
    switch (state) {
    case LIFE_BEGIN:
        do_begin(runner);
        break;
    case LIFE_GLOBAL_PRE:
        do_hooks(runner, true, false);
        break;
    case LIFE_GLOBAL_PRE_FAR:
        do_nodes(runner, true, false);
        break;
    case LIFE_OWN_PRE:
        do_hooks(runner, false, false);
        break;
    case LIFE_OWN_PRE_FAR:
        do_nodes(runner, false, false);
        break;
    case LIFE_PRE_DONE:
        do_pre_done(runner);
        break;
    case LIFE_WORK:
        do_work(runner);
        break;
    case LIFE_VARS:
        do_vars(runner);
        break;
    case LIFE_OWN_POST:
        do_hooks(runner, false, true);
        break;
    case LIFE_OWN_POST_FAR:
        do_nodes(runner, false, true);
        break;
    case LIFE_GLOBAL_POST:
        do_hooks(runner, true, true);
        break;
    case LIFE_GLOBAL_POST_FAR:
        do_nodes(runner, true, true);
        break;
    case LIFE_FINISH:
        do_finish(runner);
        break;
    case LIFE_OVER:
        if (runner->next) {
            begin_opcode(runner, runner->index + 1);
        } else {
            close_all(runner, 0);
        }
        break;
    case LIFE_IDLE:
    case LIFE_STATES:
        break;
    }
}

/* --- beginning ---------------------------------------------------------------------------- */

static void forget_opcode(struct runner *runner)
{
    keep(&runner->nodes, NULL);
    keep(&runner->vars, NULL);
    keep(&runner->post_vars, NULL);
    keep(&runner->result, NULL);
    json_array_clear(runner->log);
    free(TAKE(runner->error));
    free(TAKE(runner->hook));
}

static void begin_opcode(struct runner *runner, size_t index)
{
    const json_t *operation = json_object_get(runner->hello, "operation");

    forget_opcode(runner);
    runner->index = index;
    runner->next = false;
    runner->opcode = json_array_get(json_object_get(operation, "opcodes"), index);
    if (runner->opcode == NULL) {
        give_up(runner, "the operation has no such opcode");
        return;
    }
    runner->op_code = json_str_or(runner->opcode, "op", "");
    runner->hooks_path = json_str_or(runner->opcode, "hooks_path", NULL);
    runner->object_type = json_str_or(runner->opcode, "object_type", OP_NOT_APPLICABLE);
    runner->token = json_str_or(runner->opcode, "token", "");
    life_init(&runner->life);
    runner->life.own = runner->hooks_path != NULL;
    advance(runner, runner->again ? LIFE_EV_DISAPPEARED : LIFE_EV_RUN);
}

static void try_lock(uv_timer_t *timer)
{
    struct runner *runner = timer->data;
    struct err err = { 0 };

    if (runner->closing) {
        return;
    }
    if (file_lock(runner->lock, &runner->lock_fd, &err) < 0) {
        if (clock_now_ms() >= runner->lock_deadline_ms) {
            give_up(runner, err.msg);
        } else {
            (void)uv_timer_start(&runner->timer, try_lock, LOCK_RETRY_MS, 0);
        }
        return;
    }
    if (runner->again) {
        op_hooks_recover(runner->hooks);
    }
    begin_opcode(runner, (size_t)json_int_or(runner->hello, "index", 0));
}

static void on_hello(struct rpc_call *call)
{
    struct runner *runner = answered(call);

    if (runner == NULL) {
        return;
    }
    keep(&runner->hello, call->result);
    runner->number =
        (uint64_t)json_int_or(json_object_get(runner->hello, "operation"), "number", 0);
    runner->attempt = json_int_or(runner->hello, "attempt", 0);
    runner->again = str_eq(json_str_or(runner->hello, "mode", ""), OP_MODE_DISAPPEARED);
    runner->lock = json_str_or(runner->hello, "lock", "");
    runner->work_ms = (uint64_t)json_int_or(runner->hello, "work_ms", 0);
    runner->lock_deadline_ms = clock_now_ms() + LOCK_WAIT_MS;
    runner->hooks = op_hooks_new(&(struct op_hooks_options){
        .loop = &runner->loop,
        .dir = json_str_or(runner->hello, "hooks_dir", ""),
        .journal = json_str_or(runner->hello, "journal", ""),
        .node = json_str_or(runner->hello, "node", ""),
        .term_ms = (uint64_t)json_int_or(runner->hello, "term_ms", 0),
    });
    try_lock(&runner->timer);
}

static void on_master_gone(struct rpc *rpc, const struct err *why, void *data)
{
    (void)rpc;
    give_up(data, why->msg);
}

static void on_stop(struct daemon_stop *stop)
{
    give_up(stop->data, "told to stop");
}

static void start(struct runner *runner, int fd)
{
    CLEANUP(json_freep) json_t *params = json_pack("{s:i}", "version", OP_PROTO_VERSION);

    runner->lock_fd = -1;
    runner->log = json_array();
    life_init(&runner->life);
    runner->config = (struct rpc_config){
        .peer = "the master",
        .protocol = OP_PROTO_NAME,
        .version = OP_PROTO_VERSION,
        .methods = master_methods,
        .on_end = on_master_gone,
        .data = runner,
    };
    (void)uv_timer_init(&runner->loop, &runner->timer);
    runner->timer.data = runner;
    uv_unref((uv_handle_t *)&runner->timer);
    (void)uv_timer_init(&runner->loop, &runner->work_timer);
    runner->work_timer.data = runner;
    runner->stop.data = runner;
    daemon_stop_start(&runner->stop, &runner->loop, on_stop);
    runner->rpc = rpc_new(&runner->loop, fd, &runner->config);
    runner->call = (struct rpc_call){ .data = runner };
    rpc_call_start(&runner->call, runner->rpc, OP_METHOD_HELLO, params, 0, on_hello);
    runner->worker = worker_link_start(&(struct worker_link_options){
        .loop = &runner->loop, .methods = worker_methods, .owner = runner });
}

int runner_main(int fd)
{
    struct runner *runner = mem_alloc(sizeof *runner);
    int status;

    (void)uv_loop_init(&runner->loop);
    start(runner, fd);
    (void)uv_run(&runner->loop, UV_RUN_DEFAULT);
    (void)uv_loop_close(&runner->loop);
    forget_opcode(runner);
    status = runner->status;
    if (runner->lock_fd >= 0) {
        if (status == 0) {
            (void)unlink(runner->lock); /* While it is still ours; nobody needs it any more. */
        }
        (void)close(runner->lock_fd);
    }
    json_decref(runner->log);
    json_decref(runner->hello);
    free(runner);
    return status;
}
