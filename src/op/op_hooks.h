/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"
#include "hook/record.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

/* The operation hooks of the master's own machine, run by davit-op.  Engine and journal are opened
 * with the first directory that holds anything. */
struct op_hooks;

struct op_hooks_options {
    uv_loop_t *loop;
    const char *dir;     /* --hooks-dir */
    const char *journal; /* hooks.db */
    const char *node;    /* This machine, in records. */
    uint64_t term_ms;    /* 0: as the hook point says. */
};

/* One directory's hooks.  Borrowed for the call. */
struct op_hooks_spec {
    const char *event; /* "global-pre" */
    bool post;
    const json_t *env;
    const char *token; /* The opcode's base of HOOK_TOKEN. */
    const char *op_id, *job;
    int64_t number, index, attempt;
    bool again; /* After a crash: leave it if all of them ended under this token before. */
};

/* Once, later, from the loop.  err: why they could not be run at all, NULL otherwise.  Records are
 * borrowed for the call. */
typedef void (*op_hooks_cb)(const struct err *err, const struct hook_record *records, size_t n,
                            void *data);

/* Strings of options are borrowed until closed. */
struct op_hooks *op_hooks_new(const struct op_hooks_options *options);

/* Is there anything in the event's directory?  True too when it cannot be read. */
bool op_hooks_any(const struct op_hooks *hooks, const char *event);

/* One at a time. */
void op_hooks_start(struct op_hooks *hooks, const struct op_hooks_spec *spec, op_hooks_cb cb,
                    void *data);

/* After a crash of an earlier davit-op: its open runs are recorded as lost, and what is left of
 * their processes is killed. */
void op_hooks_recover(struct op_hooks *hooks);

/* Kills what runs, waits for what hooks left behind, frees, then cb.  No callback of a run comes
 * any more. */
void op_hooks_close(struct op_hooks *hooks, void (*cb)(void *data), void *data);
