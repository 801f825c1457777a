/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/digest.h"
#include "coord/zk.h"
#include "http/httpc.h"
#include "master/operations/hook_relay.h"
#include "master/operations/op_queue.h"
#include "master/operations/op_record.h"
#include "master/operations/op_supervisor.h"
#include "master/operations/operations.h"
#include "master/state/state.h"

#include <uthash.h>

/* Shared by operations.c (queue, API, life) and op_serve.c (what davit-op asks). */

/* An operation that is not over, or whose end is not durable yet. */
struct op_run {
    struct operations *ops;
    json_t *record; /* As decided; its writes are under way, in order. */
    char *id;
    char **jobs;
    struct op_queue_item item;
    bool turn;                        /* Its turn has come: counts as running. */
    bool last;                        /* Its davit-op had died: only post hooks are owed. */
    bool over;                        /* Decided; op_run_settled() when durable. */
    bool durable;                     /* And now it is. */
    struct op_supervisor *supervisor; /* NULL: none is alive. */
    bool wait_gone;                   /* An earlier master's davit-op may still live. */
    uint64_t resume_ms;               /* When to go on; 0: nothing to do. */
    struct op_pending *pending;
    struct op_run *prev, *next; /* ops->runs, by number. */
    UT_hash_handle hh;          /* ops->by_id */
};

/* A request of davit-op that is not answered yet; or a write that nobody asked for. */
struct op_pending {
    struct operations *ops;
    struct op_run *run;          /* NULL: forgotten; only its outcome is awaited. */
    struct rpc_request *request; /* NULL: none. */
    json_t *answer;
    bool ends; /* With it the end of the operation is durable. */
    struct state_sync sync;
    struct opcode_work work;
    const struct opcode *opcode; /* Of a work. */
    json_t *params;
    struct hook_relay *relay;
    struct op_pending *prev, *next;
};

/* An operation that is over. */
struct op_done {
    uint64_t number;
    char *id;
    char digest[DIGEST_SHA256_HEX];
    char *summary;               /* JSON text. */
    struct op_done *prev, *next; /* ops->done, by number. */
    UT_hash_handle hh;
};

struct operations {
    struct operations_options options;
    struct state *state; /* NULL while we do not lead. */
    bool ready;
    operations_cb ready_cb;
    void *ready_data;
    uint64_t led_ms; /* When we began to lead. */
    struct op_load *load;

    char boot_id[64], host[256];
    char *dir, *hooks_dir, *journal, *token; /* Absolute paths. */
    struct httpc *httpc;
    struct hook_upkeep *upkeep; /* Of the journal; ends what dead davit-ops left. */

    uint64_t next_number;
    struct op_run *runs, *by_id;
    struct op_queue queue;
    struct op_done *done, *done_by_id;
    size_t n_done;

    struct op_supervisor *spare; /* One davit-op kept ready. */
    uint64_t spare_ms;           /* When to start the next one; 0: not now. */
    size_t n_supervisors;
    struct op_pending *orphans; /* Pending of forgotten runs. */

    struct op_wait *waits;
    uv_timer_t timer;
    uint64_t armed_ms;

    bool closing, closed;
    operations_cb close_cb;
    void *close_data;
};

/* The channel's methods; op_serve.c. */
extern const struct rpc_method op_serve_methods[];

/* Ends the pending requests of a run whose davit-op is gone, or that is forgotten (then they
 * become ops->orphans): works are asked to end, relays are canceled. */
void op_serve_abandon(struct op_run *run, bool forget);

/* ---- op_run.c ---- */

enum { OP_RUN_PATH_SIZE = 64, OP_RUN_KEEP_DONE = 5000 }; /* Older ones leave the archive. */

/* "/davit/operations/0000000017"; ret holds OP_RUN_PATH_SIZE. */
void op_run_path(char *ret, const char *folder, uint64_t number);

/* Takes record. */
struct op_run *op_run_add(struct operations *ops, json_t *record);

/* Its pending requests are gone, its davit-op detached. */
void op_run_free(struct op_run *run);
void op_run_add_done(struct operations *ops, const json_t *record);
void op_run_free_done(struct operations *ops, struct op_done *done);

/* Starts those whose turn has come. */
void op_run_kick(struct operations *ops);

/* After a pause, or while an earlier master's davit-op may live. */
void op_run_look_again(struct op_run *run, uint64_t now_ms);

/* A davit-op without an operation yet. */
struct op_supervisor *op_run_supervisor(struct operations *ops);

/* Write the record as it is now; an operation that is over moves to the archive. */
void op_run_write(struct op_run *run);

/* Answer request (NULL: nobody) when all that was written so far is durable.  Takes answer. */
void op_run_answer(struct op_run *run, struct rpc_request *request, json_t *answer);

/* The record is over: its turn ends, the next ones may start. */
void op_run_over(struct op_run *run);

/* A pending request of it ended, or its end became durable. */
void op_run_settled(struct op_run *run, bool durable);
void op_pending_free(struct op_pending *pending);

/* Names of nodes whose hooks are not the master's own ones.  Drops the others from nodes. */
void op_run_drop_own(struct operations *ops, json_t *nodes);

/* ---- operations.c, for the others ---- */

/* Have on_tick() run at that time at the latest. */
void operations_want_tick(struct operations *ops, uint64_t at_ms);

/* Its end is durable: whoever waits for it learns it. */
void operations_wake(struct op_run *run);
void operations_maybe_closed(struct operations *ops);
