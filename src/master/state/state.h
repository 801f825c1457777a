/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"
#include "model/job.h"
#include "model/task.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uthash.h>
#include <uv.h>

struct election;
struct state_item;
struct zk;

/* The leader's copy of /davit, and the one road by which it changes the store.
 *
 * A change is made here first, in memory, and touched; at the end of the loop's
 * turn everything touched is written in multis that check the epoch.  Several
 * changes of one object in a turn are one write.  state_sync() tells when all that
 * was changed so far is durable.  One struct state lives as long as one term of
 * leadership: a write that fails for good ends the term, and the next term loads anew. */
struct state;

struct state_job;
struct state_node;

/* A job configuration that tasks refer to. */
struct state_config {
    struct job *job; /* hash is the key. */
    unsigned n_tasks;
    unsigned pins;            /* Updates that may still need it: it stays without tasks. */
    size_t bytes;             /* Of its text in the job's document. */
    char pending_reason[160]; /* Why its PENDING tasks could not be placed; "" when not known. */
    void *place;              /* Private to place.c; NULL. */
    UT_hash_handle hh;
};

enum state_intent {
    STATE_INTENT_NONE,
    STATE_INTENT_RUN,  /* A manifest is in the store, or on its way. */
    STATE_INTENT_STOP, /* The same with desired: stopped. */
};

struct state_task {
    struct task t; /* Changed through steer.h, then state_touch_task(). */
    struct state_job *job;
    struct state_config *config;
    struct state_node *node; /* NULL while it has none. */
    enum state_intent intent;
    char *stop_op_id, *stop_reason; /* With STATE_INTENT_STOP. */
    /* When its state began, by this master's clock: no later than the term, if another wrote it. */
    uint64_t since_ms;
    unsigned flaps; /* Consecutive flapping runs before this one. */

    /* Private to state.c. */
    struct state_item *item;
    enum state_intent stored_intent;
    bool stored, deleted, intent_dirty;
    struct state_task *job_prev, *job_next;
    struct state_task *node_prev, *node_next;
    struct state_task *wait_prev, *wait_next; /* place.c: PENDING; steer.c: with a time limit. */
    unsigned wait_list;
    uint64_t due_ms; /* steer.c: clock_now_ms() at the end of the time limit. */
    UT_hash_handle hh;
};

struct state_job {
    struct job_key key;
    char *key_text;
    struct state_config *configs; /* uthash by hash. */
    struct state_config *current;
    char *user, *op_id;
    char *
        update_id; /* The update that has locked it, NULL: none.  Set by updates.c, then touched. */
    uint64_t created_ms;
    bool creating;            /* Its tasks are not all written yet. */
    struct state_task *tasks; /* utlist by job_next: active ones and history. */
    size_t n_tasks;
    size_t counts[TASK_N_STATUS];
    uint64_t moves;   /* Grows when one of its tasks comes to a node or leaves it. */
    void *place;      /* Private to place.c; NULL. */
    uint64_t changes; /* Grows with each change of a task of it. */

    /* Private to state.c. */
    struct state_item *item;
    bool stored, deleted;
    UT_hash_handle hh;
};

/* Modes of a node. */
#define STATE_NODE_ACTIVE   "active"
#define STATE_NODE_CORDONED "cordoned" /* Takes nothing new. */
#define STATE_NODE_DRAINING "draining" /* Neither, and what it has moves away. */
#define STATE_NODE_DRAINED  "drained"  /* Nothing is left there. */

struct state_node {
    char *name;
    bool alive;
    char *address; /* Of its agent's HTTP, NULL when it is not alive. */
    char *mode;    /* STATE_NODE_*; only an active one gets tasks. */
    json_t *doc;   /* What `alive` says, last seen; {} before. */
    /* What constraints look at: the agent's, overridden by our own; read only. */
    json_t *attributes;
    unsigned attributes_version; /* Grows when they may be others. */
    json_t *own_attributes;      /* The operator's, kept in the node's document. */
    json_t *seen_attributes;     /* The agent's, kept there too: limits count while it is away. */
    json_t *drain; /* What is being drained and how (drain/drain_pass.h); NULL when it is not. */
    size_t drain_waiting, drain_asking; /* Tasks that wait for their SLA, or its coordinator. */
    char *hostname;                     /* attributes.host, or its name. */
    uint64_t gone_ms;                   /* clock_now_ms() when it vanished, 0 while alive. */
    bool lost; /* Gone for longer than the grace: its tasks are PARTITIONED or LOST. */

    double cpu; /* Capacity. */
    int64_t ram_bytes, disk_bytes;
    int port_lo, port_hi;
    double used_cpu; /* By tasks that may live there. */
    int64_t used_ram_bytes, used_disk_bytes;
    uint64_t *used_ports; /* Bitmap from port_lo. */
    size_t n_used_ports;
    int next_port;

    struct state_task *tasks; /* utlist by node_next: those that hold its resources. */
    size_t n_tasks;
    void *place; /* Private to place.c; NULL. */
    bool listed; /* /davit/nodes/<name> is there: not only a task or an intent names it. */
    bool stored; /* It has our document. */

    /* Private to state.c. */
    struct state_item *item;
    UT_hash_handle hh;
};

/* ---- Writing documents of one's own (operations, archive) ---- */

enum state_op { STATE_CREATE, STATE_SET, STATE_DELETE };

struct state_change {
    enum state_op op;
    const char *path;
    const char *text; /* Copied; NULL for STATE_DELETE. */
};

/* All n in one multi, in the order of calls.  At most 16 changes of 256 KiB each.
 * Parents must exist: /davit/operations and /davit/archive do. */
void state_write(struct state *state, const struct state_change *changes, size_t n);

struct state_sync;
/* Once per start, from the loop.  err.code 0: all that was changed before the start is
 * durable; ERR_NOTLEADER: this term is over, some of it may not be. */
typedef void (*state_sync_cb)(struct state_sync *sync);

/* The caller owns and embeds it; zeroed before its first start. */
struct state_sync {
    void *data;
    struct err err;

    /* Private to state.c. */
    struct state *state;
    state_sync_cb cb;
    uint64_t after; /* Number of the multi that must be durable. */
    struct state_sync *prev, *next;
};

void state_sync_start(struct state *state, struct state_sync *sync, state_sync_cb cb);
/* Drops it without a callback; fine on an idle one. */
void state_sync_forget(struct state_sync *sync);

/* ---- Being told of changes ---- */

struct state_listener;
/* At most once a turn, from the loop, when the revision has grown. */
typedef void (*state_listener_cb)(struct state_listener *listener);

struct state_listener {
    void *data;
    /* Private to state.c. */
    struct state *state;
    state_listener_cb cb;
    struct state_listener *prev, *next;
};

void state_listen(struct state *state, struct state_listener *listener, state_listener_cb cb);
void state_unlisten(struct state_listener *listener); /* Fine on an idle one. */

/* Grows with each change of anything that the API shows. */
uint64_t state_revision(const struct state *state);
/* For changes that are not touched through here (an operation's state). */
void state_bump(struct state *state);

/* ---- Reading ---- */

const char *state_cluster(const struct state *state);
int64_t state_epoch(const struct state *state);
struct zk *state_zk(const struct state *state);
uv_loop_t *state_loop(const struct state *state);

/* NULL when there is none.  Borrowed. */
struct state_job *state_job_find(const struct state *state, const char *key);
struct state_task *state_task_find(const struct state *state, const char *id);
struct state_node *state_node_find(const struct state *state, const char *name);
struct state_config *state_config_find(const struct state_job *job, const char *hash);

/* Heads of the hashes, for HASH_ITER by hh. */
struct state_job *state_jobs(const struct state *state);
struct state_task *state_tasks(const struct state *state);
struct state_node *state_nodes(const struct state *state);

size_t state_job_active(const struct state_job *job);

/* ---- Changing: for steer.c, nodes.c and load.c ---- */

/* The job of this key, made when there is none. */
struct state_job *state_job_add(struct state *state, const struct job_key *key);
/* Keeps config; when the job has one of this hash, that one is replaced. */
struct state_config *state_config_add_take(struct state_job *job, struct job *config);
void state_job_touch(struct state *state, struct state_job *job);
/* Removes one that has no tasks and that nothing is going to give any. */
void state_job_forget_if_empty(struct state *state, struct state_job *job);

/* A new task with status INIT, not yet written. */
struct state_task *state_task_add(struct state *state, struct state_job *job,
                                  struct state_config *config, const char *id, int instance);

/* Gives it a status and the event that says so; keeps the counts. */
void state_task_move(struct state *state, struct state_task *task, enum task_status status,
                     uint64_t wall_ms, const char *message);
/* Holds or frees the node's resources and ports. */
void state_task_place(struct state *state, struct state_task *task, struct state_node *node);
void state_task_unplace(struct state *state, struct state_task *task);
/* What the store is to say at /davit/intent: written with the task's document. */
void state_task_set_intent(struct state *state, struct state_task *task, enum state_intent intent);
void state_task_touch(struct state *state, struct state_task *task);
/* Removes it from the store and, once written, from memory. */
void state_task_delete(struct state *state, struct state_task *task);

struct state_node *state_node_add(struct state *state, const char *name);
/* What its agent offers; port_hi < port_lo is no ports. */
void state_node_capacity(struct state_node *node, double cpu, int64_t ram_bytes, int64_t disk_bytes,
                         int port_lo, int port_hi);
/* A free port, not yet held; -1 when there is none. */
int state_node_free_port(struct state_node *node);
/* Its agent says this of itself (taken); true when the node's document is to be written for it. */
bool state_node_seen_take(struct state_node *node, json_t *doc);
/* After seen_attributes or own_attributes became others: merges them anew, hostname with them. */
void state_node_attributes_changed(struct state_node *node);
/* NULL when the node does not have it.  Borrowed. */
const char *state_node_attribute(const struct state_node *node, const char *name);
void state_node_touch(struct state *state, struct state_node *node);

/* Called at the start of each turn's writing, to decide what still belongs into it (placing
 * tasks).  One; NULL ends it. */
typedef void (*state_turn_fn)(struct state *state, void *data);
void state_on_turn(struct state *state, state_turn_fn fn, void *data);

/* Have a turn even if nothing was touched. */
void state_want_turn(struct state *state);

/* ---- Life ---- */

/* The term is over: nothing more is written.  Once, from the loop. */
typedef void (*state_lost_cb)(struct state *state, const char *why, void *data);

/* Every multi sets this node: after a broken connection its version says which of them were
 * carried out, and the term goes on. */
#define STATE_WRITES_PATH "/davit/master/writes"

struct state_options {
    uv_loop_t *loop;
    struct zk *zk;
    const struct election *election; /* NULL in unit tests: no fence. */
    const char *cluster;
    int64_t epoch;
    int32_t writes; /* Version of STATE_WRITES_PATH: each of our multis adds one. */
    state_lost_cb on_lost;
    void *data;
};

struct state *state_new(const struct state_options *options);

/* Ends its pending syncs with ERR_NOTLEADER (from the loop), drops what was not
 * written, then cb (may be NULL); freed afterwards. */
typedef void (*state_cb)(void *data);
void state_close(struct state *state, state_cb cb, void *data);
