/* SPDX-License-Identifier: Apache-2.0 */
/* restarter: restarts instances batch by batch and watches each of them come back.
 *
 * It decides; opcode_restart.c looks at the state, moves tasks and keeps the time.
 *
 *   QUEUED -> STOPPING --another run--> STARTING --RUNNING--> WATCHING --watch_ms--> WELL
 *                                          |                     |
 *                              ended, or too late        ended, or another run
 *                                          +---> QUEUED (at the end) | GIVEN_UP
 *
 * Happy path: the first batch_size instances of the queue are asked to restart; when each of
 * them has been RUNNING as one run for watch_ms, the next batch is.
 * Failures: an instance that did not come back goes to the end of the queue; one that failed
 * more than max_per_instance_failures times is given up, and more than max_total_failures of
 * those end the restart at once.  An instance without any run left cannot be restarted: it is
 * given up, whatever the settings, unless its run ended well.
 * Invariants: at most batch_size instances are under way; a batch begins when none is.  What
 * counts is what can be seen now, so that it may be asked as seldom or as often as one likes.
 */
#include "master/updater/restarter.h"

#include "base/mem.h"
#include "base/str.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { START_MS = 15 * 60 * 1000 };

enum phase { QUEUED, STOPPING, STARTING, WATCHING, WELL, GIVEN_UP };

struct instance {
    int id;
    enum phase phase;
    unsigned failures;
    bool seen;         /* Was looked at before: what another master began counts once. */
    char *run;         /* STOPPING: the one that is to end; later the one that is watched. */
    uint64_t since_ms; /* STOPPING, STARTING: asked to restart; WATCHING: RUNNING. */
};

struct restarter {
    struct restarter_settings settings;
    struct instance *instances;
    size_t n_instances;
    size_t *queue; /* Indices, a ring of n_instances. */
    size_t queue_at, n_queued;
    size_t *batch; /* Indices of those under way, or of the last batch. */
    size_t n_batch;
    size_t n_well, n_given_up;
};

struct restarter *restarter_new(const struct restarter_settings *settings, const int *instances,
                                size_t n_instances)
{
    struct restarter *restarter = mem_alloc(sizeof(*restarter));

    restarter->settings = *settings;
    if (restarter->settings.start_ms == 0) {
        restarter->settings.start_ms = START_MS;
    }
    restarter->instances = mem_alloc((n_instances + 1) * sizeof(struct instance));
    restarter->queue = mem_alloc((n_instances + 1) * sizeof(size_t));
    restarter->batch = mem_alloc((n_instances + 1) * sizeof(size_t));
    restarter->n_instances = n_instances;
    restarter->n_queued = n_instances;
    for (size_t i = 0; i < n_instances; i++) {
        restarter->instances[i].id = instances[i];
        restarter->queue[i] = i;
    }
    return restarter;
}

void restarter_free(struct restarter *restarter)
{
    if (restarter == NULL) {
        return;
    }
    for (size_t i = 0; i < restarter->n_instances; i++) {
        free(restarter->instances[i].run);
    }
    free(restarter->instances);
    free(restarter->queue);
    free(restarter->batch);
    free(restarter);
}

static void follow(struct instance *instance, enum phase phase, const char *run, uint64_t now_ms)
{
    instance->phase = phase;
    if (!str_eq(instance->run, run)) {
        free(instance->run);
        instance->run = mem_strdup_opt(run);
    }
    instance->since_ms = now_ms;
}

static void settle(struct restarter *restarter, struct instance *instance, enum phase phase)
{
    instance->phase = phase;
    restarter->n_well += phase == WELL;
    restarter->n_given_up += phase == GIVEN_UP;
}

/* One failure of it; `final` when there is nothing left to try. */
static void fail(struct restarter *restarter, const struct restarter_port *port,
                 struct instance *instance, bool final, const char *why)
{
    bool given_up = ++instance->failures > restarter->settings.max_per_instance_failures || final;

    if (given_up) {
        settle(restarter, instance, GIVEN_UP);
    } else {
        size_t end = (restarter->queue_at + restarter->n_queued++) % restarter->n_instances;

        instance->phase = QUEUED;
        restarter->queue[end] = (size_t)(instance - restarter->instances);
    }
    port->failed(port->data, instance->id, why, given_up);
}

/* Has no run any more, and will not get one by itself. */
static void without_run(struct restarter *restarter, const struct restarter_port *port,
                        struct instance *instance, const struct restarter_view *view)
{
    char why[256];

    if (view->phase == RESTARTER_OVER) {
        settle(restarter, instance, WELL);
        return;
    }
    (void)snprintf(why, sizeof(why), "its run has ended%s%s", view->ended != NULL ? ": " : "",
                   view->ended != NULL ? view->ended : "");
    fail(restarter, port, instance, true, why);
}

/* Is another run active than the one that is watched, or than the first one after the restart (it
 * may have come and gone between two looks)? */
static bool lost_run(struct restarter *restarter, const struct restarter_port *port,
                     struct instance *instance, const struct restarter_view *view)
{
    char why[256];

    if (str_eq(instance->run, view->run) ||
        (instance->phase == STOPPING &&
         (view->after == NULL || str_eq(instance->run, view->after)))) {
        return false;
    }
    (void)snprintf(why, sizeof(why), "the run did not last%s%s", view->ended != NULL ? ": " : "",
                   view->ended != NULL ? view->ended : "");
    fail(restarter, port, instance, false, why);
    return true;
}

/* How long it may take to get out of its phase.  One that is watched and not RUNNING (its node
 * cannot be seen) may come back. */
static uint64_t limit_ms(const struct restarter *restarter, const struct instance *instance)
{
    return restarter->settings.start_ms +
           (instance->phase == WATCHING ? restarter->settings.watch_ms : 0);
}

static void check_late(struct restarter *restarter, const struct restarter_port *port,
                       struct instance *instance, const struct restarter_view *view,
                       uint64_t now_ms)
{
    char why[256];

    if (now_ms - instance->since_ms >= limit_ms(restarter, instance)) {
        (void)snprintf(why, sizeof(why), "not RUNNING after %" PRIu64 " s (%s)",
                       restarter->settings.start_ms / 1000, view->state);
        fail(restarter, port, instance, false, why);
    }
}

/* One that is under way: as far as it has come by now. */
static void advance(struct restarter *restarter, const struct restarter_port *port,
                    struct instance *instance, uint64_t now_ms)
{
    struct restarter_view view = { 0 };

    port->look(port->data, instance->id, &view);
    if (view.phase == RESTARTER_NONE || view.phase == RESTARTER_OVER) {
        without_run(restarter, port, instance, &view);
        return;
    }
    if (lost_run(restarter, port, instance, &view)) {
        return;
    }
    if (instance->phase == STOPPING && !str_eq(instance->run, view.run)) {
        follow(instance, STARTING, view.run, instance->since_ms);
    }
    if (instance->phase == STARTING && view.phase == RESTARTER_RUNNING) {
        follow(instance, WATCHING, view.run, now_ms);
    }
    if (instance->phase == WATCHING && view.phase == RESTARTER_RUNNING) {
        if (now_ms - instance->since_ms >= restarter->settings.watch_ms) {
            settle(restarter, instance, WELL);
        }
        return;
    }
    check_late(restarter, port, instance, &view, now_ms);
}

/* Taken from the queue: asks for its restart, if there is a run to end. */
static void begin(struct restarter *restarter, const struct restarter_port *port,
                  struct instance *instance, uint64_t now_ms)
{
    struct restarter_view view = { 0 };
    bool resumed;

    port->look(port->data, instance->id, &view);
    if (view.run == NULL) {
        without_run(restarter, port, instance, &view);
        return;
    }
    resumed = !instance->seen && view.was_restarted;
    instance->seen = true;
    if (!view.can_restart || resumed) {
        follow(instance, STARTING, view.run, now_ms); /* It is on its way anyhow. */
        return;
    }
    follow(instance, STOPPING, view.run, now_ms);
    port->restart(port->data, instance->id);
}

static bool is_under_way(const struct instance *instance)
{
    return instance->phase == STOPPING || instance->phase == STARTING ||
           instance->phase == WATCHING;
}

static bool gave_up(const struct restarter *restarter)
{
    return restarter->n_given_up > restarter->settings.max_total_failures;
}

static void begin_batch(struct restarter *restarter, const struct restarter_port *port,
                        uint64_t now_ms)
{
    size_t n = restarter->n_queued;

    if (n > restarter->settings.batch_size) {
        n = restarter->settings.batch_size;
    }
    restarter->n_batch = 0;
    for (size_t i = 0; i < n && !gave_up(restarter); i++) {
        size_t index = restarter->queue[restarter->queue_at];

        restarter->queue_at = (restarter->queue_at + 1) % restarter->n_instances;
        restarter->n_queued--;
        restarter->batch[restarter->n_batch++] = index;
        begin(restarter, port, &restarter->instances[index], now_ms);
    }
}

/* Has *wake_ms be no later than when this instance is to be looked at again. */
static void wake_for(const struct restarter *restarter, const struct instance *instance,
                     uint64_t now_ms, uint64_t *wake_ms)
{
    uint64_t due_ms = instance->since_ms + restarter->settings.watch_ms;

    if (instance->phase != WATCHING || due_ms <= now_ms) {
        due_ms = instance->since_ms + limit_ms(restarter, instance);
    }
    if (*wake_ms == 0 || due_ms < *wake_ms) {
        *wake_ms = due_ms;
    }
}

/* Looks at those under way; how many are left, and when the first of them is to be seen again. */
static size_t look_at_batch(struct restarter *restarter, const struct restarter_port *port,
                            uint64_t now_ms, uint64_t *ret_wake_ms)
{
    size_t n = 0;

    *ret_wake_ms = 0;
    for (size_t i = 0; i < restarter->n_batch && !gave_up(restarter); i++) {
        struct instance *instance = &restarter->instances[restarter->batch[i]];

        if (is_under_way(instance)) {
            advance(restarter, port, instance, now_ms);
        }
        if (is_under_way(instance)) {
            n++;
            wake_for(restarter, instance, now_ms, ret_wake_ms);
        }
    }
    return n;
}

enum restarter_verdict restarter_step(struct restarter *restarter, uint64_t now_ms,
                                      const struct restarter_port *port, uint64_t *ret_wake_ms)
{
    for (;;) {
        size_t under_way = look_at_batch(restarter, port, now_ms, ret_wake_ms);

        if (gave_up(restarter)) {
            return RESTARTER_GAVE_UP;
        }
        if (under_way > 0) {
            return RESTARTER_GOES_ON;
        }
        if (restarter->n_queued == 0) {
            return RESTARTER_SUCCEEDED;
        }
        begin_batch(restarter, port, now_ms);
    }
}

struct restarter_counts restarter_count(const struct restarter *restarter)
{
    struct restarter_counts counts = { .all = restarter->n_instances,
                                       .well = restarter->n_well,
                                       .given_up = restarter->n_given_up };

    for (size_t i = 0; i < restarter->n_instances; i++) {
        counts.under_way += is_under_way(&restarter->instances[i]);
    }
    return counts;
}
