/* SPDX-License-Identifier: Apache-2.0 */

/* davit update list: updates of a cluster, a role, an environment or a job.
 */

#include "base/buf.h"
#include "base/json.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/update_view.h"
#include "cli/verbs.h"

#include <stdio.h>
#include <string.h>

#define STATUS_WORDS                                                                        \
    "active|all|blocked|failed|inactive|paused|succeeded|ROLLING_FORWARD|ROLLING_BACK|"     \
    "ROLL_FORWARD_PAUSED|ROLL_BACK_PAUSED|ROLLED_FORWARD|ROLLED_BACK|ABORTED|ERROR|FAILED|" \
    "ROLL_FORWARD_AWAITING_PULSE|ROLL_BACK_AWAITING_PULSE"

static const struct verb_option options[] = {
    { "status", 0, ARGS_LIST, STATUS_WORDS, "only updates in this state or group (repeatable)",
      NULL, 0, 0 },
    { "user", 0, ARGS_TEXT, "USER", "only updates that this user started", NULL, 0, 0 },
    { 0 },
};

/* The words by commas; NULL for none.  ERR_USAGE for an unknown one. */
static int join_status(const struct verb_call *call, char **ret_words, struct err *err)
{
    char **words = verb_list(call, "status");
    struct buf joined = { 0 };

    for (size_t i = 0; words != NULL && words[i] != NULL; i++) {
        CLEANUP(mem_freep) char *with_bars = str_printf("|%s|", words[i]);

        if (strchr(words[i], '|') != NULL || strstr("|" STATUS_WORDS "|", with_bars) == NULL) {
            buf_fini(&joined);
            return err_set(err, ERR_USAGE, "argument --status: invalid choice: '%s'", words[i]);
        }
        buf_addf(&joined, "%s%s", i > 0 ? "," : "", words[i]);
    }
    *ret_words = joined.len > 0 ? buf_take(&joined) : NULL;
    buf_fini(&joined);
    return 0;
}

struct row {
    char started[UPDATE_VIEW_TIME_SIZE], modified[UPDATE_VIEW_TIME_SIZE];
    const char *job, *id, *status, *user;
};

static struct row row_of(const json_t *update)
{
    struct row row = {
        .job = json_str_or(update, "job", "?"),
        .id = json_str_or(update, "id", "?"),
        .status = json_str_or(update, "status", "?"),
        .user = json_str_or(update, "user", "-"),
    };

    update_view_time(json_int_or(update, "created_ms", 0), row.started);
    update_view_time(json_int_or(update, "modified_ms", 0), row.modified);
    return row;
}

/* The widths that scripts cut by. */
static void print_line(const char *job, const char *id, const char *status, const char *user,
                       const char *started, const char *modified)
{
    (void)printf("%-47s %-36s %-15s %-11s %-19s %s\n", job, id, status, user, started, modified);
}

static void print_text(const json_t *items)
{
    size_t i;
    json_t *update;

    if (json_array_size(items) > 0) {
        print_line("JOB", "UPDATE ID", "STATUS", "CREATED BY", "STARTED", "LAST MODIFIED");
    }
    json_array_foreach(items, i, update)
    {
        struct row row = row_of(update);
        CLEANUP(mem_freep) char *job = str_escape(row.job);
        CLEANUP(mem_freep) char *id = str_escape(row.id);
        CLEANUP(mem_freep) char *status = str_escape(row.status);
        CLEANUP(mem_freep) char *user = str_escape(row.user);

        print_line(job, id, status, user, row.started, row.modified);
    }
}

static void print_json(const json_t *items)
{
    CLEANUP(json_freep) json_t *shown = json_array();
    size_t i;
    json_t *update;

    json_array_foreach(items, i, update)
    {
        struct row row = row_of(update);

        (void)json_array_append_new(shown, json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "job",
                                                     row.job, "id", row.id, "user", row.user,
                                                     "started", row.started, "last_modified",
                                                     row.modified, "status", row.status));
    }
    cli_print_json(shown);
}

static int run_update_list(struct verb_call *call, struct err *err)
{
    CLEANUP(cli_key_fini) struct cli_key key = { 0 };
    CLEANUP(mem_freep) char *text = NULL;
    CLEANUP(mem_freep) char *status = NULL;
    CLEANUP_BUF path = { 0 };
    CLEANUP(json_freep) json_t *items = NULL;
    struct client *client = NULL;

    if (join_status(call, &status, err) < 0 || cli_wild_parse(call->operands[0], &key, err) < 0 ||
        cli_client(call->cli, key.cluster, &client, err) < 0) {
        return err_code(err);
    }
    text = cli_key_text(&key);
    buf_add_text(&path, "/v1/updates");
    client_query(&path, "job", text);
    client_query(&path, "status", status);
    client_query(&path, "user", verb_text(call, "user"));
    if (cli_request_list(call->cli, client, buf_text(&path), &items, err) < 0) {
        return err_code(err);
    }
    if (call->cli->json) {
        print_json(items);
    } else {
        print_text(items);
    }
    return 0;
}

const struct verb verb_update_list = {
    .noun = "update",
    .name = "list",
    .operands = "CLUSTER[/ROLE[/ENV[/NAME]]]",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "List updates, the newest first.",
    .details =
        "Groups of --status: active, all, blocked (awaiting a pulse), failed (ERROR, FAILED,\n"
        "ROLLED_BACK), inactive, paused, succeeded (ROLLED_FORWARD).",
    .options = options,
    .json = true,
    .run = run_update_list,
};
