/* SPDX-License-Identifier: Apache-2.0 */

/* op_supervisor: starts davit-op, keeps its channel, notices its death.
 *
 * What is asked on the channel is op_serve.c's; whether another davit-op is
 * started after one died is operations.c's.
 *
 *   UP --channel ended--> DEAF --process ended--> GONE
 *   UP --process ended--> GONE --channel and timer closed--> told, freed
 *
 * Happy path: davit-op says hello, gets its operation, asks step by step, and
 * exits.
 * Failures: a process that closed its channel but lives is killed after
 * LINGER_MS: it is only finishing what hooks left behind.  A start that fails
 * goes the same way as an immediate death.
 * Invariants: the child's death comes by its pidfd, so `ended` means that
 * davit-op surely does nothing any more; its worker ends with it (end of file
 * and death signal).
 */

#include "master/operations/op_supervisor.h"

#include "base/child.h"
#include "base/json.h"
#include "base/log.h"
#include "base/selfpath.h"
#include "base/sm.h"
#include "base/str.h"
#include "guest/coproc.h"
#include "master/op_proto.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

enum { LINGER_MS = 15000 };
enum { UP, DEAF, GONE };

static const struct sm_state states[] = {
    [UP] = { "up", SM_TO(DEAF) | SM_TO(GONE) },
    [DEAF] = { "deaf", SM_TO(GONE) },
    [GONE] = { "gone", 0 },
};

struct op_supervisor {
    struct op_supervisor_options options;
    struct sm sm;
    struct child child;
    bool started; /* child is under way. */
    struct rpc_config config;
    struct rpc *rpc;
    uv_timer_t timer;
    unsigned open_handles;
    struct rpc_request *hello; /* Waiting for an operation. */
    json_t *assigned;          /* An operation waiting for the hello. */
    void *data;
    char why[128];
};

static void on_part_closed(struct op_supervisor *supervisor)
{
    if (--supervisor->open_handles > 0) {
        return;
    }
    if (supervisor->hello != NULL) {
        rpc_reply(supervisor->hello, NULL); /* Only frees it: the channel is closed. */
    }
    supervisor->options.ended(supervisor, supervisor->why);
    json_decref(supervisor->assigned);
    free(supervisor);
}

static void on_timer_closed(uv_handle_t *handle)
{
    on_part_closed(handle->data);
}

static void on_rpc_closed(void *data)
{
    on_part_closed(data);
}

/* The process is gone, or never was. */
static void finish(struct op_supervisor *supervisor)
{
    sm_move(&supervisor->sm, GONE);
    supervisor->open_handles = 1;
    if (supervisor->rpc != NULL) {
        supervisor->open_handles++;
        rpc_close(supervisor->rpc, on_rpc_closed, supervisor);
    }
    uv_close((uv_handle_t *)&supervisor->timer, on_timer_closed);
}

static void on_exit_of(struct child *child)
{
    struct op_supervisor *supervisor = child->data;

    if (child->term_signal != 0) {
        (void)snprintf(supervisor->why, sizeof supervisor->why, "killed by signal %d",
                       child->term_signal);
    } else {
        (void)snprintf(supervisor->why, sizeof supervisor->why, "exited with %d", child->exit_code);
    }
    finish(supervisor);
}

static void on_start_failed(uv_timer_t *timer)
{
    finish(timer->data);
}

static void on_lingered(uv_timer_t *timer)
{
    struct op_supervisor *supervisor = timer->data;

    log_warn("davit-op closed its channel but did not end, killing it pid=%d",
             (int)supervisor->child.pid);
    child_signal(&supervisor->child, SIGKILL);
}

static void on_channel_end(struct rpc *rpc, const struct err *why, void *data)
{
    struct op_supervisor *supervisor = data;

    (void)rpc;
    log_debug("channel to davit-op ended pid=%d: %s", (int)supervisor->child.pid, why->msg);
    if (supervisor->sm.state == UP) {
        sm_move(&supervisor->sm, DEAF);
        (void)uv_timer_start(&supervisor->timer, on_lingered, LINGER_MS, 0);
    }
}

static int spawn(struct op_supervisor *supervisor, struct err *err)
{
    CLEANUP(mem_freep) char *program = selfpath_program("op");
    const char *const argv[] = { program, NULL };
    const struct coproc_options how = {
        .argv = argv,
        .fd_variable = OP_PROTO_FD_ENV,
        .cwd = "/",
        .stdio = { -1, STDERR_FILENO, STDERR_FILENO },
        .group = CHILD_GROUP_OWN,
        .death_signal = SIGTERM,
    };
    CLEANUP(fd_closep) int channel = -1;

    supervisor->child.data = supervisor;
    if (coproc_start(&supervisor->child, supervisor->options.loop, &how, on_exit_of, &channel,
                     err) < 0) {
        return err_code(err);
    }
    supervisor->started = true;
    supervisor->rpc = rpc_new(supervisor->options.loop, TAKE_FD(channel), &supervisor->config);
    return 0;
}

struct op_supervisor *op_supervisor_start(const struct op_supervisor_options *options)
{
    struct op_supervisor *supervisor = mem_alloc(sizeof *supervisor);
    struct err err = { 0 };

    supervisor->options = *options;
    sm_init(&supervisor->sm, states, UP);
    supervisor->config = (struct rpc_config){
        .peer = "davit-op",
        .protocol = OP_PROTO_NAME,
        .version = OP_PROTO_VERSION,
        .methods = options->methods,
        .on_end = on_channel_end,
        .data = supervisor,
    };
    (void)uv_timer_init(options->loop, &supervisor->timer);
    supervisor->timer.data = supervisor;
    if (spawn(supervisor, &err) < 0) {
        log_error("cannot start davit-op: %s", err.msg);
        (void)snprintf(supervisor->why, sizeof supervisor->why, "could not be started");
        (void)uv_timer_start(&supervisor->timer, on_start_failed, 0, 0);
    }
    return supervisor;
}

void op_supervisor_hello(struct rpc_request *request, const json_t *params, void *data)
{
    struct op_supervisor *supervisor = data;
    struct err err = { 0 };

    if (json_int_or(params, "version", 0) != OP_PROTO_VERSION || supervisor->hello != NULL) {
        (void)err_set(&err, ERR_UNSUPPORTED, "this master speaks version %d", OP_PROTO_VERSION);
        rpc_reply_error(request, &err, NULL);
        return;
    }
    if (supervisor->assigned == NULL) {
        supervisor->hello = request;
        return;
    }
    rpc_reply(request, supervisor->assigned);
}

void op_supervisor_assign(struct op_supervisor *supervisor, const json_t *hello, void *data)
{
    supervisor->data = data;
    supervisor->assigned = json_deep_copy(hello);
    if (supervisor->hello != NULL) {
        rpc_reply(TAKE(supervisor->hello), supervisor->assigned);
    }
}

void *op_supervisor_data(const struct op_supervisor *supervisor)
{
    return supervisor->data;
}

bool op_supervisor_is_up(const struct op_supervisor *supervisor)
{
    return supervisor->sm.state == UP && supervisor->started;
}

bool op_supervisor_died(const struct op_supervisor *supervisor)
{
    const struct child *child = &supervisor->child;

    return supervisor->started && (child->term_signal != 0 || child->exit_code != 0);
}

void op_supervisor_notify(struct op_supervisor *supervisor, const char *method)
{
    if (supervisor->sm.state == UP && supervisor->rpc != NULL) {
        rpc_notify(supervisor->rpc, method, NULL);
    }
}

void op_supervisor_kill(struct op_supervisor *supervisor)
{
    if (supervisor->sm.state != GONE && supervisor->started) {
        child_signal(&supervisor->child, SIGKILL);
    }
}

void op_supervisor_detach(struct op_supervisor *supervisor)
{
    supervisor->data = NULL;
}

void *op_supervisor_owner(const struct op_supervisor *supervisor)
{
    return supervisor->options.owner;
}
