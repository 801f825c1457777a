/* SPDX-License-Identifier: Apache-2.0 */

/* hooked: the client hooks around one API call.
 *
 *   pre hooks --all pass--> operation --succeeded--> post hooks
 *        |                      +------failed------> err hooks
 *        +--one refuses--> nothing is sent but the records
 *
 * The records of the pre hooks go with the operation, those of the others after
 * it.  Sending the records of a vetoed call is best effort: the veto stands also
 * when no master is there to hear of it.
 */

#include "cli/hooked.h"

#include "base/json.h"
#include "base/log.h"
#include "base/str.h"
#include "client/client_hooks.h"

#include <stdio.h>
#include <string.h>

/* The response as hooks know it. */
static json_t *outcome_of(const struct operation *operation, const struct err *err,
                          const char *cluster)
{
    json_t *outcome = json_object();
    json_t *messages = json_array();
    json_t *result = json_object();

    json_put_str(outcome, "code",
                 err->code == 0                                       ? "OK"
                 : err->code == ERR_CONFLICT                          ? "JOB_UPDATING_ERROR"
                 : err->code == ERR_UNAUTH || err->code == ERR_DENIED ? "AUTH_FAILED"
                                                                      : "INVALID_REQUEST");
    if (err->code != 0) {
        (void)json_array_append_new(messages, json_str_repaired(err->msg, strlen(err->msg)));
    }
    json_put_take(outcome, "messages", messages);
    if (operation->record != NULL) {
        json_put_take(result, "operation", json_incref(operation->record));
    }
    json_put_take(outcome, "result", result);
    json_put_str(outcome, "cluster", cluster);
    return outcome;
}

static void send_records(struct cli *cli, struct client *client, json_t *records)
{
    CLEANUP(json_freep) json_t *body = json_object();
    struct err err = { 0 };

    if (json_array_size(records) == 0) {
        return;
    }
    json_put_take(body, "records", json_incref(records));
    if (cli_request(cli, client, "POST", "/v1/hook-runs", body, NULL, &err) < 0) {
        log_warn("the records of the client hooks did not reach the master: %s", err.msg);
    }
}

/* Runs one phase; its records are added to records.  ERR_REFUSED for a veto. */
static int run_phase(const struct hooked *hooked, enum config_phase phase, const char *op_id,
                     const json_t *outcome, json_t *records, json_t **ret_result, struct err *err)
{
    static const char *const names[] = { "pre", "post", "err" };
    const struct client_hooks_call call = { op_id, hooked->method, names[phase], hooked->key };
    json_t *result = NULL;

    if (hooked->config == NULL) {
        return 0;
    }
    (void)fflush(stdout); /* What hooks print comes after what we said. */
    if (config_hooks(hooked->config, phase, hooked->method, hooked->key, hooked->args, outcome,
                     &result, err) < 0) {
        return err_code(err);
    }
    client_hooks_record(&call, json_object_get(result, "records"), records);
    *ret_result = result;
    return phase == CONFIG_PRE ? config_refusal(result, hooked->method, err) : 0;
}

/* A hook that called sys.exit() ends the client with its status, after the records were sent. */
static bool wants_exit(const json_t *result, int *ret_status)
{
    const json_t *status = json_object_get(result, "exit");

    if (!json_is_integer(status)) {
        return false;
    }
    *ret_status = (int)json_integer_value(status);
    return true;
}

int hooked_run(struct cli *cli, struct client *client, const struct hooked *hooked,
               json_t **ret_record, bool *ret_vetoed, struct err *err)
{
    CLEANUP(operation_fini) struct operation operation = { 0 };
    CLEANUP(json_freep) json_t *before = NULL;
    CLEANUP(json_freep) json_t *after = NULL;
    CLEANUP(json_freep) json_t *late = json_array();
    struct err hook_err = { 0 };
    int status = 0;

    *ret_vetoed = false;
    operation_init(&operation);
    operation.hook_runs = json_array();
    if (run_phase(hooked, CONFIG_PRE, operation.id, NULL, operation.hook_runs, &before, err) < 0) {
        *ret_vetoed = err->code == ERR_REFUSED;
        send_records(cli, client, operation.hook_runs);
        return err_code(err);
    }
    if (wants_exit(before, &status)) {
        send_records(cli, client, operation.hook_runs);
        exit(status); /* NOLINT(concurrency-mt-unsafe): what the hook asked for. */
    }
    const json_t *changed = json_object_get(before, "config");
    int rv = operation_run(cli, client, &operation, hooked->opcode(changed, hooked->data),
                           hooked->what, err);
    CLEANUP(json_freep)
    json_t *outcome =
        outcome_of(&operation, rv == 0 ? &(struct err){ 0 } : err, cli->client_cluster->name);

    if (run_phase(hooked, rv == 0 ? CONFIG_POST : CONFIG_ERR, operation.id, outcome, late, &after,
                  &hook_err) < 0) {
        log_warn("client hooks after the call: %s", hook_err.msg);
    }
    send_records(cli, client, late);
    if (wants_exit(after, &status)) {
        exit(status); /* NOLINT(concurrency-mt-unsafe): what the hook asked for. */
    }
    if (ret_record != NULL) {
        *ret_record = json_incref(operation.record);
    }
    return rv;
}

void hooked_print_warnings(const json_t *warnings)
{
    size_t i;
    json_t *warning;

    json_array_foreach(warnings, i, warning)
    {
        (void)fprintf(stderr, " WARN] %s\n", json_string_value(warning));
    }
}

struct config *hooked_config(struct cli *cli)
{
    return cli->plugins != NULL ? config_share(cli->plugins) : config_new();
}

struct config_options hooked_file_options(const struct verb_call *call)
{
    return (struct config_options){
        .binds = (const char *const *)verb_list(call, "bind"),
        .read_json = verb_flag(call, "read-json"),
        .no_python2 = strcmp(verb_text(call, "python2-compat"), "off") == 0,
        .verbose = call->cli->verbose,
        .timeout_ms = (uint64_t)verb_number(call, "load-timeout") * 1000,
    };
}

static bool wants_strict(const struct verb_call *call)
{
    return verb_has(call, "strict-hooks") && verb_flag(call, "strict-hooks");
}

int hooked_load(struct verb_call *call, const char *file, const char *key,
                struct config **ret_config, json_t **ret_selected, struct err *err)
{
    const struct config_options options = hooked_file_options(call);

    *ret_config = hooked_config(call->cli);
    config_set_strict(*ret_config, wants_strict(call));
    if (config_load(*ret_config, file, &options, err) < 0) {
        return err_code(err);
    }
    hooked_print_warnings(config_warnings(*ret_config));
    if (config_select(*ret_config, key, ret_selected, err) < 0 ||
        (str_eq(call->verb->noun, "update") && config_check_update(*ret_config, err) < 0)) {
        return err_code(err);
    }
    hooked_print_warnings(json_object_get(*ret_selected, "warnings"));
    return 0;
}

int hooked_begin(struct verb_call *call, int at, const char *key, struct config **ret_config,
                 struct err *err)
{
    const char *operand = call->n_operands > at ? call->operands[at] : NULL;
    const char *option = verb_text(call, "config");
    CLEANUP(json_freep) json_t *selected = NULL;

    if (operand != NULL && option != NULL) {
        return err_set(err, ERR_USAGE, "argument --config: not allowed with the argument FILE");
    }
    if (operand != NULL || option != NULL) {
        if (hooked_load(call, operand != NULL ? operand : option, key, ret_config, &selected, err) <
            0) {
            return err->code == ERR_USAGE ? err_code(err) : hooked_config_failed(*ret_config, err);
        }
    } else if (call->cli->plugins != NULL) {
        *ret_config = config_share(call->cli->plugins);
        config_set_strict(*ret_config, wants_strict(call));
    }
    return 0;
}

int hooked_config_failed(const struct config *config, const struct err *err)
{
    int status = config_exit_status(config);
    const char *message = config_message(config);
    const char *before = status < 0                          ? "Error loading configuration: "
                         : status == err_exit_status(ERR_IO) ? "Fatal error running command: "
                                                             : ""; /* The file's own choice. */

    (void)fprintf(stderr, "%s%s\n", before,
                  message != NULL && message[0] != 0 ? message : err->msg);
    return status >= 0 ? status : err_exit_status(err->code);
}
