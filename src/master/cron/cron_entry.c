/* SPDX-License-Identifier: Apache-2.0 */

/* cron_entry: a scheduled job as a value: from and to its document, and to what the API shows.
 * Reads the time zone's file when it is decoded, else pure. */

#include "master/cron/cron_entry.h"

#include "base/json.h"
#include "base/str.h"
#include "master/cron/cron_next.h"

enum { VERSION = 1 };

char *cron_entry_name(const struct job_key *key)
{
    return str_printf("%s:%s:%s", key->role, key->env, key->name);
}

void cron_entry_free(struct cron_entry *entry)
{
    job_free(entry->config);
    cron_plan_fini(&entry->plan);
    free(entry->error);
    free(entry->user);
    free(entry->op_id);
    free(entry->launched_op);
    free(entry->pending_op);
    free(entry);
}

static void put_time(json_t *doc, const char *name, int64_t value)
{
    if (value != 0) {
        json_put_int(doc, name, value);
    }
}

json_t *cron_entry_encode(const struct cron_entry *entry)
{
    json_t *doc = json_object();

    json_put_int(doc, "v", VERSION);
    json_put_str(doc, "key", entry->config->key_text);
    json_put_take(doc, "job", json_incref(entry->config->doc));
    json_put_str(doc, "user", entry->user);
    json_put_str(doc, "op_id", entry->op_id);
    json_put_int(doc, "created_ms", entry->created_ms);
    json_put_int(doc, "last_ms", entry->last_ms);
    put_time(doc, "missed_ms", entry->missed_ms);
    put_time(doc, "ignored_ms", entry->ignored_ms);
    put_time(doc, "launched_ms", entry->launched_ms);
    json_put_str(doc, "launched_op", entry->launched_op);
    if (entry->pending_op != NULL) {
        json_put_str(doc, "pending_op", entry->pending_op);
        json_put_int(doc, "pending_ms", entry->pending_ms);
        json_put_int(doc, "n_pending", entry->n_pending);
    }
    return doc;
}

void cron_entry_set_next(struct cron_entry *entry)
{
    int64_t next = entry->error == NULL
                       ? cron_next(&entry->plan.expr, entry->plan.tz, entry->last_ms / 1000)
                       : CRON_NEVER;

    entry->next_ms = next == CRON_NEVER ? INT64_MAX : next * 1000;
}

int cron_entry_decode(const json_t *doc, struct cron_entry **ret_entry, struct err *err)
{
    struct job *config = NULL;
    struct cron_entry *entry;
    struct err unread;

    if (job_decode_trusted(json_object_get(doc, "job"), &config, err) < 0) {
        return err_code(err);
    }
    entry = mem_alloc(sizeof(*entry));
    entry->config = config;
    if (cron_plan_read(config, &entry->plan, &unread) < 0) {
        entry->error = mem_strdup(unread.msg);
    }
    entry->user = mem_strdup(json_str_or(doc, "user", "cron"));
    entry->op_id = mem_strdup(json_str_or(doc, "op_id", ""));
    entry->created_ms = json_int_or(doc, "created_ms", 0);
    entry->last_ms = json_int_or(doc, "last_ms", 0);
    entry->missed_ms = json_int_or(doc, "missed_ms", 0);
    entry->ignored_ms = json_int_or(doc, "ignored_ms", 0);
    entry->launched_ms = json_int_or(doc, "launched_ms", 0);
    entry->launched_op = mem_strdup_opt(json_str_or(doc, "launched_op", NULL));
    entry->pending_op = mem_strdup_opt(json_str_or(doc, "pending_op", NULL));
    entry->pending_ms = json_int_or(doc, "pending_ms", 0);
    entry->n_pending = json_int_or(doc, "n_pending", 0);
    cron_entry_set_next(entry);
    *ret_entry = entry;
    return 0;
}

static json_t *show_times(const struct cron_entry *entry, int64_t now_ms, size_t n)
{
    json_t *times = json_array();
    int64_t at = now_ms / 1000;

    if (at < entry->last_ms / 1000) {
        at = entry->last_ms / 1000;
    }
    while (entry->error == NULL && json_array_size(times) < n) {
        json_t *time = json_object();
        char text[TZ_TEXT_SIZE];

        at = cron_next(&entry->plan.expr, entry->plan.tz, at);
        if (at == CRON_NEVER) {
            json_decref(time);
            break;
        }
        tz_format(entry->plan.tz, at, text);
        json_put_int(time, "time_ms", at * 1000);
        json_put_str(time, "local", text);
        json_array_append_new(times, time);
    }
    return times;
}

json_t *cron_entry_show(const struct cron_entry *entry, int64_t now_ms, size_t n)
{
    json_t *doc = json_object();

    json_put_str(doc, "key", entry->config->key_text);
    json_put_str(doc, "schedule", entry->config->cron_schedule);
    json_put_str(doc, "error", entry->error);
    if (entry->error == NULL) {
        json_put_str(doc, "timezone", tz_name(entry->plan.tz));
        json_put_str(doc, "policy", cron_plan_policy(&entry->plan));
    }
    json_put_str(doc, "user", entry->user);
    json_put_str(doc, "op_id", entry->op_id);
    json_put_str(doc, "config", entry->config->hash);
    json_put_int(doc, "instances", entry->config->instances);
    json_put_int(doc, "created_ms", entry->created_ms);
    json_put_int(doc, "last_ms", entry->last_ms);
    if (entry->next_ms != INT64_MAX) {
        json_put_int(doc, "next_ms", entry->next_ms);
    }
    put_time(doc, "missed_ms", entry->missed_ms);
    put_time(doc, "ignored_ms", entry->ignored_ms);
    put_time(doc, "launched_ms", entry->launched_ms);
    json_put_str(doc, "launched_op", entry->launched_op);
    json_put_str(doc, "pending_op", entry->pending_op);
    if (n > 0) {
        json_put_take(doc, "next", show_times(entry, now_ms, n));
    }
    return doc;
}
