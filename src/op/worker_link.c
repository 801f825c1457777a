/* SPDX-License-Identifier: Apache-2.0 */

/* worker_link: starts the worker, hands it work, notices its death.
 *
 *   IDLE --run--> WORKING --answered--> IDLE
 *   any --process or channel ended--> DEAD --run--> (another one) WORKING
 *   WORKING --abort--> DEAD
 *   any --close--> CLOSING -> freed
 *
 * Happy path: one worker serves all opcodes of an operation.
 * Failures: a worker that died idle is replaced at the next run; one that died
 * at work is the work's outcome.  One that closed its channel but lives is
 * killed: it cannot answer any more.
 * Invariant: the work has one outcome, from the loop.  Parts (process, channel)
 * are closed before another worker is started.
 */

#include "op/worker_link.h"

#include "base/child.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/selfpath.h"
#include "base/str.h"
#include "guest/coproc.h"
#include "master/op_proto.h"

#include <signal.h>
#include <string.h>

struct worker_link {
    struct worker_link_options options;
    struct rpc_config config;
    struct child child;
    bool alive; /* The process is under way. */
    struct rpc *rpc;
    unsigned n_channels; /* Open or closing. */
    struct rpc_call call;
    json_t *params; /* Of a run that waits for the next worker. */
    worker_link_cb cb;
    void *data;
    uv_timer_t timer;
    bool closing, timer_closed;
    void (*close_cb)(void *data);
    void *close_data;
};

static void step(struct worker_link *link);

static void on_rpc_closed(void *data)
{
    struct worker_link *link = data;

    link->n_channels--;
    step(link);
}

static void close_channel(struct worker_link *link)
{
    if (link->rpc != NULL) {
        rpc_close(TAKE(link->rpc), on_rpc_closed, link);
    }
}

static void on_exit_of(struct child *child)
{
    struct worker_link *link = child->data;

    if (child->term_signal != 0) {
        log_debug("worker ended pid=%d signal=%d", (int)child->pid, child->term_signal);
    }
    link->alive = false;
    close_channel(link);
    step(link);
}

static void on_channel_end(struct rpc *rpc, const struct err *why, void *data)
{
    struct worker_link *link = data;

    (void)rpc;
    (void)why;
    if (link->alive) {
        child_signal_group(&link->child, SIGKILL);
    }
}

static int spawn(struct worker_link *link, struct err *err)
{
    CLEANUP(mem_freep) char *program = selfpath_program("op");
    const char *const argv[] = { program, "--worker", NULL };
    const struct coproc_options how = {
        .argv = argv,
        .fd_variable = OP_PROTO_FD_ENV,
        .stdio = { -1, STDERR_FILENO, STDERR_FILENO },
        .group = CHILD_GROUP_OWN,
        .death_signal = SIGKILL,
    };
    CLEANUP(fd_closep) int channel = -1;

    memset(&link->child, 0, sizeof link->child);
    link->child.data = link;
    if (coproc_start(&link->child, link->options.loop, &how, on_exit_of, &channel, err) < 0) {
        return err_code(err);
    }
    link->alive = true;
    link->n_channels++;
    link->rpc = rpc_new(link->options.loop, TAKE_FD(channel), &link->config);
    return 0;
}

static void try_spawn(struct worker_link *link)
{
    struct err err = { 0 };

    if (spawn(link, &err) < 0) {
        log_error("cannot start a worker: %s", err.msg);
    }
}

static void outcome(struct worker_link *link, const struct err *err, bool died,
                    const json_t *result)
{
    if (!link->closing && link->cb != NULL) {
        link->cb(err, died, result, link->data);
    }
}

static void on_answer(struct rpc_call *call)
{
    struct worker_link *link = call->data;

    if (call->err.code == 0) {
        outcome(link, NULL, false, call->result);
    } else {
        outcome(link, &call->err, call->error == NULL, NULL);
    }
    step(link);
}

static void ask(struct worker_link *link)
{
    struct rpc_call *call = &link->call;

    *call = (struct rpc_call){ .data = link };
    rpc_call_start(call, link->rpc, OP_METHOD_RUN, link->params, 0, on_answer);
    json_decref(TAKE(link->params));
}

static void on_spawn_failed(uv_timer_t *timer)
{
    struct worker_link *link = timer->data;
    struct err err = { 0 };

    (void)err_set(&err, ERR_INTERNAL, "the worker could not be started");
    json_decref(TAKE(link->params));
    outcome(link, &err, false, NULL);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct worker_link *link = handle->data;
    void (*cb)(void *data) = link->close_cb;
    void *data = link->close_data;

    json_decref(link->params);
    free(link);
    cb(data);
}

/* Something ended: go on with what waits for it. */
static void step(struct worker_link *link)
{
    if (link->alive || link->n_channels > 0) {
        return;
    }
    if (link->closing) {
        if (!link->timer_closed) {
            link->timer_closed = true;
            uv_close((uv_handle_t *)&link->timer, on_timer_closed);
        }
        return;
    }
    if (link->params == NULL) {
        return;
    }
    try_spawn(link);
    if (link->alive) {
        ask(link);
    } else {
        (void)uv_timer_start(&link->timer, on_spawn_failed, 0, 0);
    }
}

struct worker_link *worker_link_start(const struct worker_link_options *options)
{
    struct worker_link *link = mem_alloc(sizeof *link);

    link->options = *options;
    link->config = (struct rpc_config){
        .peer = "the worker",
        .protocol = OP_PROTO_WORKER_NAME,
        .version = OP_PROTO_VERSION,
        .methods = options->methods,
        .on_end = on_channel_end,
        .data = link,
    };
    (void)uv_timer_init(options->loop, &link->timer);
    link->timer.data = link;
    try_spawn(link);
    return link;
}

void *worker_link_owner(const struct worker_link *link)
{
    return link->options.owner;
}

void worker_link_run(struct worker_link *link, const json_t *params, worker_link_cb cb, void *data)
{
    link->cb = cb;
    link->data = data;
    link->params = json_incref((json_t *)params);
    if (link->alive && link->rpc != NULL && rpc_is_open(link->rpc)) {
        ask(link);
    } else {
        step(link); /* Now, or when what is left of the last one has closed. */
    }
}

void worker_link_abort(struct worker_link *link)
{
    link->cb = NULL;
    json_decref(TAKE(link->params));
    if (link->alive) {
        child_signal_group(&link->child, SIGKILL);
    }
    close_channel(link);
}

void worker_link_close(struct worker_link *link, void (*cb)(void *data), void *data)
{
    link->closing = true;
    link->close_cb = cb;
    link->close_data = data;
    if (link->alive) {
        child_signal_group(&link->child, SIGKILL);
    }
    step(link);
}
