/* SPDX-License-Identifier: Apache-2.0 */
/* updates: carries rolling updates out.
 *
 * The shell around updater.c (pure).  It shows the rules what each instance looks like, does
 * what they order through steer.c, and keeps documents, job locks and configurations in step.
 *
 * Happy path: updates_start() makes the document and locks the job; the state changes, the
 * listener looks at each update whose job has changed, orders are carried out and the
 * document is written in the same turn; when the update is over the job gets its
 * configuration and is unlocked.
 * How an instance changes: its task is asked to restart, and steer.c asks us for the
 * configuration of the next run: on_ended().  Nothing is ever left without a task because an
 * update was paused, aborted or lost its master between two steps.
 * Failures: a document or a configuration that is not there any more: the update ends as
 * ERROR, and the job stays as it is.
 * Invariants: job->update_id is the id of an active update, and each active update's job
 * has it; an active update's configurations are pinned.
 */
#include "master/updater/updates.h"

#include "base/clock.h"
#include "base/fault.h"
#include "base/json.h"
#include "base/log.h"
#include "base/str.h"
#include "master/drain/sla_rule.h"
#include "master/state/state_doc.h"
#include "master/updater/updates_priv.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

enum {
    KEPT_PER_JOB = 10, /* Updates that are over. */
    TIMER_GRAIN_MS = 5,
};
#define KEPT_MS (UINT64_C(30) * 24 * 60 * 60 * 1000)

/* ---- Entries ---- */

struct updates_entry *updates_entry_find(const struct updates *updates, const char *id)
{
    struct updates_entry *entry = NULL;

    if (id != NULL) {
        HASH_FIND_STR(updates->by_id, id, entry);
    }
    return entry;
}

struct updates_entry *updates_entry_add_take(struct updates *updates, struct update *update)
{
    struct updates_entry *entry = mem_alloc(sizeof(*entry));

    entry->updates = updates;
    entry->update = update;
    entry->look = true;
    DL_PREPEND(updates->newest, entry);
    HASH_ADD_KEYPTR(hh, updates->by_id, update->id, strlen(update->id), entry);
    if (update_status_is_active(update->status)) {
        DL_APPEND2(updates->active, entry, active_prev, active_next);
    }
    return entry;
}

static void entry_free(struct updates_entry *entry)
{
    struct updates *updates = entry->updates;

    HASH_DEL(updates->by_id, entry);
    DL_DELETE(updates->newest, entry);
    update_free(entry->update);
    free(entry->pins);
    free(entry);
}

const struct update *updates_find(const struct updates *updates, const char *id)
{
    const struct updates_entry *entry = updates_entry_find(updates, id);

    return entry != NULL ? entry->update : NULL;
}

const struct update *updates_active(const struct updates *updates, const char *job)
{
    const struct state_job *found = state_job_find(updates->state, job);

    return found != NULL ? updates_find(updates, found->update_id) : NULL;
}

const struct update *updates_next(const struct updates *updates, const struct update *before)
{
    const struct updates_entry *entry = updates->newest;

    if (before != NULL) {
        entry = updates_entry_find(updates, before->id);
        entry = entry != NULL ? entry->next : NULL;
    }
    return entry != NULL ? entry->update : NULL;
}

/* Dies, in tests, where the update is in a given state. */
static void crash_point(const struct update *update)
{
#ifdef WITH_FAULTS
    char name[64];

    (void)snprintf(name, sizeof(name), "master.update.%s", update_status_name(update->status));
    CRASH_POINT(name);
#else
    (void)update;
#endif
}

void updates_put(struct updates_entry *entry)
{
    entry->update->changed = false;
    (void)state_doc_put_take(entry->updates->state, STATE_DOC_UPDATE, entry->update->id,
                             update_encode(entry->update));
    crash_point(entry->update);
}

/* ---- History ---- */

static void forget(struct updates_entry *entry)
{
    state_doc_delete(entry->updates->state, STATE_DOC_UPDATE, entry->update->id);
    entry_free(entry);
}

/* Of all jobs, or of the one whose update has just ended: that one stays. */
static void forget_old(struct updates *updates, const struct updates_entry *ended)
{
    const char *job = ended != NULL ? ended->update->job : NULL;
    uint64_t now = clock_wall_ms();
    struct updates_entry *entry;
    struct updates_entry *next;
    size_t n = 0;

    DL_FOREACH_SAFE(updates->newest, entry, next)
    {
        bool of_job = job != NULL && strcmp(entry->update->job, job) == 0;

        if (entry == ended || update_status_is_active(entry->update->status)) {
            continue;
        }
        n += of_job;
        if ((of_job && n >= KEPT_PER_JOB) || entry->update->modified_ms + KEPT_MS < now) {
            forget(entry);
        }
    }
}

void updates_finish(struct updates_entry *entry)
{
    struct updates *updates = entry->updates;
    struct state_job *job = state_job_find(updates->state, entry->update->job);

    log_info("update is over: %s update=%s job=%s", update_status_name(entry->update->status),
             entry->update->id, entry->update->job);
    updates_unpin(entry);
    DL_DELETE2(updates->active, entry, active_prev, active_next);
    if (job != NULL && str_eq(job->update_id, entry->update->id)) {
        updates_settle(updates, job);
    }
    forget_old(updates, entry);
}

/* ---- Being told ---- */

static void on_timer(uv_timer_t *timer);

void updates_arm(struct updates *updates, uint64_t when_ms)
{
    uint64_t now = clock_wall_ms();

    if (when_ms == 0 || (updates->armed_ms != 0 && updates->armed_ms <= when_ms)) {
        return;
    }
    updates->armed_ms = when_ms;
    uv_timer_start(&updates->timer, on_timer, (when_ms > now ? when_ms - now : 0) + TIMER_GRAIN_MS,
                   0);
}

static bool is_due(const struct updates_entry *entry, uint64_t now)
{
    const struct state_job *job;

    if (entry->look || (entry->wake_ms != 0 && entry->wake_ms <= now)) {
        return true;
    }
    job = state_job_find(entry->updates->state, entry->update->job);
    return job == NULL || job->changes != entry->seen_changes;
}

static void look_at_all(struct updates *updates, uint64_t now)
{
    struct updates_entry *entry;
    struct updates_entry *next;

    DL_FOREACH_SAFE2(updates->active, entry, next, active_next)
    {
        if (is_due(entry, now)) {
            updates_look(entry);
        }
    }
}

static void on_changed(struct state_listener *listener)
{
    look_at_all(listener->data, clock_wall_ms());
}

static void on_timer(uv_timer_t *timer)
{
    struct updates *updates = timer->data;
    uint64_t now = clock_wall_ms();
    /* So late it would be now, had the clock not been set back. */
    uint64_t due = now > updates->armed_ms ? now : updates->armed_ms;
    const struct updates_entry *entry;

    updates->armed_ms = 0;
    look_at_all(updates, due);
    DL_FOREACH2(updates->active, entry, active_next)
    {
        updates_arm(updates, entry->wake_ms);
    }
}

/* A coordinator said yes. */
static void on_granted(struct state_task *task, void *data)
{
    struct updates *updates = data;
    struct updates_entry *entry = updates_entry_find(updates, task->job->update_id);

    if (entry != NULL && update_status_is_active(entry->update->status)) {
        updater_ask_again(entry->update, task->t.instance);
        updates_look(entry);
    }
}

/* A task of a job that is being updated ends: what it counts for, and what its next run is. */
static struct state_config *on_ended(struct state_task *task, enum task_status status,
                                     const char *reason, void *data)
{
    struct updates *updates = data;
    struct updates_entry *entry = updates_entry_find(updates, task->job->update_id);
    enum task_status was = task->t.status;
    bool asked = was == TASK_KILLING || was == TASK_RESTARTING || was == TASK_DRAINING ||
                 was == TASK_PREEMPTING;
    CLEANUP(mem_freep) char *text = NULL;
    int config;

    if (entry == NULL || entry->pins == NULL) {
        return NULL;
    }
    text = str_printf("exited unexpectedly (%s%s%s)", task_status_name(status),
                      reason != NULL ? ": " : "", reason != NULL ? reason : "");
    config = update_find_config(entry->update, task->t.config);
    updater_ended(entry->update, task->t.instance, config, task->t.id, asked, text,
                  clock_wall_ms());
    if (entry->update->changed) {
        updates_put(entry); /* Before the task's own change. */
        entry->look = true;
    }
    config = updater_next_config(entry->update, task->t.instance, config);
    return config != UPDATE_NO_CONFIG ? entry->pins[config] : NULL;
}

/* ---- Commands ---- */

int updates_check_command(const struct updates *updates, const char *job, const char *id,
                          enum updater_command command, const struct update **ret_update,
                          struct err *err)
{
    const struct update *update =
        id != NULL ? updates_find(updates, id) : updates_active(updates, job);

    if (update == NULL || strcmp(update->job, job) != 0) {
        if (id == NULL) {
            return err_set(err, ERR_NOTFOUND, "No active update found for this job.");
        }
        return err_set(err, ERR_NOTFOUND, "Update does not exist: %.100s", id);
    }
    if (updater_check(update, command, clock_wall_ms(), err) < 0) {
        return err->code;
    }
    *ret_update = update;
    return 0;
}

int updates_command(struct updates *updates, const char *job, const char *id,
                    enum updater_command command, const char *message, const char *user,
                    struct err *err)
{
    const struct update *update = NULL;
    struct updates_entry *entry;

    if (updates_check_command(updates, job, id, command, &update, err) < 0 || update == NULL) {
        return err->code;
    }
    entry = updates_entry_find(updates, update->id);
    if (updater_command(entry->update, command, clock_wall_ms(), message, user, err) < 0) {
        return err->code;
    }
    updates_put(entry);
    if (update_status_is_active(entry->update->status)) {
        updates_look(entry);
    } else {
        updates_finish(entry);
    }
    return 0;
}

int updates_pulse(struct updates *updates, const char *id, bool *ret_active, struct err *err)
{
    struct updates_entry *entry = updates_entry_find(updates, id);

    if (entry == NULL) {
        return err_set(err, ERR_NOTFOUND, "Update does not exist: %.100s", id);
    }
    *ret_active = updater_pulse(entry->update, clock_wall_ms());
    if (*ret_active) {
        updates_put(entry);
        updates_look(entry);
    }
    return 0;
}

/* ---- Life ---- */

static int compare_created(struct updates_entry *a, struct updates_entry *b)
{
    if (a->update->created_ms != b->update->created_ms) {
        return a->update->created_ms > b->update->created_ms ? -1 : 1;
    }
    return strcmp(b->update->id, a->update->id);
}

static void load(struct updates *updates)
{
    struct state_doc *doc;

    for (doc = state_docs(updates->state, STATE_DOC_UPDATE); doc != NULL; doc = doc->hh.next) {
        struct update *update = NULL;
        struct err err = { 0 };

        if (update_decode(doc->json, &update, &err) < 0 || !str_eq(update->id, doc->name)) {
            log_error("cannot read an update, it is left alone: %s update=%s", err.msg, doc->name);
            update_free(update);
            continue;
        }
        (void)updates_entry_add_take(updates, update);
    }
    DL_SORT(updates->newest, compare_created);
}

/* What a crash between two writes left half done. */
static void mend(struct updates *updates)
{
    struct updates_entry *entry;
    struct state_job *job;
    struct state_job *next;

    DL_FOREACH(updates->newest, entry)
    {
        job = state_job_find(updates->state, entry->update->job);
        if (!update_status_is_active(entry->update->status)) {
            continue;
        }
        log_info("going on with an update: %s update=%s job=%s",
                 update_status_name(entry->update->status), entry->update->id, entry->update->job);
        if (job == NULL) {
            continue; /* updates_look() gives it up. */
        }
        if (!str_eq(job->update_id, entry->update->id)) {
            free(job->update_id);
            job->update_id = mem_strdup(entry->update->id);
            state_job_touch(updates->state, job);
        }
        updates_pin(entry, job);
    }
    for (job = state_jobs(updates->state); job != NULL; job = next) {
        next = job->hh.next;
        entry = updates_entry_find(updates, job->update_id);
        if (job->update_id != NULL &&
            (entry == NULL || !update_status_is_active(entry->update->status))) {
            log_warn("job was held by an update that is over, or gone job=%s", job->key_text);
            updates_settle(updates, job);
        }
    }
}

struct updates *updates_new(struct state *state, struct steer *steer)
{
    struct updates *updates = mem_alloc(sizeof(*updates));

    updates->state = state;
    updates->steer = steer;
    updates->sla = updates_sla_new(state, on_granted, updates);
    uv_timer_init(state_loop(state), &updates->timer);
    updates->timer.data = updates;
    updates->listener.data = updates;
    load(updates);
    mend(updates);
    forget_old(updates, NULL);
    steer_on_ended(steer, on_ended, updates);
    state_listen(state, &updates->listener, on_changed);
    state_bump(state); /* Have a look soon. */
    return updates;
}

static void on_sla_closed(void *closed)
{
    struct updates *updates = closed;
    updates_cb cb = updates->close_cb;
    void *data = updates->close_data;
    struct updates_entry *entry;
    struct updates_entry *next;

    DL_FOREACH_SAFE(updates->newest, entry, next)
    {
        entry_free(entry);
    }
    free(updates);
    if (cb != NULL) {
        cb(data);
    }
}

static void on_closed(uv_handle_t *handle)
{
    struct updates *updates = handle->data;

    updates_sla_close(updates->sla, on_sla_closed, updates);
}

void updates_close(struct updates *updates, updates_cb cb, void *data)
{
    updates->close_cb = cb;
    updates->close_data = data;
    steer_on_ended(updates->steer, NULL, NULL);
    state_unlisten(&updates->listener);
    uv_close((uv_handle_t *)&updates->timer, on_closed);
}
