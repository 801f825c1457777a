/* SPDX-License-Identifier: Apache-2.0 */

/* httpd: an HTTP server on our loop; libmicrohttpd parses and writes, we accept, route and answer.
 *
 * Not TLS yet: it will be a second MHD daemon in struct httpd, with listeners that hand their
 * connections to it.  Not the meaning of roles: a route names the least one, handlers of one
 * Aurora role's objects look at the identity.
 *
 * A request:
 *   RECEIVING --whole body--> HANDLING --reply, drop--> ANSWERED
 *        |                       `--stream_begin--> STREAMING --stream_end--> ANSWERED
 *        `--bad path, no token, too large, ...--> ANSWERED
 * Beside that MHD either holds its connection (conn != NULL) or is done with it.  The request is
 * freed when it is ANSWERED and MHD is done, in whichever order.
 *
 * Happy path: MHD's epoll descriptor becomes readable, MHD_run() calls on_access() with headers,
 * body and end; the handler answers at once, or the connection is suspended, and resumed by the
 * answer, upon which on_access() is called again and queues it.
 * Failures: what is found wrong before the handler runs is remembered as the answer and sent once
 * the body has been read away (a connection closed on unread bytes would lose the answer).  While
 * a connection is suspended MHD does not look at it, so we poll it for its peer's going away.
 * Invariants: MHD is never entered from within on_access() or a stream's reader; a handler has
 * exactly one answer for each request; nothing here blocks.
 */

#include "http/httpd.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/id.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sm.h"
#include "base/str.h"
#include "http/bearer.h"
#include "http/problem.h"
#include "http/route.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <limits.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <utlist.h>

enum {
    DEFAULT_BODY_BYTES = 4 * 1024 * 1024,
    DEFAULT_HEADER_BYTES = 32 * 1024,
    DEFAULT_CONNECTIONS = 1000,
    DEFAULT_IDLE_S = 60,
    DEFAULT_BODY_MS = 60 * 1000,
    DEFAULT_STREAM_BYTES = 256 * 1024,
    MAX_DISCARD_BYTES = 16 * 1024 * 1024, /* Of a refused body we read this much away. */
    MAX_REQUEST_ID = 64,
    ACCEPT_BATCH = 64,
    ACCEPT_PAUSE_MS = 50, /* Out of descriptors or at the connection limit. */
    BACKLOG = 512,
};

enum { RECEIVING, HANDLING, STREAMING, ANSWERED };

static const struct sm_state states[] = {
    [RECEIVING] = { "receiving", SM_TO(HANDLING) | SM_TO(ANSWERED) },
    [HANDLING] = { "handling", SM_TO(STREAMING) | SM_TO(ANSWERED) },
    [STREAMING] = { "streaming", SM_TO(ANSWERED) },
    [ANSWERED] = { "answered", 0 },
};

struct listener {
    struct httpd *httpd;
    int fd;
    char *unix_path; /* Removed at close; NULL for TCP and passed descriptors. */
    uv_poll_t poll;
    struct listener *prev, *next;
};

/* One per connection: what does not change from request to request. */
struct peer {
    bool local;
    struct ucred cred;
};

/* Tells of a suspended connection's end.  On its own because its handle closes later. */
struct watch {
    uv_poll_t poll;
    struct httpd *httpd;
    struct httpd_request *req;
};

struct query_arg {
    char *key, *value;
};

struct header {
    char *name, *value;
    struct header *next;
};

struct httpd_request {
    struct httpd *httpd;
    struct MHD_Connection *conn; /* NULL once MHD is done with it. */
    struct sm sm;
    struct httpd_request *prev, *next;

    char method[16]; /* Ours: MHD's goes with the connection. */
    struct route_path path;
    const struct httpd_route *route;
    const struct route_pattern *pattern;
    struct httpd_identity identity;
    char identity_name[32];
    char id[MAX_REQUEST_ID + 1];
    struct query_arg *args;
    size_t n_args;
    struct buf body;
    size_t discarded;
    uint64_t started_ms;
    void *data;

    struct MHD_Response *response; /* Until it is queued. */
    int status;
    struct header *headers;
    int json_status; /* What httpd_json() found wrong, for httpd_reply_err(); 0. */

    bool in_access; /* on_access() is on the stack: answer by returning to it. */
    bool suspended;
    bool dropped;
    bool gone;
    bool early; /* Answered without waiting for the body. */
    httpd_request_cb on_gone;
    struct watch *watch;

    struct buf stream;
    size_t stream_sent; /* Of stream, from its front. */
    bool stream_full;   /* A write was refused: on_writable is owed. */
    httpd_request_cb on_writable;
};

struct httpd {
    struct httpd_options options;
    struct route_pattern **patterns;
    struct bearer_tokens *tokens;
    struct MHD_Daemon *daemon;
    struct listener *listeners;
    struct httpd_request *requests;
    unsigned connections;
    uint64_t next_id;
    char id_prefix[9];

    uv_poll_t poll;
    uv_timer_t timer;  /* MHD's next timeout. */
    uv_timer_t paused; /* Listeners rest until it fires. */
    uv_timer_t closer; /* Leaves the caller's stack before MHD is stopped. */
    unsigned open_handles;
    bool resumed; /* Since MHD last ran. */
    bool closing;
    bool draining; /* No new request becomes a handler's. */
    bool stopped;
    httpd_cb close_cb;
};

static void on_mhd_timer(uv_timer_t *timer);
static void maybe_closed(struct httpd *httpd);

/* ---- Requests ---- */

static bool is_held(const struct httpd_request *req)
{
    return req->sm.state == HANDLING || req->sm.state == STREAMING;
}

static void free_headers(struct httpd_request *req)
{
    struct header *header, *next;

    LL_FOREACH_SAFE(req->headers, header, next)
    {
        free(header->name);
        free(header->value);
        free(header);
    }
    req->headers = NULL;
}

static void maybe_free_request(struct httpd_request *req)
{
    struct httpd *httpd = req->httpd;

    if (req->conn != NULL || is_held(req)) {
        return;
    }
    assert(req->watch == NULL);
    DL_DELETE(httpd->requests, req);
    if (req->response != NULL) {
        MHD_destroy_response(req->response);
    }
    for (size_t i = 0; i < req->n_args; i++) {
        free(req->args[i].key);
        free(req->args[i].value);
    }
    free(req->args);
    free_headers(req);
    route_path_fini(&req->path);
    buf_fini(&req->body);
    buf_fini(&req->stream);
    free(req);
    maybe_closed(httpd);
}

static void on_watch_closed(uv_handle_t *handle)
{
    struct watch *watch = handle->data;
    struct httpd *httpd = watch->httpd;

    free(watch);
    httpd->open_handles--;
    maybe_closed(httpd);
}

/* Before MHD may close the descriptor: uv_close() takes it out of the loop's epoll at once. */
static void unwatch(struct httpd_request *req)
{
    if (req->watch != NULL) {
        req->watch->req = NULL;
        uv_close((uv_handle_t *)&req->watch->poll, on_watch_closed);
        req->watch = NULL;
    }
}

static void resume(struct httpd_request *req)
{
    if (req->conn != NULL && req->suspended) {
        unwatch(req);
        req->suspended = false;
        MHD_resume_connection(req->conn);
        /* Nothing of MHD's becomes readable by it; and we may be inside MHD_run(). */
        req->httpd->resumed = true;
        uv_timer_start(&req->httpd->timer, on_mhd_timer, 0, 0);
    }
}

/* The client is away, or the server is closing: tell the handler once. */
static void set_gone(struct httpd_request *req)
{
    httpd_request_cb on_gone = req->on_gone;

    if (req->gone || !is_held(req)) {
        return;
    }
    req->gone = true;
    req->on_gone = NULL;
    resume(req);
    if (on_gone != NULL) {
        on_gone(req); /* Last: it may answer, which may free req. */
    }
}

static void on_watch(uv_poll_t *poll, int status, int events)
{
    struct watch *watch = poll->data;

    (void)status;
    (void)events; /* We asked for the one, and an error is as good. */
    set_gone(watch->req);
}

static void watch_peer(struct httpd_request *req)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(req->conn, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct watch *watch = mem_alloc(sizeof *watch);

    if (FAULT("httpd.watch")
            ?: uv_poll_init(req->httpd->options.loop, &watch->poll, info->connect_fd)) {
        free(watch); /* The client's going away is noticed when we write. */
        return;
    }
    watch->poll.data = watch;
    watch->httpd = req->httpd;
    watch->req = req;
    req->httpd->open_handles++;
    req->watch = watch;
    uv_poll_start(&watch->poll, UV_DISCONNECT, on_watch);
}

static void suspend(struct httpd_request *req)
{
    assert(!req->suspended);
    MHD_suspend_connection(req->conn);
    req->suspended = true;
    if (req->on_gone != NULL || req->sm.state == STREAMING) {
        watch_peer(req);
    }
}

/* ---- Answers ---- */

static void add_headers(struct httpd_request *req)
{
    const struct header *header;

    LL_FOREACH(req->headers, header)
    {
        MHD_add_response_header(req->response, header->name, header->value);
    }
    MHD_add_response_header(req->response, "X-Request-Id", req->id);
}

/* The one place where an answer is decided; the handler's hold has ended with it. */
static void answer_take(struct httpd_request *req, int status, const char *content_type,
                        struct MHD_Response *response)
{
    if (response == NULL) {
        abort(); /* Out of memory is all that can be. */
    }
    sm_move(&req->sm, ANSWERED);
    req->status = status;
    req->response = response;
    if (content_type != NULL) {
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
    }
    add_headers(req);
    log_debug("answered request=%s method=%s status=%d ms=%llu path=%s", req->id, req->method,
              status, (unsigned long long)(clock_now_ms() - req->started_ms),
              req->path.text != NULL ? req->path.text : "?");
    if (!req->in_access) {
        resume(req);
        maybe_free_request(req);
    }
}

void httpd_reply_bytes_take(struct httpd_request *req, int status, const char *content_type,
                            void *bytes, size_t len)
{
    answer_take(req, status, content_type,
                MHD_create_response_from_buffer(len, bytes, MHD_RESPMEM_MUST_FREE));
}

void httpd_reply_text(struct httpd_request *req, int status, const char *content_type,
                      const void *bytes, size_t len)
{
    char *copy = mem_alloc(len + 1);

    memcpy(copy, bytes, len);
    httpd_reply_bytes_take(req, status, content_type, copy, len);
}

void httpd_reply_json_take(struct httpd_request *req, int status, json_t *doc)
{
    char *text = json_text_ordered(doc);

    json_decref(doc);
    httpd_reply_bytes_take(req, status, "application/json", text, strlen(text));
}

void httpd_reply_empty(struct httpd_request *req, int status)
{
    answer_take(req, status, NULL,
                MHD_create_response_from_buffer(0, (void *)"", MHD_RESPMEM_PERSISTENT));
}

void httpd_reply_problem(struct httpd_request *req, int status, const struct err *err)
{
    CLEANUP(json_freep) json_t *doc = problem_encode(err, status, req->path.text, req->id);
    char *text = json_text_ordered(doc);

    httpd_reply_bytes_take(req, status, "application/problem+json", text, strlen(text));
}

void httpd_reply_err(struct httpd_request *req, const struct err *err)
{
    int status = req->json_status != 0 ? req->json_status : err_http_status(err->code);

    httpd_reply_problem(req, status, err);
}

void httpd_drop(struct httpd_request *req)
{
    sm_move(&req->sm, ANSWERED);
    req->dropped = true;
    if (!req->in_access) {
        resume(req);
        maybe_free_request(req);
    }
}

void httpd_add_header(struct httpd_request *req, const char *name, const char *value)
{
    struct header *header = mem_alloc(sizeof *header);

    assert(strpbrk(value, "\r\n") == NULL);
    header->name = mem_strdup(name);
    header->value = mem_strdup(value);
    LL_APPEND(req->headers, header);
}

/* ---- Streams ---- */

size_t httpd_stream_pending(const struct httpd_request *req)
{
    return req->stream.len - req->stream_sent;
}

/* MHD asks for more, from inside MHD_run(). */
static ssize_t on_stream_read(void *cls, uint64_t pos, char *to, size_t max)
{
    struct httpd_request *req = cls;
    size_t pending = httpd_stream_pending(req);

    (void)pos;
    if (req->gone) {
        return MHD_CONTENT_READER_END_WITH_ERROR;
    }
    if (pending == 0) {
        if (req->sm.state == ANSWERED) {
            return MHD_CONTENT_READER_END_OF_STREAM;
        }
        suspend(req);
        return 0;
    }
    size_t n = pending < max ? pending : max;
    memcpy(to, req->stream.data + req->stream_sent, n);
    req->stream_sent += n;
    if (req->stream_sent == req->stream.len) {
        buf_clear(&req->stream);
        req->stream_sent = 0;
    }
    if (req->stream_full && httpd_stream_pending(req) <= req->httpd->options.max_stream_bytes / 2) {
        req->stream_full = false;
        if (req->sm.state == STREAMING && req->on_writable != NULL) {
            req->on_writable(req); /* It may end the stream: req stays, MHD holds it. */
        }
    }
    return (ssize_t)n;
}

void httpd_stream_begin(struct httpd_request *req, int status, const char *content_type,
                        httpd_request_cb on_writable)
{
    enum { BLOCK_BYTES = 32 * 1024 };

    sm_move(&req->sm, STREAMING);
    req->status = status;
    req->on_writable = on_writable;
    req->response =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK_BYTES, on_stream_read, req, NULL);
    if (req->response == NULL) {
        abort();
    }
    MHD_add_response_header(req->response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
    MHD_add_response_header(req->response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    add_headers(req);
    if (req->conn != NULL) {
        /* A quiet log is no dead one; the kernel's keep-alive finds dead peers. */
        MHD_set_connection_option(req->conn, MHD_CONNECTION_OPTION_TIMEOUT, 0u);
    }
    if (!req->in_access) {
        resume(req);
    }
}

bool httpd_stream_write(struct httpd_request *req, const void *bytes, size_t len)
{
    size_t pending = httpd_stream_pending(req);

    assert(req->sm.state == STREAMING);
    if (req->gone) {
        return true;
    }
    if (pending > 0 && pending + len > req->httpd->options.max_stream_bytes) {
        req->stream_full = true;
        return false;
    }
    if (req->stream_sent > 0 && req->stream_sent >= pending) {
        buf_drop(&req->stream, req->stream_sent);
        req->stream_sent = 0;
    }
    buf_add(&req->stream, bytes, len);
    if (!req->in_access) {
        resume(req);
    }
    return true;
}

void httpd_stream_end(struct httpd_request *req)
{
    assert(req->sm.state == STREAMING);
    sm_move(&req->sm, ANSWERED);
    log_debug("streamed request=%s method=%s status=%d ms=%llu path=%s", req->id, req->method,
              req->status, (unsigned long long)(clock_now_ms() - req->started_ms), req->path.text);
    if (!req->in_access) {
        resume(req);
        maybe_free_request(req);
    }
}

/* ---- What a handler reads ---- */

const char *httpd_method(const struct httpd_request *req)
{
    return req->method;
}

const char *httpd_path(const struct httpd_request *req)
{
    return req->path.text;
}

const char *httpd_id(const struct httpd_request *req)
{
    return req->id;
}

void *httpd_ctx(const struct httpd_request *req)
{
    return req->route->ctx != NULL ? req->route->ctx : req->httpd->options.ctx;
}

struct httpd *httpd_server(const struct httpd_request *req)
{
    return req->httpd;
}

const struct httpd_identity *httpd_identity(const struct httpd_request *req)
{
    return &req->identity;
}

const char *httpd_param(const struct httpd_request *req, const char *name)
{
    const char *value = route_param(req->pattern, &req->path, name);

    assert(value != NULL);
    return value;
}

const char *httpd_query_nth(const struct httpd_request *req, const char *key, size_t nth)
{
    for (size_t i = 0; i < req->n_args; i++) {
        if (strcmp(req->args[i].key, key) == 0 && nth-- == 0) {
            return req->args[i].value;
        }
    }
    return NULL;
}

const char *httpd_query(const struct httpd_request *req, const char *key)
{
    return httpd_query_nth(req, key, 0);
}

const char *httpd_header(const struct httpd_request *req, const char *name)
{
    if (req->conn == NULL) {
        return NULL; /* MHD has let go of them with the connection. */
    }
    return MHD_lookup_connection_value(req->conn, MHD_HEADER_KIND, name);
}

const char *httpd_body(const struct httpd_request *req, size_t *ret_len)
{
    *ret_len = req->body.len;
    return buf_text(&req->body);
}

static bool is_json_type(const char *type)
{
    size_t len = type != NULL ? strcspn(type, "; \t") : 0;

    return len == strlen("application/json") && strncasecmp(type, "application/json", len) == 0;
}

int httpd_json(struct httpd_request *req, json_t **ret_doc, struct err *err)
{
    const char *type = httpd_header(req, MHD_HTTP_HEADER_CONTENT_TYPE);

    if (!is_json_type(type)) {
        req->json_status = MHD_HTTP_UNSUPPORTED_MEDIA_TYPE;
        return err_set(err, ERR_INVALID, "the body's content type is %s, not application/json",
                       type != NULL ? type : "missing");
    }
    if (json_parse(buf_text(&req->body), req->body.len, req->httpd->options.max_body_bytes, ret_doc,
                   err) < 0) {
        return err_wrap(err, "the body");
    }
    return 0;
}

void httpd_set_data(struct httpd_request *req, void *data)
{
    req->data = data;
}

void *httpd_data(const struct httpd_request *req)
{
    return req->data;
}

void httpd_on_gone(struct httpd_request *req, httpd_request_cb on_gone)
{
    req->on_gone = on_gone;
    if (req->suspended && req->watch == NULL && !req->gone) {
        watch_peer(req);
    }
}

bool httpd_is_gone(const struct httpd_request *req)
{
    return req->gone;
}

/* ---- Receiving ---- */

static void refuse(struct httpd_request *req, int status, int code, const char *why)
{
    struct err err = { 0 };

    err_setf(&err, code, "%s", why);
    httpd_reply_problem(req, status, &err);
}

/* Is "Host:" a name of this machine's loopback?  Keeps web pages that the user visits from
 * reaching a server without tokens under a name of theirs (DNS rebinding). */
static bool is_loopback_host(const char *host)
{
    static const char *const names[] = { "localhost", "127.0.0.1", "[::1]" };

    for (size_t i = 0; host != NULL && i < sizeof names / sizeof names[0]; i++) {
        size_t len = strlen(names[i]);
        if (strncasecmp(host, names[i], len) == 0 && (host[len] == '\0' || host[len] == ':')) {
            return true;
        }
    }
    return host == NULL; /* HTTP/1.0: no browser. */
}

static int identify_loopback(struct httpd_request *req, struct err *err)
{
    const char *host = httpd_header(req, MHD_HTTP_HEADER_HOST);
    const char *origin = httpd_header(req, MHD_HTTP_HEADER_ORIGIN);
    const char *authority = origin != NULL ? strstr(origin, "://") : NULL;

    if (!is_loopback_host(host)) {
        return err_set(err, ERR_DENIED, "without a token only loopback names are served");
    }
    if (origin != NULL && (authority == NULL || !str_eq(authority + 3, host))) {
        return err_set(err, ERR_DENIED, "another site's page may not call without a token");
    }
    req->identity = (struct httpd_identity){ .name = "loopback", .role = HTTPD_ADMIN };
    return 0;
}

static int identify_by_token(struct httpd_request *req, struct err *err)
{
    static const char scheme[] = "Bearer ";
    const char *value = httpd_header(req, MHD_HTTP_HEADER_AUTHORIZATION);

    if (value == NULL) {
        req->identity = (struct httpd_identity){ .name = "anonymous", .role = HTTPD_PUBLIC };
        return 0;
    }
    if (strncasecmp(value, scheme, strlen(scheme)) != 0 ||
        !bearer_identify(req->httpd->tokens, value + strlen(scheme), &req->identity)) {
        return err_set(err, ERR_UNAUTH, "unknown token");
    }
    return 0;
}

static int identify(struct httpd_request *req, struct err *err)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(req->conn, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    const struct peer *peer = info->socket_context;

    if (!peer->local) {
        return req->httpd->tokens != NULL ? identify_by_token(req, err)
                                          : identify_loopback(req, err);
    }
    bool trusted = peer->cred.uid == 0 || peer->cred.uid == geteuid();
    if (!trusted && req->httpd->tokens != NULL) {
        if (identify_by_token(req, err) < 0) {
            return err->code;
        }
    } else {
        snprintf(req->identity_name, sizeof req->identity_name, "uid:%u", peer->cred.uid);
        req->identity = (struct httpd_identity){ .name = req->identity_name,
                                                 .role = trusted ? HTTPD_ADMIN : HTTPD_PUBLIC };
    }
    req->identity.local = true;
    req->identity.uid = peer->cred.uid;
    req->identity.gid = peer->cred.gid;
    req->identity.pid = peer->cred.pid;
    return 0;
}

static bool takes_method(const struct httpd_route *route, const char *method)
{
    return strcmp(route->method, method) == 0 ||
           (strcmp(method, "HEAD") == 0 && strcmp(route->method, "GET") == 0);
}

/* Sets req->route, or fills allow with the methods that the path does take. */
static void find_route(struct httpd_request *req, struct buf *allow)
{
    const struct httpd *httpd = req->httpd;

    for (size_t i = 0; i < httpd->options.n_routes; i++) {
        const struct httpd_route *route = &httpd->options.routes[i];
        if (!route_match(httpd->patterns[i], &req->path)) {
            continue;
        }
        if (takes_method(route, req->method)) {
            req->route = route;
            req->pattern = httpd->patterns[i];
            return;
        }
        if (strstr(buf_text(allow), route->method) == NULL) {
            buf_addf(allow, "%s%s", allow->len > 0 ? ", " : "", route->method);
        }
    }
}

struct arg_walk {
    struct httpd_request *req;
    struct err *err;
};

static enum MHD_Result on_arg(void *cls, enum MHD_ValueKind kind, const char *key,
                              const char *value)
{
    struct arg_walk *walk = cls;
    struct httpd_request *req = walk->req;
    struct query_arg *arg = &req->args[req->n_args++];

    (void)kind;
    arg->key = mem_strdup(key != NULL ? key : "");
    arg->value = mem_strdup(value != NULL ? value : "");
    if (route_unescape(arg->key, walk->err) < 0 || route_unescape(arg->value, walk->err) < 0) {
        return MHD_NO;
    }
    return MHD_YES;
}

static int read_args(struct httpd_request *req, struct err *err)
{
    struct arg_walk walk = { .req = req, .err = err };
    int n = MHD_get_connection_values(req->conn, MHD_GET_ARGUMENT_KIND, NULL, NULL);

    if (n > 0) {
        req->args = mem_alloc((size_t)n * sizeof *req->args);
        MHD_get_connection_values(req->conn, MHD_GET_ARGUMENT_KIND, on_arg, &walk);
    }
    return err->code;
}

static void set_id(struct httpd_request *req)
{
    const char *theirs = httpd_header(req, "X-Request-Id");
    size_t len = theirs != NULL ? strspn(theirs, "0123456789abcdefghijklmnopqrstuvwxyz"
                                                 "ABCDEFGHIJKLMNOPQRSTUVWXYZ-_.:")
                                : 0;

    if (len > 0 && len <= MAX_REQUEST_ID && theirs[len] == '\0') {
        memcpy(req->id, theirs, len + 1);
    } else {
        snprintf(req->id, sizeof req->id, "%s-%llx", req->httpd->id_prefix,
                 (unsigned long long)++req->httpd->next_id);
    }
}

static void check_role(struct httpd_request *req)
{
    if (req->identity.role >= req->route->role) {
        return;
    }
    if (req->identity.role == HTTPD_PUBLIC && !req->identity.local) {
        httpd_add_header(req, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer");
        refuse(req, MHD_HTTP_UNAUTHORIZED, ERR_UNAUTH, "a token is needed");
    } else {
        refuse(req, MHD_HTTP_FORBIDDEN, ERR_DENIED, "your role does not allow this");
    }
}

/* Everything that can be said before the body is here. */
static void begin(struct httpd_request *req, const char *url)
{
    CLEANUP_BUF allow = { 0 };
    struct err err = { 0 };

    set_id(req);
    if (route_path_init(&req->path, url, &err) < 0 || read_args(req, &err) < 0) {
        req->route = NULL;
        httpd_reply_err(req, &err);
        return;
    }
    if (identify(req, &err) < 0) {
        if (err.code == ERR_UNAUTH) {
            httpd_add_header(req, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer");
        }
        httpd_reply_err(req, &err);
        return;
    }
    find_route(req, &allow);
    if (req->route != NULL) {
        check_role(req);
    } else if (allow.len == 0) {
        refuse(req, MHD_HTTP_NOT_FOUND, ERR_NOTFOUND, "no such resource");
    } else {
        if (strstr(buf_text(&allow), "GET") != NULL) {
            buf_add_text(&allow, ", HEAD");
        }
        httpd_add_header(req, MHD_HTTP_HEADER_ALLOW, buf_text(&allow));
        refuse(req, MHD_HTTP_METHOD_NOT_ALLOWED, ERR_METHOD,
               "this resource does not take that method");
    }
}

static void check_length(struct httpd_request *req)
{
    const char *length = httpd_header(req, MHD_HTTP_HEADER_CONTENT_LENGTH);
    bool expects = httpd_header(req, MHD_HTTP_HEADER_EXPECT) != NULL;
    int64_t bytes = 0;
    struct err err = { 0 };

    if (length != NULL && str_to_int(length, 0, INT64_MAX, "Content-Length", &bytes, &err) < 0) {
        bytes = INT64_MAX;
    }
    if (req->sm.state == RECEIVING && (uint64_t)bytes > req->httpd->options.max_body_bytes) {
        refuse(req, MHD_HTTP_CONTENT_TOO_LARGE, ERR_TOOBIG, "the body is too large");
    }
    req->early = req->sm.state == ANSWERED && (expects || bytes > MAX_DISCARD_BYTES);
}

static enum MHD_Result queue(struct httpd_request *req)
{
    struct MHD_Response *response = TAKE(req->response);
    enum MHD_Result rv = MHD_queue_response(req->conn, (unsigned)req->status, response);

    MHD_destroy_response(response); /* MHD keeps its own reference. */
    return rv;
}

static enum MHD_Result receive(struct httpd_request *req, const char *bytes, size_t *len)
{
    size_t n = *len;

    *len = 0;
    if (clock_now_ms() - req->started_ms > req->httpd->options.body_timeout_ms) {
        return MHD_NO; /* Dripping: no answer can be sent before the body's end. */
    }
    if (req->sm.state == RECEIVING && req->body.len + n <= req->httpd->options.max_body_bytes) {
        buf_add(&req->body, bytes, n);
        return MHD_YES;
    }
    if (req->sm.state == RECEIVING) {
        refuse(req, MHD_HTTP_CONTENT_TOO_LARGE, ERR_TOOBIG, "the body is too large");
    }
    req->discarded += n;
    return req->discarded <= MAX_DISCARD_BYTES ? MHD_YES : MHD_NO;
}

static struct httpd_request *request_new(struct httpd *httpd, struct MHD_Connection *conn,
                                         const char *method)
{
    struct httpd_request *req = mem_alloc(sizeof *req);

    req->httpd = httpd;
    req->conn = conn;
    snprintf(req->method, sizeof req->method, "%s", method);
    req->started_ms = clock_now_ms();
    sm_init(&req->sm, states, RECEIVING);
    DL_APPEND(httpd->requests, req);
    return req;
}

/* After the body, and again after each resume: hand out what there is, or wait. */
static enum MHD_Result proceed(struct httpd_request *req)
{
    if (req->dropped || (req->gone && req->response == NULL)) {
        return MHD_NO;
    }
    if (req->response != NULL) {
        return queue(req);
    }
    suspend(req);
    return MHD_YES;
}

/* NOLINTNEXTLINE(readability-function-size): the signature is libmicrohttpd's. */
static enum MHD_Result on_access(void *cls, struct MHD_Connection *conn, const char *url,
                                 const char *method, const char *version, const char *bytes,
                                 size_t *len, void **con_cls)
{
    struct httpd *httpd = cls;
    struct httpd_request *req = *con_cls;
    enum MHD_Result rv = MHD_YES;
    bool first = req == NULL;

    (void)version;
    if (httpd->draining && (first || req->sm.state == RECEIVING)) {
        return MHD_NO;
    }
    if (first) {
        req = *con_cls = request_new(httpd, conn, method);
    }
    req->in_access = true;
    if (first) {
        begin(req, url);
        check_length(req);
        rv = req->early ? queue(req) : MHD_YES;
    } else if (*len > 0) {
        rv = receive(req, bytes, len);
    } else {
        if (req->sm.state == RECEIVING) {
            sm_move(&req->sm, HANDLING);
            req->route->handler(req);
        }
        rv = proceed(req);
    }
    req->in_access = false;
    return rv;
}

/* MHD is done with the request: answered, aborted, timed out or closed by the client. */
static void on_completed(void *cls, struct MHD_Connection *conn, void **con_cls,
                         enum MHD_RequestTerminationCode why)
{
    struct httpd_request *req = *con_cls;

    (void)cls;
    (void)conn;
    (void)why;
    if (req == NULL) {
        return;
    }
    *con_cls = NULL;
    unwatch(req);
    req->conn = NULL;
    req->suspended = false;
    if (req->sm.state == RECEIVING) {
        sm_move(&req->sm, ANSWERED); /* It never became a request of anyone's. */
    }
    if (is_held(req)) {
        set_gone(req); /* It may answer, and so free, req. */
    } else {
        maybe_free_request(req);
    }
}

/* ---- Connections ---- */

static void on_connection(void *cls, struct MHD_Connection *conn, void **socket_context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct httpd *httpd = cls;

    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        free(*socket_context);
        *socket_context = NULL;
        httpd->connections--;
        return;
    }
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct peer *peer = mem_alloc(sizeof *peer);
    int family = AF_UNSPEC;
    socklen_t len = sizeof family;

    getsockopt(info->connect_fd, SOL_SOCKET, SO_DOMAIN, &family, &len);
    if (family == AF_UNIX) {
        len = sizeof peer->cred;
        peer->local = getsockopt(info->connect_fd, SOL_SOCKET, SO_PEERCRED, &peer->cred, &len) == 0;
    } else {
        setsockopt(info->connect_fd, SOL_SOCKET, SO_KEEPALIVE, &(int){ 1 }, sizeof(int));
    }
    *socket_context = peer;
    httpd->connections++;
}

static void on_accept(uv_poll_t *poll, int status, int events);
static void run_mhd(struct httpd *httpd);

static void set_listening(struct httpd *httpd, bool listening)
{
    struct listener *listener;

    DL_FOREACH(httpd->listeners, listener)
    {
        if (listening) {
            uv_poll_start(&listener->poll, UV_READABLE, on_accept);
        } else {
            uv_poll_stop(&listener->poll);
        }
    }
}

static void on_pause_over(uv_timer_t *timer)
{
    set_listening(timer->data, true);
}

static void pause_listening(struct httpd *httpd)
{
    set_listening(httpd, false);
    uv_timer_start(&httpd->paused, on_pause_over, ACCEPT_PAUSE_MS, 0);
}

static void on_accept(uv_poll_t *poll, int status, int events)
{
    struct listener *listener = poll->data;
    struct httpd *httpd = listener->httpd;

    (void)status;
    (void)events;
    for (int i = 0; i < ACCEPT_BATCH; i++) {
        struct sockaddr_storage addr = { 0 };
        socklen_t len = sizeof addr;
        if (httpd->connections >= httpd->options.max_connections) {
            pause_listening(httpd); /* The rest wait in the backlog. */
            break;
        }
        int fd = FAULT("httpd.accept") != 0 ? -1
                                            : accept4(listener->fd, (struct sockaddr *)&addr, &len,
                                                      SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
                log_warn("cannot accept a connection: %s, trying again in %d ms", strerror(errno),
                         ACCEPT_PAUSE_MS);
                pause_listening(httpd);
            }
            break;
        }
        if (MHD_add_connection(httpd->daemon, fd, (struct sockaddr *)&addr, len) != MHD_YES) {
            log_debug("MHD refused a connection: %s", strerror(errno)); /* It closed fd. */
        }
    }
    run_mhd(httpd);
}

/* ---- Driving MHD ---- */

static void run_mhd(struct httpd *httpd)
{
    MHD_UNSIGNED_LONG_LONG timeout_ms = 0;

    if (httpd->stopped) {
        return;
    }
    httpd->resumed = false;
    MHD_run(httpd->daemon);
    if (httpd->resumed) {
        uv_timer_start(&httpd->timer, on_mhd_timer, 0, 0);
    } else if (MHD_get_timeout(httpd->daemon, &timeout_ms) == MHD_YES) {
        uv_timer_start(&httpd->timer, on_mhd_timer, timeout_ms, 0);
    } else {
        uv_timer_stop(&httpd->timer);
    }
}

static void on_mhd_timer(uv_timer_t *timer)
{
    run_mhd(timer->data);
}

static void on_mhd_readable(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    run_mhd(poll->data);
}

static void on_mhd_log(void *cls, const char *fmt, va_list ap)
    __attribute__((format(printf, 2, 0)));
static void on_mhd_log(void *cls, const char *fmt, va_list ap)
{
    (void)cls;
    if (log_enabled(LOG_LEVEL_DEBUG)) {
        CLEANUP(mem_freep) char *text = str_vprintf(fmt, ap);
        log_debug("libmicrohttpd: %s", text);
    }
}

/* We decode ourselves, with checks. */
static size_t on_unescape(void *cls, struct MHD_Connection *conn, char *text)
{
    (void)cls;
    (void)conn;
    return strlen(text);
}

/* ---- Starting ---- */

static void set_defaults(struct httpd_options *options)
{
    options->max_body_bytes = options->max_body_bytes ?: DEFAULT_BODY_BYTES;
    options->max_header_bytes = options->max_header_bytes ?: DEFAULT_HEADER_BYTES;
    options->max_connections = options->max_connections ?: DEFAULT_CONNECTIONS;
    options->idle_timeout_s = options->idle_timeout_s ?: DEFAULT_IDLE_S;
    options->body_timeout_ms = options->body_timeout_ms ?: DEFAULT_BODY_MS;
    options->max_stream_bytes = options->max_stream_bytes ?: DEFAULT_STREAM_BYTES;
}

static void free_httpd(struct httpd *httpd)
{
    if (httpd == NULL) {
        return;
    }
    for (size_t i = 0; httpd->patterns != NULL && i < httpd->options.n_routes; i++) {
        route_pattern_free(httpd->patterns[i]);
    }
    free(httpd->patterns);
    bearer_free(httpd->tokens);
    if (httpd->daemon != NULL) {
        MHD_stop_daemon(httpd->daemon);
    }
    free(httpd);
}
DEFINE_FREEP(struct httpd, free_httpd)

static int start_mhd(struct httpd *httpd, struct err *err)
{
    const struct httpd_options *options = &httpd->options;

    httpd->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0,
        NULL, NULL, on_access, httpd, MHD_OPTION_EXTERNAL_LOGGER, on_mhd_log, NULL,
        MHD_OPTION_UNESCAPE_CALLBACK, on_unescape, NULL, MHD_OPTION_NOTIFY_COMPLETED, on_completed,
        NULL, MHD_OPTION_NOTIFY_CONNECTION, on_connection, httpd, MHD_OPTION_CONNECTION_LIMIT,
        options->max_connections, MHD_OPTION_CONNECTION_TIMEOUT, options->idle_timeout_s,
        MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        options->max_header_bytes, MHD_OPTION_END);
    if (httpd->daemon == NULL) {
        return err_set(err, ERR_IO, "start the HTTP server: %s", strerror(errno));
    }
    return 0;
}

static void open_handles(struct httpd *httpd)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(httpd->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    uv_loop_t *loop = httpd->options.loop;

    int rv = uv_poll_init(loop, &httpd->poll, info->epoll_fd);
    assert(rv == 0);
    rv = uv_poll_start(&httpd->poll, UV_READABLE, on_mhd_readable);
    assert(rv == 0);
    uv_timer_init(loop, &httpd->timer);
    uv_timer_init(loop, &httpd->paused);
    uv_timer_init(loop, &httpd->closer);
    httpd->poll.data = httpd->timer.data = httpd->paused.data = httpd->closer.data = httpd;
    httpd->open_handles = 4;
}

int httpd_new(const struct httpd_options *options, struct httpd **ret_httpd, struct err *err)
{
    CLEANUP(free_httpdp) struct httpd *httpd = mem_alloc(sizeof *httpd);
    char token[ID_TOKEN_SIZE];

    httpd->options = *options;
    httpd->options.token_file = NULL; /* Read now; the string is not ours to keep. */
    set_defaults(&httpd->options);
    id_token(token);
    memcpy(httpd->id_prefix, token, sizeof httpd->id_prefix - 1);
    httpd->patterns = mem_alloc((options->n_routes + 1) * sizeof(struct route_pattern *));
    for (size_t i = 0; i < options->n_routes; i++) {
        if (route_pattern_new(options->routes[i].pattern, &httpd->patterns[i], err) < 0) {
            return err->code;
        }
    }
    if (options->token_file != NULL && bearer_load(options->token_file, &httpd->tokens, err) < 0) {
        return err->code;
    }
    if (start_mhd(httpd, err) < 0) {
        return err->code;
    }
    open_handles(httpd);
    *ret_httpd = TAKE(httpd);
    return 0;
}

/* ---- Listening ---- */

int httpd_listen_fd(struct httpd *httpd, int fd, struct err *err)
{
    struct listener *listener = mem_alloc(sizeof *listener);

    listener->httpd = httpd;
    listener->fd = fd;
    listener->poll.data = listener;
    int rv = uv_poll_init(httpd->options.loop, &listener->poll, fd); /* Makes it non-blocking. */
    if (rv != 0) {
        free(listener);
        close(fd);
        return err_set(err, ERR_IO, "listen on descriptor %d: %s", fd, uv_strerror(rv));
    }
    httpd->open_handles++;
    DL_APPEND(httpd->listeners, listener);
    uv_poll_start(&listener->poll, UV_READABLE, on_accept);
    return 0;
}

/* TAKE() leaves a 0 behind, which is a descriptor too. */
static int take_fd(int *fd)
{
    int taken = *fd;

    *fd = -1;
    return taken;
}

static int parse_address(const char *address, struct sockaddr_storage *ret_addr, struct err *err)
{
    const char *colon = strrchr(address, ':');
    int64_t port = 0;

    if (colon == NULL || colon == address) {
        return err_set(err, ERR_INVALID, "address '%s' is not HOST:PORT", address);
    }
    if (str_to_int(colon + 1, 0, 65535, "port", &port, err) < 0) {
        return err_wrap(err, "address '%s'", address);
    }
    bool bracketed = address[0] == '[' && colon[-1] == ']';
    CLEANUP(mem_freep)
    char *host = bracketed ? str_printf("%.*s", (int)(colon - address) - 2, address + 1)
                           : str_printf("%.*s", (int)(colon - address), address);
    const char *numeric = str_eq(host, "localhost") ? "127.0.0.1" : host;
    *ret_addr = (struct sockaddr_storage){ 0 };
    if (!bracketed && uv_ip4_addr(numeric, (int)port, (struct sockaddr_in *)ret_addr) == 0) {
        return 0;
    }
    if (uv_ip6_addr(numeric, (int)port, (struct sockaddr_in6 *)ret_addr) == 0) {
        return 0;
    }
    return err_set(err, ERR_INVALID, "address '%s' is not numeric", address);
}

static bool is_loopback(const struct sockaddr_storage *addr)
{
    if (addr->ss_family == AF_INET) {
        return ntohl(((const struct sockaddr_in *)addr)->sin_addr.s_addr) >> 24 == 127;
    }
    return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)addr)->sin6_addr) != 0;
}

int httpd_listen_tcp(struct httpd *httpd, const char *address, uint16_t *ret_port, struct err *err)
{
    CLEANUP(fd_closep) int fd = -1;
    struct sockaddr_storage addr = { 0 };
    socklen_t len = sizeof addr;

    if (parse_address(address, &addr, err) < 0) {
        return err->code;
    }
    if (httpd->tokens == NULL && !is_loopback(&addr)) {
        return err_set(err, ERR_CONFIG, "listen on %s: beyond loopback a token file is needed",
                       address);
    }
    len = addr.ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    fd = socket(addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int)) < 0 ||
        bind(fd, (struct sockaddr *)&addr, len) < 0 || listen(fd, BACKLOG) < 0) {
        return err_set(err, ERR_IO, "listen on %s: %s", address, strerror(errno));
    }
    len = sizeof addr;
    if (getsockname(fd, (struct sockaddr *)&addr, &len) < 0) {
        return err_set(err, ERR_IO, "listen on %s: %s", address, strerror(errno));
    }
    if (httpd_listen_fd(httpd, take_fd(&fd), err) < 0) {
        return err->code;
    }
    if (ret_port != NULL) {
        *ret_port = ntohs(((struct sockaddr_in *)&addr)->sin_port); /* Same place in both. */
    }
    return 0;
}

/* Does somebody answer at this socket file? */
static bool is_socket_live(const struct sockaddr_un *addr)
{
    CLEANUP(fd_closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    return fd >= 0 && (connect(fd, (const struct sockaddr *)addr, sizeof *addr) == 0 ||
                       errno == EAGAIN || errno == EINPROGRESS);
}

static int remove_stale(const struct sockaddr_un *addr, struct err *err)
{
    struct stat st;

    if (lstat(addr->sun_path, &st) < 0) {
        return 0;
    }
    if (!S_ISSOCK(st.st_mode)) {
        return err_set(err, ERR_EXISTS, "socket %s: something else is there", addr->sun_path);
    }
    if (is_socket_live(addr)) {
        return err_set(err, ERR_CONFLICT, "socket %s is in use", addr->sun_path);
    }
    if (unlink(addr->sun_path) < 0 && errno != ENOENT) {
        return err_set(err, ERR_IO, "remove stale socket %s: %s", addr->sun_path, strerror(errno));
    }
    return 0;
}

int httpd_listen_unix(struct httpd *httpd, const char *path, mode_t mode, struct err *err)
{
    CLEANUP(fd_closep) int fd = -1;
    struct sockaddr_un addr = { .sun_family = AF_UNIX };

    if (strlen(path) >= sizeof addr.sun_path) {
        return err_set(err, ERR_INVALID, "socket path %s is longer than %zu bytes", path,
                       sizeof addr.sun_path - 1);
    }
    memcpy(addr.sun_path, path, strlen(path) + 1);
    if (remove_stale(&addr, err) < 0) {
        return err->code;
    }
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* The mode is set before listen(), so nobody connects under another one. */
    if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof addr) < 0 || chmod(path, mode) < 0 ||
        listen(fd, BACKLOG) < 0) {
        return err_set(err, ERR_IO, "listen on %s: %s", path, strerror(errno));
    }
    if (httpd_listen_fd(httpd, take_fd(&fd), err) < 0) {
        return err->code;
    }
    httpd->listeners->prev->unix_path = mem_strdup(path); /* The head's prev is the tail. */
    return 0;
}

/* ---- Closing ---- */

static void maybe_closed(struct httpd *httpd)
{
    httpd_cb cb = httpd->close_cb;

    if (!httpd->stopped || httpd->requests != NULL || httpd->open_handles > 0) {
        return;
    }
    httpd->close_cb = NULL;
    if (cb != NULL) {
        cb(httpd);
    }
    free_httpd(httpd);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct httpd *httpd = handle->data;

    httpd->open_handles--;
    maybe_closed(httpd);
}

static void on_listener_closed(uv_handle_t *handle)
{
    struct listener *listener = handle->data;
    struct httpd *httpd = listener->httpd;

    if (listener->unix_path != NULL) {
        unlink(listener->unix_path);
    }
    close(listener->fd);
    free(listener->unix_path);
    free(listener);
    httpd->open_handles--;
    maybe_closed(httpd);
}

static void tell_all_gone(struct httpd *httpd)
{
    struct httpd_request *req;

    /* Each callback may answer and so free any request: start over after each. */
    do {
        DL_FOREACH(httpd->requests, req)
        {
            if (is_held(req) && !req->gone) {
                break;
            }
        }
        if (req != NULL) {
            set_gone(req);
        }
    } while (req != NULL);
}

static void on_closer(uv_timer_t *timer)
{
    struct httpd *httpd = timer->data;
    struct listener *listener, *next;

    MHD_run(httpd->daemon); /* Answers given just now still go out. */
    httpd->draining = true;
    tell_all_gone(httpd);
    MHD_run(httpd->daemon); /* Closes what was suspended: MHD cannot stop before. */
    httpd->stopped = true;
    DL_FOREACH_SAFE(httpd->listeners, listener, next)
    {
        DL_DELETE(httpd->listeners, listener);
        uv_close((uv_handle_t *)&listener->poll, on_listener_closed);
    }
    uv_close((uv_handle_t *)&httpd->poll, on_handle_closed);
    uv_close((uv_handle_t *)&httpd->timer, on_handle_closed);
    uv_close((uv_handle_t *)&httpd->paused, on_handle_closed);
    uv_close((uv_handle_t *)&httpd->closer, on_handle_closed);
    /* Completes every connection, each by on_completed(). */
    MHD_stop_daemon(TAKE(httpd->daemon));
}

void *httpd_server_ctx(const struct httpd *httpd)
{
    return httpd->options.ctx;
}

void httpd_close(struct httpd *httpd, httpd_cb cb)
{
    if (httpd->closing) {
        return;
    }
    httpd->closing = true;
    httpd->close_cb = cb;
    uv_timer_stop(&httpd->paused);
    set_listening(httpd, false);
    uv_timer_start(&httpd->closer, on_closer, 0, 0);
}
