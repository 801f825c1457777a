/* SPDX-License-Identifier: Apache-2.0 */
/* api: what a node tells and does over HTTP.
 *
 * The master asks for hook runs, records and logs; people ask what runs here.  Not
 * for convergence: intent and reality in the store are that.
 *
 * POST /v1/hooks/run: the same directory and token while it runs joins the run; after
 * its end the journal's records are the answer; a run that an agent's death cut short
 * is begun again under the same token.
 * Invariant: a run goes on when its caller goes away: the caller will ask again.
 */
#include "agent/api.h"

#include "base/json.h"
#include "base/str.h"
#include "base/tree.h"
#include "hook/chain.h"
#include "hook/point.h"

#include <stdio.h>
#include <string.h>
#include <uthash.h>

enum { TOKEN_MAX = 200, ENV_MAX = 2000, WAITERS_MAX = 64, TERM_MOST_MS = 24 * 3600 * 1000 };

struct op_hooks {
    struct api *api;
    char *key; /* token.event */
    char **env;
    struct hook_chain chain;
    struct httpd_request *waiters[WAITERS_MAX];
    size_t n_waiters;
    UT_hash_handle hh;
};

/* ---- POST /v1/hooks/run ---- */

static void op_hooks_free(struct op_hooks *run)
{
    strv_free(run->env);
    free(run->key);
    free(run);
}

static void on_op_chain(struct hook_chain *chain)
{
    struct op_hooks *run = chain->data;
    json_t *records = json_array();

    HASH_DEL(run->api->running, run);
    for (size_t i = 0; i < chain->n_records; i++) {
        json_array_append_new(records, record_to_json(&chain->records[i]));
    }
    for (size_t i = 0; i < run->n_waiters; i++) {
        if (chain->err.code < 0 && chain->err.code != ERR_REFUSED) {
            httpd_reply_err(run->waiters[i], &chain->err);
        } else {
            httpd_reply_json_take(run->waiters[i], 200, json_pack("{s:O}", "runs", records));
        }
    }
    json_decref(records);
    chain_fini(&run->chain);
    op_hooks_free(run);
}

static bool is_dir_name(const char *dir)
{
    size_t len = strlen(dir);

    return len > 2 && len < 200 && str_ends(dir, ".d") &&
           strspn(dir, "abcdefghijklmnopqrstuvwxyz0123456789-_") == len - 2;
}

static bool is_token(const char *token)
{
    size_t len = strlen(token);

    return len > 0 && len <= TOKEN_MAX &&
           strspn(token, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
               len;
}

static int read_env(const json_t *doc, char ***ret_env, struct err *err)
{
    CLEANUP(strv_freep) char **env = NULL;
    json_t *object = NULL;
    json_t *value = NULL;
    const char *name = NULL;

    if (json_need_obj(doc, "env", &object, err) < 0) {
        return err_code(err);
    }
    if (json_object_size(object) > ENV_MAX) {
        return err_set(err, ERR_TOOBIG, "env has more than %d members", ENV_MAX);
    }
    json_object_foreach(object, name, value)
    {
        if (!json_is_string(value) || !*name || strchr(name, '=')) {
            return err_set(err, ERR_INVALID, "env member '%.100s' is no variable", name);
        }
        strv_addf(&env, "%s=%s", name, json_string_value(value));
    }
    *ret_env = TAKE(env);
    return 0;
}

/* The records of a run that ended before, if all of them say how. */
static json_t *recorded_runs(const struct api *api, const json_t *doc, const char *key)
{
    CLEANUP(json_freep) json_t *records = NULL;
    /* By the operation there is an index, by the token none. */
    struct journal_query query = {
        .token = key, .op_id = json_str_or(doc, "op_id", NULL), .level = "operation", .limit = 1000
    };
    json_t *record = NULL;
    int64_t next = 0;
    size_t i = 0;
    struct err err = { 0 };

    if (journal_query(api->journal, &query, &records, &next, &err) < 0 ||
        json_array_size(records) == 0) {
        return NULL;
    }
    json_array_foreach(records, i, record)
    {
        const char *outcome = json_str_or(record, "outcome", NULL);

        if (!outcome || str_eq(outcome, "lost")) {
            return NULL;
        }
    }
    return TAKE(records);
}

static void op_context(const struct api *api, const json_t *doc, const char *event,
                       struct hook_record *ret_context)
{
    record_init(ret_context, false);
    record_set(&ret_context->level, "operation");
    record_set(&ret_context->event, event);
    record_set(&ret_context->phase, json_str_or(doc, "phase", NULL));
    record_set(&ret_context->op_id, json_str_or(doc, "op_id", NULL));
    record_set(&ret_context->job, json_str_or(doc, "job", NULL));
    record_set(&ret_context->node, api->node);
    ret_context->op_number = json_int_or(doc, "op_number", 0);
    ret_context->opcode_index = json_int_or(doc, "opcode_index", -1);
    ret_context->attempt = json_int_or(doc, "attempt", 0);
}

static void start_op_hooks(struct api *api, struct httpd_request *req, const json_t *doc,
                           const char *event, const char *token, uint64_t term_ms, char **env)
{
    struct op_hooks *run = mem_alloc(sizeof(*run));
    const struct hook_point *point = point_find(HOOK_OPERATION, event);
    struct hook_record context = { 0 };
    struct hook_chain_spec spec = {
        .rules = HOOK_RULES_GANETI,
        .base = api->hooks_dir,
        .event = event,
        /* All run either way: davit-op judges what all nodes say. */
        .policy = str_ends(event, "-pre") ? HOOK_POLICY_JUDGE : HOOK_POLICY_LOG,
        .context = &context,
        .token_base = token,
        .env = (const char *const *)env,
        .cwd = "/",
        .term_ms = term_ms,
    };

    if (term_ms == 0 && point) {
        spec.term_ms = point->term_ms;
        spec.kill_ms = point->kill_ms;
    }
    run->api = api;
    run->key = str_printf("%s.%s", token, event);
    run->env = env;
    run->waiters[run->n_waiters++] = req;
    run->chain.data = run;
    HASH_ADD_KEYPTR(hh, api->running, run->key, strlen(run->key), run);
    op_context(api, doc, event, &context);
    chain_start(&run->chain, api->engine, &spec, journal_sink(api->journal), on_op_chain);
    record_fini(&context);
}

static int run_hooks(struct api *api, struct httpd_request *req, struct err *err)
{
    CLEANUP(json_freep) json_t *doc = NULL;
    CLEANUP(json_freep) json_t *recorded = NULL;
    CLEANUP(strv_freep) char **env = NULL;
    CLEANUP(mem_freep) char *event = NULL;
    CLEANUP(mem_freep) char *key = NULL;
    struct op_hooks *run = NULL;
    const char *dir = NULL;
    const char *token = NULL;
    int64_t term_ms = 0;

    if (httpd_json(req, &doc, err) < 0 || json_need_str(doc, "dir", &dir, err) < 0 ||
        json_need_str(doc, "token", &token, err) < 0 || read_env(doc, &env, err) < 0) {
        return err_code(err);
    }
    if (json_object_get(doc, "term_ms") &&
        json_need_int(doc, "term_ms", 0, TERM_MOST_MS, &term_ms, err) < 0) {
        return err_code(err);
    }
    if (!is_dir_name(dir)) {
        return err_set(err, ERR_INVALID, "'%.100s' is no hook directory", dir);
    }
    if (!is_token(token)) {
        return err_set(err, ERR_INVALID, "the token is not of [A-Za-z0-9._-]");
    }
    event = mem_strndup(dir, strlen(dir) - 2);
    key = str_printf("%s.%s", token, event);
    HASH_FIND_STR(api->running, key, run);
    if (run) {
        if (run->n_waiters == WAITERS_MAX) {
            return err_set(err, ERR_TOOBIG, "%d callers wait for these hooks", WAITERS_MAX);
        }
        run->waiters[run->n_waiters++] = req;
        return 0;
    }
    recorded = recorded_runs(api, doc, key);
    if (recorded) {
        httpd_reply_json_take(req, 200, json_pack("{s:O}", "runs", recorded));
        return 0;
    }
    start_op_hooks(api, req, doc, event, token, (uint64_t)term_ms, TAKE(env));
    return 0;
}

static void post_hooks_run(struct httpd_request *req)
{
    struct err err = { 0 };

    if (run_hooks(httpd_ctx(req), req, &err) < 0) {
        httpd_reply_err(req, &err);
    }
}

/* ---- GET /v1/hook-runs ---- */

static int query_number(struct httpd_request *req, const char *key, int64_t max, int64_t *ret_value,
                        struct err *err)
{
    const char *text = httpd_query(req, key);

    return text && *text ? str_to_int(text, 0, max, key, ret_value, err) : 0;
}

static const char *query_text(struct httpd_request *req, const char *key)
{
    const char *text = httpd_query(req, key);

    return text && *text ? text : NULL;
}

static void get_hook_runs(struct httpd_request *req)
{
    struct api *api = httpd_ctx(req);
    struct journal_query query = {
        .op_id = query_text(req, "op"),
        .job = query_text(req, "job"),
        .level = query_text(req, "level"),
        .node = query_text(req, "node"),
        .event = query_text(req, "event"),
        .newest = str_eq(httpd_query(req, "newest"), "true"),
        .failed = str_eq(httpd_query(req, "failed"), "true"),
    };
    json_t *items = NULL;
    json_t *doc = NULL;
    int64_t limit = 0;
    int64_t next = 0;
    struct err err = { 0 };

    if (query_number(req, "after", INT64_MAX, &query.after, &err) < 0 ||
        query_number(req, "limit", 1000, &limit, &err) < 0) {
        httpd_reply_err(req, &err);
        return;
    }
    query.limit = (int)limit;
    if (journal_query(api->journal, &query, &items, &next, &err) < 0) {
        httpd_reply_err(req, &err);
        return;
    }
    doc = json_object();
    json_put_take(doc, "items", items);
    json_put_take(doc, "next", next > 0 ? json_integer(next) : json_null());
    httpd_reply_json_take(req, 200, doc);
}

/* ---- Pods. ---- */

static void get_pods(struct httpd_request *req)
{
    struct api *api = httpd_ctx(req);
    json_t *doc = json_object();

    json_put_take(doc, "items", pods_list(api->pods));
    json_put_take(doc, "next", json_null());
    httpd_reply_json_take(req, 200, doc);
}

static void get_pod(struct httpd_request *req)
{
    struct api *api = httpd_ctx(req);
    json_t *doc = pods_describe(api->pods, httpd_param(req, "id"));
    struct err err = { 0 };

    if (!doc) {
        err_setf(&err, ERR_NOTFOUND, "there is no pod '%.100s' here", httpd_param(req, "id"));
        httpd_reply_err(req, &err);
        return;
    }
    httpd_reply_json_take(req, 200, doc);
}

static void get_logs(struct httpd_request *req)
{
    struct api *api = httpd_ctx(req);

    logs_serve(api->logs, req);
}

static void get_status(struct httpd_request *req)
{
    struct api *api = httpd_ctx(req);
    json_t *doc = json_object();

    json_put_str(doc, "version", DAVIT_VERSION);
    json_put_str(doc, "node", api->node);
    json_put_str(doc, "rung", tree_rung_name(tree_best_rung()));
    json_put_str(doc, "store", zk_state_name(zk_state(api->zk)));
    json_put_int(doc, "store_session", zk_session_id(api->zk));
    json_put_int(doc, "pods", (int64_t)pods_count(api->pods));
    json_put_int(doc, "hooks_running", (int64_t)run_engine_busy(api->engine));
    httpd_reply_json_take(req, 200, doc);
}

const struct httpd_route *api_routes(size_t *ret_n)
{
    static const struct httpd_route routes[] = {
        { "POST", "/v1/hooks/run", post_hooks_run, HTTPD_OPERATOR, NULL },
        { "GET", "/v1/hook-runs", get_hook_runs, HTTPD_VIEWER, NULL },
        { "GET", "/v1/tasks/{id}/logs", get_logs, HTTPD_VIEWER, NULL },
        { "GET", "/v1/pods", get_pods, HTTPD_VIEWER, NULL },
        { "GET", "/v1/pods/{id}", get_pod, HTTPD_VIEWER, NULL },
        { "GET", "/v1/status", get_status, HTTPD_VIEWER, NULL },
    };

    *ret_n = sizeof(routes) / sizeof(routes[0]);
    return routes;
}
