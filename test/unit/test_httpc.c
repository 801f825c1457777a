/* SPDX-License-Identifier: Apache-2.0 */

/* httpc against our own server on the same loop. */
#include "http/httpc.h"

#include "base/fault.h"
#include "base/file.h"
#include "base/json.h"
#include "base/str.h"
#include "http/httpd.h"
#include "test.h"

#include <string.h>

struct fixture {
    uv_loop_t loop;
    struct httpd *httpd;
    struct httpc *httpc;
    uint16_t port;
    char base[64];
    char dir[32];
    char url[128];
    struct httpc_call call;
    unsigned fired;
    size_t streamed;
    struct httpd_request *held;
    size_t flooded;
    uv_timer_t timer;
};

static void on_echo(struct httpd_request *req)
{
    size_t len;
    const char *body = httpd_body(req, &len);

    httpd_add_header(req, "Retry-After", "7");
    httpd_add_header(req, "Location", "/v1/operations/1");
    httpd_reply_text(req, 201, "text/plain", body, len);
}

static void on_missing(struct httpd_request *req)
{
    struct err err = { 0 };

    err_setf(&err, ERR_NOTFOUND, "no job www/prod/web");
    httpd_reply_err(req, &err);
}

static void on_hold(struct httpd_request *req)
{
    struct fixture *f = httpd_ctx(req);

    f->held = req;
}

static void on_stream(struct httpd_request *req)
{
    struct fixture *f = httpd_ctx(req);

    f->held = req;
    httpd_stream_begin(req, 200, "text/plain", NULL);
    httpd_stream_write(req, "first", 5);
}

enum { FLOOD_BYTES = 8 * 1024 * 1024 };

static void on_flood_writable(struct httpd_request *req)
{
    struct fixture *f = httpd_ctx(req);
    static char piece[16 * 1024];

    while (f->flooded < FLOOD_BYTES && httpd_stream_write(req, piece, sizeof piece)) {
        f->flooded += sizeof piece;
    }
    if (f->flooded == FLOOD_BYTES) {
        f->flooded++; /* Once. */
        httpd_stream_end(req);
    }
}

static void on_flood_gone(struct httpd_request *req)
{
    httpd_stream_end(req);
}

static void on_flood(struct httpd_request *req)
{
    httpd_on_gone(req, on_flood_gone);
    httpd_stream_begin(req, 200, "text/plain", on_flood_writable);
    on_flood_writable(req);
}

static const struct httpd_route routes[] = {
    { "POST", "/echo", on_echo, HTTPD_VIEWER, NULL },
    { "PUT", "/echo", on_echo, HTTPD_VIEWER, NULL },
    { "GET", "/missing", on_missing, HTTPD_VIEWER, NULL },
    { "GET", "/hold", on_hold, HTTPD_VIEWER, NULL },
    { "GET", "/stream", on_stream, HTTPD_VIEWER, NULL },
    { "GET", "/flood", on_flood, HTTPD_VIEWER, NULL },
};

static int setup(void **state)
{
    struct fixture *f = mem_alloc(sizeof *f);
    struct httpd_options options = { .loop = &f->loop, .routes = routes, .n_routes = 6, .ctx = f };
    struct err err = { 0 };

    assert_int_equal(uv_loop_init(&f->loop), 0);
    snprintf(f->dir, sizeof f->dir, "/tmp/davit-httpc-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    assert_int_equal(httpd_new(&options, &f->httpd, &err), 0);
    assert_int_equal(httpd_listen_tcp(f->httpd, "127.0.0.1:0", &f->port, &err), 0);
    snprintf(f->base, sizeof f->base, "http://127.0.0.1:%u", f->port);
    httpc_new(&f->loop, &f->httpc);
    f->call.data = f;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    CLEANUP(mem_freep) struct fixture *f = *state;
    struct err err = { 0 };

    fault_arm(0, 0);
    if (f->httpc != NULL) {
        httpc_close(f->httpc, NULL, NULL);
    }
    httpd_close(f->httpd, NULL);
    if (f->held != NULL) {
        httpd_drop(f->held);
    }
    uv_run(&f->loop, UV_RUN_DEFAULT);
    httpc_call_fini(&f->call);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    assert_int_equal(file_remove_tree(f->dir, &err), 0);
    return 0;
}

static void on_done(struct httpc_call *call)
{
    struct fixture *f = call->data;

    f->fired++;
    uv_stop(&f->loop);
}

static void begin(struct fixture *f, const char *path)
{
    snprintf(f->url, sizeof f->url, "%s%s", f->base, path);
    f->call.url = f->url;
    f->fired = 0;
    httpc_start(f->httpc, &f->call, on_done);
    assert_int_equal(f->fired, 0); /* Never from inside start. */
}

static void run(struct fixture *f, const char *path)
{
    begin(f, path);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(f->fired, 1);
}

static void calls(void **state)
{
    struct fixture *f = *state;
    struct err err = { 0 };

    for (int i = 0; i < 3; i++) {
        f->call.body = "hello";
        f->call.body_len = 5;
        run(f, "/echo");
        assert_int_equal(httpc_check(&f->call, &err), 0);
        assert_int_equal(f->call.status, 201);
        assert_string_equal(f->call.res_body, "hello");
        assert_string_equal(f->call.res_type, "text/plain");
        assert_string_equal(f->call.res_location, "/v1/operations/1");
        assert_int_equal(f->call.res_retry_after_s, 7);
    }
    f->call.method = "PUT";
    f->call.body = NULL;
    run(f, "/echo");
    assert_int_equal(f->call.status, 201);
    assert_string_equal(f->call.res_body, "");
}

static void shows_the_servers_words(void **state)
{
    struct fixture *f = *state;
    struct err err = { 0 };

    run(f, "/missing");
    assert_int_equal(f->call.err.code, 0);
    assert_int_equal(httpc_check(&f->call, &err), ERR_NOTFOUND);
    assert_string_equal(err.msg, "no job www/prod/web");
    CLEANUP(json_freep) json_t *doc = NULL;
    assert_int_equal(httpc_json(&f->call, &doc, &err), 0);
}

static void over_a_unix_socket(void **state)
{
    struct fixture *f = *state;
    CLEANUP(mem_freep) char *path = file_join(f->dir, "s");
    struct err err = { 0 };

    assert_int_equal(httpd_listen_unix(f->httpd, path, 0600, &err), 0);
    f->call.unix_path = path;
    f->call.body = "x";
    f->call.body_len = 1;
    run(f, "/echo");
    assert_string_equal(f->call.res_body, "x");
    f->call.unix_path = "/nonexistent/socket";
    run(f, "/echo");
    assert_int_equal(httpc_check(&f->call, &err), ERR_UNREACHABLE);
    assert_non_null(strstr(err.msg, "/nonexistent/socket: No such file"));
}

static void refused_is_unreachable(void **state)
{
    struct fixture *f = *state;
    struct err err = { 0 };

    snprintf(f->base, sizeof f->base, "http://127.0.0.1:1");
    run(f, "/");
    assert_int_equal(httpc_check(&f->call, &err), ERR_UNREACHABLE);
    assert_non_null(strstr(err.msg, "Connection refused"));
    snprintf(f->base, sizeof f->base, "ftp://127.0.0.1:1");
    run(f, "/");
    assert_int_equal(httpc_check(&f->call, &err), ERR_INVALID);
}

static void deadline(void **state)
{
    struct fixture *f = *state;

    f->call.timeout_ms = 50;
    run(f, "/hold");
    assert_int_equal(f->call.err.code, ERR_TIMEOUT);
}

static void canceled_twice_fires_once(void **state)
{
    struct fixture *f = *state;

    begin(f, "/hold");
    httpc_cancel(&f->call);
    httpc_cancel(&f->call);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(f->fired, 1);
    assert_int_equal(f->call.err.code, ERR_CANCELED);
    httpc_cancel(&f->call);
}

static void closing_cancels(void **state)
{
    struct fixture *f = *state;

    begin(f, "/hold");
    while (f->held == NULL) {
        uv_run(&f->loop, UV_RUN_ONCE);
    }
    httpc_close(TAKE(f->httpc), NULL, NULL);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(f->fired, 1);
    assert_int_equal(f->call.err.code, ERR_CANCELED);
}

static void too_large_an_answer(void **state)
{
    struct fixture *f = *state;
    static char body[5000];

    f->call.body = body;
    f->call.body_len = sizeof body;
    f->call.max_bytes = 4999;
    run(f, "/echo");
    assert_int_equal(f->call.err.code, ERR_TOOBIG);
}

static void on_piece(struct httpc_call *call, const void *bytes, size_t len)
{
    struct fixture *f = call->data;

    (void)bytes;
    f->streamed += len;
    if (f->streamed == 5) {
        httpd_stream_write(f->held, "second", 6);
        httpd_stream_end(TAKE(f->held));
    }
}

static void streams_pieces(void **state)
{
    struct fixture *f = *state;

    f->call.on_data = on_piece;
    run(f, "/stream");
    assert_int_equal(f->call.err.code, 0);
    assert_int_equal(f->call.status, 200);
    assert_int_equal(f->streamed, 11);
    run(f, "/missing"); /* An error's body is collected all the same. */
    struct err err = { 0 };
    assert_int_equal(httpc_check(&f->call, &err), ERR_NOTFOUND);
    assert_int_equal(f->streamed, 11);
}

static void on_piece_cancel(struct httpc_call *call, const void *bytes, size_t len)
{
    (void)bytes;
    (void)len;
    httpc_cancel(call);
}

static void canceled_from_within_a_piece(void **state)
{
    struct fixture *f = *state;

    f->call.on_data = on_piece_cancel;
    run(f, "/stream");
    assert_int_equal(f->call.err.code, ERR_CANCELED);
}

static void on_piece_wait(struct httpc_call *call, const void *bytes, size_t len)
{
    struct fixture *f = call->data;

    (void)bytes;
    f->streamed += len;
}

static void a_silent_stream_times_out(void **state)
{
    struct fixture *f = *state;

    f->call.on_data = on_piece_wait;
    f->call.idle_ms = 50;
    run(f, "/stream");
    assert_int_equal(f->call.err.code, ERR_TIMEOUT);
    assert_int_equal(f->streamed, 5);
}

static void on_piece_pause(struct httpc_call *call, const void *bytes, size_t len)
{
    on_piece_wait(call, bytes, len);
    httpc_pause(call);
}

static void on_paused_long_enough(uv_timer_t *timer)
{
    struct fixture *f = timer->data;

    uv_stop(&f->loop);
}

static void on_piece_pause_once(struct httpc_call *call, const void *bytes, size_t len)
{
    on_piece_wait(call, bytes, len);
    httpc_pause(call);
    httpc_resume(call);
}

/* A slow reader makes the server wait; nothing is lost, and nothing piles up here. */
static void a_paused_stream_waits(void **state)
{
    struct fixture *f = *state;

    f->call.on_data = on_piece_pause;
    f->call.idle_ms = 500; /* The reader's own slowness is not the server's silence. */
    begin(f, "/flood");
    uv_timer_init(&f->loop, &f->timer);
    f->timer.data = f;
    for (int i = 0; i < 3; i++) {
        size_t before = f->streamed;

        uv_timer_start(&f->timer, on_paused_long_enough, 700, 0);
        uv_run(&f->loop, UV_RUN_DEFAULT);
        assert_int_equal(f->fired, 0);
        assert_true(f->streamed > before && f->streamed - before <= 64 * 1024);
        httpc_resume(&f->call);
        httpc_pause(&f->call);
        httpc_resume(&f->call);
    }
    assert_true(f->flooded < FLOOD_BYTES); /* It waits. */
    uv_close((uv_handle_t *)&f->timer, NULL);
    f->call.on_data = on_piece_pause_once;
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(f->fired, 1);
    assert_int_equal(f->call.err.code, 0);
    assert_int_equal(f->streamed, FLOOD_BYTES);
}

static void canceled_while_paused(void **state)
{
    struct fixture *f = *state;

    f->call.on_data = on_piece_pause;
    begin(f, "/flood");
    while (f->streamed == 0) {
        uv_run(&f->loop, UV_RUN_ONCE);
    }
    for (int i = 0; i < 5; i++) {
        uv_run(&f->loop, UV_RUN_NOWAIT);
    }
    httpc_resume(&f->call);
    httpc_cancel(&f->call);
    httpc_resume(&f->call);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(f->fired, 1);
    assert_int_equal(f->call.err.code, ERR_CANCELED);
}

/* Fail each crossing of the outside world in turn: one callback each time, and a clean close. */
static void torture(void **state)
{
    struct fixture *f = *state;
    int nth = 1;

#ifndef WITH_FAULTS
    print_message("built without -Dfaults=true: nothing to inject\n");
    return;
#endif
    f->call.timeout_ms = 300;
    f->call.body = "x";
    f->call.body_len = 1;
    do {
        fault_arm(nth, -1);
        run(f, "/echo");
    } while (fault_hits() >= nth++);
    assert_int_equal(f->call.err.code, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(calls),
        TEST(shows_the_servers_words),
        TEST(over_a_unix_socket),
        TEST(refused_is_unreachable),
        TEST(deadline),
        TEST(canceled_twice_fires_once),
        TEST(closing_cancels),
        TEST(too_large_an_answer),
        TEST(streams_pieces),
        TEST(canceled_from_within_a_piece),
        TEST(a_silent_stream_times_out),
        TEST(a_paused_stream_waits),
        TEST(canceled_while_paused),
        TEST(torture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
