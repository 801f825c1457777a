/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"
#include "master/operations/opcodes.h"

#include <jansson.h>
#include <stdbool.h>

/* The users of a history and what they ask for: stands for master/operations/, davit-op and its
 * worker, and drives the real opcodes. */
struct simops;
struct simmaster;
struct operations;

enum simop_status {
    SIMOP_QUEUED,
    SIMOP_BEGUN,
    SIMOP_DONE,
    SIMOP_REJECTED, /* By validate or check: nothing was changed. */
    SIMOP_FAILED,   /* By its work. */
    SIMOP_DISAPPEARED,
};

struct simop {
    char id[37];
    json_t *input;
    const struct opcode *opcode;
    char *job; /* NULL: none. */
    int64_t asked_ms;
    enum simop_status status;
    json_t *result;
    struct err err;
    uint64_t begun_ms;

    /* Private to simops.c. */
    struct simops *ops;
    bool valid, own;          /* own: a master asked for it. */
    struct simmaster *master; /* Where it is under way. */
    struct sim_event *event;
    struct opcode_work work;
    json_t *params;
    bool working, dropping;
    struct simop *prev, *next;
};

/* It is over; freed afterwards. */
typedef void (*simops_cb)(struct simop *op, void *data);
struct simops *simops_make(simops_cb ended, void *data);
void simops_destroy(struct simops *ops);

/* Somebody asks for this: {"op": ..., ...}, taken. */
void simops_ask_take(struct simops *ops, json_t *input);
size_t simops_pending(const struct simops *ops);
/* Of this job; NULL: of any. */
bool simops_is_pending(const struct simops *ops, const char *job);

/* Is one of this opcode under way? */
bool simops_is_asked(const struct simops *ops, const char *opcode);
/* NULL when it is over. */
const struct simop *simops_find(const struct simops *ops, const char *id);

/* Somebody sends a pulse of this update to whoever leads. */
void simops_pulse(struct simops *ops, const char *update);

/* A master's. */
struct operations *simops_new(struct simops *ops, struct simmaster *master);
void simops_free(struct operations *operations);
