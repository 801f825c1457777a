/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"
#include "master/operations/opcode_env.h"
#include "master/operations/opcodes.h"
#include "master/state/state.h"

#include <jansson.h>

struct opcode_step;
/* Is what the step waits for so?  Asked when the step begins to wait and after each change of
 * the state, at most once a turn.  True: it ends when all that was changed so far is durable.
 * An error put into err (zeroed before) ends it with that error at once. */
typedef bool (*opcode_step_fn)(struct opcode_step *step, struct err *err);

/* A step of work that ends when the state says so.  Freed by its end. */
struct opcode_step {
    struct opcode_work *work;
    struct state *state;
    struct steer *steer;
    char *job;      /* Key. */
    char **tasks;   /* Ids, as opcode_step_tasks_ended() reads them; may stay NULL. */
    json_t *result; /* What the step answers; an object. */
    void *data;     /* The opcode's own; freed by free_data when that is set. */
    void (*free_data)(void *data);
    /* Called when all is durable, before the step answers: fills in the result.  May be NULL. */
    void (*on_durable)(struct opcode_step *step);

    /* Private to opcode_step.c. */
    struct state_sync sync;
    struct state_listener listener;
    opcode_step_fn is_over;
};

/* The opcode then fills it and calls opcode_step_wait() or opcode_step_end(). */
struct opcode_step *opcode_step_new(struct opcode_work *work, const char *job);

/* is_over NULL: ends as soon as everything changed so far is durable. */
void opcode_step_wait(struct opcode_step *step, opcode_step_fn is_over);

/* Ends and frees it now; err NULL (or code 0) is success. */
void opcode_step_end(struct opcode_step *step, const struct err *err);

/* For struct opcode.cancel of opcodes whose steps are opcode_steps. */
void opcode_step_cancel(struct opcode_work *work);

/* Have all of step->tasks ended?  For opcode_step_wait(). */
bool opcode_step_tasks_ended(struct opcode_step *step, struct err *err);
