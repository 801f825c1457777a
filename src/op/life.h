/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/sm.h"
#include "master/op_proto.h"

#include <stdbool.h>

/* The life of one opcode inside davit-op, as a pure state machine: which step is under way, and
 * which one follows when it has ended so or so. */

/* Each state names what is under way; entering it is the order to carry it out. */
enum life_state {
    LIFE_IDLE,
    LIFE_BEGIN,           /* op.begin */
    LIFE_GLOBAL_PRE,      /* global-pre.d on the master */
    LIFE_GLOBAL_PRE_FAR,  /* global-pre.d on the other nodes, in parallel */
    LIFE_OWN_PRE,         /* <hooks path>-pre.d on the master */
    LIFE_OWN_PRE_FAR,     /* and on the others */
    LIFE_PRE_DONE,        /* op.pre_done */
    LIFE_WORK,            /* the worker */
    LIFE_VARS,            /* op.vars */
    LIFE_OWN_POST,        /* <hooks path>-post.d on the master; after success only */
    LIFE_OWN_POST_FAR,    /* and on the others */
    LIFE_GLOBAL_POST,     /* global-post.d on the master, with the status */
    LIFE_GLOBAL_POST_FAR, /* and on the others */
    LIFE_FINISH,          /* op.finish */
    LIFE_OVER,
    LIFE_STATES
};

enum life_event {
    LIFE_EV_RUN,         /* from IDLE: a new opcode */
    LIFE_EV_DISAPPEARED, /* from IDLE: its davit-op died; only the post hooks are owed */
    LIFE_EV_OK,          /* what was under way ended well */
    LIFE_EV_REJECTED,    /* BEGIN: the prerequisite check said no */
    LIFE_EV_NO_PRE,      /* BEGIN: no pre hook anywhere, pre_done is recorded already */
    LIFE_EV_REFUSED,     /* hooks ran, at least one failed: a veto before the work, noted after */
    LIFE_EV_FAILED,      /* WORK: the worker answered an error */
    LIFE_EV_DIED,        /* WORK: the worker ended without an answer */
    LIFE_EV_NO_POST,     /* VARS: no post hook anywhere, the opcode is finished already */
};

enum life_status { LIFE_SUCCEEDED, LIFE_FAILED, LIFE_DISAPPEARED };

struct life {
    struct sm sm;
    bool own;     /* The opcode has hooks of its own; set by the shell at BEGIN and VARS. */
    bool far;     /* The phase has nodes beside the master; set at BEGIN and at VARS. */
    bool refused; /* A pre hook said no. */
    enum life_status status; /* Counts from VARS on.  The shell sets what op.vars answered. */
};

void life_init(struct life *life);

/* The next state, to be carried out now.  An event that the state does not know aborts: the shell
 * offers each step only the outcomes above. */
enum life_state life_on(struct life *life, enum life_event event);

static inline enum life_state life_state(const struct life *life)
{
    return (enum life_state)life->sm.state;
}

/* "succeeded", as in GANETI_POST_STATUS; and back, false for another word. */
const char *life_status_name(enum life_status status);
bool life_status_parse(const char *word, enum life_status *ret_status);

/* "global-pre", for logs. */
const char *life_state_name(enum life_state state);
