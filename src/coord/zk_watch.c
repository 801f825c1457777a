/* SPDX-License-Identifier: Apache-2.0 */

/* zk_watch: the present value of a node, or of its list of children, told again at each change.
 *
 * ZooKeeper's watches fire once and die with their session; these last.  One entry per path and
 * kind reads for all watches on it.
 *
 *   ARMED --event, new session, new watch--> READING --value--> told, ARMED
 *                                              `--failure--> RETRYING --1 s--> READING
 *
 * Happy path: a read leaves a watch on the server; its event makes us read again.  A missing node
 * is watched by exists().
 * Failures: a connection's loss needs nothing: the library sets its watches again and the server
 * tells what changed meanwhile.  After an expiry every entry reads again.  A read that fails is
 * tried again, and told only when it was refused.
 * Invariants: while an entry is not READING the server watches it; an event during a read makes
 * another read follow; an entry lives as long as it has watches or is telling them.
 */

#include "coord/zk_watch.h"

#include "base/mem.h"
#include "coord/zk_priv.h"

#include <string.h>
#include <uthash.h>
#include <utlist.h>

enum { RETRY_MS = 1000 };

enum kind { DATA, CHILDREN };

struct zk_watch_entry {
    struct table *table;
    char *key; /* The kind's letter, then the path. */
    enum kind kind;
    struct zk_watch *watches;
    struct zk_req req;
    bool reading;
    bool dirty;    /* Changed while it was being read. */
    bool retrying; /* The table's timer will read it. */
    bool telling;
    bool told; /* Has been, at least once: then `exists`, `zxid` and `created` say what. */
    bool exists;
    int64_t zxid, created;
    UT_hash_handle hh;
};

struct table {
    struct zk *zk;
    struct zk_watch_entry *entries;
    struct zk_listener listener;
    uv_timer_t retry;
};

static void read_entry(struct zk_watch_entry *entry);
static void on_retry(uv_timer_t *timer);

static void on_retry_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void free_entry(struct zk_watch_entry *entry)
{
    struct table *table = entry->table;

    zk_forget(&entry->req);
    HASH_DEL(table->entries, entry);
    free(entry->key);
    free(entry);
    if (table->entries == NULL) {
        zk_unlisten(&table->listener);
        zk_set_watch_table(table->zk, NULL, NULL);
        uv_close((uv_handle_t *)&table->retry, on_retry_closed);
    }
}

static void retry_later(struct zk_watch_entry *entry)
{
    entry->retrying = true;
    if (!uv_is_active((uv_handle_t *)&entry->table->retry)) {
        uv_timer_start(&entry->table->retry, on_retry, RETRY_MS, 0);
    }
}

/* Tells the watches that have not been told this; each callback may stop any of them. */
static void tell(struct zk_watch_entry *entry, const struct zk_req *req, int code)
{
    struct zk_watch *watch;

    entry->telling = true;
    do {
        DL_FOREACH(entry->watches, watch)
        {
            if (watch->owed) {
                break;
            }
        }
        if (watch != NULL) {
            watch->owed = false;
            watch->err = code != 0 ? req->err : (struct err){ 0 };
            watch->exists = entry->exists && code == 0;
            watch->stat = watch->exists ? req->stat : (struct zk_stat){ 0 };
            watch->bytes = watch->exists && entry->kind == DATA ? req->bytes : "";
            watch->len = watch->exists && entry->kind == DATA ? req->len : 0;
            watch->children = req->children;
            watch->n_children = watch->exists ? req->n_children : 0;
            watch->cb(watch);
        }
    } while (watch != NULL);
    entry->telling = false;
    if (entry->watches == NULL) {
        free_entry(entry);
    } else if (entry->dirty && !entry->reading) {
        read_entry(entry);
    }
}

static void owe_all(struct zk_watch_entry *entry)
{
    struct zk_watch *watch;

    DL_FOREACH(entry->watches, watch)
    {
        watch->owed = true;
    }
}

static void on_exists(struct zk_req *req);

static void on_read(struct zk_req *req)
{
    struct zk_watch_entry *entry = req->data;
    bool exists = req->err.code == 0;
    int64_t zxid = entry->kind == DATA ? req->stat.mzxid : req->stat.pzxid;

    entry->reading = false;
    if (req->err.code == ERR_NOTFOUND) {
        entry->reading = true; /* Only exists() leaves a watch on a missing node. */
        zk_exists_watched(entry->table->zk, req, entry->key + 1, on_exists);
        return;
    }
    if (!exists) {
        bool refused = req->err.code == ERR_DENIED || req->err.code == ERR_INVALID;
        retry_later(entry);
        if (refused) {
            tell(entry, req, req->err.code);
        }
        return;
    }
    if (!entry->told || !entry->exists || entry->zxid != zxid ||
        entry->created != req->stat.czxid) {
        owe_all(entry);
    }
    entry->told = entry->exists = true;
    entry->zxid = zxid;
    entry->created = req->stat.czxid;
    tell(entry, req, 0);
}

static void on_exists(struct zk_req *req)
{
    struct zk_watch_entry *entry = req->data;

    entry->reading = false;
    if (req->err.code == 0) {
        read_entry(entry); /* It came up in between. */
        return;
    }
    if (req->err.code != ERR_NOTFOUND) {
        retry_later(entry);
        return;
    }
    if (!entry->told || entry->exists) {
        owe_all(entry);
    }
    entry->told = true;
    entry->exists = false;
    tell(entry, req, 0);
}

static void read_entry(struct zk_watch_entry *entry)
{
    if (entry->reading || entry->telling) {
        entry->dirty = true;
        return;
    }
    entry->reading = true;
    entry->dirty = false;
    entry->retrying = false;
    if (entry->kind == DATA) {
        zk_get_watched(entry->table->zk, &entry->req, entry->key + 1, on_read);
    } else {
        zk_children_watched(entry->table->zk, &entry->req, entry->key + 1, on_read);
    }
}

static void on_retry(uv_timer_t *timer)
{
    struct table *table = timer->data;
    struct zk_watch_entry *entry, *next;

    HASH_ITER(hh, table->entries, entry, next)
    {
        if (entry->retrying) {
            read_entry(entry);
        }
    }
}

static void on_state(struct zk_listener *listener, enum zk_state state)
{
    struct table *table = listener->data;
    struct zk_watch_entry *entry, *next;

    if (state != ZK_EXPIRED) {
        return;
    }
    HASH_ITER(hh, table->entries, entry, next)
    {
        /* A read under way is sent again by itself, and leaves its watch on the new session. */
        if (!entry->reading) {
            read_entry(entry);
        }
    }
}

static char *make_key(enum kind kind, const char *path)
{
    size_t len = strlen(path) + 1;
    char *key = mem_alloc(len + 1);

    key[0] = kind == DATA ? 'd' : 'c';
    memcpy(key + 1, path, len);
    return key;
}

static struct zk_watch_entry *find_entry(struct table *table, enum kind kind, const char *path)
{
    CLEANUP(mem_freep) char *key = make_key(kind, path);
    struct zk_watch_entry *entry = NULL;

    HASH_FIND_STR(table->entries, key, entry);
    return entry;
}

/* The library tells the path only; reading once too often does no harm. */
static void on_event(struct zk *zk, const char *path)
{
    static const enum kind kinds[] = { DATA, CHILDREN };

    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        struct table *table = zk_watch_table(zk);
        struct zk_watch_entry *entry = table != NULL ? find_entry(table, kinds[i], path) : NULL;
        if (entry != NULL) {
            read_entry(entry);
        }
    }
}

static struct table *ensure_table(struct zk *zk)
{
    struct table *table = zk_watch_table(zk);

    if (table == NULL) {
        table = mem_alloc(sizeof *table);
        table->zk = zk;
        table->listener.data = table;
        uv_timer_init(zk_loop(zk), &table->retry);
        table->retry.data = table;
        zk_listen(zk, &table->listener, on_state);
        zk_set_watch_table(zk, table, on_event);
    }
    return table;
}

static void start_watch(struct zk *zk, struct zk_watch *watch, enum kind kind, const char *path,
                        zk_watch_cb cb)
{
    struct table *table = ensure_table(zk);
    struct zk_watch_entry *entry = find_entry(table, kind, path);

    *watch = (struct zk_watch){ .data = watch->data, .zk = zk, .cb = cb, .owed = true };
    if (entry == NULL) {
        entry = mem_alloc(sizeof *entry);
        entry->table = table;
        entry->kind = kind;
        entry->key = make_key(kind, path);
        entry->req.data = entry;
        HASH_ADD_KEYPTR(hh, table->entries, entry->key, strlen(entry->key), entry);
    }
    watch->entry = entry;
    DL_APPEND(entry->watches, watch);
    read_entry(entry); /* One under way may have read before now: another follows. */
}

void zk_watch_data(struct zk *zk, struct zk_watch *watch, const char *path, zk_watch_cb cb)
{
    start_watch(zk, watch, DATA, path, cb);
}

void zk_watch_children(struct zk *zk, struct zk_watch *watch, const char *path, zk_watch_cb cb)
{
    start_watch(zk, watch, CHILDREN, path, cb);
}

void zk_watch_stop(struct zk_watch *watch)
{
    struct zk_watch_entry *entry = watch->entry;

    if (entry == NULL) {
        return;
    }
    watch->entry = NULL;
    DL_DELETE(entry->watches, watch);
    if (entry->watches == NULL && !entry->telling) {
        free_entry(entry);
    }
}
