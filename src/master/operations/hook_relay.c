/* SPDX-License-Identifier: Apache-2.0 */

/* hook_relay: asks agents to run one directory of operation hooks, all in parallel.
 *
 * It judges nothing: a node that cannot be reached, answers nonsense or vanishes is reported as not
 * reachable, which never vetoes; what its hooks said is in its runs.
 *
 * Happy path: one POST a node; each answer fills its place in the results; the last one closes the
 * timer, whose close callback tells.
 * Failures: a node that is not alive is answered without a call; one that stops being alive is
 * canceled at the next tick, so that a dead machine costs its session timeout, not the hooks' one.
 * Invariant: the callback fires once, after every call has had its outcome.
 */

#include "master/operations/hook_relay.h"

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

#include <string.h>

enum { TICK_MS = 1000 };

struct relay_call {
    struct hook_relay *relay;
    struct httpc_call call;
    char *node, *url;
    bool busy, gone;
    json_t *result;
};

struct hook_relay {
    struct hook_relay_options options;
    char *token, *body;
    struct relay_call *calls;
    size_t n, n_busy;
    uv_timer_t timer;
    bool closing;
};

static void on_closed(uv_handle_t *handle)
{
    struct hook_relay *relay = handle->data;
    CLEANUP(json_freep) json_t *results = json_array();

    for (size_t i = 0; i < relay->n; i++) {
        (void)json_array_append_new(results, relay->calls[i].result);
        httpc_call_fini(&relay->calls[i].call);
        free(relay->calls[i].node);
        free(relay->calls[i].url);
    }
    relay->options.cb(relay, results, relay->options.data);
    free(relay->calls);
    free(relay->token);
    free(relay->body);
    free(relay);
}

static void maybe_close(struct hook_relay *relay)
{
    if (relay->n_busy == 0 && !relay->closing) {
        relay->closing = true;
        uv_close((uv_handle_t *)&relay->timer, on_closed);
    }
}

static void set_result(struct relay_call *one, const struct err *err, json_t *runs)
{
    one->result = json_object();
    json_put_str(one->result, "node", one->node);
    json_put_bool(one->result, "reachable", err == NULL);
    if (err != NULL) {
        json_put_str(one->result, "error", one->gone ? "the node vanished" : err->msg);
    }
    json_put_take(one->result, "runs", runs != NULL ? json_incref(runs) : json_array());
}

static void on_answer(struct httpc_call *call)
{
    struct relay_call *one = call->data;
    struct hook_relay *relay = one->relay;
    struct err err = { 0 };
    CLEANUP(json_freep) json_t *doc = NULL;
    json_t *runs = NULL;

    if (httpc_check(call, &err) < 0 || httpc_json(call, &doc, &err) < 0 ||
        json_need_array(doc, "runs", &runs, &err) < 0) {
        set_result(one, &err, NULL);
    } else {
        set_result(one, NULL, runs);
    }
    one->busy = false;
    relay->n_busy--;
    maybe_close(relay);
}

static void on_tick(uv_timer_t *timer)
{
    struct hook_relay *relay = timer->data;

    for (size_t i = 0; i < relay->n; i++) {
        struct relay_call *one = &relay->calls[i];

        if (one->busy && !one->gone &&
            relay->options.address(relay->options.data, one->node) == NULL) {
            one->gone = true;
            httpc_cancel(&one->call);
        }
    }
}

static void ask(struct relay_call *one)
{
    struct hook_relay *relay = one->relay;
    const char *address = relay->options.address(relay->options.data, one->node);
    struct err err = { 0 };

    if (address == NULL) {
        (void)err_set(&err, ERR_UNREACHABLE, "no agent of this node is alive");
        set_result(one, &err, NULL);
        return;
    }
    one->url = str_printf("http://%s/v1/hooks/run", address);
    one->call = (struct httpc_call){
        .data = one,
        .method = "POST",
        .url = one->url,
        .token = relay->token,
        .body = relay->body,
        .body_len = strlen(relay->body),
        .timeout_ms = relay->options.timeout_ms,
    };
    one->busy = true;
    relay->n_busy++;
    httpc_start(relay->options.httpc, &one->call, on_answer);
}

struct hook_relay *hook_relay_start(const struct hook_relay_options *options)
{
    struct hook_relay *relay = mem_alloc(sizeof *relay);

    relay->options = *options;
    relay->token = mem_strdup_opt(options->token);
    relay->body = json_text(options->body);
    relay->n = json_array_size(options->nodes);
    relay->calls = mem_alloc((relay->n + 1) * sizeof *relay->calls);
    (void)uv_timer_init(options->loop, &relay->timer);
    relay->timer.data = relay;
    (void)uv_timer_start(&relay->timer, on_tick, TICK_MS, TICK_MS);
    for (size_t i = 0; i < relay->n; i++) {
        const char *node = json_string_value(json_array_get(options->nodes, i));

        relay->calls[i].relay = relay;
        relay->calls[i].node = mem_strdup(node != NULL ? node : "");
        ask(&relay->calls[i]);
    }
    maybe_close(relay);
    return relay;
}

void hook_relay_cancel(struct hook_relay *relay)
{
    for (size_t i = 0; i < relay->n; i++) {
        if (relay->calls[i].busy) {
            httpc_cancel(&relay->calls[i].call);
        }
    }
}
