/* SPDX-License-Identifier: Apache-2.0 */

/* httpd: an HTTP server on our loop; libmicrohttpd parses and writes, we accept, route and answer.
 *
 * The one file that knows libmicrohttpd (MHD); httpd_priv.h names the other three of the server.
 * Not TLS yet: it will be a second MHD daemon in struct httpd, with listeners that hand their
 * connections to it.
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

#include "base/clock.h"
#include "base/fault.h"
#include "base/id.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "http/httpd_priv.h"

#include <microhttpd.h>
#include <string.h>
#include <sys/socket.h>
#include <utlist.h>

enum {
    DEFAULT_BODY_BYTES = 4 * 1024 * 1024,
    DEFAULT_HEADER_BYTES = 32 * 1024,
    DEFAULT_CONNECTIONS = 1000,
    DEFAULT_IDLE_S = 60,
    DEFAULT_BODY_MS = 60 * 1000,
    DEFAULT_STREAM_BYTES = 256 * 1024,
};

static const struct sm_state states[] = {
    [HTTPD_RECEIVING] = { "receiving", SM_TO(HTTPD_HANDLING) | SM_TO(HTTPD_ANSWERED) },
    [HTTPD_HANDLING] = { "handling", SM_TO(HTTPD_STREAMING) | SM_TO(HTTPD_ANSWERED) },
    [HTTPD_STREAMING] = { "streaming", SM_TO(HTTPD_ANSWERED) },
    [HTTPD_ANSWERED] = { "answered", 0 },
};

/* Tells of a suspended connection's end.  On its own because its handle closes later. */
struct httpd_watch {
    uv_poll_t poll;
    struct httpd *httpd;
    struct httpd_request *req;
};

static void on_mhd_timer(uv_timer_t *timer);

/* ---- Requests ---- */

static bool is_held(const struct httpd_request *req)
{
    return req->sm.state == HTTPD_HANDLING || req->sm.state == HTTPD_STREAMING;
}

static void free_headers(struct httpd_request *req)
{
    struct httpd_header *header, *next;

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
    httpd_maybe_closed(httpd);
}

static void on_watch_closed(uv_handle_t *handle)
{
    struct httpd_watch *watch = handle->data;
    struct httpd *httpd = watch->httpd;

    free(watch);
    httpd->open_handles--;
    httpd_maybe_closed(httpd);
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
    struct httpd_watch *watch = poll->data;

    (void)status;
    (void)events; /* We asked for the one, and an error is as good. */
    set_gone(watch->req);
}

static void watch_peer(struct httpd_request *req)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(req->conn, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct httpd_watch *watch = mem_alloc(sizeof *watch);

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
    if (req->on_gone != NULL || req->sm.state == HTTPD_STREAMING) {
        watch_peer(req);
    }
}

/* ---- Answers ---- */

static void add_headers(struct httpd_request *req)
{
    const struct httpd_header *header;

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
    sm_move(&req->sm, HTTPD_ANSWERED);
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

void httpd_reply_empty(struct httpd_request *req, int status)
{
    answer_take(req, status, NULL,
                MHD_create_response_from_buffer(0, (void *)"", MHD_RESPMEM_PERSISTENT));
}

void httpd_drop(struct httpd_request *req)
{
    sm_move(&req->sm, HTTPD_ANSWERED);
    req->dropped = true;
    if (!req->in_access) {
        resume(req);
        maybe_free_request(req);
    }
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
        if (req->sm.state == HTTPD_ANSWERED) {
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
        if (req->sm.state == HTTPD_STREAMING && req->on_writable != NULL) {
            req->on_writable(req); /* It may end the stream: req stays, MHD holds it. */
        }
    }
    return (ssize_t)n;
}

void httpd_stream_begin(struct httpd_request *req, int status, const char *content_type,
                        httpd_request_cb on_writable)
{
    enum { BLOCK_BYTES = 32 * 1024 };

    sm_move(&req->sm, HTTPD_STREAMING);
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

    assert(req->sm.state == HTTPD_STREAMING);
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
    assert(req->sm.state == HTTPD_STREAMING);
    sm_move(&req->sm, HTTPD_ANSWERED);
    log_debug("streamed request=%s method=%s status=%d ms=%llu path=%s", req->id, req->method,
              req->status, (unsigned long long)(clock_now_ms() - req->started_ms), req->path.text);
    if (!req->in_access) {
        resume(req);
        maybe_free_request(req);
    }
}

const char *httpd_header(const struct httpd_request *req, const char *name)
{
    if (req->conn == NULL) {
        return NULL; /* MHD has let go of them with the connection. */
    }
    return MHD_lookup_connection_value(req->conn, MHD_HEADER_KIND, name);
}

void httpd_on_gone(struct httpd_request *req, httpd_request_cb on_gone)
{
    req->on_gone = on_gone;
    if (req->suspended && req->watch == NULL && !req->gone) {
        watch_peer(req);
    }
}

/* ---- Receiving ---- */

struct arg_walk {
    struct httpd_request *req;
    struct err *err;
};

static enum MHD_Result on_arg(void *cls, enum MHD_ValueKind kind, const char *key,
                              const char *value)
{
    struct arg_walk *walk = cls;
    struct httpd_request *req = walk->req;
    struct httpd_arg *arg = &req->args[req->n_args++];

    (void)kind;
    arg->key = mem_strdup(key != NULL ? key : "");
    arg->value = mem_strdup(value != NULL ? value : "");
    if (route_unescape(arg->key, walk->err) < 0 || route_unescape(arg->value, walk->err) < 0) {
        return MHD_NO;
    }
    return MHD_YES;
}

int httpd_read_args(struct httpd_request *req, struct err *err)
{
    struct arg_walk walk = { .req = req, .err = err };
    int n = MHD_get_connection_values(req->conn, MHD_GET_ARGUMENT_KIND, NULL, NULL);

    if (n > 0) {
        req->args = mem_alloc((size_t)n * sizeof *req->args);
        MHD_get_connection_values(req->conn, MHD_GET_ARGUMENT_KIND, on_arg, &walk);
    }
    return err->code;
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
    if (req->sm.state == HTTPD_RECEIVING &&
        req->body.len + n <= req->httpd->options.max_body_bytes) {
        buf_add(&req->body, bytes, n);
        return MHD_YES;
    }
    if (req->sm.state == HTTPD_RECEIVING) {
        httpd_refuse(req, ERR_TOOBIG, "the body is too large");
    }
    req->discarded += n;
    return req->discarded <= HTTPD_MAX_DISCARD_BYTES ? MHD_YES : MHD_NO;
}

static struct httpd_request *request_new(struct httpd *httpd, struct MHD_Connection *conn,
                                         const char *method)
{
    struct httpd_request *req = mem_alloc(sizeof *req);

    req->httpd = httpd;
    req->conn = conn;
    req->peer = MHD_get_connection_info(conn, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
    snprintf(req->method, sizeof req->method, "%s", method);
    req->started_ms = clock_now_ms();
    httpd_peer_busy(httpd, req->peer);
    sm_init(&req->sm, states, HTTPD_RECEIVING);
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
    if (httpd->draining && (first || req->sm.state == HTTPD_RECEIVING)) {
        return MHD_NO;
    }
    if (first) {
        req = *con_cls = request_new(httpd, conn, method);
    }
    req->in_access = true;
    if (first) {
        httpd_admit(req, url);
        rv = req->early ? queue(req) : MHD_YES;
    } else if (*len > 0) {
        rv = receive(req, bytes, len);
    } else {
        if (req->sm.state == HTTPD_RECEIVING) {
            sm_move(&req->sm, HTTPD_HANDLING);
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
    httpd_peer_idle(req->httpd, req->peer);
    req->conn = NULL;
    req->suspended = false;
    if (req->sm.state == HTTPD_RECEIVING) {
        sm_move(&req->sm, HTTPD_ANSWERED); /* It never became a request of anyone's. */
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
        httpd_peer_busy(httpd, *socket_context);
        free(*socket_context);
        *socket_context = NULL;
        httpd->connections--;
        return;
    }
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct httpd_peer *peer = mem_alloc(sizeof *peer);
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
    peer->fd = info->connect_fd;
    httpd->connections++;
    httpd_peer_idle(httpd, peer);
}

void httpd_adopt(struct httpd *httpd, int fd, const struct sockaddr *addr, socklen_t len)
{
    if (MHD_add_connection(httpd->daemon, fd, addr, len) != MHD_YES) {
        log_debug("MHD refused a connection: %s", strerror(errno)); /* It closed fd. */
    }
}

/* ---- Driving MHD ---- */

void httpd_run(struct httpd *httpd)
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
    httpd_run(timer->data);
}

static void on_mhd_readable(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    httpd_run(poll->data);
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
    uv_timer_init(loop, &httpd->hurry);
    uv_timer_init(loop, &httpd->closer);
    httpd->poll.data = httpd->timer.data = httpd->paused.data = httpd;
    httpd->hurry.data = httpd->closer.data = httpd;
    httpd->open_handles = 5;
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

/* ---- Closing ---- */

void httpd_maybe_closed(struct httpd *httpd)
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
    httpd_maybe_closed(httpd);
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

    MHD_run(httpd->daemon); /* Answers given just now still go out. */
    httpd->draining = true;
    tell_all_gone(httpd);
    MHD_run(httpd->daemon); /* Closes what was suspended: MHD cannot stop before. */
    httpd->stopped = true;
    httpd_close_listeners(httpd);
    uv_close((uv_handle_t *)&httpd->poll, on_handle_closed);
    uv_close((uv_handle_t *)&httpd->timer, on_handle_closed);
    uv_close((uv_handle_t *)&httpd->paused, on_handle_closed);
    uv_close((uv_handle_t *)&httpd->hurry, on_handle_closed);
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
    httpd_set_listening(httpd, false);
    uv_timer_start(&httpd->closer, on_closer, 0, 0);
}
