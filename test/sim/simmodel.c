/* SPDX-License-Identifier: Apache-2.0 */
/* simmodel: the users' side of the bargain.
 *
 * Per instance of a job: it is to run, it is not, or nobody can know, because the operation that
 * was to change it disappeared half way.
 */
#include "simmodel_priv.h"

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "simloop.h"

#include <stdio.h>
#include <string.h>

struct entry *simmodel_find(const struct simmodel *model, const char *job)
{
    struct entry *entry = NULL;

    HASH_FIND_STR(model->entries, job, entry);
    return entry;
}

struct entry *simmodel_need(struct simmodel *model, const char *job)
{
    struct entry *entry = simmodel_find(model, job);

    if (entry == NULL) {
        entry = mem_alloc(sizeof(*entry));
        entry->job = mem_strdup(job);
        HASH_ADD_KEYPTR(hh, model->entries, entry->job, strlen(entry->job), entry);
    }
    return entry;
}

bool simmodel_wants(const struct simmodel *model, const char *job)
{
    const struct entry *entry = simmodel_find(model, job);

    for (int i = 0; entry != NULL && i < MAX_INSTANCES; i++) {
        if (entry->instances[i].want != WANT_NO) {
            return true;
        }
    }
    return false;
}

/* ---- Operations ---- */

static void created(struct entry *entry, const struct simop *op)
{
    const json_t *job = json_object_get(op->input, "job");
    int n = (int)json_int_or(job, "instances", 1);
    bool sure = op->status == SIMOP_DONE;

    for (int i = 0; i < MAX_INSTANCES; i++) {
        struct instance *instance = &entry->instances[i];

        if (i < n) {
            instance->want = sure ? WANT_YES : WANT_MAYBE;
            (void)snprintf(instance->config, sizeof(instance->config), "%s",
                           sure ? json_str_or(op->result, "config", "") : "");
            instance->service = json_is_true(json_object_get(job, "service"));
        } else if (sure) {
            instance->want = WANT_NO;
        }
    }
}

static void killed(struct entry *entry, const struct simop *op)
{
    const json_t *instances = json_object_get(op->input, "instances");
    bool sure = op->status == SIMOP_DONE;

    for (int i = 0; i < MAX_INSTANCES; i++) {
        bool named = !json_is_array(instances);
        json_t *item;
        size_t at;

        json_array_foreach(instances, at, item)
        {
            named = named || json_integer_value(item) == i;
        }
        if (named && entry->instances[i].want != WANT_NO) {
            entry->instances[i].want = sure ? WANT_NO : WANT_MAYBE;
        }
    }
}

/* Added instances are what the one they were copied from is. */
static void added(struct entry *entry, const struct simop *op)
{
    json_t *item;
    size_t at;

    json_array_foreach(json_object_get(op->result, "instances"), at, item)
    {
        if (op->status == SIMOP_DONE && json_integer_value(item) < MAX_INSTANCES) {
            struct instance *instance = &entry->instances[json_integer_value(item)];

            *instance = (struct instance){ .want = WANT_YES };
        }
    }
    for (int i = 0; op->status != SIMOP_DONE && i < MAX_INSTANCES; i++) {
        if (entry->instances[i].want == WANT_NO) {
            entry->instances[i] = (struct instance){ .want = WANT_MAYBE };
        }
    }
}

/* Some work may give up: it says so, and takes nothing away. */
static bool may_fail(const char *opcode)
{
    return str_starts(opcode, "OP_JOB_UPDATE") || str_eq(opcode, "OP_JOB_RESTART") ||
           str_eq(opcode, "OP_JOB_SCALE") || str_eq(opcode, "OP_NODE_EVACUATE") ||
           str_starts(opcode, "OP_CRON");
}

void simmodel_ended(struct simmodel *model, const struct simop *op)
{
    if (op->status == SIMOP_REJECTED || op->status == SIMOP_QUEUED) {
        return;
    }
    if (op->status == SIMOP_FAILED) {
        SIM_CHECK(may_fail(op->opcode->name) ||
                      str_starts(op->err.msg, "Insufficient resource quota"), /* Just taken. */
                  "%s failed: %s", op->opcode->name, op->err.msg);
        return;
    }
    if (op->job != NULL && op->status == SIMOP_DONE &&
        !str_starts(op->opcode->name, "OP_JOB_UPDATE")) {
        const struct entry *entry = simmodel_find(model, op->job);

        SIM_CHECK(entry == NULL || entry->update == NULL || !simupdates_older(entry, op->begun_ms),
                  "%s is carried out although %s is updating", op->opcode->name, op->job);
    }
    if (str_eq(op->opcode->name, "OP_JOB_CREATE")) {
        created(simmodel_need(model, op->job), op);
    } else if (str_eq(op->opcode->name, "OP_JOB_KILL")) {
        killed(simmodel_need(model, op->job), op);
    } else if (str_eq(op->opcode->name, "OP_JOB_SCALE")) {
        added(simmodel_need(model, op->job), op);
    }
}

/* ---- The end ---- */

/* Has it ended in a way that no other run follows? */
static bool is_over(const struct simmodel *model, const struct simcheck_task *task)
{
    const struct simcheck_config *config = simcheck_config(model->check, task);

    if (config == NULL || config->service) {
        return false;
    }
    return task->status == TASK_FINISHED ||
           (task->status == TASK_FAILED && config->max_failures != -1 &&
            task->failures >= config->max_failures);
}

static void check_wanted(const struct simmodel *model, const struct entry *entry, int i)
{
    const struct instance *instance = &entry->instances[i];
    const struct simcheck_task *task = simcheck_instance(model->check, entry->job, i);
    const struct simcheck_task *last;

    if (task != NULL) {
        SIM_CHECK(instance->config[0] == '\0' || str_eq(instance->config, task->config),
                  "%s instance %d is wanted as %s and is %s", entry->job, i, instance->config,
                  task->config);
        return;
    }
    last = simcheck_newest(model->check, entry->job, i);
    if (last != NULL && sim_clocks_differ()) {
        return; /* By the clock, its newest run may have been forgotten before an older one. */
    }
    SIM_CHECK(instance->want == WANT_MAYBE || last == NULL || is_over(model, last),
              "%s instance %d is wanted, its last run %s is %s and none follows", entry->job, i,
              last->id, task_status_name(last->status));
    /* What was over long ago is forgotten; a service never is over. */
    SIM_CHECK(instance->want == WANT_MAYBE || last != NULL || !instance->service,
              "%s instance %d is wanted and never ran", entry->job, i);
}

void simmodel_check(const struct simmodel *model)
{
    const struct entry *entry;
    const struct simcheck_task *task;

    for (entry = model->entries; entry != NULL; entry = entry->hh.next) {
        SIM_CHECK(entry->update == NULL, "the update of %s never ends", entry->job);
        for (int i = 0; i < MAX_INSTANCES; i++) {
            if (entry->instances[i].want != WANT_NO) {
                check_wanted(model, entry, i);
            }
        }
    }
    for (task = simcheck_active(model->check); task != NULL; task = task->next) {
        if (simcrons_is(task->job)) {
            continue;
        }
        entry = simmodel_find(model, task->job);
        SIM_CHECK(entry != NULL && task->instance < MAX_INSTANCES &&
                      entry->instances[task->instance].want != WANT_NO,
                  "%s instance %d is not wanted and is %s", task->job, task->instance,
                  task_status_name(task->status));
    }
}

struct simmodel *simmodel_new(struct simtree *tree, const struct simcheck *check,
                              const struct simops *ops, bool quiet)
{
    struct simmodel *model = mem_alloc(sizeof(*model));

    model->tree = tree;
    model->check = check;
    model->ops = ops;
    model->quiet = quiet;
    simupdates_begin(model);
    simcrons_begin(model);
    return model;
}

void simmodel_free(struct simmodel *model)
{
    struct entry *entry, *next;

    simupdates_end(model);
    simcrons_end(model);
    HASH_ITER(hh, model->entries, entry, next)
    {
        HASH_DEL(model->entries, entry);
        free(entry->job);
        free(entry);
    }
    free(model);
}
