/* SPDX-License-Identifier: Apache-2.0 */

/* httpc: HTTP calls on our loop; libcurl speaks, we poll its sockets and keep its timer.
 *
 * Not a retrying client: one call is one attempt, its owner decides about another.
 *
 * A call: START --answer, failure, deadline, cancel--> CLOSING --timer closed--> the callback.
 *
 * Happy path: an easy handle joins the multi handle; libcurl asks for sockets to be polled; when
 * it reports the transfer done, finish() takes the outcome and the handle back.
 * Failures: libcurl's codes are mapped here and nowhere else.  A cancel or a cap passed inside one
 * of libcurl's callbacks only leaves a mark and wakes the call's timer, since libcurl may not be
 * entered from them.
 * Invariants: curl is never called from its own callbacks; a call's flight is freed before the
 * call's callback runs, so that the callback may start it again.
 */

#include "http/httpc.h"

#include "base/buf.h"
#include "base/fault.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "http/problem.h"

#include <curl/curl.h>
#include <string.h>
#include <utlist.h>

enum {
    DEFAULT_TIMEOUT_MS = 30 * 1000,
    DEFAULT_MAX_BYTES = 64 * 1024 * 1024,
    MAX_IDLE_CONNECTIONS = 16,
};

/* One socket of libcurl's. */
struct sock {
    uv_poll_t poll;
    struct httpc *httpc;
    curl_socket_t fd;
};

struct httpc_flight {
    struct httpc *httpc;
    struct httpc_call *call;
    CURL *easy;
    struct curl_slist *headers;
    struct buf body;
    uv_timer_t timer; /* The deadline; or at once, when failure is set. */
    int failure;      /* What we decided against the transfer; 0. */
    bool paused;      /* By the owner. */
    bool held;        /* libcurl keeps a piece that came while it was paused. */
    bool headers_done;
    bool finished;
    char text[CURL_ERROR_SIZE];
    struct httpc_flight *prev, *next;
};

struct httpc {
    uv_loop_t *loop;
    CURLM *multi; /* From the first call on. */
    uv_timer_t timer;
    struct httpc_flight *flights;
    unsigned open_handles;
    bool closing, closed;
    httpc_cb close_cb;
    void *close_data;
};

static void collect(struct httpc *httpc);

/* ---- libcurl's sockets and timer ---- */

static void maybe_closed(struct httpc *httpc)
{
    httpc_cb cb = httpc->close_cb;
    void *data = httpc->close_data;

    if (!httpc->closed || httpc->open_handles > 0) {
        return;
    }
    free(httpc);
    if (cb != NULL) {
        cb(data);
    }
}

static void on_sock_closed(uv_handle_t *handle)
{
    struct sock *sock = handle->data;
    struct httpc *httpc = sock->httpc;

    free(sock);
    httpc->open_handles--;
    maybe_closed(httpc);
}

static void on_sock(uv_poll_t *poll, int status, int events)
{
    struct sock *sock = poll->data;
    struct httpc *httpc = sock->httpc;
    int running = 0;
    int flags = status < 0 ? CURL_CSELECT_ERR
                           : ((events & UV_READABLE) != 0 ? CURL_CSELECT_IN : 0) |
                                 ((events & UV_WRITABLE) != 0 ? CURL_CSELECT_OUT : 0);

    curl_multi_socket_action(httpc->multi, sock->fd, flags, &running);
    collect(httpc);
}

static int on_curl_socket(CURL *easy, curl_socket_t fd, int what, void *cls, void *sockp)
{
    struct httpc *httpc = cls;
    struct sock *sock = sockp;

    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (sock != NULL) {
            curl_multi_assign(httpc->multi, fd, NULL);
            uv_close((uv_handle_t *)&sock->poll, on_sock_closed);
        }
        return 0;
    }
    if (sock == NULL) {
        sock = mem_alloc(sizeof *sock);
        sock->httpc = httpc;
        sock->fd = fd;
        sock->poll.data = sock;
        if (uv_poll_init_socket(httpc->loop, &sock->poll, fd) != 0) {
            free(sock);
            return -1; /* Fails the transfer. */
        }
        httpc->open_handles++;
        curl_multi_assign(httpc->multi, fd, sock);
    }
    int events = ((what & CURL_POLL_IN) != 0 ? UV_READABLE : 0) |
                 ((what & CURL_POLL_OUT) != 0 ? UV_WRITABLE : 0);
    uv_poll_start(&sock->poll, events, on_sock);
    return 0;
}

static void on_timer(uv_timer_t *timer)
{
    struct httpc *httpc = timer->data;
    int running = 0;

    curl_multi_socket_action(httpc->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    collect(httpc);
}

static int on_curl_timer(CURLM *multi, long timeout_ms, void *cls)
{
    struct httpc *httpc = cls;

    (void)multi;
    if (timeout_ms < 0) {
        uv_timer_stop(&httpc->timer);
    } else {
        uv_timer_start(&httpc->timer, on_timer, (uint64_t)timeout_ms, 0);
    }
    return 0;
}

/* ---- Outcome ---- */

static void on_timer_closed(uv_handle_t *handle)
{
    struct httpc *httpc = handle->data;

    httpc->open_handles--;
    maybe_closed(httpc);
}

static void maybe_last_call(struct httpc *httpc)
{
    if (!httpc->closing || httpc->closed || httpc->flights != NULL) {
        return;
    }
    if (httpc->multi != NULL) {
        curl_multi_cleanup(TAKE(httpc->multi));
    }
    httpc->closed = true;
    uv_close((uv_handle_t *)&httpc->timer, on_timer_closed);
}

static void on_flight_closed(uv_handle_t *handle)
{
    struct httpc_flight *flight = handle->data;
    struct httpc *httpc = flight->httpc;
    struct httpc_call *call = flight->call;

    DL_DELETE(httpc->flights, flight);
    buf_fini(&flight->body);
    free(flight);
    call->flight = NULL;
    httpc->open_handles++; /* Keeps httpc while the callback runs, which may close it. */
    call->cb(call);
    httpc->open_handles--;
    maybe_last_call(httpc);
    maybe_closed(httpc);
}

static int map_code(CURLcode code)
{
    switch (code) {
    case CURLE_OK:
        return 0;
    case CURLE_OPERATION_TIMEDOUT:
        return ERR_TIMEOUT;
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_BAD_FUNCTION_ARGUMENT:
        return ERR_INVALID;
    case CURLE_PARTIAL_FILE:
    case CURLE_GOT_NOTHING:
    case CURLE_RECV_ERROR:
        return ERR_EOF;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
        return ERR_DENIED;
    case CURLE_WRITE_ERROR:
        return ERR_INTERNAL; /* Ours, when flight->failure is not set: cannot be. */
    default:
        return ERR_UNREACHABLE;
    }
}

static void set_failure(struct httpc_flight *flight, CURLcode code)
{
    struct httpc_call *call = flight->call;
    long os_errno = 0;

    if (flight->failure == ERR_TOOBIG) {
        err_setf(&call->err, ERR_TOOBIG, "%s: the answer is too large", call->url);
    } else if (flight->failure != 0) {
        err_setf(&call->err, flight->failure, "%s: %s", call->url, err_text(flight->failure));
    } else if (map_code(code) == ERR_UNREACHABLE) {
        curl_easy_getinfo(flight->easy, CURLINFO_OS_ERRNO, &os_errno);
        err_setf(&call->err, ERR_UNREACHABLE, "%s: %s", call->unix_path ?: call->url,
                 os_errno != 0
                     ? strerror((int)os_errno)
                     : (flight->text[0] != '\0' ? flight->text : curl_easy_strerror(code)));
    } else {
        err_setf(&call->err, map_code(code), "%s: %s", call->url,
                 flight->text[0] != '\0' ? flight->text : curl_easy_strerror(code));
    }
}

static char *copy_header(CURL *easy, const char *name)
{
    struct curl_header *header = NULL;

    if (curl_easy_header(easy, name, 0, CURLH_HEADER, -1, &header) != CURLHE_OK) {
        return NULL;
    }
    return mem_strdup(header->value);
}

static void set_answer(struct httpc_flight *flight)
{
    struct httpc_call *call = flight->call;
    long status = 0;
    int64_t seconds = 0;
    struct err ignored = { 0 };

    curl_easy_getinfo(flight->easy, CURLINFO_RESPONSE_CODE, &status);
    call->status = (int)status;
    call->res_len = flight->body.len;
    call->res_body = buf_take(&flight->body);
    call->res_type = copy_header(flight->easy, "Content-Type");
    call->res_location = copy_header(flight->easy, "Location");
    CLEANUP(mem_freep) char *retry = copy_header(flight->easy, "Retry-After");
    if (retry != NULL && str_to_int(retry, 0, INT32_MAX, "Retry-After", &seconds, &ignored) == 0) {
        call->res_retry_after_s = (long)seconds;
    }
}

/* The one place where an outcome is decided; never from inside one of libcurl's callbacks. */
static void finish(struct httpc_flight *flight, CURLcode code)
{
    if (flight->finished) {
        return;
    }
    flight->finished = true;
    if (code == CURLE_OK && flight->failure == 0) {
        set_answer(flight);
    } else {
        set_failure(flight, code);
    }
    if (flight->httpc->multi != NULL) {
        curl_multi_remove_handle(flight->httpc->multi, flight->easy);
    }
    curl_easy_cleanup(TAKE(flight->easy));
    curl_slist_free_all(TAKE(flight->headers));
    uv_close((uv_handle_t *)&flight->timer, on_flight_closed);
}

static void collect(struct httpc *httpc)
{
    const CURLMsg *msg = NULL;
    int left = 0;

    while (httpc->multi != NULL && (msg = curl_multi_info_read(httpc->multi, &left)) != NULL) {
        struct httpc_flight *flight = NULL;
        CURLcode code = msg->data.result;
        curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &flight);
        finish(flight, code);
    }
}

static void on_deadline(uv_timer_t *timer)
{
    struct httpc_flight *flight = timer->data;

    if (flight->failure == 0) {
        flight->failure = ERR_TIMEOUT;
    }
    finish(flight, CURLE_OPERATION_TIMEDOUT);
}

/* From anywhere: the flight ends at the loop's next turn. */
static void fail_soon(struct httpc_flight *flight, int code)
{
    if (flight->failure == 0 && !flight->finished) {
        flight->failure = code;
        uv_timer_start(&flight->timer, on_deadline, 0, 0);
    }
}

/* ---- libcurl's data ---- */

static bool is_streaming(struct httpc_flight *flight)
{
    long status = 0;

    curl_easy_getinfo(flight->easy, CURLINFO_RESPONSE_CODE, &status);
    return flight->call->on_data != NULL && status >= 200 && status < 300;
}

static void rearm_idle(struct httpc_flight *flight)
{
    if (flight->failure != 0) {
        return;
    }
    if (flight->call->idle_ms > 0) {
        uv_timer_start(&flight->timer, on_deadline, flight->call->idle_ms, 0);
    } else {
        uv_timer_stop(&flight->timer);
    }
}

/* NOLINTNEXTLINE(readability-non-const-parameter): libcurl's signature. */
static size_t on_header(char *bytes, size_t size, size_t n, void *cls)
{
    struct httpc_flight *flight = cls;

    /* The empty line ends the headers, of a 100 or a redirect too. */
    if (size * n <= 2 && bytes[0] == '\r' && is_streaming(flight)) {
        rearm_idle(flight);
    }
    return size * n;
}

static size_t on_body(char *bytes, size_t size, size_t n, void *cls)
{
    struct httpc_flight *flight = cls;
    struct httpc_call *call = flight->call;
    size_t len = size * n;
    size_t cap = call->max_bytes != 0 ? call->max_bytes : DEFAULT_MAX_BYTES;

    if (flight->failure != 0) {
        return 0;
    }
    if (is_streaming(flight) && flight->paused) {
        flight->held = true;
        uv_timer_stop(&flight->timer);
        return CURL_WRITEFUNC_PAUSE;
    }
    if (is_streaming(flight)) {
        rearm_idle(flight);
        call->on_data(call, bytes, len);
        return flight->failure == 0 ? len : 0;
    }
    if (flight->body.len + len > cap) {
        flight->failure = ERR_TOOBIG;
        return 0;
    }
    buf_add(&flight->body, bytes, len);
    return len;
}

/* ---- Starting ---- */

static void add_header(struct httpc_flight *flight, const char *line)
{
    struct curl_slist *headers = curl_slist_append(flight->headers, line);

    if (headers == NULL) {
        abort();
    }
    flight->headers = headers;
}

static void set_headers(struct httpc_flight *flight)
{
    const struct httpc_call *call = flight->call;

    add_header(flight, "Expect:"); /* No second of waiting for a 100 before a larger body. */
    if (call->body != NULL || call->content_type != NULL) {
        CLEANUP(mem_freep)
        char *line = str_printf("Content-Type: %s", call->content_type ?: "application/json");
        add_header(flight, line);
    }
    if (call->token != NULL) {
        CLEANUP(mem_freep) char *line = str_printf("Authorization: Bearer %s", call->token);
        add_header(flight, line);
        explicit_bzero(line, strlen(line));
    }
    for (size_t i = 0; call->headers != NULL && call->headers[i] != NULL; i++) {
        add_header(flight, call->headers[i]);
    }
    curl_easy_setopt(flight->easy, CURLOPT_HTTPHEADER, flight->headers);
}

static void set_method(struct httpc_flight *flight)
{
    const struct httpc_call *call = flight->call;
    const char *method = call->method ?: (call->body != NULL ? "POST" : "GET");
    CURL *easy = flight->easy;

    if (str_eq(method, "HEAD")) {
        curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
        return;
    }
    if (call->body != NULL || str_eq(method, "POST") || str_eq(method, "PUT")) {
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, call->body ?: "");
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE,
                         (curl_off_t)(call->body != NULL ? call->body_len : 0));
    }
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method);
}

/* A proxy of the user's environment is for the world, not for this machine. */
static bool is_local(const struct httpc_call *call)
{
    static const char *const hosts[] = { "//localhost", "//127.", "//[::1]" };

    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        if (strstr(call->url, hosts[i]) != NULL) {
            return true;
        }
    }
    return call->unix_path != NULL;
}

static void set_options(struct httpc_flight *flight)
{
    const struct httpc_call *call = flight->call;
    CURL *easy = flight->easy;

    curl_easy_setopt(easy, CURLOPT_URL, call->url);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, flight);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, flight->text);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "davit/" DAVIT_VERSION);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, flight);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, flight);
    curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, call->unix_path);
    if (is_local(call)) {
        curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
    }
    if (call->max_redirects > 0) {
        curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 1L);
        curl_easy_setopt(easy, CURLOPT_MAXREDIRS, (long)call->max_redirects);
    }
    set_method(flight);
    set_headers(flight);
}

static void ensure_multi(struct httpc *httpc)
{
    if (httpc->multi != NULL) {
        return;
    }
    curl_global_init(CURL_GLOBAL_DEFAULT); /* Counts its calls; 0.2 ms once. */
    httpc->multi = curl_multi_init();
    if (httpc->multi == NULL) {
        abort();
    }
    curl_multi_setopt(httpc->multi, CURLMOPT_SOCKETFUNCTION, on_curl_socket);
    curl_multi_setopt(httpc->multi, CURLMOPT_SOCKETDATA, httpc);
    curl_multi_setopt(httpc->multi, CURLMOPT_TIMERFUNCTION, on_curl_timer);
    curl_multi_setopt(httpc->multi, CURLMOPT_TIMERDATA, httpc);
    curl_multi_setopt(httpc->multi, CURLMOPT_MAXCONNECTS, (long)MAX_IDLE_CONNECTIONS);
}

void httpc_start(struct httpc *httpc, struct httpc_call *call, httpc_call_cb cb)
{
    struct httpc_flight *flight = mem_alloc(sizeof *flight);

    assert(call->flight == NULL);
    httpc_call_fini(call);
    call->cb = cb;
    call->httpc = httpc;
    call->flight = flight;
    flight->httpc = httpc;
    flight->call = call;
    flight->timer.data = flight;
    uv_timer_init(httpc->loop, &flight->timer);
    DL_APPEND(httpc->flights, flight);
    if (httpc->closing) {
        fail_soon(flight, ERR_CANCELED);
        return;
    }
    ensure_multi(httpc);
    flight->easy = curl_easy_init();
    if (flight->easy == NULL) {
        abort();
    }
    set_options(flight);
    uv_timer_start(&flight->timer, on_deadline, call->timeout_ms ?: DEFAULT_TIMEOUT_MS, 0);
    if ((FAULT("httpc.add") ?: (int)curl_multi_add_handle(httpc->multi, flight->easy)) != 0) {
        fail_soon(flight, ERR_UNREACHABLE);
    }
}

void httpc_cancel(struct httpc_call *call)
{
    if (call->flight != NULL) {
        fail_soon(call->flight, ERR_CANCELED);
    }
}

static void on_resume(uv_timer_t *timer)
{
    struct httpc_flight *flight = timer->data;
    struct httpc *httpc = flight->httpc;

    if (flight->paused) {
        return; /* Again. */
    }
    flight->held = false;
    rearm_idle(flight);
    if (curl_easy_pause(flight->easy, CURLPAUSE_CONT) != CURLE_OK) {
        fail_soon(flight, ERR_INTERNAL); /* Unless it was canceled from within its piece. */
    }
    collect(httpc);
}

void httpc_pause(struct httpc_call *call)
{
    if (call->flight != NULL) {
        call->flight->paused = true;
    }
}

void httpc_resume(struct httpc_call *call)
{
    struct httpc_flight *flight = call->flight;

    if (flight == NULL || !flight->paused) {
        return;
    }
    flight->paused = false;
    if (flight->held && flight->failure == 0 && !flight->finished) {
        uv_timer_start(&flight->timer, on_resume, 0, 0); /* Not from one of its callbacks. */
    }
}

void httpc_call_fini(struct httpc_call *call)
{
    assert(call->flight == NULL);
    free(TAKE(call->res_body));
    free(TAKE(call->res_type));
    free(TAKE(call->res_location));
    call->res_len = 0;
    call->res_retry_after_s = -1;
    call->status = 0;
    call->err = (struct err){ 0 };
}

void httpc_new(uv_loop_t *loop, struct httpc **ret_httpc)
{
    struct httpc *httpc = mem_alloc(sizeof *httpc);

    httpc->loop = loop;
    httpc->timer.data = httpc;
    uv_timer_init(loop, &httpc->timer);
    httpc->open_handles = 1;
    *ret_httpc = httpc;
}

void httpc_close(struct httpc *httpc, httpc_cb cb, void *data)
{
    struct httpc_flight *flight;

    if (httpc->closing) {
        return;
    }
    httpc->closing = true;
    httpc->close_cb = cb;
    httpc->close_data = data;
    DL_FOREACH(httpc->flights, flight)
    {
        fail_soon(flight, ERR_CANCELED);
    }
    maybe_last_call(httpc);
}

/* ---- Reading the outcome ---- */

int httpc_check(const struct httpc_call *call, struct err *err)
{
    if (call->err.code != 0) {
        *err = call->err;
        return err_code(err);
    }
    if (call->status >= 200 && call->status < 300) {
        return 0;
    }
    problem_decode(call->res_body, call->res_len, call->status, err);
    return err_code(err);
}

int httpc_json(const struct httpc_call *call, json_t **ret_doc, struct err *err)
{
    size_t cap = call->max_bytes != 0 ? call->max_bytes : DEFAULT_MAX_BYTES;

    if (json_parse(call->res_body, call->res_len, cap, ret_doc, err) < 0) {
        return err_wrap(err, "the answer of %s", call->url);
    }
    return 0;
}
