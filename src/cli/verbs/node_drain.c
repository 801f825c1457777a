/* SPDX-License-Identifier: Apache-2.0 */

/* davit node drain: takes machines out of service, moving what runs there within SLA.
 *
 * First one operation that marks all of them (OP_NODE_SET_PARAMS each), so that nothing moves
 * from one to another; then one OP_NODE_EVACUATE each; then it waits for the nodes, not
 * for the operations: the master drains on whatever becomes of them, or of us.
 */

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/operation.h"
#include "cli/verbs.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { MAX_SLA_SECS = 7200, MAX_DEADLINE_S = 366 * 24 * 3600, WAIT_MS = 1000 };

static const struct verb_option options[] = {
    { "cluster", 'c', ARGS_TEXT, "NAME", "the cluster (default: the only one known)", NULL, 0, 0 },
    { "deadline", 0, ARGS_TEXT, "DURATION", "then what is left goes at once (7d)", "7d", 0, 0 },
    { "percentage", 0, ARGS_TEXT, "P",
      "SLA of jobs without a policy: so many instances stay up (95)", "95", 0, 0 },
    { "duration", 0, ARGS_TEXT, "DURATION", "... and count as up after so long (30m)", "30m", 0,
      0 },
    { "reason", 'm', ARGS_TEXT, "TEXT", "why, for hooks and 'davit node show'", NULL, 0, 0 },
    { "no-wait", 0, ARGS_FLAG, NULL, "return once the drain has begun", NULL, 0, 0 },
    { 0 },
};

struct draining {
    struct verb_call *call;
    struct client *client;
    struct operation *operations; /* One a node. */
    bool *checked;                /* Its operation is over, and that was well. */
    double percentage;
    int64_t deadline_ms, duration_secs;
};

/* "7d", "1h30m", "90s", "90": seconds. */
static int parse_seconds(const char *option, const char *text, int64_t max, int64_t *ret_secs,
                         struct err *err)
{
    static const struct {
        char name;
        int64_t secs;
    } units[] = { { 'd', 86400 }, { 'h', 3600 }, { 'm', 60 }, { 's', 1 } };
    const char *at = text;
    int64_t total = 0;
    size_t unit = 0;

    while (*at != '\0' && total <= max) {
        int64_t count = 0;
        const char *digits = at;

        while (isdigit((unsigned char)*at) && count <= max) {
            count = count * 10 + (*at++ - '0');
        }
        if (*at == '\0' && digits == text && at > digits) {
            total = count; /* A bare number. */
            break;
        }
        while (unit < 4 && units[unit].name != *at) {
            unit++;
        }
        if (at == digits || unit == 4) {
            return err_set(err, ERR_USAGE, "--%s %.40s: expected a duration such as 7d or 1h30m",
                           option, text);
        }
        total += count * units[unit++].secs;
        at++;
    }
    if (text[0] == '\0' || total > max) {
        return err_set(err, ERR_USAGE, "--%s %.40s: at most %" PRId64 " seconds", option, text,
                       max);
    }
    *ret_secs = total;
    return 0;
}

static int read_options(struct draining *draining, struct err *err)
{
    const char *text = verb_text(draining->call, "percentage");
    char *end;
    int64_t seconds;

    if (parse_seconds("deadline", verb_text(draining->call, "deadline"), MAX_DEADLINE_S, &seconds,
                      err) < 0 ||
        parse_seconds("duration", verb_text(draining->call, "duration"), MAX_SLA_SECS,
                      &draining->duration_secs, err) < 0) {
        return err_code(err);
    }
    draining->deadline_ms = seconds * 1000;
    draining->percentage = strtod(text, &end);
    if (end == text || *end != '\0' || !(draining->percentage >= 0) || draining->percentage > 100) {
        return err_set(err, ERR_USAGE, "--percentage %.40s: expected a number from 0 to 100", text);
    }
    return 0;
}

static json_t *opcode_of(const struct draining *draining, const char *op, const char *node)
{
    json_t *opcode = json_object();

    json_put_str(opcode, "op", op);
    json_put_str(opcode, "node", node);
    json_put_str(opcode, "reason", verb_text(draining->call, "reason"));
    return opcode;
}

/* All of them take nothing new before the first gives anything away. */
static int mark(struct draining *draining, struct err *err)
{
    struct cli *cli = draining->call->cli;
    struct operation operation;
    json_t *opcodes = json_array();
    int code;

    for (char **node = draining->call->operands; *node != NULL; node++) {
        json_t *opcode = opcode_of(draining, "OP_NODE_SET_PARAMS", *node);

        json_put_str(opcode, "mode", "cordoned");
        json_put_bool(opcode, "drain", true);
        (void)json_array_append_new(opcodes, opcode);
    }
    operation_init(&operation);
    code = operation_run(cli, draining->client, &operation, opcodes, "cordoning", err);
    operation_fini(&operation);
    return code;
}

static int begin(struct draining *draining, struct err *err)
{
    for (int i = 0; i < draining->call->n_operands; i++) {
        json_t *opcode = opcode_of(draining, "OP_NODE_EVACUATE", draining->call->operands[i]);

        json_put_int(opcode, "timeout_ms", draining->deadline_ms);
        json_put_num(opcode, "percentage", draining->percentage);
        json_put_int(opcode, "duration_secs", draining->duration_secs);
        if (operation_start(draining->call->cli, draining->client, &draining->operations[i], opcode,
                            err) < 0) {
            return err_wrap(err, "draining %s", draining->call->operands[i]);
        }
    }
    return 0;
}

static const json_t *find(const json_t *nodes, const char *name)
{
    json_t *node;
    size_t i;

    json_array_foreach(nodes, i, node)
    {
        if (str_eq(json_str_or(node, "name", NULL), name)) {
            return node;
        }
    }
    return NULL;
}

static int look_again(struct draining *draining, struct operation *operation, struct err *err)
{
    CLEANUP(mem_freep) char *path = str_printf("/v1/operations/%s", operation->id);
    json_t *next = NULL;

    if (operation_request(draining->call->cli, draining->client, "GET", path, NULL, &next, err) <
        0) {
        return err_code(err);
    }
    json_decref(operation->record);
    operation->record = next;
    return 0;
}

/* Has the operation begun the drain, or said why not?  *ret_begun: the drain is under way. */
static int look_at_operation(struct draining *draining, int i, const json_t *node, bool *ret_begun,
                             struct err *err)
{
    struct operation *operation = &draining->operations[i];
    bool ours = str_eq(json_str_or(json_object_get(node, "drain"), "op_id", NULL), operation->id);

    *ret_begun = ours || draining->checked[i];
    if (draining->checked[i]) {
        return 0;
    }
    if (look_again(draining, operation, err) < 0) {
        return err_code(err);
    }
    if (!operation_is_over(operation->record)) {
        return 0;
    }
    draining->checked[i] = true;
    *ret_begun = true;
    /* A master that died meanwhile drains on: the node's word counts. */
    if (!ours && operation_verdict(operation->record, err) < 0) {
        return err_wrap(err, "draining %s", draining->call->operands[i]);
    }
    return 0;
}

struct progress {
    int drained, begun;
    int64_t left, waiting, asking;
};

static int look_at_node(struct draining *draining, int i, const json_t *nodes,
                        struct progress *progress, struct err *err)
{
    const char *name = draining->call->operands[i];
    const json_t *node = find(nodes, name);
    const json_t *drain = json_object_get(node, "drain");
    const char *mode = json_str_or(node, "mode", "active");
    bool begun = false;

    if (look_at_operation(draining, i, node, &begun, err) < 0) {
        return err_code(err);
    }
    progress->begun += begun;
    if (begun && strcmp(mode, "drained") == 0) {
        progress->drained += draining->checked[i]; /* Its post hooks have run, too. */
        return 0;
    }
    if (begun && strcmp(mode, "draining") != 0) {
        return err_set(err, ERR_CONFLICT, "the drain of node %s was ended by somebody else", name);
    }
    progress->left += json_int_or(node, "tasks", 0);
    progress->waiting += json_int_or(drain, "waiting_for_sla", 0);
    progress->asking += json_int_or(drain, "waiting_for_coordinator", 0);
    return 0;
}

static void show(const struct draining *draining, const struct progress *progress)
{
    CLEANUP_BUF text = { 0 };

    buf_addf(&text, "draining: %d of %d nodes drained, %" PRId64 " %s left", progress->drained,
             draining->call->n_operands, progress->left,
             progress->left == 1 ? "instance" : "instances");
    if (progress->waiting > 0) {
        buf_addf(&text, ", %" PRId64 " wait for an SLA", progress->waiting);
    }
    if (progress->asking > 0) {
        buf_addf(&text, ", %" PRId64 " for a coordinator", progress->asking);
    }
    cli_progress(draining->call->cli, buf_text(&text));
}

static int follow(struct draining *draining, struct err *err)
{
    bool wait = !verb_flag(draining->call, "no-wait");
    int64_t revision = 0;

    for (;;) {
        CLEANUP(mem_freep)
        char *path =
            str_printf("/v1/nodes?since=%" PRId64 "&wait=%d", revision, revision > 0 ? WAIT_MS : 0);
        CLEANUP(json_freep) json_t *answer = NULL;
        struct progress progress = { 0 };

        if (operation_request(draining->call->cli, draining->client, "GET", path, NULL, &answer,
                              err) < 0) {
            return err_code(err);
        }
        revision = json_int_or(answer, "revision", 0);
        for (int i = 0; i < draining->call->n_operands; i++) {
            if (look_at_node(draining, i, json_object_get(answer, "items"), &progress, err) < 0) {
                return err_code(err);
            }
        }
        if (wait ? progress.drained == draining->call->n_operands
                 : progress.begun == draining->call->n_operands) {
            return 0;
        }
        show(draining, &progress);
        if (progress.begun == draining->call->n_operands) {
            cli_note_interrupt("the drain goes on; 'davit node undrain' ends it");
        }
    }
}

static void say(const struct draining *draining)
{
    bool waited = !verb_flag(draining->call, "no-wait");
    CLEANUP(json_freep) json_t *list = json_array();

    for (char **node = draining->call->operands; *node != NULL; node++) {
        json_t *doc = json_object();

        json_put_str(doc, "node", *node);
        json_put_str(doc, "mode", waited ? "drained" : "draining");
        (void)json_array_append_new(list, doc);
        if (!draining->call->cli->json) {
            (void)printf("%s: %s\n", *node, waited ? "drained" : "is being drained");
        }
    }
    if (draining->call->cli->json) {
        cli_print_json(list);
    }
}

static int drain(struct draining *draining, struct err *err)
{
    int code;

    if (read_options(draining, err) < 0 ||
        cli_default_client(draining->call->cli, verb_text(draining->call, "cluster"),
                           &draining->client, err) < 0 ||
        mark(draining, err) < 0 || begin(draining, err) < 0) {
        return err_code(err);
    }
    code = follow(draining, err);
    cli_progress(draining->call->cli, NULL);
    cli_note_interrupt(NULL);
    if (code == 0) {
        say(draining);
    }
    return code;
}

static int check_once(char *const *nodes, struct err *err)
{
    for (size_t i = 0; nodes[i] != NULL; i++) {
        for (size_t j = 0; j < i; j++) {
            if (strcmp(nodes[i], nodes[j]) == 0) {
                return err_set(err, ERR_USAGE, "node %.100s is named twice", nodes[i]);
            }
        }
    }
    return 0;
}

static int run_node_drain(struct verb_call *call, struct err *err)
{
    size_t n = (size_t)call->n_operands;
    CLEANUP(mem_freep) struct operation *operations = mem_alloc(n * sizeof(*operations));
    CLEANUP(mem_freep) bool *checked = mem_alloc(n * sizeof(*checked));
    struct draining draining = { .call = call, .operations = operations, .checked = checked };
    int code;

    if (check_once(call->operands, err) < 0) {
        return err_code(err);
    }
    for (size_t i = 0; i < n; i++) {
        operation_init(&operations[i]);
    }
    code = drain(&draining, err);
    for (size_t i = 0; i < n; i++) {
        operation_fini(&operations[i]);
    }
    return code;
}

const struct verb verb_node_drain = {
    .noun = "node",
    .name = "drain",
    .operands = "NODE...",
    .min_operands = 1,
    .max_operands = 1000,
    .summary = "Take nodes out of service: move what runs there, within the SLA of each job.",
    .details =
        "Waits until nothing is left there; Ctrl-C ends the waiting, not the drain.  Jobs of\n"
        "the tier preferred keep what their sla_policy asks for, else --percentage of\n"
        "their instances if they have at least 20; everything else moves at once.\n"
        "Exit 0: drained (--no-wait: begun). 12: a hook refused. 13: somebody ended the drain.\n"
        "14: no such node.",
    .options = options,
    .json = true,
    .run = run_node_drain,
};
