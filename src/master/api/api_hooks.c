/* SPDX-License-Identifier: Apache-2.0 */
/* api_hooks: the timeline of hooks across client, operation, node and pod.
 *
 * Client and operation records are in this master's journal; node and pod records stay
 * with the agents and are asked for, all in parallel, when somebody looks.
 *
 * Happy path: one call per agent; when the last one has ended the lists are merged by
 * time.  Failures: an agent that does not answer in AGENT_TIMEOUT_MS is named in
 * `missing`, and so is one that is away.
 *
 * ?after= is a wall time in milliseconds: journals have no common cursor.
 */
#include "master/api/master_api_priv.h"

#include "base/buf.h"
#include "base/json.h"
#include "base/log.h"
#include "base/str.h"
#include "master/api/agent_call.h"

#include <stdlib.h>
#include <string.h>

enum {
    AGENT_TIMEOUT_MS = 5000,
    AGENT_MAX_BYTES = 8 * 1024 * 1024,
    DEFAULT_LIMIT = 500,
    MAX_LIMIT = 1000,
    MAX_AGENTS = 2000,
};

static const char *const levels[] = { "client", "operation", "node", "pod", NULL };
static const char *const truths[] = { "true", "false", NULL };

struct ask {
    struct merge *merge;
    char *node;
    struct buf url;
    struct httpc_call call;
    bool started;
};

struct merge {
    struct master_api *api;
    struct httpd_request *req;       /* NULL: its client is gone. */
    const char *op, *level, *failed; /* NULL: all; the request's, like node and job. */
    struct ask *asks;
    size_t n_asks, n_open;
    json_t *items, *missing;
    size_t limit;
    int64_t after_ms;
    uint64_t revision;
};

static void merge_free(struct merge *merge)
{
    for (size_t i = 0; i < merge->n_asks; i++) {
        if (merge->asks[i].started) {
            httpc_call_fini(&merge->asks[i].call);
        }
        buf_fini(&merge->asks[i].url);
        free(merge->asks[i].node);
    }
    free(merge->asks);
    json_decref(merge->items);
    json_decref(merge->missing);
    free(merge);
}

static int64_t when(const json_t *record)
{
    return json_int_or(record, "started_ms", json_int_or(record, "intent_ms", 0));
}

struct row {
    json_t *record;
    int64_t when;
    size_t at;
};

static int compare_records(const void *a, const void *b)
{
    const struct row *one = a;
    const struct row *two = b;

    if (one->when != two->when) {
        return one->when < two->when ? -1 : 1;
    }
    return one->at < two->at ? -1 : one->at > two->at; /* A journal knows its own order. */
}

/* By time, the newest `limit` of them, each run once. */
static json_t *sorted(const struct merge *merge)
{
    struct row *rows = mem_alloc((json_array_size(merge->items) + 1) * sizeof(*rows));
    CLEANUP(json_freep) json_t *seen = json_object();
    json_t *items = json_array();
    size_t n = 0;

    for (size_t i = 0; i < json_array_size(merge->items); i++) {
        json_t *record = json_array_get(merge->items, i);

        const char *run = json_str_or(record, "run_id", "");

        if (when(record) > merge->after_ms && json_object_get(seen, run) == NULL) {
            rows[n++] = (struct row){ record, when(record), i };
            json_object_set_new(seen, run, json_true());
        }
    }
    if (n > 0) {
        qsort(rows, n, sizeof(*rows), compare_records);
    }
    for (size_t i = n > merge->limit ? n - merge->limit : 0; i < n; i++) {
        json_array_append(items, rows[i].record);
    }
    free(rows);
    return items;
}

static void finish_if_done(struct merge *merge)
{
    struct httpd_request *req = merge->req;
    json_t *doc;

    if (merge->n_open > 0) {
        return;
    }
    if (req != NULL) {
        doc = json_object();
        json_put_take(doc, "items", sorted(merge));
        json_put_take(doc, "missing", json_incref(merge->missing));
        json_put_int(doc, "revision", (int64_t)merge->revision);
        json_put_take(doc, "next", json_null());
        httpd_set_data(req, NULL);
        httpd_reply_json_take(req, 200, doc);
    }
    merge_free(merge);
}

static void on_agent(struct httpc_call *call)
{
    struct ask *ask = call->data;
    struct merge *merge = ask->merge;
    CLEANUP(json_freep) json_t *doc = NULL;
    struct err err;

    if (httpc_check(call, &err) < 0 || httpc_json(call, &doc, &err) < 0) {
        log_debug("agent does not tell its hook runs: %s node=%s", err.msg, ask->node);
        json_array_append_new(merge->missing, json_string(ask->node));
    } else {
        json_array_extend(merge->items, json_object_get(doc, "items"));
    }
    merge->n_open--;
    finish_if_done(merge);
}

static void on_gone(struct httpd_request *req)
{
    struct merge *merge = httpd_data(req);

    if (merge != NULL) {
        merge->req = NULL; /* The agents' answers end it. */
    }
    httpd_drop(req);
}

static bool wanted(struct httpd_request *req, const struct state_node *node)
{
    const char *level = httpd_query(req, "level");
    const char *name = httpd_query(req, "node");

    if (name != NULL && strcmp(name, node->name) != 0) {
        return false;
    }
    return level == NULL || strcmp(level, "client") != 0;
}

static void ask_agents(struct merge *merge, const struct state *state)
{
    const char *const passed_on[][2] = { { "op", merge->op },
                                         { "job", httpd_query(merge->req, "job") },
                                         { "level", merge->level },
                                         { "failed", merge->failed } };
    char limit[24];

    (void)snprintf(limit, sizeof(limit), "%zu", merge->limit);
    merge->asks = mem_alloc((HASH_COUNT(state_nodes(state)) + 1) * sizeof(struct ask));
    for (const struct state_node *node = state_nodes(state);
         node != NULL && merge->n_asks < MAX_AGENTS; node = node->hh.next) {
        struct ask *ask = &merge->asks[merge->n_asks];

        if (!wanted(merge->req, node)) {
            continue;
        }
        if (node->address == NULL) {
            json_array_append_new(merge->missing, json_string(node->name));
            continue;
        }
        merge->n_asks++;
        ask->merge = merge;
        ask->node = mem_strdup(node->name);
        agent_call_url(&ask->url, node->address, (const char *const[]){ "hook-runs", NULL });
        for (size_t i = 0; i < sizeof(passed_on) / sizeof(passed_on[0]); i++) {
            agent_call_query(&ask->url, passed_on[i][0], passed_on[i][1]);
        }
        agent_call_query(&ask->url, "limit", limit);
        agent_call_query(&ask->url, "newest", "true");
        ask->call.data = ask;
        ask->call.url = buf_text(&ask->url);
        ask->call.token = merge->api->agent_token;
        ask->call.timeout_ms = AGENT_TIMEOUT_MS;
        ask->call.max_bytes = AGENT_MAX_BYTES;
    }
    merge->n_open = merge->n_asks;
    for (size_t i = 0; i < merge->n_asks; i++) {
        merge->asks[i].started = true;
        httpc_start(merge->api->httpc, &merge->asks[i].call, on_agent);
    }
}

static int ask_journal(struct merge *merge, struct err *err)
{
    struct journal_query query = { .op_id = merge->op,
                                   .job = httpd_query(merge->req, "job"),
                                   .level = merge->level,
                                   .node = httpd_query(merge->req, "node"),
                                   .newest = true,
                                   .failed = str_eq(merge->failed, "true"),
                                   .limit = (int)merge->limit };
    int64_t next;

    return journal_query(merge->api->journal, &query, &merge->items, &next, err);
}

/* A number is turned into the id that the journals know.  An id may be of a call that was
 * refused in the client and never became an operation. */
static bool query_op(struct httpd_request *req, const char **ret_op)
{
    const struct master_api *api = httpd_ctx(req);
    const char *key = httpd_query(req, "op");
    struct err err;

    *ret_op = key != NULL ? operations_id(api->options.operations, key) : NULL;
    if (key == NULL || *ret_op != NULL) {
        return true;
    }
    *ret_op = key;
    if (strspn(key, "0123456789") == strlen(key)) {
        err_set(&err, ERR_NOTFOUND, "there is no operation %.100s", key);
        httpd_reply_err(req, &err);
        return false;
    }
    return true;
}

void api_get_hook_runs(struct httpd_request *req)
{
    struct master_api *api = httpd_ctx(req);
    const struct state *state = master_api_need_state(req);
    struct merge *merge;
    const char *op, *level, *failed;
    int64_t limit;
    int64_t after_ms;
    struct err err;

    if (state == NULL || !query_op(req, &op) ||
        !master_api_query_word(req, "level", levels, &level) ||
        !master_api_query_word(req, "failed", truths, &failed) ||
        !master_api_query_int(req, "limit", 1, MAX_LIMIT, DEFAULT_LIMIT, &limit) ||
        !master_api_query_int(req, "after", 0, INT64_MAX, 0, &after_ms)) {
        return;
    }
    merge = mem_alloc(sizeof(*merge));
    merge->api = api;
    merge->req = req;
    merge->op = op;
    merge->level = level;
    merge->failed = failed;
    merge->limit = (size_t)limit;
    merge->after_ms = after_ms;
    merge->revision = state_revision(state);
    merge->missing = json_array();
    if (ask_journal(merge, &err) < 0) {
        merge_free(merge);
        httpd_reply_err(req, &err);
        return;
    }
    httpd_set_data(req, merge);
    httpd_on_gone(req, on_gone);
    ask_agents(merge, state);
    finish_if_done(merge);
}
