/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/tree.h"
#include "hook/record.h"

#include <sys/types.h>
#include <uv.h>

/* Runs programs on one loop, and finishes behind the caller's back what outlives its
 * run: late outputs, left-behind processes, programs past TERM. */
struct hook_engine;

/* rung: TREE_AUTO, or one forced. */
struct hook_engine *run_engine_new(uv_loop_t *loop, enum tree_rung rung);

/* For a program that is the subreaper of others too: see tree_options. */
void run_engine_spare_orphans(struct hook_engine *engine);

/* Cancels all runs (their callbacks fire first), kills the processes of all of them and
 * fires cb when nothing is left; cb may be NULL.  The engine is freed then. */
void run_engine_close(struct hook_engine *engine, void (*cb)(void *data), void *data);

uv_loop_t *run_engine_loop(const struct hook_engine *engine);

/* Runs that have not reported, and ones being finished behind the caller's back. */
size_t run_engine_busy(const struct hook_engine *engine);

/* What to run.  Borrowed until run_start() returns. */
struct hook_spec {
    const char *path;
    const char *const *argv; /* NULL: the path alone. */
    const char *const *env;  /* Exactly. */
    const char *cwd;         /* NULL: the caller's. */
    const void *input;       /* NULL: stdin is /dev/null. */
    size_t input_len;
    bool wants_answer; /* Keep stdout apart as the answer; only stderr is the output. */
    uint64_t term_ms;  /* After the start; 0: never. */
    uint64_t kill_ms;  /* After the start; 0: 30 s after term_ms. */
    bool go_on_at_term;
    bool leave;
    bool may_refuse; /* A failure is recorded as `refused`. */
    bool set_user;
    uid_t uid;
    gid_t gid;
    const gid_t *groups;
    size_t n_groups;
    bool set_umask;
    mode_t umask;
    struct tree_limits limits; /* Where groups can limit. */
};

struct hook_run;
typedef void (*hook_run_cb)(struct hook_run *run);

enum { HOOK_OUTPUT_KEEP = 32 * 1024, HOOK_ANSWER_MAX = 1024 * 1024 };

/* Caller-owned; keep it alive and in place until the callback has fired. */
struct hook_run {
    void *data;
    struct err err;             /* ERR_CANCELED, else 0: the verdict is in the record. */
    struct hook_record *record; /* The caller's; filled before the callback. */
    char *answer;               /* With wants_answer: stdout.  The run's; run_fini() frees it. */
    size_t answer_len;
    bool answer_cut; /* It was longer than HOOK_ANSWER_MAX. */

    /* Private to run.c. */
    struct hook_job *job;
    hook_run_cb cb;
};

/* Run one program.  record has its identity filled in by the caller (run_id, hook, token,
 * ...); pid, times, status, outcome (ok, failed, timed_out, unstartable), output and
 * left_behind are filled in here, and told to sink (may be NULL) as they become known.
 * cb fires once, later on the loop, when the program has ended (not when its output has),
 * or at TERM with go_on_at_term. */
void run_start(struct hook_run *run, struct hook_engine *engine, const struct hook_spec *spec,
               struct hook_record *record, const struct hook_sink *sink, hook_run_cb cb);

/* TERM now, KILL 2 s later, both behind the caller's back: cb fires with ERR_CANCELED at
 * once, later on the loop.  The record says failed, "canceled". */
void run_cancel(struct hook_run *run);
void run_fini(struct hook_run *run);
