/* SPDX-License-Identifier: Apache-2.0 */
/* api_operations: /v1/operations.
 *
 * Queue, records and states are operations.c's; here is what HTTP adds: who may ask
 * for what, the client's hook records, headers.
 *
 * A request waits in a struct pending until operations.c fires or the client goes.
 */
#include "master/api/master_api_priv.h"

#include "base/json.h"
#include "base/log.h"
#include "base/str.h"
#include "hook/record.h"

#include <string.h>

enum { MAX_WAIT_MS = 60000, MAX_LIMIT = 1000, DEFAULT_LIMIT = 100, MAX_HOOK_RUNS = 1000 };

struct pending {
    struct operations_request request;
    struct httpd_request *req;
    bool created; /* 202 with Location instead of 200. */
};

static struct pending *pending_new(struct httpd_request *req);

static void on_answer(struct operations_request *request)
{
    struct pending *pending = request->data;
    struct httpd_request *req = pending->req;
    const char *id;

    if (request->err.code != 0) {
        httpd_reply_err(req, &request->err);
        free(pending);
        return;
    }
    id = json_str_or(request->doc, "id", NULL);
    if (pending->created && id != NULL) {
        CLEANUP(mem_freep) char *location = str_printf("/v1/operations/%s", id);

        httpd_add_header(req, "Location", location);
    }
    httpd_reply_json_take(req, pending->created ? 202 : 200, json_incref(request->doc));
    free(pending);
}

static void on_gone(struct httpd_request *req)
{
    struct pending *pending = httpd_data(req);

    operations_forget(&pending->request);
    free(pending);
    httpd_drop(req);
}

static struct pending *pending_new(struct httpd_request *req)
{
    struct pending *pending = mem_alloc(sizeof(*pending));

    pending->req = req;
    pending->request.data = pending;
    httpd_set_data(req, pending);
    httpd_on_gone(req, on_gone);
    return pending;
}

/* ---- Asking for one ---- */

static int check_opcode(const struct httpd_identity *who, const json_t *opcode, struct err *err)
{
    const struct opcode *known = opcodes_find(opcodes_table, json_str_or(opcode, "op", ""));
    const json_t *job = json_object_get(opcode, "job");
    const json_t *key = json_object_get(opcode, "key");
    struct job_key parsed = { 0 };
    struct err ignored = { 0 };
    const char *job_role = json_str_or(job, "role", NULL);
    const char *key_role = NULL;
    bool allowed;

    if (known != NULL && known->operators_only) {
        return err_set(err, ERR_DENIED, "%s may not ask for %s: it is for operators", who->name,
                       known->name);
    }
    if (job_key_parse(json_str_or(opcode, "key", ""), &parsed, &ignored) == 0) {
        key_role = parsed.role;
    }
    /* One that has both might look at either. */
    allowed = (job != NULL || key != NULL) && (job == NULL || str_eq(job_role, who->role_name)) &&
              (key == NULL || str_eq(key_role, who->role_name));
    if (!allowed) {
        const char *other = job != NULL && !str_eq(job_role, who->role_name) ? job_role : key_role;

        err_setf(err, ERR_DENIED, "%s may not work on jobs of role %.100s", who->name,
                 other != NULL ? other : "(none)");
    }
    job_key_fini(&parsed);
    return allowed ? 0 : err_code(err);
}

/* The owner of a role may touch that role's jobs, whole name compared. */
static int check_role(const struct httpd_identity *who, const json_t *body, struct err *err)
{
    json_t *opcode;
    size_t i;

    if (who->role >= HTTPD_OPERATOR) {
        return 0;
    }
    json_array_foreach(json_object_get(body, "opcodes"), i, opcode)
    {
        if (check_opcode(who, opcode, err) < 0) {
            return err_code(err);
        }
    }
    return 0;
}

static int read_records(const json_t *array, struct hook_record *records, size_t *ret_n,
                        struct err *err)
{
    json_t *item;
    size_t i;

    if (json_array_size(array) > MAX_HOOK_RUNS) {
        return err_set(err, ERR_TOOBIG, "more than %d hook records", MAX_HOOK_RUNS);
    }
    json_array_foreach(array, i, item)
    {
        if (record_from_json(item, &records[*ret_n], err) < 0) {
            return err_wrap(err, "hook record %zu", i);
        }
        (*ret_n)++;
        if (!str_eq(records[i].level, "client")) {
            return err_set(err, ERR_INVALID, "hook record %zu is not of level client", i);
        }
    }
    return 0;
}

/* The records that a client made of its own hooks go into the master's journal. */
static int keep_records(struct master_api *api, const json_t *array, struct err *err)
{
    size_t n = 0;
    struct hook_record *records;
    int code;

    if (array == NULL || json_is_null(array)) {
        return 0;
    }
    if (!json_is_array(array)) {
        return err_set(err, ERR_INVALID, "hook records must be an array");
    }
    records = mem_alloc((json_array_size(array) + 1) * sizeof(*records));
    code = read_records(array, records, &n, err);
    if (code == 0 && n > 0) {
        code = journal_insert(api->journal, records, n, err);
    }
    for (size_t i = 0; i < n; i++) {
        record_fini(&records[i]);
    }
    free(records);
    return code;
}

static int check_key(struct httpd_request *req, const json_t *body, struct err *err)
{
    const char *key = httpd_header(req, "Idempotency-Key");
    const char *id;

    if (json_need_str(body, "id", &id, err) < 0) {
        return err->code;
    }
    if (key != NULL && strcmp(key, id) != 0) {
        return err_set(err, ERR_INVALID, "Idempotency-Key is not the operation's id");
    }
    return 0;
}

void api_post_operation(struct httpd_request *req)
{
    struct master_api *api = httpd_ctx(req);
    const struct httpd_identity *who = httpd_identity(req);
    CLEANUP(json_freep) json_t *body = NULL;
    struct pending *pending;
    struct err err;

    if (master_api_need_state(req) == NULL) {
        return;
    }
    if (httpd_json(req, &body, &err) < 0 || check_key(req, body, &err) < 0 ||
        check_role(who, body, &err) < 0 ||
        keep_records(api, json_object_get(body, "hook_runs"), &err) < 0) {
        httpd_reply_err(req, &err);
        return;
    }
    pending = pending_new(req);
    pending->created = true;
    /* One who may act for everybody may also say for whom. */
    operations_submit(api->options.operations, &pending->request, body,
                      who->role >= HTTPD_OPERATOR ? NULL : who->name, on_answer);
}

void api_post_hook_runs(struct httpd_request *req)
{
    struct master_api *api = httpd_ctx(req);
    CLEANUP(json_freep) json_t *body = NULL;
    json_t *records;
    struct err err;

    if (httpd_json(req, &body, &err) < 0 || json_need_array(body, "records", &records, &err) < 0 ||
        keep_records(api, records, &err) < 0) {
        httpd_reply_err(req, &err);
        return;
    }
    httpd_reply_json_take(req, 200, json_object());
}

/* ---- Looking ---- */

void api_get_operation(struct httpd_request *req)
{
    const struct master_api *api = httpd_ctx(req);
    struct pending *pending;
    int64_t wait_ms;

    if (master_api_need_state(req) == NULL ||
        !master_api_query_int(req, "wait", 0, MAX_WAIT_MS, 0, &wait_ms)) {
        return;
    }
    pending = pending_new(req);
    operations_get(api->options.operations, &pending->request, httpd_param(req, "id"),
                   (uint64_t)wait_ms, on_answer);
}

static const char *const states[] = { "queued",   "running",     "succeeded", "failed",
                                      "canceled", "disappeared", NULL };

static void answer_operations(struct httpd_request *req, struct state *state)
{
    const struct master_api *api = httpd_ctx(req);
    CLEANUP(json_freep) json_t *list = NULL;
    int64_t limit;
    int64_t before;
    const char *wanted;

    if (!master_api_query_word(req, "state", states, &wanted) ||
        !master_api_query_int(req, "limit", 1, MAX_LIMIT, DEFAULT_LIMIT, &limit) ||
        !master_api_query_int(req, "cursor", 0, INT64_MAX, 0, &before)) {
        return;
    }
    list = operations_list(api->options.operations, httpd_query(req, "job"), wanted,
                           (uint64_t)before, (size_t)limit);
    json_put_int(list, "revision", (int64_t)state_revision(state));
    httpd_reply_json_take(req, 200, TAKE(list));
}

void api_get_operations(struct httpd_request *req)
{
    master_api_answer_when_newer(req, answer_operations, MASTER_API_PAUSE_LIST);
}
