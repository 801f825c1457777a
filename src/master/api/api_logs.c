/* SPDX-License-Identifier: Apache-2.0 */
/* api_logs: a task's output, passed through from its node's agent.
 *
 *   asked --first bytes--> streaming --agent ends, client goes--> done
 *
 * Happy path: the agent's answer is streamed on as it comes.
 * Failures: the agent's own error is passed on as long as nothing was sent; afterwards
 * the stream just ends.
 * Invariant: while a piece is behind, the agent's answer is paused: a slow reader costs one
 * piece, and what is in the sockets.
 */
#include "master/api/master_api_priv.h"

#include "base/buf.h"
#include "base/str.h"
#include "master/api/agent_call.h"

#include <string.h>

enum { HEADER_TIMEOUT_MS = 15000 };

struct tail {
    struct httpd_request *req; /* NULL once its client is gone or it was ended. */
    struct httpc_call call;
    struct buf url;
    struct buf behind; /* What the reader did not take yet. */
    bool streaming, ended;
};

static void tail_free(struct tail *tail)
{
    httpc_call_fini(&tail->call);
    buf_fini(&tail->url);
    buf_fini(&tail->behind);
    free(tail);
}

static void end_stream(struct tail *tail)
{
    struct httpd_request *req = TAKE(tail->req);

    if (req != NULL) {
        httpd_set_data(req, NULL);
        httpd_stream_end(req);
    }
}

/* What is behind goes out as far as the reader takes it. */
static void push(struct tail *tail)
{
    if (tail->behind.len > 0 && tail->req != NULL &&
        httpd_stream_write(tail->req, tail->behind.data, tail->behind.len)) {
        buf_clear(&tail->behind);
    }
}

static void on_writable(struct httpd_request *req)
{
    struct tail *tail = httpd_data(req);

    if (tail == NULL) {
        return;
    }
    push(tail);
    if (tail->behind.len > 0) {
        return;
    }
    if (tail->ended) {
        end_stream(tail);
        tail_free(tail);
    } else {
        httpc_resume(&tail->call);
    }
}

static void begin_stream(struct tail *tail)
{
    if (!tail->streaming) {
        tail->streaming = true;
        httpd_stream_begin(tail->req, 200, "text/plain; charset=utf-8", on_writable);
    }
}

static void on_data(struct httpc_call *call, const void *bytes, size_t len)
{
    struct tail *tail = call->data;

    if (tail->req == NULL) {
        return;
    }
    begin_stream(tail);
    if (tail->behind.len == 0 && httpd_stream_write(tail->req, bytes, len)) {
        return;
    }
    buf_add(&tail->behind, bytes, len);
    httpc_pause(call);
}

static void on_done(struct httpc_call *call)
{
    struct tail *tail = call->data;
    struct err err;

    tail->ended = true;
    if (tail->req == NULL) {
        tail_free(tail);
        return;
    }
    if (!tail->streaming && httpc_check(call, &err) < 0) {
        struct httpd_request *req = TAKE(tail->req);

        httpd_reply_err(req, &err);
        tail_free(tail);
        return;
    }
    begin_stream(tail);
    push(tail);
    if (tail->behind.len == 0) {
        end_stream(tail);
        tail_free(tail);
    }
}

static void on_gone(struct httpd_request *req)
{
    struct tail *tail = httpd_data(req);

    if (tail == NULL) {
        return;
    }
    tail->req = NULL;
    if (tail->streaming) {
        httpd_stream_end(req);
    } else {
        httpd_drop(req);
    }
    if (tail->ended) {
        tail_free(tail);
    } else {
        httpc_cancel(&tail->call);
    }
}

static int find_agent(const struct state *state, const char *id, const char **ret_address,
                      struct err *err)
{
    const struct state_task *task = state_task_find(state, id);
    const struct state_node *node;

    if (task == NULL) {
        return err_set(err, ERR_NOTFOUND, "there is no task %.300s", id);
    }
    if (task->t.node == NULL) {
        return err_set(err, ERR_CONFLICT, "task %.300s has not been placed on a node yet", id);
    }
    node = state_node_find(state, task->t.node);
    if (node == NULL || node->address == NULL) {
        return err_set(err, ERR_UNREACHABLE, "node %s, where the task's output is, is away",
                       task->t.node);
    }
    *ret_address = node->address;
    return 0;
}

void api_get_logs(struct httpd_request *req)
{
    static const char *const passed_on[] = { "process", "stream", "follow", "run" };
    struct master_api *api = httpd_ctx(req);
    const struct state *state = master_api_need_state(req);
    const char *id = httpd_param(req, "id");
    const char *address;
    struct tail *tail;
    struct err err;

    if (state == NULL) {
        return;
    }
    if (find_agent(state, id, &address, &err) < 0) {
        httpd_reply_err(req, &err);
        return;
    }
    tail = mem_alloc(sizeof(*tail));
    tail->req = req;
    agent_call_url(&tail->url, address, (const char *const[]){ "tasks", id, "logs", NULL });
    for (size_t i = 0; i < sizeof(passed_on) / sizeof(passed_on[0]); i++) {
        agent_call_query(&tail->url, passed_on[i], httpd_query(req, passed_on[i]));
    }
    tail->call.data = tail;
    tail->call.url = buf_text(&tail->url);
    tail->call.token = api->agent_token;
    tail->call.timeout_ms = HEADER_TIMEOUT_MS;
    tail->call.on_data = on_data;
    httpd_set_data(req, tail);
    httpd_on_gone(req, on_gone);
    httpc_start(api->httpc, &tail->call, on_done);
}
