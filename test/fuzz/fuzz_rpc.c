/* SPDX-License-Identifier: Apache-2.0 */

/* Fuzzes what a peer may send: reaches take_lines(), on_message(), on_request(),
 * on_answer() and check_hello() of guest/rpc.c.  Each input must end the channel
 * and give the two calls one outcome each. */

#include "guest/rpc.h"

#include <assert.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct world {
    bool ended;
    int fired;
    struct rpc_request *held;
};

static void serve_now(struct rpc_request *request, const json_t *params, void *data)
{
    (void)data;
    rpc_reply(request, params);
}

static void serve_later(struct rpc_request *request, const json_t *params, void *data)
{
    struct world *w = data;

    (void)params;
    if (w->held != NULL) {
        rpc_reply(w->held, NULL);
    }
    w->held = request;
}

static const struct rpc_method methods[] = { { "now", serve_now },
                                             { "later", serve_later },
                                             { NULL, NULL } };

static void on_end(struct rpc *rpc, const struct err *why, void *data)
{
    struct world *w = data;

    (void)rpc;
    (void)why;
    w->ended = true;
}

static void on_call(struct rpc_call *call)
{
    struct world *w = call->data;

    w->fired++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world w = { 0 };
    struct rpc_call hello = { .data = &w }, call = { .data = &w };
    const struct rpc_config config = { .peer = "fuzz",
                                       .protocol = "fuzz",
                                       .version = 1,
                                       .methods = methods,
                                       .max_line_bytes = 4096,
                                       .on_end = on_end,
                                       .data = &w };
    uv_loop_t loop;
    int pair[2];

    (void)signal(SIGPIPE, SIG_IGN);
    assert(uv_loop_init(&loop) == 0);
    assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
    struct rpc *rpc = rpc_new(&loop, pair[0], &config);
    rpc_hello_start(&hello, rpc, 0, on_call);
    rpc_call_start(&call, rpc, "theirs", NULL, 0, on_call);
    (void)!write(pair[1], data, size < 65536 ? size : 65536);
    (void)shutdown(pair[1], SHUT_WR);
    while (!w.ended) {
        uv_run(&loop, UV_RUN_ONCE);
    }
    assert(w.fired == 2);
    rpc_close(rpc, NULL, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    if (w.held != NULL) {
        rpc_reply(w.held, NULL);
    }
    assert(uv_loop_close(&loop) == 0);
    close(pair[1]);
    return 0;
}
