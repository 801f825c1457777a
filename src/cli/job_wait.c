/* SPDX-License-Identifier: Apache-2.0 */

/* job_wait: follows the instances that an operation made until they have come far enough.
 */

#include "cli/job_wait.h"

#include "base/buf.h"
#include "base/json.h"
#include "base/str.h"

#include <stdio.h>
#include <string.h>

enum { POLL_MS = 30000 };

int job_wait_check(const char *goal, struct err *err)
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
int job_wait_until(struct cli *cli, struct client *client, const struct cli_key *key,
                   const char *op_id, bool whole_job, const char *goal, struct err *err)
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
            return err_wrap(err, "the tasks were made, but cannot be followed");
        }
        const json_t *counts = json_object_get(answer, "counts");

        json_object_foreach((json_t *)counts, state, count)
        {
            all += json_integer_value(count);
            there += has_come_to(state, goal) ? json_integer_value(count) : 0;
            ended += is_terminal(state) ? json_integer_value(count) : 0;
        }
        bool done = whole_job && there == all;
        bool again = !whole_job || json_int_or(counts, "THROTTLED", 0) > 0 ||
                     (json_bool_or(answer, "service", false) && ended > 0);

        if (!done && again && ask_instances(cli, client, text, op_id, goal, &done, err) < 0) {
            cli_progress(cli, NULL);
            return err_wrap(err, "the tasks were made, but cannot be followed");
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
