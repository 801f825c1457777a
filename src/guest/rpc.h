/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

/* One end of a JSON-RPC 2.0 channel: one object per line over a stream socket.
 * Both ends are alike: each may call, answer and notify, with any number of
 * calls outstanding in both directions.  docs/guest-protocol.md has the wire. */
struct rpc;
struct rpc_call;

/* A call the peer made on us, to be answered exactly once, now or later. */
struct rpc_request;

/* The call's one outcome, from the loop, never from inside rpc_call_start().
 * call->err.code is 0 and call->result is set, or call->err says what went
 * wrong.  May free or restart the call, and may close the rpc. */
typedef void (*rpc_call_cb)(struct rpc_call *call);

/* Caller-owned; keep it alive and in place until its callback has fired. */
struct rpc_call {
    void *data; /* The caller's; never touched here. */
    struct err err;
    json_t *result; /* During the callback only; json_incref() to keep. */
    json_t *error;  /* The same: the peer's error object, when it answered with one. */

    /* Private to rpc.c. */
    struct rpc *rpc;
    rpc_call_cb cb;
    uint64_t id, deadline_ms;
    bool hello;
    struct rpc_call *prev, *next;
};

/* Serves one method.  params is borrowed (NULL when absent).  Must lead to one
 * rpc_reply() or rpc_reply_error(), also for a notification, where it is not sent. */
typedef void (*rpc_serve_fn)(struct rpc_request *request, const json_t *params, void *data);

struct rpc_method {
    const char *name;
    rpc_serve_fn serve;
};

/* The channel ended by itself: the peer closed it (ERR_EOF), or broke its
 * rules.  Fires once, after every pending call has had its outcome, and not at
 * all once rpc_close() was called.  The owner still has to call rpc_close(). */
typedef void (*rpc_end_cb)(struct rpc *rpc, const struct err *why, void *data);
typedef void (*rpc_close_cb)(void *data);

/* Borrowed until the rpc is closed, methods and texts included. */
struct rpc_config {
    const char *peer;                 /* How messages call the other end: "the guest". */
    const char *protocol;             /* What both must agree on in hello: "davit-guest". */
    int version;                      /* Its version, the same on both sides. */
    const struct rpc_method *methods; /* Ended by a NULL name; NULL when nothing is served. */
    size_t max_line_bytes;            /* Longest line accepted, and most bytes waiting to be
                                       * written; 0 is RPC_MAX_LINE_BYTES. */
    rpc_end_cb on_end;                /* May be NULL. */
    void *data;                       /* For serve and on_end. */
};

enum { RPC_MAX_LINE_BYTES = 16 * 1024 * 1024 };

/* Takes fd, also when it turns out useless: that arrives through on_end. */
struct rpc *rpc_new(uv_loop_t *loop, int fd, const struct rpc_config *config);

/* Ends pending calls with ERR_CANCELED, drops unanswered requests (answering
 * one later is harmless), closes the socket, calls cb (may be NULL) with data
 * from the loop, and is gone.  What was written before still goes out only as
 * far as the kernel took it. */
void rpc_close(struct rpc *rpc, rpc_close_cb cb, void *data);

/* False once the channel has ended or is closing. */
bool rpc_is_open(const struct rpc *rpc);

/* params is borrowed for the call; NULL sends none.  timeout_ms 0 means no
 * deadline: only for what a person may take any time over. */
void rpc_call_start(struct rpc_call *call, struct rpc *rpc, const char *method,
                    const json_t *params, uint64_t timeout_ms, rpc_call_cb cb);

/* The first call of a channel: agree on protocol and version.  ERR_UNSUPPORTED
 * when the peer speaks another.  Peers made by rpc_new() answer it themselves. */
void rpc_hello_start(struct rpc_call *call, struct rpc *rpc, uint64_t timeout_ms, rpc_call_cb cb);

/* Ends it early with ERR_CANCELED, from the loop; does nothing once an outcome
 * is known.  A later answer is dropped. */
void rpc_call_cancel(struct rpc_call *call);

/* Tell the peer; it cannot answer.  Lost silently when the channel has ended. */
void rpc_notify(struct rpc *rpc, const char *method, const json_t *params);

/* Both end the request.  result, err and data are borrowed; NULL result is null,
 * NULL data none. */
void rpc_reply(struct rpc_request *request, const json_t *result);
void rpc_reply_error(struct rpc_request *request, const struct err *err, const json_t *data);

const char *rpc_request_method(const struct rpc_request *request);

/* ERR_* to the number on the wire (-32001 ... for ours) and back; unknown
 * numbers become ERR_FAILED. */
int rpc_code_to_wire(int code);
int rpc_code_from_wire(json_int_t wire);
