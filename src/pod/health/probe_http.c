/* SPDX-License-Identifier: Apache-2.0 */

/* probe_http: one HTTP request to a server of this pod.
 *
 * For health checks and for the stop ladder; what an answer means is theirs.  It is no
 * general client: no TLS, no redirects, no names other than localhost, one connection a
 * request.  Answers are parsed by http_parser, which is a few KiB of code linked in and
 * touched by nobody else: a library as large as libcurl would cost each checked pod many
 * times the memory of davit-pod itself.
 *
 *   connect to 127.0.0.1 --refused--> connect to ::1 --> write, read --the answer is whole,
 *   an error, the deadline, cancel--> both handles are closed --> the callback.
 *
 * Failures: each is one call of finish() with its code; the first outcome wins.
 * Invariants: after finish() nothing but on_closed() touches the probe; no more than
 * PROBE_HTTP_BYTES_MAX are read, whatever the server sends.
 */
#include "pod/health/probe_http.h"

#include "base/mem.h"
#include "base/str.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <http_parser.h>
#include <string.h>

enum { READ_BYTES = 8 * 1024, SHOWN_MAX = 200 };

/* --- The answer. --- */

static int on_body(http_parser *parser, const char *bytes, size_t len)
{
    struct probe_http_answer *answer = parser->data;
    size_t room = PROBE_HTTP_BODY_MAX - answer->body.len;

    buf_add(&answer->body, bytes, len < room ? len : room);
    return 0;
}

static int on_complete(http_parser *parser)
{
    struct probe_http_answer *answer = parser->data;

    if (parser->status_code >= 200) { /* else "100 Continue" and the like: the answer follows */
        answer->status = (int)parser->status_code;
        answer->done = true;
        http_parser_pause(parser, 1); /* What follows is of no request of ours. */
    }
    return 0;
}

void probe_http_answer_init(struct probe_http_answer *answer)
{
    *answer = (struct probe_http_answer){ 0 };
    answer->parser = mem_alloc(sizeof(*answer->parser));
    http_parser_init(answer->parser, HTTP_RESPONSE);
    answer->parser->data = answer;
}

int probe_http_answer_feed(struct probe_http_answer *answer, const char *bytes, size_t len,
                           struct err *err)
{
    http_parser_settings settings;

    http_parser_settings_init(&settings);
    settings.on_body = on_body;
    settings.on_message_complete = on_complete;
    answer->bytes += len;
    (void)http_parser_execute(answer->parser, &settings, bytes, len);
    if (answer->done) {
        return 0;
    }
    if (HTTP_PARSER_ERRNO(answer->parser) != HPE_OK) {
        return err_set(err, ERR_INVALID, "the answer is no HTTP (%s)",
                       http_errno_description(HTTP_PARSER_ERRNO(answer->parser)));
    }
    if (len == 0) {
        return err_set(err, ERR_EOF, "the connection was closed before the answer's end");
    }
    if (answer->bytes > PROBE_HTTP_BYTES_MAX) {
        return err_set(err, ERR_TOOBIG, "the answer is longer than %d bytes", PROBE_HTTP_BYTES_MAX);
    }
    return 0;
}

void probe_http_answer_fini(struct probe_http_answer *answer)
{
    buf_fini(&answer->body);
    free(answer->parser);
    *answer = (struct probe_http_answer){ 0 };
}

static char *lowered(const char *text, size_t len)
{
    while (len > 0 && isspace((unsigned char)text[len - 1])) {
        len--;
    }
    while (len > 0 && isspace((unsigned char)text[0])) {
        text++;
        len--;
    }
    char *copy = mem_strndup(len > 0 ? text : "", len);
    for (char *at = copy; *at; at++) {
        *at = (char)tolower((unsigned char)*at);
    }
    return copy;
}

char *probe_http_verdict(const struct probe_http_answer *answer, const char *expected,
                         int expected_code)
{
    CLEANUP(mem_freep)
    char *want = lowered(expected ? expected : "", expected ? strlen(expected) : 0);
    CLEANUP(mem_freep) char *got = lowered(buf_text(&answer->body), answer->body.len);

    if (want[0] != '\0' && strcmp(want, got) != 0) {
        return str_printf("Response differs from expected response (expected \"%.*s\", got "
                          "\"%.*s%s\")",
                          SHOWN_MAX, want, SHOWN_MAX, got, strlen(got) > SHOWN_MAX ? "..." : "");
    }
    if (expected_code != 0 && expected_code != answer->status) {
        return str_printf("Response code differs from expected response (expected %d, got %d)",
                          expected_code, answer->status);
    }
    return NULL;
}

/* --- The exchange. --- */

static void connect_to(struct probe_http *probe);

static void on_closed(uv_handle_t *handle)
{
    struct probe_http *probe = handle->data;

    if (--probe->open_handles > 0) {
        return;
    }
    free(probe->request);
    free(probe->bytes);
    probe->request = probe->bytes = NULL;
    probe->cb(probe); /* Last: the callback may free the probe. */
}

static void finish(struct probe_http *probe, int code, const char *why)
{
    if (probe->finished) {
        return; /* The first outcome won. */
    }
    probe->finished = true;
    if (code != 0) {
        err_setf(&probe->err, code, "%s", why);
    }
    if (!uv_is_closing((uv_handle_t *)&probe->tcp)) { /* else between two addresses */
        uv_close((uv_handle_t *)&probe->tcp, on_closed);
    }
    uv_close((uv_handle_t *)&probe->deadline, on_closed);
}

static void on_deadline(uv_timer_t *timer)
{
    finish(timer->data, ERR_TIMEOUT, "timed out");
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buf)
{
    struct probe_http *probe = handle->data;

    (void)suggested;
    if (!probe->bytes) {
        probe->bytes = mem_alloc(READ_BYTES);
    }
    *ret_buf = uv_buf_init(probe->bytes, READ_BYTES);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct probe_http *probe = stream->data;
    struct err err = { 0 };

    if (probe->finished || n == 0) {
        return;
    }
    if (n < 0 && n != UV_EOF) {
        finish(probe, ERR_UNREACHABLE, uv_strerror((int)n));
    } else if (probe_http_answer_feed(&probe->answer, buf->base, n > 0 ? (size_t)n : 0, &err) < 0) {
        finish(probe, err.code, err.msg);
    } else if (probe->answer.done) {
        finish(probe, 0, NULL);
    }
}

static void on_written(uv_write_t *write, int status)
{
    /* A server may answer, and close, before it has read all: reading tells. */
    (void)write;
    (void)status;
}

static void on_between(uv_handle_t *handle)
{
    struct probe_http *probe = handle->data;

    if (probe->finished) {
        on_closed(handle);
    } else {
        connect_to(probe);
    }
}

/* Most machines' servers listen on the first address: its answer tells more. */
static void no_connection(struct probe_http *probe, int status)
{
    finish(probe, ERR_UNREACHABLE,
           uv_strerror(probe->first_status < 0 ? probe->first_status : status));
}

static void on_connected(uv_connect_t *connect, int status)
{
    struct probe_http *probe = connect->data;

    if (probe->finished) {
        return;
    }
    if (status < 0 && !probe->second_address) {
        probe->second_address = true;
        probe->first_status = status;
        uv_close((uv_handle_t *)&probe->tcp, on_between);
        return;
    }
    if (status < 0) {
        no_connection(probe, status);
        return;
    }
    uv_buf_t buf = uv_buf_init(probe->request, (unsigned)strlen(probe->request));
    probe->write.data = probe;
    int ret = uv_write(&probe->write, (uv_stream_t *)&probe->tcp, &buf, 1, on_written);
    ret = ret < 0 ? ret : uv_read_start((uv_stream_t *)&probe->tcp, on_alloc, on_read);
    if (ret < 0) {
        finish(probe, ERR_UNREACHABLE, uv_strerror(ret));
    }
}

static void connect_to(struct probe_http *probe)
{
    struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons((uint16_t)probe->port) };
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = v4.sin_port };

    v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    v6.sin6_addr = in6addr_loopback;
    (void)uv_tcp_init(probe->loop, &probe->tcp);
    probe->tcp.data = probe->connect.data = probe;
    int ret = uv_tcp_connect(&probe->connect, &probe->tcp,
                             probe->second_address ? (const struct sockaddr *)&v6
                                                   : (const struct sockaddr *)&v4,
                             on_connected);
    if (ret < 0) {
        no_connection(probe, ret);
    }
}

static void add_path(struct buf *request, const char *path)
{
    buf_add_text(request, path[0] == '/' ? "" : "/");
    for (const char *at = path; *at; at++) {
        if ((unsigned char)*at <= ' ' || (unsigned char)*at >= 0x7f) {
            buf_addf(request, "%%%02X", (unsigned char)*at);
        } else {
            buf_add(request, at, 1);
        }
    }
}

void probe_http_start(struct probe_http *probe, uv_loop_t *loop, const struct probe_http_spec *spec,
                      probe_http_cb cb)
{
    CLEANUP_BUF request = { 0 };

    *probe = (struct probe_http){ .data = probe->data, .loop = loop, .port = spec->port, .cb = cb };
    buf_addf(&request, "%s ", spec->method);
    add_path(&request, spec->path);
    buf_addf(&request,
             " HTTP/1.1\r\nHost: localhost:%d\r\nUser-Agent: davit-pod\r\nAccept: */*\r\n%s"
             "Connection: close\r\n\r\n",
             spec->port, str_eq(spec->method, "POST") ? "Content-Length: 0\r\n" : "");
    probe->request = buf_take(&request);
    probe_http_answer_init(&probe->answer);
    probe->open_handles = 2;
    uv_update_time(loop); /* The timer counts from the loop's idea of now. */
    (void)uv_timer_init(loop, &probe->deadline);
    probe->deadline.data = probe;
    (void)uv_timer_start(&probe->deadline, on_deadline, spec->timeout_ms, 0);
    connect_to(probe);
}

void probe_http_cancel(struct probe_http *probe)
{
    finish(probe, ERR_CANCELED, "canceled");
}

void probe_http_fini(struct probe_http *probe)
{
    probe_http_answer_fini(&probe->answer);
}
