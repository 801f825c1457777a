/* SPDX-License-Identifier: Apache-2.0 */

/* davit node cordon, uncordon, undrain, set: one OP_NODE_SET_PARAMS for each node, in one
 * operation.
 */

#include "base/json.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/operation.h"
#include "cli/verbs.h"

#include <stdio.h>
#include <string.h>

#define COMMON_OPTIONS                                                                             \
    {                                                                                              \
        "cluster", 'c', ARGS_TEXT, "NAME", "the cluster (default: the only one known)", NULL, 0, 0 \
    },                                                                                             \
    {                                                                                              \
        "reason", 'm', ARGS_TEXT, "TEXT", "why, for hooks", NULL, 0, 0                             \
    }

static const struct verb_option mode_options[] = { COMMON_OPTIONS, { 0 } };

static const struct verb_option set_options[] = {
    COMMON_OPTIONS,
    { "attribute", 0, ARGS_LIST, "NAME=VALUE",
      "an attribute for constraints, over the agent's own; repeatable", NULL, 0, 0 },
    { "remove-attribute", 0, ARGS_LIST, "NAME",
      "the agent's own counts again, if it has one; repeatable", NULL, 0, 0 },
    { 0 },
};

/* mode NULL: as it is.  attributes may be NULL. */
static int set_nodes(struct verb_call *call, const char *mode, json_t *attributes, const char *done,
                     struct err *err)
{
    struct client *client = NULL;
    struct operation operation;
    json_t *opcodes = json_array();
    int code;

    for (char **node = call->operands; *node != NULL; node++) {
        json_t *opcode = json_object();

        json_put_str(opcode, "op", "OP_NODE_SET_PARAMS");
        json_put_str(opcode, "node", *node);
        json_put_str(opcode, "mode", mode);
        json_put_str(opcode, "reason", verb_text(call, "reason"));
        if (attributes != NULL) {
            json_put_take(opcode, "attributes", json_incref(attributes));
        }
        (void)json_array_append_new(opcodes, opcode);
    }
    if (cli_default_client(call->cli, verb_text(call, "cluster"), &client, err) < 0) {
        json_decref(opcodes);
        return err_code(err);
    }
    operation_init(&operation);
    code = operation_run(call->cli, client, &operation, opcodes, "changing nodes", err);
    if (code == 0 && call->cli->json) {
        cli_print_json(operation.record);
    } else if (code == 0) {
        for (char **node = call->operands; *node != NULL; node++) {
            (void)printf("%s: %s\n", *node, done);
        }
    }
    operation_fini(&operation);
    return code;
}

static int run_cordon(struct verb_call *call, struct err *err)
{
    return set_nodes(call, "cordoned", NULL, "takes nothing new", err);
}

static int run_active(struct verb_call *call, struct err *err)
{
    return set_nodes(call, "active", NULL, "active", err);
}

static int run_set(struct verb_call *call, struct err *err)
{
    CLEANUP(json_freep) json_t *attributes = json_object();

    for (char **each = verb_list(call, "remove-attribute"); each != NULL && *each != NULL; each++) {
        json_put_take(attributes, *each, json_null());
    }
    for (char **each = verb_list(call, "attribute"); each != NULL && *each != NULL; each++) {
        size_t name_len = strcspn(*each, "=");
        CLEANUP(mem_freep) char *name = mem_strndup(*each, name_len);

        if (name_len == 0 || (*each)[name_len] != '=') {
            return err_set(err, ERR_USAGE, "--attribute %.100s: expected NAME=VALUE", *each);
        }
        json_put_str(attributes, name, *each + name_len + 1);
    }
    if (json_object_size(attributes) == 0) {
        return err_set(err, ERR_USAGE,
                       "say what to set: --attribute NAME=VALUE or "
                       "--remove-attribute NAME");
    }
    return set_nodes(call, NULL, attributes, "set", err);
}

#define EXIT_CODES "Exit 12: a hook refused. 14: no such node."

const struct verb verb_node_cordon = {
    .noun = "node",
    .name = "cordon",
    .operands = "NODE...",
    .min_operands = 1,
    .max_operands = 1000,
    .summary = "Place nothing new on nodes; what runs there goes on.",
    .details = EXIT_CODES,
    .options = mode_options,
    .json = true,
    .run = run_cordon,
};

const struct verb verb_node_uncordon = {
    .noun = "node",
    .name = "uncordon",
    .operands = "NODE...",
    .min_operands = 1,
    .max_operands = 1000,
    .summary = "Place tasks on nodes again; the same as 'node undrain'.",
    .details = EXIT_CODES,
    .options = mode_options,
    .json = true,
    .run = run_active,
};

const struct verb verb_node_undrain = {
    .noun = "node",
    .name = "undrain",
    .operands = "NODE...",
    .min_operands = 1,
    .max_operands = 1000,
    .summary = "Take nodes into service again; a drain under way ends.",
    .details = "What was already asked to move moves. " EXIT_CODES,
    .options = mode_options,
    .json = true,
    .run = run_active,
};

const struct verb verb_node_set = {
    .noun = "node",
    .name = "set",
    .operands = "NODE...",
    .min_operands = 1,
    .max_operands = 1000,
    .summary = "Set attributes of nodes, for the constraints of jobs.",
    .details = EXIT_CODES,
    .options = set_options,
    .json = true,
    .run = run_set,
};
