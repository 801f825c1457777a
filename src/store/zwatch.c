/* SPDX-License-Identifier: Apache-2.0 */

/* zwatch: who waits for a change at which path; each watch fires once.
 *
 * Pure.  A path need not exist: exists() waits for it.  Not which change fires
 * what: that is engine.c's.
 *
 * A watch is in two tables: by (client, kind, path), to set it once and to
 * remove it; and in the list of its path, to fire it.
 * Invariant: a path entry lives exactly while one of its lists is not empty.
 */

#include "store/zwatch.h"

#include "base/buf.h"

#include <stdint.h>
#include <string.h>
#include <uthash.h>
#include <utlist.h>

struct zwatch_path {
    struct zwatch *waiting[2]; /* by kind */
    UT_hash_handle hh;
    char path[];
};

struct zwatch {
    struct zwatch_client *client;
    struct zwatch_path *at;
    enum zwatch_kind kind;
    struct zwatch *path_prev, *path_next;
    struct zwatch *client_prev, *client_next;
    UT_hash_handle hh;
    size_t key_len;
    char key[];
};

static void make_key(struct buf *key, const struct zwatch_client *client, enum zwatch_kind kind,
                     const char *path)
{
    uintptr_t id = (uintptr_t)client;
    char letter = (char)kind;

    buf_add(key, &id, sizeof id);
    buf_add(key, &letter, 1);
    buf_add_text(key, path);
}

static struct zwatch *find(const struct zwatch_table *table, const struct zwatch_client *client,
                           enum zwatch_kind kind, const char *path)
{
    CLEANUP_BUF key = { 0 };
    struct zwatch *watch = NULL;

    make_key(&key, client, kind, path);
    HASH_FIND(hh, table->by_client, key.data, key.len, watch);
    return watch;
}

static struct zwatch_path *path_entry(struct zwatch_table *table, const char *path)
{
    struct zwatch_path *entry = NULL;
    size_t len = strlen(path);

    HASH_FIND(hh, table->by_path, path, len, entry);
    if (entry == NULL) {
        entry = mem_alloc(sizeof *entry + len + 1);
        memcpy(entry->path, path, len);
        HASH_ADD_KEYPTR(hh, table->by_path, entry->path, len, entry);
    }
    return entry;
}

void zwatch_add(struct zwatch_table *table, struct zwatch_client *client, enum zwatch_kind kind,
                const char *path)
{
    CLEANUP_BUF key = { 0 };
    struct zwatch *watch = NULL;

    make_key(&key, client, kind, path);
    HASH_FIND(hh, table->by_client, key.data, key.len, watch);
    if (watch != NULL) {
        return;
    }
    watch = mem_alloc(sizeof *watch + key.len);
    memcpy(watch->key, key.data, key.len);
    watch->key_len = key.len;
    watch->client = client;
    watch->kind = kind;
    watch->at = path_entry(table, path);
    HASH_ADD_KEYPTR(hh, table->by_client, watch->key, watch->key_len, watch);
    DL_APPEND2(watch->at->waiting[kind], watch, path_prev, path_next);
    DL_APPEND2(client->all, watch, client_prev, client_next);
    table->n_watches++;
}

static void drop(struct zwatch_table *table, struct zwatch *watch)
{
    struct zwatch_path *entry = watch->at;

    /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it misses that DL_DELETE2 moves the head. */
    HASH_DEL(table->by_client, watch);
    DL_DELETE2(entry->waiting[watch->kind], watch, path_prev, path_next);
    DL_DELETE2(watch->client->all, watch, client_prev, client_next);
    table->n_watches--;
    free(watch);
    if (entry->waiting[ZWATCH_DATA] == NULL && entry->waiting[ZWATCH_CHILD] == NULL) {
        HASH_DEL(table->by_path, entry);
        free(entry);
    }
}

bool zwatch_has(const struct zwatch_table *table, const struct zwatch_client *client,
                enum zwatch_kind kind, const char *path)
{
    return find(table, client, kind, path) != NULL;
}

bool zwatch_remove(struct zwatch_table *table, struct zwatch_client *client, enum zwatch_kind kind,
                   const char *path)
{
    struct zwatch *watch = find(table, client, kind, path);

    if (watch != NULL) {
        drop(table, watch);
    }
    return watch != NULL;
}

void zwatch_remove_client(struct zwatch_table *table, struct zwatch_client *client)
{
    while (client->all != NULL) {
        drop(table, client->all);
    }
}

struct zwatch_client *zwatch_take(struct zwatch_table *table, enum zwatch_kind kind,
                                  const char *path)
{
    struct zwatch_path *entry = NULL;

    HASH_FIND(hh, table->by_path, path, strlen(path), entry);
    if (entry == NULL || entry->waiting[kind] == NULL) {
        return NULL;
    }
    struct zwatch_client *client = entry->waiting[kind]->client;

    drop(table, entry->waiting[kind]);
    return client;
}

void zwatch_table_fini(struct zwatch_table *table)
{
    struct zwatch *next = NULL;

    for (struct zwatch *watch = table->by_client; watch != NULL; watch = next) {
        next = watch->hh.next;
        drop(table, watch);
    }
}
