/* SPDX-License-Identifier: Apache-2.0 */
/* api_updates: rolling updates as the API shows them, pulses, and what an update would do.
 *
 * Starting and steering one are operations (operations/opcode_update.c); a pulse is not: it is
 * sent every minute by a program, changes nothing by itself and needs no hooks.
 */
#include "master/api/master_api_priv.h"

#include "base/json.h"
#include "base/str.h"
#include "master/updater/updates.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_UPDATES = 1000 };

static struct updates *updates_of(struct httpd_request *req)
{
    const struct master_api *api = httpd_ctx(req);

    return lead_updates(api->lead);
}

/* ---- The list ---- */

/* Is word one of the comma-separated words? */
static bool matches_status(enum update_status status, const char *words)
{
    CLEANUP(strv_freep) char **list = str_split(words, ",");

    for (char **word = list; *word != NULL; word++) {
        if (strcasecmp(*word, update_status_name(status)) == 0 ||
            update_status_in_group(status, *word)) {
            return true;
        }
    }
    return false;
}

static int check_status(const char *words, struct err *err)
{
    CLEANUP(strv_freep) char **list = str_split(words, ",");

    for (char **word = list; *word != NULL; word++) {
        bool known = false;

        for (unsigned i = 0; i < UPDATE_N_STATUS; i++) {
            known = known || matches_status((enum update_status)i, *word);
        }
        if (!known) {
            return err_set(err, ERR_INVALID,
                           "status: '%.50s' is no status of an update, and none "
                           "of active, all, blocked, failed, inactive, paused, succeeded",
                           *word);
        }
    }
    return 0;
}

struct filter {
    struct job_key *patterns;
    size_t n_patterns;
    const char *status, *user, *active;
};

static void filter_fini(struct filter *filter)
{
    for (size_t i = 0; i < filter->n_patterns; i++) {
        job_key_fini(&filter->patterns[i]);
    }
    free(filter->patterns);
}

static int filter_read(struct httpd_request *req, struct filter *filter, struct err *err)
{
    const char *text = httpd_query(req, "job");
    CLEANUP(strv_freep) char **keys = str_split(text != NULL ? text : "*", ",");

    filter->status = httpd_query(req, "status");
    filter->user = httpd_query(req, "user");
    filter->active = httpd_query(req, "active");
    filter->patterns = mem_alloc((strv_len(keys) + 1) * sizeof(filter->patterns[0]));
    for (char **key = keys; *key != NULL; key++) {
        if (job_key_parse_glob(*key, &filter->patterns[filter->n_patterns], err) < 0) {
            return err->code;
        }
        filter->n_patterns++;
    }
    if (filter->status != NULL && check_status(filter->status, err) < 0) {
        return err->code;
    }
    if (filter->active != NULL && strcmp(filter->active, "true") != 0 &&
        strcmp(filter->active, "false") != 0) {
        return err_set(err, ERR_INVALID, "active must be true or false");
    }
    return 0;
}

static bool filter_takes(const struct filter *filter, const struct update *update)
{
    struct job_key key = { 0 };
    struct err err;
    bool takes = false;

    if ((filter->status != NULL && !matches_status(update->status, filter->status)) ||
        (filter->user != NULL && !str_eq(filter->user, update->user)) ||
        (filter->active != NULL &&
         update_status_is_active(update->status) != (strcmp(filter->active, "true") == 0)) ||
        job_key_parse(update->job, &key, &err) < 0) {
        return false;
    }
    for (size_t i = 0; i < filter->n_patterns && !takes; i++) {
        takes = job_key_matches(&filter->patterns[i], &key);
    }
    job_key_fini(&key);
    return takes;
}

static void answer_updates(struct httpd_request *req, struct state *state)
{
    CLEANUP(filter_fini) struct filter filter = { 0 };
    const struct updates *updates = updates_of(req);
    const struct update *update = NULL;
    json_t *next = NULL;
    json_t *items;
    int64_t cursor;
    int64_t limit;
    struct err err;

    if (!master_api_query_int(req, "cursor", 0, INT32_MAX, 0, &cursor) ||
        !master_api_query_int(req, "limit", 1, MAX_UPDATES, MAX_UPDATES, &limit)) {
        return;
    }
    if (filter_read(req, &filter, &err) < 0) {
        httpd_reply_err(req, &err);
        return;
    }
    items = json_array();
    int64_t skip = cursor;
    while ((update = updates_next(updates, update)) != NULL) {
        if (!filter_takes(&filter, update) || skip-- > 0) {
            continue;
        }
        if (json_array_size(items) == (size_t)limit) {
            next = json_sprintf("%" PRId64, cursor + limit);
            break;
        }
        json_array_append_new(items, update_view(update, true));
    }
    master_api_reply_list_take(req, state, items, next);
}

void api_get_updates(struct httpd_request *req)
{
    master_api_answer_when_newer(req, answer_updates, MASTER_API_PAUSE_LIST);
}

/* ---- One ---- */

static void reply_unknown(struct httpd_request *req)
{
    struct err err;

    err_set(&err, ERR_NOTFOUND, "Update does not exist: %.100s", httpd_param(req, "id"));
    httpd_reply_err(req, &err);
}

static void answer_update(struct httpd_request *req, struct state *state)
{
    const struct update *update = updates_find(updates_of(req), httpd_param(req, "id"));
    json_t *view;

    if (update == NULL) {
        reply_unknown(req);
        return;
    }
    view = update_view(update, false);
    json_put_int(view, "revision", (int64_t)state_revision(state));
    httpd_reply_json_take(req, 200, view);
}

void api_get_update(struct httpd_request *req)
{
    master_api_answer_when_newer(req, answer_update, MASTER_API_PAUSE_ONE);
}

/* The owner of a role may pulse that role's updates. */
static int check_owner(struct httpd_request *req, const struct update *update, struct err *err)
{
    const struct httpd_identity *who = httpd_identity(req);
    struct job_key key = { 0 };
    bool allowed = who->role >= HTTPD_OPERATOR;

    if (!allowed && job_key_parse(update->job, &key, err) == 0) {
        allowed = str_eq(key.role, who->role_name);
        job_key_fini(&key);
    }
    if (!allowed) {
        return err_set(err, ERR_DENIED, "%s may not work on job %s", who->name, update->job);
    }
    return 0;
}

void api_post_pulse(struct httpd_request *req)
{
    const struct update *update;
    json_t *doc;
    bool active = false;
    struct err err;

    if (master_api_need_state(req) == NULL) {
        return;
    }
    update = updates_find(updates_of(req), httpd_param(req, "id"));
    if (update == NULL) {
        reply_unknown(req);
        return;
    }
    if (check_owner(req, update, &err) < 0 ||
        updates_pulse(updates_of(req), httpd_param(req, "id"), &active, &err) < 0) {
        httpd_reply_err(req, &err);
        return;
    }
    doc = json_object();
    json_put_str(doc, "status", active ? "OK" : "FINISHED");
    httpd_reply_json_take(req, 200, doc);
}

/* ---- What an update would do ---- */

static int compare_int(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* NULL for all; ascending.  The caller's. */
static int read_only(const json_t *body, int **ret_only, size_t *ret_n, struct err *err)
{
    const json_t *list = json_object_get(body, "instances");
    json_t *item;
    size_t i;

    if (list == NULL || json_is_null(list) || json_array_size(list) == 0) {
        return 0;
    }
    if (json_array_size(list) > JOB_MAX_INSTANCES) {
        return err_set(err, ERR_INVALID, "instances must be at most %d numbers", JOB_MAX_INSTANCES);
    }
    *ret_only = mem_alloc(json_array_size(list) * sizeof(int));
    json_array_foreach((json_t *)list, i, item)
    {
        if (!json_is_integer(item) || json_integer_value(item) < 0 ||
            json_integer_value(item) > INT32_MAX) {
            return err_set(err, ERR_INVALID, "instances must be numbers from 0");
        }
        (*ret_only)[i] = (int)json_integer_value(item);
    }
    *ret_n = json_array_size(list);
    qsort(*ret_only, *ret_n, sizeof(int), compare_int);
    return 0;
}

static void put_kind(json_t *doc, const char *name, const struct diff *diff, enum diff_kind kind)
{
    json_t *list = json_array();

    for (size_t i = 0; i < diff->n; i++) {
        if (diff->instances[i].kind == kind) {
            json_array_append_new(list, json_integer(diff->instances[i].id));
        }
    }
    json_put_take(doc, name, list);
}

/* The configurations of those that would change, each with its instances. */
static json_t *view_from(const struct state_job *job, const struct diff *diff)
{
    json_t *from = json_array();
    const struct state_config *config;

    for (config = job != NULL ? job->configs : NULL; config != NULL; config = config->hh.next) {
        json_t *ids = json_array();
        json_t *entry;

        for (size_t i = 0; i < diff->n; i++) {
            if (diff->instances[i].kind == DIFF_UPDATE &&
                str_eq(diff->instances[i].config, config->job->hash)) {
                json_array_append_new(ids, json_integer(diff->instances[i].id));
            }
        }
        if (json_array_size(ids) == 0) {
            json_decref(ids);
            continue;
        }
        entry = json_object();
        json_put_str(entry, "config", config->job->hash);
        json_put_take(entry, "instances", ids);
        json_put_take(entry, "job", json_incref(config->job->doc));
        json_array_append_new(from, entry);
    }
    return from;
}

static json_t *view_diff(const struct state_job *job, const struct job *config,
                         const struct diff *diff)
{
    json_t *doc = json_object();
    json_t *from = view_from(job, diff);
    const json_t *first = json_object_get(json_array_get(from, 0), "job");

    put_kind(doc, "add", diff, DIFF_ADD);
    put_kind(doc, "remove", diff, DIFF_REMOVE);
    put_kind(doc, "update", diff, DIFF_UPDATE);
    put_kind(doc, "unchanged", diff, DIFF_UNCHANGED);
    json_put_take(doc, "changes", first != NULL ? diff_fields(first, config->doc) : json_object());
    json_put_take(doc, "from", from);
    return doc;
}

static int make_diff(struct httpd_request *req, const struct state *state, json_t **ret_doc,
                     struct err *err)
{
    CLEANUP(json_freep) json_t *body = NULL;
    CLEANUP(job_freep) struct job *config = NULL;
    CLEANUP(mem_freep) int *only = NULL;
    CLEANUP(diff_fini) struct diff diff = { 0 };
    struct diff_scope scope = { 0 };
    json_t *job;

    if (httpd_json(req, &body, err) < 0 || json_need_obj(body, "job", &job, err) < 0 ||
        job_decode(job, &config, err) < 0 || read_only(body, &only, &scope.n, err) < 0) {
        return err->code;
    }
    scope.ids = only;
    if (updates_diff(updates_of(req), config, only != NULL ? &scope : NULL, &diff, err) < 0) {
        return err->code;
    }
    *ret_doc = view_diff(state_job_find(state, config->key_text), config, &diff);
    return 0;
}

void api_post_job_diff(struct httpd_request *req)
{
    const struct state *state = master_api_need_state(req);
    json_t *doc = NULL;
    struct err err;

    if (state == NULL) {
        return;
    }
    if (make_diff(req, state, &doc, &err) < 0) {
        httpd_reply_err(req, &err);
    } else {
        httpd_reply_json_take(req, 200, doc);
    }
}
