/* SPDX-License-Identifier: Apache-2.0 */

/* member: keeps an ephemeral node in place for as long as the program lives.
 *
 *   CREATING --made--> WATCHING --gone: expiry, removed--> CREATING
 *       `--someone else's is there--> WATCHING until it is gone
 *       `--failure--> RETRYING --1 s--> CREATING
 *
 * Failures: a create whose outcome is uncertain is looked up by watching: a node of our session's
 * is ours.  With ZK_SEQUENCE that cannot be seen, and a second node may stay until the session
 * ends; owners tell theirs apart by what they write in it.
 * Invariant: at most one request is under way.
 */

#include "coord/member.h"

#include "base/mem.h"
#include "coord/zk_watch.h"

#include <string.h>

enum {
    RETRY_MS = 1000,
    AWAY_MS = 1000, /* An end waits so long for a store that is away. */
};

struct member {
    struct zk *zk;
    char *path;
    char *real_path; /* With the sequence number; NULL before the first create. */
    char *bytes;
    size_t len;
    int flags;
    bool set_again; /* The bytes changed while a request was under way. */
    bool blocked;   /* The owner was told that another session holds the path. */
    struct zk_req req;
    struct zk_watch watch;
    uv_timer_t retry;
    member_cb cb;
    void *data;
    bool closing;
    member_closed_cb closed_cb;
    void *closed_data;
};

static void create(struct member *member);

static void tell(struct member *member, const struct err *err)
{
    if (member->cb != NULL && !member->closing) {
        member->cb(member, member->real_path != NULL ? member->real_path : member->path, err,
                   member->data);
    }
}

static void on_retry(uv_timer_t *timer)
{
    create(timer->data);
}

static void retry_later(struct member *member)
{
    uv_timer_start(&member->retry, on_retry, RETRY_MS, 0);
}

static void on_set(struct zk_req *req)
{
    struct member *member = req->data;

    if (member->set_again || req->err.code == ERR_UNREACHABLE || req->err.code == ERR_TIMEOUT) {
        member->set_again = false;
        zk_set(member->zk, req, member->real_path, member->bytes, member->len, ZK_ANY_VERSION,
               on_set);
    } else if (req->err.code != 0 && req->err.code != ERR_NOTFOUND) {
        struct err err = req->err;
        tell(member, &err); /* A missing node is made again by the watch. */
    }
}

static void on_watched(struct zk_watch *watch)
{
    struct member *member = watch->data;
    struct err err = watch->err;

    if (err.code != 0) {
        tell(member, &err);
        return;
    }
    if (!watch->exists) {
        member->blocked = false;
        zk_watch_stop(watch);
        if (member->req.flight == NULL) {
            create(member);
        } else {
            zk_forget(&member->req); /* A set of what is no more. */
            create(member);
        }
        return;
    }
    if (watch->stat.ephemeral_owner == zk_session_id(member->zk)) {
        member->blocked = false;
        tell(member, &err);
    } else if (!member->blocked) {
        member->blocked = true;
        err_setf(&err, ERR_EXISTS, "another session holds %s", member->path);
        tell(member, &err);
    }
}

static void on_created(struct zk_req *req)
{
    struct member *member = req->data;
    bool sequence = (member->flags & ZK_SEQUENCE) != 0;

    if (req->err.code == 0) {
        free(member->real_path);
        member->real_path = mem_strdup(req->path);
    } else if (req->err.code != ERR_EXISTS) {
        struct err err = req->err;
        retry_later(member);
        tell(member, &err);
        return;
    } else if (member->real_path == NULL && !sequence) {
        member->real_path = mem_strdup(member->path);
    }
    member->watch.data = member;
    zk_watch_data(member->zk, &member->watch, member->real_path, on_watched);
    if (member->set_again && req->err.code == 0) {
        member->set_again = false;
        zk_set(member->zk, req, member->real_path, member->bytes, member->len, ZK_ANY_VERSION,
               on_set);
    }
}

static void create(struct member *member)
{
    zk_create(member->zk, &member->req, member->path, member->bytes, member->len,
              ZK_EPHEMERAL | ZK_MAKE_PARENTS | member->flags, on_created);
}

static void copy_bytes(struct member *member, const void *bytes, size_t len)
{
    free(member->bytes);
    member->bytes = mem_alloc(len + 1);
    memcpy(member->bytes, bytes, len);
    member->len = len;
}

void member_start(struct zk *zk, const char *path, const void *bytes, size_t len, int flags,
                  member_cb cb, void *data, struct member **ret_member)
{
    struct member *member = mem_alloc(sizeof *member);

    member->zk = zk;
    member->path = mem_strdup(path);
    copy_bytes(member, bytes, len);
    member->flags = flags;
    member->cb = cb;
    member->data = data;
    member->req.data = member;
    uv_timer_init(zk_loop(zk), &member->retry);
    member->retry.data = member;
    create(member);
    *ret_member = member;
}

void member_set(struct member *member, const void *bytes, size_t len)
{
    copy_bytes(member, bytes, len);
    if (member->req.flight != NULL) {
        member->set_again = true;
    } else if (member->watch.entry != NULL && !member->blocked) {
        zk_set(member->zk, &member->req, member->real_path, member->bytes, member->len,
               ZK_ANY_VERSION, on_set);
    }
}

static void on_closed(uv_handle_t *handle)
{
    struct member *member = handle->data;
    member_closed_cb cb = member->closed_cb;
    void *data = member->closed_data;

    free(member->path);
    free(member->real_path);
    free(member->bytes);
    free(member);
    if (cb != NULL) {
        cb(data);
    }
}

static void on_deleted(struct zk_req *req)
{
    struct member *member = req->data;

    /* If it failed, the session's end takes the node away. */
    uv_close((uv_handle_t *)&member->retry, on_closed);
}

static void on_nobody_there(uv_timer_t *timer)
{
    struct member *member = timer->data;

    zk_cancel(&member->req);
}

void member_close(struct member *member, member_closed_cb cb, void *data)
{
    bool ours = member->watch.entry != NULL && !member->blocked;

    member->closing = true;
    member->closed_cb = cb;
    member->closed_data = data;
    zk_watch_stop(&member->watch);
    zk_forget(&member->req);
    uv_timer_stop(&member->retry);
    if (ours) {
        if (zk_state(member->zk) != ZK_CONNECTED) {
            uv_timer_start(&member->retry, on_nobody_there, AWAY_MS, 0);
        }
        zk_delete(member->zk, &member->req, member->real_path, ZK_ANY_VERSION, on_deleted);
    } else {
        uv_close((uv_handle_t *)&member->retry, on_closed);
    }
}
