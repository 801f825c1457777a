/* SPDX-License-Identifier: Apache-2.0 */

/* davit quota set: what a role may use for production, by one OP_QUOTA_SET. */

#include "base/json.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/operation.h"
#include "cli/verbs.h"
#include "cli/verbs/quota_role.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { API_ERROR = 10 };

static const struct verb_option options[] = {
    { "cpu", 0, ARGS_TEXT, "N", "cores", NULL, 0, 0 },
    { "ram", 0, ARGS_TEXT, "SIZE", "memory: 512M, 2G", NULL, 0, 0 },
    { "disk", 0, ARGS_TEXT, "SIZE", "disk: 10m, 2G", NULL, 0, 0 },
    { 0 },
};

static int put_cpu(json_t *opcode, const char *text, struct err *err)
{
    char *rest;
    double cpu = strtod(text, &rest);

    if (text[0] == '\0' || *rest != '\0' || strspn(text, "0123456789.") != strlen(text)) {
        return err_set(err, ERR_USAGE, "cpu: '%.100s' is no number of cores", text);
    }
    json_put_num(opcode, "cpu", cpu);
    return 0;
}

static int put_size(json_t *opcode, const char *name, const char *member, const char *text,
                    struct err *err)
{
    int64_t bytes;

    if (quota_size_parse(text, name, &bytes, err) < 0) {
        return err_code(err);
    }
    json_put_int(opcode, member, bytes);
    return 0;
}

/* By position or by name; what is given neither way stays as it is. */
static int read_quota(const struct verb_call *call, json_t *opcode, struct err *err)
{
    const char *cpu = verb_text(call, "cpu");
    const char *ram = verb_text(call, "ram");
    const char *disk = verb_text(call, "disk");

    if (call->n_operands == 4) {
        if (cpu != NULL || ram != NULL || disk != NULL) {
            return err_set(err, ERR_USAGE,
                           "CPU RAM DISK and --cpu, --ram, --disk exclude each "
                           "other");
        }
        cpu = call->operands[1];
        ram = call->operands[2];
        disk = call->operands[3];
    } else if (call->n_operands != 1 || (cpu == NULL && ram == NULL && disk == NULL)) {
        return err_set(err, ERR_USAGE,
                       "CPU RAM DISK, or some of --cpu, --ram and --disk, are "
                       "needed");
    }
    if ((cpu != NULL && put_cpu(opcode, cpu, err) < 0) ||
        (ram != NULL && put_size(opcode, "ram", "ram_bytes", ram, err) < 0) ||
        (disk != NULL && put_size(opcode, "disk", "disk_bytes", disk, err) < 0)) {
        return err_code(err);
    }
    return 0;
}

static int refused(const struct cli *cli, const char *role, const struct err *err)
{
    CLEANUP(mem_freep) char *message = str_escape(err->msg);
    int status = err->code == ERR_REFUSED ? err_exit_status(ERR_REFUSED) : API_ERROR;

    if (err->code == ERR_UNREACHABLE || err->code == ERR_TIMEOUT || err->code == ERR_UNAUTH ||
        err->code == ERR_EOF || err->code == ERR_NOTLEADER) {
        return err_code(err);
    }
    if (cli->json) {
        return cli_report(cli, err, status);
    }
    (void)fprintf(stderr, "Error setting quota for role %s:\n\t%s\n", role, message);
    return status;
}

static int run_quota_set(struct verb_call *call, struct err *err)
{
    CLEANUP(mem_freep) char *cluster = NULL;
    CLEANUP(mem_freep) char *what = NULL;
    CLEANUP(json_freep) json_t *opcode = json_object();
    CLEANUP(operation_fini) struct operation operation = { 0 };
    struct client *client = NULL;
    const char *role = NULL;

    if (quota_role_parse(call->operands[0], &cluster, &role, err) < 0 ||
        read_quota(call, opcode, err) < 0 || cli_client(call->cli, cluster, &client, err) < 0) {
        return err_code(err);
    }
    what = str_printf("setting the quota of %s", role);
    json_put_str(opcode, "op", "OP_QUOTA_SET");
    json_put_str(opcode, "role", role);
    operation_init(&operation);
    if (operation_run(call->cli, client, &operation, TAKE(opcode), what, err) < 0) {
        return refused(call->cli, role, err);
    }
    if (call->cli->json) {
        cli_print_json(operation.record);
    } else {
        (void)printf("Quota of %s set.\n", role);
    }
    return 0;
}

const struct verb verb_quota_set = {
    .noun = "quota",
    .name = "set",
    .operands = "CLUSTER/ROLE [CPU RAM DISK]",
    .min_operands = 1,
    .max_operands = 4,
    .summary = "Set what a role may use for production.",
    .details = "Sizes have a unit: 512M, 10m, 2G. With --cpu, --ram or --disk what is not named\n"
               "stays as it is. Exit 10: refused, as a quota below what the role uses is.",
    .options = options,
    .json = true,
    .run = run_quota_set,
};
