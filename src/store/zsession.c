/* SPDX-License-Identifier: Apache-2.0 */

/* zsession: the sessions, attached or not, and the ephemeral nodes of each.
 *
 * Pure: times come in.  Who is attached, and what ends a session, is engine.c's.
 *
 * Invariant: ids only grow, across restarts too, because they start from the
 * wall clock as ZooKeeper's do and never below the largest that was ever kept.
 */

#include "store/zsession.h"

#include "store/znode.h"

#include <string.h>
#include <utlist.h>

void zsession_table_fini(struct zsession_table *table)
{
    struct zsession *session = table->all;
    struct zsession *next = NULL;

    HASH_CLEAR(hh, table->all);
    for (; session != NULL; session = next) {
        next = session->hh.next;
        free(session);
    }
    free(table->dead);
    *table = (struct zsession_table){ 0 };
}

struct zsession *zsession_restore(struct zsession_table *table, int64_t id, const char *passwd,
                                  int32_t timeout_ms, uint64_t now_ms)
{
    struct zsession *session = mem_alloc(sizeof *session);

    session->id = id;
    session->timeout_ms = timeout_ms;
    session->heard_ms = now_ms;
    session->saved = true;
    memcpy(session->passwd, passwd, sizeof session->passwd);
    HASH_ADD(hh, table->all, id, sizeof session->id, session);
    if (table->last_id < id) {
        table->last_id = id;
    }
    return session;
}

struct zsession *zsession_new(struct zsession_table *table, uint64_t wall_ms, const char *passwd,
                              int32_t timeout_ms, uint64_t now_ms)
{
    int64_t id = (int64_t)((wall_ms << 24) >> 8);

    if (id <= table->last_id) {
        id = table->last_id + 1;
    }
    struct zsession *session = zsession_restore(table, id, passwd, timeout_ms, now_ms);

    session->saved = false;
    session->dirty = true;
    table->n_dirty++;
    return session;
}

struct zsession *zsession_find(const struct zsession_table *table, int64_t id)
{
    struct zsession *session = NULL;

    HASH_FIND(hh, table->all, &id, sizeof id, session);
    return session;
}

void zsession_set_timeout(struct zsession_table *table, struct zsession *session,
                          int32_t timeout_ms)
{
    if (session->timeout_ms != timeout_ms) {
        session->timeout_ms = timeout_ms;
        table->n_dirty += !session->dirty;
        session->dirty = true;
    }
}

void zsession_end(struct zsession_table *table, struct zsession *session)
{
    if (session->dirty) {
        table->n_dirty--;
    }
    if (session->saved) {
        if (table->n_dead == table->cap_dead) {
            table->cap_dead = table->cap_dead > 0 ? table->cap_dead * 2 : 16;
            table->dead = mem_realloc(table->dead, table->cap_dead * sizeof *table->dead);
        }
        table->dead[table->n_dead++] = session->id;
    }
    HASH_DEL(table->all, session);
    free(session);
}

void zsession_own(struct zsession *session, struct znode *node)
{
    DL_APPEND2(session->owned, node, owned_prev, owned_next);
}

void zsession_disown(struct zsession *session, struct znode *node)
{
    DL_DELETE2(session->owned, node, owned_prev, owned_next);
}

void zsession_log_clear(struct zsession_table *table)
{
    table->n_dead = 0;
    if (table->n_dirty == 0) {
        return;
    }
    for (struct zsession *session = table->all; session != NULL; session = session->hh.next) {
        session->saved = true;
        session->dirty = false;
    }
    table->n_dirty = 0;
}
