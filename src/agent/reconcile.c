/* SPDX-License-Identifier: Apache-2.0 */
/* reconcile: what to do next with one pod.
 *
 * Pure: no file, process, clock or log.  pods.c carries the actions out and tells
 * the results; a pod's latest intent is a member here, so that a slow step of one
 * pod never holds up another's, or this pod's own news.
 *
 *   NEW -before_install-> PREPARED -install-> INSTALLED -after_install-> CONFIRMED
 *   -before_launch-> READY -launch-> LAUNCHED -after_launch-> UP -halt, reap,
 *   settle-> ENDED -before_uninstall-> RELEASED -uninstall-> GONE
 *
 * Failure: a step before LAUNCHED falls back to NEW and the whole is begun again
 * after the back-off; later steps are repeated alone, because a pod that was
 * launched is never launched again.
 * Invariants: LAUNCH is given only in READY, which is only reached through NEW;
 * nothing is begun and nothing stopped while the wish is UNKNOWN, except to go
 * on with what davit-pod itself told or with a launch that had already begun.
 */
#include "agent/reconcile.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

enum { BACKOFF_FIRST_MS = 1000, BACKOFF_MOST_MS = 60000 };

static const char *const life_names[] = {
    [RECONCILE_LIFE_NONE] = "none",         [RECONCILE_LIFE_STARTING] = "starting",
    [RECONCILE_LIFE_RUNNING] = "running",   [RECONCILE_LIFE_STOPPING] = "stopping",
    [RECONCILE_LIFE_FINISHED] = "finished", [RECONCILE_LIFE_FAILED] = "failed",
    [RECONCILE_LIFE_KILLED] = "killed",
};

bool reconcile_life_ended(enum reconcile_life life)
{
    return life == RECONCILE_LIFE_FINISHED || life == RECONCILE_LIFE_FAILED ||
           life == RECONCILE_LIFE_KILLED;
}

enum reconcile_life reconcile_life_parse(const char *word)
{
    for (enum reconcile_life life = RECONCILE_LIFE_STARTING; life <= RECONCILE_LIFE_KILLED;
         life++) {
        if (strcmp(word, life_names[life]) == 0) {
            return life;
        }
    }
    return RECONCILE_LIFE_NONE;
}

static enum reconcile_end end_of_life(enum reconcile_life life)
{
    switch (life) {
    case RECONCILE_LIFE_FINISHED:
        return RECONCILE_END_FINISHED;
    case RECONCILE_LIFE_FAILED:
        return RECONCILE_END_FAILED;
    case RECONCILE_LIFE_KILLED:
        return RECONCILE_END_KILLED;
    case RECONCILE_LIFE_NONE:
    case RECONCILE_LIFE_STARTING:
    case RECONCILE_LIFE_RUNNING:
    case RECONCILE_LIFE_STOPPING:
    case RECONCILE_LIFE_DIED:
        break;
    }
    return RECONCILE_END_LOST;
}

void reconcile_adopt(struct reconcile *pod, const struct reconcile_found *found)
{
    *pod = (struct reconcile){ .has_home = found->has_home };
    if (!found->launched) {
        return;
    }
    if (!found->started && !found->alive) {
        return; /* Killed between the mark and the start; davit-pod's lock makes a second
                 * start harmless, should the first one still be on its way. */
    }
    pod->stage = found->up ? RECONCILE_UP : RECONCILE_LAUNCHED;
    pod->leaving = found->leaving;
    pod->life = found->life;
    pod->ran = found->life == RECONCILE_LIFE_RUNNING;
    if (!found->alive && !reconcile_life_ended(found->life)) {
        pod->life = RECONCILE_LIFE_DIED;
    }
}

void reconcile_intent(struct reconcile *pod, enum reconcile_wish wish, bool changed)
{
    if (wish == RECONCILE_UNKNOWN) {
        return;
    }
    if (wish != pod->wish || changed) {
        pod->failures = 0;
        pod->retry_at_ms = 0;
    }
    pod->wish = wish;
}

void reconcile_life(struct reconcile *pod, enum reconcile_life life)
{
    if (reconcile_life_ended(pod->life) || pod->stage >= RECONCILE_ENDED) {
        return;
    }
    pod->ran = pod->ran || life == RECONCILE_LIFE_RUNNING;
    pod->life = life;
}

void reconcile_ended(struct reconcile *pod, enum reconcile_end end)
{
    pod->stage = RECONCILE_ENDED;
    pod->end = end;
}

void reconcile_leave(struct reconcile *pod)
{
    pod->leaving = true;
    pod->failures = 0;
    pod->retry_at_ms = 0;
}

bool reconcile_lives(const struct reconcile *pod)
{
    return pod->busy == RECONCILE_LAUNCH || pod->stage == RECONCILE_LAUNCHED ||
           pod->stage == RECONCILE_UP;
}

/* The wish says: on with installing and launching. */
static enum reconcile_action next_forward(const struct reconcile *pod)
{
    switch (pod->stage) {
    case RECONCILE_NEW:
        return RECONCILE_BEFORE_INSTALL;
    case RECONCILE_PREPARED:
        return RECONCILE_INSTALL;
    case RECONCILE_INSTALLED:
        return RECONCILE_AFTER_INSTALL;
    case RECONCILE_CONFIRMED:
        return RECONCILE_BEFORE_LAUNCH;
    case RECONCILE_READY:
        return RECONCILE_LAUNCH;
    case RECONCILE_LAUNCHED:
    case RECONCILE_UP:
    case RECONCILE_ENDED:
    case RECONCILE_RELEASED:
    case RECONCILE_GONE:
        break;
    }
    return RECONCILE_NOTHING;
}

static enum reconcile_action next_unlaunched(struct reconcile *pod)
{
    if (pod->leaving) {
        return RECONCILE_NOTHING;
    }
    switch (pod->wish) {
    case RECONCILE_RUN:
        return next_forward(pod);
    case RECONCILE_STOP:
        reconcile_ended(pod, RECONCILE_END_KILLED);
        return RECONCILE_NOTHING;
    case RECONCILE_ABSENT:
        reconcile_ended(pod, RECONCILE_END_KILLED);
        return pod->has_home ? RECONCILE_BEFORE_UNINSTALL : RECONCILE_FORGET;
    case RECONCILE_UNKNOWN:
        break;
    }
    return RECONCILE_NOTHING;
}

static enum reconcile_action next_launched(const struct reconcile *pod)
{
    bool unwanted = pod->leaving || pod->wish == RECONCILE_STOP || pod->wish == RECONCILE_ABSENT;

    if (pod->life == RECONCILE_LIFE_DIED) {
        return RECONCILE_REAP;
    }
    if (!reconcile_life_ended(pod->life) && unwanted) {
        return RECONCILE_HALT;
    }
    if (pod->stage == RECONCILE_LAUNCHED && !unwanted) {
        return RECONCILE_AFTER_LAUNCH;
    }
    return reconcile_life_ended(pod->life) ? RECONCILE_SETTLE : RECONCILE_NOTHING;
}

static enum reconcile_action next_ended(struct reconcile *pod)
{
    if (pod->stage == RECONCILE_GONE && pod->wish == RECONCILE_RUN) {
        /* The intent came back while the old pod was being removed. */
        *pod = (struct reconcile){ .wish = RECONCILE_RUN };
        return next_forward(pod);
    }
    if (pod->stage == RECONCILE_GONE) {
        return pod->wish == RECONCILE_ABSENT ? RECONCILE_FORGET : RECONCILE_NOTHING;
    }
    if (pod->wish != RECONCILE_ABSENT && pod->stage != RECONCILE_RELEASED) {
        return RECONCILE_NOTHING;
    }
    if (!pod->has_home) {
        return RECONCILE_FORGET;
    }
    return pod->stage == RECONCILE_ENDED ? RECONCILE_BEFORE_UNINSTALL : RECONCILE_UNINSTALL;
}

enum reconcile_action reconcile_next(struct reconcile *pod, uint64_t now_ms)
{
    enum reconcile_action action = RECONCILE_NOTHING;

    if (pod->busy != RECONCILE_NOTHING || now_ms < pod->retry_at_ms) {
        return RECONCILE_NOTHING;
    }
    if (pod->stage < RECONCILE_LAUNCHED) {
        action = next_unlaunched(pod);
    } else if (pod->stage < RECONCILE_ENDED) {
        action = next_launched(pod);
    } else {
        action = next_ended(pod);
    }
    if (action != RECONCILE_FORGET) {
        pod->busy = action;
    }
    return action;
}

static void fail(struct reconcile *pod, uint64_t now_ms)
{
    uint64_t delay_ms = BACKOFF_MOST_MS;

    if (pod->failures < 6) {
        delay_ms = (uint64_t)BACKOFF_FIRST_MS << pod->failures;
    }
    pod->failures++;
    pod->retry_at_ms = now_ms + delay_ms;
    if (pod->stage < RECONCILE_LAUNCHED) {
        pod->stage = RECONCILE_NEW;
    }
}

/* davit-pod is gone, whoever ended it. */
static void end(struct reconcile *pod)
{
    enum reconcile_end how = end_of_life(pod->life);

    if (how == RECONCILE_END_LOST &&
        (pod->wish == RECONCILE_STOP || pod->wish == RECONCILE_ABSENT)) {
        how = RECONCILE_END_KILLED; /* It was to end anyway. */
    }
    if (pod->leaving) {
        how = RECONCILE_END_LOST;
        pod->leaving = false;
    }
    reconcile_ended(pod, how);
}

void reconcile_done(struct reconcile *pod, bool ok, uint64_t now_ms)
{
    enum reconcile_action action = pod->busy;

    assert(action != RECONCILE_NOTHING && action != RECONCILE_FORGET);
    pod->busy = RECONCILE_NOTHING;
    if (action == RECONCILE_INSTALL) {
        pod->has_home = true; /* Or half of one. */
    }
    if (!ok && action != RECONCILE_BEFORE_UNINSTALL) {
        fail(pod, now_ms);
        return;
    }
    if (action != RECONCILE_BEFORE_INSTALL && action != RECONCILE_INSTALL &&
        action != RECONCILE_AFTER_INSTALL && action != RECONCILE_BEFORE_LAUNCH) {
        pod->failures = 0; /* Only a launch ends a series of failed attempts. */
    }
    switch (action) {
    case RECONCILE_NOTHING:
    case RECONCILE_FORGET:
        break;
    case RECONCILE_BEFORE_INSTALL:
        pod->stage = RECONCILE_PREPARED;
        break;
    case RECONCILE_INSTALL:
        pod->stage = RECONCILE_INSTALLED;
        break;
    case RECONCILE_AFTER_INSTALL:
        pod->stage = RECONCILE_CONFIRMED;
        break;
    case RECONCILE_BEFORE_LAUNCH:
        pod->stage = RECONCILE_READY;
        break;
    case RECONCILE_LAUNCH:
        pod->stage = RECONCILE_LAUNCHED;
        break;
    case RECONCILE_AFTER_LAUNCH:
        pod->stage = RECONCILE_UP;
        break;
    case RECONCILE_HALT:
    case RECONCILE_REAP:
    case RECONCILE_SETTLE:
        end(pod);
        break;
    case RECONCILE_BEFORE_UNINSTALL:
        pod->stage = RECONCILE_RELEASED;
        break;
    case RECONCILE_UNINSTALL:
        pod->stage = RECONCILE_GONE;
        pod->has_home = false;
        break;
    }
}

void reconcile_abandon(struct reconcile *pod)
{
    pod->busy = RECONCILE_NOTHING;
}

const char *reconcile_end_name(enum reconcile_end end)
{
    switch (end) {
    case RECONCILE_END_NONE:
        break;
    case RECONCILE_END_FINISHED:
        return "finished";
    case RECONCILE_END_FAILED:
        return "failed";
    case RECONCILE_END_KILLED:
        return "killed";
    case RECONCILE_END_LOST:
        return "lost";
    }
    return "none";
}

const char *reconcile_state(const struct reconcile *pod)
{
    bool unwanted = pod->leaving || pod->wish == RECONCILE_STOP || pod->wish == RECONCILE_ABSENT;

    if (pod->stage >= RECONCILE_ENDED) {
        return pod->stage < RECONCILE_GONE ? reconcile_end_name(pod->end) : NULL;
    }
    if (pod->stage < RECONCILE_LAUNCHED) {
        return pod->wish == RECONCILE_RUN || pod->has_home ? "installing" : NULL;
    }
    if (reconcile_life_ended(pod->life)) {
        /* Its processes are gone, it says; but with us on our way out "lost" is the word. */
        return pod->leaving ? "stopping" : life_names[pod->life];
    }
    if (unwanted || pod->life == RECONCILE_LIFE_STOPPING) {
        return "stopping";
    }
    /* One that died before it ran never did. */
    return pod->life == RECONCILE_LIFE_RUNNING || (pod->life == RECONCILE_LIFE_DIED && pod->ran)
               ? "running"
               : "starting";
}

const char *reconcile_action_name(enum reconcile_action action)
{
    static const char *const names[] = {
        [RECONCILE_NOTHING] = "nothing",
        [RECONCILE_BEFORE_INSTALL] = "before_install",
        [RECONCILE_INSTALL] = "install",
        [RECONCILE_AFTER_INSTALL] = "after_install",
        [RECONCILE_BEFORE_LAUNCH] = "before_launch",
        [RECONCILE_LAUNCH] = "launch",
        [RECONCILE_AFTER_LAUNCH] = "after_launch",
        [RECONCILE_HALT] = "halt",
        [RECONCILE_REAP] = "reap",
        [RECONCILE_SETTLE] = "settle",
        [RECONCILE_BEFORE_UNINSTALL] = "before_uninstall",
        [RECONCILE_UNINSTALL] = "uninstall",
        [RECONCILE_FORGET] = "forget",
    };

    return names[action];
}
