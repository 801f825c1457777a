/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

/* One request to an HTTP server of this pod, on localhost. */

enum {
    PROBE_HTTP_BODY_MAX = 64 * 1024,    /* kept of an answer */
    PROBE_HTTP_BYTES_MAX = 1024 * 1024, /* read of one; more is ERR_TOOBIG */
};

struct probe_http;
typedef void (*probe_http_cb)(struct probe_http *probe);

/* Borrowed until probe_http_start() returns. */
struct probe_http_spec {
    const char *method; /* "GET", or "POST" with an empty body */
    int port;
    const char *path; /* a leading slash is added where it lacks */
    uint64_t timeout_ms;
};

/* What an HTTP parser makes of the bytes of an answer. */
struct probe_http_answer {
    int status;      /* 0 until known */
    struct buf body; /* the first PROBE_HTTP_BODY_MAX bytes */
    bool done;
    size_t bytes; /* fed so far */
    struct http_parser *parser;
};

/* Feed what was read; len 0 means that the server closed.  ERR_INVALID: no HTTP; ERR_EOF: closed
 * too early; ERR_TOOBIG.  Nothing to feed once done. */
void probe_http_answer_init(struct probe_http_answer *answer);
int probe_http_answer_feed(struct probe_http_answer *answer, const char *bytes, size_t len,
                           struct err *err);
void probe_http_answer_fini(struct probe_http_answer *answer);

/* Caller-owned; keep it alive and in place until the callback has fired. */
struct probe_http {
    void *data;
    struct err err; /* ERR_UNREACHABLE, ERR_TIMEOUT, ERR_CANCELED, ... or 0: there is an answer */
    struct probe_http_answer answer; /* probe_http_fini() frees it */

    /* Private to probe_http.c. */
    uv_loop_t *loop;
    int port;
    bool second_address;
    int first_status; /* why the first address would not do */
    bool finished;
    char *request;
    char *bytes;
    uv_tcp_t tcp;
    uv_timer_t deadline;
    uv_connect_t connect;
    uv_write_t write;
    unsigned open_handles;
    probe_http_cb cb;
};

/* cb fires exactly once, later on the loop, and may start the probe again after probe_http_fini().
 */
void probe_http_start(struct probe_http *probe, uv_loop_t *loop, const struct probe_http_spec *spec,
                      probe_http_cb cb);

/* Ends it early with ERR_CANCELED; nothing once an outcome is known. */
void probe_http_cancel(struct probe_http *probe);
void probe_http_fini(struct probe_http *probe);

/* NULL when the answer is the one wanted, else why not (the caller's).  expected (any case,
 * blanks around it do not matter; NULL or empty: any body), expected_code 0: any. */
char *probe_http_verdict(const struct probe_http_answer *answer, const char *expected,
                         int expected_code);
