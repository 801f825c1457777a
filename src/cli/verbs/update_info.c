/* SPDX-License-Identifier: Apache-2.0 */

/* davit update info: one update, what it did and why it failed.
 */

#include "base/buf.h"
#include "base/json.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/update_view.h"
#include "cli/verbs.h"

#include <stdio.h>

static void print_events(const json_t *update)
{
    char when[UPDATE_VIEW_TIME_SIZE];
    size_t i;
    json_t *event;

    (void)printf("Update events:\n");
    json_array_foreach(json_object_get(update, "events"), i, event)
    {
        CLEANUP(mem_freep) char *message = cli_shown(event, "message", "");
        CLEANUP(mem_freep) char *status = cli_shown(event, "status", "?");

        update_view_time(json_int_or(event, "time_ms", 0), when);
        (void)printf("  Status: %s at %s\n", status, when);
        if (message[0] != 0) {
            (void)printf("      message: %s\n", message);
        }
    }
}

static void print_instance_events(const json_t *update)
{
    char when[UPDATE_VIEW_TIME_SIZE];
    size_t i;
    json_t *event;

    if (json_array_size(json_object_get(update, "instance_events")) == 0) {
        return;
    }
    (void)printf("Instance events:\n");
    json_array_foreach(json_object_get(update, "instance_events"), i, event)
    {
        CLEANUP(mem_freep) char *action = cli_shown(event, "action", "?");

        update_view_time(json_int_or(event, "time_ms", 0), when);
        (void)printf("  Instance %lld at %s: %s\n", (long long)json_int_or(event, "instance", -1),
                     when, action);
    }
}

static void print_metadata(const json_t *update)
{
    size_t i;
    json_t *item;

    if (json_array_size(json_object_get(update, "metadata")) == 0) {
        return;
    }
    (void)printf("Metadata:\n");
    json_array_foreach(json_object_get(update, "metadata"), i, item)
    {
        CLEANUP(mem_freep) char *key = cli_shown(item, "key", "");
        CLEANUP(mem_freep) char *value = cli_shown(item, "value", "");

        (void)printf("  %s: %s\n", key, value);
    }
}

/* pending: NULL, or what it waits for. */
static void print_update(const json_t *update, const char *pending)
{
    const json_t *failure = json_object_get(update, "latest_failure");
    CLEANUP(mem_freep) char *job = cli_shown(update, "job", "?");
    CLEANUP(mem_freep) char *id = cli_shown(update, "id", "?");
    CLEANUP(mem_freep) char *status = cli_shown(update, "status", "?");
    char started[UPDATE_VIEW_TIME_SIZE], modified[UPDATE_VIEW_TIME_SIZE];

    update_view_time(json_int_or(update, "created_ms", 0), started);
    update_view_time(json_int_or(update, "modified_ms", 0), modified);
    (void)printf("Job: %s, UpdateID: %s\n", job, id);
    (void)printf("Started %s, last activity: %s\n", started, modified);
    (void)printf("Current status: %s\n", status);
    if (json_is_object(failure)) {
        CLEANUP(mem_freep) char *reason = cli_shown(failure, "reason", "");

        (void)printf("Latest failure: instance %lld %s\n",
                     (long long)json_int_or(failure, "instance", -1), reason);
    }
    if (pending != NULL) {
        (void)printf("Waiting: %s\n", pending);
    }
    print_events(update);
    print_instance_events(update);
    print_metadata(update);
}

static int run_update_info(struct verb_call *call, struct err *err)
{
    CLEANUP(cli_key_fini) struct cli_key key = { 0 };
    CLEANUP(mem_freep) char *text = NULL;
    CLEANUP(mem_freep) char *missing = NULL;
    CLEANUP(json_freep) json_t *active = NULL;
    CLEANUP(json_freep) json_t *update = NULL;
    const char *id = call->n_operands > 1 ? call->operands[1] : NULL;
    struct client *client = NULL;

    if (cli_key_parse(call->operands[0], &key, err) < 0 ||
        cli_client(call->cli, key.cluster, &client, err) < 0) {
        return err_code(err);
    }
    text = cli_key_text(&key);
    if (id == NULL) {
        if (update_view_active(call->cli, client, text, "There is no active update for this job.",
                               &active, err) < 0) {
            return err_code(err);
        }
        id = json_str_or(active, "id", "");
    }
    missing = str_printf("There is no update for key: %s/%s", text, id);
    if (update_view_get(call->cli, client, text, id, missing, &update, err) < 0) {
        return err_code(err);
    }
    if (call->cli->json) {
        CLEANUP(json_freep) json_t *doc = update_view_json(update);

        cli_print_json(doc);
    } else {
        CLEANUP(mem_freep)
        char *pending = json_bool_or(update, "active", false)
                            ? update_view_pending(call->cli, client, text)
                            : NULL;

        print_update(update, pending);
    }
    return 0;
}

const struct verb verb_update_info = {
    .noun = "update",
    .name = "info",
    .operands = "CLUSTER/ROLE/ENV/NAME [ID]",
    .min_operands = 1,
    .max_operands = 2,
    .summary = "Show an update (the active one): its states, its instances, why it failed.",
    .details = "Exit 6: there is no such update.",
    .json = true,
    .run = run_update_info,
};
