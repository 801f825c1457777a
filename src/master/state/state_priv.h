/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "master/state/state.h"
#include "master/state/state_doc.h"

/* Between state.c (objects) and state_write.c (the queue of what is to be written). */

enum state_kind {
    STATE_KIND_JOB,
    STATE_KIND_TASK,
    STATE_KIND_NODE,
    STATE_KIND_PUTS, /* Writes that state_write() was given. */
    STATE_KIND_DOC,  /* A struct state_doc. */
    STATE_KIND_SYNC
};

/* One entry of the queue, in the order of the first touch. */
struct state_item {
    enum state_kind kind;
    union {
        struct state_job *job;
        struct state_task *task;
        struct state_node *node;
        struct state_doc *doc;
        struct state_sync *sync;
        struct {
            struct state_put *puts;
            size_t n;
        } puts;
    } of;
    struct state_item *prev, *next;
};

/* One operation of a multi; owns its strings. */
struct state_put {
    enum state_op op;
    char *path;
    char *text;
};

struct state_batch; /* A multi under way. */

struct state {
    struct state_options options;
    char *cluster;

    struct state_job *jobs;
    struct state_task *tasks;
    struct state_node *nodes;
    struct state_doc *docs[STATE_DOC_N_KINDS];
    struct folder *folders; /* Of the store, which exist. */

    uint64_t revision;
    bool changed; /* The revision grows at the end of this turn. */
    struct state_listener *listeners, *next_listener;

    /* The writing side. */
    struct state_item *queue;
    struct state_batch *batches; /* Sent, oldest first. */
    size_t n_batches;
    uint64_t sent, acked;       /* Numbers of multis; options.writes + n is its version. */
    struct state_sync *waiting; /* Syncs whose multi is known. */
    bool broken;                /* A multi's fate is unknown: find out before more is sent. */
    bool dead;                  /* The term is over. */
    struct state_resolve *resolve;
    state_turn_fn on_turn;
    void *turn_data;
    uv_idle_t turn;
    bool closing;
    state_cb close_cb;
    void *close_data;
};

void state_write_init(struct state *state);
/* Nothing more is sent or answered after this. */
void state_write_fini(struct state *state);

/* Queue it unless it is queued already. */
void state_write_job(struct state *state, struct state_job *job);
void state_write_task(struct state *state, struct state_task *task);
void state_write_node(struct state *state, struct state_node *node);
void state_write_doc(struct state *state, struct state_doc *doc);

/* This folder of the store exists. */
void state_folder_add(struct state *state, const char *path);

/* Frees what the queue held last of a deleted object. */
void state_task_free(struct state_task *task);
void state_job_free(struct state_job *job);
json_t *state_job_encode(const struct state_job *job);
json_t *state_node_encode(const struct state_node *node);
void state_doc_free(struct state_doc *doc);
void state_docs_free(struct state *state);

/* Into memory only: what the store says. */
struct state_doc *state_doc_add_take(struct state *state, enum state_doc_kind kind,
                                     const char *name, json_t *json);
