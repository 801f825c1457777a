/* SPDX-License-Identifier: Apache-2.0 */

/* zk: a ZooKeeper session on our loop; libzookeeper_st speaks, we poll its socket.
 *
 * Not watches that last (zk_watch.c), nor recipes (election.c, member.c).
 *
 *   CONNECTING --session--> CONNECTED <--> SUSPENDED     EXPIRED --new session--> CONNECTED
 *                               `-------------`--expired----^        any --bad auth--> DENIED
 *
 * A request is a flight: WAITING for a connection --submitted--> SENT --completion--> done.
 *
 * Happy path: requests queue up and are handed to the library once a loop turn, just before the
 * loop sleeps, with the socket corked meanwhile: the library makes two small writes per request.
 * Failures: our queue, not the library's, holds requests while there is no connection, because the
 * library fails all it holds at every failed connect.  Reads that were under way are sent again;
 * writes end as uncertain.  A request that ends before its completion came (deadline, cancel,
 * forget) leaves its flight behind without a request; the completion frees it.
 * The library closes its socket whenever it likes, and libuv must not be left polling a closed
 * number: the poll handle is dropped whenever the library reports an error or another descriptor.
 * Invariants: the library is never closed from inside its callbacks; all callbacks come from the
 * loop; every flight is in `flights` (by deadline) exactly as long as it has a request.
 */

#include "coord/zk.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "coord/zk_priv.h"

#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <utlist.h>
#include <zookeeper/zookeeper.h>

enum {
    DEFAULT_SESSION_MS = 10 * 1000,
    DEFAULT_OP_MS = 15 * 1000,
    DEFAULT_PENDING = 100 * 1000,
    READ_BATCH = 1000, /* Answers taken in one loop turn. */
    REOPEN_MS = 1000,  /* Between attempts to open a new session. */
    MAX_AUTH_BYTES = 4096,
    SEQUENCE_DIGITS = 16, /* Room for what the server appends to a sequence node's path. */
};

enum op { OP_GET, OP_EXISTS, OP_CHILDREN, OP_CREATE, OP_SET, OP_DELETE, OP_SYNC, OP_MULTI };

static const char *const op_names[] = {
    [OP_GET] = "get", [OP_EXISTS] = "exists", [OP_CHILDREN] = "children", [OP_CREATE] = "create",
    [OP_SET] = "set", [OP_DELETE] = "delete", [OP_SYNC] = "sync",         [OP_MULTI] = "multi",
};

struct multi_op {
    enum op op; /* OP_EXISTS stands for a check. */
    char *path;
    char *bytes;
    size_t len;
    int flags;
    int32_t version;
    int result;
    char *created;
    struct zk_stat stat;
};

struct zk_multi {
    struct multi_op *ops;
    size_t n, cap;
    size_t bytes;
};

/* What the library writes a multi's results into: it must outlive the request. */
struct multi_results {
    zoo_op_t *ops;
    zoo_op_result_t *results;
    struct Stat *stats;
    char **paths; /* With the chroot: then the created ones. */
    size_t n;
};

struct zk_flight {
    struct zk *zk;
    struct zk_req *req; /* NULL: nobody wants to know any more. */
    enum op op;
    char *path;         /* With the chroot. */
    size_t attempt_len; /* create: of path; less than all while parents are made. */
    char *bytes;
    size_t len;
    int flags;
    int32_t version;
    bool watched;
    bool sent;
    bool internal; /* Goes out before the chroot is there. */
    int early;     /* An outcome we decided, delivered by the deadline timer. */
    uint64_t deadline_ms;
    struct zk_multi *multi; /* The caller's. */
    struct multi_results out;
    struct zk_flight *prev, *next;           /* In zk->flights. */
    struct zk_flight *wait_prev, *wait_next; /* In zk->waiting. */
};

struct zk {
    struct zk_options options;
    char *hosts;
    char *chroot; /* "" or "/a/b". */
    char *auth;
    zhandle_t *zh;
    enum zk_state state;
    uint64_t generation;
    int64_t session_id;

    struct zk_flight *flights, *waiting;
    size_t n_flights;
    struct buf scratch; /* A get's value with a NUL behind. */
    struct zk_req chroot_req;
    bool chroot_ready;
    bool expired; /* Seen inside the library: renew once out of it. */

    struct zk_listener *listeners;
    struct zk_listener *next_listener; /* While they are told. */
    void *watch_table;
    zk_event_cb on_event;

    uv_poll_t *poll; /* On its own: it closes while another opens. */
    int poll_fd;
    int poll_events;
    uv_timer_t tick;     /* The library's timeout. */
    uv_timer_t deadline; /* Of the first flight. */
    uv_timer_t closer;   /* Leaves the caller's stack; or waits before a new session. */
    uv_prepare_t submit;
    unsigned open_handles;
    bool closing;
    bool abandoned;
    zk_cb close_cb;
};

static void rearm(struct zk *zk);
static void submit_one(struct zk_flight *flight);

/* ---- Codes and paths ---- */

static bool is_lost(int rc)
{
    return rc == ZCONNECTIONLOSS || rc == ZOPERATIONTIMEOUT || rc == ZSESSIONEXPIRED ||
           rc == ZSESSIONMOVED || rc == ZINVALIDSTATE;
}

static int map_rc(int rc)
{
    switch (rc) {
    case ZOK:
        return 0;
    case ZNONODE:
        return ERR_NOTFOUND;
    case ZNODEEXISTS:
        return ERR_EXISTS;
    case ZBADVERSION:
    case ZNOTEMPTY:
        return ERR_CONFLICT;
    case ZNOAUTH:
    case ZAUTHFAILED:
    case ZINVALIDACL:
        return ERR_DENIED;
    case ZBADARGUMENTS:
    case ZNOCHILDRENFOREPHEMERALS:
        return ERR_INVALID;
    case ZUNIMPLEMENTED:
        return ERR_UNSUPPORTED;
    case ZCLOSING:
    case ZRUNTIMEINCONSISTENCY: /* In a multi: not tried, because one before it failed. */
        return ERR_CANCELED;
    default:
        return is_lost(rc) ? ERR_UNREACHABLE : ERR_INTERNAL;
    }
}

static struct zk_stat convert_stat(const struct Stat *stat)
{
    return (struct zk_stat){
        .czxid = stat->czxid,
        .mzxid = stat->mzxid,
        .pzxid = stat->pzxid,
        .ctime_ms = stat->ctime,
        .mtime_ms = stat->mtime,
        .version = stat->version,
        .cversion = stat->cversion,
        .aversion = stat->aversion,
        .ephemeral_owner = stat->ephemeralOwner,
        .data_len = stat->dataLength,
        .n_children = stat->numChildren,
    };
}

static char *full_path(const struct zk *zk, const char *path)
{
    if (zk->chroot[0] != '\0' && str_eq(path, "/")) {
        return mem_strdup(zk->chroot);
    }
    return str_printf("%s%s", zk->chroot, path);
}

static const char *own_path(const struct zk *zk, const char *full)
{
    const char *own = str_starts(full, zk->chroot) ? full + strlen(zk->chroot) : full;

    return own[0] != '\0' ? own : "/";
}

static bool is_write(const struct zk_flight *flight)
{
    return flight->op == OP_CREATE || flight->op == OP_SET || flight->op == OP_DELETE ||
           flight->op == OP_MULTI;
}

/* ---- Flights ---- */

static void free_results(struct multi_results *out)
{
    for (size_t i = 0; i < out->n; i++) {
        free(out->paths[i]);
        if (out->ops[i].type == ZOO_CREATE_OP) {
            free(out->ops[i].create_op.buf);
        }
    }
    free(out->ops);
    free(out->results);
    free(out->stats);
    free(out->paths);
}

static void free_flight(struct zk_flight *flight)
{
    free_results(&flight->out);
    free(flight->path);
    free(flight->bytes);
    free(flight);
}

static void on_deadline(uv_timer_t *timer);

static void arm_deadline(struct zk *zk)
{
    uint64_t now = clock_now_ms();

    if (zk->flights == NULL) {
        uv_timer_stop(&zk->deadline);
        return;
    }
    uint64_t at = zk->flights->early != 0 ? now : zk->flights->deadline_ms;
    uv_timer_start(&zk->deadline, on_deadline, at > now ? at - now : 0, 0);
}

static void stop_waiting(struct zk_flight *flight)
{
    struct zk *zk = flight->zk;

    if (flight->wait_prev != NULL) {
        assert(flight->wait_prev == flight || flight != zk->waiting || flight->wait_next != NULL);
        DL_DELETE2(zk->waiting, flight, wait_prev, wait_next);
        flight->wait_prev = NULL;
    }
}

/* The request is done with its flight, whose fields in req are filled. */
static struct zk_req *detach(struct zk_flight *flight)
{
    struct zk *zk = flight->zk;
    struct zk_req *req = flight->req;

    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): only a lone element has no next. */
    DL_DELETE(zk->flights, flight);
    assert(zk->flights != flight);
    zk->n_flights--;
    flight->req = NULL;
    flight->multi = NULL;
    stop_waiting(flight);
    req->flight = NULL;
    if (!flight->sent) {
        free_flight(flight);
    }
    return req;
}

/* The one place where a request ends; its callback is the last thing. */
static void finish(struct zk_flight *flight, int code, const char *why)
{
    struct zk_req *req = flight->req;

    if (code != 0) {
        err_setf(&req->err, code, "%s %s: %s", op_names[flight->op],
                 own_path(flight->zk, flight->path), why);
    }
    detach(flight);
    req->cb(req);
}

static void on_deadline(uv_timer_t *timer)
{
    struct zk *zk = timer->data;
    uint64_t now = clock_now_ms();

    while (zk->flights != NULL && (zk->flights->early != 0 || zk->flights->deadline_ms <= now)) {
        struct zk_flight *flight = zk->flights;
        int code = flight->early != 0 ? flight->early
                   : flight->sent     ? ERR_TIMEOUT
                                      : ERR_UNREACHABLE;
        flight->req->uncertain = flight->sent && is_write(flight);
        finish(flight, code,
               code == ERR_UNREACHABLE ? "no connection to the store" : err_text(code));
    }
    arm_deadline(zk);
}

/* From the loop, before everything else that waits. */
static void finish_soon(struct zk_flight *flight, int code)
{
    struct zk *zk = flight->zk;

    if (flight->early != 0) {
        return;
    }
    flight->early = code;
    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): only the last has no next. */
    DL_DELETE(zk->flights, flight);
    DL_PREPEND(zk->flights, flight);
    arm_deadline(zk);
}

static void wait_for_turn(struct zk_flight *flight)
{
    DL_APPEND2(flight->zk->waiting, flight, wait_prev, wait_next);
}

static struct zk_flight *start(struct zk *zk, struct zk_req *req, enum op op, const char *path,
                               zk_req_cb cb)
{
    struct zk_flight *flight = mem_alloc(sizeof *flight);

    assert(req->flight == NULL);
    *req = (struct zk_req){ .data = req->data, .cb = cb, .flight = flight };
    flight->zk = zk;
    flight->req = req;
    flight->op = op;
    flight->path = full_path(zk, path);
    flight->attempt_len = strlen(flight->path);
    flight->deadline_ms = clock_now_ms() + zk->options.op_timeout_ms;
    DL_APPEND(zk->flights, flight);
    if (++zk->n_flights == 1) {
        arm_deadline(zk);
    }
    if (zk->closing) {
        finish_soon(flight, ERR_CANCELED);
    } else if (zk->n_flights > zk->options.max_pending) {
        finish_soon(flight, ERR_UNREACHABLE);
    } else {
        wait_for_turn(flight);
    }
    return flight;
}

/* A completion came: true when there is somebody to tell. */
static bool arrive(struct zk_flight *flight, int rc)
{
    flight->sent = false;
    if (flight->req == NULL) {
        free_flight(flight);
        return false;
    }
    if (is_lost(rc) && !is_write(flight) && !flight->zk->closing) {
        wait_for_turn(flight); /* A read, sent again. */
        return false;
    }
    flight->req->uncertain = is_write(flight) && (is_lost(rc) || rc == ZCLOSING);
    return true;
}

static void finish_rc(struct zk_flight *flight, int rc)
{
    finish(flight, map_rc(rc), map_rc(rc) == ERR_NOTFOUND ? "no such node" : zerror(rc));
}

static void on_void(int rc, const void *cls)
{
    struct zk_flight *flight = (struct zk_flight *)cls;

    if (arrive(flight, rc)) {
        finish_rc(flight, rc);
    }
}

static void on_stat(int rc, const struct Stat *stat, const void *cls)
{
    struct zk_flight *flight = (struct zk_flight *)cls;

    if (arrive(flight, rc)) {
        if (rc == ZOK && stat != NULL) {
            flight->req->stat = convert_stat(stat);
        }
        finish_rc(flight, rc);
    }
}

static void on_data(int rc, const char *value, int len, const struct Stat *stat, const void *cls)
{
    struct zk_flight *flight = (struct zk_flight *)cls;
    struct zk *zk = flight->zk;

    if (!arrive(flight, rc)) {
        return;
    }
    if (rc == ZOK) {
        buf_clear(&zk->scratch);
        buf_add(&zk->scratch, value, value != NULL && len > 0 ? (size_t)len : 0);
        flight->req->bytes = buf_text(&zk->scratch);
        flight->req->len = zk->scratch.len;
        flight->req->stat = convert_stat(stat);
    }
    finish_rc(flight, rc);
}

static void on_children(int rc, const struct String_vector *names, const struct Stat *stat,
                        const void *cls)
{
    struct zk_flight *flight = (struct zk_flight *)cls;

    if (!arrive(flight, rc)) {
        return;
    }
    if (rc == ZOK) {
        flight->req->children = (const char *const *)names->data;
        flight->req->n_children = (size_t)names->count;
        flight->req->stat = convert_stat(stat);
    }
    finish_rc(flight, rc);
}

static void on_synced(int rc, const char *path, const void *cls)
{
    (void)path;
    on_void(rc, cls);
}

/* Where the next create of a node with missing parents goes: up at a missing one, else down. */
static bool next_attempt(struct zk_flight *flight, int rc)
{
    size_t whole = strlen(flight->path);

    if (rc == ZNONODE) {
        while (flight->attempt_len > 0 && flight->path[--flight->attempt_len] != '/') {
        }
        return flight->attempt_len > 0;
    }
    if (flight->attempt_len == whole || (rc != ZOK && rc != ZNODEEXISTS)) {
        return false;
    }
    do {
        flight->attempt_len++;
    } while (flight->attempt_len < whole && flight->path[flight->attempt_len] != '/');
    return true;
}

static void on_created(int rc, const char *path, const void *cls)
{
    struct zk_flight *flight = (struct zk_flight *)cls;

    if (!arrive(flight, rc)) {
        return;
    }
    if ((flight->flags & ZK_MAKE_PARENTS) != 0 && next_attempt(flight, rc)) {
        submit_one(flight);
        return;
    }
    if (rc == ZOK) {
        flight->req->path = own_path(flight->zk, path);
    }
    finish_rc(flight, rc);
}

static void take_results(struct zk_flight *flight)
{
    const struct multi_results *out = &flight->out;
    struct zk_multi *multi = flight->multi;

    for (size_t i = 0; i < multi->n; i++) {
        struct multi_op *op = &multi->ops[i];
        op->result = map_rc(out->results[i].err);
        if (op->op == OP_CREATE && op->result == 0) {
            free(op->created);
            op->created = mem_strdup(own_path(flight->zk, out->ops[i].create_op.buf));
        } else if (op->op == OP_SET && op->result == 0) {
            op->stat = convert_stat(&out->stats[i]);
        }
    }
}

static void on_committed(int rc, const void *cls)
{
    struct zk_flight *flight = (struct zk_flight *)cls;

    if (!arrive(flight, rc)) {
        return;
    }
    if (is_lost(rc) || rc == ZCLOSING) {
        finish_rc(flight, rc);
        return;
    }
    take_results(flight);
    for (size_t i = 0; rc != ZOK && i < flight->multi->n; i++) {
        int result = flight->multi->ops[i].result;
        if (result != 0 && result != ERR_CANCELED) {
            free(flight->path);
            flight->path = full_path(flight->zk, flight->multi->ops[i].path);
            break;
        }
    }
    finish_rc(flight, rc);
}

/* ---- Handing flights to the library ---- */

enum { LIBRARY_FLAGS = ZK_EPHEMERAL | ZK_SEQUENCE };

static const struct ACL_vector *acl(const struct zk *zk, int flags)
{
    static struct ACL shared[2];
    static const struct ACL_vector world_read = { 2, shared };

    shared[0] = (struct ACL){ ZOO_PERM_ALL, ZOO_AUTH_IDS };
    shared[1] = (struct ACL){ ZOO_PERM_READ, ZOO_ANYONE_ID_UNSAFE };
    if (zk->auth == NULL) {
        return &ZOO_OPEN_ACL_UNSAFE;
    }
    return (flags & ZK_WORLD_READ) != 0 ? &world_read : &ZOO_CREATOR_ALL_ACL;
}

static void build_multi(struct zk_flight *flight)
{
    const struct zk_multi *multi = flight->multi;
    struct multi_results *out = &flight->out;

    out->n = multi->n;
    out->ops = mem_alloc((multi->n + 1) * sizeof *out->ops);
    out->results = mem_alloc((multi->n + 1) * sizeof *out->results);
    out->stats = mem_alloc((multi->n + 1) * sizeof *out->stats);
    out->paths = mem_alloc((multi->n + 1) * sizeof *out->paths);
    for (size_t i = 0; i < multi->n; i++) {
        const struct multi_op *op = &multi->ops[i];
        char *path = out->paths[i] = full_path(flight->zk, op->path);
        if (op->op == OP_EXISTS) {
            zoo_check_op_init(&out->ops[i], path, op->version);
        } else if (op->op == OP_DELETE) {
            zoo_delete_op_init(&out->ops[i], path, op->version);
        } else if (op->op == OP_SET) {
            zoo_set_op_init(&out->ops[i], path, op->bytes, (int)op->len, op->version,
                            &out->stats[i]);
        } else {
            size_t room = strlen(path) + SEQUENCE_DIGITS;
            zoo_create_op_init(&out->ops[i], path, op->bytes, (int)op->len,
                               acl(flight->zk, op->flags), op->flags & LIBRARY_FLAGS,
                               mem_alloc(room), (int)room);
        }
    }
}

static int submit_create(struct zk_flight *flight)
{
    bool whole = flight->attempt_len == strlen(flight->path);
    CLEANUP(mem_freep) char *path = str_printf("%.*s", (int)flight->attempt_len, flight->path);

    return zoo_acreate(flight->zk->zh, path, whole ? flight->bytes : "",
                       whole ? (int)flight->len : 0, acl(flight->zk, flight->flags),
                       whole ? flight->flags & LIBRARY_FLAGS : 0, on_created, flight);
}

static int submit_to_library(struct zk_flight *flight)
{
    zhandle_t *zh = flight->zk->zh;
    const char *path = flight->path;
    int watch = flight->watched;

    switch (flight->op) {
    case OP_GET:
        return zoo_aget(zh, path, watch, on_data, flight);
    case OP_EXISTS:
        return zoo_aexists(zh, path, watch, on_stat, flight);
    case OP_CHILDREN:
        return zoo_aget_children2(zh, path, watch, on_children, flight);
    case OP_CREATE:
        return submit_create(flight);
    case OP_SET:
        return zoo_aset(zh, path, flight->bytes, (int)flight->len, flight->version, on_stat,
                        flight);
    case OP_DELETE:
        return zoo_adelete(zh, path, flight->version, on_void, flight);
    case OP_SYNC:
        return zoo_async(zh, path, on_synced, flight);
    case OP_MULTI:
        if (flight->out.ops == NULL) {
            build_multi(flight);
        }
        return zoo_amulti(zh, (int)flight->out.n, flight->out.ops, flight->out.results,
                          on_committed, flight);
    }
    return ZSYSTEMERROR;
}

static void submit_one(struct zk_flight *flight)
{
    int rc = FAULT("zk.submit") != 0 ? ZINVALIDSTATE : submit_to_library(flight);

    if (rc == ZOK) {
        flight->sent = true;
    } else if (is_lost(rc) && !flight->zk->closing) {
        wait_for_turn(flight); /* Nothing was sent; its deadline still counts. */
    } else {
        finish_rc(flight, rc);
    }
}

static void cork(const struct zk *zk, int on)
{
    if (zk->poll != NULL) {
        setsockopt(zk->poll_fd, IPPROTO_TCP, TCP_CORK, &on, sizeof on);
    }
}

static void on_submit(uv_prepare_t *prepare)
{
    struct zk *zk = prepare->data;
    struct zk_flight *flight;
    size_t n = 0;

    if (zk->state != ZK_CONNECTED || zk->waiting == NULL || zk->zh == NULL) {
        return;
    }
    DL_COUNT2(zk->waiting, flight, n, wait_next);
    bool many = n > 1;
    if (many) {
        cork(zk, 1);
    }
    /* Those of now, once each: one that cannot go is put back behind them. */
    for (; n > 0 && zk->waiting != NULL; n--) {
        flight = zk->waiting;
        stop_waiting(flight);
        if (zk->chroot_ready || flight->internal) {
            submit_one(flight);
        } else {
            wait_for_turn(flight);
        }
    }
    if (many) {
        cork(zk, 0);
    }
    rearm(zk);
}

/* ---- States ---- */

const char *zk_state_name(enum zk_state state)
{
    static const char *const names[] = {
        [ZK_CONNECTING] = "connecting", [ZK_CONNECTED] = "connected", [ZK_SUSPENDED] = "suspended",
        [ZK_EXPIRED] = "expired",       [ZK_DENIED] = "denied",       [ZK_CLOSED] = "closed",
    };

    return names[state];
}

static void set_state(struct zk *zk, enum zk_state state)
{
    if (zk->state == state) {
        return;
    }
    log_debug("store session %s server=%s generation=%llu", zk_state_name(state), zk->hosts,
              (unsigned long long)zk->generation);
    zk->state = state;
    for (struct zk_listener *listener = zk->listeners; listener != NULL;
         listener = zk->next_listener) {
        zk->next_listener = listener->next; /* zk_unlisten() moves it on. */
        listener->cb(listener, state);
    }
}

void zk_listen(struct zk *zk, struct zk_listener *listener, zk_state_cb cb)
{
    *listener = (struct zk_listener){ .data = listener->data, .cb = cb, .zk = zk };
    DL_APPEND(zk->listeners, listener);
}

void zk_unlisten(struct zk_listener *listener)
{
    struct zk *zk = listener->zk;

    if (zk == NULL) {
        return;
    }
    if (zk->next_listener == listener) {
        zk->next_listener = listener->next;
    }
    DL_DELETE(zk->listeners, listener);
    listener->zk = NULL;
}

/* If it failed, the next connect tries again. */
static void on_chroot(struct zk_req *req)
{
    struct zk *zk = req->data;

    if (req->err.code == 0 || req->err.code == ERR_EXISTS || req->err.code == ERR_DENIED) {
        zk->chroot_ready = true; /* What is wrong with it else, each request will tell. */
    } else {
        log_debug("cannot make the store's root %s: %s", zk->chroot, req->err.msg);
    }
}

static void make_chroot(struct zk *zk)
{
    if (zk->chroot[0] == '\0') {
        zk->chroot_ready = true;
    }
    if (zk->chroot_ready || zk->chroot_req.flight != NULL) {
        return;
    }
    zk->chroot_req.data = zk;
    struct zk_flight *flight = start(zk, &zk->chroot_req, OP_CREATE, "/", on_chroot);
    flight->flags = ZK_MAKE_PARENTS;
    flight->internal = true;
}

static void on_connected(struct zk *zk)
{
    int64_t id = zoo_client_id(zk->zh)->client_id;

    if (id != zk->session_id) {
        zk->session_id = id;
        zk->generation++;
    }
    make_chroot(zk);
    set_state(zk, ZK_CONNECTED);
}

/* From inside the library: sessions' states, and nodes that changed. */
static void on_library_event(zhandle_t *zh, int type, int state, const char *path, void *cls)
{
    struct zk *zk = cls;

    if (zk->closing || (zk->zh != NULL && zh != zk->zh)) {
        return;
    }
    zk->zh = zh; /* The first event may come before zookeeper_init2() has returned. */
    if (type != ZOO_SESSION_EVENT) {
        if (zk->on_event != NULL && path != NULL) {
            zk->on_event(zk, own_path(zk, path));
        }
    } else if (state == ZOO_CONNECTED_STATE) {
        on_connected(zk);
    } else if (state == ZOO_EXPIRED_SESSION_STATE) {
        zk->expired = true;
    } else if (state == ZOO_AUTH_FAILED_STATE) {
        set_state(zk, ZK_DENIED);
    } else if (zk->state == ZK_CONNECTED) {
        set_state(zk, ZK_SUSPENDED);
    }
}

static void on_auth(int rc, const void *cls)
{
    struct zk *zk = (struct zk *)cls;

    if (rc == ZAUTHFAILED && !zk->closing) {
        set_state(zk, ZK_DENIED);
    }
}

/* ---- Driving the library ---- */

static void maybe_closed(struct zk *zk)
{
    if (--zk->open_handles > 0) {
        return;
    }
    if (zk->close_cb != NULL) {
        zk->close_cb(zk);
    }
    free(zk->hosts);
    free(zk->chroot);
    free(zk->auth);
    buf_fini(&zk->scratch);
    free(zk);
}

static void on_poll_closed(uv_handle_t *handle)
{
    struct zk *zk = handle->data;

    free(handle);
    maybe_closed(zk);
}

static void on_handle_closed(uv_handle_t *handle)
{
    maybe_closed(handle->data);
}

static void drop_poll(struct zk *zk)
{
    if (zk->poll != NULL) {
        uv_close((uv_handle_t *)zk->poll, on_poll_closed);
        zk->poll = NULL;
        zk->poll_fd = -1;
    }
}

static void on_socket(uv_poll_t *poll, int status, int events);

static void watch_socket(struct zk *zk, int fd, int interest)
{
    int events = ((interest & ZOOKEEPER_READ) != 0 ? UV_READABLE : 0) |
                 ((interest & ZOOKEEPER_WRITE) != 0 ? UV_WRITABLE : 0);

    if (zk->poll_fd != fd) {
        drop_poll(zk);
    }
    if (zk->poll == NULL) {
        uv_poll_t *poll = mem_alloc(sizeof *poll);
        if (uv_poll_init(zk->options.loop, poll, fd) != 0) {
            free(poll); /* The tick comes back to it. */
            return;
        }
        poll->data = zk;
        zk->poll = poll;
        zk->poll_fd = fd;
        zk->poll_events = 0;
        zk->open_handles++;
    }
    if (events != zk->poll_events) {
        zk->poll_events = events;
        uv_poll_start(zk->poll, events, on_socket);
    }
}

static void on_tick(uv_timer_t *timer);
static void on_renew(uv_timer_t *timer);

/* What does the library want next?  It may report events from in here. */
static void rearm(struct zk *zk)
{
    int fd = -1;
    int interest = 0;
    struct timeval wait = { 0 };

    if (zk->zh == NULL || zk->closing) {
        return;
    }
    int rc = zookeeper_interest(zk->zh, &fd, &interest, &wait);
    if (zk->expired) {
        drop_poll(zk);
        uv_timer_stop(&zk->tick);
        uv_timer_start(&zk->closer, on_renew, 0, 0);
        return;
    }
    if (zk->state == ZK_CONNECTED && zoo_state(zk->zh) != ZOO_CONNECTED_STATE) {
        set_state(zk, ZK_SUSPENDED); /* The library tells of most losses, but not of all. */
    }
    if (rc != ZOK || fd < 0) {
        drop_poll(zk);
    } else {
        watch_socket(zk, fd, interest);
    }
    uint64_t wait_ms = (uint64_t)wait.tv_sec * 1000 + ((uint64_t)wait.tv_usec + 999) / 1000;
    /* After an error the library says nothing about when to come back. */
    uv_timer_start(&zk->tick, on_tick, rc != ZOK && wait_ms == 0 ? 10 : wait_ms, 0);
}

static void drive(struct zk *zk, int events)
{
    int rc = ZOK;

    if (zk->zh == NULL || zk->closing) {
        return;
    }
    /* One answer a call: go on while there are more. */
    for (int i = 0; i < READ_BATCH && rc == ZOK; i++) {
        rc = zookeeper_process(zk->zh, events);
        events &= ZOOKEEPER_READ;
        if (events == 0) {
            break;
        }
    }
    if (rc != ZOK && rc != ZNOTHING) {
        drop_poll(zk); /* The library has closed its socket. */
    }
    rearm(zk);
}

static void on_socket(uv_poll_t *poll, int status, int events)
{
    int mask = ((events & UV_READABLE) != 0 ? ZOOKEEPER_READ : 0) |
               ((events & UV_WRITABLE) != 0 ? ZOOKEEPER_WRITE : 0);

    /* An error is found by the read that it makes fail. */
    drive(poll->data, status < 0 ? ZOOKEEPER_READ | ZOOKEEPER_WRITE : mask);
}

static void on_tick(uv_timer_t *timer)
{
    struct zk *zk = timer->data;

    if (zk->state == ZK_CONNECTED || zk->state == ZK_SUSPENDED || zk->poll != NULL) {
        drive(zk, 0);
    } else {
        rearm(zk);
    }
}

static void on_library_log(const char *message)
{
    log_debug("libzookeeper: %s", message);
}

static bool open_session(struct zk *zk)
{
    zoo_set_debug_level(log_enabled(LOG_LEVEL_DEBUG) ? ZOO_LOG_LEVEL_INFO : ZOO_LOG_LEVEL_ERROR);
    zk->zh = zookeeper_init2(zk->hosts, on_library_event, (int)zk->options.session_timeout_ms, NULL,
                             zk, 0, on_library_log);
    if (zk->zh == NULL) {
        return false;
    }
    zoo_set_servers_resolution_delay(zk->zh, -1);
    if (zk->auth != NULL) {
        zoo_add_auth(zk->zh, "digest", zk->auth, (int)strlen(zk->auth), on_auth, zk);
    }
    rearm(zk);
    return true;
}

/* The session is gone: what was under way ends, and a new one is opened. */
static void on_renew(uv_timer_t *timer)
{
    struct zk *zk = timer->data;
    zhandle_t *old = TAKE(zk->zh);

    drop_poll(zk);
    zk->expired = false;
    if (old != NULL) {
        zookeeper_close(old); /* Completes all it still holds. */
        set_state(zk, ZK_EXPIRED);
    }
    if (zk->closing) {
        return;
    }
    if (!open_session(zk)) {
        log_warn("cannot open a new store session: %s, retrying in %d ms", strerror(errno),
                 REOPEN_MS);
        uv_timer_start(&zk->closer, on_renew, REOPEN_MS, 0);
    }
}

/* ---- Opening and closing ---- */

static int check_servers(const char *hosts, struct err *err)
{
    CLEANUP(strv_freep) char **all = str_split(hosts, ",");

    for (size_t i = 0; all[i] != NULL; i++) {
        const char *colon = strrchr(all[i], ':');
        int64_t port = 0;
        if (colon == NULL || colon == all[i]) {
            return err_set(err, ERR_INVALID, "store address '%s' is not HOST:PORT", all[i]);
        }
        if (str_to_int(colon + 1, 1, 65535, "port", &port, err) < 0) {
            return err_wrap(err, "store address '%s'", all[i]);
        }
    }
    return 0;
}

static int check_chroot(const char *chroot, struct err *err)
{
    size_t len = strlen(chroot);

    if (len > 0 && (chroot[len - 1] == '/' || strstr(chroot, "//") != NULL)) {
        return err_set(err, ERR_INVALID, "store root '%s' has an empty name in it", chroot);
    }
    return 0;
}

static void start_handles(struct zk *zk)
{
    uv_loop_t *loop = zk->options.loop;

    uv_timer_init(loop, &zk->tick);
    uv_timer_init(loop, &zk->deadline);
    uv_timer_init(loop, &zk->closer);
    uv_prepare_init(loop, &zk->submit);
    zk->tick.data = zk->deadline.data = zk->closer.data = zk->submit.data = zk;
    uv_prepare_start(&zk->submit, on_submit);
    zk->open_handles = 4;
}

int zk_open(const struct zk_options *options, struct zk **ret_zk, struct err *err)
{
    const char *slash = strchr(options->servers, '/');
    CLEANUP(mem_freep)
    char *hosts = str_printf("%.*s", (int)strcspn(options->servers, "/"), options->servers);

    if (slash != NULL && slash[1] == '\0') {
        slash = NULL;
    }
    if (check_servers(hosts, err) < 0 || check_chroot(slash != NULL ? slash : "", err) < 0) {
        return err->code;
    }
    struct zk *zk = mem_alloc(sizeof *zk);
    zk->options = *options;
    zk->options.session_timeout_ms = options->session_timeout_ms ?: DEFAULT_SESSION_MS;
    zk->options.op_timeout_ms = options->op_timeout_ms ?: DEFAULT_OP_MS;
    zk->options.max_pending = options->max_pending ?: DEFAULT_PENDING;
    zk->options.servers = zk->options.auth = NULL; /* Copied: */
    zk->hosts = TAKE(hosts);
    zk->chroot = mem_strdup(slash != NULL ? slash : "");
    zk->auth = options->auth != NULL ? mem_strdup(options->auth) : NULL;
    zk->poll_fd = -1;
    start_handles(zk);
    uv_timer_start(&zk->closer, on_renew, 0, 0); /* No callback from inside here. */
    *ret_zk = zk;
    return 0;
}

static void on_close(uv_timer_t *timer)
{
    struct zk *zk = timer->data;

    if (zk->abandoned && zk->poll != NULL) {
        (void)shutdown(zk->poll_fd, SHUT_RDWR); /* The library cannot say goodbye any more. */
    }
    drop_poll(zk);
    if (zk->zh != NULL) {
        zookeeper_close(TAKE(zk->zh)); /* Completes all it holds with ZCLOSING. */
    }
    while (zk->flights != NULL) {
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): detach() took the last head out. */
        finish(zk->flights, ERR_CANCELED, err_text(ERR_CANCELED));
    }
    set_state(zk, ZK_CLOSED);
    uv_close((uv_handle_t *)&zk->tick, on_handle_closed);
    uv_close((uv_handle_t *)&zk->deadline, on_handle_closed);
    uv_close((uv_handle_t *)&zk->closer, on_handle_closed);
    uv_close((uv_handle_t *)&zk->submit, on_handle_closed);
}

void zk_close(struct zk *zk, zk_cb cb)
{
    if (zk->closing) {
        return;
    }
    zk->closing = true;
    zk->close_cb = cb;
    uv_timer_stop(&zk->tick);
    uv_prepare_stop(&zk->submit);
    uv_timer_start(&zk->closer, on_close, 0, 0);
}

void zk_abandon(struct zk *zk, zk_cb cb)
{
    zk->abandoned = true;
    zk_close(zk, cb);
}

int zk_load_auth(const char *path, char **ret_auth, struct err *err)
{
    CLEANUP_BUF text = { 0 };
    struct stat st;

    if (stat(path, &st) == 0 && (st.st_mode & S_IRWXO) != 0) {
        return err_set(err, ERR_CONFIG, "store credentials %s: others can read it (mode %03o)",
                       path, (unsigned)st.st_mode & 0777u);
    }
    if (file_read(path, MAX_AUTH_BYTES, &text, err) < 0) {
        return err_wrap(err, "store credentials %s", path);
    }
    CLEANUP(mem_freep)
    char *auth = str_printf("%.*s", (int)strcspn(buf_text(&text), "\r\n"), buf_text(&text));
    const char *colon = strchr(auth, ':');
    if (colon == NULL || colon == auth || colon[1] == '\0') {
        return err_set(err, ERR_CONFIG, "store credentials %s: not user:password", path);
    }
    *ret_auth = TAKE(auth);
    return 0;
}

enum zk_state zk_state(const struct zk *zk)
{
    return zk->state;
}

uint64_t zk_generation(const struct zk *zk)
{
    return zk->generation;
}

int64_t zk_session_id(const struct zk *zk)
{
    return zk->session_id;
}

uint32_t zk_session_timeout_ms(const struct zk *zk)
{
    return zk->zh != NULL && zk->state == ZK_CONNECTED ? (uint32_t)zoo_recv_timeout(zk->zh)
                                                       : zk->options.session_timeout_ms;
}

uv_loop_t *zk_loop(const struct zk *zk)
{
    return zk->options.loop;
}

/* ---- Requests ---- */

void zk_get(struct zk *zk, struct zk_req *req, const char *path, zk_req_cb cb)
{
    start(zk, req, OP_GET, path, cb);
}

void zk_exists(struct zk *zk, struct zk_req *req, const char *path, zk_req_cb cb)
{
    start(zk, req, OP_EXISTS, path, cb);
}

void zk_children(struct zk *zk, struct zk_req *req, const char *path, zk_req_cb cb)
{
    start(zk, req, OP_CHILDREN, path, cb);
}

void zk_sync(struct zk *zk, struct zk_req *req, const char *path, zk_req_cb cb)
{
    start(zk, req, OP_SYNC, path, cb);
}

static char *copy_bytes(const void *bytes, size_t len)
{
    char *copy = mem_alloc(len + 1);

    if (len > 0) {
        memcpy(copy, bytes, len);
    }
    return copy;
}

static void set_bytes(struct zk_flight *flight, const void *bytes, size_t len)
{
    if (len > ZK_NODE_MAX_BYTES) {
        stop_waiting(flight);
        finish_soon(flight, ERR_TOOBIG);
        return;
    }
    flight->bytes = copy_bytes(bytes, len);
    flight->len = len;
}

void zk_create(struct zk *zk, struct zk_req *req, const char *path, const void *bytes, size_t len,
               int flags, zk_req_cb cb)
{
    struct zk_flight *flight = start(zk, req, OP_CREATE, path, cb);

    flight->flags = flags;
    set_bytes(flight, bytes, len);
}

void zk_set(struct zk *zk, struct zk_req *req, const char *path, const void *bytes, size_t len,
            int32_t version, zk_req_cb cb)
{
    struct zk_flight *flight = start(zk, req, OP_SET, path, cb);

    flight->version = version;
    set_bytes(flight, bytes, len);
}

void zk_delete(struct zk *zk, struct zk_req *req, const char *path, int32_t version, zk_req_cb cb)
{
    start(zk, req, OP_DELETE, path, cb)->version = version;
}

void zk_commit(struct zk *zk, struct zk_req *req, struct zk_multi *multi, zk_req_cb cb)
{
    struct zk_flight *flight = start(zk, req, OP_MULTI, "/", cb);

    flight->multi = multi;
    if (multi->bytes > ZK_MULTI_MAX_BYTES) {
        stop_waiting(flight);
        finish_soon(flight, ERR_TOOBIG);
    }
}

void zk_cancel(struct zk_req *req)
{
    if (req->flight != NULL) {
        stop_waiting(req->flight);
        finish_soon(req->flight, ERR_CANCELED);
    }
}

void zk_forget(struct zk_req *req)
{
    if (req->flight != NULL) {
        detach(req->flight);
    }
}

/* ---- For zk_watch.c ---- */

void *zk_watch_table(const struct zk *zk)
{
    return zk->watch_table;
}

void zk_set_watch_table(struct zk *zk, void *table, zk_event_cb cb)
{
    zk->watch_table = table;
    zk->on_event = cb;
}

void zk_get_watched(struct zk *zk, struct zk_req *req, const char *path, zk_req_cb cb)
{
    start(zk, req, OP_GET, path, cb)->watched = true;
}

void zk_exists_watched(struct zk *zk, struct zk_req *req, const char *path, zk_req_cb cb)
{
    start(zk, req, OP_EXISTS, path, cb)->watched = true;
}

void zk_children_watched(struct zk *zk, struct zk_req *req, const char *path, zk_req_cb cb)
{
    start(zk, req, OP_CHILDREN, path, cb)->watched = true;
}

/* ---- Multis ---- */

struct zk_multi *zk_multi_new(void)
{
    return mem_alloc(sizeof(struct zk_multi));
}

void zk_multi_free(struct zk_multi *multi)
{
    if (multi == NULL) {
        return;
    }
    for (size_t i = 0; i < multi->n; i++) {
        free(multi->ops[i].path);
        free(multi->ops[i].bytes);
        free(multi->ops[i].created);
    }
    free(multi->ops);
    free(multi);
}

static void add_op(struct zk_multi *multi, struct multi_op op, const char *path, const void *bytes)
{
    enum { OVERHEAD = 64 }; /* Of an operation on the wire, about. */

    if (multi->n == multi->cap) {
        multi->cap = multi->cap != 0 ? 2 * multi->cap : 8;
        multi->ops = realloc(multi->ops, multi->cap * sizeof *multi->ops);
        if (multi->ops == NULL) {
            abort();
        }
    }
    op.path = mem_strdup(path);
    op.bytes = copy_bytes(bytes, op.len);
    multi->ops[multi->n++] = op;
    multi->bytes += strlen(path) + op.len + OVERHEAD;
}

void zk_multi_check(struct zk_multi *multi, const char *path, int32_t version)
{
    add_op(multi, (struct multi_op){ .op = OP_EXISTS, .version = version }, path, NULL);
}

void zk_multi_create(struct zk_multi *multi, const char *path, const void *bytes, size_t len,
                     int flags)
{
    add_op(multi, (struct multi_op){ .op = OP_CREATE, .len = len, .flags = flags }, path, bytes);
}

void zk_multi_set(struct zk_multi *multi, const char *path, const void *bytes, size_t len,
                  int32_t version)
{
    add_op(multi, (struct multi_op){ .op = OP_SET, .len = len, .version = version }, path, bytes);
}

void zk_multi_delete(struct zk_multi *multi, const char *path, int32_t version)
{
    add_op(multi, (struct multi_op){ .op = OP_DELETE, .version = version }, path, NULL);
}

size_t zk_multi_count(const struct zk_multi *multi)
{
    return multi->n;
}

size_t zk_multi_bytes(const struct zk_multi *multi)
{
    return multi->bytes;
}

int zk_multi_result(const struct zk_multi *multi, size_t nth)
{
    assert(nth < multi->n);
    return multi->ops[nth].result;
}

const char *zk_multi_path(const struct zk_multi *multi, size_t nth)
{
    assert(nth < multi->n);
    return multi->ops[nth].path;
}

const char *zk_multi_created(const struct zk_multi *multi, size_t nth)
{
    assert(nth < multi->n);
    return multi->ops[nth].created;
}

const struct zk_stat *zk_multi_stat(const struct zk_multi *multi, size_t nth)
{
    assert(nth < multi->n);
    return &multi->ops[nth].stat;
}
