/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "coord/zk.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uthash.h>

/* The store of the simulation: a tree with ZooKeeper's rules, in memory.  Its clients (simzk.c)
 * bring latency, loss and death into it; here everything is exact and at once. */

struct simtree_node {
    char *path;
    char *bytes;
    struct zk_stat stat; /* data_len is the length of bytes. */
    int next_sequence;
    struct simtree_node *parent, *children, *prev, *next;
    UT_hash_handle hh;
};

enum simtree_kind { SIMTREE_MADE, SIMTREE_SET, SIMTREE_GONE };

/* One node's change in a transaction. */
struct simtree_change {
    enum simtree_kind kind;
    char *path;
    char *bytes; /* GONE, SET: what it was before. */
    struct zk_stat stat;
    bool was; /* Private: it has something to undo. */
};

struct simtree;
/* A transaction was carried out, by this session. */
typedef void (*simtree_cb)(struct simtree *tree, int64_t session,
                           const struct simtree_change *changes, size_t n, void *data);

struct simtree *simtree_new(void);
void simtree_free(struct simtree *tree);
/* Told of every transaction, in the order of their listening. */
void simtree_listen(struct simtree *tree, simtree_cb cb, void *data);
/* ... before all others of now. */
void simtree_listen_first(struct simtree *tree, simtree_cb cb, void *data);
void simtree_unlisten(struct simtree *tree, simtree_cb cb, void *data);

struct simtree_node *simtree_find(const struct simtree *tree, const char *path);
int64_t simtree_zxid(const struct simtree *tree);

/* A transaction: its changes are visible at once, told at its end, and undone when it is aborted.
 * Answers are 0 or ERR_*. */
void simtree_start(struct simtree *tree, int64_t session);
int simtree_check(struct simtree *tree, const char *path, int32_t version);
int simtree_create(struct simtree *tree, const char *path, const void *bytes, size_t len, int flags,
                   const struct simtree_node **ret_node);
int simtree_set(struct simtree *tree, const char *path, const void *bytes, size_t len,
                int32_t version, const struct simtree_node **ret_node);
int simtree_delete(struct simtree *tree, const char *path, int32_t version);
void simtree_commit(struct simtree *tree);
void simtree_abort(struct simtree *tree);

int64_t simtree_open_session(struct simtree *tree);
/* Its ephemerals go. */
void simtree_end_session(struct simtree *tree, int64_t session);
bool simtree_session_lives(const struct simtree *tree, int64_t session);

/* For agents: create or set, with parents, in a transaction of its own. */
void simtree_put(struct simtree *tree, int64_t session, const char *path, const char *text,
                 int flags);
