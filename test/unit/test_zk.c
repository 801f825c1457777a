/* SPDX-License-Identifier: Apache-2.0 */

/* coord against real servers that are killed, frozen and restarted: davit-store, and Apache
 * ZooKeeper where java and its jar are there (run as `test_zk apache`). */
#include "coord/zk.h"

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "coord/election.h"
#include "coord/member.h"
#include "coord/zk_watch.h"
#include "test.h"
#include "zk_server.h"

enum { DEADLINE_MS = 15000, SESSION_MS = 2000, MANY = 2000 };

static bool apache;
static struct zk_server server;
static int test_number;

struct client {
    uv_loop_t loop;
    struct zk *zk;
    struct zk_listener listener;
    unsigned suspended, connected, expired, denied;
};

struct fixture {
    char servers[64];
    struct client a, b;
    struct zk_req req;
    unsigned fired;
};

/* ---- Turning the loops ---- */

static void turn(struct fixture *f)
{
    uv_run(&f->a.loop, UV_RUN_NOWAIT);
    uv_run(&f->b.loop, UV_RUN_NOWAIT);
    usleep(200);
}

#define turn_until(f, condition)                          \
    do {                                                  \
        uint64_t until_ = clock_now_ms() + DEADLINE_MS;   \
        while (!(condition) && clock_now_ms() < until_) { \
            turn(f);                                      \
        }                                                 \
        assert_true(condition);                           \
    } while (0)

/* Only b's: a is a process that hangs. */
#define turn_b_until(f, condition)                        \
    do {                                                  \
        uint64_t until_ = clock_now_ms() + DEADLINE_MS;   \
        while (!(condition) && clock_now_ms() < until_) { \
            uv_run(&(f)->b.loop, UV_RUN_NOWAIT);          \
            usleep(200);                                  \
        }                                                 \
        assert_true(condition);                           \
    } while (0)

/* ---- Fixture ---- */

static void on_state(struct zk_listener *listener, enum zk_state state)
{
    struct client *client = listener->data;

    client->connected += state == ZK_CONNECTED;
    client->suspended += state == ZK_SUSPENDED;
    client->expired += state == ZK_EXPIRED;
    client->denied += state == ZK_DENIED;
}

static void open_client(struct client *client, const char *servers, const char *auth,
                        uint32_t op_timeout_ms)
{
    struct zk_options options = { .loop = &client->loop,
                                  .servers = servers,
                                  .auth = auth,
                                  .session_timeout_ms = SESSION_MS,
                                  .op_timeout_ms = op_timeout_ms };
    struct err err = { 0 };

    assert_int_equal(zk_open(&options, &client->zk, &err), 0);
    client->listener.data = client;
    zk_listen(client->zk, &client->listener, on_state);
}

static int setup(void **state)
{
    struct fixture *f = mem_alloc(sizeof *f);

    snprintf(f->servers, sizeof f->servers, "%s/t/%d", server.address, test_number++);
    uv_loop_init(&f->a.loop);
    uv_loop_init(&f->b.loop);
    open_client(&f->a, f->servers, NULL, 10000);
    open_client(&f->b, f->servers, NULL, 10000);
    f->req.data = f;
    *state = f;
    turn_until(f, zk_state(f->a.zk) == ZK_CONNECTED && zk_state(f->b.zk) == ZK_CONNECTED);
    return 0;
}

static void close_client(struct client *client)
{
    if (client->zk != NULL) {
        zk_close(client->zk, NULL);
    }
    uv_run(&client->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&client->loop), 0);
}

static int teardown(void **state)
{
    CLEANUP(mem_freep) struct fixture *f = *state;

    fault_arm(0, 0);
    close_client(&f->a);
    close_client(&f->b);
    return 0;
}

/* ---- One request at a time ---- */

static void on_done(struct zk_req *req)
{
    struct fixture *f = req->data;

    f->fired++;
}

static void wait_done(struct fixture *f, int code)
{
    turn_until(f, f->fired == 1);
    if (f->req.err.code != code) {
        fail_msg("wanted %d, got %d: %s", code, f->req.err.code, f->req.err.msg);
    }
    f->fired = 0;
}

static void create(struct fixture *f, const char *path, int flags, int code)
{
    zk_create(f->a.zk, &f->req, path, "x", 1, flags, on_done);
    assert_int_equal(f->fired, 0); /* Never from inside start. */
    wait_done(f, code);
}

static void exists(struct fixture *f, const char *path, int code)
{
    zk_exists(f->a.zk, &f->req, path, on_done);
    wait_done(f, code);
}

static char got[256];

static void on_got(struct zk_req *req)
{
    struct fixture *f = req->data;

    snprintf(got, sizeof got, "%s", req->err.code == 0 ? req->bytes : "");
    f->fired++;
}

static void on_list(struct zk_req *req)
{
    struct fixture *f = req->data;

    got[0] = '\0';
    for (size_t i = 0; i < req->n_children; i++) {
        strncat(got, req->children[i], sizeof got - strlen(got) - 1);
    }
    f->fired++;
}

static void on_path(struct zk_req *req)
{
    struct fixture *f = req->data;

    snprintf(got, sizeof got, "%s", req->err.code == 0 ? req->path : "");
    f->fired++;
}

/* ---- Tests ---- */

static void reads_and_writes(void **state)
{
    struct fixture *f = *state;

    create(f, "/a/b/c", 0, ERR_NOTFOUND);
    create(f, "/a/b/c", ZK_MAKE_PARENTS, 0);
    create(f, "/a/b/c", 0, ERR_EXISTS);
    create(f, "/a/b/d", ZK_MAKE_PARENTS, 0);
    zk_get(f->a.zk, &f->req, "/a/b/c", on_got);
    wait_done(f, 0);
    assert_string_equal(got, "x");
    assert_int_equal(f->req.stat.version, 0);
    zk_set(f->a.zk, &f->req, "/a/b/c", "new", 3, 0, on_done);
    wait_done(f, 0);
    assert_int_equal(f->req.stat.version, 1);
    zk_set(f->a.zk, &f->req, "/a/b/c", "old", 3, 0, on_done);
    wait_done(f, ERR_CONFLICT);
    zk_children(f->a.zk, &f->req, "/a/b", on_list);
    wait_done(f, 0);
    assert_true(str_eq(got, "cd") || str_eq(got, "dc"));
    zk_delete(f->a.zk, &f->req, "/a/b", ZK_ANY_VERSION, on_done);
    wait_done(f, ERR_CONFLICT);
    zk_delete(f->a.zk, &f->req, "/a/b/c", 1, on_done);
    wait_done(f, 0);
    exists(f, "/a/b/c", ERR_NOTFOUND);
    assert_non_null(strstr(f->req.err.msg, "exists /a/b/c: no such node"));
    zk_create(f->a.zk, &f->req, "/a/seq-", "", 0, ZK_SEQUENCE | ZK_EPHEMERAL, on_path);
    wait_done(f, 0);
    assert_string_equal(got, "/a/seq-0000000001");
    zk_sync(f->a.zk, &f->req, "/", on_done);
    wait_done(f, 0);
}

static void a_multi_is_all_or_nothing(void **state)
{
    struct fixture *f = *state;
    struct zk_multi *multi = zk_multi_new();

    create(f, "/m", 0, 0);
    zk_multi_check(multi, "/m", 0);
    zk_multi_create(multi, "/m/a-", "1", 1, ZK_SEQUENCE);
    zk_multi_set(multi, "/m", "2", 1, 0);
    zk_commit(f->a.zk, &f->req, multi, on_done);
    wait_done(f, 0);
    assert_string_equal(zk_multi_created(multi, 1), "/m/a-0000000000");
    assert_int_equal(zk_multi_stat(multi, 2)->version, 1);
    zk_multi_free(multi);

    multi = zk_multi_new();
    zk_multi_create(multi, "/m/b", "1", 1, 0);
    zk_multi_check(multi, "/m", 0);
    zk_multi_delete(multi, "/m/a-0000000000", 0);
    zk_commit(f->a.zk, &f->req, multi, on_done);
    wait_done(f, ERR_CONFLICT);
    assert_non_null(strstr(f->req.err.msg, "/m:"));
    assert_int_equal(zk_multi_result(multi, 0), 0);
    assert_int_equal(zk_multi_result(multi, 1), ERR_CONFLICT);
    assert_int_equal(zk_multi_result(multi, 2), ERR_CANCELED);
    zk_multi_free(multi);
    exists(f, "/m/b", ERR_NOTFOUND);

    multi = zk_multi_new();
    CLEANUP(mem_freep) char *large = mem_alloc(ZK_MULTI_MAX_BYTES);
    zk_multi_create(multi, "/m/c", large, ZK_MULTI_MAX_BYTES, 0);
    zk_commit(f->a.zk, &f->req, multi, on_done);
    wait_done(f, ERR_TOOBIG);
    zk_multi_free(multi);
}

static unsigned many_done;

static void on_many(struct zk_req *req)
{
    many_done += req->err.code == 0;
}

static void thousands_at_once(void **state)
{
    struct fixture *f = *state;
    CLEANUP(mem_freep) struct zk_req *reqs = mem_alloc(MANY * sizeof *reqs);
    uint64_t began = clock_now_ms();

    many_done = 0;
    for (size_t i = 0; i < MANY; i++) {
        char path[32];
        snprintf(path, sizeof path, "/n%zu", i);
        zk_create(f->a.zk, &reqs[i], path, "x", 1, 0, on_many);
    }
    turn_until(f, many_done == MANY);
    print_message("%d creates in %llu ms\n", MANY, (unsigned long long)(clock_now_ms() - began));
}

static void canceled_and_forgotten(void **state)
{
    struct fixture *f = *state;
    struct zk_req other = { .data = f };

    zk_get(f->a.zk, &f->req, "/", on_done);
    zk_cancel(&f->req);
    zk_cancel(&f->req);
    wait_done(f, ERR_CANCELED);
    zk_get(f->a.zk, &other, "/", on_done);
    zk_forget(&other);
    exists(f, "/none", ERR_NOTFOUND);
    zk_get(f->a.zk, &f->req, "/", on_done);
    uv_run(&f->a.loop, UV_RUN_NOWAIT); /* It is under way now. */
    zk_forget(&f->req);
    f->fired = 0; /* A quick server may have answered in that one turn. */
    f->req.data = f;
    exists(f, "/none", ERR_NOTFOUND);
    zk_get(f->a.zk, &f->req, "/", on_done);
    zk_close(f->a.zk, NULL);
    f->a.zk = NULL;
    wait_done(f, ERR_CANCELED);
}

static void survives_a_restart(void **state)
{
    struct fixture *f = *state;
    int64_t session = zk_session_id(f->a.zk);

    create(f, "/e", ZK_EPHEMERAL, 0);
    zk_server_kill(&server);
    turn_until(f, f->a.suspended == 1);
    zk_get(f->a.zk, &f->req, "/e", on_got); /* Waits. */
    zk_server_spawn(&server);
    wait_done(f, 0);
    assert_int_equal(zk_session_id(f->a.zk), session);
    assert_int_equal(zk_generation(f->a.zk), 1);
    assert_int_equal(f->req.stat.ephemeral_owner, session);
}

static void without_a_server_requests_end(void **state)
{
    struct fixture *f = *state;

    zk_server_kill(&server);
    turn_until(f, zk_state(f->b.zk) == ZK_SUSPENDED);
    close_client(&f->b);
    f->b = (struct client){ 0 };
    uv_loop_init(&f->b.loop);
    open_client(&f->b, f->servers, NULL, 300);
    zk_create(f->b.zk, &f->req, "/x", "", 0, 0, on_done);
    wait_done(f, ERR_UNREACHABLE);
    assert_false(f->req.uncertain);
    zk_server_spawn(&server);
    turn_until(f, zk_state(f->b.zk) == ZK_CONNECTED);
}

static void a_frozen_server_leaves_writes_uncertain(void **state)
{
    struct fixture *f = *state;

    create(f, "/w", 0, 0);
    kill(server.pid, SIGSTOP);
    zk_set(f->a.zk, &f->req, "/w", "y", 1, ZK_ANY_VERSION, on_done);
    turn_until(f, f->fired == 1);
    kill(server.pid, SIGCONT);
    f->fired = 0;
    assert_int_equal(f->req.err.code, ERR_UNREACHABLE);
    assert_true(f->req.uncertain);
    turn_until(f, zk_state(f->a.zk) == ZK_CONNECTED);
    exists(f, "/w", 0);
}

struct seen {
    unsigned fired;
    bool exists;
    char bytes[32];
    size_t n_children;
};

static void on_watch(struct zk_watch *watch)
{
    struct seen *seen = watch->data;

    seen->fired++;
    seen->exists = watch->exists;
    seen->n_children = watch->n_children;
    snprintf(seen->bytes, sizeof seen->bytes, "%s", watch->bytes);
}

static void watches_tell_each_state(void **state)
{
    struct fixture *f = *state;
    struct seen data = { 0 }, list = { 0 }, second = { 0 };
    struct zk_watch w1 = { .data = &data }, w2 = { .data = &list }, w3 = { .data = &second };

    zk_watch_data(f->b.zk, &w1, "/v", on_watch);
    zk_watch_children(f->b.zk, &w2, "/v", on_watch);
    turn_until(f, data.fired == 1 && list.fired == 1);
    assert_false(data.exists);
    create(f, "/v", 0, 0);
    turn_until(f, data.exists && list.exists);
    zk_set(f->a.zk, &f->req, "/v", "two", 3, ZK_ANY_VERSION, on_done);
    wait_done(f, 0);
    turn_until(f, str_eq(data.bytes, "two"));
    zk_watch_data(f->b.zk, &w3, "/v", on_watch);
    turn_until(f, str_eq(second.bytes, "two"));
    create(f, "/v/c", 0, 0);
    turn_until(f, list.n_children == 1);

    zk_server_kill(&server); /* The watches outlive the connection. */
    turn_until(f, zk_state(f->a.zk) == ZK_SUSPENDED && zk_state(f->b.zk) == ZK_SUSPENDED);
    zk_server_spawn(&server);
    zk_set(f->a.zk, &f->req, "/v", "three", 5, ZK_ANY_VERSION, on_done);
    wait_done(f, 0);
    turn_until(f, str_eq(data.bytes, "three") && str_eq(second.bytes, "three"));
    zk_watch_stop(&w3);
    unsigned before = second.fired;
    zk_delete(f->a.zk, &f->req, "/v/c", ZK_ANY_VERSION, on_done);
    wait_done(f, 0);
    zk_delete(f->a.zk, &f->req, "/v", ZK_ANY_VERSION, on_done);
    wait_done(f, 0);
    turn_until(f, !data.exists && !list.exists);
    assert_int_equal(second.fired, before);
    zk_watch_stop(&w1);
    zk_watch_stop(&w2);
}

static void thousands_of_watches(void **state)
{
    struct fixture *f = *state;
    CLEANUP(mem_freep) struct zk_watch *watches = mem_alloc(MANY * sizeof *watches);
    CLEANUP(mem_freep) struct zk_req *reqs = mem_alloc(MANY * sizeof *reqs);
    struct seen seen = { 0 };

    many_done = 0;
    for (size_t i = 0; i < MANY; i++) {
        char path[32];
        snprintf(path, sizeof path, "/w%zu", i);
        watches[i].data = &seen;
        zk_watch_data(f->b.zk, &watches[i], path, on_watch);
    }
    turn_until(f, seen.fired == MANY);
    for (size_t i = 0; i < MANY; i++) {
        char path[32];
        snprintf(path, sizeof path, "/w%zu", i);
        zk_create(f->a.zk, &reqs[i], path, "x", 1, 0, on_many);
    }
    turn_until(f, seen.fired == 2 * MANY);
    turn_until(f, many_done == MANY);
    for (size_t i = 0; i < MANY; i++) {
        zk_watch_stop(&watches[i]);
    }
}

static void on_member(struct member *member, const char *path, const struct err *err, void *data)
{
    (void)member;
    (void)path;
    *(unsigned *)data += err->code == 0;
}

/* a hangs until the server has expired it; what it held is made again under a new session. */
static void an_expired_session_is_renewed(void **state)
{
    struct fixture *f = *state;
    struct member *member = NULL;
    struct seen seen = { 0 }, other = { 0 };
    struct zk_watch own = { .data = &seen }, watch = { .data = &other };
    unsigned made = 0;

    create(f, "/plain", 0, 0);
    member_start(f->a.zk, "/members/a", "me", 2, 0, on_member, &made, &member);
    zk_watch_data(f->a.zk, &own, "/plain", on_watch);
    zk_watch_data(f->b.zk, &watch, "/members/a", on_watch);
    turn_until(f, made == 1 && other.exists && seen.fired == 1);
    turn_b_until(f, !other.exists);

    turn_until(f, f->a.expired == 1 && made == 2 && other.exists);
    assert_int_equal(zk_generation(f->a.zk), 2);
    assert_int_equal(other.n_children, 0);
    zk_set(f->b.zk, &f->req, "/plain", "new", 3, ZK_ANY_VERSION, on_done);
    wait_done(f, 0);
    turn_until(f, str_eq(seen.bytes, "new"));

    member_set(member, "you", 3);
    turn_until(f, str_eq(other.bytes, "you"));
    zk_delete(f->b.zk, &f->req, "/members/a", ZK_ANY_VERSION, on_done);
    wait_done(f, 0);
    turn_until(f, made == 3 && other.exists);
    zk_watch_stop(&own);
    member_close(member, NULL, NULL);
    turn_until(f, !other.exists);
    zk_watch_stop(&watch);
}

struct candidate {
    struct election *election;
    const char *token;
    int64_t epoch;
    unsigned led, lost;
};

static void on_leader(struct election *election, int64_t epoch, void *data)
{
    struct candidate *candidate = data;

    assert_true(election_is_leader(election));
    candidate->epoch = epoch;
    candidate->led++;
}

static void on_lost(struct election *election, const char *why, void *data)
{
    struct candidate *candidate = data;

    (void)why;
    assert_false(election_is_leader(election));
    candidate->lost++;
}

static void stand(struct zk *zk, const char *name, struct candidate *candidate)
{
    struct election_options options = { .zk = zk,
                                        .path = "/davit/master",
                                        .bytes = name,
                                        .len = strlen(name),
                                        .epoch_path = "/davit/epoch",
                                        .token = candidate->token,
                                        .on_leader = on_leader,
                                        .on_lost = on_lost,
                                        .data = candidate };

    election_start(&options, &candidate->election);
}

static void on_withdrawn(void *data)
{
    *(bool *)data = true;
}

static void on_joined(struct member *member, const char *path, const struct err *err, void *data)
{
    (void)member;
    (void)path;
    *(bool *)data = err->code == 0;
}

/* What it could not delete would stand before it for as long as the session lives. */
static void who_stands_again_does_not_wait_for_itself(void **state)
{
    struct fixture *f = *state;
    struct candidate a = { .token = "mine" };
    bool withdrawn = false;

    stand(f->a.zk, "a", &a);
    turn_until(f, a.led == 1);
    zk_server_kill(&server);
    turn_until(f, zk_state(f->a.zk) == ZK_SUSPENDED);
    uint64_t began_ms = clock_now_ms();
    election_close(a.election, on_withdrawn, &withdrawn);
    turn_until(f, withdrawn);
    assert_true(clock_now_ms() - began_ms < 1000); /* Nobody is there to wait for. */
    zk_server_spawn(&server);
    stand(f->a.zk, "a", &a);
    turn_until(f, a.led == 2);
    withdrawn = false;
    election_close(a.election, on_withdrawn, &withdrawn);
    turn_until(f, withdrawn);
}

static void a_member_ends_without_its_server(void **state)
{
    struct fixture *f = *state;
    struct member *member = NULL;
    bool told = false, closed = false;

    member_start(f->a.zk, "/m/a", "x", 1, 0, on_joined, &told, &member);
    turn_until(f, told);
    zk_server_kill(&server);
    turn_until(f, zk_state(f->a.zk) == ZK_SUSPENDED);
    uint64_t began_ms = clock_now_ms();
    member_close(member, on_withdrawn, &closed);
    turn_until(f, closed);
    assert_true(clock_now_ms() - began_ms < 5000);
    zk_server_spawn(&server);
    turn_until(f, zk_state(f->a.zk) == ZK_CONNECTED);
}

static char leader[32];

static void on_observed(const char *bytes, size_t len, void *data)
{
    (void)data;
    snprintf(leader, sizeof leader, "%.*s", (int)len, bytes);
}

static void one_leads_and_the_next_follows(void **state)
{
    struct fixture *f = *state;
    struct candidate a = { 0 }, b = { 0 };
    struct election_observer *observer = NULL;
    struct zk_multi *fenced = zk_multi_new();

    leader[0] = '\0';
    election_observe(f->b.zk, "/davit/master", on_observed, NULL, &observer);
    stand(f->a.zk, "a", &a);
    turn_until(f, a.led == 1 && str_eq(leader, "a"));
    stand(f->b.zk, "b", &b);
    election_fence(a.election, fenced);
    zk_multi_create(fenced, "/davit/mine", "", 0, 0);
    turn(f);
    assert_int_equal(b.led, 0);

    turn_b_until(f, b.led == 1); /* a hangs. */
    assert_true(b.epoch > a.epoch);
    turn_b_until(f, str_eq(leader, "b"));
    assert_int_equal(a.lost, 0);
    turn_until(f, a.lost == 1); /* It wakes up, and learns. */
    zk_commit(f->a.zk, &f->req, fenced, on_done);
    wait_done(f, ERR_CONFLICT);
    zk_multi_free(fenced);

    election_close(b.election, NULL, NULL);
    turn_until(f, a.led == 2);
    assert_true(a.epoch > b.epoch);
    zk_server_kill(&server); /* Too long without contact. */
    turn_until(f, a.lost == 2);
    zk_server_spawn(&server);
    turn_until(f, a.led == 3);
    election_observer_free(observer);
    election_close(a.election, NULL, NULL);
}

static void credentials_keep_others_out(void **state)
{
    struct fixture *f = *state;

    close_client(&f->a);
    f->a = (struct client){ 0 };
    uv_loop_init(&f->a.loop);
    open_client(&f->a, f->servers, "davit:secret", 10000);
    create(f, "/private", 0, 0);
    zk_get(f->a.zk, &f->req, "/private", on_got);
    wait_done(f, 0);
    zk_get(f->b.zk, &f->req, "/private", on_got);
    wait_done(f, ERR_DENIED);
}

/* The same of its parents, and of what a multi makes. */
static void everybody_may_read_what_is_for_the_world(void **state)
{
    struct fixture *f = *state;
    struct zk_multi *multi = zk_multi_new();

    close_client(&f->a);
    f->a = (struct client){ 0 };
    uv_loop_init(&f->a.loop);
    open_client(&f->a, f->servers, "davit:secret", 10000);
    create(f, "/shown/a/b", ZK_EPHEMERAL | ZK_MAKE_PARENTS | ZK_WORLD_READ, 0);
    zk_multi_create(multi, "/shown/a/c", "x", 1, ZK_WORLD_READ);
    zk_commit(f->a.zk, &f->req, multi, on_done);
    wait_done(f, 0);
    zk_multi_free(multi);
    zk_children(f->b.zk, &f->req, "/shown/a", on_done);
    wait_done(f, 0);
    for (size_t i = 0; i < 2; i++) {
        const char *path = i == 0 ? "/shown/a/b" : "/shown/a/c";

        zk_get(f->b.zk, &f->req, path, on_got);
        wait_done(f, 0);
        assert_string_equal(got, "x");
        zk_set(f->b.zk, &f->req, path, "y", 1, ZK_ANY_VERSION, on_done);
        wait_done(f, ERR_DENIED);
    }
    zk_create(f->b.zk, &f->req, "/shown/mine", "", 0, 0, on_done);
    wait_done(f, ERR_DENIED);
}

static void what_is_abandoned_stays_until_its_session_ends(void **state)
{
    struct fixture *f = *state;

    create(f, "/left", ZK_EPHEMERAL, 0);
    zk_abandon(TAKE(f->a.zk), NULL);
    uv_run(&f->a.loop, UV_RUN_DEFAULT);
    zk_exists(f->b.zk, &f->req, "/left", on_done);
    wait_done(f, 0);
    do {
        zk_exists(f->b.zk, &f->req, "/left", on_done);
        turn_until(f, f->fired == 1);
        f->fired = 0;
    } while (f->req.err.code == 0);
    assert_int_equal(f->req.err.code, ERR_NOTFOUND);
}

static void addresses_are_checked(void **state)
{
    struct fixture *f = *state;
    static const char *const bad[] = { "",
                                       "host",
                                       ":1",
                                       "127.0.0.1:0",
                                       "127.0.0.1:x",
                                       "127.0.0.1:1,",
                                       "127.0.0.1:1//a",
                                       "127.0.0.1:1/a/" };

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct zk *zk = NULL;
        struct err err = { 0 };
        assert_int_equal(
            zk_open(&(struct zk_options){ .loop = &f->a.loop, .servers = bad[i] }, &zk, &err),
            ERR_INVALID);
    }
}

static int start_server(void **state)
{
    (void)state;
    zk_server_start(&server, apache);
    return 0;
}

static int stop_server(void **state)
{
    (void)state;
    zk_server_stop(&server);
    return 0;
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(reads_and_writes),
        TEST(a_multi_is_all_or_nothing),
        TEST(thousands_at_once),
        TEST(canceled_and_forgotten),
        TEST(survives_a_restart),
        TEST(without_a_server_requests_end),
        TEST(a_frozen_server_leaves_writes_uncertain),
        TEST(watches_tell_each_state),
        TEST(thousands_of_watches),
        TEST(an_expired_session_is_renewed),
        TEST(one_leads_and_the_next_follows),
        TEST(who_stands_again_does_not_wait_for_itself),
        TEST(a_member_ends_without_its_server),
        TEST(credentials_keep_others_out),
        TEST(everybody_may_read_what_is_for_the_world),
        TEST(what_is_abandoned_stays_until_its_session_ends),
        TEST(addresses_are_checked),
    };

    if (argc > 2) {
        cmocka_set_test_filter(argv[2]);
    }
    log_init("test");
    apache = argc > 1 && str_eq(argv[1], "apache");
    if (apache &&
        (!file_exists("/usr/share/java/zookeeper.jar") || !file_exists("/usr/bin/java"))) {
        fputs("skipped: no java, or no zookeeper.jar (Debian's zookeeper package)\n", stderr);
        return 77;
    }
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
