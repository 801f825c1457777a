/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "guest/rpc.h"

#include <jansson.h>
#include <stdbool.h>
#include <uv.h>

/* One davit-op process and the channel to it.  Started idle, it waits (having said hello) until it
 * is assigned an operation: so one can be kept ready. */
struct op_supervisor;

/* Once: the process is gone and the channel closed.  why is one line.  The supervisor is gone
 * afterwards. */
typedef void (*op_supervisor_end_cb)(struct op_supervisor *supervisor, const char *why);

/* Borrowed until the end, except the struct itself. */
struct op_supervisor_options {
    uv_loop_t *loop;
    /* What davit-op may ask, op_supervisor_hello among it; the functions' data is the supervisor.
     */
    const struct rpc_method *methods;
    op_supervisor_end_cb ended;
    void *owner;
};

/* Failing to start arrives through ended, later, too. */
struct op_supervisor *op_supervisor_start(const struct op_supervisor_options *options);

/* Serves OP_METHOD_HELLO; put it into methods. */
void op_supervisor_hello(struct rpc_request *request, const json_t *params, void *data);

/* Answers its hello.  hello is borrowed; data is the operation's, NULL before and after it. */
void op_supervisor_assign(struct op_supervisor *supervisor, const json_t *hello, void *data);
void *op_supervisor_data(const struct op_supervisor *supervisor);
void *op_supervisor_owner(const struct op_supervisor *supervisor);

/* Can it still be assigned an operation, as far as we know? */
bool op_supervisor_is_up(const struct op_supervisor *supervisor);

/* In ended: it did not end by itself after all was done, so that its hooks may live on. */
bool op_supervisor_died(const struct op_supervisor *supervisor);

/* Tells it so; lost when it cannot hear any more. */
void op_supervisor_notify(struct op_supervisor *supervisor, const char *method);

/* SIGKILL now; ended fires when it is gone. */
void op_supervisor_kill(struct op_supervisor *supervisor);

/* Its operation does not want to hear of it any more: its data is NULL from now on. */
void op_supervisor_detach(struct op_supervisor *supervisor);
