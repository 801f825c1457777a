/* SPDX-License-Identifier: Apache-2.0 */
/* api_jobs: jobs, tasks and nodes as the API shows them.
 *
 * Reads the state only.  Lists are sorted, so that equal states give equal text.
 */
#include "master/api/master_api_priv.h"

#include "base/json.h"
#include "base/str.h"
#include "model/endpoint.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

enum { MAX_TASKS = 10000 }; /* In one answer; the rest by the cursor. */

/* ---- Jobs ---- */

static int compare_jobs(const void *a, const void *b)
{
    const struct state_job *const *one = a;
    const struct state_job *const *two = b;

    return strcmp((*one)->key_text, (*two)->key_text);
}

/* The jobs that pattern names, sorted; the caller's. */
static struct state_job **find_jobs(const struct state *state, const struct job_key *pattern,
                                    size_t *ret_n)
{
    struct state_job **jobs =
        mem_alloc((HASH_COUNT(state_jobs(state)) + 1) * sizeof(struct state_job *));
    struct state_job *job;
    size_t n = 0;

    for (job = state_jobs(state); job != NULL; job = job->hh.next) {
        if (job_key_matches(pattern, &job->key)) {
            jobs[n++] = job;
        }
    }
    if (n > 0) {
        qsort(jobs, n, sizeof(struct state_job *), compare_jobs);
    }
    *ret_n = n;
    return jobs;
}

static json_t *encode_job(const struct state_job *job)
{
    json_t *doc = json_object();
    json_t *counts = json_object();

    for (int i = 0; i < TASK_N_STATUS; i++) {
        if (job->counts[i] > 0) {
            json_put_int(counts, task_status_name((enum task_status)i), (int64_t)job->counts[i]);
        }
    }
    json_put_str(doc, "key", job->key_text);
    json_put_str(doc, "cluster", job->key.cluster);
    json_put_str(doc, "role", job->key.role);
    json_put_str(doc, "env", job->key.env);
    json_put_str(doc, "name", job->key.name);
    json_put_str(doc, "user", job->user);
    json_put_str(doc, "op_id", job->op_id);
    json_put_int(doc, "created_ms", (int64_t)job->created_ms);
    json_put_int(doc, "active", (int64_t)state_job_active(job));
    json_put_take(doc, "counts", counts);
    if (job->current != NULL) {
        json_put_str(doc, "config", job->current->job->hash);
        json_put_int(doc, "instances", job->current->job->instances);
        json_put_bool(doc, "service", job->current->job->service);
    }
    return doc;
}

static void answer_jobs(struct httpd_request *req, struct state *state)
{
    const char *role = httpd_query(req, "role");
    const char *env = httpd_query(req, "env");
    const char *name = httpd_query(req, "name");
    struct job_key pattern = { 0 };
    struct state_job **jobs;
    json_t *items = json_array();
    size_t n;

    job_key_set(&pattern, "*", role != NULL ? role : "*", env != NULL ? env : "*",
                name != NULL ? name : "*");
    jobs = find_jobs(state, &pattern, &n);
    for (size_t i = 0; i < n; i++) {
        json_array_append_new(items, encode_job(jobs[i]));
    }
    free(jobs);
    job_key_fini(&pattern);
    master_api_reply_list_take(req, state, items, NULL);
}

void api_get_jobs(struct httpd_request *req)
{
    master_api_answer_when_newer(req, answer_jobs, MASTER_API_PAUSE_LIST);
}

static void answer_job(struct httpd_request *req, struct state *state)
{
    CLEANUP(mem_freep)
    char *key = str_printf("%s/%s/%s/%s", httpd_param(req, "cluster"), httpd_param(req, "role"),
                           httpd_param(req, "env"), httpd_param(req, "name"));
    const struct state_job *job = state_job_find(state, key);
    json_t *doc;

    if (job == NULL) {
        struct err err;

        err_set(&err, ERR_NOTFOUND, "there is no job %s", key);
        httpd_reply_err(req, &err);
        return;
    }
    doc = encode_job(job);
    json_put_int(doc, "revision", (int64_t)state_revision(state));
    if (job->current != NULL) {
        json_put_take(doc, "job", json_incref(job->current->job->doc));
    }
    httpd_reply_json_take(req, 200, doc);
}

void api_get_job(struct httpd_request *req)
{
    master_api_answer_when_newer(req, answer_job, MASTER_API_PAUSE_ONE);
}

/* ---- Tasks ---- */

/* The ServerSet member that the node's agent keeps for a task that runs. */
static void add_member(const struct state_task *task, const struct state_node *node, json_t *doc)
{
    const json_t *announce = json_object_get(task->config->job->doc, "announce");
    CLEANUP(json_freep) json_t *assigned = NULL;
    CLEANUP(json_freep) json_t *ports = NULL;
    const char *host;

    if (task->t.status != TASK_RUNNING || node == NULL || !endpoint_announced(announce)) {
        return;
    }
    assigned = json_object();
    for (size_t i = 0; i < task->t.n_ports; i++) {
        json_put_int(assigned, task->t.ports[i].name, task->t.ports[i].port);
    }
    ports = endpoint_ports(announce, assigned);
    host = json_str_or(node->doc, "announcer_host", node->hostname);
    json_put_take(doc, "member", endpoint_member(announce, ports, host, task->t.instance));
}

/* What of the job's configuration is told with each of its tasks, where it is set at all. */
static void add_settings(const json_t *job, json_t *doc)
{
    static const char *const members[] = { "metadata", "constraints", "contact",  "tier",
                                           "priority", "production",  "container" };

    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        json_t *value = json_object_get(job, members[i]);

        if (value != NULL && !json_is_null(value) && !json_is_false(value) &&
            !(json_is_number(value) && !(json_number_value(value) != 0))) {
            json_put_take(doc, members[i], json_incref(value));
        }
    }
}

/* Where on which machine its pod lives, for `davit task ssh`. */
static void add_home(const struct state_task *task, const struct state_node *node, json_t *doc)
{
    const char *pods = json_str_or(node->doc, "pods_dir", NULL);

    if (task_is_active(task->t.status) && pods != NULL) {
        json_put_take(doc, "home", json_sprintf("%s/%s", pods, task->t.id));
        json_put_str(doc, "boot_id", json_str_or(node->doc, "boot_id", NULL));
    }
}

static json_t *encode_task(const struct state *state, const struct state_task *task)
{
    const struct job *job = task->config->job;
    const struct state_node *node =
        task->t.node != NULL ? state_node_find(state, task->t.node) : NULL;
    double gpu = json_num_or(json_object_get(job->task, "resources"), "gpu", 0);
    json_t *doc = task_encode(&task->t);
    json_t *resources = json_object();
    json_t *ports = json_array();

    for (size_t i = 0; i < job->n_ports; i++) {
        json_array_append_new(ports, json_string(job->ports[i]));
    }
    json_put_num(resources, "cpu", job->cpu);
    json_put_int(resources, "ram_bytes", job->ram_bytes);
    json_put_int(resources, "disk_bytes", job->disk_bytes);
    if (gpu > 0) {
        json_put_num(resources, "gpu", gpu);
    }
    json_put_take(resources, "ports", ports);
    json_put_take(doc, "resources", resources);
    json_put_str(doc, "host", node != NULL ? node->hostname : NULL);
    if (node != NULL) {
        add_home(task, node, doc);
    }
    json_put_bool(doc, "active", task_is_active(task->t.status));
    json_put_bool(doc, "service", job->service);
    json_put_int(doc, "max_failures", job->max_task_failures);
    add_settings(job->doc, doc);
    add_member(task, node, doc);
    if (task->t.status == TASK_PENDING && task->config->pending_reason[0] != '\0') {
        json_put_str(doc, "reason", task->config->pending_reason);
    }
    return doc;
}

static uint64_t first_ms(const struct task *task)
{
    return task->n_events > 0 ? task->events[0].time_ms : 0;
}

static int compare_tasks(const void *a, const void *b)
{
    const struct state_task *const *one = a;
    const struct state_task *const *two = b;

    if ((*one)->t.instance != (*two)->t.instance) {
        return (*one)->t.instance < (*two)->t.instance ? -1 : 1;
    }
    if (first_ms(&(*one)->t) != first_ms(&(*two)->t)) {
        return first_ms(&(*one)->t) < first_ms(&(*two)->t) ? -1 : 1;
    }
    return strcmp((*one)->t.id, (*two)->t.id);
}

/* One job's tasks by instance and age. */
static void add_tasks(const struct state *state, const struct state_job *job, const char *active,
                      size_t *skip, size_t limit, json_t *items)
{
    struct state_task **tasks = mem_alloc((job->n_tasks + 1) * sizeof(struct state_task *));
    struct state_task *task;
    size_t n = 0;

    DL_FOREACH2(job->tasks, task, job_next)
    {
        if (active == NULL || task_is_active(task->t.status) == (strcmp(active, "true") == 0)) {
            tasks[n++] = task;
        }
    }
    if (n > 0) {
        qsort(tasks, n, sizeof(struct state_task *), compare_tasks);
    }
    for (size_t i = 0; i < n && json_array_size(items) < limit; i++) {
        if (*skip > 0) {
            (*skip)--;
        } else {
            json_array_append_new(items, encode_task(state, tasks[i]));
        }
    }
    free(tasks);
}

static void answer_tasks(struct httpd_request *req, struct state *state)
{
    const char *active = httpd_query(req, "active");
    const char *text = httpd_query(req, "job");
    struct job_key pattern = { 0 };
    struct state_job **jobs;
    json_t *items;
    int64_t cursor;
    int64_t limit;
    size_t skip;
    size_t n;
    struct err err;

    if (!master_api_query_int(req, "cursor", 0, INT32_MAX, 0, &cursor) ||
        !master_api_query_int(req, "limit", 1, MAX_TASKS, MAX_TASKS, &limit)) {
        return;
    }
    if (active != NULL && strcmp(active, "true") != 0 && strcmp(active, "false") != 0) {
        err_set(&err, ERR_INVALID, "active must be true or false");
        httpd_reply_err(req, &err);
        return;
    }
    if (job_key_parse_glob(text != NULL ? text : "*", &pattern, &err) < 0) {
        httpd_reply_err(req, &err);
        return;
    }
    items = json_array();
    skip = (size_t)cursor;
    jobs = find_jobs(state, &pattern, &n);
    for (size_t i = 0; i < n && json_array_size(items) < (size_t)limit; i++) {
        add_tasks(state, jobs[i], active, &skip, (size_t)limit, items);
    }
    free(jobs);
    job_key_fini(&pattern);
    master_api_reply_list_take(
        req, state, items,
        json_array_size(items) < (size_t)limit ? NULL : json_sprintf("%" PRId64, cursor + limit));
}

void api_get_tasks(struct httpd_request *req)
{
    master_api_answer_when_newer(req, answer_tasks, MASTER_API_PAUSE_LIST);
}

static void answer_task(struct httpd_request *req, struct state *state)
{
    const struct state_task *task = state_task_find(state, httpd_param(req, "id"));
    struct err err;

    if (task == NULL) {
        err_set(&err, ERR_NOTFOUND, "there is no task %.300s", httpd_param(req, "id"));
        httpd_reply_err(req, &err);
        return;
    }
    httpd_reply_json_take(req, 200, encode_task(state, task));
}

void api_get_task(struct httpd_request *req)
{
    master_api_answer_when_newer(req, answer_task, MASTER_API_PAUSE_ONE);
}
