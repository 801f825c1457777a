/* SPDX-License-Identifier: Apache-2.0 */

/* life: what one opcode goes through, decided apart from doing it.
 *
 * Pure: no loop, no process, no message.  runner.c carries the states out and
 * tells how each ended.
 *
 *   IDLE -> BEGIN -> [global pre] -> [own pre] -> PRE_DONE -> WORK -> VARS
 *        -> [own post, after success] -> global post -> FINISH -> OVER
 *
 * Hooks run on the master first and alone, then (..._FAR) on the other nodes.
 * All global pre hooks run before their verdict, on every node; so do all own
 * ones.  A refusal goes by PRE_DONE to VARS with status failed.  A rejected
 * BEGIN goes to VARS at once: global post without a pre, the one exception that
 * the contract makes.  The mode "disappeared" starts at VARS.
 *
 * Invariants: WORK is never entered after a refusal; own post hooks only with
 * status succeeded; each life that left BEGIN passes VARS once, and FINISH once
 * unless there was nobody to tell.
 */

#include "op/life.h"

#include "base/str.h"

#include <stdlib.h>

/* clang-format off */
static const struct sm_state states[LIFE_STATES] = {
    [LIFE_IDLE] = { "idle", SM_TO(LIFE_BEGIN) | SM_TO(LIFE_VARS) },
    [LIFE_BEGIN] = { "begin", SM_TO(LIFE_GLOBAL_PRE) | SM_TO(LIFE_WORK) | SM_TO(LIFE_VARS) },
    [LIFE_GLOBAL_PRE] = { "global-pre", SM_TO(LIFE_GLOBAL_PRE_FAR) | SM_TO(LIFE_OWN_PRE) |
                                        SM_TO(LIFE_PRE_DONE) },
    [LIFE_GLOBAL_PRE_FAR] = { "global-pre-far", SM_TO(LIFE_OWN_PRE) | SM_TO(LIFE_PRE_DONE) },
    [LIFE_OWN_PRE] = { "own-pre", SM_TO(LIFE_OWN_PRE_FAR) | SM_TO(LIFE_PRE_DONE) },
    [LIFE_OWN_PRE_FAR] = { "own-pre-far", SM_TO(LIFE_PRE_DONE) },
    [LIFE_PRE_DONE] = { "pre-done", SM_TO(LIFE_WORK) | SM_TO(LIFE_VARS) },
    [LIFE_WORK] = { "work", SM_TO(LIFE_VARS) },
    [LIFE_VARS] = { "vars", SM_TO(LIFE_OWN_POST) | SM_TO(LIFE_GLOBAL_POST) | SM_TO(LIFE_OVER) },
    [LIFE_OWN_POST] = { "own-post", SM_TO(LIFE_OWN_POST_FAR) | SM_TO(LIFE_GLOBAL_POST) },
    [LIFE_OWN_POST_FAR] = { "own-post-far", SM_TO(LIFE_GLOBAL_POST) },
    [LIFE_GLOBAL_POST] = { "global-post", SM_TO(LIFE_GLOBAL_POST_FAR) | SM_TO(LIFE_FINISH) },
    [LIFE_GLOBAL_POST_FAR] = { "global-post-far", SM_TO(LIFE_FINISH) },
    [LIFE_FINISH] = { "finish", SM_TO(LIFE_OVER) },
    [LIFE_OVER] = { "over", 0 },
};
/* clang-format on */

static const char *const status_names[] = {
    [LIFE_SUCCEEDED] = OP_STATUS_SUCCEEDED,
    [LIFE_FAILED] = OP_STATUS_FAILED,
    [LIFE_DISAPPEARED] = OP_STATUS_DISAPPEARED,
};

void life_init(struct life *life)
{
    *life = (struct life){ .status = LIFE_FAILED };
    sm_init(&life->sm, states, LIFE_IDLE);
}

static enum life_state impossible(void)
{
    abort(); /* The shell offered an outcome that this step cannot have. */
}

static enum life_state over_with(struct life *life, enum life_status status)
{
    life->status = status;
    return LIFE_VARS;
}

/* A round of pre hooks ended; the verdict waits for the last node of the round. */
static enum life_state after_pre(struct life *life, enum life_event event, bool far_next,
                                 enum life_state far, enum life_state then)
{
    if (event != LIFE_EV_OK && event != LIFE_EV_REFUSED) {
        return impossible();
    }
    life->refused = life->refused || event == LIFE_EV_REFUSED;
    if (far_next) {
        return far;
    }
    return life->refused ? LIFE_PRE_DONE : then;
}

/* A failed post hook is recorded by its run and changes nothing. */
static enum life_state after_post(enum life_event event, enum life_state then)
{
    return event == LIFE_EV_OK || event == LIFE_EV_REFUSED ? then : impossible();
}

static enum life_state after_begin(struct life *life, enum life_event event)
{
    switch ((int)event) {
    case LIFE_EV_OK:
        return LIFE_GLOBAL_PRE;
    case LIFE_EV_NO_PRE:
        return LIFE_WORK;
    case LIFE_EV_REJECTED:
        return over_with(life, LIFE_FAILED);
    default:
        return impossible();
    }
}

static enum life_state after_work(struct life *life, enum life_event event)
{
    switch ((int)event) {
    case LIFE_EV_OK:
        return over_with(life, LIFE_SUCCEEDED);
    case LIFE_EV_FAILED:
        return over_with(life, LIFE_FAILED);
    case LIFE_EV_DIED:
        return over_with(life, LIFE_DISAPPEARED);
    default:
        return impossible();
    }
}

static enum life_state after_vars(const struct life *life, enum life_event event)
{
    if (event == LIFE_EV_NO_POST) {
        return LIFE_OVER;
    }
    return after_post(event, life->own && life->status == LIFE_SUCCEEDED ? LIFE_OWN_POST
                                                                         : LIFE_GLOBAL_POST);
}

static enum life_state follow(struct life *life, enum life_event event)
{
    enum life_state own_pre = life->own ? LIFE_OWN_PRE : LIFE_PRE_DONE;

    switch (life_state(life)) {
    case LIFE_IDLE:
        if (event == LIFE_EV_DISAPPEARED) {
            return over_with(life, LIFE_DISAPPEARED);
        }
        return event == LIFE_EV_RUN ? LIFE_BEGIN : impossible();
    case LIFE_BEGIN:
        return after_begin(life, event);
    case LIFE_GLOBAL_PRE:
        return after_pre(life, event, life->far, LIFE_GLOBAL_PRE_FAR, own_pre);
    case LIFE_GLOBAL_PRE_FAR:
        return after_pre(life, event, false, LIFE_IDLE, own_pre);
    case LIFE_OWN_PRE:
        return after_pre(life, event, life->far, LIFE_OWN_PRE_FAR, LIFE_PRE_DONE);
    case LIFE_OWN_PRE_FAR:
        return after_pre(life, event, false, LIFE_IDLE, LIFE_PRE_DONE);
    case LIFE_PRE_DONE:
        if (event != LIFE_EV_OK) {
            return impossible();
        }
        return life->refused ? over_with(life, LIFE_FAILED) : LIFE_WORK;
    case LIFE_WORK:
        return after_work(life, event);
    case LIFE_VARS:
        return after_vars(life, event);
    case LIFE_OWN_POST:
        return after_post(event, life->far ? LIFE_OWN_POST_FAR : LIFE_GLOBAL_POST);
    case LIFE_OWN_POST_FAR:
        return after_post(event, LIFE_GLOBAL_POST);
    case LIFE_GLOBAL_POST:
        return after_post(event, life->far ? LIFE_GLOBAL_POST_FAR : LIFE_FINISH);
    case LIFE_GLOBAL_POST_FAR:
        return after_post(event, LIFE_FINISH);
    case LIFE_FINISH:
        return event == LIFE_EV_OK ? LIFE_OVER : impossible();
    case LIFE_OVER:
    case LIFE_STATES:
        break;
    }
    return impossible();
}

enum life_state life_on(struct life *life, enum life_event event)
{
    sm_move(&life->sm, follow(life, event));
    return life_state(life);
}

const char *life_status_name(enum life_status status)
{
    return status_names[status];
}

bool life_status_parse(const char *word, enum life_status *ret_status)
{
    for (int i = LIFE_SUCCEEDED; i <= LIFE_DISAPPEARED; i++) {
        if (str_eq(word, status_names[i])) {
            *ret_status = (enum life_status)i;
            return true;
        }
    }
    return false;
}

const char *life_state_name(enum life_state state)
{
    return states[state].name;
}
