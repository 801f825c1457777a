/* SPDX-License-Identifier: Apache-2.0 */
/* simzk: a ZooKeeper client whose server and network are the simulation's.
 *
 * Defines the functions of coord/zk.h and coord/zk_priv.h; coord/zk_watch.c, election.c and the
 * master run on them unchanged.
 *
 *   WAITING --connected--> SENT --server--> DONE --network--> answered
 *
 * A connection is a pipe in each direction that keeps the order; the server carries out a request
 * when it comes out of the first, and the answers and watch events leave through the second.
 * Failures: simzk_break() empties both: requests that had not come out are carried out up to a
 * random one, and their answers are lost; writes end as uncertain, reads are sent again.  A session
 * that stays without its client for too long is ended by the server.  What coord/zk.c says about
 * its order of callbacks holds here.
 */
#include "simzk.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "coord/zk_priv.h"

#include <assert.h>
#include <string.h>
#include <utlist.h>

enum op { OP_GET, OP_EXISTS, OP_CHILDREN, OP_CREATE, OP_SET, OP_DELETE, OP_SYNC, OP_MULTI };
enum phase { WAITING, SENT, DONE };

struct multi_op {
    enum op op; /* OP_EXISTS stands for a check. */
    char *path, *bytes;
    size_t len;
    int flags;
    int32_t version;
    int result;
    char *created;
    struct zk_stat stat;
};

struct zk_multi {
    unsigned refs; /* The caller's and its flight's. */
    struct multi_op *ops;
    size_t n, bytes;
};

struct zk_flight {
    struct zk *zk;
    struct zk_req *req; /* NULL: forgotten. */
    enum op op;
    enum phase phase;
    char *path, *bytes;
    size_t len;
    int flags;
    int32_t version;
    bool watched;
    uint64_t deadline_ms;
    struct zk_multi *multi;
    struct sim_event *event; /* Its way through the network. */
    bool expired;            /* Its outcome: */
    int code;
    char *fail_path, *answer, *created;
    char **names;
    size_t n_names;
    int64_t zxid;
    struct zk_stat stat;
    struct zk_flight *prev, *next;
};

enum watch_kind { WATCH_DATA = 'd', WATCH_EXISTS = 'e', WATCH_CHILDREN = 'c' };

/* A watch, as the server and the client know it. */
struct watch {
    char *key; /* Its kind, then the path. */
    bool server, client;
    UT_hash_handle hh;
};

/* A watch event on its way. */
struct notice {
    struct zk *zk;
    char *path;
    int64_t zxid;
    struct sim_event *event;
    struct notice *prev, *next;
};

struct zk {
    struct simtree *tree;
    uv_loop_t *loop;
    struct sim_proc *proc;
    enum zk_state state;
    bool reader, crashed;
    bool cut;    /* The connection is gone, and the client does not know yet. */
    bool failed; /* It does, and is about to say so. */
    int64_t session;
    uint64_t generation;
    int64_t last_zxid; /* Seen by the client. */
    uint64_t up_ms, down_ms;
    unsigned slow; /* Of 1000 messages. */
    struct zk_flight *flights;
    struct notice *notices;
    struct watch *watches;
    struct zk_listener *listeners, *next_listener;
    void *table;
    zk_event_cb on_event;
    struct sim_event *deadline, *back, *expiry, *trouble;
};

static struct {
    simzk_sent_cb cb;
    void *data;
} on_sent;

static void send_waiting(struct zk *zk);

/* ---- Multis ---- */

struct zk_multi *zk_multi_new(void)
{
    struct zk_multi *multi = mem_alloc(sizeof(*multi));

    multi->refs = 1;
    return multi;
}

void zk_multi_free(struct zk_multi *multi)
{
    if (multi == NULL || --multi->refs > 0) {
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

static char *copy_bytes(const void *bytes, size_t len)
{
    char *copy = mem_alloc(len + 1);

    if (len > 0) {
        memcpy(copy, bytes, len);
    }
    return copy;
}

static void add_op(struct zk_multi *multi, struct multi_op op, const char *path, const void *bytes)
{
    if ((multi->n & (multi->n - 1)) == 0) {
        multi->ops =
            mem_realloc(multi->ops, (multi->n != 0 ? 2 * multi->n : 1) * sizeof(struct multi_op));
    }
    op.path = mem_strdup(path);
    op.bytes = copy_bytes(bytes, op.len);
    multi->ops[multi->n++] = op;
    multi->bytes += strlen(path) + op.len + 64;
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
    return multi->ops[nth].result;
}

const char *zk_multi_path(const struct zk_multi *multi, size_t nth)
{
    return multi->ops[nth].path;
}

const char *zk_multi_created(const struct zk_multi *multi, size_t nth)
{
    return multi->ops[nth].created;
}

const struct zk_stat *zk_multi_stat(const struct zk_multi *multi, size_t nth)
{
    return &multi->ops[nth].stat;
}

/* ---- Watches ---- */

static struct watch *find_watch(struct zk *zk, char kind, const char *path)
{
    CLEANUP(mem_freep) char *key = str_printf("%c%s", kind, path);
    struct watch *watch = NULL;

    HASH_FIND_STR(zk->watches, key, watch);
    return watch;
}

static void add_watch(struct zk *zk, char kind, const char *path)
{
    struct watch *watch = find_watch(zk, kind, path);

    if (watch == NULL) {
        watch = mem_alloc(sizeof(*watch));
        watch->key = str_printf("%c%s", kind, path);
        HASH_ADD_KEYPTR(hh, zk->watches, watch->key, strlen(watch->key), watch);
    }
    watch->server = true;
}

static void drop_watch(struct zk *zk, struct watch *watch)
{
    HASH_DEL(zk->watches, watch);
    free(watch->key);
    free(watch);
}

static uint64_t latency(const struct zk *zk)
{
    return sim_chance(zk->slow) ? sim_between(20, 400) : sim_rand() % 3;
}

/* When a message sent now arrives; never before one sent earlier. */
static uint64_t arrival(const struct zk *zk, uint64_t *pipe_ms)
{
    uint64_t at = sim_now() + latency(zk);

    *pipe_ms = at > *pipe_ms ? at : *pipe_ms;
    return *pipe_ms;
}

static void drop_notice(struct notice *notice)
{
    DL_DELETE(notice->zk->notices, notice);
    sim_cancel(&notice->event);
    free(notice->path);
    free(notice);
}

static void on_notice(void *arg)
{
    struct notice *notice = arg;
    struct zk *zk = notice->zk;
    CLEANUP(mem_freep) char *path = mem_strdup(notice->path);
    static const char kinds[] = { WATCH_DATA, WATCH_EXISTS, WATCH_CHILDREN };

    notice->event = NULL;
    zk->last_zxid = notice->zxid > zk->last_zxid ? notice->zxid : zk->last_zxid;
    drop_notice(notice);
    for (size_t i = 0; i < sizeof(kinds); i++) {
        struct watch *watch = find_watch(zk, kinds[i], path);

        if (watch != NULL && !watch->server) {
            drop_watch(zk, watch);
        }
    }
    if (zk->on_event != NULL) {
        zk->on_event(zk, path);
    }
}

static void notify(struct zk *zk, const char *path)
{
    struct notice *notice = mem_alloc(sizeof(*notice));

    notice->zk = zk;
    notice->path = mem_strdup(path);
    notice->zxid = simtree_zxid(zk->tree);
    DL_APPEND(zk->notices, notice);
    notice->event = sim_at(arrival(zk, &zk->down_ms), zk->proc, on_notice, notice, "watch");
}

static void fire(struct zk *zk, char kind, const char *path)
{
    struct watch *watch = find_watch(zk, kind, path);

    if (watch != NULL && watch->server) {
        watch->server = false;
        notify(zk, path);
    }
}

static void fire_parent(struct zk *zk, const char *path)
{
    const char *slash = strrchr(path, '/');
    CLEANUP(mem_freep) char *parent = mem_strndup(path, (size_t)(slash - path));

    fire(zk, WATCH_CHILDREN, parent);
}

static void on_change(struct simtree *tree, int64_t session, const struct simtree_change *changes,
                      size_t n, void *data)
{
    struct zk *zk = data;

    (void)tree;
    (void)session;
    for (size_t i = 0; i < n; i++) {
        const char *path = changes[i].path;

        switch (changes[i].kind) {
        case SIMTREE_MADE:
            fire(zk, WATCH_EXISTS, path);
            fire_parent(zk, path);
            break;
        case SIMTREE_SET:
            fire(zk, WATCH_DATA, path);
            fire(zk, WATCH_EXISTS, path);
            break;
        case SIMTREE_GONE:
            fire(zk, WATCH_DATA, path);
            fire(zk, WATCH_EXISTS, path);
            fire(zk, WATCH_CHILDREN, path);
            fire_parent(zk, path);
            break;
        }
    }
}

/* The connection is new, the session is the old one: what was missed is told now. */
static void renew_watches(struct zk *zk)
{
    struct watch *watch, *next;

    HASH_ITER(hh, zk->watches, watch, next)
    {
        const struct simtree_node *node = simtree_find(zk->tree, watch->key + 1);
        bool missed = false;

        switch ((enum watch_kind)watch->key[0]) {
        case WATCH_DATA:
            missed = node == NULL || node->stat.mzxid > zk->last_zxid;
            break;
        case WATCH_EXISTS:
            missed = node != NULL;
            break;
        case WATCH_CHILDREN:
            missed = node == NULL || node->stat.pzxid > zk->last_zxid;
            break;
        }
        watch->server = !missed;
        if (missed) {
            notify(zk, watch->key + 1);
        }
    }
}

/* ---- Flights ---- */

static void free_outcome(struct zk_flight *flight)
{
    free(TAKE(flight->answer));
    free(TAKE(flight->created));
    free(TAKE(flight->fail_path));
    strv_free(TAKE(flight->names));
    flight->n_names = 0;
}

static void drop_flight(struct zk_flight *flight)
{
    DL_DELETE(flight->zk->flights, flight);
    sim_cancel(&flight->event);
    free_outcome(flight);
    zk_multi_free(flight->multi);
    free(flight->path);
    free(flight->bytes);
    free(flight);
}

static bool is_write(const struct zk_flight *flight)
{
    return flight->op == OP_CREATE || flight->op == OP_SET || flight->op == OP_DELETE ||
           flight->op == OP_MULTI;
}

static void finish(struct zk_flight *flight, int code, bool uncertain)
{
    struct zk_req *req = flight->req;

    if (req == NULL) {
        drop_flight(flight);
        return;
    }
    if (code != 0) {
        err_setf(&req->err, code, "%s: %s",
                 flight->fail_path != NULL ? flight->fail_path : flight->path, err_text(code));
    }
    req->uncertain = uncertain;
    req->flight = NULL;
    flight->req = NULL;
    req->cb(req);
    drop_flight(flight);
}

static void arm_deadline(struct zk *zk);

static void on_deadline(void *arg)
{
    struct zk *zk = arg;
    struct zk_flight *flight;
    bool again = true;

    zk->deadline = NULL;
    while (again) {
        again = false;
        DL_FOREACH(zk->flights, flight)
        {
            if (flight->req != NULL && flight->deadline_ms <= sim_now()) {
                bool sent = flight->phase != WAITING;
                struct zk_req *req = flight->req;

                err_setf(&req->err, sent ? ERR_TIMEOUT : ERR_UNREACHABLE, "%s: no answer",
                         flight->path);
                req->uncertain = sent && is_write(flight);
                req->flight = NULL;
                flight->req = NULL;
                if (!sent) {
                    drop_flight(flight);
                }
                req->cb(req);
                again = true;
                break;
            }
        }
    }
    arm_deadline(zk);
}

static void arm_deadline(struct zk *zk)
{
    struct zk_flight *flight;

    if (zk->deadline != NULL || zk->crashed || zk->reader) {
        return;
    }
    DL_FOREACH(zk->flights, flight)
    {
        if (flight->req != NULL) {
            zk->deadline = sim_at(flight->deadline_ms, zk->proc, on_deadline, zk, "deadline");
            return;
        }
    }
}

/* ---- The server's side ---- */

static void take_names(struct zk_flight *flight, const struct simtree_node *node)
{
    const struct simtree_node *child;
    size_t n = 0;

    flight->names = mem_alloc(((size_t)node->stat.n_children + 1) * sizeof(char *));
    DL_FOREACH(node->children, child)
    {
        flight->names[n++] = mem_strdup(strrchr(child->path, '/') + 1);
    }
    flight->n_names = n;
}

static int read_node(struct zk_flight *flight)
{
    struct zk *zk = flight->zk;
    const struct simtree_node *node = simtree_find(zk->tree, flight->path);

    if (node == NULL) {
        if (flight->op == OP_EXISTS && flight->watched) {
            add_watch(zk, WATCH_EXISTS, flight->path);
        }
        return ERR_NOTFOUND;
    }
    if (flight->watched) {
        add_watch(zk, flight->op == OP_CHILDREN ? WATCH_CHILDREN : WATCH_DATA, flight->path);
    }
    flight->stat = node->stat;
    if (flight->op == OP_GET) {
        flight->answer = copy_bytes(node->bytes, (size_t)node->stat.data_len);
    } else if (flight->op == OP_CHILDREN) {
        take_names(flight, node);
    }
    return 0;
}

static int make_node(struct zk_flight *flight)
{
    struct simtree *tree = flight->zk->tree;
    const struct simtree_node *node = NULL;
    int rc;

    if ((flight->flags & ZK_MAKE_PARENTS) != 0) {
        for (char *slash = strchr(flight->path + 1, '/'); slash != NULL;
             slash = strchr(slash + 1, '/')) {
            *slash = '\0';
            (void)simtree_create(tree, flight->path, "", 0, 0, NULL);
            *slash = '/';
        }
    }
    rc = simtree_create(tree, flight->path, flight->bytes, flight->len, flight->flags, &node);
    if (rc == 0) {
        flight->created = mem_strdup(node->path);
    }
    return rc;
}

static int multi_one(struct simtree *tree, struct multi_op *op)
{
    const struct simtree_node *node = NULL;
    int rc = 0;

    switch (op->op) {
    case OP_CREATE:
        rc = simtree_create(tree, op->path, op->bytes, op->len, op->flags, &node);
        if (rc == 0) {
            free(op->created);
            op->created = mem_strdup(node->path);
        }
        return rc;
    case OP_SET:
        rc = simtree_set(tree, op->path, op->bytes, op->len, op->version, &node);
        op->stat = rc == 0 ? node->stat : op->stat;
        return rc;
    case OP_DELETE:
        return simtree_delete(tree, op->path, op->version);
    case OP_EXISTS:
        return simtree_check(tree, op->path, op->version);
    case OP_GET:
    case OP_CHILDREN:
    case OP_SYNC:
    case OP_MULTI:
        break;
    }
    return ERR_INVALID;
}

static int carry_out_multi(struct zk_flight *flight)
{
    struct zk_multi *multi = flight->multi;
    int code = 0;

    for (size_t i = 0; i < multi->n; i++) {
        struct multi_op *op = &multi->ops[i];

        op->result = code != 0 ? ERR_CANCELED : multi_one(flight->zk->tree, op);
        if (code == 0 && op->result != 0) {
            code = op->result;
            flight->fail_path = mem_strdup(op->path);
        }
    }
    return code;
}

static int carry_out_write(struct zk_flight *flight)
{
    struct simtree *tree = flight->zk->tree;
    const struct simtree_node *node = NULL;
    int rc = 0;

    simtree_start(tree, flight->zk->session);
    if (flight->op == OP_CREATE) {
        rc = make_node(flight);
        /* Parents stay, as they do when they are made one by one. */
        simtree_commit(tree);
        return rc;
    }
    if (flight->op == OP_SET) {
        rc = simtree_set(tree, flight->path, flight->bytes, flight->len, flight->version, &node);
        flight->stat = rc == 0 ? node->stat : flight->stat;
    } else if (flight->op == OP_DELETE) {
        rc = simtree_delete(tree, flight->path, flight->version);
    } else {
        rc = carry_out_multi(flight);
    }
    if (rc == 0) {
        simtree_commit(tree);
    } else {
        simtree_abort(tree);
    }
    return rc;
}

static void carry_out(struct zk_flight *flight)
{
    struct zk *zk = flight->zk;

    flight->phase = DONE;
    if (!simtree_session_lives(zk->tree, zk->session)) {
        flight->expired = true;
        return;
    }
    if (flight->op == OP_SYNC) {
        flight->code = 0;
    } else {
        flight->code = is_write(flight) ? carry_out_write(flight) : read_node(flight);
    }
    flight->zxid = simtree_zxid(zk->tree);
    if (is_write(flight) && sim_tracing()) {
        sim_trace("%s: %s %s -> %s%s%s", zk->proc->name, flight->op == OP_MULTI ? "multi" : "write",
                  flight->op == OP_MULTI && flight->multi->n > 2 ? flight->multi->ops[2].path
                                                                 : flight->path,
                  flight->code == 0 ? "ok" : err_text(flight->code),
                  flight->fail_path != NULL ? " " : "",
                  flight->fail_path != NULL ? flight->fail_path : "");
    }
}

/* ---- The client's side ---- */

static void on_answer(void *arg)
{
    struct zk_flight *flight = arg;
    struct zk *zk = flight->zk;
    struct zk_req *req = flight->req;
    struct watch *watch;

    flight->event = NULL;
    if (flight->expired) {
        return; /* The connection's end is on its way. */
    }
    zk->last_zxid = flight->zxid > zk->last_zxid ? flight->zxid : zk->last_zxid;
    if (flight->watched) {
        char kind = flight->op == OP_CHILDREN ? WATCH_CHILDREN
                    : flight->code == 0       ? WATCH_DATA
                                              : WATCH_EXISTS;
        watch = find_watch(zk, kind, flight->path);
        if (watch != NULL) {
            watch->client = true;
        }
    }
    if (req != NULL) {
        req->stat = flight->stat;
        req->bytes = flight->answer != NULL ? flight->answer : "";
        req->len = flight->answer != NULL ? (size_t)flight->stat.data_len : 0;
        req->children = (const char *const *)flight->names;
        req->n_children = flight->n_names;
        req->path = flight->created;
    }
    finish(flight, flight->code, false);
}

static void on_arrival(void *arg)
{
    struct zk_flight *flight = arg;
    struct zk *zk = flight->zk;

    flight->event = NULL;
    carry_out(flight);
    flight->event = sim_at(arrival(zk, &zk->down_ms), zk->proc, on_answer, flight, "answer");
}

static void send_flight(struct zk_flight *flight)
{
    flight->phase = SENT;
    if (flight->zk->cut) {
        return; /* Into a socket that nobody reads. */
    }
    flight->event =
        sim_at(arrival(flight->zk, &flight->zk->up_ms), NULL, on_arrival, flight, "request");
}

static void send_waiting(struct zk *zk)
{
    struct zk_flight *flight;

    DL_FOREACH(zk->flights, flight)
    {
        if (flight->phase == WAITING && flight->req != NULL) {
            send_flight(flight);
        }
    }
}

static struct zk_flight *start(struct zk *zk, struct zk_req *req, enum op op, const char *path,
                               zk_req_cb cb)
{
    struct zk_flight *flight = mem_alloc(sizeof(*flight));

    assert(req->flight == NULL);
    *req = (struct zk_req){ .data = req->data, .cb = cb, .flight = flight };
    flight->zk = zk;
    flight->req = req;
    flight->op = op;
    flight->path = mem_strdup(path);
    flight->deadline_ms = sim_now() + SIMZK_OP_MS;
    DL_APPEND(zk->flights, flight);
    arm_deadline(zk);
    return flight;
}

/* All of it was told: off it goes. */
static void go(struct zk_flight *flight)
{
    const struct zk *zk = flight->zk;

    if (!zk->reader && !zk->crashed && !zk->failed && zk->state == ZK_CONNECTED) {
        send_flight(flight);
    }
}

/* ---- States ---- */

static void set_state(struct zk *zk, enum zk_state state)
{
    if (zk->state == state) {
        return;
    }
    sim_trace("%s: session %s", zk->proc->name, zk_state_name(state));
    zk->state = state;
    for (struct zk_listener *listener = zk->listeners; listener != NULL;
         listener = zk->next_listener) {
        zk->next_listener = listener->next;
        listener->cb(listener, state);
    }
}

static void on_expiry(void *arg)
{
    struct zk *zk = arg;

    zk->expiry = NULL;
    sim_trace("store: the session of %s expires", zk->proc->name);
    simtree_end_session(zk->tree, zk->session);
}

/* The first request of those under way that the server never got decides the rest. */
static void cut_pipes(struct zk *zk)
{
    struct zk_flight *flight;
    struct watch *watch, *next;
    unsigned reach = (unsigned)sim_between(0, 1000);

    DL_FOREACH(zk->flights, flight)
    {
        if (flight->phase == SENT) {
            sim_cancel(&flight->event);
            if (reach > 0 && sim_chance(reach)) {
                carry_out(flight);
            } else {
                reach = 0;
            }
        }
        sim_cancel(&flight->event);
    }
    while (zk->notices != NULL) {
        drop_notice(zk->notices);
    }
    HASH_ITER(hh, zk->watches, watch, next)
    {
        watch->server = false;
        if (!watch->client) {
            drop_watch(zk, watch);
        }
    }
}

/* Answers what was under way: writes as uncertain, reads wait for the next connection. */
static void fail_sent(struct zk *zk)
{
    bool again = true;

    while (again) {
        struct zk_flight *flight;

        again = false;
        DL_FOREACH(zk->flights, flight)
        {
            if (flight->phase == WAITING) {
                continue;
            }
            if (flight->req == NULL || is_write(flight)) {
                again = true;
                finish(flight, ERR_UNREACHABLE, true);
                break;
            }
            free_outcome(flight);
            flight->phase = WAITING;
            flight->expired = false;
            flight->code = 0;
        }
    }
}

static void on_trouble(void *arg)
{
    struct zk *zk = arg;
    bool state_first = sim_chance(500);

    zk->trouble = NULL;
    zk->failed = true;
    if (state_first && zk->state == ZK_CONNECTED) {
        set_state(zk, ZK_SUSPENDED);
    }
    fail_sent(zk);
    if (zk->state == ZK_CONNECTED) {
        set_state(zk, ZK_SUSPENDED);
    }
    zk->failed = false;
}

static void open_session(struct zk *zk)
{
    zk->session = simtree_open_session(zk->tree);
    zk->generation++;
    set_state(zk, ZK_CONNECTED);
    send_waiting(zk);
}

static void on_back(void *arg)
{
    struct zk *zk = arg;

    zk->back = NULL;
    zk->cut = false;
    sim_cancel(&zk->expiry);
    if (zk->session != 0 && simtree_session_lives(zk->tree, zk->session)) {
        set_state(zk, ZK_CONNECTED);
        renew_watches(zk);
        send_waiting(zk);
        return;
    }
    if (zk->session != 0) {
        struct watch *watch, *next;

        HASH_ITER(hh, zk->watches, watch, next)
        {
            drop_watch(zk, watch);
        }
        zk->session = 0;
        set_state(zk, ZK_EXPIRED);
        zk->back = sim_after(sim_between(1, 100), zk->proc, on_back, zk, "session");
        return;
    }
    open_session(zk);
}

static void cut(struct zk *zk, uint64_t back_ms)
{
    cut_pipes(zk);
    zk->cut = true;
    zk->trouble = sim_after(0, zk->proc, on_trouble, zk, "connection lost");
    sim_cancel(&zk->back);
    zk->back = sim_after(back_ms + 1, zk->proc, on_back, zk, "connection back");
}

void simzk_break(struct zk *zk, uint64_t back_ms)
{
    if (zk->state != ZK_CONNECTED || zk->trouble != NULL) {
        return;
    }
    sim_trace("%s: connection breaks for %u ms", zk->proc->name, (unsigned)back_ms);
    cut(zk, back_ms);
    sim_cancel(&zk->expiry);
    zk->expiry = sim_after(sim_between(SIMZK_SESSION_MS * 2 / 3, SIMZK_SESSION_MS), NULL, on_expiry,
                           zk, "expiry");
}

void simzk_expire(struct zk *zk)
{
    if (zk->state != ZK_CONNECTED || zk->trouble != NULL) {
        return;
    }
    sim_trace("store: ends the session of %s", zk->proc->name);
    simtree_end_session(zk->tree, zk->session);
    cut(zk, sim_between(0, 50));
}

void simzk_crash(struct zk *zk)
{
    if (zk->state == ZK_CONNECTED) {
        cut_pipes(zk);
    }
    zk->crashed = true;
    zk->state = ZK_CLOSED;
    sim_cancel(&zk->deadline);
    sim_cancel(&zk->back);
    sim_cancel(&zk->trouble);
    sim_cancel(&zk->expiry);
}

void simzk_on_sent(simzk_sent_cb cb, void *data)
{
    on_sent.cb = cb;
    on_sent.data = data;
}

bool simzk_answer_one(struct zk *zk)
{
    struct zk_flight *flight;

    DL_FOREACH(zk->flights, flight)
    {
        if (flight->req != NULL) {
            finish(flight, ERR_CANCELED, true);
            return true;
        }
    }
    return false;
}

struct zk *simzk_open(struct simtree *tree, uv_loop_t *loop)
{
    struct zk *zk = mem_alloc(sizeof(*zk));

    zk->tree = tree;
    zk->loop = loop;
    zk->proc = loop->data;
    zk->state = ZK_CONNECTING;
    zk->slow = (unsigned)sim_between(0, 20);
    zk->back = sim_after(sim_between(1, 50), zk->proc, on_back, zk, "session");
    simtree_listen(tree, on_change, zk);
    return zk;
}

struct zk *simzk_open_reader(struct simtree *tree, uv_loop_t *loop)
{
    struct zk *zk = mem_alloc(sizeof(*zk));

    zk->tree = tree;
    zk->loop = loop;
    zk->proc = loop->data;
    zk->state = ZK_CONNECTED;
    zk->reader = true;
    return zk;
}

bool simzk_pump(struct zk *zk)
{
    struct zk_flight *flight = zk->flights;

    while (flight != NULL && flight->req == NULL) {
        flight = flight->next;
    }
    if (flight == NULL) {
        return false;
    }
    if (flight->op == OP_CREATE) {
        flight->code = simtree_find(zk->tree, flight->path) != NULL ? ERR_EXISTS : ERR_DENIED;
    } else {
        SIM_CHECK(!is_write(flight), "a reader writes %s", flight->path);
        flight->code = flight->op == OP_SYNC ? 0 : read_node(flight);
    }
    on_answer(flight);
    return true;
}

void simzk_free(struct zk *zk)
{
    struct watch *watch, *next;
    struct zk_flight *flight, *next_flight;

    simtree_unlisten(zk->tree, on_change, zk);
    DL_FOREACH_SAFE(zk->flights, flight, next_flight)
    {
        SIM_CHECK(flight->req == NULL, "a closed program has still a request under way: %s",
                  flight->path);
        drop_flight(flight);
    }
    HASH_ITER(hh, zk->watches, watch, next)
    {
        drop_watch(zk, watch);
    }
    while (zk->notices != NULL) {
        drop_notice(zk->notices);
    }
    sim_cancel(&zk->deadline);
    sim_cancel(&zk->back);
    sim_cancel(&zk->trouble);
    sim_cancel(&zk->expiry);
    SIM_CHECK(zk->listeners == NULL, "a closed program still listens to its session");
    SIM_CHECK(zk->table == NULL, "a closed program still watches the store");
    free(zk);
}

/* ---- coord/zk.h ---- */

void zk_get(struct zk *zk, struct zk_req *req, const char *path, zk_req_cb cb)
{
    go(start(zk, req, OP_GET, path, cb));
}

void zk_exists(struct zk *zk, struct zk_req *req, const char *path, zk_req_cb cb)
{
    go(start(zk, req, OP_EXISTS, path, cb));
}

void zk_children(struct zk *zk, struct zk_req *req, const char *path, zk_req_cb cb)
{
    go(start(zk, req, OP_CHILDREN, path, cb));
}

void zk_sync(struct zk *zk, struct zk_req *req, const char *path, zk_req_cb cb)
{
    go(start(zk, req, OP_SYNC, path, cb));
}

static void start_watched(struct zk *zk, struct zk_req *req, enum op op, const char *path,
                          zk_req_cb cb)
{
    struct zk_flight *flight = start(zk, req, op, path, cb);

    flight->watched = true;
    go(flight);
}

void zk_get_watched(struct zk *zk, struct zk_req *req, const char *path, zk_req_cb cb)
{
    start_watched(zk, req, OP_GET, path, cb);
}

void zk_exists_watched(struct zk *zk, struct zk_req *req, const char *path, zk_req_cb cb)
{
    start_watched(zk, req, OP_EXISTS, path, cb);
}

void zk_children_watched(struct zk *zk, struct zk_req *req, const char *path, zk_req_cb cb)
{
    start_watched(zk, req, OP_CHILDREN, path, cb);
}

void zk_create(struct zk *zk, struct zk_req *req, const char *path, const void *bytes, size_t len,
               int flags, zk_req_cb cb)
{
    struct zk_flight *flight = start(zk, req, OP_CREATE, path, cb);

    flight->flags = flags;
    flight->bytes = copy_bytes(bytes, len);
    flight->len = len;
    go(flight);
}

void zk_set(struct zk *zk, struct zk_req *req, const char *path, const void *bytes, size_t len,
            int32_t version, zk_req_cb cb)
{
    struct zk_flight *flight = start(zk, req, OP_SET, path, cb);

    flight->version = version;
    flight->bytes = copy_bytes(bytes, len);
    flight->len = len;
    go(flight);
}

void zk_delete(struct zk *zk, struct zk_req *req, const char *path, int32_t version, zk_req_cb cb)
{
    struct zk_flight *flight = start(zk, req, OP_DELETE, path, cb);

    flight->version = version;
    go(flight);
}

void zk_commit(struct zk *zk, struct zk_req *req, struct zk_multi *multi, zk_req_cb cb)
{
    struct zk_flight *flight = start(zk, req, OP_MULTI, "/", cb);

    SIM_CHECK(multi->bytes <= ZK_MULTI_MAX_BYTES, "a multi of %zu bytes", multi->bytes);
    flight->multi = multi;
    multi->refs++;
    go(flight);
    if (on_sent.cb != NULL && flight->phase == SENT) {
        on_sent.cb(zk, on_sent.data);
    }
}

void zk_forget(struct zk_req *req)
{
    struct zk_flight *flight = req->flight;

    if (flight == NULL) {
        return;
    }
    req->flight = NULL;
    flight->req = NULL;
    if (flight->phase == WAITING || flight->zk->crashed || flight->zk->reader) {
        drop_flight(flight);
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

enum zk_state zk_state(const struct zk *zk)
{
    return zk->state;
}

const char *zk_state_name(enum zk_state state)
{
    static const char *const names[] = {
        [ZK_CONNECTING] = "connecting", [ZK_CONNECTED] = "connected", [ZK_SUSPENDED] = "suspended",
        [ZK_EXPIRED] = "expired",       [ZK_DENIED] = "denied",       [ZK_CLOSED] = "closed",
    };

    return names[state];
}

uint64_t zk_generation(const struct zk *zk)
{
    return zk->generation;
}

int64_t zk_session_id(const struct zk *zk)
{
    return zk->session;
}

uint32_t zk_session_timeout_ms(const struct zk *zk)
{
    (void)zk;
    return SIMZK_SESSION_MS;
}

uv_loop_t *zk_loop(const struct zk *zk)
{
    return zk->loop;
}

void *zk_watch_table(const struct zk *zk)
{
    return zk->table;
}

void zk_set_watch_table(struct zk *zk, void *table, zk_event_cb cb)
{
    zk->table = table;
    zk->on_event = cb;
}
