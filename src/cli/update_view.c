/* SPDX-License-Identifier: Apache-2.0 */

/* update_view: what the verbs of updates share.
 *
 * The master's document of an update is in docs/architecture.md; what scripts
 * read is the Aurora client's, and made here and in the verbs.
 */

#include "cli/update_view.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/str.h"
#include "cli/operation.h"

#include <stdio.h>
#include <string.h>

enum {
    POLL_MS = 5000,
    PAUSE_MS = 100,
    UNKNOWN_STATUS = 20
}; /* The Aurora client's UNKNOWN_ERROR. */

int update_view_active(struct cli *cli, struct client *client, const char *key, const char *missing,
                       json_t **ret_update, struct err *err)
{
    CLEANUP_BUF path = { 0 };
    CLEANUP(json_freep) json_t *answer = NULL;

    buf_add_text(&path, "/v1/updates");
    client_query(&path, "job", key);
    client_query(&path, "active", "true");
    if (operation_request(cli, client, "GET", buf_text(&path), NULL, &answer, err) < 0) {
        return err_code(err);
    }
    const json_t *items = json_object_get(answer, "items");

    if (json_array_size(items) == 0) {
        return err_set(err, ERR_INVALID, "%s", missing);
    }
    *ret_update = json_incref(json_array_get(items, 0));
    return 0;
}

static int get(struct cli *cli, struct client *client, const char *id, const char *query,
               json_t **ret_update, struct err *err)
{
    CLEANUP_BUF path = { 0 };

    buf_add_text(&path, "/v1/updates");
    client_segment(&path, id);
    buf_add_text(&path, query);
    return operation_request(cli, client, "GET", buf_text(&path), NULL, ret_update, err);
}

int update_view_get(struct cli *cli, struct client *client, const char *key, const char *id,
                    const char *missing, json_t **ret_update, struct err *err)
{
    CLEANUP(json_freep) json_t *update = NULL;

    if (get(cli, client, id, "", &update, err) < 0 && err->code != ERR_NOTFOUND &&
        err->code != ERR_INVALID) {
        return err_code(err);
    }
    if (update == NULL || !str_eq(json_str_or(update, "job", NULL), key)) {
        return err_set(err, ERR_INVALID, "%s", missing);
    }
    *ret_update = TAKE(update);
    return 0;
}

/* Without the key, which was typed just above: all of it is to fit on 80 columns. */
static void show_progress(struct cli *cli, const json_t *update)
{
    const json_t *progress = json_object_get(update, "progress");
    CLEANUP(mem_freep)
    char *message =
        str_printf("%s: %lld done, %lld under way, %lld to come, %lld failed",
                   json_str_or(update, "status", "?"), (long long)json_int_or(progress, "done", 0),
                   (long long)json_int_or(progress, "working", 0),
                   (long long)json_int_or(progress, "waiting", 0),
                   (long long)json_int_or(progress, "failed", 0));

    cli_progress(cli, message);
}

char *update_view_pending(struct cli *cli, struct client *client, const char *key)
{
    CLEANUP_BUF path = { 0 };
    CLEANUP(json_freep) json_t *tasks = NULL;
    const json_t *first = NULL;
    struct err err = { 0 };
    size_t n = 0;
    size_t i;
    json_t *task;

    buf_add_text(&path, "/v1/tasks");
    client_query(&path, "job", key);
    client_query(&path, "active", "true");
    if (cli_request_list(cli, client, buf_text(&path), &tasks, &err) < 0) {
        return NULL;
    }
    json_array_foreach(tasks, i, task)
    {
        if (str_eq(json_str_or(task, "state", NULL), "PENDING")) {
            first = n++ == 0 ? task : first;
        }
    }
    if (first == NULL) {
        return NULL;
    }
    CLEANUP(mem_freep) char *reason = cli_shown(first, "reason", "");
    CLEANUP(mem_freep)
    char *more = n > 1 ? str_printf(", and %zu more", n - 1) : mem_strdup("");

    return str_printf("instance %lld is PENDING%s%s%s",
                      (long long)json_int_or(first, "instance", 0), reason[0] != 0 ? ": " : "",
                      reason, more);
}

/* An update for which nothing has happened for a while may wait for room.  Takes told, what was
 * said of it last, and gives back what that is now. */
static char *tell_pending(struct cli *cli, struct client *client, const char *key, char *told)
{
    char *pending = update_view_pending(cli, client, key);

    if (pending != NULL && !str_eq(pending, told)) {
        cli_progress(cli, NULL);
        (void)fprintf(stderr, " INFO] %s\n", pending);
    }
    if (pending == NULL) {
        return told;
    }
    free(told);
    return pending;
}

/* It goes on only when somebody does something: says what. */
static void tell_held(const char *key, const json_t *update)
{
    const char *status = json_str_or(update, "status", "");
    const json_t *events = json_object_get(update, "events");
    const json_t *last = json_array_get(events, json_array_size(events) - 1);
    CLEANUP(mem_freep) char *message = cli_shown(last, "message", "");
    bool paused = strstr(status, "_PAUSED") != NULL;

    if (paused || strstr(status, "_AWAITING_PULSE") != NULL) {
        (void)fprintf(stderr, " INFO] %s%sIt goes on after 'davit update %s %s'\n", message,
                      message[0] != 0 ? " " : "", paused ? "resume" : "pulse", key);
    }
}

int update_view_follow(struct cli *cli, struct client *client, const char *key, const char *id,
                       json_t **ret_update, struct err *err)
{
    CLEANUP(json_freep) json_t *update = NULL;
    CLEANUP(mem_freep) char *said = NULL;
    CLEANUP(mem_freep) char *query = mem_strdup("");
    CLEANUP(mem_freep) char *pending = NULL;
    int64_t revision = -1;

    for (;;) {
        json_t *next = NULL;

        if (get(cli, client, id, query, &next, err) < 0) {
            cli_progress(cli, NULL);
            return err_wrap(err, "update %s cannot be followed", id);
        }
        json_decref(update);
        update = next;
        CLEANUP(mem_freep) char *status = cli_shown(update, "status", "?");

        cli_note_interrupt("the update goes on; see 'davit update wait %s'", key);
        if (!cli->json && !str_eq(status, said)) {
            if (cli->terminal) {
                cli_progress(cli, NULL);
            }
            (void)printf("Current state %s\n", status);
            (void)fflush(stdout);
            tell_held(key, update);
            free(said);
            said = mem_strdup(status);
        }
        if (!json_bool_or(update, "active", false)) {
            cli_progress(cli, NULL);
            cli_note_interrupt(NULL);
            *ret_update = TAKE(update);
            return 0;
        }
        if (json_int_or(update, "revision", 0) == revision) {
            pending = tell_pending(cli, client, key, pending);
        }
        if (cli->terminal) {
            show_progress(cli, update);
        }
        cli_pause(cli, PAUSE_MS); /* In a busy cluster every answer is a new one. */
        revision = json_int_or(update, "revision", 0);
        free(query);
        query = str_printf("?since=%lld&wait=%d", (long long)revision, POLL_MS);
    }
}

int update_view_verdict(const struct cli *cli, const json_t *update, const char *good,
                        const char *bad)
{
    const char *status = json_str_or(update, "status", "?");
    const json_t *failure = json_object_get(update, "latest_failure");
    CLEANUP(mem_freep) char *reason = cli_shown(failure, "reason", "");

    if (cli->json) {
        CLEANUP(json_freep) json_t *doc = update_view_json(update);

        cli_print_json(doc);
    }
    if (strcmp(status, good) == 0) {
        return 0;
    }
    if (json_is_object(failure)) {
        (void)fprintf(stderr, "Latest failure: instance %lld %s\n",
                      (long long)json_int_or(failure, "instance", -1), reason);
    }
    return strcmp(status, bad) == 0 ? err_exit_status(ERR_FAILED) : UNKNOWN_STATUS;
}

static json_t *events_json(const json_t *update)
{
    json_t *events = json_array();
    size_t i;
    json_t *event;

    json_array_foreach(json_object_get(update, "events"), i, event)
    {
        json_t *shown = json_object();

        json_put_str(shown, "status", json_str_or(event, "status", "?"));
        json_put_int(shown, "timestampMs", json_int_or(event, "time_ms", 0));
        json_put_str(shown, "message", json_str_or(event, "message", NULL));
        (void)json_array_append_new(events, shown);
    }
    return events;
}

static json_t *instance_events_json(const json_t *update)
{
    json_t *events = json_array();
    size_t i;
    json_t *event;

    json_array_foreach(json_object_get(update, "instance_events"), i, event)
    {
        json_t *shown = json_object();

        json_put_int(shown, "instance", json_int_or(event, "instance", -1));
        json_put_int(shown, "timestamp", json_int_or(event, "time_ms", 0));
        json_put_str(shown, "action", json_str_or(event, "action", "?"));
        (void)json_array_append_new(events, shown);
    }
    return events;
}

static json_t *metadata_json(const json_t *update)
{
    json_t *metadata = json_array();
    size_t i;
    json_t *item;

    json_array_foreach(json_object_get(update, "metadata"), i, item)
    {
        json_t *shown = json_object();

        json_put_str(shown, json_str_or(item, "key", ""), json_str_or(item, "value", ""));
        (void)json_array_append_new(metadata, shown);
    }
    return metadata;
}

json_t *update_view_json(const json_t *update)
{
    const json_t *failure = json_object_get(update, "latest_failure");
    json_t *doc = json_object();
    char modified[UPDATE_VIEW_TIME_SIZE];

    update_view_time(json_int_or(update, "modified_ms", 0), modified);
    json_put_str(doc, "updateId", json_str_or(update, "id", "?"));
    json_put_str(doc, "job", json_str_or(update, "job", "?"));
    json_put_int(doc, "started", json_int_or(update, "created_ms", 0));
    json_put_str(doc, "last_modified", modified);
    json_put_str(doc, "status", json_str_or(update, "status", "?"));
    json_put_take(doc, "update_events", events_json(update));
    json_put_take(doc, "instance_update_events", instance_events_json(update));
    json_put_take(doc, "metadata", metadata_json(update));
    if (json_is_object(failure)) {
        json_put_take(doc, "latest_failure", json_incref((json_t *)failure));
    }
    return doc;
}

char *update_view_url(const struct cli *cli, const struct cli_key *key, const char *id)
{
    CLEANUP(mem_freep) char *job = cli_job_url(cli, key);

    return str_printf("%s/update/%s", job, id);
}

void update_view_time(int64_t wall_ms, char *ret)
{
    char utc[CLOCK_UTC_SIZE];

    clock_format_utc((uint64_t)(wall_ms > 0 ? wall_ms : 0), utc);
    (void)snprintf(ret, UPDATE_VIEW_TIME_SIZE, "%.*s", UPDATE_VIEW_TIME_SIZE - 1, utc);
}
