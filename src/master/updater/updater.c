/* SPDX-License-Identifier: Apache-2.0 */
/* updater: what a rolling update does next.
 *
 * Pure.  Not the tasks (steer.c), not the document (update_doc.c), not the timer (updates.c).
 *
 *   each instance:  WAITING --its turn--> WORKING --as wanted for watch_ms--> DONE
 *                                            '-----ended too often--> FAILED
 *   the update:     the contract's table, NEXT below
 *
 * Happy path: updater_begin(); each updater_step() looks at the WORKING instances, orders what is
 * missing, closes those that are done, and begins as many as the strategy allows; when none is left
 * the update has ROLLED_FORWARD.
 * Failures: runs of the wanted configuration that end are counted (updater_ended()).  Too many of
 * one instance: it FAILED and is left as it is.  Too many instances: the direction turns, all that
 * were touched wait again and the order is the reverse; in that direction, or without rollback, it
 * is FAILED.
 * Invariants: nothing is ordered and no instance is closed while paused or blocked; what was
 * counted stays counted.  In the order, instances that are not WAITING lie before those
 * that are.
 */
#include "master/updater/updater.h"

#include "base/str.h"

#include <string.h>

#define TO(status) (1U << (status))

/* clang-format off */
static const unsigned NEXT[UPDATE_N_STATUS] = {
    [UPDATE_ROLLING_FORWARD] = TO(UPDATE_ROLLING_BACK) | TO(UPDATE_ROLL_FORWARD_PAUSED) |
        TO(UPDATE_ROLL_FORWARD_AWAITING_PULSE) | TO(UPDATE_ROLLED_FORWARD) | TO(UPDATE_ABORTED) |
        TO(UPDATE_FAILED) | TO(UPDATE_ERROR),
    [UPDATE_ROLLING_BACK] = TO(UPDATE_ROLL_BACK_PAUSED) | TO(UPDATE_ROLL_BACK_AWAITING_PULSE) |
        TO(UPDATE_ROLLED_BACK) | TO(UPDATE_ABORTED) | TO(UPDATE_ERROR) | TO(UPDATE_FAILED),
    [UPDATE_ROLL_FORWARD_PAUSED] = TO(UPDATE_ROLLING_BACK) | TO(UPDATE_ROLLING_FORWARD) |
        TO(UPDATE_ROLL_FORWARD_AWAITING_PULSE) | TO(UPDATE_ABORTED) | TO(UPDATE_ERROR),
    [UPDATE_ROLL_BACK_PAUSED] = TO(UPDATE_ROLLING_BACK) | TO(UPDATE_ROLL_BACK_AWAITING_PULSE) |
        TO(UPDATE_ABORTED) | TO(UPDATE_ERROR),
    [UPDATE_ROLL_FORWARD_AWAITING_PULSE] = TO(UPDATE_ROLLING_FORWARD) | TO(UPDATE_ROLLING_BACK) |
        TO(UPDATE_ROLL_FORWARD_PAUSED) | TO(UPDATE_ABORTED) | TO(UPDATE_ERROR),
    [UPDATE_ROLL_BACK_AWAITING_PULSE] = TO(UPDATE_ROLLING_BACK) | TO(UPDATE_ROLL_BACK_PAUSED) |
        TO(UPDATE_ABORTED) | TO(UPDATE_ERROR),
};
/* clang-format on */

static const char PULSE_LOST[] = "Pulses from external service have timed out.";

bool updater_allows(enum update_status from, enum update_status to)
{
    return (NEXT[from] & TO(to)) != 0;
}

/* ---- Instances ---- */

/* What it is to have in the present direction. */
static int goal(const struct update *update, const struct update_instance *instance)
{
    return update->back ? instance->from : instance->to;
}

/* The instance at a place of the order, which a rollback reads backwards. */
static struct update_instance *at(const struct update *update, size_t place)
{
    return &update->instances[update->back ? update->n_instances - 1 - place : place];
}

static bool is_open(const struct update_instance *instance)
{
    return instance->phase == UPDATE_WAITING || instance->phase == UPDATE_WORKING;
}

static void close_instance(struct update *update, struct update_instance *instance,
                           enum update_phase phase, uint64_t now_ms)
{
    enum update_action action;

    if (phase == UPDATE_DONE) {
        action = update->back ? UPDATE_INSTANCE_ROLLED_BACK : UPDATE_INSTANCE_UPDATED;
    } else {
        action = update->back ? UPDATE_INSTANCE_ROLLBACK_FAILED : UPDATE_INSTANCE_UPDATE_FAILED;
    }
    instance->phase = phase;
    update_add_instance_event(update, instance->id, action, now_ms);
}

static void wake_at(uint64_t *wake_ms, uint64_t when_ms)
{
    if (*wake_ms == 0 || when_ms < *wake_ms) {
        *wake_ms = when_ms;
    }
}

/* What cannot be asked to end any more, or was asked already. */
static bool is_ending(enum task_status status)
{
    return status == TASK_KILLING || status == TASK_RESTARTING || status == TASK_DRAINING ||
           status == TASK_PREEMPTING;
}

static void give_order(const struct updater_world *world, const struct update_instance *instance,
                       enum updater_order_kind kind, int config)
{
    struct updater_order order = { kind, instance->id, config };

    world->order(world->data, &order);
}

/* An end for its running task, when that is allowed now. */
static void order_end(const struct update *update, struct update_instance *instance,
                      const struct updater_world *world, const struct updater_seen *seen,
                      uint64_t now_ms, uint64_t *wake_ms)
{
    int wanted = goal(update, instance);

    /* RUNNING ones are what an SLA counts. */
    if (update->settings.sla_aware && seen->status == TASK_RUNNING) {
        /* A clock that was set back does not make the pause longer. */
        if (now_ms < instance->retry_ms && instance->retry_ms - now_ms <= instance->backoff_ms) {
            wake_at(wake_ms, instance->retry_ms);
            return;
        }
        if (!world->may_end(world->data, instance->id)) {
            instance->backoff_ms =
                instance->backoff_ms == 0 ? UPDATER_SLA_RETRY_MS : 2 * instance->backoff_ms;
            if (instance->backoff_ms > UPDATER_SLA_RETRY_MAX_MS) {
                instance->backoff_ms = UPDATER_SLA_RETRY_MAX_MS;
            }
            instance->retry_ms = now_ms + instance->backoff_ms;
            wake_at(wake_ms, instance->retry_ms);
            return;
        }
    }
    give_order(world, instance, wanted == UPDATE_NO_CONFIG ? UPDATER_REMOVE : UPDATER_REPLACE,
               wanted);
}

/* When its run has been RUNNING for as long as it must.  When the clock was set back, or another
 * master's was ahead, what it said then tells nothing: the time counts from now. */
static uint64_t ready_at(const struct update *update, struct update_instance *instance,
                         uint64_t since_ms, uint64_t now_ms)
{
    bool odd = since_ms > now_ms;

    if (odd && (instance->odd_since_ms != since_ms || instance->odd_seen_ms > now_ms)) {
        instance->odd_since_ms = since_ms;
        instance->odd_seen_ms = now_ms;
    }
    return (odd ? instance->odd_seen_ms : since_ms) + update->settings.watch_ms;
}

/* One WORKING instance: order what is missing, close it when it is as wanted. */
static void work(struct update *update, struct update_instance *instance,
                 const struct updater_world *world, uint64_t now_ms, uint64_t *wake_ms)
{
    int wanted = goal(update, instance);
    struct updater_seen seen = { 0 };
    uint64_t ready_ms;

    world->look(world->data, instance->id, &seen);
    if (!seen.there) {
        if (wanted == UPDATE_NO_CONFIG) {
            close_instance(update, instance, UPDATE_DONE, now_ms);
        } else {
            give_order(world, instance, UPDATER_ADD, wanted);
        }
        return;
    }
    if (wanted == UPDATE_NO_CONFIG || seen.config != wanted) {
        /* A removal does not wait for a restart that somebody else began. */
        if (!is_ending(seen.status) ||
            (wanted == UPDATE_NO_CONFIG && seen.status != TASK_KILLING)) {
            order_end(update, instance, world, &seen, now_ms, wake_ms);
        }
        return;
    }
    if (seen.status != TASK_RUNNING) {
        return;
    }
    ready_ms = ready_at(update, instance, seen.since_ms, now_ms);
    if (now_ms >= ready_ms) {
        close_instance(update, instance, UPDATE_DONE, now_ms);
    } else {
        wake_at(wake_ms, ready_ms);
    }
}

/* ---- The course of all ---- */

static char *failure_text(const struct update *update)
{
    if (update->failed_instance < 0) {
        return NULL;
    }
    return str_printf("Latest failure: instance %d %s", update->failed_instance,
                      update->failed_reason);
}

/* One that seems to come from far ahead is another clock's, and counts for nothing. */
static bool pulse_is_due(const struct update *update, uint64_t now_ms)
{
    return update->settings.pulse_ms > 0 &&
           (update->pulsed_ms == 0 || now_ms >= update->pulsed_ms + update->settings.pulse_ms ||
            update->pulsed_ms > now_ms + update->settings.pulse_ms);
}

static void turn_back(struct update *update, const char *message, const char *user, uint64_t now_ms)
{
    update->back = true;
    for (size_t i = 0; i < update->n_instances; i++) {
        struct update_instance *instance = &update->instances[i];

        instance->touched = instance->phase != UPDATE_WAITING;
        instance->phase = instance->touched ? UPDATE_WAITING : UPDATE_DONE;
        instance->failures = 0;
        instance->counted[0] = '\0';
        instance->retry_ms = instance->backoff_ms = 0;
    }
    update_set_status(update, UPDATE_ROLLING_BACK, now_ms, message, user);
}

/* True when the update has taken another course, or is over. */
static bool fails(struct update *update, uint64_t now_ms)
{
    CLEANUP(mem_freep) char *text = NULL;
    int failed = 0;

    for (size_t i = 0; i < update->n_instances; i++) {
        failed += update->instances[i].phase == UPDATE_INSTANCE_FAILED;
    }
    if (failed <= update->settings.total) {
        return false;
    }
    text = failure_text(update);
    if (!update->back && update->settings.rollback) {
        turn_back(update, text, NULL, now_ms);
    } else {
        update_set_status(update, UPDATE_FAILED, now_ms, text, NULL);
    }
    return true;
}

/* Where in the order the course is. */
struct window {
    size_t first;   /* The first open one. */
    size_t waiting; /* The first WAITING one. */
    size_t working; /* How many are WORKING. */
};

static void look_along(const struct update *update, struct window *window)
{
    while (window->first < update->n_instances && !is_open(at(update, window->first))) {
        window->first++;
    }
    while (window->waiting < update->n_instances &&
           at(update, window->waiting)->phase != UPDATE_WAITING) {
        window->waiting++;
    }
    window->working = 0;
    for (size_t i = window->first; i < window->waiting; i++) {
        window->working += at(update, i)->phase == UPDATE_WORKING;
    }
}

/* May the next one begin?  May pause the update. */
static bool may_begin(struct update *update, const struct window *window, uint64_t now_ms)
{
    const struct update_instance *next = at(update, window->waiting);

    if (update->settings.strategy == UPDATE_QUEUE) {
        return window->working < (size_t)update->settings.sizes[0];
    }
    if (window->working > 0) {
        /* All of a batch are begun together. */
        return at(update, window->waiting - 1)->group == next->group &&
               at(update, window->first)->group == next->group;
    }
    if (update->settings.autopause && !update->back && next->group > update->released) {
        CLEANUP(mem_freep)
        char *text = str_printf("Job update auto paused after batch %u.", next->group);

        update->auto_paused = next->group;
        update_set_status(update, UPDATE_ROLL_FORWARD_PAUSED, now_ms, text, NULL);
        return false;
    }
    return true;
}

static bool begin_more(struct update *update, struct window *window, uint64_t now_ms)
{
    bool begun = false;

    while (window->waiting < update->n_instances && may_begin(update, window, now_ms)) {
        struct update_instance *instance = at(update, window->waiting);

        instance->phase = UPDATE_WORKING;
        update_add_instance_event(
            update, instance->id,
            update->back ? UPDATE_INSTANCE_ROLLING_BACK : UPDATE_INSTANCE_UPDATING, now_ms);
        window->working++;
        begun = true;
        do {
            window->waiting++;
        } while (window->waiting < update->n_instances &&
                 at(update, window->waiting)->phase != UPDATE_WAITING);
    }
    return begun;
}

static bool is_rolling(const struct update *update)
{
    return update->status == UPDATE_ROLLING_FORWARD || update->status == UPDATE_ROLLING_BACK;
}

/* As far as it goes in this direction. */
static void roll(struct update *update, const struct updater_world *world, uint64_t now_ms,
                 uint64_t *wake_ms)
{
    bool back = update->back;
    struct window window = { 0 };
    bool begun = true;

    while (begun && update->back == back && is_rolling(update)) {
        look_along(update, &window);
        *wake_ms = 0;
        for (size_t i = window.first; i < window.waiting; i++) {
            if (at(update, i)->phase == UPDATE_WORKING) {
                work(update, at(update, i), world, now_ms, wake_ms);
            }
        }
        if (fails(update, now_ms)) {
            return;
        }
        look_along(update, &window);
        begun = begin_more(update, &window, now_ms);
    }
    if (is_rolling(update) && window.first == update->n_instances) {
        CLEANUP(mem_freep) char *text = failure_text(update);

        update_set_status(update, back ? UPDATE_ROLLED_BACK : UPDATE_ROLLED_FORWARD, now_ms, text,
                          NULL);
    }
}

void updater_step(struct update *update, const struct updater_world *world, uint64_t now_ms,
                  uint64_t *ret_wake_ms)
{
    bool back;

    *ret_wake_ms = 0;
    do {
        back = update->back;
        if (!is_rolling(update)) {
            return;
        }
        if (pulse_is_due(update, now_ms)) {
            update_set_status(
                update, back ? UPDATE_ROLL_BACK_AWAITING_PULSE : UPDATE_ROLL_FORWARD_AWAITING_PULSE,
                now_ms, PULSE_LOST, NULL);
            return;
        }
        roll(update, world, now_ms, ret_wake_ms);
    } while (update->back != back);
    if (!is_rolling(update)) {
        *ret_wake_ms = 0;
    } else if (update->settings.pulse_ms > 0) {
        wake_at(ret_wake_ms, update->pulsed_ms + update->settings.pulse_ms);
    }
}

void updater_begin(struct update *update, uint64_t now_ms)
{
    update_set_status(update,
                      update->settings.pulse_ms > 0 ? UPDATE_ROLL_FORWARD_AWAITING_PULSE
                                                    : UPDATE_ROLLING_FORWARD,
                      now_ms, update->start_message, update->user);
}

/* ---- Ends ---- */

void updater_ended(struct update *update, int id, int config, const char *run, bool asked,
                   const char *reason, uint64_t now_ms)
{
    struct update_instance *instance = update_find_instance(update, id);
    size_t len = strlen(run);
    const char *tail = len >= UPDATE_RUN_ID ? run + len - (UPDATE_RUN_ID - 1) : run;

    if (!update_status_is_active(update->status) || instance == NULL || asked ||
        instance->phase != UPDATE_WORKING || config == UPDATE_NO_CONFIG ||
        config != goal(update, instance) || strcmp(instance->counted, tail) == 0) {
        return;
    }
    (void)snprintf(instance->counted, sizeof(instance->counted), "%s", tail);
    instance->failures++;
    update_set_failure(update, id, reason, now_ms);
    if (instance->failures > update->settings.per_instance) {
        close_instance(update, instance, UPDATE_INSTANCE_FAILED, now_ms);
    }
}

int updater_next_config(const struct update *update, int id, int config)
{
    const struct update_instance *instance = update_find_instance(update, id);

    if (instance == NULL || !update_status_is_active(update->status) ||
        instance->phase != UPDATE_WORKING || goal(update, instance) == UPDATE_NO_CONFIG) {
        return config;
    }
    return goal(update, instance);
}

/* ---- Commands ---- */

static enum update_status target_of(const struct update *update, enum updater_command command,
                                    uint64_t now_ms)
{
    bool due = pulse_is_due(update, now_ms);

    switch (command) {
    case UPDATER_PAUSE:
        return update->back ? UPDATE_ROLL_BACK_PAUSED : UPDATE_ROLL_FORWARD_PAUSED;
    case UPDATER_RESUME:
        if (update->back) {
            return due ? UPDATE_ROLL_BACK_AWAITING_PULSE : UPDATE_ROLLING_BACK;
        }
        return due ? UPDATE_ROLL_FORWARD_AWAITING_PULSE : UPDATE_ROLLING_FORWARD;
    case UPDATER_ABORT:
        return UPDATE_ABORTED;
    case UPDATER_ROLLBACK:
        break;
    }
    return UPDATE_ROLLING_BACK;
}

static bool is_paused(const struct update *update)
{
    return update->status == UPDATE_ROLL_FORWARD_PAUSED ||
           update->status == UPDATE_ROLL_BACK_PAUSED;
}

int updater_check(const struct update *update, enum updater_command command, uint64_t now_ms,
                  struct err *err)
{
    enum update_status to = target_of(update, command, now_ms);
    bool ok = updater_allows(update->status, to);

    if (command == UPDATER_RESUME) {
        ok = is_paused(update);
    } else if (command == UPDATER_ROLLBACK) {
        ok = ok && !update->back;
    }
    if (!ok) {
        return err_set(err, ERR_CONFLICT, "Cannot transition update from %s to %s",
                       update_status_name(update->status), update_status_name(to));
    }
    return 0;
}

int updater_command(struct update *update, enum updater_command command, uint64_t now_ms,
                    const char *message, const char *user, struct err *err)
{
    enum update_status to = target_of(update, command, now_ms);

    if (updater_check(update, command, now_ms, err) < 0) {
        return err->code;
    }
    if (command == UPDATER_ROLLBACK) {
        turn_back(update, message, user, now_ms);
        return 0;
    }
    if (command == UPDATER_RESUME && update->auto_paused > update->released) {
        update->released = update->auto_paused;
    }
    update_set_status(update, to, now_ms, message, user);
    return 0;
}

bool updater_pulse(struct update *update, uint64_t now_ms)
{
    if (!update_status_is_active(update->status)) {
        return false;
    }
    update->pulsed_ms = now_ms;
    update->changed = true;
    if (update->status == UPDATE_ROLL_FORWARD_AWAITING_PULSE) {
        update_set_status(update, UPDATE_ROLLING_FORWARD, now_ms, NULL, NULL);
    } else if (update->status == UPDATE_ROLL_BACK_AWAITING_PULSE) {
        update_set_status(update, UPDATE_ROLLING_BACK, now_ms, NULL, NULL);
    }
    return true;
}

void updater_ask_again(struct update *update, int id)
{
    struct update_instance *instance = update_find_instance(update, id);

    if (instance != NULL) {
        instance->retry_ms = instance->backoff_ms = 0;
    }
}

void updater_give_up(struct update *update, const char *why, uint64_t now_ms)
{
    if (update_status_is_active(update->status)) {
        update_set_status(update, UPDATE_ERROR, now_ms, why, NULL);
    }
}
