/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "hook/journal.h"
#include "http/httpc.h"
#include "http/httpd.h"
#include "master/api/master_api.h"

/* Shared by the api_*.c files: one file per group of resources. */

struct master_api_wait;

struct master_api {
    struct master_api_options options;
    struct httpd *httpd;
    struct httpc *httpc; /* To agents. */
    struct hook_journal *journal;
    char *agent_token;
    struct lead *lead;
    struct master_api_wait *waits; /* Long polls. */
    bool closing;
    unsigned closes;
    master_api_cb close_cb;
    void *close_data;
};

/* The state; or NULL, and then 503 was answered, with the leader's contact. */
struct state *master_api_need_state(struct httpd_request *req);

/* Answers with the state as it is now. */
typedef void (*master_api_answer_fn)(struct httpd_request *req, struct state *state);

/* How long changes of a large state are collected before they are told, in milliseconds. */
enum master_api_pause { MASTER_API_PAUSE_ONE = 10, MASTER_API_PAUSE_LIST = 100 };

/* Calls answer at once; or, with ?since=REV&wait=MS, when the state is newer or the time is over.
 */
void master_api_answer_when_newer(struct httpd_request *req, master_api_answer_fn answer,
                                  enum master_api_pause pause);

/* A number of the query; absent is fallback.  False: 400 was answered. */
bool master_api_query_int(struct httpd_request *req, const char *key, int64_t min, int64_t max,
                          int64_t fallback, int64_t *ret_value);

/* A word of the query that must be one of words (NULL-ended); NULL when absent.  False: 400
 * was answered. */
bool master_api_query_word(struct httpd_request *req, const char *key, const char *const *words,
                           const char **ret_word);

/* {"items": items, "revision": of state, "next": next or null}; takes both. */
void master_api_reply_list_take(struct httpd_request *req, const struct state *state, json_t *items,
                                json_t *next);

void api_get_crons(struct httpd_request *req);      /* GET /v1/cron */
void api_get_cron(struct httpd_request *req);       /* GET /v1/cron/{cluster}/... */
void api_get_jobs(struct httpd_request *req);       /* GET /v1/jobs */
void api_get_quota(struct httpd_request *req);      /* GET /v1/quota/{role} */
void api_get_job(struct httpd_request *req);        /* GET /v1/jobs/{cluster}/... */
void api_get_tasks(struct httpd_request *req);      /* GET /v1/tasks */
void api_get_task(struct httpd_request *req);       /* GET /v1/tasks/{id} */
void api_get_logs(struct httpd_request *req);       /* GET /v1/tasks/{id}/logs */
void api_get_nodes(struct httpd_request *req);      /* GET /v1/nodes */
void api_get_updates(struct httpd_request *req);    /* GET /v1/updates */
void api_get_update(struct httpd_request *req);     /* GET /v1/updates/{id} */
void api_post_pulse(struct httpd_request *req);     /* POST /v1/updates/{id}/pulse */
void api_post_job_diff(struct httpd_request *req);  /* POST /v1/job-diff */
void api_get_node(struct httpd_request *req);       /* GET /v1/nodes/{name} */
void api_post_operation(struct httpd_request *req); /* POST /v1/operations */
void api_get_operation(struct httpd_request *req);  /* GET /v1/operations/{id} */
void api_get_operations(struct httpd_request *req); /* GET /v1/operations */
void api_get_hook_runs(struct httpd_request *req);  /* GET /v1/hook-runs */
void api_post_hook_runs(struct httpd_request *req); /* POST /v1/hook-runs */
void api_get_page(struct httpd_request *req);       /* GET /scheduler... */
