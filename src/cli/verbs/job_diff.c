/* SPDX-License-Identifier: Apache-2.0 */

/* davit job diff: what an update to the file's configuration would change.
 */

#include "base/json.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/hooked.h"
#include "cli/preview.h"
#include "cli/verbs.h"

#include <stdio.h>

static const struct verb_option options[] = {
    HOOKED_FILE_OPTIONS,
    { "from", 0, ARGS_TEXT, "KEY", "compare with this job instead of the one of that key", NULL, 0,
      0 },
    { 0 },
};

/* The job as it would be under another key: what differs then is not only the name. */
static json_t *under_key(const json_t *job, const struct cli_key *key)
{
    json_t *copy = json_copy((json_t *)job);

    json_put_str(copy, "cluster", key->cluster);
    json_put_str(copy, "role", key->role);
    json_put_str(copy, "environment", key->env);
    json_put_str(copy, "name", key->name);
    return copy;
}

static int need_job(struct cli *cli, struct client *client, const struct cli_key *key,
                    struct err *err)
{
    const char *const segments[] = { key->cluster, key->role, key->env, key->name };
    CLEANUP(mem_freep) char *text = cli_key_text(key);
    CLEANUP_BUF path = { 0 };

    buf_add_text(&path, "/v1/jobs");
    for (size_t i = 0; i < sizeof segments / sizeof segments[0]; i++) {
        client_segment(&path, segments[i]);
    }
    if (cli_request(cli, client, "GET", buf_text(&path), NULL, NULL, err) < 0) {
        return err->code == ERR_NOTFOUND ? err_set(err, ERR_INVALID, "Job %s not found", text)
                                         : err_code(err);
    }
    return 0;
}

static int run_job_diff(struct verb_call *call, struct err *err)
{
    CLEANUP(cli_key_fini) struct cli_key key = { 0 };
    CLEANUP(cli_key_fini) struct cli_key from = { 0 };
    CLEANUP(mem_freep) char *text = NULL;
    CLEANUP(config_freep) struct config *config = NULL;
    CLEANUP(json_freep) json_t *selected = NULL;
    CLEANUP(json_freep) json_t *instances = NULL;
    CLEANUP(json_freep) json_t *job = NULL;
    CLEANUP(json_freep) json_t *diff = NULL;
    const char *other = verb_text(call, "from");
    struct client *client = NULL;

    if (cli_instances_parse(call->operands[0], &key, &instances, err) < 0 ||
        (other != NULL && cli_key_parse(other, &from, err) < 0) ||
        cli_client(call->cli, other != NULL ? from.cluster : key.cluster, &client, err) < 0) {
        return err_code(err);
    }
    text = cli_key_text(&key);
    if (hooked_load(call, call->operands[1], text, &config, &selected, err) < 0) {
        return err->code == ERR_USAGE ? err_code(err) : hooked_config_failed(config, err);
    }
    const json_t *wanted = json_object_get(selected, "job");

    job = other != NULL ? under_key(wanted, &from) : json_incref((json_t *)wanted);
    if ((other != NULL && need_job(call->cli, client, &from, err) < 0) ||
        preview_ask(call->cli, client, job, instances, &diff, err) < 0) {
        return err_code(err);
    }
    if (call->cli->json) {
        cli_print_json(diff);
    } else {
        preview_print(diff, job);
    }
    return 0;
}

const struct verb verb_job_diff = {
    .noun = "job",
    .name = "diff",
    .operands = "CLUSTER/ROLE/ENV/NAME[/INSTANCES] FILE",
    .min_operands = 2,
    .max_operands = 2,
    .summary = "Show what an update to the file's configuration would change.",
    .details = "DIFF_VIEWER: a program that shows two files; without it, a unified diff.\n"
               "Exit 3: the configuration is wrong. 6: there is no job --from.",
    .options = options,
    .json = true,
    .run = run_job_diff,
};
