/* SPDX-License-Identifier: Apache-2.0 */
/* updates_job: what an update holds of its job, and what it leaves behind.
 *
 * While an update is active the configurations that it may need stay in the job's document
 * (pinned); when it is over the job says what its tasks are.  Not the lock: updates_start.c sets
 * it, updates_settle() takes it away.
 */
#include "base/json.h"
#include "base/log.h"
#include "master/updater/updates_priv.h"

#include <string.h>
#include <utlist.h>

void updates_pin(struct updates_entry *entry, struct state_job *job)
{
    struct update *update = entry->update;

    entry->pins = mem_alloc((update->n_configs + 1) * sizeof(struct state_config *));
    for (size_t i = 0; i < update->n_configs; i++) {
        entry->pins[i] = state_config_find(job, update->configs[i]);
        if (entry->pins[i] != NULL) {
            entry->pins[i]->pins++;
        }
    }
}

void updates_unpin(struct updates_entry *entry)
{
    for (size_t i = 0; entry->pins != NULL && i < entry->update->n_configs; i++) {
        if (entry->pins[i] != NULL) {
            entry->pins[i]->pins--;
        }
    }
    free(entry->pins);
    entry->pins = NULL;
}

/* Those that stay: active and not about to vanish. */
static bool stays(const struct state_task *task)
{
    return task_is_active(task->t.status) && task->t.status != TASK_KILLING;
}

const char **updates_present(const struct state_job *job, size_t *ret_n)
{
    const char **present;
    const struct state_task *task;
    size_t n = 0;

    DL_FOREACH2(job->tasks, task, job_next)
    {
        if (stays(task) && (size_t)task->t.instance >= n) {
            n = (size_t)task->t.instance + 1;
        }
    }
    present = mem_alloc((n + 1) * sizeof(char *));
    DL_FOREACH2(job->tasks, task, job_next)
    {
        if (stays(task)) {
            present[task->t.instance] = task->t.config;
        }
    }
    *ret_n = n;
    return present;
}

/* The configuration that most of its instances have; the present one when that is not less. */
static struct state_config *most_used(const struct state_job *job, size_t *ret_n)
{
    struct state_config *config;
    struct state_config *best = NULL;
    const struct state_task *task;
    size_t best_n = 0;

    *ret_n = 0;
    for (config = job->configs; config != NULL; config = config->hh.next) {
        size_t n = 0;

        DL_FOREACH2(job->tasks, task, job_next)
        {
            n += task->config == config && stays(task);
        }
        *ret_n += n;
        if (n > best_n || (n == best_n && n > 0 && config == job->current)) {
            best = config;
            best_n = n;
        }
    }
    return best != NULL ? best : job->current;
}

/* The job says how many instances it has; its configuration is the same otherwise. */
static void set_instances(struct state_job *job, struct state_config *config, size_t n)
{
    CLEANUP(json_freep) json_t *doc = NULL;
    struct job *decoded = NULL;
    struct err err = { 0 };

    if (n == 0 || (size_t)config->job->instances == n) {
        return;
    }
    doc = json_copy(config->job->doc);
    json_put_int(doc, "instances", (int64_t)n);
    if (job_decode_trusted(doc, &decoded, &err) < 0 || decoded == NULL) {
        log_error("cannot count the instances of a job: %s job=%s", err.msg, job->key_text);
        return;
    }
    (void)snprintf(decoded->hash, sizeof(decoded->hash), "%s", config->job->hash);
    (void)state_config_add_take(job, decoded);
}

/* The job after an update: what it is now is what its tasks are. */
void updates_settle(struct updates *updates, struct state_job *job)
{
    size_t n;
    struct state_config *config = most_used(job, &n);

    if (config != NULL) {
        job->current = config;
        set_instances(job, config, n);
    }
    free(job->update_id);
    job->update_id = NULL;
    state_job_touch(updates->state, job);
    state_job_forget_if_empty(updates->state, job);
}
