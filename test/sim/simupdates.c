/* SPDX-License-Identifier: Apache-2.0 */
/* simupdates: what has to become of each update.
 *
 * An update is followed from the first write of its document to its last status.  When it is over:
 *   ROLLED_FORWARD  every instance of its scope is as it was asked for;
 *   ROLLED_BACK     every instance is as it was before;
 *   ABORTED, FAILED no instance that was before and was to be after is gone.
 * And it may not end as it likes: one to tasks that never become healthy cannot go forward, one to
 * good tasks in a quiet history cannot fail (unless a clock that jumps ahead makes them late),
 * nothing is aborted or turned unless somebody said so.
 */
#include "simmodel_priv.h"

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "simloop.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct followed {
    char *id, *status;
    json_t *task; /* As asked for. */
    char target[17];
    int n; /* Instances of the new configuration. */
    bool scope[MAX_INSTANCES];
    char before[MAX_INSTANCES][17]; /* "": no task. */
    uint64_t going[MAX_INSTANCES];  /* The order of a run that was being restarted before; 0. */
    bool may_end[MAX_INSTANCES];    /* What was before is no service: it may be over. */
    int changes;                    /* Instances that are to get the new configuration. */
    int total;                      /* Failures that it puts up with. */
    unsigned most;                  /* Instances at a time. */
    bool held;                      /* It was paused or blocked by the transaction before. */
    bool turned;                    /* It has rolled back for a while. */
    bool sick, was_sick, rollback, back_asked, abort_asked;
    uint64_t began_ms;
    int64_t created_ms; /* Wall clock. */
};

static void free_followed(struct followed *update)
{
    free(update->id);
    free(update->status);
    json_decref(update->task);
    free(update);
}

bool simupdates_older(const struct entry *entry, uint64_t at_ms)
{
    return entry->update->began_ms < at_ms;
}

/* ---- Its beginning ---- */

static bool is_sick(const json_t *config)
{
    CLEANUP(mem_freep) char *text = json_dumps(json_object_get(config, "task"), JSON_COMPACT);

    return text != NULL && strstr(text, "plan=sick") != NULL;
}

/* The largest batch. */
static unsigned read_most(const json_t *settings)
{
    const json_t *strategy = json_object_get(settings, "update_strategy");
    json_int_t most = json_int_or(json_is_object(strategy) ? strategy : settings, "batch_size", 1);
    json_t *size;
    size_t i;

    json_array_foreach(json_object_get(strategy, "batch_sizes"), i, size)
    {
        most = json_integer_value(size) > most ? json_integer_value(size) : most;
    }
    return (unsigned)most;
}

static void read_scope(struct followed *update, const json_t *instances)
{
    json_t *item;
    size_t i;

    for (i = 0; i < MAX_INSTANCES; i++) {
        update->scope[i] = !json_is_array(instances) || json_array_size(instances) == 0;
    }
    json_array_foreach((json_t *)instances, i, item)
    {
        if (json_integer_value(item) < MAX_INSTANCES) {
            update->scope[json_integer_value(item)] = true;
        }
    }
}

/* What is there right now, by the store.  What is being killed is as good as gone. */
static void read_before(const struct simmodel *model, const char *job, struct followed *update)
{
    for (int i = 0; i < MAX_INSTANCES; i++) {
        const struct simcheck_task *task = simcheck_instance(model->check, job, i);

        if (task != NULL && task->status == TASK_RESTARTING) {
            update->going[i] = task->order;
        }
        if (task != NULL && task->status != TASK_KILLING) {
            const struct simcheck_config *config = simcheck_config(model->check, task);

            (void)snprintf(update->before[i], sizeof(update->before[i]), "%s", task->config);
            update->may_end[i] = config != NULL && !config->service;
            update->was_sick = update->was_sick || (config != NULL && is_sick(config->doc));
        }
        if (update->scope[i] && i < update->n && !str_eq(update->before[i], update->target)) {
            update->changes++;
        }
    }
}

static void begin(struct simmodel *model, const char *id, const json_t *doc)
{
    const char *job = json_str_or(doc, "job", "");
    const struct simop *op = simops_find(model->ops, json_str_or(doc, "op_id", ""));
    struct entry *entry = simmodel_need(model, job);
    struct followed *update = mem_alloc(sizeof(*update));
    const json_t *config, *settings;

    SIM_CHECK(entry->update == NULL, "two updates of %s at a time", job);
    SIM_CHECK(op != NULL && str_eq(op->job, job), "update %s was asked for by nobody", id);
    config = json_object_get(op->input, "job");
    settings = json_object_get(config, "update_config");
    entry->update = update;
    update->id = mem_strdup(id);
    update->began_ms = sim_now();
    (void)snprintf(update->target, sizeof(update->target), "%s", json_str_or(doc, "new", ""));
    update->n = (int)json_int_or(config, "instances", 1);
    update->total = (int)json_int_or(settings, "max_total_failures", 0);
    update->most = read_most(settings);
    update->created_ms = json_int_or(doc, "created_ms", 0);
    update->rollback = json_bool_or(settings, "rollback_on_failure", true);
    update->sick = is_sick(config);
    update->task = json_deep_copy(json_object_get(config, "task"));
    read_scope(update, json_object_get(op->input, "instances"));
    read_before(model, job, update);
}

/* In front of simcheck.c, whose picture is still that of before the transaction. */
static void on_before(struct simtree *tree, int64_t session, const struct simtree_change *changes,
                      size_t n, void *data)
{
    (void)session;
    for (size_t i = 0; i < n; i++) {
        const char *path = changes[i].path;

        if (str_starts(path, "/davit/updates/") && changes[i].kind == SIMTREE_MADE) {
            CLEANUP(json_freep) json_t *doc = json_loads(simtree_find(tree, path)->bytes, 0, NULL);

            SIM_CHECK(json_is_object(doc), "%s is no JSON object", path);
            begin(data, strrchr(path, '/') + 1, doc);
        }
    }
}

/* Is it to what was asked for? */
static void check_target(const struct simmodel *model, const struct entry *entry)
{
    const struct followed *update = entry->update;
    const struct simcheck_job *job = simcheck_job(model->check, entry->job);
    const json_t *made =
        json_object_get(json_object_get(job != NULL ? job->doc : NULL, "configs"), update->target);

    SIM_CHECK(json_equal(json_object_get(made, "task"), update->task),
              "update %s of %s is to another configuration than was asked for", update->id,
              entry->job);
}

/* ---- Its end ---- */

static const char *config_now(const struct simmodel *model, const struct entry *entry, int i)
{
    const struct simcheck_task *task = simcheck_instance(model->check, entry->job, i);

    return task != NULL && task->status != TASK_KILLING ? task->config : "";
}

static void is_to(struct instance *instance, const char *config)
{
    instance->want = WANT_YES;
    instance->service = true;
    (void)snprintf(instance->config, sizeof(instance->config), "%s", config);
}

static void went_forward(struct simmodel *model, struct entry *entry)
{
    const struct followed *update = entry->update;

    SIM_CHECK(!update->sick || update->changes <= update->total,
              "update %s of %s to what is never healthy went forward", update->id, entry->job);
    for (int i = 0; i < MAX_INSTANCES; i++) {
        if (!update->scope[i]) {
            continue;
        }
        if (i < update->n) {
            SIM_CHECK(str_eq(config_now(model, entry, i), update->target),
                      "update %s of %s went forward, instance %d is '%s'", update->id, entry->job,
                      i, config_now(model, entry, i));
            is_to(&entry->instances[i], update->target);
        } else {
            SIM_CHECK(str_eq(config_now(model, entry, i), ""),
                      "update %s of %s went forward, instance %d is still there", update->id,
                      entry->job, i);
            entry->instances[i].want = WANT_NO;
        }
    }
    model->forward++;
}

static void went_back(struct simmodel *model, struct entry *entry)
{
    const struct followed *update = entry->update;

    SIM_CHECK(update->back_asked || update->rollback,
              "update %s of %s went back, nobody wanted that", update->id, entry->job);
    SIM_CHECK(update->back_asked || update->sick || !model->quiet || sim_clocks_differ(),
              "update %s of %s to good tasks went back in a quiet history", update->id, entry->job);
    for (int i = 0; i < MAX_INSTANCES; i++) {
        const char *now = config_now(model, entry, i);

        SIM_CHECK(str_eq(now, update->before[i]) || (now[0] == '\0' && update->may_end[i]),
                  "update %s of %s went back, instance %d was '%s' and is '%s'", update->id,
                  entry->job, i, update->before[i], config_now(model, entry, i));
        if (update->scope[i] && now[0] == '\0') {
            entry->instances[i].want = update->before[i][0] == '\0' ? WANT_NO : WANT_MAYBE;
        }
    }
    model->back++;
}

static void stopped_half_way(struct simmodel *model, struct entry *entry)
{
    const struct followed *update = entry->update;

    for (int i = 0; i < MAX_INSTANCES; i++) {
        struct instance *instance = &entry->instances[i];
        bool after = i < update->n;

        if (!update->scope[i] || str_eq(update->before[i], after ? update->target : "")) {
            continue;
        }
        if (update->before[i][0] != '\0' && after) {
            SIM_CHECK(update->may_end[i] || config_now(model, entry, i)[0] != '\0',
                      "update %s of %s stopped half way and instance %d is gone", update->id,
                      entry->job, i);
            is_to(instance, "");
            instance->want = update->may_end[i] ? WANT_MAYBE : WANT_YES;
        } else {
            instance->want = WANT_MAYBE;
            instance->config[0] = '\0';
        }
    }
}

static void finish(struct simmodel *model, struct entry *entry, const char *status)
{
    struct followed *update = entry->update;

    sim_trace("update %.8s of %s is %s", update->id, entry->job, status);
    if (str_eq(status, "ROLLED_FORWARD")) {
        went_forward(model, entry);
    } else if (str_eq(status, "ROLLED_BACK")) {
        went_back(model, entry);
    } else if (str_eq(status, "ABORTED")) {
        SIM_CHECK(update->abort_asked, "update %s of %s was aborted by nobody", update->id,
                  entry->job);
        stopped_half_way(model, entry);
        model->aborted++;
    } else {
        SIM_CHECK(str_eq(status, "FAILED"), "update %s of %s is %s", update->id, entry->job,
                  status);
        SIM_CHECK(update->sick || update->was_sick || !model->quiet || sim_clocks_differ(),
                  "update %s of %s to good tasks failed in a quiet history", update->id,
                  entry->job);
        stopped_half_way(model, entry);
        model->failed++;
    }
    free_followed(update);
    entry->update = NULL;
}

/* Has the update asked for it?  Not by the time alone: the clock may have been set back since. */
static bool restarts(const struct followed *update, const struct simcheck_task *task)
{
    const json_t *last = json_array_get(task->events, json_array_size(task->events) - 1);

    return task->status == TASK_RESTARTING &&
           json_int_or(last, "time_ms", 0) >= update->created_ms &&
           (task->instance >= MAX_INSTANCES || update->going[task->instance] != task->order);
}

/* While it is paused or blocked nothing is begun; else no more than a batch at a time.  Nobody but
 * the update restarts what it holds. */
static void check_pace(const struct simmodel *model, const struct entry *entry)
{
    const struct followed *update = entry->update;
    /* Before this transaction and after it: what came in between may be of either. */
    bool held = update->held && !str_starts(update->status, "ROLLING");
    const struct simcheck_task *task;
    unsigned n = 0;

    for (task = simcheck_active(model->check); task != NULL; task = task->next) {
        if (!str_eq(task->job, entry->job)) {
            continue;
        }
        SIM_CHECK(!held || !simcheck_moved(model->check, task, TASK_RESTARTING),
                  "update %s of %s is %s and restarts task %s", update->id, entry->job,
                  update->status, task->id);
        n += restarts(update, task);
    }
    SIM_CHECK(n <= (update->turned ? 2 : 1) * update->most,
              "update %s of %s restarts %u instances at a time, not %u", update->id, entry->job, n,
              update->most);
}

static bool is_over(const char *status)
{
    return !str_starts(status, "ROLLING") && strstr(status, "PAUSED") == NULL &&
           strstr(status, "AWAITING") == NULL;
}

static void follow(struct simmodel *model, const struct simtree *tree,
                   const struct simtree_change *change)
{
    const struct simtree_node *node = simtree_find(tree, change->path);
    CLEANUP(json_freep) json_t *doc = node != NULL ? json_loads(node->bytes, 0, NULL) : NULL;
    const char *id = strrchr(change->path, '/') + 1;
    const char *status;
    struct entry *entry;

    if (node == NULL) {
        return;
    }
    SIM_CHECK(json_is_object(doc), "%s is no JSON object", change->path);
    entry = simmodel_find(model, json_str_or(doc, "job", ""));
    status = json_str_or(doc, "status", "");
    if (entry == NULL || entry->update == NULL || !str_eq(entry->update->id, id)) {
        return; /* It was over before. */
    }
    if (change->kind == SIMTREE_MADE) {
        check_target(model, entry);
    }
    free(entry->update->status);
    entry->update->status = mem_strdup(status);
    entry->update->turned = entry->update->turned || json_bool_or(doc, "back", false);
    if (is_over(status)) {
        finish(model, entry, status);
    }
}

static void on_commit(struct simtree *tree, int64_t session, const struct simtree_change *changes,
                      size_t n, void *data)
{
    struct simmodel *model = data;

    (void)session;
    for (size_t i = 0; i < n; i++) {
        if (str_starts(changes[i].path, "/davit/updates/")) {
            follow(model, tree, &changes[i]);
        }
    }
    for (struct entry *entry = model->entries; entry != NULL; entry = entry->hh.next) {
        if (entry->update != NULL) {
            check_pace(model, entry);
            entry->update->held =
                entry->update->status != NULL && !str_starts(entry->update->status, "ROLLING");
        }
    }
}
/* ---- For the others ---- */

void simmodel_commanded(struct simmodel *model, const char *job, const char *op)
{
    struct entry *entry = simmodel_find(model, job);

    if (entry != NULL && entry->update != NULL) {
        entry->update->abort_asked |= str_eq(op, "OP_JOB_UPDATE_ABORT");
        entry->update->back_asked |= str_eq(op, "OP_JOB_UPDATE_ROLLBACK");
    }
}

const char *simmodel_update(const struct simmodel *model, const char *job)
{
    const struct entry *entry = simmodel_find(model, job);

    return entry != NULL && entry->update != NULL ? entry->update->id : NULL;
}

const char *simmodel_update_status(const struct simmodel *model, const char *job)
{
    const struct entry *entry = simmodel_find(model, job);

    return entry != NULL && entry->update != NULL ? entry->update->status : NULL;
}

bool simmodel_is_updating(const struct simmodel *model)
{
    const struct entry *entry;

    for (entry = model->entries; entry != NULL; entry = entry->hh.next) {
        if (entry->update != NULL) {
            return true;
        }
    }
    return false;
}

uint64_t simmodel_updates(const struct simmodel *model, const char *status)
{
    return str_eq(status, "ROLLED_FORWARD") ? model->forward
           : str_eq(status, "ROLLED_BACK")  ? model->back
           : str_eq(status, "ABORTED")      ? model->aborted
                                            : model->failed;
}

void simupdates_begin(struct simmodel *model)
{
    simtree_listen_first(model->tree, on_before, model);
    simtree_listen(model->tree, on_commit, model);
}

void simupdates_end(struct simmodel *model)
{
    struct entry *entry;

    simtree_unlisten(model->tree, on_before, model);
    simtree_unlisten(model->tree, on_commit, model);
    for (entry = model->entries; entry != NULL; entry = entry->hh.next) {
        if (entry->update != NULL) {
            free_followed(entry->update);
        }
    }
}
