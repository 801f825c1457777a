/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "store/jute.h"

#include <uthash.h>

struct znode;
struct engine_client;

struct zsession {
    int64_t id;
    char passwd[JUTE_PASSWD_SIZE];
    int32_t timeout_ms;
    uint64_t heard_ms;            /* when its client was last heard */
    struct engine_client *client; /* NULL while nobody is attached */
    struct znode *owned;          /* its ephemeral nodes, through owned_next */
    bool saved;                   /* The ledger has its row. */
    bool dirty;                   /* The ledger has to write it. */

    /* Private to zsession.c. */
    UT_hash_handle hh;
};

struct zsession_table {
    struct zsession *all;
    int64_t last_id;
    size_t n_dirty;
    int64_t *dead; /* ids whose rows are to be deleted */
    size_t n_dead, cap_dead;
};

void zsession_table_fini(struct zsession_table *table);

/* A new session, logged, under an id above all before it and above wall_ms's. */
struct zsession *zsession_new(struct zsession_table *table, uint64_t wall_ms, const char *passwd,
                              int32_t timeout_ms, uint64_t now_ms);

/* One that the ledger had. */
struct zsession *zsession_restore(struct zsession_table *table, int64_t id, const char *passwd,
                                  int32_t timeout_ms, uint64_t now_ms);
struct zsession *zsession_find(const struct zsession_table *table, int64_t id);
void zsession_set_timeout(struct zsession_table *table, struct zsession *session,
                          int32_t timeout_ms);

/* Forget it, and log that.  It owns no node any more. */
void zsession_end(struct zsession_table *table, struct zsession *session);

void zsession_own(struct zsession *session, struct znode *node);
void zsession_disown(struct zsession *session, struct znode *node);

/* The ledger has written everything. */
void zsession_log_clear(struct zsession_table *table);
