/* SPDX-License-Identifier: Apache-2.0 */
/* steer: carries out what the pure cores decide about tasks.
 *
 * Not the rules (task_state.c), not the choice of a node (sched/), not the writing
 * (state_write.c): the hands between them, and the one timer for all time limits.
 *
 * Happy path: steer_create_take() adds PENDING tasks; at the end of the turn place.c
 * runs one scheduling round, so a job and its places are one write; agents report,
 * steer_pod() moves the tasks; steer_kill() asks for their end.
 * Failures: a task that cannot be placed stays PENDING with a reason until capacity
 * changes; a task that ends and is owed another run gets one, after a penalty if it flaps.
 * Invariants: place.c has a task exactly while PENDING, in `timed` exactly while its
 * state has a time limit.  Each task_state step is carried out by steer_apply() alone.
 */
#include "master/state/steer_priv.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"

#include <string.h>
#include <utlist.h>

enum {
    MAX_HISTORY = 100,              /* Ended tasks that a job keeps. */
    MAX_CONFIGS_BYTES = 256 * 1024, /* Of their configurations: the job is one document. */
    HISTORY_LOOK_MS = 600 * 1000,
    MAX_FORGOTTEN = 1000, /* At one look. */
    TIMER_GRAIN_MS = 50,
};

enum wait_list { WAIT_NONE, WAIT_PENDING, WAIT_TIMED };

static void on_timer(uv_timer_t *timer);

/* ---- Waiting tasks ---- */

/* How long its state may last yet; false: as long as it likes.  Events have the wall clock of the
 * master that wrote them: whatever that was, nobody waits longer than the whole limit. */
static bool time_left(const struct state_task *task, uint64_t *ret_ms)
{
    uint64_t now = clock_wall_ms();
    uint64_t due, limit;

    if (task->t.status == TASK_THROTTLED) {
        due = task->t.not_before_ms;
        limit = TASK_PENALTY_MAX_MS;
    } else if (task_state_is_transient(task->t.status)) {
        due = task->since_ms + TASK_TRANSIENT_MS;
        limit = TASK_TRANSIENT_MS;
    } else {
        due = steer_partition_due_ms(task);
        limit = (uint64_t)task->config->job->partition.delay_secs * 1000;
        if (due == 0) {
            return false;
        }
    }
    *ret_ms = due <= now ? 0 : due - now < limit ? due - now : limit;
    return true;
}

static void arm(struct steer *steer, uint64_t due)
{
    uint64_t now = clock_now_ms();

    if (steer->next_due_ms != 0 && steer->next_due_ms <= due) {
        return;
    }
    steer->next_due_ms = due;
    uv_timer_start(&steer->timer, on_timer, (due > now ? due - now : 0) + TIMER_GRAIN_MS, 0);
}

static void wait_leave(struct steer *steer, struct state_task *task)
{
    if (task->wait_list == WAIT_PENDING) {
        place_remove(steer->place, task);
    } else if (task->wait_list == WAIT_TIMED) {
        DL_DELETE2(steer->timed, task, wait_prev, wait_next);
    }
    task->wait_list = WAIT_NONE;
}

/* Into the list that its state asks for. */
static void wait_enter(struct steer *steer, struct state_task *task)
{
    uint64_t left;

    wait_leave(steer, task);
    if (task->t.status == TASK_PENDING) {
        task->wait_list = WAIT_PENDING;
        place_add(steer->place, task);
    } else if (time_left(task, &left)) {
        task->wait_list = WAIT_TIMED;
        task->due_ms = clock_now_ms() + left;
        DL_APPEND2(steer->timed, task, wait_prev, wait_next);
        arm(steer, task->due_ms);
    }
}

void steer_limit_changed(struct steer *steer, struct state_task *task)
{
    wait_enter(steer, task);
}

/* Its time is up. */
static void expire(struct steer *steer, struct state_task *task)
{
    struct task_stimulus stimulus = { .kind = TASK_EV_TIMEOUT, .message = "Task timed out" };

    if (task->t.status == TASK_THROTTLED) {
        stimulus = (struct task_stimulus){ .kind = TASK_EV_RELEASED };
    } else if (task->t.status == TASK_PARTITIONED) {
        stimulus = (struct task_stimulus){ .kind = TASK_EV_NODE_LOST,
                                           .message = TASK_PARTITIONED_TOO_LONG };
    }
    steer_apply(steer, task, &stimulus, NULL);
}

static void on_timer(uv_timer_t *timer)
{
    struct steer *steer = timer->data;
    struct state_task *task;
    struct state_task *next;
    uint64_t now = clock_now_ms();
    uint64_t earliest = 0;
    uint64_t left;

    steer->next_due_ms = 0;
    DL_FOREACH_SAFE2(steer->timed, task, next, wait_next)
    {
        if (!time_left(task, &left)) {
            wait_leave(steer, task); /* Its node came back: the agent will speak of it. */
        } else if (task->due_ms <= now) {
            expire(steer, task);
        } else if (earliest == 0 || task->due_ms < earliest) {
            earliest = task->due_ms;
        }
    }
    if (earliest != 0) {
        arm(steer, earliest);
    }
}

/* ---- One task's step ---- */

struct state_task *steer_add_run(struct steer *steer, struct state_job *job,
                                 struct state_config *config, int instance, const char *op_id)
{
    CLEANUP(mem_freep)
    char *id = task_make_id(job->key.role, job->key.env, job->key.name, instance);
    struct state_task *task = state_task_add(steer->state, job, config, id, instance);

    task->t.op_id = mem_strdup_opt(op_id);
    return task;
}

/* The next run, of the configuration `next`, of an instance whose run has ended. */
static void reschedule(struct steer *steer, struct state_task *old, struct state_config *next,
                       int failures)
{
    struct state_task *task = steer_add_run(steer, old->job, next, old->t.instance, old->t.op_id);
    bool lost = old->t.status == TASK_LOST;
    CLEANUP(mem_freep) char *message = NULL;
    struct task_stimulus stimulus = { .kind = TASK_EV_CREATED };
    uint64_t penalty_ms;

    task->t.ancestor = mem_strdup(old->t.id);
    if (next == old->config) {
        /* Another configuration begins with a clean sheet. */
        task->flaps = task_state_flapped(&old->t) ? old->flaps + 1 : 0;
        task->t.failures = failures;
    }
    penalty_ms = task_state_penalty_ms(task->flaps, lost);
    message = task_state_reschedule_message(penalty_ms);
    stimulus.message = message;
    if (penalty_ms > 0) {
        stimulus.kind = TASK_EV_THROTTLED;
        task->t.not_before_ms = clock_wall_ms() + penalty_ms;
    }
    steer_apply(steer, task, &stimulus, NULL);
}

/* One whose intent stands yet must be remembered: its node will ask. */
static bool may_forget(const struct state_task *task)
{
    return task_is_terminal(task->t.status) && task->intent == STATE_INTENT_NONE;
}

/* Of the configurations that the job's document will hold. */
static size_t configs_bytes(const struct state_job *job)
{
    const struct state_config *config;
    size_t bytes = 0;

    for (config = job->configs; config != NULL; config = config->hh.next) {
        if (config == job->current || config->n_tasks > 0 || config->pins > 0) {
            bytes += config->bytes;
        }
    }
    return bytes;
}

void steer_prune(struct steer *steer, struct state_job *job)
{
    size_t ended = job->n_tasks - state_job_active(job);
    size_t bytes = configs_bytes(job);
    struct state_task *task;
    struct state_task *next;

    DL_FOREACH_SAFE2(job->tasks, task, next, job_next)
    {
        struct state_config *config = task->config;

        if (ended <= MAX_HISTORY && bytes <= MAX_CONFIGS_BYTES) {
            return;
        }
        if (may_forget(task)) {
            ended--;
            if (config->n_tasks == 1 && config->pins == 0 && config != job->current) {
                bytes -= config->bytes;
            }
            state_task_delete(steer->state, task);
        }
    }
}

/* Tasks that ended long ago, and with its last task the job. */
static void on_history(uv_timer_t *timer)
{
    struct steer *steer = timer->data;
    uint64_t now = clock_wall_ms();
    struct state_task *task;
    struct state_task *next;
    unsigned n = 0;

    for (task = state_tasks(steer->state); task != NULL && n < MAX_FORGOTTEN; task = next) {
        next = task->hh.next;
        if (may_forget(task) && task->t.n_events > 0 &&
            task->t.events[task->t.n_events - 1].time_ms + steer->history_ms < now) {
            state_task_delete(steer->state, task);
            n++;
        }
    }
}

static void set_intent(struct steer *steer, struct state_task *task, const struct task_step *step,
                       const char *op_id, const char *reason)
{
    switch (step->intent) {
    case TASK_INTENT_KEEP:
        break;
    case TASK_INTENT_RUN:
        state_task_set_intent(steer->state, task, STATE_INTENT_RUN);
        break;
    case TASK_INTENT_STOP:
        if (task->intent == STATE_INTENT_RUN) {
            free(task->stop_op_id);
            free(task->stop_reason);
            task->stop_op_id = mem_strdup_opt(op_id);
            task->stop_reason = mem_strdup_opt(reason);
            state_task_set_intent(steer->state, task, STATE_INTENT_STOP);
        }
        break;
    case TASK_INTENT_DELETE:
        if (task->intent != STATE_INTENT_NONE) {
            state_task_set_intent(steer->state, task, STATE_INTENT_NONE);
        }
        break;
    }
}

void steer_apply(struct steer *steer, struct state_task *task, const struct task_stimulus *stimulus,
                 const char *stop_op_id)
{
    const struct job *config = task->config->job;
    struct task_rules rules = { task->t.status, config->service, config->max_task_failures,
                                task->t.failures };
    struct state_config *next = NULL;
    struct task_step step;

    task_state_step(&rules, stimulus, &step);
    if (step.forget) {
        wait_leave(steer, task);
        state_task_delete(steer->state, task);
        return;
    }
    set_intent(steer, task, &step, stop_op_id, stimulus->message);
    if (!step.moved) {
        return;
    }
    if (task->t.status != TASK_INIT && log_enabled(LOG_LEVEL_DEBUG)) {
        log_debug("task %s -> %s task=%s node=%s", task_status_name(task->t.status),
                  task_status_name(step.status), task->t.id,
                  task->t.node != NULL ? task->t.node : "-");
    }
    if (task_is_terminal(step.status) && steer->on_ended != NULL) {
        next = steer->on_ended(task, step.status, stimulus->message, steer->ended_data);
    }
    task->t.failures = step.failures;
    state_task_move(steer->state, task, step.status, clock_wall_ms(), stimulus->message);
    wait_enter(steer, task);
    if (task_is_terminal(step.status)) {
        state_task_unplace(steer->state, task);
        place_want(steer->place);
        if (step.reschedule) {
            reschedule(steer, task, next != NULL ? next : task->config, step.failures);
        }
        steer_prune(steer, task->job);
    }
}

void steer_on_ended(struct steer *steer, steer_ended_fn fn, void *data)
{
    steer->on_ended = fn;
    steer->ended_data = data;
}

static void on_placed(struct state_task *task, void *data)
{
    struct task_stimulus stimulus = { .kind = TASK_EV_PLACED };

    steer_apply(data, task, &stimulus, NULL);
}

static void on_preempt(struct state_task *task, const char *why, void *data)
{
    steer_preempt(data, task, why);
}

void steer_set_preempt(struct steer *steer, uint64_t delay_ms, uint64_t every_ms)
{
    place_preempt(steer->place, delay_ms, every_ms);
}

/* ---- Life ---- */

static uint64_t history_look_ms(uint64_t history_ms)
{
    return history_ms < HISTORY_LOOK_MS ? history_ms : HISTORY_LOOK_MS;
}

struct steer *steer_new(struct state *state, uint64_t history_ms)
{
    struct steer *steer = mem_alloc(sizeof(*steer));
    struct place_options place = { .state = state,
                                   .placed = on_placed,
                                   .preempt = on_preempt,
                                   .data = steer,
                                   .preempt_delay_ms = PLACE_PREEMPT_DELAY_MS,
                                   .preempt_every_ms = PLACE_PREEMPT_EVERY_MS };
    struct state_task *task;
    struct state_job *job;
    struct state_job *next;

    steer->state = state;
    steer->place = place_new(&place);
    uv_timer_init(state_loop(state), &steer->timer);
    steer->timer.data = steer;
    steer->history_ms = history_ms;
    uv_timer_init(state_loop(state), &steer->history_timer);
    steer->history_timer.data = steer;
    uv_timer_start(&steer->history_timer, on_history, history_look_ms(history_ms),
                   history_look_ms(history_ms));
    for (task = state_tasks(state); task != NULL; task = task->hh.next) {
        wait_enter(steer, task);
        if (task->node != NULL && task->intent == STATE_INTENT_NONE) {
            /* Both are written together; somebody removed it by hand. */
            log_warn("an intent is missing, it is written again task=%s", task->t.id);
            state_task_set_intent(state, task, STATE_INTENT_RUN);
        }
    }
    for (job = state_jobs(state); job != NULL; job = next) {
        next = job->hh.next;
        if (job->creating && job->current != NULL) {
            log_info("going on with the creation of a job job=%s", job->key_text);
            steer_add_missing(steer, job);
            steer_created(steer, job);
        }
    }
    return steer;
}

static void on_part_closed(void *data)
{
    struct steer *steer = data;
    steer_cb cb = steer->close_cb;
    void *cb_data = steer->close_data;

    if (--steer->open_handles > 0) {
        return;
    }
    place_free(steer->place);
    free(steer);
    if (cb != NULL) {
        cb(cb_data);
    }
}

static void on_closed(uv_handle_t *handle)
{
    on_part_closed(handle->data);
}

void steer_close(struct steer *steer, steer_cb cb, void *data)
{
    steer->close_cb = cb;
    steer->close_data = data;
    steer->open_handles = 3;
    place_stop(steer->place, on_part_closed, steer);
    uv_close((uv_handle_t *)&steer->timer, on_closed);
    uv_close((uv_handle_t *)&steer->history_timer, on_closed);
}
