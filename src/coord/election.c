/* SPDX-License-Identifier: Apache-2.0 */

/* election: one of several candidates leads, and everything it writes can be told from what a
 * deposed one writes.
 *
 *   JOINING --our node is there--> LISTING --we are first--> CLAIMING --epoch bumped--> LEADING
 *      ^                              |  ^--predecessor gone--+               |
 *      |                              v                       |               |
 *      |                          FOLLOWING ------------------'               |
 *      `----------- session expired, our node gone, too long without contact -'
 *
 * Happy path: an ephemeral sequential node, named by a token of ours, queues up; each candidate
 * watches only the one before it; the first bumps the epoch by a multi that also checks that its
 * own node still exists, and leads.
 * Failures: an uncertain create is looked for by its token before another is made.  Without
 * contact for a quarter of the session timeout a leader is lost by its own decision: the server
 * cannot have expired the session earlier than that after the connection broke.
 * Invariants: one request or one watch is under way, or a timer; the epoch is the epoch node's
 * version, so a multi that checks it fails once anybody else has claimed.
 */

#include "coord/election.h"

#include "base/id.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sm.h"
#include "base/str.h"
#include "coord/zk_watch.h"

#include <stdio.h>
#include <string.h>

enum { RETRY_MS = 200, SEQUENCE_DIGITS = 10 };

enum { JOINING, LISTING, FOLLOWING, CLAIMING, LEADING, LOST, CLOSING };

static const struct sm_state states[] = {
    [JOINING] = { "joining", SM_TO(LISTING) | SM_TO(LOST) | SM_TO(CLOSING) },
    [LISTING] = { "listing", SM_TO(JOINING) | SM_TO(FOLLOWING) | SM_TO(CLAIMING) | SM_TO(LOST) |
                                 SM_TO(CLOSING) },
    [FOLLOWING] = { "following", SM_TO(LISTING) | SM_TO(LOST) | SM_TO(CLOSING) },
    [CLAIMING] = { "claiming", SM_TO(LISTING) | SM_TO(LEADING) | SM_TO(LOST) | SM_TO(CLOSING) },
    [LEADING] = { "leading", SM_TO(LOST) | SM_TO(CLOSING) },
    [LOST] = { "lost", SM_TO(LISTING) | SM_TO(CLOSING) },
    [CLOSING] = { "closing", 0 },
};

struct election {
    struct election_options options;
    struct zk *zk;
    struct sm sm;
    char token[ID_TOKEN_SIZE];
    bool owned; /* The token is the owner's. */
    char *own;  /* Path of our node; NULL while unknown. */
    char *predecessor;
    struct zk_req req;
    struct zk_watch watch; /* Of the predecessor, or of our own node while leading. */
    struct zk_multi *claim;
    struct zk_listener listener;
    uv_timer_t timer; /* A retry, or how long a leader goes without contact. */
    int32_t epoch;
    election_cb close_cb;
    void *close_data;
};

static void list(struct election *election);
static void join(struct election *election);
static void claim(struct election *election);

/* ---- Ends ---- */

/* Drops whatever is under way. */
static void reset(struct election *election)
{
    zk_forget(&election->req);
    zk_watch_stop(&election->watch);
    uv_timer_stop(&election->timer);
    zk_multi_free(TAKE(election->claim));
}

static void lose(struct election *election, const char *why)
{
    bool led = election->sm.state == LEADING;

    reset(election);
    sm_move(&election->sm, LOST);
    list(election); /* Waits for the connection; finds our node, or makes another. */
    if (led) {
        election->options.on_lost(election, why, election->options.data);
    }
}

static void on_retry(uv_timer_t *timer)
{
    struct election *election = timer->data;

    reset(election);
    if (election->sm.state == JOINING) {
        sm_move(&election->sm, LISTING);
    }
    list(election);
}

static void retry_later(struct election *election, const struct err *err)
{
    log_debug("election: %s, trying again path=%s", err->msg, election->options.path);
    uv_timer_start(&election->timer, on_retry, RETRY_MS, 0);
}

/* ---- Leading ---- */

static void on_own_node(struct zk_watch *watch)
{
    struct election *election = watch->data;

    if (watch->err.code == 0 && !watch->exists) {
        free(TAKE(election->own));
        lose(election, "the candidate's node was removed");
    }
}

static void lead(struct election *election, int32_t epoch)
{
    zk_multi_free(TAKE(election->claim));
    sm_move(&election->sm, LEADING);
    election->epoch = epoch;
    election->watch.data = election;
    zk_watch_data(election->zk, &election->watch, election->own, on_own_node);
    election->options.on_leader(election, epoch, election->options.data);
}

static void on_claimed(struct zk_req *req)
{
    struct election *election = req->data;

    if (req->err.code == 0) {
        lead(election, zk_multi_stat(election->claim, 1)->version);
        return;
    }
    zk_multi_free(TAKE(election->claim));
    if (req->err.code == ERR_CONFLICT) {
        claim(election); /* Somebody was faster: read the epoch again. */
    } else {
        retry_later(election, &req->err); /* Our node is gone, or the outcome is uncertain. */
    }
}

static void on_epoch_made(struct zk_req *req)
{
    struct election *election = req->data;

    if (req->err.code == 0 || req->err.code == ERR_EXISTS) {
        claim(election);
    } else {
        retry_later(election, &req->err);
    }
}

static void on_epoch(struct zk_req *req)
{
    struct election *election = req->data;
    const struct election_options *options = &election->options;

    if (req->err.code == ERR_NOTFOUND) {
        zk_create(election->zk, req, options->epoch_path, "", 0, ZK_MAKE_PARENTS, on_epoch_made);
        return;
    }
    if (req->err.code != 0) {
        retry_later(election, &req->err);
        return;
    }
    int32_t version = req->stat.version;
    election->claim = zk_multi_new();
    zk_multi_check(election->claim, election->own, ZK_ANY_VERSION);
    zk_multi_set(election->claim, options->epoch_path, options->bytes, options->len, version);
    zk_commit(election->zk, req, election->claim, on_claimed);
}

static void claim(struct election *election)
{
    if (election->options.epoch_path == NULL) {
        lead(election, 0);
    } else {
        zk_get(election->zk, &election->req, election->options.epoch_path, on_epoch);
    }
}

/* ---- Queueing up ---- */

static const char *sequence(const char *name)
{
    /* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): a list of names has no holes. */
    size_t len = strlen(name);

    return len >= SEQUENCE_DIGITS ? name + len - SEQUENCE_DIGITS : name;
}

static bool is_before(const char *name, const char *other)
{
    return strcmp(sequence(name), sequence(other)) < 0;
}

static void on_predecessor(struct zk_watch *watch)
{
    struct election *election = watch->data;

    if (watch->err.code == 0 && !watch->exists) {
        reset(election);
        sm_move(&election->sm, LISTING);
        list(election);
    }
}

/* Our own among the candidates, and the last one before it; NULL when there is none. */
static void find_place(const struct election *election, const struct zk_req *req,
                       const char **ret_own, const char **ret_before)
{
    const char *own = NULL;
    const char *before = NULL;

    for (size_t i = 0; i < req->n_children; i++) {
        const char *mine = req->children[i];

        if (str_starts(mine, election->token) && (own == NULL || is_before(mine, own))) {
            own = mine;
        }
    }
    for (size_t i = 0; own != NULL && i < req->n_children; i++) {
        const char *other = req->children[i];
        if (is_before(other, own) && (before == NULL || is_before(before, other))) {
            before = other;
        }
    }
    *ret_own = own;
    *ret_before = before;
}

static void on_list(struct zk_req *req)
{
    struct election *election = req->data;
    const char *own = NULL;
    const char *before = NULL;

    if (req->err.code != 0 && req->err.code != ERR_NOTFOUND) {
        retry_later(election, &req->err);
        return;
    }
    find_place(election, req, &own, &before);
    free(TAKE(election->own));
    if (own == NULL) {
        sm_move(&election->sm, JOINING);
        join(election);
        return;
    }
    election->own = str_printf("%s/%s", election->options.path, own);
    if (before == NULL) {
        sm_move(&election->sm, CLAIMING);
        claim(election);
        return;
    }
    sm_move(&election->sm, FOLLOWING);
    free(election->predecessor);
    election->predecessor = str_printf("%s/%s", election->options.path, before);
    election->watch.data = election;
    zk_watch_data(election->zk, &election->watch, election->predecessor, on_predecessor);
}

static void list(struct election *election)
{
    if (election->sm.state != LISTING) {
        sm_move(&election->sm, LISTING);
    }
    zk_children(election->zk, &election->req, election->options.path, on_list);
}

static void on_joined(struct zk_req *req)
{
    struct election *election = req->data;

    if (req->err.code != 0) {
        retry_later(election, &req->err); /* Lists first: it may be there. */
        return;
    }
    list(election);
}

static void join(struct election *election)
{
    const struct election_options *options = &election->options;
    CLEANUP(mem_freep) char *path = str_printf("%s/%s-candidate-", options->path, election->token);

    zk_create(election->zk, &election->req, path, options->bytes, options->len,
              ZK_EPHEMERAL | ZK_SEQUENCE | ZK_MAKE_PARENTS, on_joined);
}

/* ---- The session ---- */

static void on_silence(uv_timer_t *timer)
{
    lose(timer->data, "no contact with the store");
}

static void on_state(struct zk_listener *listener, enum zk_state state)
{
    struct election *election = listener->data;

    if (election->sm.state == CLOSING) {
        return;
    }
    if (state == ZK_EXPIRED || state == ZK_DENIED) {
        lose(election, "the store session expired");
    } else if (election->sm.state == LEADING && state == ZK_SUSPENDED) {
        uv_timer_start(&election->timer, on_silence, zk_session_timeout_ms(election->zk) / 4, 0);
    } else if (election->sm.state == LEADING && state == ZK_CONNECTED) {
        uv_timer_stop(&election->timer);
    }
}

void election_start(const struct election_options *options, struct election **ret_election)
{
    struct election *election = mem_alloc(sizeof *election);
    char *bytes = mem_alloc(options->len + 1);

    election->options = *options;
    election->owned = options->token != NULL;
    election->options.path = mem_strdup(options->path);
    election->options.epoch_path =
        options->epoch_path != NULL ? mem_strdup(options->epoch_path) : NULL;
    memcpy(bytes, options->bytes, options->len);
    election->options.bytes = bytes;
    election->zk = options->zk;
    election->req.data = election;
    election->listener.data = election;
    if (options->token != NULL) {
        (void)snprintf(election->token, sizeof election->token, "%s", options->token);
    } else {
        id_token(election->token);
    }
    sm_init(&election->sm, states, JOINING);
    uv_timer_init(zk_loop(options->zk), &election->timer);
    election->timer.data = election;
    zk_listen(options->zk, &election->listener, on_state);
    if (election->owned) {
        list(election); /* It may be there. */
    } else {
        join(election);
    }
    *ret_election = election;
}

static void on_closed(uv_handle_t *handle)
{
    struct election *election = handle->data;
    election_cb cb = election->close_cb;
    void *data = election->close_data;

    free((char *)election->options.path);
    free((char *)election->options.epoch_path);
    free((char *)election->options.bytes);
    free(election->own);
    free(election->predecessor);
    free(election);
    if (cb != NULL) {
        cb(data);
    }
}

static void on_withdrawn(struct zk_req *req)
{
    struct election *election = req->data;

    /* If it failed, the session's end takes the node away, or its owner's next candidacy finds
     * it by the token. */
    uv_close((uv_handle_t *)&election->timer, on_closed);
}

void election_close(struct election *election, election_cb cb, void *data)
{
    reset(election);
    zk_unlisten(&election->listener);
    sm_move(&election->sm, CLOSING);
    election->close_cb = cb;
    election->close_data = data;
    if (election->own != NULL && (!election->owned || zk_state(election->zk) == ZK_CONNECTED)) {
        zk_delete(election->zk, &election->req, election->own, ZK_ANY_VERSION, on_withdrawn);
    } else {
        uv_close((uv_handle_t *)&election->timer, on_closed);
    }
}

bool election_is_leader(const struct election *election)
{
    return election->sm.state == LEADING;
}

void election_fence(const struct election *election, struct zk_multi *multi)
{
    assert(election->sm.state == LEADING && election->options.epoch_path != NULL);
    zk_multi_check(multi, election->options.epoch_path, election->epoch);
}

/* ---- Observers ---- */

struct election_observer {
    struct zk *zk;
    char *path;
    char *leader; /* Path of the node that is watched; NULL for none. */
    struct zk_watch list, node;
    election_observer_cb cb;
    void *data;
};

static void on_leader_node(struct zk_watch *watch)
{
    struct election_observer *observer = watch->data;

    if (watch->err.code == 0 && watch->exists) {
        observer->cb(watch->bytes, watch->len, observer->data);
    } /* When it goes away the list changes. */
}

static void on_candidates(struct zk_watch *watch)
{
    struct election_observer *observer = watch->data;
    const char *first = NULL;

    for (size_t i = 0; i < watch->n_children; i++) {
        if (first == NULL || strcmp(sequence(watch->children[i]), sequence(first)) < 0) {
            first = watch->children[i];
        }
    }
    CLEANUP(mem_freep)
    char *leader = first != NULL ? str_printf("%s/%s", observer->path, first) : NULL;
    if (leader != NULL && str_eq(leader, observer->leader)) {
        return;
    }
    zk_watch_stop(&observer->node);
    free(observer->leader);
    observer->leader = TAKE(leader);
    if (observer->leader == NULL) {
        observer->cb("", 0, observer->data);
        return;
    }
    observer->node.data = observer;
    zk_watch_data(observer->zk, &observer->node, observer->leader, on_leader_node);
}

void election_observe(struct zk *zk, const char *path, election_observer_cb cb, void *data,
                      struct election_observer **ret_observer)
{
    struct election_observer *observer = mem_alloc(sizeof *observer);

    observer->zk = zk;
    observer->path = mem_strdup(path);
    observer->cb = cb;
    observer->data = data;
    observer->list.data = observer;
    zk_watch_children(zk, &observer->list, path, on_candidates);
    *ret_observer = observer;
}

void election_observer_free(struct election_observer *observer)
{
    if (observer == NULL) {
        return;
    }
    zk_watch_stop(&observer->list);
    zk_watch_stop(&observer->node);
    free(observer->path);
    free(observer->leader);
    free(observer);
}
