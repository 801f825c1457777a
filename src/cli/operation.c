/* SPDX-License-Identifier: Apache-2.0 */

/* operation: asks the master for one operation and follows it to its end.
 *
 * A connection that breaks after the request was sent is repeated with the same
 * id: the master answers the operation it already has, so nothing happens twice.
 */

#include "cli/operation.h"

#include "base/buf.h"
#include "base/id.h"
#include "base/json.h"
#include "base/str.h"

#include <pwd.h>
#include <stdio.h>
#include <string.h>

enum { WAIT_MS = 30000, SHOWN_WAIT_MS = 2000, RETRIES = 20, RETRY_MS = 500 };

void operation_init(struct operation *operation)
{
    *operation = (struct operation){ 0 };
    id_uuid(operation->id);
}

void operation_fini(struct operation *operation)
{
    json_decref(operation->hook_runs);
    json_decref(operation->record);
    *operation = (struct operation){ 0 };
}

static const char *user_name(void)
{
    const struct passwd *pw = getpwuid(getuid());

    return pw != NULL ? pw->pw_name : "unknown";
}

int operation_request(struct cli *cli, struct client *client, const char *method, const char *path,
                      const json_t *body, json_t **ret_result, struct err *err)
{
    for (int attempt = 1;; attempt++) {
        struct err now = { 0 };

        if (cli_request_once(cli, client, method, path, body, ret_result, &now) == 0) {
            return 0;
        }
        bool passing =
            now.code == ERR_UNREACHABLE || now.code == ERR_EOF || now.code == ERR_NOTLEADER;

        if (!passing || attempt == RETRIES) {
            *err = now;
            return err_code(err);
        }
        cli_progress(cli, "the master cannot be reached, trying again");
        cli_pause(cli, RETRY_MS);
    }
}

bool operation_is_over(const json_t *record)
{
    const char *state = json_str_or(record, "state", "queued");

    return strcmp(state, "queued") != 0 && strcmp(state, "running") != 0;
}

int operation_verdict(const json_t *record, struct err *err)
{
    const char *state = json_str_or(record, "state", "");
    size_t i;
    json_t *opcode;

    if (strcmp(state, "succeeded") == 0) {
        return 0;
    }
    json_array_foreach(json_object_get(record, "opcodes"), i, opcode)
    {
        const char *error = json_str_or(opcode, "error", NULL);

        if (error != NULL) {
            /* Named when one of its pre hooks said no. */
            bool refused = json_str_or(opcode, "hook", NULL) != NULL;

            return err_set(err, refused ? ERR_REFUSED : ERR_FAILED, "%s", error);
        }
    }
    return err_set(err, ERR_FAILED, "operation %lld %s%s; see 'davit op show %lld'",
                   (long long)json_int_or(record, "number", 0), state,
                   strcmp(state, "disappeared") == 0
                       ? ": its process or its master died in the middle, what it did stays done"
                       : "",
                   (long long)json_int_or(record, "number", 0));
}

/* What it is about, and the last it wrote into its log. */
static char *progress_of(const json_t *record, const char *what)
{
    const json_t *opcodes = json_object_get(record, "opcodes");
    const char *said = NULL;
    size_t i;
    json_t *opcode;

    json_array_foreach(opcodes, i, opcode)
    {
        const json_t *log = json_object_get(opcode, "log");
        size_t n = json_array_size(log);

        said = n > 0 ? json_str_or(json_array_get(log, n - 1), "message", NULL) : said;
    }
    CLEANUP(mem_freep) char *shown = str_escape(said != NULL ? said : "");

    return str_printf("%s: operation %lld is %s%s%s", what,
                      (long long)json_int_or(record, "number", 0),
                      json_str_or(record, "state", "queued"), said != NULL ? ": " : "", shown);
}

/* Operations of one job wait for each other, and the other may take long.  Says so on a line of
 * its own, once; true when there is nothing more to say. */
static bool tell_behind(struct cli *cli, struct client *client, const json_t *record)
{
    const json_t *opcode = json_array_get(json_object_get(record, "opcodes"), 0);
    long long number = json_int_or(record, "number", 0);
    CLEANUP_BUF path = { 0 };
    CLEANUP(json_freep) json_t *answer = NULL;
    struct err err = { 0 };

    if (strcmp(json_str_or(record, "state", ""), "queued") != 0 ||
        json_str_or(opcode, "job", NULL) == NULL) {
        return true;
    }
    buf_add_text(&path, "/v1/operations");
    client_query(&path, "job", json_str_or(opcode, "job", NULL));
    client_query(&path, "state", "running");
    client_query(&path, "limit", "1");
    if (cli_request(cli, client, "GET", buf_text(&path), NULL, &answer, &err) < 0) {
        return true; /* Whoever follows will hear of it. */
    }
    const json_t *other = json_array_get(json_object_get(answer, "items"), 0);

    if (other == NULL) {
        return false;
    }
    const json_t *first = json_array_get(json_object_get(other, "opcodes"), 0);
    CLEANUP(mem_freep) char *op = cli_shown(first, "op", "?");

    cli_progress(cli, NULL);
    (void)fprintf(stderr,
                  " INFO] operation %lld waits for operation %lld (%s), which works on the same "
                  "job\n",
                  number, (long long)json_int_or(other, "number", 0), op);
    return true;
}

int operation_follow(struct cli *cli, struct client *client, json_t **record, const char *what,
                     struct err *err)
{
    long long number = json_int_or(*record, "number", 0);
    bool told = false;
    int wait_ms = SHOWN_WAIT_MS;

    while (!operation_is_over(*record)) {
        CLEANUP(mem_freep) char *message = progress_of(*record, what);
        CLEANUP(mem_freep)
        char *path =
            str_printf("/v1/operations/%s?wait=%d", json_str_or(*record, "id", ""), wait_ms);
        json_t *next = NULL;

        cli_note_interrupt("operation %lld goes on; see 'davit op wait %lld'", number, number);
        cli_progress(cli, message);
        if (operation_request(cli, client, "GET", path, NULL, &next, err) < 0) {
            cli_progress(cli, NULL);
            return err_wrap(err, "operation %lld was accepted, but cannot be followed", number);
        }
        json_decref(*record);
        *record = next;
        told = told || tell_behind(cli, client, *record);
        if (told && !cli->terminal) {
            wait_ms = WAIT_MS; /* Nobody looks on who wants to see how far it is. */
        }
    }
    cli_progress(cli, NULL);
    cli_note_interrupt(NULL);
    return 0;
}

int operation_start(struct cli *cli, struct client *client, struct operation *operation,
                    json_t *opcode, struct err *err)
{
    CLEANUP(json_freep) json_t *body = json_object();
    json_t *opcodes = json_is_array(opcode) ? opcode : json_array();

    if (opcodes != opcode) {
        (void)json_array_append_new(opcodes, opcode);
    }
    json_put_str(body, "id", operation->id);
    json_put_str(body, "user", user_name());
    json_put_take(body, "opcodes", opcodes);
    if (operation->hook_runs != NULL) {
        json_put_take(body, "hook_runs", json_incref(operation->hook_runs));
    }
    return operation_request(cli, client, "POST", "/v1/operations", body, &operation->record, err);
}

int operation_run(struct cli *cli, struct client *client, struct operation *operation,
                  json_t *opcode, const char *what, struct err *err)
{
    if (operation_start(cli, client, operation, opcode, err) < 0 ||
        operation_follow(cli, client, &operation->record, what, err) < 0) {
        return err_code(err);
    }
    return operation_verdict(operation->record, err);
}
