/* SPDX-License-Identifier: Apache-2.0 */

/* The JSON-RPC peer against itself and against a raw socket that misbehaves. */

#include "guest/rpc.h"

#include "base/fault.h"
#include "base/mem.h"
#include "test.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LIMIT_MS = 5000, TICK_MS = 5 };

struct side {
    struct rpc *rpc;
    struct rpc_config config;
    struct rpc_request *held; /* A request of "later", not yet answered. */
    int notes, ends, closed;
    struct err end;
};

struct outcome {
    struct rpc_call call;
    int fired;
    json_t *result, *error;
};

struct world {
    uv_loop_t loop;
    uv_timer_t limit;
    struct side a, b;
    int raw; /* The other end of a, when b is not used. */
};

static void serve_add(struct rpc_request *request, const json_t *params, void *data)
{
    json_int_t sum = json_integer_value(json_array_get(params, 0)) +
                     json_integer_value(json_array_get(params, 1));
    json_t *result = json_integer(sum);

    (void)data;
    rpc_reply(request, result);
    json_decref(result);
}

static void serve_fail(struct rpc_request *request, const json_t *params, void *data)
{
    struct err err;
    json_t *more = json_pack("{s:s}", "kind", "test");

    (void)params;
    (void)data;
    (void)err_set(&err, ERR_CONFLICT, "it is taken");
    rpc_reply_error(request, &err, more);
    json_decref(more);
}

static void serve_later(struct rpc_request *request, const json_t *params, void *data)
{
    struct side *side = data;

    (void)params;
    assert_null(side->held);
    side->held = request;
}

static void serve_note(struct rpc_request *request, const json_t *params, void *data)
{
    struct side *side = data;

    assert_string_equal(rpc_request_method(request), "note");
    assert_string_equal(json_string_value(json_object_get(params, "text")), "hi");
    side->notes++;
    rpc_reply(request, NULL);
}

static const struct rpc_method methods[] = {
    { "add", serve_add },   { "fail", serve_fail }, { "later", serve_later },
    { "note", serve_note }, { NULL, NULL },
};

static void on_end(struct rpc *rpc, const struct err *why, void *data)
{
    struct side *side = data;

    assert_ptr_equal(rpc, side->rpc);
    side->ends++;
    side->end = *why;
}

static void on_side_closed(void *data)
{
    struct side *side = data;

    side->closed++;
}

static void on_outcome(struct rpc_call *call)
{
    struct outcome *o = call->data;

    o->fired++;
    o->result = json_incref(call->result);
    o->error = json_incref(call->error);
}

/* Ticks, because one turn of UV_RUN_ONCE fires timers first and then waits for more. */
static void on_limit(uv_timer_t *timer)
{
    int *ticks = timer->data;

    if (--*ticks == 0) {
        fail_msg("nothing happened within %d ms", LIMIT_MS);
    }
}

static void spin_until(struct world *w, const int *value, int wanted)
{
    int ticks = LIMIT_MS / TICK_MS;

    w->limit.data = &ticks;
    assert_int_equal(uv_timer_start(&w->limit, on_limit, TICK_MS, TICK_MS), 0);
    while (*value < wanted) {
        uv_run(&w->loop, UV_RUN_ONCE);
    }
    uv_timer_stop(&w->limit);
    assert_int_equal(*value, wanted);
}

static void side_open(struct world *w, struct side *side, int fd, size_t cap)
{
    side->config = (struct rpc_config){
        .peer = "peer",
        .protocol = "test",
        .version = 1,
        .methods = methods,
        .max_line_bytes = cap,
        .on_end = on_end,
        .data = side,
    };
    side->rpc = rpc_new(&w->loop, fd, &side->config);
}

static void side_close(struct world *w, struct side *side)
{
    if (side->rpc != NULL) {
        rpc_close(side->rpc, on_side_closed, side);
        spin_until(w, &side->closed, 1);
        side->rpc = NULL;
    }
}

static void world_open(struct world *w, bool pair)
{
    int fds[2];

    memset(w, 0, sizeof *w);
    assert_int_equal(uv_loop_init(&w->loop), 0);
    assert_int_equal(uv_timer_init(&w->loop, &w->limit), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    side_open(w, &w->a, fds[0], pair ? 0 : 4096);
    w->raw = fds[1];
    if (pair) {
        side_open(w, &w->b, fds[1], 0);
        w->raw = -1;
    }
}

static void world_close(struct world *w)
{
    side_close(w, &w->a);
    side_close(w, &w->b);
    if (w->raw >= 0) {
        close(w->raw);
    }
    uv_close((uv_handle_t *)&w->limit, NULL);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&w->loop), 0);
}

static void outcome_start(struct outcome *o, struct rpc *rpc, const char *method, uint64_t ms)
{
    json_t *params = json_pack("[i, i]", 20, 22);

    memset(o, 0, sizeof *o);
    o->call.data = o;
    rpc_call_start(&o->call, rpc, method, params, ms, on_outcome);
    json_decref(params);
    assert_int_equal(o->fired, 0); /* Never from inside start. */
}

static void outcome_fini(struct outcome *o)
{
    json_decref(o->result);
    json_decref(o->error);
}

static void raw_write(struct world *w, const char *text)
{
    assert_int_equal(write(w->raw, text, strlen(text)), (int)strlen(text));
}

/* One line from the raw end, the loop running until it is there. */
static json_t *raw_read(struct world *w)
{
    char line[8192];
    size_t len = 0;

    assert_int_equal(fcntl(w->raw, F_SETFL, O_NONBLOCK), 0);
    for (int turn = 0; turn < 1000; turn++) {
        uv_run(&w->loop, UV_RUN_NOWAIT);
        while (len < sizeof line && read(w->raw, line + len, 1) == 1) {
            if (line[len] == '\n') {
                json_t *message = json_loadb(line, len, 0, NULL);

                assert_non_null(message);
                return message;
            }
            len++;
        }
    }
    fail_msg("no line came");
    return NULL;
}

static int error_of(json_t *message)
{
    json_t *code = json_object_get(json_object_get(message, "error"), "code");
    int value = (int)json_integer_value(code);

    json_decref(message);
    return value;
}

static void both_sides_call_each_other(void **state)
{
    struct world w;
    struct outcome one, two;

    (void)state;
    world_open(&w, true);
    outcome_start(&one, w.a.rpc, "add", 1000);
    outcome_start(&two, w.b.rpc, "add", 1000);
    spin_until(&w, &one.fired, 1);
    spin_until(&w, &two.fired, 1);
    assert_int_equal(one.call.err.code, 0);
    assert_int_equal(json_integer_value(one.result), 42);
    assert_int_equal(json_integer_value(two.result), 42);
    outcome_fini(&one);
    outcome_fini(&two);
    world_close(&w);
}

static void errors_carry_code_text_and_data(void **state)
{
    struct world w;
    struct outcome one, two;

    (void)state;
    world_open(&w, true);
    outcome_start(&one, w.a.rpc, "fail", 1000);
    outcome_start(&two, w.a.rpc, "nonsense", 1000);
    spin_until(&w, &two.fired, 1);
    assert_int_equal(one.fired, 1);
    assert_int_equal(one.call.err.code, ERR_CONFLICT);
    assert_string_equal(one.call.err.msg, "it is taken");
    json_t *kind = json_object_get(json_object_get(one.error, "data"), "kind");
    assert_string_equal(json_string_value(kind), "test");
    assert_int_equal(two.call.err.code, ERR_UNSUPPORTED);
    outcome_fini(&one);
    outcome_fini(&two);
    world_close(&w);
}

static void every_code_survives_the_wire(void **state)
{
    (void)state;
#define X(name, value, http, cli, text) \
    assert_int_equal(rpc_code_from_wire(rpc_code_to_wire(value)), value);
    ERR_TABLE(X)
#undef X
    assert_int_equal(rpc_code_from_wire(-32700), ERR_INVALID);
    assert_int_equal(rpc_code_from_wire(-32601), ERR_UNSUPPORTED);
    assert_int_equal(rpc_code_from_wire(7), ERR_FAILED);
}

static void answers_may_come_in_another_order(void **state)
{
    struct world w;
    struct outcome slow, fast;

    (void)state;
    world_open(&w, true);
    outcome_start(&slow, w.a.rpc, "later", 0);
    outcome_start(&fast, w.a.rpc, "add", 1000);
    spin_until(&w, &fast.fired, 1);
    assert_int_equal(slow.fired, 0);
    json_t *text = json_string("at last");
    rpc_reply(w.b.held, text);
    json_decref(text);
    spin_until(&w, &slow.fired, 1);
    assert_string_equal(json_string_value(slow.result), "at last");
    outcome_fini(&slow);
    outcome_fini(&fast);
    world_close(&w);
}

static void deadline_and_cancel_end_a_call_once(void **state)
{
    struct world w;
    struct outcome timed, canceled, after;

    (void)state;
    world_open(&w, true);
    outcome_start(&timed, w.a.rpc, "later", 20);
    spin_until(&w, &timed.fired, 1);
    assert_int_equal(timed.call.err.code, ERR_TIMEOUT);
    struct rpc_request *late = w.b.held;
    w.b.held = NULL;

    outcome_start(&canceled, w.a.rpc, "later", 0);
    rpc_call_cancel(&canceled.call);
    rpc_call_cancel(&canceled.call);
    assert_int_equal(canceled.fired, 0);
    spin_until(&w, &canceled.fired, 1);
    assert_int_equal(canceled.call.err.code, ERR_CANCELED);

    rpc_reply(late, NULL); /* Nobody waits for it any more. */
    outcome_start(&after, w.a.rpc, "add", 1000);
    spin_until(&w, &after.fired, 1);
    assert_int_equal(timed.fired, 1);
    assert_int_equal(canceled.fired, 1);
    rpc_reply(w.b.held, NULL);
    outcome_fini(&after);
    world_close(&w);
}

static void notifications_arrive_and_get_no_answer(void **state)
{
    struct world w;
    json_t *params = json_pack("{s:s}", "text", "hi");

    (void)state;
    world_open(&w, true);
    rpc_notify(w.a.rpc, "note", params);
    rpc_notify(w.a.rpc, "nobody knows this", params);
    rpc_notify(w.a.rpc, "note", params);
    spin_until(&w, &w.b.notes, 2);
    json_decref(params);
    world_close(&w);
}

static void end_of_file_ends_every_pending_call(void **state)
{
    struct world w;
    struct outcome one, two, late;

    (void)state;
    world_open(&w, true);
    outcome_start(&one, w.a.rpc, "later", 0);
    outcome_start(&two, w.a.rpc, "add", 1000);
    spin_until(&w, &two.fired, 1);
    struct rpc_request *held = w.b.held;
    side_close(&w, &w.b);
    spin_until(&w, &one.fired, 1);
    assert_int_equal(one.call.err.code, ERR_EOF);
    spin_until(&w, &w.a.ends, 1);
    assert_int_equal(w.a.end.code, ERR_EOF);
    assert_false(rpc_is_open(w.a.rpc));

    outcome_start(&late, w.a.rpc, "add", 1000);
    spin_until(&w, &late.fired, 1);
    assert_int_equal(late.call.err.code, ERR_EOF);
    rpc_reply(held, NULL); /* Its channel is gone: harmless. */
    outcome_fini(&two);
    world_close(&w);
    assert_int_equal(w.a.ends, 1);
}

static void close_ends_pending_calls_before_its_callback(void **state)
{
    struct world w;
    struct outcome one;

    (void)state;
    world_open(&w, true);
    outcome_start(&one, w.a.rpc, "later", 0);
    side_close(&w, &w.a);
    assert_int_equal(one.fired, 1);
    assert_int_equal(one.call.err.code, ERR_CANCELED);
    spin_until(&w, &w.b.ends, 1);
    if (w.b.held != NULL) {
        rpc_reply(w.b.held, NULL);
    }
    world_close(&w);
    assert_int_equal(w.a.ends, 0);
}

static void hello_agrees_or_refuses(void **state)
{
    struct world w;
    struct outcome o;

    (void)state;
    for (int version = 1; version <= 2; version++) {
        int fds[2];

        memset(&w, 0, sizeof w);
        assert_int_equal(uv_loop_init(&w.loop), 0);
        assert_int_equal(uv_timer_init(&w.loop, &w.limit), 0);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
        w.raw = -1;
        side_open(&w, &w.a, fds[0], 0);
        w.b.config = (struct rpc_config){ .peer = "b", .protocol = "test", .version = version };
        w.b.rpc = rpc_new(&w.loop, fds[1], &w.b.config);
        memset(&o, 0, sizeof o);
        o.call.data = &o;
        rpc_hello_start(&o.call, w.a.rpc, 1000, on_outcome);
        spin_until(&w, &o.fired, 1);
        assert_int_equal(o.call.err.code, version == 1 ? 0 : ERR_UNSUPPORTED);
        outcome_fini(&o);
        world_close(&w);
    }
}

static void malformed_line_is_told_and_ends_the_channel(void **state)
{
    static const char *const lines[] = { "{\"jsonrpc\":\n", "nonsense\n", "\xff\xfe\n",
                                         "{\"a\":\"\\u0000\"}\n" };
    struct world w;
    struct outcome o;

    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        world_open(&w, false);
        outcome_start(&o, w.a.rpc, "add", 0);
        json_decref(raw_read(&w));
        raw_write(&w, lines[i]);
        assert_int_equal(error_of(raw_read(&w)), -32700);
        spin_until(&w, &w.a.ends, 1);
        assert_int_equal(o.fired, 1);
        assert_int_equal(o.call.err.code, ERR_INVALID);
        world_close(&w);
    }
}

static void wrong_messages_are_refused_one_by_one(void **state)
{
    static const char *const lines[] = {
        "[]\n",
        "7\n",
        "{}\n",
        "{\"jsonrpc\":\"1.0\",\"method\":\"add\",\"id\":1}\n",
        "{\"jsonrpc\":\"2.0\",\"id\":1}\n",
        "{\"jsonrpc\":\"2.0\",\"method\":7,\"id\":1}\n",
        "{\"jsonrpc\":\"2.0\",\"method\":\"add\",\"params\":7,\"id\":1}\n",
        "{\"jsonrpc\":\"2.0\",\"method\":\"add\",\"id\":{}}\n",
        "{\"jsonrpc\":\"2.0\",\"method\":\"add\",\"result\":1,\"id\":1}\n",
    };
    struct world w;

    (void)state;
    world_open(&w, false);
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        raw_write(&w, lines[i]);
        assert_int_equal(error_of(raw_read(&w)), -32600);
    }
    raw_write(&w, "\n{\"jsonrpc\":\"2.0\",\"result\":1,\"id\":99}\n"); /* Unknown id. */
    raw_write(&w, "{\"jsonrpc\":\"2.0\",\"method\":\"none\",\"id\":\"x\"}\n");
    assert_int_equal(error_of(raw_read(&w)), -32601);
    raw_write(&w, "{\"jsonrpc\":\"2.0\",\"method\":\"add\",");
    raw_write(&w, "\"params\":[1,2],\"id\":5}\n");
    json_t *answer = raw_read(&w);
    assert_int_equal(json_integer_value(json_object_get(answer, "result")), 3);
    json_decref(answer);
    assert_int_equal(w.a.ends, 0);
    world_close(&w);
}

static void oversize_line_ends_the_channel(void **state)
{
    struct world w;
    char big[5000];

    (void)state;
    for (int ended = 0; ended <= 1; ended++) { /* Without and with its newline. */
        memset(big, ' ', sizeof big);
        big[sizeof big - 1] = ended ? '\n' : ' ';
        world_open(&w, false);
        assert_int_equal(write(w.raw, big, sizeof big), (int)sizeof big);
        spin_until(&w, &w.a.ends, 1);
        assert_int_equal(w.a.end.code, ERR_TOOBIG);
        world_close(&w);
    }
}

static void peer_that_reads_nothing_ends_the_channel(void **state)
{
    struct world w;
    char text[1001];
    json_t *params;

    (void)state;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    params = json_pack("{s:s}", "text", text);
    world_open(&w, false);
    for (int i = 0; i < 10000 && rpc_is_open(w.a.rpc); i++) {
        rpc_notify(w.a.rpc, "note", params);
    }
    spin_until(&w, &w.a.ends, 1);
    assert_int_equal(w.a.end.code, ERR_TOOBIG);
    json_decref(params);
    world_close(&w);
}

static void a_descriptor_that_is_no_stream_ends_the_channel(void **state)
{
    struct world w;
    struct outcome o;
    int dir = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    (void)state;
    world_open(&w, false);
    side_open(&w, &w.b, dir, 0);
    outcome_start(&o, w.b.rpc, "add", 0);
    spin_until(&w, &w.b.ends, 1);
    assert_int_equal(o.fired, 1);
    assert_true(o.call.err.code < 0);
    world_close(&w);
}

#ifdef WITH_FAULTS
static void torture_each_crossing(void **state)
{
    (void)state;
    for (int nth = 1;; nth++) {
        struct world w;
        struct outcome o;

        fault_arm(nth, ERR_IO);
        world_open(&w, true);
        outcome_start(&o, w.a.rpc, "add", 200);
        spin_until(&w, &o.fired, 1);
        bool hit = fault_hits() >= nth;
        assert_true(hit || o.call.err.code == 0);
        fault_arm(0, 0);
        outcome_fini(&o);
        world_close(&w);
        if (!hit) {
            break;
        }
    }
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_sides_call_each_other),
        cmocka_unit_test(errors_carry_code_text_and_data),
        cmocka_unit_test(every_code_survives_the_wire),
        cmocka_unit_test(answers_may_come_in_another_order),
        cmocka_unit_test(deadline_and_cancel_end_a_call_once),
        cmocka_unit_test(notifications_arrive_and_get_no_answer),
        cmocka_unit_test(end_of_file_ends_every_pending_call),
        cmocka_unit_test(close_ends_pending_calls_before_its_callback),
        cmocka_unit_test(hello_agrees_or_refuses),
        cmocka_unit_test(malformed_line_is_told_and_ends_the_channel),
        cmocka_unit_test(wrong_messages_are_refused_one_by_one),
        cmocka_unit_test(oversize_line_ends_the_channel),
        cmocka_unit_test(peer_that_reads_nothing_ends_the_channel),
        cmocka_unit_test(a_descriptor_that_is_no_stream_ends_the_channel),
#ifdef WITH_FAULTS
        cmocka_unit_test(torture_each_crossing),
#endif
    };

    (void)signal(SIGPIPE, SIG_IGN); /* As every davit program does. */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
