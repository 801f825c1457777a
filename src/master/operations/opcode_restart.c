/* SPDX-License-Identifier: Apache-2.0 */
/* opcode_restart: OP_JOB_RESTART, the rolling restart of a job's instances.
 *
 * {"key","instances":[..]|null,"batch_size","watch_secs","max_per_instance_failures",
 *  "max_total_failures","message"}
 *
 * The work is one step, and ends when the restart is over; updater/restarter.c decides, after each
 * change of the state and when its time has come.  Progress is in the operation's log, and moves
 * the work's deadline on: an instance that does not come up in time is a failure of its own, so
 * that a restart always ends.
 * A kill of the job does not wait for the rest of it, which may be hours away: when one is queued
 * behind it the restart ends as given up.
 * Failures: given up, the operation fails; what was restarted stays so.  A davit-op or a master
 * that dies ends it as every operation, with `disappeared`: instances that were asked to restart
 * do so (that is the tasks' life), the others keep their runs.  Asked again by the same operation
 * it goes on after the runs that it began.
 */
#include "base/clock.h"
#include "base/fault.h"
#include "base/json.h"
#include "base/str.h"
#include "master/operations/opcode_common.h"
#include "master/operations/opcode_env.h"
#include "master/operations/opcode_step.h"
#include "master/operations/opcodes.h"
#include "master/operations/operations.h"
#include "master/state/steer.h"
#include "master/updater/restarter.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

enum {
    DEFAULT_WATCH_SECS = 30,
    MAX_WATCH_SECS = 24 * 3600,
    ALIVE_MS = 1000, /* Say so often that the work goes on, and look who waits. */
    YIELD_MS = 200,  /* Not more often than this: the queue may be long. */
    MAX_FAILURE_LINES = 100,
    PROGRESS_LINES = 20,
};

/* An instance of the job by its number. */
struct slot {
    struct state_task *active;
    const struct state_task *ended; /* The newest of those. */
};

struct restart {
    struct opcode_step *step;
    struct restarter *restarter;
    uv_timer_t timer;
    uint64_t alive_ms;  /* When that was said last. */
    uint64_t yield_ms;  /* When it was last asked who waits. */
    uint64_t killer;    /* Number of the kill that waits; 0: none. */
    uint64_t wake_ms;   /* When to look again if nothing happens; 0: never. */
    struct slot *slots; /* By number, filled anew for each look. */
    int n_slots;
    size_t told, n_failure_lines; /* Of the log. */
    char why[192];                /* Of the last failure. */
    char state_text[192], ended_text[192];
};

/* ---- What it is about ---- */

static int by_number(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* Active instances that the request names, sorted, each once; the caller's. */
static int *find_targets(const struct opcode_ref *ref, size_t *ret_n)
{
    const struct state_job *job = opcode_common_find(ref);
    CLEANUP(mem_freep) int *named = NULL;
    int *targets = mem_alloc(((job != NULL ? job->n_tasks : 0) + 1) * sizeof(*targets));
    const struct state_task *task;
    size_t n = 0, unique = 0, n_named;

    named = opcode_common_instances(ref->input, &n_named);
    if (job != NULL) {
        DL_FOREACH2(job->tasks, task, job_next)
        {
            if (task_is_active(task->t.status) &&
                opcode_common_is_named(named, n_named, task->t.instance)) {
                targets[n++] = task->t.instance;
            }
        }
    }
    qsort(targets, n, sizeof(*targets), by_number);
    for (size_t i = 0; i < n; i++) {
        if (unique == 0 || targets[unique - 1] != targets[i]) {
            targets[unique++] = targets[i];
        }
    }
    *ret_n = unique;
    return targets;
}

static int check_all_active(const struct opcode_ref *ref, struct err *err)
{
    const json_t *instances = json_object_get(ref->input, "instances");
    CLEANUP(mem_freep) int *targets = NULL;
    json_t *item;
    size_t i, n;

    targets = find_targets(ref, &n);
    json_array_foreach(instances, i, item)
    {
        json_int_t wanted = json_integer_value(item);
        int instance = (int)wanted;

        if (wanted > INT32_MAX ||
            bsearch(&instance, targets, n, sizeof(*targets), by_number) == NULL) {
            return err_set(err, ERR_INVALID, "Not all requested shards are active.");
        }
    }
    return 0;
}

static int check_number(const json_t *input, const char *name, int64_t min, int64_t max,
                        struct err *err)
{
    const json_t *value = json_object_get(input, name);
    int64_t number;

    if (value == NULL || json_is_null(value)) {
        return 0;
    }
    if (json_is_integer(value) && json_integer_value(value) < 0) {
        return err_set(err, ERR_INVALID, "%s option must be >0, but you specified %lld", name,
                       (long long)json_integer_value(value));
    }
    return json_need_int(input, name, min, max, &number, err);
}

static int restart_check(const struct opcode_ref *ref, struct err *err)
{
    if (steer_check_unlocked(opcode_common_find(ref), err) < 0) {
        return err_code(err);
    }
    return check_all_active(ref, err);
}

static int restart_validate(const struct opcode_ref *ref, struct err *err)
{
    const json_t *input = ref->input;

    if (opcode_common_check_key(input, err) < 0 || opcode_common_check_instances(input, err) < 0 ||
        check_number(input, "batch_size", 1, JOB_MAX_INSTANCES, err) < 0 ||
        check_number(input, "watch_secs", 0, MAX_WATCH_SECS, err) < 0 ||
        check_number(input, "max_per_instance_failures", 0, INT32_MAX, err) < 0 ||
        check_number(input, "max_total_failures", 0, INT32_MAX, err) < 0) {
        return err_code(err);
    }
    return restart_check(ref, err);
}

static void restart_vars(const struct opcode_ref *ref, enum opcode_phase phase, json_t *vars)
{
    const struct state_job *job = opcode_common_find(ref);
    CLEANUP(json_freep) json_t *instances = json_array();
    CLEANUP(mem_freep) int *targets = NULL;
    size_t n;

    json_put_str(vars, "OP_TARGET", json_str_or(ref->input, "key", ""));
    json_put_str(vars, "JOB_KEY", json_str_or(ref->input, "key", ""));
    if (job != NULL && job->current != NULL) {
        const json_t *wait = json_object_get(job->current->job->task, "finalization_wait");

        opcode_common_put_job(vars, job->current->job);
        opcode_common_put_int(vars, "SHUTDOWN_TIMEOUT",
                              wait != NULL ? (long long)json_number_value(wait) : 30);
    }
    opcode_common_put_int(vars, "BATCH_SIZE", json_int_or(ref->input, "batch_size", 1));
    if (phase == OPCODE_POST && ref->result != NULL) {
        opcode_common_put_instances(vars, "INSTANCES", json_object_get(ref->result, "instances"));
        return;
    }
    targets = find_targets(ref, &n);
    for (size_t i = 0; i < n; i++) {
        json_array_append_new(instances, json_integer(targets[i]));
    }
    opcode_common_put_instances(vars, "INSTANCES", instances);
}

static bool has_name(const json_t *names, const char *name)
{
    json_t *item;
    size_t i;

    json_array_foreach(names, i, item)
    {
        if (str_eq(json_string_value(item), name)) {
            return true;
        }
    }
    return false;
}

/* Where its tasks live; afterwards also where they lived before. */
static void restart_nodes(const struct opcode_ref *ref, enum opcode_phase phase, json_t *nodes)
{
    const struct state_job *job = opcode_common_find(ref);
    json_t *item;
    size_t i;

    if (job != NULL) {
        opcode_common_add_nodes(job, nodes);
    }
    if (phase == OPCODE_POST) {
        json_array_foreach(json_object_get(ref->result, "nodes"), i, item)
        {
            if (!has_name(nodes, json_string_value(item))) {
                json_array_append(nodes, item);
            }
        }
    }
}

/* ---- How the core sees the state ---- */

static void fill_slots(struct restart *restart)
{
    const struct state_job *job = state_job_find(restart->step->state, restart->step->job);
    struct state_task *task;

    memset(restart->slots, 0, (size_t)restart->n_slots * sizeof(struct slot));
    if (job == NULL) {
        return;
    }
    DL_FOREACH2(job->tasks, task, job_next)
    {
        if (task->t.instance < restart->n_slots) {
            struct slot *slot = &restart->slots[task->t.instance];

            if (task_is_active(task->t.status)) {
                slot->active = task;
            } else if (task_is_terminal(task->t.status)) {
                slot->ended = task;
            }
        }
    }
}

/* "FAILED: exit 3", from its last event. */
static const char *describe(const struct state_task *task, char *ret_text, size_t size)
{
    const struct task *t = &task->t;
    const char *message = t->n_events > 0 ? t->events[t->n_events - 1].message : NULL;

    if (t->status == TASK_PENDING && task->config->pending_reason[0] != '\0') {
        message = task->config->pending_reason;
    }
    (void)snprintf(ret_text, size, "%s%s%s", task_status_name(t->status),
                   message != NULL && message[0] != '\0' ? ": " : "",
                   message != NULL ? message : "");
    return ret_text;
}

static bool was_restarted(const struct restart *restart, const struct state_task *task)
{
    const struct state_task *before =
        task->t.ancestor != NULL ? state_task_find(restart->step->state, task->t.ancestor) : NULL;

    return before != NULL && before->stop_op_id != NULL &&
           str_eq(before->stop_op_id, restart->step->work->ref.op_id);
}

static void look_at(void *data, int instance, struct restarter_view *ret_view)
{
    struct restart *restart = data;
    const struct slot *slot = &restart->slots[instance];
    const struct state_task *task = slot->active;
    struct restarter_view view = { .phase = RESTARTER_NONE };

    if (slot->ended != NULL) {
        view.ended = describe(slot->ended, restart->ended_text, sizeof(restart->ended_text));
    }
    if (task != NULL) {
        view.phase = task->t.status == TASK_RUNNING ? RESTARTER_RUNNING : RESTARTER_COMING;
        view.run = task->t.id;
        view.after = task->t.ancestor;
        view.state = describe(task, restart->state_text, sizeof(restart->state_text));
        view.can_restart = task_state_allows(task->t.status, TASK_RESTARTING);
        view.was_restarted = was_restarted(restart, task);
    } else if (slot->ended != NULL && slot->ended->t.status == TASK_FINISHED) {
        view.phase = RESTARTER_OVER;
    }
    *ret_view = view;
}

static void restart_one(void *data, int instance)
{
    struct restart *restart = data;
    const struct opcode_ref *ref = &restart->step->work->ref;
    struct state_task *task = restart->slots[instance].active;
    bool unheard = task->node != NULL && task->node->lost;

    steer_restart(restart->step->steer, task, opcode_common_user(ref),
                  json_str_or(ref->input, "message", NULL), ref->op_id);
    if (unheard) {
        fill_slots(restart); /* Its node is given up: it has ended at once. */
    }
    CRASH_POINT("master.restart.asked");
}

static void on_failed(void *data, int instance, const char *why, bool given_up)
{
    struct restart *restart = data;
    CLEANUP(mem_freep)
    char *line = str_printf("Instance %d failed: %s; %s", instance, why,
                            given_up ? "it is not tried again" : "it is tried again later");

    (void)snprintf(restart->why, sizeof(restart->why), "instance %d: %s", instance, why);
    if (restart->n_failure_lines++ < MAX_FAILURE_LINES) {
        opcode_work_log(restart->step->work, line);
    }
    if (given_up) {
        json_array_append_new(json_object_get(restart->step->result, "failed"),
                              json_integer(instance));
    }
}

/* ---- The step ---- */

static void on_timer_closed(uv_handle_t *handle)
{
    struct restart *restart = handle->data;

    restarter_free(restart->restarter);
    free(restart->slots);
    free(restart);
}

static void restart_free(void *data)
{
    uv_close((uv_handle_t *)&((struct restart *)data)->timer, on_timer_closed);
}

static void on_time(uv_timer_t *timer);

static void arm(struct restart *restart, uint64_t now_ms)
{
    uint64_t in_ms = ALIVE_MS;

    if (restart->wake_ms != 0 && restart->wake_ms < now_ms + ALIVE_MS) {
        in_ms = restart->wake_ms > now_ms ? restart->wake_ms - now_ms : 0;
    }
    (void)uv_timer_start(&restart->timer, on_time, in_ms, 0);
}

static void tell_alive(struct restart *restart, uint64_t now_ms)
{
    if (now_ms - restart->alive_ms >= ALIVE_MS) {
        restart->alive_ms = now_ms;
        opcode_work_progress(restart->step->work);
    }
}

static bool is_to_yield(struct restart *restart, uint64_t now_ms)
{
    const struct opcode_ref *ref = &restart->step->work->ref;

    if (restart->killer == 0 && now_ms - restart->yield_ms >= YIELD_MS) {
        restart->yield_ms = now_ms;
        restart->killer =
            operations_waiting(ref->env->operations, restart->step->job, "OP_JOB_KILL");
    }
    return restart->killer != 0;
}

/* Says that the work goes on; has the step look again, as after a change, when it is time. */
static void on_time(uv_timer_t *timer)
{
    struct restart *restart = timer->data;
    uint64_t now_ms = clock_now_ms();

    tell_alive(restart, now_ms);
    if ((restart->wake_ms != 0 && restart->wake_ms <= now_ms) || is_to_yield(restart, now_ms)) {
        state_bump(restart->step->state);
    } else {
        arm(restart, now_ms);
    }
}

/* A line when another part of the whole is done. */
static void tell_progress(struct restart *restart, uint64_t now_ms)
{
    struct restarter_counts counts = restarter_count(restart->restarter);
    size_t done = counts.well + counts.given_up;
    size_t part = counts.all / PROGRESS_LINES + 1;

    if (done / part > restart->told) {
        CLEANUP(mem_freep)
        char *line = str_printf("%zu of %zu instances restarted, %zu failed", counts.well,
                                counts.all, counts.given_up);

        restart->told = done / part;
        restart->alive_ms = now_ms;
        opcode_work_log(restart->step->work, line);
    } else {
        tell_alive(restart, now_ms);
    }
}

static bool is_over(struct opcode_step *step, struct err *err)
{
    struct restart *restart = step->data;
    const struct restarter_port port = { restart, look_at, restart_one, on_failed };
    uint64_t now_ms = clock_now_ms();
    struct restarter_counts counts;

    if (is_to_yield(restart, now_ms)) {
        counts = restarter_count(restart->restarter);
        (void)err_set(err, ERR_FAILED,
                      "Restart aborted: operation %" PRIu64 " is to kill instances of this job "
                      "(%zu of %zu instances restarted, %zu failed)",
                      restart->killer, counts.well, counts.all, counts.given_up);
        return false;
    }
    fill_slots(restart);
    enum restarter_verdict verdict =
        restarter_step(restart->restarter, now_ms, &port, &restart->wake_ms);

    tell_progress(restart, now_ms);
    switch (verdict) {
    case RESTARTER_GOES_ON:
        arm(restart, now_ms);
        break;
    case RESTARTER_SUCCEEDED:
        return true;
    case RESTARTER_GAVE_UP:
        counts = restarter_count(restart->restarter);
        (void)err_set(err, ERR_FAILED,
                      "Restart failures threshold reached. Aborting: %s (%zu of %zu instances "
                      "restarted, %zu failed)",
                      restart->why, counts.well, counts.all, counts.given_up);
        break;
    }
    return false;
}

static struct restart *restart_new(struct opcode_step *step, const int *targets, size_t n)
{
    const json_t *input = step->work->ref.input;
    const struct restarter_settings settings = {
        .batch_size = (unsigned)json_int_or(input, "batch_size", 1),
        .max_per_instance_failures = (unsigned)json_int_or(input, "max_per_instance_failures", 0),
        .max_total_failures = (unsigned)json_int_or(input, "max_total_failures", 0),
        .watch_ms = (uint64_t)json_int_or(input, "watch_secs", DEFAULT_WATCH_SECS) * 1000,
    };
    struct restart *restart = mem_alloc(sizeof(*restart));

    restart->step = step;
    restart->restarter = restarter_new(&settings, targets, n);
    restart->n_slots = n > 0 ? targets[n - 1] + 1 : 0;
    restart->slots = mem_alloc(((size_t)restart->n_slots + 1) * sizeof(struct slot));
    restart->alive_ms = clock_now_ms();
    (void)uv_timer_init(state_loop(step->state), &restart->timer);
    restart->timer.data = restart;
    return restart;
}

static void restart_work(struct opcode_work *work)
{
    const struct opcode_ref *ref = &work->ref;
    const struct state_job *job = opcode_common_find(ref);
    CLEANUP(mem_freep) int *targets = NULL;
    json_t *instances = json_array();
    json_t *nodes = json_array();
    struct opcode_step *step;
    size_t n;

    targets = find_targets(ref, &n);
    step = opcode_step_new(work, json_str_or(ref->input, "key", ""));
    for (size_t i = 0; i < n; i++) {
        json_array_append_new(instances, json_integer(targets[i]));
    }
    if (job != NULL) {
        opcode_common_add_nodes(job, nodes);
    }
    json_put_take(step->result, "instances", instances);
    json_put_take(step->result, "nodes", nodes);
    json_put_take(step->result, "failed", json_array());
    if (n == 0) {
        json_put_str(step->result, "message", "Nothing to do.");
    }
    step->data = restart_new(step, targets, n);
    step->free_data = restart_free;
    opcode_step_wait(step, is_over);
}

const struct opcode opcode_job_restart = {
    .name = "OP_JOB_RESTART",
    .hooks_path = "job-restart",
    .object_type = "JOB",
    .validate = restart_validate,
    .job = opcode_common_key,
    .check = restart_check,
    .vars = restart_vars,
    .nodes = restart_nodes,
    .work = restart_work,
    .cancel = opcode_step_cancel,
};
