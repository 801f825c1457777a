/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

/* A ZooKeeper session on a loop.  It outlives connections, and when the server expires it,
 * opens a new one by itself under the next generation. */
struct zk;
struct zk_req;
struct zk_multi;
struct zk_listener;

enum zk_state {
    ZK_CONNECTING, /* No session yet. */
    ZK_CONNECTED,
    ZK_SUSPENDED, /* Connection lost; the session may still be alive. */
    ZK_EXPIRED,   /* Session gone and its ephemerals too; a new one is being opened. */
    ZK_DENIED,    /* The server refused our credentials; stays so. */
    ZK_CLOSED,
};

typedef void (*zk_cb)(struct zk *zk);
typedef void (*zk_req_cb)(struct zk_req *req);
typedef void (*zk_state_cb)(struct zk_listener *listener, enum zk_state state);

enum { ZK_ANY_VERSION = -1 };
enum { ZK_MULTI_MAX_BYTES = 512 * 1024, ZK_NODE_MAX_BYTES = 1000 * 1000 };

enum zk_create_flags {
    ZK_PERSISTENT = 0,
    ZK_EPHEMERAL = 1,
    ZK_SEQUENCE = 2,
    ZK_MAKE_PARENTS = 4, /* Not in a multi. */
    ZK_WORLD_READ = 8,   /* Everybody may read it, and the parents that are made for it. */
};

struct zk_stat {
    int64_t czxid, mzxid, pzxid;
    int64_t ctime_ms, mtime_ms; /* Wall clock of the server. */
    int32_t version, cversion, aversion;
    int64_t ephemeral_owner; /* Session id, 0 for a persistent node. */
    int32_t data_len, n_children;
};

struct zk_options {
    uv_loop_t *loop;
    const char *servers; /* "HOST:PORT[,HOST:PORT...][/CHROOT]"; a CHROOT is made when missing. */
    const char *auth;    /* "user:password", NULL for none; see zk_load_auth(). */
    uint32_t session_timeout_ms; /* 0: 10,000. */
    uint32_t op_timeout_ms;      /* 0: 15,000.  Each request's deadline. */
    size_t max_pending;          /* 0: 100,000.  More requests fail with ERR_UNREACHABLE. */
};

/* Told of every change of state, from the loop. */
struct zk_listener {
    void *data;
    /* Private to zk.c. */
    zk_state_cb cb;
    struct zk *zk;
    struct zk_listener *prev, *next;
};

/* Checks the options; connecting goes on on the loop and never gives up. */
int zk_open(const struct zk_options *options, struct zk **ret_zk, struct err *err);

/* Ends the session (its ephemerals vanish), answers what is outstanding with ERR_CANCELED,
 * frees zk, then cb (may be NULL). Watches, elections and members are to be stopped before. */
void zk_close(struct zk *zk, zk_cb cb);

/* The same, but the server is not told: the session and its ephemerals stay until its timeout,
 * for a successor that takes them over. */
void zk_abandon(struct zk *zk, zk_cb cb);

/* First line of a file that only its owner may read. */
int zk_load_auth(const char *path, char **ret_auth, struct err *err);

void zk_listen(struct zk *zk, struct zk_listener *listener, zk_state_cb cb);
void zk_unlisten(struct zk_listener *listener); /* No more callbacks after this. */

enum zk_state zk_state(const struct zk *zk);
const char *zk_state_name(enum zk_state state);
uint64_t zk_generation(const struct zk *zk);         /* 1 for the first session, 0 before it. */
int64_t zk_session_id(const struct zk *zk);          /* 0 when there is none. */
uint32_t zk_session_timeout_ms(const struct zk *zk); /* As the server granted it. */
uv_loop_t *zk_loop(const struct zk *zk);

/* A request: the caller owns and embeds it; zeroed or finished before each start.  The callback
 * fires exactly once per start, from the loop, and may restart or free it.  Paths and data are
 * copied at start.  What the result fields point to is valid during the callback only.
 *
 * While there is no connection requests wait, up to their deadline.  Reads that were under way
 * when the connection broke are sent again; writes fail with ERR_UNREACHABLE and uncertain set. */
struct zk_req {
    void *data; /* The caller's. */

    struct err err;      /* ERR_NOTFOUND (no node), ERR_EXISTS, ERR_CONFLICT (version, or not
                          * empty), ERR_DENIED, ERR_UNREACHABLE, ERR_TIMEOUT, ERR_CANCELED, ... */
    bool uncertain;      /* It failed, but the server may have done it. */
    struct zk_stat stat; /* get, exists, children, set. */
    const char *bytes;   /* get: NUL-terminated beyond len, never NULL. */
    size_t len;
    const char *const *children; /* children: names, unsorted. */
    size_t n_children;
    const char *path; /* create: the node's real path, with its sequence number. */

    /* Private to zk.c. */
    zk_req_cb cb;
    struct zk_flight *flight;
};

void zk_get(struct zk *zk, struct zk_req *req, const char *path, zk_req_cb cb);
/* A missing node is ERR_NOTFOUND. */
void zk_exists(struct zk *zk, struct zk_req *req, const char *path, zk_req_cb cb);
void zk_children(struct zk *zk, struct zk_req *req, const char *path, zk_req_cb cb);
/* flags: enum zk_create_flags. */
void zk_create(struct zk *zk, struct zk_req *req, const char *path, const void *bytes, size_t len,
               int flags, zk_req_cb cb);
void zk_set(struct zk *zk, struct zk_req *req, const char *path, const void *bytes, size_t len,
            int32_t version, zk_req_cb cb);
void zk_delete(struct zk *zk, struct zk_req *req, const char *path, int32_t version, zk_req_cb cb);
/* The server's followers catch up with its leader: a barrier before a read. */
void zk_sync(struct zk *zk, struct zk_req *req, const char *path, zk_req_cb cb);

/* Ends it early with ERR_CANCELED, from the loop; nothing once an outcome is known. */
void zk_cancel(struct zk_req *req);
/* Drops it without a callback: for an owner that is being freed.  Fine on an idle request. */
void zk_forget(struct zk_req *req);

/* All or nothing.  Built by the caller, who keeps it until the callback and frees it. */
struct zk_multi *zk_multi_new(void);
void zk_multi_free(struct zk_multi *multi);
void zk_multi_check(struct zk_multi *multi, const char *path, int32_t version);
void zk_multi_create(struct zk_multi *multi, const char *path, const void *bytes, size_t len,
                     int flags);
void zk_multi_set(struct zk_multi *multi, const char *path, const void *bytes, size_t len,
                  int32_t version);
void zk_multi_delete(struct zk_multi *multi, const char *path, int32_t version);

size_t zk_multi_count(const struct zk_multi *multi);
size_t zk_multi_bytes(const struct zk_multi *multi); /* To keep under ZK_MULTI_MAX_BYTES. */
/* After the callback: 0 or the ERR_* of the nth operation; operations that were only rolled back
 * because of another have 0, those after the failed one ERR_CANCELED. */
int zk_multi_result(const struct zk_multi *multi, size_t nth);
const char *zk_multi_path(const struct zk_multi *multi, size_t nth);
/* A create's real path, a set's new version. */
const char *zk_multi_created(const struct zk_multi *multi, size_t nth);
const struct zk_stat *zk_multi_stat(const struct zk_multi *multi, size_t nth);

/* req->err is that of the first operation that failed, with its path.  ERR_TOOBIG above
 * ZK_MULTI_MAX_BYTES. */
void zk_commit(struct zk *zk, struct zk_req *req, struct zk_multi *multi, zk_req_cb cb);
