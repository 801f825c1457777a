/* SPDX-License-Identifier: Apache-2.0 */
/* task_state: which state follows, and what is owed then.
 *
 * Pure: no store, no clock, no log; steer.c carries the step out.  Two tables say
 * it all: NEXT, which moves exist, and the target of each event.  What an event asks
 * for that NEXT does not have is ignored: agents repeat themselves, and late reports
 * of a task that moved on are usual.
 *
 * Not modelled as in Aurora: a task killed before it was placed leaves no history.
 */
#include "master/state/task_state.h"

#include "base/str.h"

#include <inttypes.h>

#define TO(status) (UINT32_C(1) << (status))

/* clang-format off */
#define ENDS (TO(TASK_FINISHED) | TO(TASK_FAILED) | TO(TASK_KILLED) | TO(TASK_LOST))
#define ASKED (TO(TASK_RESTARTING) | TO(TASK_DRAINING) | TO(TASK_PREEMPTING) | TO(TASK_KILLING))

static const uint32_t NEXT[TASK_N_STATUS] = {
    [TASK_INIT]        = TO(TASK_PENDING) | TO(TASK_THROTTLED),
    [TASK_THROTTLED]   = TO(TASK_PENDING) | TO(TASK_KILLING),
    [TASK_PENDING]     = TO(TASK_ASSIGNED) | TO(TASK_KILLING),
    [TASK_ASSIGNED]    = TO(TASK_STARTING) | TO(TASK_RUNNING) | ENDS | ASKED,
    [TASK_STARTING]    = TO(TASK_RUNNING) | ENDS | ASKED | TO(TASK_PARTITIONED),
    [TASK_RUNNING]     = ENDS | ASKED | TO(TASK_PARTITIONED),
    [TASK_PREEMPTING]  = ENDS | TO(TASK_KILLING) | TO(TASK_PARTITIONED),
    [TASK_RESTARTING]  = ENDS | TO(TASK_KILLING) | TO(TASK_PARTITIONED),
    [TASK_DRAINING]    = ENDS | TO(TASK_KILLING) | TO(TASK_PARTITIONED),
    [TASK_KILLING]     = ENDS | TO(TASK_PARTITIONED),
    [TASK_PARTITIONED] = TO(TASK_LOST) | TO(TASK_FAILED) | TO(TASK_FINISHED) | TO(TASK_RUNNING) |
                         TO(TASK_ASSIGNED) | TO(TASK_STARTING) | ASKED,
};
/* clang-format on */

bool task_state_allows(enum task_status from, enum task_status to)
{
    return (NEXT[from] & TO(to)) != 0;
}

bool task_state_is_transient(enum task_status status)
{
    return status == TASK_ASSIGNED || status == TASK_PREEMPTING || status == TASK_RESTARTING ||
           status == TASK_KILLING || status == TASK_DRAINING;
}

/* The state that a pod's report asks for; INIT for none. */
static enum task_status status_of_pod(enum task_status from, enum pod_state pod)
{
    switch (pod) {
    case POD_INSTALLING:
        /* The first word about a task after its node came back. */
        return from == TASK_PARTITIONED ? TASK_ASSIGNED : TASK_INIT;
    case POD_STARTING:
        return TASK_STARTING;
    case POD_RUNNING:
        return TASK_RUNNING;
    case POD_STOPPING:
        return TASK_INIT;
    case POD_FINISHED:
        return TASK_FINISHED;
    case POD_FAILED:
        return TASK_FAILED;
    case POD_KILLED:
        /* The table has no KILLED from PARTITIONED: it ended while it could not be seen. */
        return from == TASK_PARTITIONED ? TASK_LOST : TASK_KILLED;
    case POD_LOST:
        return TASK_LOST;
    case POD_N_STATES:
        break;
    }
    return TASK_INIT;
}

static bool asked_to_end(enum task_status status)
{
    return status == TASK_KILLING || status == TASK_RESTARTING || status == TASK_DRAINING ||
           status == TASK_PREEMPTING;
}

/* The state that the event asks for; INIT for none. */
static enum task_status target(enum task_status from, const struct task_stimulus *stimulus)
{
    switch (stimulus->kind) {
    case TASK_EV_CREATED:
        return from == TASK_INIT ? TASK_PENDING : TASK_INIT;
    case TASK_EV_THROTTLED:
        return TASK_THROTTLED;
    case TASK_EV_RELEASED:
        return from == TASK_THROTTLED ? TASK_PENDING : TASK_INIT;
    case TASK_EV_PLACED:
        return from == TASK_PENDING ? TASK_ASSIGNED : TASK_INIT;
    case TASK_EV_POD:
        return status_of_pod(from, stimulus->pod);
    case TASK_EV_KILL:
        return TASK_KILLING;
    case TASK_EV_RESTART:
        return TASK_RESTARTING;
    case TASK_EV_DRAIN:
        return TASK_DRAINING;
    case TASK_EV_PREEMPT:
        return TASK_PREEMPTING;
    case TASK_EV_TIMEOUT:
        return task_state_is_transient(from) ? TASK_LOST : TASK_INIT;
    case TASK_EV_PARTITION:
        /* What was to end anyway counts as ended, and what never ran need not be waited for. */
        return asked_to_end(from) || from == TASK_ASSIGNED ? TASK_LOST : TASK_PARTITIONED;
    case TASK_EV_NODE_LOST:
        return TASK_LOST;
    case TASK_N_EVENT_KINDS:
        break;
    }
    return TASK_INIT;
}

static bool is_rescheduled(const struct task_rules *rules, enum task_status to)
{
    if (rules->status == TASK_KILLING) {
        return false;
    }
    if (asked_to_end(rules->status)) {
        return true;
    }
    switch (to) {
    case TASK_FINISHED:
        return rules->service;
    case TASK_FAILED:
        return rules->service || rules->max_task_failures == -1 ||
               rules->failures < rules->max_task_failures - 1;
    case TASK_KILLED:
    case TASK_LOST:
        return true; /* Nobody asked for it. */
    default:
        return false;
    }
}

/* What becomes of the intent when a task ends.  A report of the pod's own end leaves nothing to
 * stop; any other end may leave a pod behind on a node that we cannot see. */
static enum task_step_intent intent_at_end(const struct task_stimulus *stimulus)
{
    return stimulus->kind == TASK_EV_POD ? TASK_INTENT_DELETE : TASK_INTENT_STOP;
}

void task_state_step(const struct task_rules *rules, const struct task_stimulus *stimulus,
                     struct task_step *ret_step)
{
    enum task_status to = target(rules->status, stimulus);
    struct task_step step = { .status = rules->status, .failures = rules->failures };

    if (to == TASK_INIT || !task_state_allows(rules->status, to)) {
        if (task_is_terminal(rules->status) && stimulus->kind == TASK_EV_POD) {
            /* A pod of a task that is over: a stale one is stopped, an ended one forgotten. */
            step.intent =
                pod_state_is_terminal(stimulus->pod) ? TASK_INTENT_DELETE : TASK_INTENT_STOP;
        }
        *ret_step = step;
        return;
    }
    step.moved = true;
    step.status = to;
    if (to == TASK_ASSIGNED && rules->status == TASK_PENDING) {
        step.intent = TASK_INTENT_RUN;
    } else if (to == TASK_KILLING &&
               (rules->status == TASK_PENDING || rules->status == TASK_THROTTLED)) {
        step.forget = true;
    } else if (asked_to_end(to)) {
        step.intent = TASK_INTENT_STOP;
    } else if (task_is_terminal(to)) {
        step.failures += to == TASK_FAILED;
        step.intent = intent_at_end(stimulus);
        step.reschedule = is_rescheduled(rules, to);
    }
    *ret_step = step;
}

bool task_state_flapped(const struct task *task)
{
    const struct task_event *end;

    if (task->n_events < 2) {
        return false;
    }
    end = &task->events[task->n_events - 1];
    for (size_t i = 0; i < task->n_events; i++) {
        enum task_status status = task->events[i].status;

        /* Not its own doing.  Aurora punished those that had to make room. */
        if (status == TASK_RESTARTING || status == TASK_KILLING || status == TASK_DRAINING ||
            status == TASK_PREEMPTING) {
            return false;
        }
    }
    for (size_t i = task->n_events - 1; i > 0; i--) {
        enum task_status status = task->events[i - 1].status;

        /* How long its node was away is not how long it ran. */
        if (task_is_active(status) && status != TASK_PARTITIONED) {
            return end->time_ms < task->events[i - 1].time_ms + TASK_FLAP_MS;
        }
    }
    return false;
}

uint64_t task_state_penalty_ms(unsigned flaps, bool lost)
{
    uint64_t penalty = TASK_PENALTY_MS;

    if (lost && flaps > 0) {
        flaps--;
    }
    if (flaps == 0) {
        return 0;
    }
    for (unsigned i = 1; i < flaps && penalty < TASK_PENALTY_MAX_MS; i++) {
        penalty *= 2;
    }
    return penalty < TASK_PENALTY_MAX_MS ? penalty : TASK_PENALTY_MAX_MS;
}

char *task_state_asked_message(const char *what, const char *user, const char *message)
{
    if (message == NULL || message[0] == '\0') {
        return str_printf("%s by %s", what, user);
    }
    return str_printf("%s by %s.\n%s", what, user, message);
}

char *task_state_reschedule_message(uint64_t penalty_ms)
{
    if (penalty_ms == 0) {
        return mem_strdup("Rescheduled");
    }
    return str_printf("Rescheduled, penalized for %" PRIu64 " ms for flapping", penalty_ms);
}
