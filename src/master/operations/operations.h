/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"
#include "master/operations/opcodes.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

/* The queue of operations of the leading master: accepts them, keeps their records in the store,
 * starts a davit-op for each when its turn has come, and sees to it that each ends in exactly one
 * final state, whatever dies.
 *
 * Life: new; lead (loads the records, resumes) and unlead any number of times; close. */
struct operations;
struct state;

/* Borrowed until closed, except the struct itself. */
struct operations_options {
    uv_loop_t *loop;
    const struct opcode *const *opcodes; /* opcodes_table, or a test's own. */
    struct opcode_env *env;              /* Its state is set before operations_lead(). */

    const char *dir;          /* The master's --dir: op/ (locks), hooks.db. */
    const char *hooks_dir;    /* global-pre.d, job-create-pre.d, ... */
    const char *cluster;      /* GANETI_CLUSTER */
    const char *node;         /* GANETI_MASTER: this machine's name. */
    const char *token_file;   /* Bearer token for agents; NULL: none. */
    uint64_t op_term_ms;      /* Deadline of a hook; 0: 15 minutes. */
    uint64_t op_work_ms;      /* Deadline of an opcode's work; 0: an hour. */
    int64_t keep_hook_runs;   /* Records kept in hooks.db; 0: 200,000. */
    size_t max_running;       /* 0: 20. */
    size_t max_queued;        /* 0: 10,000; more are refused with ERR_CONFLICT. */
    uint64_t other_master_ms; /* How long an operation of another machine's master is left alone
                               * after we lead: session timeout + 5 s. */
};

typedef void (*operations_cb)(void *data);

void operations_new(const struct operations_options *options, struct operations **ret_operations);

/* We lead, and state is the leader's copy of the store, loaded: read the operations' records, then
 * accept requests and run.  ready fires once, unless unlead or close comes first; until then
 * requests get ERR_NOTLEADER.  state stays alive until unlead or close. */
void operations_lead(struct operations *ops, struct state *state, operations_cb ready, void *data);

/* We lead no longer: kills every davit-op before it returns, ends every request with
 * ERR_NOTLEADER, forgets the records and state.  Does nothing when we did not lead. */
void operations_unlead(struct operations *ops);

/* unlead, free, then cb. */
void operations_close(struct operations *ops, operations_cb cb, void *data);

/* ---- What the API offers ---- */

struct operations_request;
struct op_wait;
typedef void (*operations_request_cb)(struct operations_request *request);

/* Caller-owned.  Fires once per start, later, from the loop.  err says why it did not work, else
 * doc is the operation as the API shows it: during the callback only. */
struct operations_request {
    void *data; /* The caller's. */
    struct err err;
    json_t *doc;
    bool replayed; /* submit: it had been accepted before under this id. */

    /* Private to operations.c. */
    operations_request_cb cb;
    struct op_wait *wait;
};

/* POST /v1/operations.  body is borrowed for the call; user is the authenticated caller's name, or
 * NULL to believe body's.  Fires when durable.  ERR_INVALID and the opcodes' own codes: nothing was
 * accepted.  ERR_CONFIG (422): the id was used with another body. */
void operations_submit(struct operations *ops, struct operations_request *request,
                       const json_t *body, const char *user, operations_request_cb cb);

/* GET /v1/operations/{id or number}; with wait_ms (at most 60,000) answers when it is over, or
 * then.  ERR_NOTFOUND. */
void operations_get(struct operations *ops, struct operations_request *request, const char *key,
                    uint64_t wait_ms, operations_request_cb cb);

/* Drop it without a callback: the client went away.  Fine on an idle one. */
void operations_forget(struct operations_request *request);

/* The id of the operation that key, a number or an id, names; NULL when there is none. */
const char *operations_id(struct operations *ops, const char *key);

/* GET /v1/operations: newest first, without opcodes' inputs and logs.  job is a glob (NULL: all),
 * state a word (NULL: all), before a number (0: from the newest); at most limit items.  The
 * caller's: {"items", "next": the next page's cursor or null}. */
json_t *operations_list(struct operations *ops, const char *job, const char *state, uint64_t before,
                        size_t limit);

/* ---- What the master's own parts ask for ---- */

/* The master wants these opcodes (borrowed, well-formed: nobody validates them) carried out as
 * that user.  The operation is written with this turn, between what is changed before and after
 * the call.  An id that is known already changes nothing, so that asking again after a crash is
 * harmless.  ERR_NOTLEADER before ready; ERR_CONFLICT when too many wait. */
int operations_ask(struct operations *ops, const char *id, const char *user, const json_t *opcodes,
                   struct err *err);

enum operations_fate {
    OPERATIONS_UNKNOWN, /* Never heard of, or forgotten by the archive. */
    OPERATIONS_UNDER_WAY,
    OPERATIONS_SUCCEEDED,
    OPERATIONS_FAILED,
    OPERATIONS_LOST, /* canceled or disappeared */
};

/* What has become of it, durably. */
enum operations_fate operations_fate(struct operations *ops, const char *id);

/* Is somebody waiting?  The number of the first operation that waits for its turn at this job and
 * has an opcode of that name ("OP_JOB_KILL"); 0: none. */
uint64_t operations_waiting(const struct operations *ops, const char *job, const char *opcode);

/* Numbers for /v1/status and metrics. */
size_t operations_count_running(const struct operations *ops);
size_t operations_count_queued(const struct operations *ops);
