/* SPDX-License-Identifier: Apache-2.0 */

/* httpd over real sockets: the test is its own client, byte by byte, and turns the loop while it
 * waits. */
#include "http/httpd.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/json.h"
#include "base/str.h"
#include "test.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

enum { DEADLINE_MS = 10000, STREAM_BYTES = 64 * 1024 };

struct fixture {
    uv_loop_t loop;
    struct httpd *httpd;
    uint16_t port;
    char dir[32];
    struct httpd_request *held; /* By on_hold() and on_stream(). */
    unsigned handled, gone, writable, closed;
    uid_t peer;
};

/* ---- Handlers ---- */

static void on_job(struct httpd_request *req)
{
    struct fixture *f = httpd_ctx(req);

    f->handled++;
    httpd_reply_json_take(req, 200,
                          json_pack("{s:s, s:s, s:s?, s:s?}", "role", httpd_param(req, "role"),
                                    "name", httpd_param(req, "name"), "q", httpd_query(req, "q"),
                                    "q1", httpd_query_nth(req, "q", 1)));
}

static void on_echo(struct httpd_request *req)
{
    struct fixture *f = httpd_ctx(req);
    struct err err = { 0 };
    json_t *doc = NULL;

    f->handled++;
    if (httpd_json(req, &doc, &err) < 0) {
        httpd_reply_err(req, &err);
        return;
    }
    httpd_add_header(req, "X-Echo", "yes");
    httpd_reply_json_take(req, 201, doc);
}

static void on_gone(struct httpd_request *req)
{
    struct fixture *f = httpd_ctx(req);

    f->gone++;
}

static void on_hold(struct httpd_request *req)
{
    struct fixture *f = httpd_ctx(req);

    f->handled++;
    f->held = req;
    httpd_on_gone(req, on_gone);
}

static void on_writable(struct httpd_request *req)
{
    struct fixture *f = httpd_ctx(req);

    f->writable++;
}

static void on_stream(struct httpd_request *req)
{
    struct fixture *f = httpd_ctx(req);

    f->held = req;
    httpd_on_gone(req, on_gone);
    httpd_stream_begin(req, 200, "text/event-stream", on_writable);
}

static void on_who(struct httpd_request *req)
{
    struct fixture *f = httpd_ctx(req);

    f->handled++;
    f->peer = httpd_identity(req)->uid;
    httpd_reply_text(req, 200, "text/plain", httpd_identity(req)->name,
                     strlen(httpd_identity(req)->name));
}

static const struct httpd_route routes[] = {
    { "GET", "/v1/jobs/{role}/{env}/{name}", on_job, HTTPD_VIEWER, NULL },
    { "POST", "/v1/echo", on_echo, HTTPD_OPERATOR, NULL },
    { "GET", "/v1/hold", on_hold, HTTPD_VIEWER, NULL },
    { "GET", "/v1/stream", on_stream, HTTPD_VIEWER, NULL },
    { "GET", "/v1/who", on_who, HTTPD_PUBLIC, NULL },
    { "DELETE", "/v1/who", on_who, HTTPD_ADMIN, NULL },
};

/* ---- Client ---- */

static void turn(struct fixture *f)
{
    uv_run(&f->loop, UV_RUN_NOWAIT);
    poll(NULL, 0, 1);
}

#define turn_until(f, condition)                          \
    do {                                                  \
        uint64_t until_ = clock_now_ms() + DEADLINE_MS;   \
        while (!(condition) && clock_now_ms() < until_) { \
            turn(f);                                      \
        }                                                 \
        assert_true(condition);                           \
    } while (0)

static int client(const struct fixture *f)
{
    struct sockaddr_in addr = { .sin_family = AF_INET,
                                .sin_port = htons(f->port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    return fd;
}

static int unix_client(const char *path)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(addr.sun_path, sizeof addr.sun_path, "%s", path);
    assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    return fd;
}

static void say_bytes(struct fixture *f, int fd, const char *bytes, size_t len)
{
    uint64_t until = clock_now_ms() + DEADLINE_MS;

    while (len > 0 && clock_now_ms() < until) {
        ssize_t n = send(fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0) {
            bytes += n;
            len -= (size_t)n;
        } else if (errno != EAGAIN) {
            return; /* Closed on us: the answer tells. */
        }
        uv_run(&f->loop, UV_RUN_NOWAIT);
    }
    assert_int_equal(len, 0);
}

static void say(struct fixture *f, int fd, const char *text)
{
    say_bytes(f, fd, text, strlen(text));
}

/* Length of the first whole answer in buf, 0 when it is not all there. */
static size_t answer_len(const struct buf *buf)
{
    const char *end = strstr(buf_text(buf), "\r\n\r\n");
    const char *length = strcasestr(buf_text(buf), "content-length: ");

    if (end == NULL || length == NULL) {
        return 0;
    }
    size_t head = (size_t)(end + 4 - buf_text(buf));
    size_t body = strtoul(length + strlen("content-length: "), NULL, 10);
    return buf->len >= head + body ? head + body : 0;
}

/* Reads one answer; "" when the server closes without one. */
static char *hear(struct fixture *f, int fd)
{
    CLEANUP_BUF buf = { 0 };
    uint64_t until = clock_now_ms() + DEADLINE_MS;
    char bytes[4096];

    while (answer_len(&buf) == 0 && clock_now_ms() < until) {
        turn(f);
        ssize_t n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN)) {
            break;
        }
        buf_add(&buf, bytes, n > 0 ? (size_t)n : 0);
    }
    assert_true(clock_now_ms() < until);
    return buf_take(&buf);
}

/* One request on a connection of its own. */
static char *ask(struct fixture *f, const char *request)
{
    CLEANUP(fd_closep) int fd = client(f);

    say(f, fd, request);
    return hear(f, fd);
}

static void expect(struct fixture *f, const char *request, int status, const char *has)
{
    CLEANUP(mem_freep) char *answer = ask(f, request);
    CLEANUP(mem_freep) char *line = str_printf("HTTP/1.1 %d ", status);

    if (!str_starts(answer, line) || (has != NULL && strstr(answer, has) == NULL)) {
        fail_msg("asked:\n%s\nwanted %d with %s, got:\n%s", request, status, has, answer);
    }
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: localhost\r\n\r\n"
#define POST(type, body, len)                                                                     \
    "POST /v1/echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: " type "\r\nContent-Length: " len \
    "\r\n\r\n" body

/* ---- Fixture ---- */

static void on_closed(struct httpd *httpd)
{
    (void)httpd;
}

static void start(struct fixture *f, const char *token_file)
{
    struct httpd_options options = {
        .loop = &f->loop,
        .routes = routes,
        .n_routes = sizeof routes / sizeof routes[0],
        .ctx = f,
        .token_file = token_file,
        .max_body_bytes = 1000,
        .body_timeout_ms = 200,
        .max_stream_bytes = STREAM_BYTES,
    };
    struct err err = { 0 };

    assert_int_equal(httpd_new(&options, &f->httpd, &err), 0);
    assert_int_equal(httpd_listen_tcp(f->httpd, "127.0.0.1:0", &f->port, &err), 0);
    assert_int_not_equal(f->port, 0);
}

static int setup(void **state)
{
    struct fixture *f = mem_alloc(sizeof *f);

    assert_int_equal(uv_loop_init(&f->loop), 0);
    snprintf(f->dir, sizeof f->dir, "/tmp/davit-httpd-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    *state = f;
    start(f, NULL);
    return 0;
}

static void stop(struct fixture *f)
{
    httpd_close(f->httpd, on_closed);
    uv_run(&f->loop, UV_RUN_DEFAULT);
}

static int teardown(void **state)
{
    CLEANUP(mem_freep) struct fixture *f = *state;
    struct err err = { 0 };

    fault_arm(0, 0);
    stop(f);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    assert_int_equal(file_remove_tree(f->dir, &err), 0);
    return 0;
}

static void restart_with_tokens(struct fixture *f)
{
    static const char text[] = "0123456789abcdef root\nviewer-token-0123 eve viewer\n";
    CLEANUP(mem_freep) char *path = file_join(f->dir, "tokens");
    struct err err = { 0 };

    stop(f);
    assert_int_equal(file_write(path, text, strlen(text), 0600, false, &err), 0);
    start(f, path);
}

/* ---- Tests ---- */

static void routes_and_decodes(void **state)
{
    struct fixture *f = *state;

    expect(f, GET("/v1/jobs/www/prod/web"), 200, "{\"role\":\"www\",\"name\":\"web\"");
    expect(f, GET("/v1/jobs/w%20w/prod/web?q=a+b%26c&x&q=2"), 200,
           "{\"role\":\"w w\",\"name\":\"web\",\"q\":\"a b&c\",\"q1\":\"2\"}");
    expect(f, GET("/v1/jobs/www/prod/web"), 200, "Content-Type: application/json");
    expect(f, GET("/v1/jobs/www/prod/web"), 200, "X-Request-Id: ");
}

static void refuses_what_has_no_route(void **state)
{
    struct fixture *f = *state;

    expect(f, GET("/v1/nothing"), 404, "\"code\":\"notfound\"");
    expect(f, GET("/v1/nothing"), 404, "application/problem+json");
    expect(f, "PUT /v1/who HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n", 405,
           "Allow: GET, DELETE, HEAD");
    expect(f, GET("/v1/jobs/..%2f/prod/web"), 400, "\"code\":\"invalid\"");
    expect(f, GET("/v1/../v1/who"), 400, NULL);
    expect(f, GET("/v1/jobs/%00/prod/web"), 400, "NUL");
    expect(f, GET("/v1/jobs/%ff/prod/web"), 400, "UTF-8");
    expect(f, GET("/v1/jobs/a/b/c?q=%ff"), 400, "UTF-8");
    expect(f, GET("/v1/jobs/a/b/c?q=%0"), 400, "escape");
    assert_int_equal(f->handled, 0);
}

static void head_is_get_without_a_body(void **state)
{
    struct fixture *f = *state;
    CLEANUP(fd_closep) int fd = client(f);
    char bytes[4096] = { 0 };

    say(f, fd, "HEAD /v1/who HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    turn_until(f, poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, 0) == 1);
    assert_true(recv(fd, bytes, sizeof bytes - 1, 0) > 0);
    assert_true(str_starts(bytes, "HTTP/1.1 200 "));
    assert_true(str_ends(bytes, "\r\n\r\n"));
}

static void survives_malformed_requests(void **state)
{
    struct fixture *f = *state;
    static const char *const bad[] = {
        "\r\n\r\n\r\n",
        "GET\r\n\r\n",
        "GET /v1/who\r\n\r\n",
        "GET /v1/who HTTP/9.9\r\n\r\n",
        "POST /v1/echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        "POST /v1/echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
        "POST /v1/echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "GET /v1/who HTTP/1.1\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    };

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CLEANUP(fd_closep) int fd = client(f);
        say(f, fd, bad[i]);
        shutdown(fd, SHUT_WR);
        CLEANUP(mem_freep) char *answer = hear(f, fd);
        assert_false(str_starts(answer, "HTTP/1.1 2"));
    }
    expect(f, GET("/v1/who"), 200, "loopback");
}

static void caps_headers(void **state)
{
    struct fixture *f = *state;
    CLEANUP_BUF request = { 0 };

    buf_add_text(&request, "GET /v1/who HTTP/1.1\r\nHost: localhost\r\n");
    while (request.len < 64 * 1024) {
        buf_addf(&request, "X-Filler-%zu: %0100d\r\n", request.len, 0);
    }
    buf_add_text(&request, "\r\n");
    CLEANUP(mem_freep) char *answer = ask(f, buf_text(&request));
    assert_false(str_starts(answer, "HTTP/1.1 2"));
    assert_int_equal(f->handled, 0);
}

static void json_bodies_are_strict(void **state)
{
    struct fixture *f = *state;
    char deep[1000] = { 0 };

    expect(f, POST("application/json", "{\"a\":1}", "7"), 201, "X-Echo: yes");
    expect(f, POST("application/json; charset=utf-8", "{\"a\":1}", "7"), 201, "{\"a\":1}");
    expect(f, POST("text/plain", "{\"a\":1}", "7"), 415, "content type");
    expect(f, POST("application/json", "{\"a\":1,\"a\":2}", "13"), 400, "duplicate");
    expect(f, POST("application/json", "{\"a\":1}x", "8"), 400, NULL);
    expect(f, POST("application/json", "", "0"), 400, NULL);
    memset(deep, '[', 65);
    memset(deep + 65, ']', 65);
    CLEANUP(mem_freep) char *request = str_printf(POST("application/json", "%s", "130"), deep);
    expect(f, request, 400, NULL);
}

static void caps_bodies(void **state)
{
    struct fixture *f = *state;
    char body[2001] = { 0 };

    memset(body, 'x', 2000);
    CLEANUP(mem_freep) char *whole = str_printf(POST("application/json", "%s", "2000"), body);
    expect(f, whole, 413, "\"code\":\"toobig\"");
    CLEANUP(mem_freep)
    char *chunked =
        str_printf("POST /v1/echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
                   "Content-Type: application/json\r\n\r\n7d0\r\n%s\r\n0\r\n\r\n",
                   body);
    expect(f, chunked, 413, "\"code\":\"toobig\"");
    expect(f,
           "POST /v1/echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
           "Expect: 100-continue\r\nContent-Length: 1000000000\r\n\r\n",
           413, NULL);
    assert_int_equal(f->handled, 0);
}

static void a_dripping_body_is_cut(void **state)
{
    struct fixture *f = *state;
    CLEANUP(fd_closep) int fd = client(f);
    char byte;
    ssize_t n = -1;
    uint64_t until = clock_now_ms() + DEADLINE_MS;

    say(f, fd, POST("application/json", "{", "900"));
    while (n < 0 && clock_now_ms() < until) {
        send(fd, " ", 1, MSG_NOSIGNAL);
        turn(f);
        n = recv(fd, &byte, 1, MSG_DONTWAIT);
        n = n < 0 && errno == ECONNRESET ? 0 : n;
    }
    assert_int_equal(n, 0);
    assert_int_equal(f->handled, 0);
}

/* After a whole request too: a kept connection must not become a free one. */
static void dripping_headers_are_cut(void **state)
{
    struct fixture *f = *state;

    for (int requests = 0; requests < 2; requests++) {
        CLEANUP(fd_closep) int fd = client(f);
        char byte;
        ssize_t n = -1;
        uint64_t until = clock_now_ms() + DEADLINE_MS;

        if (requests > 0) {
            say(f, fd, GET("/v1/who"));
            CLEANUP(mem_freep) char *answer = hear(f, fd);
            assert_true(str_ends(answer, "loopback"));
        }
        send(fd, "GET /v1/who HTTP/1.1\r\nX: ", 25, MSG_NOSIGNAL);
        while (n < 0 && clock_now_ms() < until) {
            send(fd, "x", 1, MSG_NOSIGNAL);
            turn(f);
            n = recv(fd, &byte, 1, MSG_DONTWAIT);
            n = n < 0 && errno == ECONNRESET ? 0 : n;
        }
        assert_int_equal(n, 0);
        assert_int_equal(f->handled, requests);
    }
}

static void keeps_connections(void **state)
{
    struct fixture *f = *state;
    CLEANUP(fd_closep) int fd = client(f);

    for (int i = 0; i < 3; i++) {
        say(f, fd, GET("/v1/who"));
        CLEANUP(mem_freep) char *answer = hear(f, fd);
        assert_true(str_ends(answer, "loopback"));
    }
    say(f, fd, GET("/v1/nothing"));
    CLEANUP(mem_freep) char *answer = hear(f, fd);
    assert_true(str_starts(answer, "HTTP/1.1 404"));
    say(f, fd, GET("/v1/who"));
    CLEANUP(mem_freep) char *after = hear(f, fd);
    assert_true(str_ends(after, "loopback"));
}

static void answers_later(void **state)
{
    struct fixture *f = *state;
    CLEANUP(fd_closep) int fd = client(f);

    say(f, fd, GET("/v1/hold"));
    turn_until(f, f->held != NULL);
    turn(f);
    httpd_reply_text(f->held, 202, "text/plain", "later", 5);
    CLEANUP(mem_freep) char *answer = hear(f, fd);
    assert_true(str_starts(answer, "HTTP/1.1 202 "));
    assert_true(str_ends(answer, "later"));
    assert_int_equal(f->gone, 0);
}

static void drops(void **state)
{
    struct fixture *f = *state;
    CLEANUP(fd_closep) int fd = client(f);

    say(f, fd, GET("/v1/hold"));
    turn_until(f, f->held != NULL);
    httpd_drop(f->held);
    CLEANUP(mem_freep) char *answer = hear(f, fd);
    assert_string_equal(answer, "");
}

static void tells_of_a_client_that_left(void **state)
{
    struct fixture *f = *state;
    int fd = client(f);

    say(f, fd, GET("/v1/hold"));
    turn_until(f, f->held != NULL);
    turn(f);
    close(fd);
    turn_until(f, f->gone == 1);
    turn(f);
    assert_true(httpd_is_gone(f->held));
    assert_string_equal(httpd_method(f->held), "GET");
    httpd_reply_text(f->held, 200, "text/plain", "nobody", 6);
    turn(f);
    assert_int_equal(f->gone, 1);
}

static void closing_tells_those_who_wait(void **state)
{
    struct fixture *f = *state;
    CLEANUP(fd_closep) int fd = client(f);

    say(f, fd, GET("/v1/hold"));
    turn_until(f, f->held != NULL);
    httpd_close(f->httpd, on_closed);
    turn_until(f, f->gone == 1);
    httpd_reply_empty(f->held, 204);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    start(f, NULL);
}

static void streams(void **state)
{
    struct fixture *f = *state;
    CLEANUP(fd_closep) int fd = client(f);
    CLEANUP_BUF heard = { 0 };
    char bytes[4096];

    say(f, fd, GET("/v1/stream"));
    turn_until(f, f->held != NULL);
    assert_true(httpd_stream_write(f->held, "data: 1\n\n", 9));
    turn(f);
    turn(f);
    assert_true(httpd_stream_write(f->held, "data: 2\n\n", 9));
    httpd_stream_end(f->held);
    uint64_t until = clock_now_ms() + DEADLINE_MS;
    while (strstr(buf_text(&heard), "\r\n0\r\n\r\n") == NULL && clock_now_ms() < until) {
        turn(f);
        ssize_t n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
        buf_add(&heard, bytes, n > 0 ? (size_t)n : 0);
    }
    assert_non_null(strstr(buf_text(&heard), "text/event-stream"));
    assert_non_null(strstr(buf_text(&heard), "\r\n9\r\ndata: 1\n\n\r\n9\r\ndata: 2\n\n\r\n0\r\n"));
}

static void a_stalled_reader_holds_the_writer_back(void **state)
{
    struct fixture *f = *state;
    CLEANUP(fd_closep) int fd = client(f);
    static char block[16 * 1024];
    static char bytes[64 * 1024];
    size_t written = 0;

    say(f, fd, GET("/v1/stream"));
    turn_until(f, f->held != NULL);
    for (int refused = 0; refused < 20;) {
        if (httpd_stream_write(f->held, block, sizeof block)) {
            written += sizeof block;
            refused = 0;
        } else {
            refused++;
        }
        uv_run(&f->loop, UV_RUN_NOWAIT);
        assert_true(httpd_stream_pending(f->held) <= STREAM_BYTES);
    }
    unsigned before = f->writable;
    size_t read_bytes = 0;
    uint64_t until = clock_now_ms() + DEADLINE_MS;
    while (f->writable == before && clock_now_ms() < until) {
        ssize_t n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
        read_bytes += n > 0 ? (size_t)n : 0;
        turn(f);
    }
    assert_int_equal(f->writable, before + 1);
    assert_true(read_bytes <= written + 64 * 1024);
    httpd_stream_end(f->held);
}

static void a_stream_tells_of_a_reader_that_left(void **state)
{
    struct fixture *f = *state;
    int fd = client(f);

    say(f, fd, GET("/v1/stream"));
    turn_until(f, f->held != NULL);
    turn(f);
    close(fd);
    turn_until(f, f->gone == 1);
    assert_true(httpd_stream_write(f->held, "x", 1));
    httpd_stream_end(f->held);
}

static void a_stream_open_at_close_ends(void **state)
{
    struct fixture *f = *state;
    CLEANUP(fd_closep) int fd = client(f);

    say(f, fd, GET("/v1/stream"));
    turn_until(f, f->held != NULL);
    turn(f);
    httpd_close(f->httpd, on_closed);
    turn_until(f, f->gone == 1);
    httpd_stream_end(f->held);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    start(f, NULL);
}

static void tokens_decide(void **state)
{
    struct fixture *f = *state;

    restart_with_tokens(f);
    expect(f, GET("/v1/hold"), 401, "WWW-Authenticate: Bearer");
    expect(f, GET("/v1/who"), 200, "anonymous");
    expect(f, "GET /v1/who HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer 0123456789abcdef\r\n\r\n",
           200, "root");
    expect(f, "GET /v1/who HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer 0123456789abcdee\r\n\r\n",
           401, "unknown token");
    expect(f, "GET /v1/who HTTP/1.1\r\nHost: h\r\nAuthorization: Basic Zm9v\r\n\r\n", 401, NULL);
    expect(f,
           "DELETE /v1/who HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer viewer-token-0123\r\n\r\n",
           403, "\"code\":\"denied\"");
}

static void without_tokens_only_this_machine(void **state)
{
    struct fixture *f = *state;
    struct err err = { 0 };

    assert_int_equal(httpd_listen_tcp(f->httpd, "0.0.0.0:0", NULL, &err), ERR_CONFIG);
    assert_int_equal(httpd_listen_tcp(f->httpd, "[::]:0", NULL, &err), ERR_CONFIG);
    assert_int_equal(httpd_listen_tcp(f->httpd, "127.0.0.1", NULL, &err), ERR_USAGE);
    assert_int_equal(httpd_listen_tcp(f->httpd, "127.0.0.1:99999", NULL, &err), ERR_USAGE);
    assert_int_equal(httpd_listen_tcp(f->httpd, "example.org:80", NULL, &err), ERR_USAGE);
    expect(f, "GET /v1/who HTTP/1.1\r\nHost: evil.example:80\r\n\r\n", 403, NULL);
    expect(f, "GET /v1/who HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n\r\n", 403,
           NULL);
    expect(f, "GET /v1/who HTTP/1.1\r\nHost: localhost:8\r\nOrigin: http://localhost:8\r\n\r\n",
           200, NULL);
    assert_int_equal(f->handled, 1);
}

static void a_unix_socket_tells_its_peer(void **state)
{
    struct fixture *f = *state;
    CLEANUP(mem_freep) char *path = file_join(f->dir, "api.sock");
    struct err err = { 0 };
    struct stat st;

    assert_int_equal(httpd_listen_unix(f->httpd, path, 0600, &err), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(httpd_listen_unix(f->httpd, path, 0600, &err), ERR_CONFLICT);

    f->peer = (uid_t)-1;
    CLEANUP(fd_closep) int fd = unix_client(path);
    say(f, fd, GET("/v1/who"));
    CLEANUP(mem_freep) char *answer = hear(f, fd);
    CLEANUP(mem_freep) char *name = str_printf("uid:%u", geteuid());
    assert_true(str_ends(answer, name));
    assert_int_equal(f->peer, geteuid());
    stop(f);
    assert_false(file_exists(path));
    start(f, NULL);
}

static void a_stale_socket_file_is_replaced(void **state)
{
    struct fixture *f = *state;
    CLEANUP(mem_freep) char *path = file_join(f->dir, "api.sock");
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    struct err err = { 0 };

    snprintf(addr.sun_path, sizeof addr.sun_path, "%s", path);
    assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    close(fd);
    assert_int_equal(httpd_listen_unix(f->httpd, path, 0660, &err), 0);
    CLEANUP(mem_freep) char *file = file_join(f->dir, "file");
    assert_int_equal(file_write(file, "", 0, 0600, false, &err), 0);
    assert_int_equal(httpd_listen_unix(f->httpd, file, 0600, &err), ERR_EXISTS);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(routes_and_decodes),
        TEST(refuses_what_has_no_route),
        TEST(head_is_get_without_a_body),
        TEST(survives_malformed_requests),
        TEST(caps_headers),
        TEST(json_bodies_are_strict),
        TEST(caps_bodies),
        TEST(a_dripping_body_is_cut),
        TEST(dripping_headers_are_cut),
        TEST(keeps_connections),
        TEST(answers_later),
        TEST(drops),
        TEST(tells_of_a_client_that_left),
        TEST(closing_tells_those_who_wait),
        TEST(streams),
        TEST(a_stalled_reader_holds_the_writer_back),
        TEST(a_stream_tells_of_a_reader_that_left),
        TEST(a_stream_open_at_close_ends),
        TEST(tokens_decide),
        TEST(without_tokens_only_this_machine),
        TEST(a_unix_socket_tells_its_peer),
        TEST(a_stale_socket_file_is_replaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
