/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

struct httpd;
struct httpd_request;

/* What a route asks of its caller, from least to most. */
enum httpd_role {
    HTTPD_PUBLIC, /* Anyone who can connect, token or not. */
    HTTPD_VIEWER,
    HTTPD_ROLE, /* Owner of one Aurora role: see httpd_identity.role_name. */
    HTTPD_OPERATOR,
    HTTPD_ADMIN,
};

/* Who calls.  Strings live as long as the request. */
struct httpd_identity {
    const char *name; /* The token's name, "uid:1000", or "loopback". */
    enum httpd_role role;
    const char *role_name; /* With HTTPD_ROLE the Aurora role; NULL otherwise. */
    bool local;            /* Came over a unix socket: uid, gid and pid are the peer's. */
    uid_t uid;
    gid_t gid;
    pid_t pid;
};

/* Answers a request, now or later, by exactly one call of httpd_reply_*(),
 * httpd_drop() or httpd_stream_end(); until then req stays valid. */
typedef void (*httpd_handler_fn)(struct httpd_request *req);
typedef void (*httpd_request_cb)(struct httpd_request *req);
typedef void (*httpd_cb)(struct httpd *httpd);

/* One row of the route table.  A pattern is "/v1/jobs/{role}/{env}/{name}"; a
 * last segment "{path*}" takes the rest, empty or not.  The first row whose path
 * and method match wins.  GET rows answer HEAD too. */
struct httpd_route {
    const char *method;
    const char *pattern;
    httpd_handler_fn handler;
    enum httpd_role role;
    void *ctx; /* httpd_ctx(req); NULL takes the options' one. */
};

struct httpd_options {
    uv_loop_t *loop;
    const struct httpd_route *routes; /* Borrowed for the server's life. */
    size_t n_routes;
    void *ctx;
    const char *token_file;   /* NULL for none; see httpd_new(). */
    size_t max_body_bytes;    /* 0: 4 MiB. */
    size_t max_header_bytes;  /* 0: 32 KiB, request line included. */
    unsigned max_connections; /* 0: 1000. */
    unsigned idle_timeout_s;  /* 0: 60. */
    uint64_t body_timeout_ms; /* 0: 60,000: in this time the headers must be here, then the body. */
    size_t max_stream_bytes;  /* 0: 256 KiB of a stream wait for its reader. */
};

/* A server without listeners yet.  The token file has one "TOKEN [NAME [ROLE]]" a
 * line (ROLE: viewer, operator, admin (default) or role:<name>; # starts a
 * comment; a token is at least 16 characters) and must not be readable by others. */
int httpd_new(const struct httpd_options *options, struct httpd **ret_httpd, struct err *err);

/* Each may be called several times, before or while the loop runs.  address is
 * "HOST:PORT" or "[V6]:PORT", numeric or "localhost"; port 0 picks one and ret_port
 * (may be NULL) tells it.  Without a token file only loopback is accepted. */
int httpd_listen_tcp(struct httpd *httpd, const char *address, uint16_t *ret_port, struct err *err);

/* Replaces a stale socket file, refuses one that is in use.  Peers with our uid or
 * root are admin.  mode is 0600 or 0660.  The file is removed at close. */
int httpd_listen_unix(struct httpd *httpd, const char *path, mode_t mode, struct err *err);

/* Takes over a listening descriptor, of either family. */
int httpd_listen_fd(struct httpd *httpd, int fd, struct err *err);

/* Stops listening, tells each unanswered request that its client is gone, and frees
 * the server once all of them have been answered; then cb (may be NULL). */
void httpd_close(struct httpd *httpd, httpd_cb cb);

/* The options' ctx; still good in httpd_close()'s callback. */
void *httpd_server_ctx(const struct httpd *httpd);

/* ---- The request: valid until it is answered; strings are borrowed from it. ---- */

const char *httpd_method(const struct httpd_request *req);
const char *httpd_path(const struct httpd_request *req); /* Decoded. */
const char *httpd_id(const struct httpd_request *req);   /* X-Request-Id, theirs or ours. */
void *httpd_ctx(const struct httpd_request *req);
struct httpd *httpd_server(const struct httpd_request *req);
const struct httpd_identity *httpd_identity(const struct httpd_request *req);

/* The value of a {name} of the route's pattern; asking for one it lacks aborts. */
const char *httpd_param(const struct httpd_request *req, const char *name);

/* NULL when absent; "" for a key without a value. */
const char *httpd_query(const struct httpd_request *req, const char *key);
/* The nth (from 0) value of a repeated key, NULL past the last. */
const char *httpd_query_nth(const struct httpd_request *req, const char *key, size_t nth);
/* NULL when absent, and once the client is gone; copy what is needed beyond the handler. */
const char *httpd_header(const struct httpd_request *req, const char *name);

/* Never NULL; a NUL stands after the last byte. */
const char *httpd_body(const struct httpd_request *req, size_t *ret_len);

/* The body as JSON, the caller's reference: content type application/json, at most
 * 64 levels deep, no duplicate keys.  After a failure httpd_reply_err() answers the
 * fitting 400 or 415. */
int httpd_json(struct httpd_request *req, json_t **ret_doc, struct err *err);

/* A pointer of the handler's own, for the time until it answers. */
void httpd_set_data(struct httpd_request *req, void *data);
void *httpd_data(const struct httpd_request *req);

/* Called at most once, from the loop, when the client went away before the answer.
 * The request still wants its one answer, which then goes nowhere. */
void httpd_on_gone(struct httpd_request *req, httpd_request_cb on_gone);
bool httpd_is_gone(const struct httpd_request *req);

/* ---- Answers: each ends the handler's hold on req. ---- */

/* Copied; before the answer or httpd_stream_begin().  No line breaks in value. */
void httpd_add_header(struct httpd_request *req, const char *name, const char *value);

void httpd_reply_json_take(struct httpd_request *req, int status, json_t *doc);
void httpd_reply_text(struct httpd_request *req, int status, const char *content_type,
                      const void *bytes, size_t len);
/* Takes over bytes, from malloc. */
void httpd_reply_bytes_take(struct httpd_request *req, int status, const char *content_type,
                            void *bytes, size_t len);
void httpd_reply_empty(struct httpd_request *req, int status);

/* application/problem+json with err_http_status(err->code). */
void httpd_reply_err(struct httpd_request *req, const struct err *err);
/* The same with a status of the caller's choice. */
void httpd_reply_problem(struct httpd_request *req, int status, const struct err *err);

/* Closes the connection without an answer. */
void httpd_drop(struct httpd_request *req);

/* ---- Streams: logs, server-sent events, NDJSON. ---- */

/* Sends the headers.  on_writable (may be NULL) fires each time a refused write may be
 * tried again.  For a client that goes away see httpd_on_gone(). */
void httpd_stream_begin(struct httpd_request *req, int status, const char *content_type,
                        httpd_request_cb on_writable);

/* Copies all of it, or nothing when the reader is max_stream_bytes behind: false, and
 * on_writable will tell.  Into an empty buffer any length goes.  True, and nothing
 * happens, when the client is gone. */
bool httpd_stream_write(struct httpd_request *req, const void *bytes, size_t len);
size_t httpd_stream_pending(const struct httpd_request *req);

/* Ends it after what was written; the handler's hold ends at once. */
void httpd_stream_end(struct httpd_request *req);
