/* SPDX-License-Identifier: Apache-2.0 */
/* updates_look: one look at an update: what its instances are, and what follows.
 *
 * Shows the rules (updater.c) the job's tasks and carries out what they order, each order once
 * and at once.  When to look is updates.c's.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "master/state/state_doc.h"
#include "master/updater/updates_priv.h"

#include <utlist.h>

/* Takes the document's place in the queue, before the tasks that are touched next. */
static void put_before(struct updates_entry *entry)
{
    struct state *state = entry->updates->state;
    const struct state_doc *doc = state_doc_find(state, STATE_DOC_UPDATE, entry->update->id);

    if (doc != NULL) {
        (void)state_doc_put_take(state, STATE_DOC_UPDATE, entry->update->id, doc->json);
        entry->update->changed = true;
    }
}

/* One look at an update. */
struct look {
    struct updates_entry *entry;
    struct state_job *job;
    struct state_task **tasks; /* Active ones by instance. */
    size_t n_tasks;
};

static void collect(struct look *look)
{
    struct state_task *task;
    int max = -1;

    DL_FOREACH2(look->job->tasks, task, job_next)
    {
        max = task->t.instance > max ? task->t.instance : max;
    }
    for (size_t i = 0; i < look->entry->update->n_instances; i++) {
        int id = look->entry->update->instances[i].id;

        max = id > max ? id : max;
    }
    look->n_tasks = (size_t)max + 1;
    look->tasks = mem_alloc((look->n_tasks + 1) * sizeof(struct state_task *));
    DL_FOREACH2(look->job->tasks, task, job_next)
    {
        if (task_is_active(task->t.status)) {
            look->tasks[task->t.instance] = task;
        }
    }
}

static void see(void *data, int instance, struct updater_seen *ret_seen)
{
    const struct look *look = data;
    const struct state_task *task = look->tasks[instance];

    if (task == NULL) {
        return;
    }
    *ret_seen = (struct updater_seen){
        .there = true,
        .config = update_find_config(look->entry->update, task->t.config),
        .status = task->t.status,
        .since_ms = task->since_ms,
    };
}

static bool may_end(void *data, int instance)
{
    const struct look *look = data;
    const struct state_task *task = look->tasks[instance];

    return task == NULL || updates_sla_may_end(look->entry->updates->sla, task);
}

/* The active task of an instance after the end of one was asked for: mostly still that one. */
static struct state_task *find_active(const struct look *look, int instance, const char *asked)
{
    struct state_task *task = state_task_find(look->entry->updates->state, asked);

    if (task != NULL && task_is_active(task->t.status)) {
        return task;
    }
    DL_FOREACH2(look->job->tasks, task, job_next)
    {
        if (task->t.instance == instance && task_is_active(task->t.status)) {
            return task;
        }
    }
    return NULL;
}

static bool was_never_placed(const struct state_task *task)
{
    return task->t.status == TASK_PENDING || task->t.status == TASK_THROTTLED;
}

/* Ends a task for the update; look->tasks afterwards says what is there. */
static void end_task(struct look *look, struct state_task *task, bool replace)
{
    const struct update *update = look->entry->update;
    struct steer *steer = look->entry->updates->steer;
    const char *user = update->user != NULL ? update->user : "UNSECURE";
    CLEANUP(mem_freep) char *message = str_printf("Update %s", update->id);
    CLEANUP(mem_freep) char *id = mem_strdup(task->t.id);
    int instance = task->t.instance;

    if (replace && !was_never_placed(task)) {
        steer_restart(steer, task, user, message, update->op_id);
    } else {
        steer_kill(steer, task, user, message, update->op_id);
    }
    look->tasks[instance] = find_active(look, instance, id);
}

static void carry_out(void *data, const struct updater_order *order)
{
    struct look *look = data;
    struct updates_entry *entry = look->entry;
    struct state_task *task = look->tasks[order->instance];

    put_before(entry);
    if (task != NULL) {
        end_task(look, task, order->kind == UPDATER_REPLACE);
    }
    if (order->kind != UPDATER_REMOVE && look->tasks[order->instance] == NULL) {
        look->tasks[order->instance] =
            steer_add_instance(entry->updates->steer, look->job, entry->pins[order->config],
                               order->instance, entry->update->op_id);
    }
}

static const struct updater_world world_of_look = {
    .look = see,
    .may_end = may_end,
    .order = carry_out,
};

static bool configs_are_there(const struct updates_entry *entry)
{
    for (size_t i = 0; i < entry->update->n_configs; i++) {
        if (entry->pins[i] == NULL) {
            return false;
        }
    }
    return true;
}

void updates_look(struct updates_entry *entry)
{
    struct updates *updates = entry->updates;
    struct update *update = entry->update;
    struct look look = { .entry = entry, .job = state_job_find(updates->state, update->job) };
    struct updater_world world = world_of_look;
    uint64_t now = clock_wall_ms();

    entry->look = false;
    if (!update_status_is_active(update->status)) {
        return;
    }
    if (look.job == NULL || !configs_are_there(entry)) {
        updater_give_up(update, "The job, or a configuration of it, is not there any more.", now);
    } else {
        world.data = &look;
        entry->seen_changes = look.job->changes; /* What is ordered now is a change, too. */
        collect(&look);
        updater_step(update, &world, now, &entry->wake_ms);
        free(look.tasks);
        updates_arm(updates, entry->wake_ms);
    }
    if (update->changed) {
        log_debug("update: %s update=%s job=%s", update_status_name(update->status), update->id,
                  update->job);
        updates_put(entry);
    }
    if (!update_status_is_active(update->status)) {
        updates_finish(entry);
    }
}
