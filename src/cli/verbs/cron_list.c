/* SPDX-License-Identifier: Apache-2.0 */

/* davit cron list: the cron jobs that a key with globs names. */

#include "base/buf.h"
#include "base/json.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/verbs.h"

#include <stdio.h>

static int list_cluster(struct cli *cli, const char *cluster, const struct cli_key *wild,
                        json_t *items, struct err *err)
{
    CLEANUP(mem_freep)
    char *pattern = str_printf("%s/%s/%s/%s", cluster, wild->role, wild->env, wild->name);
    CLEANUP_BUF path = { 0 };
    CLEANUP(json_freep) json_t *answer = NULL;
    struct client *client = NULL;

    buf_add_text(&path, "/v1/cron");
    client_query(&path, "job", pattern);
    if (cli_client(cli, cluster, &client, err) < 0 ||
        cli_request_list(cli, client, buf_text(&path), &answer, err) < 0) {
        return err_code(err);
    }
    (void)json_array_extend(items, answer);
    return 0;
}

static int run_cron_list(struct verb_call *call, struct err *err)
{
    CLEANUP(cli_key_fini) struct cli_key wild = { 0 };
    CLEANUP(json_freep) json_t *items = json_array();
    CLEANUP(strv_freep) char **clusters = NULL;
    size_t i;
    json_t *item;

    if (cli_wild_parse(call->operands[0], &wild, err) < 0 ||
        cli_clusters_matching(call->cli, wild.cluster, &clusters, err) < 0) {
        return err_code(err);
    }
    for (char **cluster = clusters; *cluster != NULL; cluster++) {
        if (list_cluster(call->cli, *cluster, &wild, items, err) < 0) {
            return err_code(err);
        }
    }
    if (call->cli->json) {
        cli_print_json(items);
        return 0;
    }
    json_array_foreach(items, i, item)
    {
        CLEANUP(mem_freep) char *key = cli_shown(item, "key", "?");
        CLEANUP(mem_freep) char *schedule = cli_shown(item, "schedule", "?");

        (void)printf("%s\t %s\n", key, schedule);
    }
    return 0;
}

const struct verb verb_cron_list = {
    .noun = "cron",
    .name = "list",
    .operands = "CLUSTER[/ROLE[/ENV[/NAME]]]",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "List cron jobs and their schedules; the parts of the key may hold shell globs.",
    .details = "No match prints nothing and exits 0.",
    .json = true,
    .run = run_cron_list,
};
