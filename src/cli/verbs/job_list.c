/* SPDX-License-Identifier: Apache-2.0 */

/* davit job list: the keys of the jobs that a wildcard key names.
 *
 * As the Aurora client has it, a cron job is one of them before its first launch, too.
 */

#include "base/buf.h"
#include "base/json.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/verbs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool has_job(const json_t *items, const char *key)
{
    size_t i;
    json_t *item;

    json_array_foreach(items, i, item)
    {
        if (str_eq(json_str_or(item, "key", NULL), key)) {
            return true;
        }
    }
    return false;
}

/* What /v1/jobs would say of a cron job that has no tasks. */
static json_t *job_of(const json_t *entry, const struct cli_key *key)
{
    json_t *job = json_object();

    json_put_str(job, "key", json_str_or(entry, "key", ""));
    json_put_str(job, "cluster", key->cluster);
    json_put_str(job, "role", key->role);
    json_put_str(job, "env", key->env);
    json_put_str(job, "name", key->name);
    json_put_str(job, "config", json_str_or(entry, "config", NULL));
    json_put_str(job, "user", json_str_or(entry, "user", NULL));
    json_put_int(job, "created_ms", json_int_or(entry, "created_ms", 0));
    json_put_int(job, "instances", json_int_or(entry, "instances", 0));
    json_put_int(job, "active", 0);
    json_put_take(job, "counts", json_object());
    json_put_bool(job, "service", false);
    return job;
}

struct row {
    json_t *job;
};

static int by_key(const void *a, const void *b)
{
    const struct row *one = a;
    const struct row *other = b;

    return strcmp(json_str_or(one->job, "key", ""), json_str_or(other->job, "key", ""));
}

/* Adds both to items, in the order of their keys. */
static void add_sorted(json_t *items, const json_t *jobs, const json_t *entries)
{
    size_t n = 0;
    size_t max = json_array_size(jobs) + json_array_size(entries) + 1;
    struct row *all = mem_alloc(max * sizeof(*all));
    size_t i;
    json_t *item;

    json_array_foreach(jobs, i, item)
    {
        all[n++].job = json_incref(item);
    }
    json_array_foreach(entries, i, item)
    {
        CLEANUP(cli_key_fini) struct cli_key key = { 0 };
        const char *text = json_str_or(item, "key", "");
        struct err err = { 0 };

        if (!has_job(jobs, text) && cli_key_parse(text, &key, &err) == 0) {
            all[n++].job = job_of(item, &key);
        }
    }
    qsort(all, n, sizeof(*all), by_key);
    for (i = 0; i < n; i++) {
        (void)json_array_append_new(items, all[i].job);
    }
    free(all);
}

static int list_cron(struct cli *cli, struct client *client, const char *cluster,
                     const struct cli_key *wild, json_t **ret_entries, struct err *err)
{
    CLEANUP(mem_freep)
    char *pattern = str_printf("%s/%s/%s/%s", cluster, wild->role, wild->env, wild->name);
    CLEANUP_BUF path = { 0 };

    buf_add_text(&path, "/v1/cron");
    client_query(&path, "job", pattern);
    return cli_request_list(cli, client, buf_text(&path), ret_entries, err);
}

/* Adds the jobs of one cluster to items. */
static int list_cluster(struct cli *cli, const char *cluster, const struct cli_key *wild,
                        json_t *items, struct err *err)
{
    CLEANUP_BUF path = { 0 };
    CLEANUP(json_freep) json_t *answer = NULL;
    CLEANUP(json_freep) json_t *entries = NULL;
    struct client *client = NULL;

    buf_add_text(&path, "/v1/jobs");
    client_query(&path, "role", wild->role);
    client_query(&path, "env", wild->env);
    client_query(&path, "name", wild->name);
    if (cli_client(cli, cluster, &client, err) < 0 ||
        cli_request_list(cli, client, buf_text(&path), &answer, err) < 0 ||
        list_cron(cli, client, cluster, wild, &entries, err) < 0) {
        return err_code(err);
    }
    add_sorted(items, answer, entries);
    return 0;
}

static int run_job_list(struct verb_call *call, struct err *err)
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

        (void)printf("%s\n", key);
    }
    return 0;
}

const struct verb verb_job_list = {
    .noun = "job",
    .name = "list",
    .operands = "CLUSTER[/ROLE[/ENV[/NAME]]]",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "List jobs, one key a line; the parts of the key may hold shell globs.",
    .details = "No match prints nothing and exits 0.",
    .json = true,
    .run = run_job_list,
};
