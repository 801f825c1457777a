/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "model/pod.h"
#include "model/task.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The life of a task as one pure function: contracts/aurora.md 4.1 and 4.2. */

enum task_event_kind {
    TASK_EV_CREATED,   /* A new run that may be placed at once. */
    TASK_EV_THROTTLED, /* A new run that must wait. */
    TASK_EV_RELEASED,  /* Its penalty is over. */
    TASK_EV_PLACED,    /* A node was chosen. */
    TASK_EV_POD,       /* The agent reports the pod's state. */
    TASK_EV_KILL,      /* Somebody wants it ended. */
    TASK_EV_RESTART,   /* ... and started again. */
    TASK_EV_DRAIN,     /* ... and started elsewhere. */
    TASK_EV_PREEMPT,   /* ... because another needs the room. */
    TASK_EV_TIMEOUT,   /* Too long in a state that should be short. */
    TASK_EV_PARTITION, /* Its node is away for longer than the grace. */
    TASK_EV_NODE_LOST, /* ... and for the job's own delay more. */
    TASK_N_EVENT_KINDS,
};

struct task_stimulus {
    enum task_event_kind kind;
    enum pod_state pod;  /* TASK_EV_POD */
    const char *message; /* For the event's record; NULL for none. */
};

/* What the rules look at. */
struct task_rules {
    enum task_status status;
    bool service;
    int max_task_failures; /* -1: unlimited */
    int failures;          /* Before the event. */
};

enum task_step_intent {
    TASK_INTENT_KEEP,
    TASK_INTENT_RUN,    /* Write the manifest. */
    TASK_INTENT_STOP,   /* Rewrite it with desired: stopped. */
    TASK_INTENT_DELETE, /* Its pod has ended, or never was. */
};

/* What follows.  Carrying it out twice does what once does. */
struct task_step {
    bool moved; /* status is new; otherwise nothing else is set but intent. */
    enum task_status status;
    bool forget;     /* Delete the task without history. */
    bool reschedule; /* A new run of the instance follows. */
    int failures;    /* Its new failure count. */
    enum task_step_intent intent;
};

void task_state_step(const struct task_rules *rules, const struct task_stimulus *stimulus,
                     struct task_step *ret_step);

/* May a task go from one state to the other?  The contract's table. */
bool task_state_allows(enum task_status from, enum task_status to);

/* Does a task that stays in this state for TASK_TRANSIENT_MS get TASK_EV_TIMEOUT? */
bool task_state_is_transient(enum task_status status);

enum {
    TASK_TRANSIENT_MS = 5 * 60 * 1000,
    TASK_FLAP_MS = 5 * 60 * 1000, /* An end sooner than this after the last change is a flap. */
    TASK_PENALTY_MS = 30 * 1000,
    TASK_PENALTY_MAX_MS = 5 * 60 * 1000,
};

/* Did this run, which has ended, flap: end by itself within TASK_FLAP_MS? */
bool task_state_flapped(const struct task *task);

/* How long the next run must wait.  flaps: consecutive flapping runs of the instance, the one that
 * just ended included; lost: that one was LOST, which the first time is nobody's fault. */
uint64_t task_state_penalty_ms(unsigned flaps, bool lost);

/* "Killed by root", and "Killed by root.\nmessage", of "Killed"; the caller's. */
char *task_state_asked_message(const char *what, const char *user, const char *message);

#define TASK_PARTITIONED_TOO_LONG "Task partitioned for too long."

/* "Rescheduled", or "Rescheduled, penalized for N ms for flapping"; the caller's. */
char *task_state_reschedule_message(uint64_t penalty_ms);
