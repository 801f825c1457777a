/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"

#include <jansson.h>
#include <uv.h>

/* The process that does the work of opcodes, asked by davit-op on the channel fd.  Returns the exit
 * status. */
int worker_main(int fd);

/* One opcode's work under way, as the opcode's file sees it. */
struct work {
    const json_t *input; /* Of the opcode; valid until work_done(). */
    uv_loop_t *loop;
    void *data; /* The opcode's own. */
};

/* Has the master carry out one step.  params (taken) has "step" and what belongs to it.  cb comes
 * once, with its answer or an error. */
typedef void (*work_step_cb)(struct work *work, const struct err *err, const json_t *answer);
void work_step(struct work *work, json_t *params, work_step_cb cb);

/* A line for the operation's log. */
void work_log(struct work *work, const char *message);

/* Ends the work.  result is taken, NULL is none; err NULL is success. */
void work_done(struct work *work, json_t *result, const struct err *err);

/* The worker's side of an opcode: begins, and ends by work_done(), now or later. */
typedef void (*work_fn)(struct work *work);

/* Opcodes whose whole work is one step of the master's ("run") need no file here. */
work_fn works_find(const char *op); /* opcodes/works.c */
void work_delay(struct work *work); /* opcodes/work_delay.c */
