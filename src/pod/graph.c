/* SPDX-License-Identifier: Apache-2.0 */

/* graph: which processes of a task may run now, and how the task ends.
 *
 * Thermos' rules (contract: Aurora, processes inside a task), as a pure core:
 * events and the time come in, actions go out; no process is started here.  It
 * does not know what a pod hook, a file or a descriptor is.
 *
 *   IDLE --begin--> ACTIVE --all done, unhealthy, stop, fail--> CLEANING (TERM)
 *   (ACTIVE --leave--> LEAVING --none runs, stop, deadline--> CLEANING as well)
 *   --nothing left--> FINALIZING (final processes) --all done--> ENDING (KILL)
 *   --nothing left--> DONE
 *
 * CLEANING and FINALIZING share one deadline; when it passes, ENDING begins.
 * Happy path: every ordinary process finishes, nothing is left to clean, the final
 * ones run, nothing is left to kill.
 * Failures: a process that used up its max_failures is FAILED; as many as the
 * task's max_failures of those, or nothing that could still run, fail the task.
 * Processes that not even KILL ends are given up on, and told.
 * Invariants: the result is decided when ACTIVE ends and never changes after;
 * at most max_concurrency processes run; no process starts in LEAVING, CLEANING, ENDING or DONE.
 */
#include "pod/graph.h"

#include "base/str.h"

#include <stdio.h>
#include <string.h>

static const char *const state_names[] = {
    [GRAPH_WAITING] = "waiting", [GRAPH_RUNNING] = "running", [GRAPH_FINISHED] = "finished",
    [GRAPH_FAILED] = "failed",   [GRAPH_KILLED] = "killed",
};

const char *graph_state_name(enum graph_state state)
{
    return state_names[state];
}

void graph_actions_fini(struct graph_actions *actions)
{
    free(actions->items);
    *actions = (struct graph_actions){ 0 };
}

static void act(struct graph_actions *actions, struct graph_action action)
{
    if (actions->n == actions->cap) {
        actions->cap = actions->cap == 0 ? 4 : actions->cap * 2;
        actions->items = mem_realloc(actions->items, actions->cap * sizeof(*actions->items));
    }
    actions->items[actions->n++] = action;
}

/* Building. */

struct graph *graph_new(unsigned max_failures, unsigned max_concurrency,
                        uint64_t finalization_wait_ms)
{
    struct graph *graph = mem_alloc(sizeof(*graph));

    graph->max_failures = max_failures;
    graph->max_concurrency = max_concurrency;
    graph->finalization_wait_ms = finalization_wait_ms;
    return graph;
}

void graph_free(struct graph *graph)
{
    if (!graph) {
        return;
    }
    for (size_t i = 0; i < graph->n_processes; i++) {
        free((char *)graph->processes[i].spec.name);
        free((char *)graph->processes[i].spec.cmdline);
        free(graph->processes[i].before);
        free(graph->processes[i].unstarted);
    }
    free(graph->processes);
    free(graph);
}

size_t graph_find(const struct graph *graph, const char *name)
{
    for (size_t i = 0; i < graph->n_processes; i++) {
        if (strcmp(graph->processes[i].spec.name, name) == 0) {
            return i;
        }
    }
    return graph->n_processes;
}

static bool name_usable(const char *name)
{
    size_t len = strlen(name);

    if (len == 0 || len > GRAPH_NAME_MAX || name[0] == '.') {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)name[i];
        if (c == '/' || c < ' ' || c == 0x7f) {
            return false;
        }
    }
    return true;
}

int graph_add(struct graph *graph, const struct graph_spec *spec, struct err *err)
{
    if (!name_usable(spec->name)) {
        return err_set(err, ERR_INVALID,
                       "process name '%.200s' is empty, too long, starts with a dot, or has "
                       "a slash or control character",
                       spec->name);
    }
    if (graph_find(graph, spec->name) < graph->n_processes) {
        return err_set(err, ERR_INVALID, "two processes are called '%s'", spec->name);
    }
    if (graph->n_processes == GRAPH_PROCESSES_MAX) {
        return err_set(err, ERR_TOOBIG, "more than %d processes", GRAPH_PROCESSES_MAX);
    }
    graph->processes =
        mem_realloc(graph->processes, (graph->n_processes + 1) * sizeof(*graph->processes));
    struct graph_process *process = &graph->processes[graph->n_processes++];
    *process = (struct graph_process){ .spec = *spec, .exit_code = -1 };
    process->spec.name = mem_strdup(spec->name);
    process->spec.cmdline = mem_strdup(spec->cmdline);
    return 0;
}

static int order_pair(struct graph *graph, size_t first, size_t then, struct err *err)
{
    const struct graph_spec *a = &graph->processes[first].spec;
    struct graph_process *process = &graph->processes[then];

    if (a->final != process->spec.final) {
        return err_set(err, ERR_INVALID,
                       "a constraint orders '%s' before '%s', but only one of them is final",
                       a->name, process->spec.name);
    }
    if (a->daemon) {
        return err_set(err, ERR_INVALID,
                       "process '%s' must run after '%s', which is a daemon and never finishes",
                       process->spec.name, a->name);
    }
    if (a->ephemeral && !process->spec.ephemeral) {
        return err_set(err, ERR_INVALID,
                       "process '%s' is not ephemeral but must run after '%s', which is",
                       process->spec.name, a->name);
    }
    for (size_t i = 0; i < process->n_before; i++) {
        if (process->before[i] == first) {
            return 0;
        }
    }
    process->before =
        mem_realloc(process->before, (process->n_before + 1) * sizeof(*process->before));
    process->before[process->n_before++] = first;
    return 0;
}

int graph_order(struct graph *graph, const char *const *names, size_t n_names, struct err *err)
{
    size_t previous = 0;

    for (size_t i = 0; i < n_names; i++) {
        size_t at = graph_find(graph, names[i]);

        if (at == graph->n_processes) {
            return err_set(err, ERR_INVALID, "a constraint names '%s', which is no process",
                           names[i]);
        }
        if (i > 0 && order_pair(graph, previous, at, err) < 0) {
            return err->code;
        }
        previous = at;
    }
    return 0;
}

int graph_check(const struct graph *graph, struct err *err)
{
    CLEANUP(mem_freep) bool *placed = mem_alloc(graph->n_processes + 1);
    size_t n_placed = 0;
    bool progress = true;

    while (progress) {
        progress = false;
        for (size_t i = 0; i < graph->n_processes; i++) {
            const struct graph_process *process = &graph->processes[i];
            bool free_now = !placed[i];

            for (size_t b = 0; b < process->n_before; b++) {
                free_now = free_now && placed[process->before[b]];
            }
            if (free_now) {
                placed[i] = true;
                n_placed++;
                progress = true;
            }
        }
    }
    for (size_t i = 0; n_placed < graph->n_processes && i < graph->n_processes; i++) {
        if (!placed[i]) {
            return err_set(err, ERR_INVALID, "the constraints of process '%s' form a cycle",
                           graph->processes[i].spec.name);
        }
    }
    return 0;
}

/* Deciding. */

/* May run as far as the order goes; its time may still have to come. */
static bool unblocked(const struct graph *graph, const struct graph_process *process)
{
    if (process->state != GRAPH_WAITING) {
        return false;
    }
    for (size_t i = 0; i < process->n_before; i++) {
        if (graph->processes[process->before[i]].state != GRAPH_FINISHED) {
            return false;
        }
    }
    return true;
}

/* What one of the two plans, ordinary or final, looks like now. */
struct plan {
    size_t running;
    size_t startable;  /* now or later */
    size_t unfinished; /* of those that count */
    size_t failed;
    const struct graph_process *failed_one;
};

static struct plan survey(const struct graph *graph, bool final)
{
    struct plan plan = { 0 };

    for (size_t i = 0; i < graph->n_processes; i++) {
        const struct graph_process *process = &graph->processes[i];

        if (process->spec.final != final) {
            continue;
        }
        if (process->state == GRAPH_RUNNING) {
            plan.running++;
        } else if (unblocked(graph, process)) {
            plan.startable++;
        }
        if (process->state == GRAPH_FAILED) {
            plan.failed++;
            plan.failed_one = process;
        } else if (process->state != GRAPH_FINISHED && !process->spec.ephemeral) {
            plan.unfinished++;
        }
    }
    return plan;
}

static bool deadlocked(const struct plan *plan)
{
    return plan->unfinished > 0 && plan->running == 0 && plan->startable == 0;
}

static bool room_for(const struct graph *graph, size_t running)
{
    return graph->max_concurrency == 0 || running < graph->max_concurrency;
}

static void start_ready(struct graph *graph, bool final, size_t running, uint64_t now_ms,
                        struct graph_actions *actions)
{
    for (size_t i = 0; i < graph->n_processes && room_for(graph, running); i++) {
        struct graph_process *process = &graph->processes[i];

        if (process->spec.final == final && process->ready_ms <= now_ms &&
            unblocked(graph, process)) {
            process->state = GRAPH_RUNNING;
            running++;
            act(actions, (struct graph_action){ GRAPH_START, i, process->runs++ });
        }
    }
}

static void decide(struct graph *graph, enum graph_result result, const char *reason)
{
    graph->result = result;
    (void)snprintf(graph->reason, sizeof(graph->reason), "%s", reason);
}

static void decide_failed(struct graph *graph, const struct plan *plan)
{
    const struct graph_process *process = plan->failed_one;

    if (!process) {
        decide(graph, GRAPH_FAILURE, "Task failed. No process is left that may run.");
        return;
    }
    graph->result = GRAPH_FAILURE;
    if (process->runs >= GRAPH_RUNS_MAX) {
        (void)snprintf(graph->reason, sizeof(graph->reason),
                       "Task failed. Process %s was run %d times.", process->spec.name,
                       GRAPH_RUNS_MAX);
    } else if (process->unstarted) {
        (void)snprintf(graph->reason, sizeof(graph->reason),
                       "Task failed. Process %s could not be started: %s", process->spec.name,
                       process->unstarted);
    } else {
        (void)snprintf(graph->reason, sizeof(graph->reason),
                       "Task failed. Process %s ended with status %d.", process->spec.name,
                       process->exit_code);
    }
}

static uint64_t later(uint64_t now_ms, uint64_t wait_ms)
{
    return wait_ms > GRAPH_NEVER - now_ms ? GRAPH_NEVER : now_ms + wait_ms;
}

static void end(struct graph *graph, uint64_t now_ms, struct graph_actions *actions)
{
    graph->stage = GRAPH_ENDING;
    graph->deadline_ms = later(now_ms, GRAPH_GIVE_UP_MS);
    graph->rekill_ms = later(now_ms, GRAPH_REKILL_MS);
    act(actions, (struct graph_action){ .type = GRAPH_KILL });
}

static void clean(struct graph *graph, uint64_t wait_ms, uint64_t now_ms,
                  struct graph_actions *actions)
{
    graph->stage = GRAPH_CLEANING;
    graph->deadline_ms = later(now_ms, wait_ms);
    if (wait_ms == 0) {
        end(graph, now_ms, actions);
    } else {
        act(actions, (struct graph_action){ .type = GRAPH_TERM });
    }
}

static void advance_active(struct graph *graph, uint64_t now_ms, struct graph_actions *actions)
{
    struct plan plan = survey(graph, false);

    if ((graph->max_failures > 0 && plan.failed >= graph->max_failures) || deadlocked(&plan)) {
        decide_failed(graph, &plan);
        clean(graph, graph->finalization_wait_ms, now_ms, actions);
    } else if (plan.unfinished == 0) {
        decide(graph, GRAPH_SUCCESS, "Task finished.");
        clean(graph, graph->finalization_wait_ms, now_ms, actions);
    } else {
        start_ready(graph, false, plan.running, now_ms, actions);
    }
}

static void advance_leaving(struct graph *graph, uint64_t now_ms, struct graph_actions *actions)
{
    if (graph->deadline_ms <= now_ms || survey(graph, false).running == 0) {
        clean(graph, graph->clean_ms, now_ms, actions);
    }
}

static void advance_ending(struct graph *graph, uint64_t now_ms, struct graph_actions *actions)
{
    if (graph->deadline_ms <= now_ms) {
        graph->leftovers = true;
        graph->stage = GRAPH_DONE;
    } else if (graph->rekill_ms <= now_ms) {
        graph->rekill_ms = later(now_ms, GRAPH_REKILL_MS);
        act(actions, (struct graph_action){ .type = GRAPH_KILL });
    }
}

static void advance(struct graph *graph, uint64_t now_ms, struct graph_actions *actions)
{
    switch (graph->stage) {
    case GRAPH_IDLE:
    case GRAPH_DONE:
        break;
    case GRAPH_ACTIVE:
        advance_active(graph, now_ms, actions);
        break;
    case GRAPH_LEAVING:
        advance_leaving(graph, now_ms, actions);
        break;
    case GRAPH_CLEANING:
        if (graph->deadline_ms <= now_ms) {
            end(graph, now_ms, actions);
        }
        break;
    case GRAPH_FINALIZING: {
        struct plan plan = survey(graph, true);

        if (graph->deadline_ms <= now_ms || plan.unfinished == 0 || deadlocked(&plan)) {
            end(graph, now_ms, actions);
        } else {
            start_ready(graph, true, plan.running, now_ms, actions);
        }
        break;
    }
    case GRAPH_ENDING:
        advance_ending(graph, now_ms, actions);
        break;
    }
}

void graph_begin(struct graph *graph, uint64_t now_ms, struct graph_actions *actions)
{
    if (graph->stage == GRAPH_IDLE) {
        graph->stage = GRAPH_ACTIVE;
        advance(graph, now_ms, actions);
    }
}

static enum graph_state state_after(const struct graph *graph, struct graph_process *process)
{
    if (graph->stage != GRAPH_ACTIVE && graph->stage != GRAPH_FINALIZING) {
        return GRAPH_KILLED;
    }
    if (process->term_signal == 0 && process->exit_code == 0 && !process->spec.daemon) {
        return GRAPH_FINISHED;
    }
    if (process->term_signal == 0 && process->exit_code != 0) {
        process->failures++;
        if (process->spec.max_failures > 0 && process->failures >= process->spec.max_failures) {
            return process->spec.ephemeral ? GRAPH_FINISHED : GRAPH_FAILED;
        }
    }
    /* Failed with more tries left, lost to a signal, or a daemon: once more. */
    return process->runs >= GRAPH_RUNS_MAX ? GRAPH_FAILED : GRAPH_WAITING;
}

static void run_over(struct graph *graph, size_t process, int exit_code, int term_signal,
                     const char *unstarted, uint64_t now_ms, struct graph_actions *actions)
{
    struct graph_process *ended = &graph->processes[process];

    if (ended->state != GRAPH_RUNNING) {
        return;
    }
    free(ended->unstarted);
    ended->unstarted = mem_strdup_opt(unstarted);
    ended->ended = true;
    ended->exit_code = exit_code;
    ended->term_signal = term_signal;
    ended->ready_ms = later(now_ms, ended->spec.min_duration_ms);
    ended->state = state_after(graph, ended);
    advance(graph, now_ms, actions);
}

void graph_ended(struct graph *graph, size_t process, int exit_code, int term_signal,
                 uint64_t now_ms, struct graph_actions *actions)
{
    run_over(graph, process, exit_code, term_signal, NULL, now_ms, actions);
}

void graph_unstarted(struct graph *graph, size_t process, const char *why, uint64_t now_ms,
                     struct graph_actions *actions)
{
    run_over(graph, process, GRAPH_EXIT_UNSTARTED, 0, why, now_ms, actions);
}

bool graph_wants_empty(const struct graph *graph)
{
    return graph->stage == GRAPH_CLEANING || graph->stage == GRAPH_ENDING;
}

void graph_emptied(struct graph *graph, uint64_t now_ms, struct graph_actions *actions)
{
    if (graph->stage == GRAPH_CLEANING) {
        graph->stage = GRAPH_FINALIZING;
        advance(graph, now_ms, actions);
    } else if (graph->stage == GRAPH_ENDING) {
        graph->stage = GRAPH_DONE;
    }
}

static uint64_t at_most(uint64_t value, uint64_t cap)
{
    return value < cap ? value : cap;
}

void graph_leave(struct graph *graph, bool failed, const char *reason, uint64_t leave_ms,
                 uint64_t clean_ms, uint64_t now_ms, struct graph_actions *actions)
{
    uint64_t deadline_ms = later(now_ms, leave_ms);

    clean_ms = at_most(clean_ms, graph->finalization_wait_ms);
    if (graph->stage == GRAPH_ACTIVE) {
        decide(graph, failed ? GRAPH_FAILURE : GRAPH_STOPPED,
               reason   ? reason
               : failed ? "Task failed."
                        : "Task killed.");
        graph->stage = GRAPH_LEAVING;
        graph->deadline_ms = deadline_ms;
        graph->clean_ms = clean_ms;
    } else if (graph->stage == GRAPH_LEAVING) {
        graph->deadline_ms = at_most(deadline_ms, graph->deadline_ms);
        graph->clean_ms = at_most(clean_ms, graph->clean_ms);
    } else {
        return;
    }
    advance(graph, now_ms, actions);
}

void graph_stop(struct graph *graph, uint64_t grace_ms, const char *reason, uint64_t now_ms,
                struct graph_actions *actions)
{
    switch (graph->stage) {
    case GRAPH_IDLE:
        decide(graph, GRAPH_STOPPED, reason ? reason : "Task killed.");
        graph->stage = GRAPH_DONE;
        break;
    case GRAPH_ACTIVE:
        decide(graph, GRAPH_STOPPED, reason ? reason : "Task killed.");
        clean(graph, at_most(grace_ms, graph->finalization_wait_ms), now_ms, actions);
        break;
    case GRAPH_LEAVING:
        clean(graph, at_most(grace_ms, graph->clean_ms), now_ms, actions);
        break;
    case GRAPH_CLEANING:
    case GRAPH_FINALIZING:
        graph->deadline_ms = at_most(later(now_ms, grace_ms), graph->deadline_ms);
        advance(graph, now_ms, actions);
        break;
    case GRAPH_ENDING:
    case GRAPH_DONE:
        break;
    }
}

void graph_fail(struct graph *graph, const char *reason, uint64_t now_ms,
                struct graph_actions *actions)
{
    if (graph->stage == GRAPH_IDLE) {
        decide(graph, GRAPH_FAILURE, reason);
        graph->stage = GRAPH_DONE;
    } else if (graph->stage == GRAPH_ACTIVE) {
        decide(graph, GRAPH_FAILURE, reason);
        clean(graph, graph->finalization_wait_ms, now_ms, actions);
    }
}

void graph_tick(struct graph *graph, uint64_t now_ms, struct graph_actions *actions)
{
    advance(graph, now_ms, actions);
}

/* The earliest start that only time holds back. */
static uint64_t next_start(const struct graph *graph, bool final)
{
    uint64_t due = GRAPH_NEVER;

    if (!room_for(graph, survey(graph, final).running)) {
        return due;
    }
    for (size_t i = 0; i < graph->n_processes; i++) {
        const struct graph_process *process = &graph->processes[i];

        if (process->spec.final == final && process->ready_ms < due && unblocked(graph, process)) {
            due = process->ready_ms;
        }
    }
    return due;
}

uint64_t graph_due(const struct graph *graph)
{
    uint64_t due = GRAPH_NEVER;

    switch (graph->stage) {
    case GRAPH_IDLE:
    case GRAPH_DONE:
        return GRAPH_NEVER;
    case GRAPH_ACTIVE:
        return next_start(graph, false);
    case GRAPH_LEAVING:
    case GRAPH_CLEANING:
        return graph->deadline_ms;
    case GRAPH_FINALIZING:
        due = next_start(graph, true);
        return due < graph->deadline_ms ? due : graph->deadline_ms;
    case GRAPH_ENDING:
        return graph->rekill_ms < graph->deadline_ms ? graph->rekill_ms : graph->deadline_ms;
    }
    return due;
}
