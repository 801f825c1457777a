/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"
#include "master/op_proto.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What an opcode may see and change of the master.  Defined and filled by the master's shell
 * (master/operations/opcode_env.h); this room's generic part only hands the pointer on. */
struct opcode_env;

/* One opcode of one operation, as its functions see it.  All borrowed for the call. */
struct opcode_ref {
    struct opcode_env *env;
    const char *op_id; /* The operation's UUID: tasks remember who made them. */
    uint64_t number;
    size_t index;
    const char *user;
    int64_t asked_ms;     /* Wall time at which the operation was accepted; 0 before. */
    const json_t *input;  /* The opcode as it was posted, "op" included. */
    const json_t *result; /* What the work answered; NULL before it. */
};

enum opcode_phase { OPCODE_PRE, OPCODE_POST };

/* One step of the work, asked for by the worker. */
struct opcode_work {
    struct opcode_ref ref;
    const json_t *params; /* "step" and what else the worker said; borrowed until done. */
    const char *step;
    void *data; /* The opcode's own. */

    /* Private to operations.c. */
    void *owner;
    void (*done)(struct opcode_work *work, json_t *result, const struct err *err);
};

/* Ends the step; exactly once per opcode.work call, from inside it or later.  Takes result (NULL is
 * an empty object).  err NULL is success.  work may be gone when this returns. */
void opcode_work_done(struct opcode_work *work, json_t *result, const struct err *err);

/* The work goes on: its deadline begins anew.  For work that may well take longer than
 * --op-work-ms, and that ends by itself whatever happens. */
void opcode_work_progress(struct opcode_work *work);

/* The same, and a line for the operation's log, to be seen at once. */
void opcode_work_log(struct opcode_work *work, const char *message);

/* A kind of operation.  All functions but work run at once and change nothing. */
struct opcode {
    const char *name;        /* "OP_JOB_CREATE" */
    const char *hooks_path;  /* "job-create": job-create-pre.d, job-create-post.d; NULL: none. */
    const char *object_type; /* "JOB"; OP_NOT_APPLICABLE when hooks_path is NULL. */

    /* The owner of a role may not ask for it: it is about the cluster, not about a job. */
    bool operators_only;

    /* Is the request well-formed, and may it be queued?  Asked by the API before the operation
     * exists: what fails here leaves no operation and runs no hook. */
    int (*validate)(const struct opcode_ref *ref, struct err *err);

    /* The key of the job that it works on, the caller's, or NULL: operations of one job are
     * carried out one after the other.  input was validated. */
    char *(*job)(const json_t *input);

    /* The prerequisites, asked when its turn has come, before any pre hook: what fails here is
     * followed by global post hooks with status failed.  NULL: none. */
    int (*check)(const struct opcode_ref *ref, struct err *err);

    /* Variables for hooks: adds string members to vars, without the prefix GANETI_ ("OP_TARGET",
     * "JOB_KEY"; True and False, MiB, lists by spaces).  POST: as they are after the work.
     * Reserved: STATUS, JOB_ID, IS_MASTER and the common ones.  NULL: none. */
    void (*vars)(const struct opcode_ref *ref, enum opcode_phase phase, json_t *vars);

    /* Names of the nodes whose hooks run beside the master's: appends strings to nodes, each once.
     * NULL: the master alone. */
    void (*nodes)(const struct opcode_ref *ref, enum opcode_phase phase, json_t *nodes);

    /* Carries out one step and ends it by opcode_work_done().  Durable before it says success. */
    void (*work)(struct opcode_work *work);

    /* Nobody waits for the step any more: end it soon, by opcode_work_done() as ever (from inside
     * or later).  NULL when steps end at once anyway. */
    void (*cancel)(struct opcode_work *work);
};

/* The table, NULL-terminated.  Adding an opcode is one row and one file with its struct. */
extern const struct opcode *const opcodes_table[];

extern const struct opcode opcode_job_create; /* master/operations/opcode_job.c */
extern const struct opcode opcode_job_kill;   /* master/operations/opcode_job.c */
extern const struct opcode opcode_cron_add;
extern const struct opcode opcode_cron_remove;
extern const struct opcode opcode_cron_set_params;
extern const struct opcode opcode_cron_start;
extern const struct opcode opcode_job_restart;  /* master/operations/opcode_restart.c */
extern const struct opcode opcode_job_scale;    /* master/operations/opcode_scale.c */
extern const struct opcode opcode_update_start; /* master/operations/opcode_update.c */
extern const struct opcode opcode_update_pause;
extern const struct opcode opcode_update_resume;
extern const struct opcode opcode_update_abort;
extern const struct opcode opcode_update_rollback;
extern const struct opcode opcode_node_evacuate; /* master/operations/opcode_node.c */
extern const struct opcode opcode_node_set_params;
extern const struct opcode opcode_quota_set;  /* master/operations/opcode_quota.c */
extern const struct opcode opcode_test_delay; /* master/operations/opcode_test.c */

/* NULL when there is none of that name. */
const struct opcode *opcodes_find(const struct opcode *const *table, const char *name);
