/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* What the intent asks for. */
enum reconcile_wish {
    RECONCILE_UNKNOWN, /* Not read yet, unreadable or malformed: leave the pod alone. */
    RECONCILE_ABSENT,  /* Surely no intent. */
    RECONCILE_RUN,
    RECONCILE_STOP, /* Ended and reported, but kept until the intent is gone. */
};

/* What davit-pod says of itself. */
enum reconcile_life {
    RECONCILE_LIFE_NONE, /* Never heard of. */
    RECONCILE_LIFE_STARTING,
    RECONCILE_LIFE_RUNNING,
    RECONCILE_LIFE_STOPPING,
    RECONCILE_LIFE_FINISHED,
    RECONCILE_LIFE_FAILED,
    RECONCILE_LIFE_KILLED,
    RECONCILE_LIFE_DIED, /* It is gone without having told an end. */
};

/* How a pod ended, as reported. */
enum reconcile_end {
    RECONCILE_END_NONE,
    RECONCILE_END_FINISHED,
    RECONCILE_END_FAILED,
    RECONCILE_END_KILLED,
    RECONCILE_END_LOST,
};

/* What was done last; p2's order. */
enum reconcile_stage {
    RECONCILE_NEW,       /* Nothing, or a half-made home. */
    RECONCILE_PREPARED,  /* before_install has run. */
    RECONCILE_INSTALLED, /* The home is complete. */
    RECONCILE_CONFIRMED, /* after_install has run. */
    RECONCILE_READY,     /* before_launch has run. */
    RECONCILE_LAUNCHED,  /* davit-pod was started: never start another one. */
    RECONCILE_UP,        /* after_launch has run. */
    RECONCILE_ENDED,     /* davit-pod and all its processes are gone. */
    RECONCILE_RELEASED,  /* before_uninstall has run. */
    RECONCILE_GONE,      /* The home is removed. */
};

/* One thing to be done; at most one at a time for a pod.  Each may be carried out twice. */
enum reconcile_action {
    RECONCILE_NOTHING,
    RECONCILE_BEFORE_INSTALL,
    RECONCILE_INSTALL,
    RECONCILE_AFTER_INSTALL,
    RECONCILE_BEFORE_LAUNCH,
    RECONCILE_LAUNCH,
    RECONCILE_AFTER_LAUNCH,
    RECONCILE_HALT,   /* Ask davit-pod to stop; kill its tree when it does not. */
    RECONCILE_REAP,   /* davit-pod died: kill what it left behind. */
    RECONCILE_SETTLE, /* davit-pod told its end: let it go, see it gone. */
    RECONCILE_BEFORE_UNINSTALL,
    RECONCILE_UNINSTALL,
    RECONCILE_FORGET, /* Drop the pod; no reconcile_done() follows. */
};

/* What a restarted agent finds on its disk. */
struct reconcile_found {
    bool has_home;
    bool launched;            /* The mark that stands before the start of davit-pod. */
    bool started;             /* davit-pod came as far as its lock or its state file. */
    bool up;                  /* after_launch has run. */
    bool alive;               /* The lock is held. */
    bool leaving;             /* We were stopping it because the agent was to end. */
    enum reconcile_life life; /* Of the state file. */
};

/* The state machine of one pod.  Read its members freely, change them by the calls below. */
struct reconcile {
    enum reconcile_wish wish;
    enum reconcile_life life;
    enum reconcile_stage stage;
    enum reconcile_end end;
    enum reconcile_action busy; /* Under way. */
    bool has_home;
    bool ran;             /* It has told that it runs. */
    bool leaving;         /* The agent ends, and its pods with it. */
    unsigned failures;    /* In a row. */
    uint64_t retry_at_ms; /* Nothing is begun before. */
};

/* A zeroed struct is a pod that was never seen.  Puts back what a former agent knew. */
void reconcile_adopt(struct reconcile *pod, const struct reconcile_found *found);

/* The latest intent replaces the one before, whatever is under way.  changed: its text is
 * another one, so that a failed step is worth an immediate attempt.  UNKNOWN replaces nothing. */
void reconcile_intent(struct reconcile *pod, enum reconcile_wish wish, bool changed);

/* davit-pod's word; what comes after an end is ignored. */
void reconcile_life(struct reconcile *pod, enum reconcile_life life);

/* The pod is known to have ended (in a former life), and has no home. */
void reconcile_ended(struct reconcile *pod, enum reconcile_end end);

/* The agent is about to end and takes this pod with it: it will be reported lost. */
void reconcile_leave(struct reconcile *pod);

/* What to begin now, marked busy (except FORGET); NOTHING while something is under way, while a
 * failed step waits (retry_at_ms), and when there is nothing to do. */
enum reconcile_action reconcile_next(struct reconcile *pod, uint64_t now_ms);

/* The busy action is over.  A failed one is begun again after 1, 2, 4 .. 60 s, an install or
 * launch from its first step. */
void reconcile_done(struct reconcile *pod, bool ok, uint64_t now_ms);

/* The busy action was never begun (it waited for its turn, and the wish changed). */
void reconcile_abandon(struct reconcile *pod);

/* May a davit-pod live now, or be about to? */
bool reconcile_lives(const struct reconcile *pod);

/* The word in reality; NULL: nothing to report. */
const char *reconcile_state(const struct reconcile *pod);

const char *reconcile_action_name(enum reconcile_action action);
const char *reconcile_end_name(enum reconcile_end end);
bool reconcile_life_ended(enum reconcile_life life);

/* RECONCILE_LIFE_NONE for a word that is none of davit-pod's. */
enum reconcile_life reconcile_life_parse(const char *word);
