/* SPDX-License-Identifier: Apache-2.0 */
/* master_api: the master's HTTP interface: routes, who leads, long polls.
 *
 * The resources are in api_*.c.  A master that does not lead answers 503 with the
 * leader's contact to everything but /v1/status.
 *
 * Long polls: a struct master_api_wait holds the request, listens to the state and has the
 * deadline's timer; whichever comes first, or the client's going, or the term's end,
 * is its one end.
 */
#include "master/api/master_api_priv.h"

#include "base/buf.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/str.h"
#include "http/problem.h"
#include "master/api/agent_call.h"

#include <string.h>
#include <utlist.h>

enum {
    MAX_WAIT_MS = 60000,
    MAX_BODY_BYTES = 512 * 1024,
    LARGE_STATE = 200, /* Tasks: from here on changes come quicker than they are worth telling. */
};

/* ---- Not leading ---- */

static void reply_not_leader(struct httpd_request *req, const struct master_api *api)
{
    const json_t *leader = lead_leader(api->lead);
    CLEANUP(json_freep) json_t *problem = NULL;
    char *text;
    struct err err;

    err_set(&err, ERR_NOTLEADER, "this master does not lead the cluster%s",
            leader == NULL ? "; no other does at the moment" : "");
    problem = problem_encode(&err, err_http_status(err.code), httpd_path(req), httpd_id(req));
    if (leader != NULL) {
        json_put_take(problem, "leader", json_incref((json_t *)leader));
    }
    text = json_text_ordered(problem);
    httpd_add_header(req, "Retry-After", "1");
    httpd_reply_bytes_take(req, err_http_status(err.code), "application/problem+json", text,
                           strlen(text));
}

struct state *master_api_need_state(struct httpd_request *req)
{
    const struct master_api *api = httpd_ctx(req);
    struct state *state = lead_state(api->lead);

    if (state == NULL) {
        reply_not_leader(req, api);
    }
    return state;
}

/* ---- Helpers of all resources ---- */

bool master_api_query_int(struct httpd_request *req, const char *key, int64_t min, int64_t max,
                          int64_t fallback, int64_t *ret_value)
{
    const char *text = httpd_query(req, key);
    struct err err;

    *ret_value = fallback;
    if (text != NULL && str_to_int(text, min, max, key, ret_value, &err) < 0) {
        httpd_reply_err(req, &err);
        return false;
    }
    return true;
}

bool master_api_query_word(struct httpd_request *req, const char *key, const char *const *words,
                           const char **ret_word)
{
    CLEANUP_BUF known = { 0 };
    struct err err;

    *ret_word = httpd_query(req, key);
    if (*ret_word == NULL) {
        return true;
    }
    for (const char *const *word = words; *word != NULL; word++) {
        if (strcmp(*word, *ret_word) == 0) {
            return true;
        }
        buf_addf(&known, "%s%s", known.len > 0 ? ", " : "", *word);
    }
    err_set(&err, ERR_INVALID, "%s: '%.50s' is none of %s", key, *ret_word, buf_text(&known));
    httpd_reply_err(req, &err);
    return false;
}

void master_api_reply_list_take(struct httpd_request *req, const struct state *state, json_t *items,
                                json_t *next)
{
    json_t *doc = json_object();

    json_put_take(doc, "items", items);
    json_put_int(doc, "revision", (int64_t)state_revision(state));
    json_put_take(doc, "next", next != NULL ? next : json_null());
    httpd_reply_json_take(req, 200, doc);
}

/* ---- Long polls ---- */

struct master_api_wait {
    struct master_api *api;
    struct httpd_request *req; /* NULL once answered. */
    struct state *state;
    master_api_answer_fn answer;
    struct state_listener listener;
    uv_timer_t timer;
    uint64_t pause_ms; /* While a large state changes. */
    bool pausing;      /* Something changed; more is collected for a moment. */
    struct master_api_wait *prev, *next;
};

static void maybe_closed(struct master_api *api);

static void on_wait_closed(uv_handle_t *handle)
{
    struct master_api_wait *wait = handle->data;
    struct master_api *api = wait->api;

    DL_DELETE(api->waits, wait);
    free(wait);
    maybe_closed(api);
}

enum wait_end { WAIT_ANSWER, WAIT_GONE, WAIT_TERM_ENDED };

static void wait_finish(struct master_api_wait *wait, enum wait_end end)
{
    struct httpd_request *req = wait->req;

    if (req == NULL) {
        return; /* The first end won. */
    }
    wait->req = NULL;
    state_unlisten(&wait->listener);
    uv_close((uv_handle_t *)&wait->timer, on_wait_closed);
    switch (end) {
    case WAIT_ANSWER:
        wait->answer(req, wait->state);
        break;
    case WAIT_GONE:
        httpd_drop(req);
        break;
    case WAIT_TERM_ENDED:
        reply_not_leader(req, wait->api);
        break;
    }
}

static void on_wait_timer(uv_timer_t *timer)
{
    wait_finish(timer->data, WAIT_ANSWER);
}

static void pause_wait(struct master_api_wait *wait)
{
    if (!wait->pausing) {
        wait->pausing = true;
        if (uv_timer_get_due_in(&wait->timer) > wait->pause_ms) {
            uv_timer_start(&wait->timer, on_wait_timer, wait->pause_ms, 0);
        }
    }
}

static bool is_large(const struct state *state)
{
    return HASH_COUNT(state_tasks(state)) >= LARGE_STATE;
}

static void on_changed(struct state_listener *listener)
{
    struct master_api_wait *wait = listener->data;

    if (is_large(wait->state)) {
        pause_wait(wait);
    } else {
        wait_finish(wait, WAIT_ANSWER);
    }
}

static void on_wait_gone(struct httpd_request *req)
{
    wait_finish(httpd_data(req), WAIT_GONE);
}

void master_api_answer_when_newer(struct httpd_request *req, master_api_answer_fn answer,
                                  enum master_api_pause pause)
{
    struct master_api *api = httpd_ctx(req);
    struct state *state = master_api_need_state(req);
    struct master_api_wait *wait;
    int64_t since;
    int64_t wait_ms;

    if (state == NULL || !master_api_query_int(req, "since", 0, INT64_MAX, -1, &since) ||
        !master_api_query_int(req, "wait", 0, MAX_WAIT_MS, 0, &wait_ms)) {
        return;
    }
    bool is_newer = since != (int64_t)state_revision(state);
    if (wait_ms == 0 || since < 0 || (is_newer && !is_large(state))) {
        answer(req, state);
        return;
    }
    wait = mem_alloc(sizeof(*wait));
    wait->api = api;
    wait->req = req;
    wait->state = state;
    wait->answer = answer;
    wait->pause_ms = pause;
    wait->listener.data = wait;
    uv_timer_init(api->options.loop, &wait->timer);
    wait->timer.data = wait;
    DL_APPEND(api->waits, wait);
    uv_timer_start(&wait->timer, on_wait_timer, (uint64_t)wait_ms, 0);
    state_listen(state, &wait->listener, on_changed);
    httpd_set_data(req, wait);
    httpd_on_gone(req, on_wait_gone);
    if (is_newer) {
        pause_wait(wait);
    }
}

void master_api_term_ended(struct master_api *api)
{
    struct master_api_wait *wait;

    DL_FOREACH(api->waits, wait)
    {
        wait_finish(wait, WAIT_TERM_ENDED);
    }
}

/* ---- Status ---- */

static void get_status(struct httpd_request *req)
{
    const struct master_api *api = httpd_ctx(req);
    const struct state *state = lead_state(api->lead);
    const json_t *leader = lead_leader(api->lead);
    json_t *doc = json_object();

    json_put_str(doc, "cluster", api->options.cluster);
    json_put_str(doc, "version", DAVIT_VERSION);
    json_put_bool(doc, "leading", state != NULL);
    json_put_take(doc, "leader", leader != NULL ? json_incref((json_t *)leader) : json_null());
    if (state != NULL) {
        json_put_int(doc, "epoch", state_epoch(state));
        json_put_int(doc, "revision", (int64_t)state_revision(state));
        json_put_int(doc, "jobs", HASH_COUNT(state_jobs(state)));
        json_put_int(doc, "tasks", HASH_COUNT(state_tasks(state)));
        json_put_int(doc, "nodes", HASH_COUNT(state_nodes(state)));
        json_put_int(doc, "operations_running",
                     (int64_t)operations_count_running(api->options.operations));
        json_put_int(doc, "operations_queued",
                     (int64_t)operations_count_queued(api->options.operations));
    }
    httpd_reply_json_take(req, 200, doc);
}

/* ---- Routes ---- */

/* clang-format off */
static const struct httpd_route routes[] = {
    { "GET",  "/v1/status",                              get_status,         HTTPD_VIEWER, NULL },
    { "GET",  "/v1/jobs",                                api_get_jobs,       HTTPD_VIEWER, NULL },
    { "GET",  "/v1/jobs/{cluster}/{role}/{env}/{name}",  api_get_job,        HTTPD_VIEWER, NULL },
    { "GET",  "/v1/tasks",                               api_get_tasks,      HTTPD_VIEWER, NULL },
    { "GET",  "/v1/tasks/{id}",                          api_get_task,       HTTPD_VIEWER, NULL },
    { "GET",  "/v1/tasks/{id}/logs",                     api_get_logs,       HTTPD_VIEWER, NULL },
    { "GET",  "/v1/cron",                                api_get_crons,      HTTPD_VIEWER, NULL },
    { "GET",  "/v1/cron/{cluster}/{role}/{env}/{name}",  api_get_cron,       HTTPD_VIEWER, NULL },
    { "GET",  "/v1/nodes",                               api_get_nodes,      HTTPD_VIEWER, NULL },
    { "GET",  "/v1/quota/{role}",                        api_get_quota,      HTTPD_VIEWER, NULL },
    { "GET",  "/v1/updates",                             api_get_updates,    HTTPD_VIEWER, NULL },
    { "GET",  "/v1/updates/{id}",                        api_get_update,     HTTPD_VIEWER, NULL },
    { "POST", "/v1/updates/{id}/pulse",                  api_post_pulse,     HTTPD_ROLE,   NULL },
    { "POST", "/v1/job-diff",                            api_post_job_diff,  HTTPD_VIEWER, NULL },
    { "GET",  "/v1/nodes/{name}",                        api_get_node,       HTTPD_VIEWER, NULL },
    { "POST", "/v1/operations",                          api_post_operation, HTTPD_ROLE,   NULL },
    { "GET",  "/v1/operations",                          api_get_operations, HTTPD_VIEWER, NULL },
    { "GET",  "/v1/operations/{id}",                     api_get_operation,  HTTPD_VIEWER, NULL },
    { "GET",  "/v1/hook-runs",                           api_get_hook_runs,  HTTPD_VIEWER, NULL },
    { "POST", "/v1/hook-runs",                           api_post_hook_runs, HTTPD_ROLE,   NULL },
    { "GET",  "/scheduler",                              api_get_page,       HTTPD_PUBLIC, NULL },
    { "GET",  "/scheduler/{role}",                       api_get_page,       HTTPD_PUBLIC, NULL },
    { "GET",  "/scheduler/{role}/{env}",                 api_get_page,       HTTPD_PUBLIC, NULL },
    { "GET",  "/scheduler/{role}/{env}/{name}",          api_get_page,       HTTPD_PUBLIC, NULL },
    { "GET",  "/scheduler/{role}/{env}/{name}/{what}",   api_get_page,       HTTPD_PUBLIC, NULL },
    { "GET",  "/scheduler/{role}/{env}/{name}/update/{id}", api_get_page,    HTTPD_PUBLIC, NULL },
};
/* clang-format on */

/* ---- Life ---- */

int master_api_new(const struct master_api_options *options, struct master_api **ret_api,
                   struct err *err)
{
    struct master_api *api = mem_alloc(sizeof(*api));
    CLEANUP(mem_freep) char *journal = file_join(options->dir, "hooks.db");
    struct httpd_options httpd = { .loop = options->loop,
                                   .routes = routes,
                                   .n_routes = sizeof(routes) / sizeof(routes[0]),
                                   .ctx = api,
                                   .token_file = options->token_file,
                                   .max_body_bytes = MAX_BODY_BYTES };

    api->options = *options;
    if (agent_call_token(options->token_file, &api->agent_token, err) < 0 ||
        journal_open(journal, &api->journal, err) < 0 || httpd_new(&httpd, &api->httpd, err) < 0) {
        journal_close(api->journal);
        free(api->agent_token);
        free(api);
        return err->code;
    }
    httpc_new(options->loop, &api->httpc);
    *ret_api = api;
    return 0;
}

int master_api_listen(struct master_api *api, const char *address, uint16_t *ret_port,
                      struct err *err)
{
    return httpd_listen_tcp(api->httpd, address, ret_port, err);
}

int master_api_listen_unix(struct master_api *api, const char *path, struct err *err)
{
    return httpd_listen_unix(api->httpd, path, 0600, err);
}

void master_api_set_lead(struct master_api *api, struct lead *lead)
{
    api->lead = lead;
}

static void maybe_closed(struct master_api *api)
{
    master_api_cb cb = api->close_cb;
    void *data = api->close_data;

    if (!api->closing || api->closes > 0 || api->waits != NULL) {
        return;
    }
    journal_close(api->journal);
    free(api->agent_token);
    free(api);
    if (cb != NULL) {
        cb(data);
    }
}

static void on_part_closed(void *data)
{
    struct master_api *api = data;

    api->closes--;
    maybe_closed(api);
}

static void on_httpd_closed(struct httpd *httpd)
{
    on_part_closed(httpd_server_ctx(httpd));
}

void master_api_close(struct master_api *api, master_api_cb cb, void *data)
{
    api->closing = true;
    api->close_cb = cb;
    api->close_data = data;
    master_api_term_ended(api);
    api->closes = 2;
    httpc_close(api->httpc, on_part_closed, api);
    httpd_close(api->httpd, on_httpd_closed);
}
