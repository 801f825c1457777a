/* SPDX-License-Identifier: Apache-2.0 */

/* davit quota get: what a role may use for production, and what it does use. */

#include "base/buf.h"
#include "base/json.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/verbs.h"
#include "cli/verbs/quota_role.h"

#include <stdio.h>
#include <string.h>

static const long long MIB = 1024LL * 1024;

/* The parts of the answer, as scripts know them. */
static const struct {
    const char *member; /* Of "used"; NULL: the quota itself. */
    const char *title;
    const char *thrift;
} parts[] = {
    { NULL, "Allocated", "quota" },
    { "production_shared", "Production shared pool resources consumed", "prodSharedConsumption" },
    { "production_dedicated", "Production dedicated pool resources consumed",
      "prodDedicatedConsumption" },
    { "non_production_shared", "Non-production shared pool resources consumed",
      "nonProdSharedConsumption" },
    { "non_production_dedicated", "Non-production dedicated pool resources consumed",
      "nonProdDedicatedConsumption" },
};

enum { N_PARTS = sizeof(parts) / sizeof(parts[0]) };

static const json_t *part_of(const json_t *answer, size_t i)
{
    return parts[i].member == NULL
               ? json_object_get(answer, "quota")
               : json_object_get(json_object_get(answer, "used"), parts[i].member);
}

static void print_part(const char *title, const json_t *quota)
{
    char cpu[32];

    (void)snprintf(cpu, sizeof(cpu), "%.12g", json_num_or(quota, "cpu", 0));
    if (strpbrk(cpu, ".e") == NULL) {
        (void)snprintf(cpu, sizeof(cpu), "%.1f", json_num_or(quota, "cpu", 0));
    }
    (void)printf("%s:\n  CPU: %s core(s)\n  RAM: %lld MB\n  Disk: %lld MB\n", title, cpu,
                 (long long)json_int_or(quota, "ram_bytes", 0) / MIB,
                 (long long)json_int_or(quota, "disk_bytes", 0) / MIB);
}

/* {"resources":[{"numCpus":1.0},{"ramMb":2},{"diskMb":3}]} */
static json_t *thrift(const json_t *quota)
{
    json_t *cpu = json_object();
    json_t *ram = json_object();
    json_t *disk = json_object();
    json_t *list = json_array();
    json_t *doc = json_object();

    json_put_num(cpu, "numCpus", json_num_or(quota, "cpu", 0));
    json_put_int(ram, "ramMb", json_int_or(quota, "ram_bytes", 0) / MIB);
    json_put_int(disk, "diskMb", json_int_or(quota, "disk_bytes", 0) / MIB);
    (void)json_array_append_new(list, cpu);
    (void)json_array_append_new(list, ram);
    (void)json_array_append_new(list, disk);
    json_put_take(doc, "resources", list);
    return doc;
}

static int run_quota_get(struct verb_call *call, struct err *err)
{
    CLEANUP(mem_freep) char *cluster = NULL;
    CLEANUP(mem_freep) char *path = NULL;
    CLEANUP(json_freep) json_t *answer = NULL;
    CLEANUP(json_freep) json_t *out = json_object();
    struct client *client = NULL;
    const char *role = NULL;

    if (quota_role_parse(call->operands[0], &cluster, &role, err) < 0 ||
        cli_client(call->cli, cluster, &client, err) < 0) {
        return err_code(err);
    }
    path = str_printf("/v1/quota/%s", role);
    if (cli_request(call->cli, client, "GET", path, NULL, &answer, err) < 0) {
        return err_code(err);
    }
    for (size_t i = 0; i < N_PARTS; i++) {
        if (call->cli->json) {
            json_put_take(out, parts[i].thrift, thrift(part_of(answer, i)));
        } else {
            print_part(parts[i].title, part_of(answer, i));
        }
    }
    if (call->cli->json) {
        cli_print_json(out);
    }
    return 0;
}

const struct verb verb_quota_get = {
    .noun = "quota",
    .name = "get",
    .operands = "CLUSTER/ROLE",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "Show what a role may use for production, and what it uses.",
    .details = "A quota is about production tasks that are not on dedicated nodes. A role without\n"
               "one may run none.",
    .json = true,
    .run = run_quota_get,
};
