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

/* ---- What stays with the job ---- */

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

static void unpin(struct updates_entry *entry)
{
    for (size_t i = 0; entry->pins != NULL && i < entry->update->n_configs; i++) {
        if (entry->pins[i] != NULL) {
            entry->pins[i]->pins--;
        }
    }
    free(entry->pins);
    entry->pins = NULL;
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

/* Those that stay: active and not about to vanish. */
static bool stays(const struct state_task *task)
{
    return task_is_active(task->t.status) && task->t.status != TASK_KILLING;
}

const char **updates_present(const struct state_job *job, size_t *ret_n)
{
    const char **present;
    const struct state_task *task;
    int max = -1;

    DL_FOREACH2(job->tasks, task, job_next)
    {
        if (stays(task) && task->t.instance > max) {
            max = task->t.instance;
        }
    }
    present = mem_alloc(((size_t)max + 2) * sizeof(char *));
    DL_FOREACH2(job->tasks, task, job_next)
    {
        if (stays(task)) {
            present[task->t.instance] = task->t.config;
        }
    }
    *ret_n = (size_t)(max + 1);
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
static void settle(struct updates *updates, struct state_job *job)
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

/* ---- History ---- */

static void forget(struct updates_entry *entry)
{
    state_doc_delete(entry->updates->state, STATE_DOC_UPDATE, entry->update->id);
    entry_free(entry);
}

/* Of all jobs, or of the one that just ended an update. */
static void forget_old(struct updates *updates, const char *job)
{
    uint64_t now = clock_wall_ms();
    struct updates_entry *entry;
    struct updates_entry *next;
    size_t n = 0;

    DL_FOREACH_SAFE(updates->newest, entry, next)
    {
        if (update_status_is_active(entry->update->status)) {
            continue;
        }
        if (job != NULL && strcmp(entry->update->job, job) == 0 && ++n > KEPT_PER_JOB) {
            forget(entry);
        } else if (entry->update->modified_ms + KEPT_MS < now) {
            forget(entry);
        }
    }
}

static void finish(struct updates_entry *entry)
{
    struct updates *updates = entry->updates;
    CLEANUP(mem_freep) char *key = mem_strdup(entry->update->job);
    struct state_job *job = state_job_find(updates->state, key);

    log_info("update is over: %s update=%s job=%s", update_status_name(entry->update->status),
             entry->update->id, key);
    unpin(entry);
    if (job != NULL && str_eq(job->update_id, entry->update->id)) {
        settle(updates, job);
    }
    forget_old(updates, key);
}

/* ---- Showing the rules their world ---- */

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
        .since_ms = task->t.n_events > 0 ? task->t.events[task->t.n_events - 1].time_ms : 0,
    };
}

/* A policy that somebody else decides about (SLA_ASK) is not asked here: wait. */
static bool may_end(void *data, int instance)
{
    const struct look *look = data;
    const struct state_task *task = look->tasks[instance];

    return task == NULL || sla_task_may_go(task, NULL, clock_wall_ms()) == SLA_MAY;
}

/* The active task of an instance, when the old one may be gone. */
static struct state_task *find_active(const struct look *look, int instance)
{
    struct state_task *task;

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
    int instance = task->t.instance;

    if (replace && !was_never_placed(task)) {
        steer_restart(steer, task, user, message, update->op_id);
    } else {
        steer_kill(steer, task, user, message, update->op_id);
    }
    look->tasks[instance] = find_active(look, instance);
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

static void on_timer(uv_timer_t *timer);

static void arm(struct updates *updates, uint64_t when_ms)
{
    uint64_t now = clock_wall_ms();

    if (when_ms == 0 || (updates->armed_ms != 0 && updates->armed_ms <= when_ms)) {
        return;
    }
    updates->armed_ms = when_ms;
    uv_timer_start(&updates->timer, on_timer, (when_ms > now ? when_ms - now : 0) + TIMER_GRAIN_MS,
                   0);
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
        arm(updates, entry->wake_ms);
    }
    if (update->changed) {
        log_debug("update: %s update=%s job=%s", update_status_name(update->status), update->id,
                  update->job);
        updates_put(entry);
    }
    if (!update_status_is_active(update->status)) {
        finish(entry);
    }
}

/* ---- Being told ---- */

static bool is_due(const struct updates_entry *entry, uint64_t now)
{
    const struct state_job *job;

    if (!update_status_is_active(entry->update->status)) {
        return false;
    }
    if (entry->look || (entry->wake_ms != 0 && entry->wake_ms <= now)) {
        return true;
    }
    job = state_job_find(entry->updates->state, entry->update->job);
    return job == NULL || job->changes != entry->seen_changes;
}

/* What ends one forgets older ones, which lie behind it. */
static void look_at_all(struct updates *updates)
{
    uint64_t now = clock_wall_ms();
    struct updates_entry *entry;

    for (entry = updates->newest; entry != NULL; entry = entry->next) {
        if (is_due(entry, now)) {
            updates_look(entry);
        }
    }
}

static void on_changed(struct state_listener *listener)
{
    look_at_all(listener->data);
}

static void on_timer(uv_timer_t *timer)
{
    struct updates *updates = timer->data;
    const struct updates_entry *entry;

    updates->armed_ms = 0;
    look_at_all(updates);
    DL_FOREACH(updates->newest, entry)
    {
        if (update_status_is_active(entry->update->status)) {
            arm(updates, entry->wake_ms);
        }
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

    if (updates_check_command(updates, job, id, command, &update, err) < 0) {
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
        finish(entry);
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
            settle(updates, job);
        }
    }
}

struct updates *updates_new(struct state *state, struct steer *steer)
{
    struct updates *updates = mem_alloc(sizeof(*updates));

    updates->state = state;
    updates->steer = steer;
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

static void on_closed(uv_handle_t *handle)
{
    struct updates *updates = handle->data;
    updates_cb cb = updates->close_cb;
    void *data = updates->close_data;

    while (updates->newest != NULL) {
        entry_free(updates->newest);
    }
    free(updates);
    if (cb != NULL) {
        cb(data);
    }
}

void updates_close(struct updates *updates, updates_cb cb, void *data)
{
    updates->close_cb = cb;
    updates->close_data = data;
    steer_on_ended(updates->steer, NULL, NULL);
    state_unlisten(&updates->listener);
    uv_close((uv_handle_t *)&updates->timer, on_closed);
}
