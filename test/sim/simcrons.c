/* SPDX-License-Identifier: Apache-2.0 */
/* simcrons: one launch per tick, whatever happened to masters in between.
 *
 * A launch shows in the store by first runs (without an ancestor) of a cron job's instances; whose
 * operation made them, and for which tick, the operation's input says.
 */
#include "simmodel_priv.h"

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "simloop.h"

#include <inttypes.h>
#include <string.h>

/* Of one job for one tick. */
struct launch {
    char *of; /* Job and tick. */
    char op[37];
    UT_hash_handle hh;
};

bool simcrons_is(const char *job)
{
    const char *slash = strrchr(job, '/');

    return slash != NULL && slash[1] == 'c';
}

static void launched(struct simmodel *model, const struct simcheck_task *task)
{
    const char *op_id = json_str_or(task->doc, "op_id", "");
    const struct simop *op = simops_find(model->ops, op_id);
    struct launch *launch = NULL;

    SIM_CHECK(op != NULL && str_eq(op->opcode->name, "OP_CRON_START"),
              "task %s of a cron job was launched by nobody", task->id);
    if (!str_eq(json_str_or(op->input, "trigger", "manual"), "timer")) {
        return;
    }
    CLEANUP(mem_freep)
    char *of = str_printf("%s %" PRId64, task->job, json_int_or(op->input, "scheduled_ms", 0));

    HASH_FIND_STR(model->launches, of, launch);
    if (launch == NULL) {
        launch = mem_alloc(sizeof(*launch));
        launch->of = TAKE(of);
        (void)snprintf(launch->op, sizeof(launch->op), "%s", op_id);
        HASH_ADD_KEYPTR(hh, model->launches, launch->of, strlen(launch->of), launch);
        model->n_launches++;
    }
    SIM_CHECK(str_eq(launch->op, op_id), "%s was launched by %s and by %s", launch->of, launch->op,
              op_id);
}

/* No instance is launched twice by one operation. */
static void check_first(const struct simmodel *model, const struct simcheck_task *task)
{
    const struct simcheck_task *other;

    for (other = simcheck_tasks(model->check); other != NULL; other = other->hh.next) {
        SIM_CHECK(
            other == task || other->ancestor != NULL || other->instance != task->instance ||
                !str_eq(other->job, task->job) ||
                !str_eq(json_str_or(other->doc, "op_id", ""), json_str_or(task->doc, "op_id", "")),
            "%s instance %d was launched twice by one operation", task->job, task->instance);
    }
}

static void on_commit(struct simtree *tree, int64_t session, const struct simtree_change *changes,
                      size_t n, void *data)
{
    struct simmodel *model = data;

    (void)tree;
    (void)session;
    for (size_t i = 0; i < n; i++) {
        const char *path = changes[i].path;
        const struct simcheck_task *task;

        if (changes[i].kind != SIMTREE_MADE || !str_starts(path, "/davit/tasks/") ||
            strlen(path) < strlen("/davit/tasks/00/x")) {
            continue;
        }
        task = simcheck_task(model->check, strrchr(path, '/') + 1);
        if (task != NULL && task->ancestor == NULL && simcrons_is(task->job)) {
            launched(model, task);
            check_first(model, task);
        }
    }
}

uint64_t simmodel_launches(const struct simmodel *model)
{
    return model->n_launches;
}

void simcrons_begin(struct simmodel *model)
{
    simtree_listen(model->tree, on_commit, model);
}

void simcrons_end(struct simmodel *model)
{
    struct launch *launch, *next;

    simtree_unlisten(model->tree, on_commit, model);
    HASH_ITER(hh, model->launches, launch, next)
    {
        HASH_DEL(model->launches, launch);
        free(launch->of);
        free(launch);
    }
}
