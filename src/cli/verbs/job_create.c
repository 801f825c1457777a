/* SPDX-License-Identifier: Apache-2.0 */

/* davit job create: evaluate the file, run its client hooks around one
 * OP_JOB_CREATE, and wait as long as the user asked for.
 */

#include "base/buf.h"
#include "base/json.h"
#include "base/str.h"
#include "cli/browser.h"
#include "cli/cli.h"
#include "cli/hooked.h"
#include "cli/verbs.h"

#include <stdio.h>
#include <string.h>

enum { POLL_MS = 30000 };

static const struct verb_option options[] = {
    HOOKED_FILE_OPTIONS,
    { "wait-until", 0, ARGS_TEXT, "PENDING|RUNNING|FINISHED",
      "return when every instance has come so far (PENDING)", "PENDING", 0, 0 },
    { "open-browser", 0, ARGS_FLAG, NULL, "open the job's page in the browser", NULL, 0, 0 },
    { 0 },
};

static json_t *create_opcode(const json_t *changed, void *data)
{
    const json_t *selected = changed != NULL ? changed : data;
    json_t *opcode = json_object();

    json_put_str(opcode, "op", "OP_JOB_CREATE");
    json_put_take(opcode, "job", json_incref(json_object_get(selected, "job")));
    return opcode;
}

static bool is_terminal(const char *state)
{
    return strcmp(state, "FINISHED") == 0 || strcmp(state, "FAILED") == 0 ||
           strcmp(state, "KILLED") == 0 || strcmp(state, "LOST") == 0;
}

/* RUNNING is reached by any live or ended task, FINISHED by any ended one. */
static bool has_come_to(const char *state, const char *goal)
{
    if (strcmp(goal, "FINISHED") == 0) {
        return is_terminal(state);
    }
    return strcmp(state, "PENDING") != 0 && strcmp(state, "THROTTLED") != 0 &&
           strcmp(state, "ASSIGNED") != 0 && strcmp(state, "STARTING") != 0;
}

/* Whether some run of each instance that this operation made has come to the goal: a
 * service that fails again and again has come there, whatever its latest run does. */
static int ask_instances(struct cli *cli, struct client *client, const char *key, const char *op_id,
                         const char *goal, bool *ret_there, struct err *err)
{
    CLEANUP_BUF path = { 0 };
    CLEANUP(json_freep) json_t *tasks = NULL;
    CLEANUP(json_freep) json_t *seen = json_object();
    const char *instance;
    json_t *task, *there;
    size_t i;

    buf_add_text(&path, "/v1/tasks");
    client_query(&path, "job", key);
    if (cli_request_list(cli, client, buf_text(&path), &tasks, err) < 0) {
        return err_code(err);
    }
    json_array_foreach(tasks, i, task)
    {
        CLEANUP(mem_freep)
        char *name = str_printf("%lld", (long long)json_int_or(task, "instance", 0));
        bool came = has_come_to(json_str_or(task, "state", "PENDING"), goal);

        if (str_eq(json_str_or(task, "op_id", NULL), op_id)) {
            (void)json_object_set_new(
                seen, name, json_boolean(came || json_is_true(json_object_get(seen, name))));
        }
    }
    *ret_there = json_object_size(seen) > 0;
    json_object_foreach(seen, instance, there)
    {
        *ret_there = *ret_there && json_is_true(there);
    }
    return 0;
}

/* Long-polls the job's counts, which are cheap also for a job of many tasks, until no task
 * is short of the goal.  Tasks that are tried again make it look at the instances. */
static int wait_for(struct cli *cli, struct client *client, const struct cli_key *key,
                    const char *op_id, const char *goal, struct err *err)
{
    const char *const segments[] = { key->cluster, key->role, key->env, key->name };
    CLEANUP(mem_freep) char *text = cli_key_text(key);
    int64_t revision = -1;

    for (;;) {
        CLEANUP_BUF path = { 0 };
        CLEANUP(json_freep) json_t *answer = NULL;
        const char *state = NULL;
        json_int_t there = 0, all = 0, ended = 0;
        json_t *count = NULL;

        buf_add_text(&path, "/v1/jobs");
        for (size_t i = 0; i < sizeof segments / sizeof segments[0]; i++) {
            client_segment(&path, segments[i]);
        }
        if (revision >= 0) {
            buf_addf(&path, "?since=%lld&wait=%d", (long long)revision, POLL_MS);
        }
        if (cli_request(cli, client, "GET", buf_text(&path), NULL, &answer, err) < 0) {
            cli_progress(cli, NULL);
            if (err->code == ERR_NOTFOUND) {
                return err_set(err, ERR_FAILED, "Error occurred while creating job %s", text);
            }
            return err_wrap(err, "the job was created, but cannot be followed");
        }
        const json_t *counts = json_object_get(answer, "counts");

        json_object_foreach((json_t *)counts, state, count)
        {
            all += json_integer_value(count);
            there += has_come_to(state, goal) ? json_integer_value(count) : 0;
            ended += is_terminal(state) ? json_integer_value(count) : 0;
        }
        bool done = there == all;
        bool again = json_int_or(counts, "THROTTLED", 0) > 0 ||
                     (json_bool_or(answer, "service", false) && ended > 0);

        if (!done && again && ask_instances(cli, client, text, op_id, goal, &done, err) < 0) {
            cli_progress(cli, NULL);
            return err_wrap(err, "the job was created, but cannot be followed");
        }
        if (done) {
            cli_progress(cli, NULL);
            return 0;
        }
        CLEANUP(mem_freep)
        char *message = str_printf("%s: %lld of %lld tasks have come to %s", text, (long long)there,
                                   (long long)all, goal);

        cli_progress(cli, message);
        revision = json_int_or(answer, "revision", 0);
    }
}

static int rejected(const struct cli *cli, const struct err *err)
{
    CLEANUP(mem_freep) char *message = str_escape(err->msg);
    int status = err_exit_status(err->code == ERR_REFUSED ? ERR_REFUSED : ERR_FAILED);

    if (cli->json) {
        return cli_report(cli, err, status);
    }
    (void)fprintf(stderr, "Job creation failed due to error:\n\t%s\n", message);
    return status;
}

static int check_wait_until(const char *goal, struct err *err)
{
    if (strcmp(goal, "PENDING") != 0 && strcmp(goal, "RUNNING") != 0 &&
        strcmp(goal, "FINISHED") != 0) {
        return err_set(err, ERR_USAGE,
                       "argument --wait-until: invalid choice: '%s' (choose from 'PENDING', "
                       "'RUNNING', 'FINISHED')",
                       goal);
    }
    return 0;
}

static int create(struct verb_call *call, const struct cli_key *key, struct config *config,
                  json_t *selected, struct err *err)
{
    CLEANUP(mem_freep) char *text = cli_key_text(key);
    CLEANUP(mem_freep) char *what = str_printf("creating %s", text);
    CLEANUP(json_freep) json_t *record = NULL;
    const struct hooked hooked = {
        config, "create_job", text, NULL, what, create_opcode, selected
    };
    struct client *client = NULL;
    bool vetoed = false;

    if (cli_client(call->cli, key->cluster, &client, err) < 0) {
        return err_code(err);
    }
    if (hooked_run(call->cli, client, &hooked, &record, &vetoed, err) < 0) {
        if (vetoed) {
            return cli_report(call->cli, err, 1);
        }
        bool unreachable = err->code == ERR_UNREACHABLE || err->code == ERR_TIMEOUT ||
                           err->code == ERR_UNAUTH || err->code == ERR_EOF;

        return unreachable ? err_code(err) : rejected(call->cli, err);
    }
    if (strcmp(verb_text(call, "wait-until"), "PENDING") != 0 &&
        wait_for(call->cli, client, key, json_str_or(record, "id", ""),
                 verb_text(call, "wait-until"), err) < 0) {
        return err_code(err);
    }
    CLEANUP(mem_freep) char *url = cli_job_url(call->cli, key);

    if (call->cli->json) {
        cli_print_json(record);
    } else {
        (void)printf("Job create succeeded: job url=%s\n", url);
    }
    if (verb_flag(call, "open-browser")) {
        (void)browser_open(call->cli, url);
    }
    return 0;
}

static int run_job_create(struct verb_call *call, struct err *err)
{
    CLEANUP(cli_key_fini) struct cli_key key = { 0 };
    CLEANUP(config_freep) struct config *config = NULL;
    CLEANUP(json_freep) json_t *selected = NULL;
    struct client *client = NULL;

    if (check_wait_until(verb_text(call, "wait-until"), err) < 0 ||
        cli_key_parse(call->operands[0], &key, err) < 0 ||
        cli_client(call->cli, key.cluster, &client, err) < 0) {
        return err_code(err);
    }
    if (hooked_load(call, call->operands[1], call->operands[0], &config, &selected, err) < 0) {
        return err->code == ERR_USAGE ? err_code(err) : hooked_config_failed(config, err);
    }
    if (json_is_string(json_object_get(json_object_get(selected, "job"), "cron_schedule"))) {
        return err_set(err, ERR_FAILED,
                       "Cron jobs may only be scheduled with \"aurora cron schedule\" command");
    }
    return create(call, &key, config, selected, err);
}

const struct verb verb_job_create = {
    .noun = "job",
    .name = "create",
    .operands = "CLUSTER/ROLE/ENV/NAME FILE",
    .min_operands = 2,
    .max_operands = 2,
    .summary = "Create a job from a configuration file.",
    .details = "Exit 1: a client hook refused. 3: the configuration is wrong. 4: the job was\n"
               "rejected. 12: a hook of the operation refused.",
    .options = options,
    .json = true,
    .run = run_job_create,
};
