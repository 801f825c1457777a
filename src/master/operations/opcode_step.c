/* SPDX-License-Identifier: Apache-2.0 */
/* opcode_step: a step of work that ends when the state says so.
 *
 *   new --wait--> LISTENING --is_over--> SYNCING --durable--> ended
 *
 * Failures: is_over may end it with an error; a lost term and a cancel end it from each state.
 * Invariant: opcode_step_end() is reached exactly once, and frees the step.
 */
#include "master/operations/opcode_step.h"

#include "base/str.h"

struct opcode_step *opcode_step_new(struct opcode_work *work, const char *job)
{
    struct opcode_step *step = mem_alloc(sizeof(*step));

    step->work = work;
    step->state = work->ref.env->state;
    step->steer = work->ref.env->steer;
    step->job = mem_strdup(job);
    step->result = json_object();
    step->sync.data = step;
    step->listener.data = step;
    work->data = step;
    return step;
}

void opcode_step_end(struct opcode_step *step, const struct err *err)
{
    struct opcode_work *work = step->work;
    json_t *result = TAKE(step->result);
    struct err outcome = err != NULL ? *err : (struct err){ 0 }; /* err may lie in step. */

    state_unlisten(&step->listener);
    state_sync_forget(&step->sync);
    work->data = NULL;
    if (step->free_data != NULL) {
        step->free_data(step->data);
    }
    free(step->job);
    strv_free(step->tasks);
    free(step);
    if (outcome.code != 0) {
        json_decref(result);
        opcode_work_done(work, NULL, &outcome);
    } else {
        opcode_work_done(work, result, NULL);
    }
}

static void on_synced(struct state_sync *sync)
{
    struct opcode_step *step = sync->data;

    if (sync->err.code == 0 && step->on_durable != NULL) {
        step->on_durable(step);
    }
    opcode_step_end(step, &sync->err);
}

static void look(struct opcode_step *step)
{
    struct err err = { 0 };

    if (step->is_over == NULL || step->is_over(step, &err)) {
        state_unlisten(&step->listener);
        state_sync_start(step->state, &step->sync, on_synced);
    } else if (err.code != 0) {
        opcode_step_end(step, &err);
    }
}

static void on_changed(struct state_listener *listener)
{
    look(listener->data);
}

void opcode_step_wait(struct opcode_step *step, opcode_step_fn is_over)
{
    step->is_over = is_over;
    state_listen(step->state, &step->listener, on_changed);
    look(step);
}

void opcode_step_cancel(struct opcode_work *work)
{
    struct err err;

    if (work->data != NULL) {
        err_set(&err, ERR_CANCELED, "nobody waits for it any more");
        opcode_step_end(work->data, &err);
    }
}

bool opcode_step_tasks_ended(struct opcode_step *step, struct err *err)
{
    (void)err;
    for (char **id = step->tasks; id != NULL && *id != NULL; id++) {
        const struct state_task *task = state_task_find(step->state, *id);

        if (task != NULL && !task_is_terminal(task->t.status)) {
            return false;
        }
    }
    return true;
}
