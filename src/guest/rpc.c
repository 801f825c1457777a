/* SPDX-License-Identifier: Apache-2.0 */

/* rpc: one end of a JSON-RPC 2.0 channel, one object per line, on a uv loop.
 *
 * Used between a C program and its Python guest, and between davit-master and
 * davit-op.  It knows lines, ids, deadlines and errors; what the methods mean
 * is its owner's, and starting or ending the peer's process is guest.c's.
 *
 *   OPEN --end of file, broken rule, write error--> ENDED --rpc_close--> CLOSING
 *   OPEN --rpc_close--> CLOSING --both handles closed--> freed
 *
 * Happy path: a call gets an id, is written as one line and waits on `pending`;
 * its answer moves it to `done` and the callback fires from the same read.  A
 * line with a method is looked up in the owner's table and served; the request
 * object is answered at once or later.
 * Failures: everything that cannot be answered from a read (deadline, cancel,
 * a start on a dead channel, the end of the channel) puts the call on `done`
 * and lets the one timer, at 0 ms, deliver it: so no callback ever runs inside
 * the owner's call.  A line that is no JSON or is too long ends the channel,
 * since nothing after it can be trusted; JSON that is no message is answered
 * with an error and skipped; an answer to an unknown id (late) is dropped.
 * Invariants: a call is on exactly one of `pending` and `done` until its
 * callback; nothing touches the rpc after on_handle_closed() freed it.
 */

#include "guest/rpc.h"

#include "base/fault.h"
#include "base/mem.h"
#include "base/sm.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <utlist.h>

enum { OPEN, ENDED, CLOSING };

static const struct sm_state states[] = {
    [OPEN] = { "open", SM_TO(ENDED) | SM_TO(CLOSING) },
    [ENDED] = { "ended", SM_TO(CLOSING) },
    [CLOSING] = { "closing", 0 },
};

/* Numbers JSON-RPC 2.0 fixes; ours lie below WIRE_BASE. */
enum {
    WIRE_PARSE = -32700,
    WIRE_REQUEST = -32600,
    WIRE_METHOD = -32601,
    WIRE_PARAMS = -32602,
    WIRE_INTERNAL = -32603,
    WIRE_BASE = -32000,
};

enum { READ_CHUNK = 16 * 1024, KEEP_BYTES = 256 * 1024 };

struct rpc {
    struct rpc_config config;
    struct sm sm;
    uv_pipe_t pipe;
    uv_timer_t timer;
    unsigned open_handles;
    struct err end;
    bool end_told;
    uint64_t next_id;
    uint64_t armed_ms; /* When the timer fires; UINT64_MAX: not at all. */
    struct rpc_call *pending, *done;
    struct rpc_request *requests; /* Not yet answered. */
    char *line;                   /* Received, not yet ended by a newline. */
    size_t line_len, line_size, line_scanned;
    size_t write_bytes; /* Handed to uv_write, not yet taken by the kernel. */
    rpc_close_cb close_cb;
    void *close_data;
};

struct rpc_request {
    struct rpc *rpc; /* NULL once the channel is closing. */
    json_t *id;      /* NULL for a notification. */
    char *method;
    struct rpc_request *prev, *next;
};

struct write {
    uv_write_t req;
    struct rpc *rpc;
    char *text;
    size_t len;
};

int rpc_code_to_wire(int code)
{
    return WIRE_BASE + code;
}

int rpc_code_from_wire(json_int_t wire)
{
    switch (wire) {
    case WIRE_PARSE:
    case WIRE_REQUEST:
    case WIRE_PARAMS:
        return ERR_INVALID;
    case WIRE_METHOD:
        return ERR_UNSUPPORTED;
    case WIRE_INTERNAL:
        return ERR_INTERNAL;
    default:
        break;
    }
#define X(name, value, http, cli, text) \
    if (wire == WIRE_BASE + (value)) {  \
        return (value);                 \
    }
    ERR_TABLE(X)
#undef X
    return ERR_FAILED;
}

bool rpc_is_open(const struct rpc *rpc)
{
    return rpc->sm.state == OPEN;
}

/* --- outcomes ------------------------------------------------------------ */

static void on_timer(uv_timer_t *timer);

static void arm(struct rpc *rpc, uint64_t at_ms)
{
    uint64_t now_ms = uv_now(rpc->timer.loop);

    if (rpc->sm.state == CLOSING || at_ms >= rpc->armed_ms) {
        return;
    }
    rpc->armed_ms = at_ms;
    int rv = uv_timer_start(&rpc->timer, on_timer, at_ms > now_ms ? at_ms - now_ms : 0, 0);
    assert(rv == 0);
}

/* Decide a pending call; the timer delivers it. */
static void settle(struct rpc_call *call, int code, const char *why)
{
    struct rpc *rpc = call->rpc;

    err_set(&call->err, code, "%s: %s", rpc->config.peer, why);
    DL_DELETE(rpc->pending, call);
    DL_APPEND(rpc->done, call);
    arm(rpc, 0);
}

static void fire(struct rpc_call *call)
{
    json_t *result = call->result, *error = call->error;

    call->rpc = NULL;
    call->cb(call); /* The callback may free the call. */
    json_decref(result);
    json_decref(error);
}

static void flush_done(struct rpc *rpc)
{
    while (rpc->done != NULL) {
        struct rpc_call *call = rpc->done;

        DL_DELETE(rpc->done, call);
        fire(call);
    }
}

static void end_channel(struct rpc *rpc, int code, const char *why)
{
    struct rpc_call *call, *next;

    if (rpc->sm.state != OPEN) {
        return;
    }
    sm_move(&rpc->sm, ENDED);
    err_set(&rpc->end, code, "%s: %s", rpc->config.peer, why);
    (void)uv_read_stop((uv_stream_t *)&rpc->pipe);
    DL_FOREACH_SAFE(rpc->pending, call, next)
    {
        settle(call, code, why);
    }
    arm(rpc, 0); /* on_end comes from the loop too. */
}

static void on_timer(uv_timer_t *timer)
{
    struct rpc *rpc = timer->data;
    uint64_t now_ms = uv_now(timer->loop), next_ms = UINT64_MAX;
    struct rpc_call *call, *next;

    rpc->armed_ms = UINT64_MAX;
    DL_FOREACH_SAFE(rpc->pending, call, next)
    {
        if (call->deadline_ms <= now_ms) {
            settle(call, ERR_TIMEOUT, "no answer in time");
        } else if (call->deadline_ms < next_ms) {
            next_ms = call->deadline_ms;
        }
    }
    flush_done(rpc);
    if (rpc->sm.state == OPEN) {
        arm(rpc, next_ms);
    }
    if (rpc->sm.state == ENDED && !rpc->end_told) {
        rpc->end_told = true;
        if (rpc->config.on_end != NULL) {
            rpc->config.on_end(rpc, &rpc->end, rpc->config.data);
        }
    }
}

/* --- writing ------------------------------------------------------------- */

static void on_written(uv_write_t *req, int status)
{
    struct write *w = req->data;

    w->rpc->write_bytes -= w->len;
    if (status < 0) {
        end_channel(w->rpc, status == UV_EPIPE ? ERR_EOF : ERR_IO, uv_strerror(status));
    }
    free(w->text);
    free(w);
}

static void send_message(struct rpc *rpc, const json_t *message)
{
    if (rpc->sm.state != OPEN) {
        return;
    }
    char *text = json_dumps(message, JSON_COMPACT);
    if (text == NULL) {
        end_channel(rpc, ERR_INTERNAL, "a message could not be encoded");
        return;
    }
    size_t len = strlen(text) + 1;
    if (rpc->write_bytes + len > rpc->config.max_line_bytes) {
        free(text);
        end_channel(rpc, ERR_TOOBIG, "it does not read what is sent to it");
        return;
    }
    text[len - 1] = '\n'; /* In the NUL's place. */

    struct write *w = mem_alloc(sizeof *w);
    *w = (struct write){ .rpc = rpc, .text = text, .len = len };
    w->req.data = w;
    rpc->write_bytes += len;
    uv_buf_t buf = uv_buf_init(text, (unsigned)len);
    int rv =
        FAULT("rpc.write") ?: uv_write(&w->req, (uv_stream_t *)&rpc->pipe, &buf, 1, on_written);
    if (rv != 0) {
        on_written(&w->req, rv);
    }
}

static void send_error(struct rpc *rpc, json_t *id, int wire, const char *text, const json_t *data)
{
    json_t *message = json_pack("{s:s, s:{s:i, s:s}, s:O?}", "jsonrpc", "2.0", "error", "code",
                                wire, "message", text, "id", id);

    assert(message != NULL);
    if (data != NULL) {
        json_object_set(json_object_get(message, "error"), "data", (json_t *)data);
    }
    send_message(rpc, message);
    json_decref(message);
}

static json_t *call_message(const char *method, const json_t *params)
{
    json_t *message = json_pack("{s:s, s:s}", "jsonrpc", "2.0", "method", method);

    assert(message != NULL);
    if (params != NULL) {
        json_object_set(message, "params", (json_t *)params);
    }
    return message;
}

/* --- requests of the peer ------------------------------------------------ */

static void request_end(struct rpc_request *request)
{
    if (request->rpc != NULL) {
        DL_DELETE(request->rpc->requests, request);
    }
    json_decref(request->id);
    free(request->method);
    free(request);
}

void rpc_reply(struct rpc_request *request, const json_t *result)
{
    if (request->rpc != NULL && request->id != NULL) {
        json_t *message = json_pack("{s:s, s:O?, s:O}", "jsonrpc", "2.0", "result",
                                    (json_t *)result, "id", request->id);

        assert(message != NULL);
        send_message(request->rpc, message);
        json_decref(message);
    }
    request_end(request);
}

void rpc_reply_error(struct rpc_request *request, const struct err *err, const json_t *data)
{
    if (request->rpc != NULL && request->id != NULL) {
        send_error(request->rpc, request->id, rpc_code_to_wire(err_code(err)), err->msg, data);
    }
    request_end(request);
}

const char *rpc_request_method(const struct rpc_request *request)
{
    return request->method;
}

static void serve_hello(struct rpc_request *request, const json_t *params)
{
    const struct rpc_config *config = &request->rpc->config;
    const char *protocol = json_string_value(json_object_get(params, "protocol"));
    json_int_t version = json_integer_value(json_object_get(params, "version"));
    struct err err;

    if (protocol == NULL || strcmp(protocol, config->protocol) != 0 || version != config->version) {
        (void)err_set(&err, ERR_UNSUPPORTED, "this end speaks %s version %d", config->protocol,
                      config->version);
        rpc_reply_error(request, &err, NULL);
        return;
    }
    json_t *result =
        json_pack("{s:s, s:i}", "protocol", config->protocol, "version", config->version);
    rpc_reply(request, result);
    json_decref(result);
}

static void on_request(struct rpc *rpc, const char *method, json_t *message)
{
    json_t *id = json_object_get(message, "id"), *params = json_object_get(message, "params");

    if ((params != NULL && !json_is_object(params) && !json_is_array(params)) ||
        (id != NULL && !json_is_string(id) && !json_is_integer(id))) {
        send_error(rpc, NULL, WIRE_REQUEST, "params or id of a wrong type", NULL);
        return;
    }
    struct rpc_request *request = mem_alloc(sizeof *request);
    *request = (struct rpc_request){ .rpc = rpc, .id = json_incref(id) };
    request->method = mem_strdup(method);
    DL_APPEND(rpc->requests, request);

    if (strcmp(method, "hello") == 0 && rpc->config.protocol != NULL) {
        serve_hello(request, params);
        return;
    }
    for (const struct rpc_method *m = rpc->config.methods; m != NULL && m->name != NULL; m++) {
        if (strcmp(m->name, method) == 0) {
            m->serve(request, params, rpc->config.data);
            return;
        }
    }
    if (id != NULL) {
        char text[128];

        (void)snprintf(text, sizeof text, "no method %s", method);
        send_error(rpc, id, WIRE_METHOD, text, NULL);
    }
    request_end(request);
}

/* --- answers of the peer ------------------------------------------------- */

/* The hello's answer must agree with what we said. */
static void check_hello(struct rpc_call *call, const struct rpc *rpc)
{
    const char *protocol = json_string_value(json_object_get(call->result, "protocol"));
    json_int_t version = json_integer_value(json_object_get(call->result, "version"));

    if (protocol == NULL || strcmp(protocol, rpc->config.protocol) != 0 ||
        version != rpc->config.version) {
        err_set(&call->err, ERR_UNSUPPORTED, "%s: speaks %s version %" PRId64 ", not %s version %d",
                rpc->config.peer, protocol != NULL ? protocol : "another protocol",
                (int64_t)version, rpc->config.protocol, rpc->config.version);
    }
}

static void on_answer(struct rpc *rpc, json_t *message)
{
    json_t *id = json_object_get(message, "id"), *error = json_object_get(message, "error");
    struct rpc_call *call;

    DL_FOREACH(rpc->pending, call)
    {
        if (json_is_integer(id) && (uint64_t)json_integer_value(id) == call->id) {
            break;
        }
    }
    if (call == NULL) {
        return; /* Late: its call was canceled or timed out. */
    }
    DL_DELETE(rpc->pending, call);
    if (error != NULL) {
        const char *text = json_string_value(json_object_get(error, "message"));

        /* The peer's words stand alone: they are often what the user is shown. */
        err_set(&call->err, rpc_code_from_wire(json_integer_value(json_object_get(error, "code"))),
                "%s", text != NULL ? text : "error without a message");
        call->error = json_incref(error);
    } else {
        call->result = json_incref(json_object_get(message, "result"));
        if (call->hello) {
            check_hello(call, rpc);
        }
    }
    fire(call);
}

static void on_message(struct rpc *rpc, json_t *message)
{
    const char *version = json_string_value(json_object_get(message, "jsonrpc"));
    const char *method = json_string_value(json_object_get(message, "method"));
    bool answer =
        json_object_get(message, "result") != NULL || json_object_get(message, "error") != NULL;

    if (version == NULL || strcmp(version, "2.0") != 0 || (method == NULL) == !answer) {
        send_error(rpc, NULL, WIRE_REQUEST, "not a JSON-RPC 2.0 message", NULL);
    } else if (method != NULL) {
        on_request(rpc, method, message);
    } else {
        on_answer(rpc, message);
    }
}

static void on_line(struct rpc *rpc, const char *text, size_t len)
{
    json_error_t why;
    json_t *message = json_loadb(text, len, JSON_DECODE_ANY, &why);

    if (message == NULL) {
        char reason[sizeof why.text + 32];

        send_error(rpc, NULL, WIRE_PARSE, why.text, NULL);
        (void)snprintf(reason, sizeof reason, "malformed line: %s", why.text);
        end_channel(rpc, ERR_INVALID, reason);
        return;
    }
    on_message(rpc, message);
    json_decref(message);
}

/* --- reading ------------------------------------------------------------- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct rpc *rpc = handle->data;

    (void)suggested;
    if (rpc->line_size - rpc->line_len < READ_CHUNK / 2) {
        size_t size = rpc->line_size * 2 > READ_CHUNK ? rpc->line_size * 2 : READ_CHUNK;
        char *grown = mem_alloc(size);

        if (rpc->line_len > 0) {
            memcpy(grown, rpc->line, rpc->line_len);
        }
        free(rpc->line);
        rpc->line = grown;
        rpc->line_size = size;
    }
    *buf = uv_buf_init(rpc->line + rpc->line_len, (unsigned)(rpc->line_size - rpc->line_len));
}

/* Take whole lines off the front; keep the rest for the next read. */
static void take_lines(struct rpc *rpc)
{
    size_t start = 0;
    char *newline;

    while (rpc->sm.state == OPEN && (newline = memchr(rpc->line + rpc->line_scanned, '\n',
                                                      rpc->line_len - rpc->line_scanned)) != NULL) {
        size_t end = (size_t)(newline - rpc->line);

        rpc->line_scanned = end + 1;
        if (end - start > rpc->config.max_line_bytes) {
            end_channel(rpc, ERR_TOOBIG, "it sent a line longer than the cap");
        }
        if (end > start && rpc->sm.state == OPEN) {
            on_line(rpc, rpc->line + start, end - start);
        }
        start = end + 1;
    }
    rpc->line_len -= start;
    memmove(rpc->line, rpc->line + start, rpc->line_len);
    rpc->line_scanned = rpc->line_len;
    if (rpc->line_len == 0 && rpc->line_size > KEEP_BYTES) {
        free(rpc->line); /* One large message must not stay paid for. */
        rpc->line = NULL;
        rpc->line_size = 0;
    }
    if (rpc->line_len > rpc->config.max_line_bytes) {
        end_channel(rpc, ERR_TOOBIG, "it sent a line longer than the cap");
    }
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct rpc *rpc = stream->data;

    (void)buf;
    if (n == 0) {
        return;
    }
    int rv = FAULT("rpc.read") ?: (n < 0 ? (int)n : 0);
    if (rv == UV_EOF || rv == UV_ECONNRESET) {
        end_channel(rpc, ERR_EOF, "closed the connection");
    } else if (rv < 0) {
        end_channel(rpc, ERR_IO, uv_strerror(rv));
    } else {
        rpc->line_len += (size_t)n;
        take_lines(rpc);
    }
}

/* --- calls --------------------------------------------------------------- */

static void start(struct rpc_call *call, struct rpc *rpc, const char *method, const json_t *params,
                  uint64_t timeout_ms)
{
    uv_update_time(rpc->timer.loop);
    call->id = ++rpc->next_id;
    call->deadline_ms = timeout_ms == 0 ? UINT64_MAX : uv_now(rpc->timer.loop) + timeout_ms;
    DL_APPEND(rpc->pending, call);
    if (rpc->sm.state == OPEN) {
        json_t *message = call_message(method, params);

        json_object_set_new(message, "id", json_integer((json_int_t)call->id));
        arm(rpc, call->deadline_ms);
        send_message(rpc, message); /* May end the channel, and the call with it. */
        json_decref(message);
    } else if (rpc->sm.state == ENDED) {
        settle(call, rpc->end.code, "the connection has ended");
    } else {
        settle(call, ERR_CANCELED, "the connection is closing");
    }
}

void rpc_call_start(struct rpc_call *call, struct rpc *rpc, const char *method,
                    const json_t *params, uint64_t timeout_ms, rpc_call_cb cb)
{
    *call = (struct rpc_call){ .data = call->data, .rpc = rpc, .cb = cb };
    start(call, rpc, method, params, timeout_ms);
}

void rpc_hello_start(struct rpc_call *call, struct rpc *rpc, uint64_t timeout_ms, rpc_call_cb cb)
{
    json_t *params =
        json_pack("{s:s, s:i}", "protocol", rpc->config.protocol, "version", rpc->config.version);

    assert(params != NULL);
    *call = (struct rpc_call){ .data = call->data, .rpc = rpc, .cb = cb, .hello = true };
    start(call, rpc, "hello", params, timeout_ms);
    json_decref(params);
}

void rpc_call_cancel(struct rpc_call *call)
{
    struct rpc_call *each;

    if (call->rpc == NULL) {
        return;
    }
    DL_FOREACH(call->rpc->pending, each)
    {
        if (each == call) {
            settle(call, ERR_CANCELED, "canceled");
            return;
        }
    }
}

void rpc_notify(struct rpc *rpc, const char *method, const json_t *params)
{
    json_t *message = call_message(method, params);

    send_message(rpc, message);
    json_decref(message);
}

/* --- life ---------------------------------------------------------------- */

static void on_handle_closed(uv_handle_t *handle)
{
    struct rpc *rpc = handle->data;

    if (--rpc->open_handles > 0) {
        return;
    }
    flush_done(rpc); /* A callback that starts another call gets it here too. */

    rpc_close_cb cb = rpc->close_cb;
    void *data = rpc->close_data;
    free(rpc->line);
    free(rpc);
    if (cb != NULL) {
        cb(data);
    }
}

void rpc_close(struct rpc *rpc, rpc_close_cb cb, void *data)
{
    struct rpc_call *call, *next_call;
    struct rpc_request *request, *next_request;

    sm_move(&rpc->sm, CLOSING); /* Aborts when closed twice. */
    rpc->close_cb = cb;
    rpc->close_data = data;
    DL_FOREACH_SAFE(rpc->pending, call, next_call)
    {
        settle(call, ERR_CANCELED, "the connection is closing");
    }
    DL_FOREACH_SAFE(rpc->requests, request, next_request)
    {
        DL_DELETE(rpc->requests, request);
        request->rpc = NULL;
    }
    uv_close((uv_handle_t *)&rpc->pipe, on_handle_closed);
    uv_close((uv_handle_t *)&rpc->timer, on_handle_closed);
}

struct rpc *rpc_new(uv_loop_t *loop, int fd, const struct rpc_config *config)
{
    struct rpc *rpc = mem_alloc(sizeof *rpc);

    rpc->config = *config;
    if (rpc->config.max_line_bytes == 0) {
        rpc->config.max_line_bytes = RPC_MAX_LINE_BYTES;
    }
    sm_init(&rpc->sm, states, OPEN);
    rpc->armed_ms = UINT64_MAX;
    rpc->open_handles = 2;
    rpc->pipe.data = rpc->timer.data = rpc;
    int rv = uv_pipe_init(loop, &rpc->pipe, 0);
    assert(rv == 0);
    rv = uv_timer_init(loop, &rpc->timer);
    assert(rv == 0);

    rv = FAULT("rpc.open") ?: uv_pipe_open(&rpc->pipe, fd);
    if (rv != 0) {
        (void)close(fd);
    } else {
        rv = uv_read_start((uv_stream_t *)&rpc->pipe, on_alloc, on_read);
    }
    if (rv != 0) {
        end_channel(rpc, ERR_IO, uv_strerror(rv));
    }
    return rpc;
}
