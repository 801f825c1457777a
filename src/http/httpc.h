/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

/* An HTTP client on a loop; keeps connections open for reuse. */
struct httpc;
struct httpc_call;

/* Fires exactly once per start, from the loop.  The callback may restart the call, or
 * end it with httpc_call_fini() and free it. */
typedef void (*httpc_call_cb)(struct httpc_call *call);
/* A piece of a streamed body. */
typedef void (*httpc_data_cb)(struct httpc_call *call, const void *bytes, size_t len);
typedef void (*httpc_cb)(void *data);

struct httpc_call {
    void *data; /* The caller's. */

    /* The request: set before start, borrowed until the callback. */
    const char *method;         /* NULL: GET, or POST with a body. */
    const char *url;            /* "http://HOST:PORT/path?query", already encoded. */
    const char *unix_path;      /* Connect here; the URL's host is then only a name. */
    const char *token;          /* Sent as Authorization: Bearer. */
    const char *const *headers; /* "Name: value", NULL ends them. */
    const char *content_type;   /* NULL: application/json when there is a body. */
    const void *body;
    size_t body_len;
    uint64_t timeout_ms;    /* 0: 30,000.  The whole exchange; with on_data, up to the headers. */
    uint64_t idle_ms;       /* With on_data: longest silence, 0 for any. */
    size_t max_bytes;       /* 0: 64 MiB.  Of the collected answer; more is ERR_TOOBIG. */
    unsigned max_redirects; /* 0: a redirect is the answer. */
    httpc_data_cb on_data;  /* Stream a 2xx body here instead of collecting it. */

    /* The outcome: err.code is 0 when an answer arrived, whatever its status. */
    struct err err; /* ERR_UNREACHABLE, ERR_TIMEOUT, ERR_CANCELED, ERR_TOOBIG, ... */
    int status;
    char *res_body; /* Never NULL after an answer; NUL-terminated; the call's. */
    size_t res_len;
    char *res_type; /* Content-Type, Location: NULL when absent; the call's. */
    char *res_location;
    long res_retry_after_s; /* -1 when absent. */

    /* Private to httpc.c. */
    httpc_call_cb cb;
    struct httpc *httpc;
    struct httpc_flight *flight;
};

/* Cheap: libcurl is set up at the first call, TLS only at the first https one. */
void httpc_new(uv_loop_t *loop, struct httpc **ret_httpc);

/* Cancels every call (their callbacks fire first), frees the client, then cb. */
void httpc_close(struct httpc *httpc, httpc_cb cb, void *data);

void httpc_start(struct httpc *httpc, struct httpc_call *call, httpc_call_cb cb);

/* Ends it early with ERR_CANCELED, from the loop; nothing once an outcome is known. */
void httpc_cancel(struct httpc_call *call);

/* Of a call with on_data, from anywhere: no more pieces come (the server has to wait) until
 * httpc_resume().  idle_ms does not run meanwhile.  Nothing once an outcome is known. */
void httpc_pause(struct httpc_call *call);
void httpc_resume(struct httpc_call *call);

/* Frees the outcome.  Not while a call is under way. */
void httpc_call_fini(struct httpc_call *call);

/* 0 when an answer with a 2xx status arrived; else err is the transport's error, or what
 * the server's problem+json (or bare status) says: one line for the user. */
int httpc_check(const struct httpc_call *call, struct err *err);

/* The answer's body as JSON, the caller's reference; ERR_INVALID when it is none. */
int httpc_json(const struct httpc_call *call, json_t **ret_doc, struct err *err);
