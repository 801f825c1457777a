/* SPDX-License-Identifier: Apache-2.0 */
#include "store/engine.h"
#include "store/ledger.h"

#include "base/fault.h"
#include "base/file.h"
#include "base/str.h"

#include "test.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <utlist.h>

static const char PASSWD[JUTE_PASSWD_SIZE] = "0123456789abcde";
/* Without the padding behind the last member. */
enum { STAT_BYTES = offsetof(struct jute_stat, n_children) + sizeof(int32_t) };
static const struct engine_limits LIMITS = { 1000, 10000 };

struct world {
    struct engine engine;
    struct engine_client a;
    struct engine_client b;
    struct engine_now now;
};

static void say_hello(struct world *world, struct engine_client *client, int64_t session,
                      const char *passwd)
{
    CLEANUP_BUF frame = { 0 };
    struct jute_connect hello = { .timeout_ms = 5000, .session = session };

    memcpy(hello.passwd, passwd, sizeof hello.passwd);
    jute_put_connect_request(&frame, &hello);
    engine_connect(&world->engine, client, frame.data + 4, frame.len - 4, world->now, PASSWD);
    buf_clear(&client->out);
}

static void connect_both(struct world *world)
{
    engine_client_init(&world->a, "127.0.0.1");
    engine_client_init(&world->b, "10.0.0.9");
    say_hello(world, &world->a, 0, PASSWD);
    say_hello(world, &world->b, 0, PASSWD);
}

static int set_up(void **state)
{
    struct world *world = mem_alloc(sizeof *world);

    world->now = (struct engine_now){ 1000, UINT64_C(1790000000000) };
    engine_init(&world->engine, &LIMITS, 99);
    znode_tree_plant(&world->engine.tree);
    connect_both(world);
    *state = world;
    return 0;
}

static void forget_touched(struct engine *engine)
{
    while (engine->touched != NULL) {
        struct engine_client *client = engine->touched;

        LL_DELETE2(engine->touched, client, touched_next);
        client->touched = false;
    }
}

static int tear_down(void **state)
{
    struct world *world = *state;

    forget_touched(&world->engine);
    engine_client_fini(&world->engine, &world->a);
    engine_client_fini(&world->engine, &world->b);
    engine_fini(&world->engine);
    free(world);
    return 0;
}

/* The first frame in out, which is then gone; xid -1 is a notification. */
static struct jute_reply next(struct engine_client *client, int32_t type)
{
    struct jute_reply reply = { 0 };
    struct err err = { 0 };
    uint32_t raw = 0;

    assert_true(client->out.len >= 20);
    memcpy(&raw, client->out.data, sizeof raw);
    assert_int_equal(jute_decode_reply(client->out.data + 4, ntohl(raw), type, &reply, &err), 0);
    buf_drop(&client->out, 4 + ntohl(raw));
    return reply;
}

static void send_call(struct world *world, struct engine_client *client, struct jute_call *call)
{
    CLEANUP_BUF frame = { 0 };
    struct jute_acl all = { ACL_ALL, (char *)"world", (char *)"anyone" };

    if (call->acl == NULL) {
        call->acl = &all;
        call->n_acl = 1;
    }
    jute_put_call(&frame, 5, call);
    engine_request(&world->engine, client, frame.data + 4, frame.len - 4, world->now);
    if (call->acl == &all) {
        call->acl = NULL;
    }
}

/* Send it and take the answer behind any notifications; the error code. */
static int32_t ask(struct world *world, struct engine_client *client, struct jute_call call)
{
    int32_t code = 0;
    int32_t xid = JUTE_XID_EVENT;

    send_call(world, client, &call);
    while (xid == JUTE_XID_EVENT) {
        CLEANUP(jute_reply_fini) struct jute_reply reply = next(client, JUTE_PING);

        xid = reply.xid;
        code = reply.code;
    }
    return code;
}

#define CALL(...) ((struct jute_call){ __VA_ARGS__ })

static int32_t make(struct world *world, const char *path, int32_t flags)
{
    return ask(world, &world->a,
               CALL(.type = JUTE_CREATE, .path = (char *)(uintptr_t)path, .flags = flags));
}

static void create_and_refusals(void **state)
{
    struct world *world = *state;
    int64_t zxid = world->engine.tree.zxid;

    assert_int_equal(make(world, "/a", 0), Z_OK);
    assert_int_equal(world->engine.tree.zxid, zxid + 1);
    assert_int_equal(make(world, "/a", 0), Z_NODEEXISTS);
    assert_int_equal(make(world, "/x/y", 0), Z_NONODE);
    assert_int_equal(make(world, "/a/", 0), Z_BADARGUMENTS);
    assert_int_equal(make(world, "/c", 4), Z_UNIMPLEMENTED);
    assert_int_equal(make(world, "/c", 7), Z_BADARGUMENTS);
    assert_int_equal(world->engine.tree.zxid, zxid + 1); /* A failure takes no zxid. */
}

static void notification_stands_before_the_answer(void **state)
{
    struct world *world = *state;

    assert_int_equal(make(world, "/a", 0), Z_OK);
    assert_int_equal(
        ask(world, &world->a, CALL(.type = JUTE_GET_DATA, .path = (char *)"/a", .watch = true)),
        Z_OK);
    struct jute_call set = { .type = JUTE_SET_DATA, .path = (char *)"/a", .version = -1 };

    send_call(world, &world->a, &set);
    struct jute_reply first = next(&world->a, JUTE_PING);
    struct jute_reply second = next(&world->a, JUTE_PING);

    assert_int_equal(first.xid, JUTE_XID_EVENT);
    assert_int_equal(second.xid, 5);
}

/* A multi by hand: create /m, delete /missing. */
static void failed_multi_leaves_no_trace(void **state)
{
    struct world *world = *state;
    CLEANUP_BUF frame = { 0 };
    CLEANUP_BUF part = { 0 };
    struct jute_acl all = { ACL_ALL, (char *)"world", (char *)"anyone" };
    struct jute_call calls[] = {
        { .type = JUTE_CREATE, .path = (char *)"/m", .acl = &all, .n_acl = 1, .flags = 1 },
        { .type = JUTE_SET_DATA,
          .path = (char *)"/a",
          .data = { (char *)"new", 3 },
          .version = -1 },
        { .type = JUTE_DELETE, .path = (char *)"/a", .version = -1 },
        { .type = JUTE_DELETE, .path = (char *)"/missing", .version = -1 },
    };

    assert_int_equal(make(world, "/a", 0), Z_OK);
    struct jute_stat root = znode_stat(world->engine.tree.root);
    int64_t zxid = world->engine.tree.zxid;

    znode_log_clear(&world->engine.tree);
    buf_add(&frame, "\0\0\0\7\0\0\0\16", 8);
    for (size_t i = 0; i < 4; i++) {
        uint32_t type = htonl((uint32_t)calls[i].type);

        buf_clear(&part);
        jute_put_call(&part, 0, &calls[i]);
        buf_add(&frame, &type, 4);
        buf_add(&frame, "\0\xff\xff\xff\xff", 5);
        buf_add(&frame, part.data + 12, part.len - 12);
    }
    buf_add(&frame, "\xff\xff\xff\xff\1\xff\xff\xff\xff", 9);
    engine_request(&world->engine, &world->a, frame.data, frame.len, world->now);

    struct jute_stat after = znode_stat(world->engine.tree.root);

    assert_memory_equal(&root, &after, STAT_BYTES);
    assert_int_equal(world->engine.tree.zxid, zxid);
    assert_null(znode_find(&world->engine.tree, "/m"));
    assert_int_equal(znode_find(&world->engine.tree, "/a")->version, 0);
    assert_null(world->engine.tree.log.dirty);
    assert_null(world->a.session->owned);
    assert_int_equal(world->engine.tree.n_ephemeral, 0);
}

static void sessions_expire_with_their_nodes(void **state)
{
    struct world *world = *state;

    assert_int_equal(make(world, "/e", 1), Z_OK);
    world->now.mono_ms += 4999;
    (void)ask(world, &world->b, CALL(.type = JUTE_PING));
    assert_int_equal(engine_expire(&world->engine, world->now), world->now.mono_ms + 1);
    assert_non_null(znode_find(&world->engine.tree, "/e"));
    world->now.mono_ms += 1;
    (void)engine_expire(&world->engine, world->now);
    assert_null(znode_find(&world->engine.tree, "/e"));
    assert_true(world->a.closing && world->a.session == NULL);
    assert_false(world->b.closing);
}

static void reattaching_needs_the_password(void **state)
{
    struct world *world = *state;
    struct engine_client third;
    int64_t id = world->a.session->id;

    engine_client_init(&third, "127.0.0.1");
    say_hello(world, &third, id, "wrong-password!");
    assert_true(third.closing && third.session == NULL);
    assert_non_null(world->a.session); /* and does not disturb who has it */
    forget_touched(&world->engine);
    engine_client_fini(&world->engine, &third);

    engine_client_init(&third, "127.0.0.1");
    say_hello(world, &third, id, PASSWD);
    assert_true(third.session != NULL && third.session->id == id);
    assert_true(world->a.closing && world->a.session == NULL);
    forget_touched(&world->engine);
    engine_client_fini(&world->engine, &third);
}

static void acl_by_address_and_digest(void **state)
{
    struct world *world = *state;
    struct jute_acl near = { ACL_READ, (char *)"ip", (char *)"127.0.0.0/8" };
    struct jute_call get = { .type = JUTE_GET_DATA, .path = (char *)"/near" };

    assert_int_equal(
        ask(world, &world->a,
            CALL(.type = JUTE_CREATE, .path = (char *)"/near", .acl = &near, .n_acl = 1)),
        Z_OK);
    assert_int_equal(ask(world, &world->a, get), Z_OK);
    assert_int_equal(ask(world, &world->b, get), Z_NOAUTH);
    assert_int_equal(
        ask(world, &world->a, CALL(.type = JUTE_SET_DATA, .path = (char *)"/near", .version = -1)),
        Z_NOAUTH);

    struct jute_bytes secret = { (char *)"user:pass", 9 };
    struct acl_who who = { 0 };

    assert_true(acl_authenticate(&who, "digest", &secret));
    assert_false(acl_authenticate(&who, "nonsense", &secret));
    assert_true(str_starts(who.ids[0].id, "user:"));
    assert_string_equal(who.ids[0].id, "user:smGaoVKd/cQkjm7b88GyorAUz20=");
    acl_who_fini(&who);
}

/* ---- with the ledger --------------------------------------------------- */

struct place {
    char dir[64];
};

static int place_make(void **state)
{
    struct place *place = mem_alloc(sizeof *place);

    (void)snprintf(place->dir, sizeof place->dir, "/tmp/davit-engine-XXXXXX");
    assert_non_null(mkdtemp(place->dir));
    *state = place;
    return 0;
}

static int place_drop(void **state)
{
    struct place *place = *state;
    struct err err = { 0 };

    assert_int_equal(file_remove_tree(place->dir, &err), 0);
    free(place);
    return 0;
}

static struct world *load(const struct place *place, struct ledger **ret_ledger)
{
    struct world *world = mem_alloc(sizeof *world);
    struct err err = { 0 };

    world->now = (struct engine_now){ 1000, UINT64_C(1790000000000) };
    engine_init(&world->engine, &LIMITS, 3);
    assert_int_equal(ledger_open(place->dir, &world->engine, 1000, ret_ledger, &err), 0);
    connect_both(world);
    return world;
}

static void unload(struct world *world, struct ledger *ledger)
{
    void *state = world;

    ledger_close(ledger);
    (void)tear_down(&state);
}

static void what_was_committed_comes_back(void **state)
{
    struct ledger *ledger = NULL;
    struct world *world = load(*state, &ledger);
    struct err err = { 0 };

    assert_int_equal(make(world, "/a", 0), Z_OK);
    assert_int_equal(make(world, "/a/s-", 3), Z_OK);
    assert_int_equal(make(world, "/gone", 0), Z_OK);
    assert_int_equal(ledger_commit(ledger, &world->engine, &err), 0);
    assert_int_equal(
        ask(world, &world->a, CALL(.type = JUTE_DELETE, .path = (char *)"/gone", .version = -1)),
        Z_OK);
    assert_int_equal(
        ask(world, &world->a,
            CALL(.type = JUTE_SET_DATA, .path = (char *)"/a", .data = { NULL, -1 }, .version = -1)),
        Z_OK);
    assert_int_equal(ledger_commit(ledger, &world->engine, &err), 0);
    assert_false(engine_changed(&world->engine));
    struct jute_stat a = znode_stat(znode_find(&world->engine.tree, "/a"));
    struct jute_stat root = znode_stat(world->engine.tree.root);
    int64_t zxid = world->engine.tree.zxid;
    int64_t session = world->a.session->id;
    assert_int_equal(make(world, "/not-committed", 0), Z_OK);
    unload(world, ledger);

    world = load(*state, &ledger);
    struct jute_stat a2 = znode_stat(znode_find(&world->engine.tree, "/a"));
    struct jute_stat root2 = znode_stat(world->engine.tree.root);
    assert_memory_equal(&a, &a2, STAT_BYTES);
    assert_memory_equal(&root, &root2, STAT_BYTES);
    assert_int_equal(znode_find(&world->engine.tree, "/a")->data.len, -1);
    assert_int_equal(world->engine.tree.zxid, zxid + 2); /* and two new sessions */
    assert_null(znode_find(&world->engine.tree, "/gone"));
    assert_null(znode_find(&world->engine.tree, "/not-committed"));
    struct zsession *back = zsession_find(&world->engine.sessions, session);
    assert_non_null(back);
    assert_memory_equal(back->passwd, PASSWD, sizeof PASSWD);
    assert_ptr_equal(back->owned, znode_find(&world->engine.tree, "/a/s-0000000000"));
    unload(world, ledger);
}

/* An end of session without nodes is in no row: meta has to keep the zxid. */
static void zxid_never_goes_back(void **state)
{
    struct ledger *ledger = NULL;
    struct world *world = load(*state, &ledger);
    struct err err = { 0 };

    (void)ask(world, &world->a, CALL(.type = JUTE_CLOSE));
    assert_int_equal(ledger_commit(ledger, &world->engine, &err), 0);
    int64_t zxid = world->engine.tree.zxid;
    unload(world, ledger);

    struct engine engine;
    engine_init(&engine, &LIMITS, 3);
    assert_int_equal(ledger_open(((struct place *)*state)->dir, &engine, 1000, &ledger, &err), 0);
    assert_int_equal(engine.tree.zxid, zxid);
    ledger_close(ledger);
    engine_fini(&engine);
}

#ifdef WITH_FAULTS
/* Each crossing of the disk in a commit fails once: always an error, never a crash,
 * and what was committed before is there afterwards. */
static void torture_commit(void **state)
{
    for (int nth = 1;; nth++) {
        struct ledger *ledger = NULL;
        struct world *world = load(*state, &ledger);
        struct err err = { 0 };

        assert_int_equal(ledger_commit(ledger, &world->engine, &err), 0);
        (void)make(world, "/t", 0);
        fault_arm(nth, ERR_IO);
        int rv = ledger_commit(ledger, &world->engine, &err);
        int hits = fault_hits();

        fault_arm(0, 0);
        unload(world, ledger);
        if (hits < nth) {
            assert_int_equal(rv, 0);
            return;
        }
        assert_int_equal(rv, ERR_IO);
        struct engine engine;
        engine_init(&engine, &LIMITS, 3);
        assert_int_equal(ledger_open(((struct place *)*state)->dir, &engine, 1000, &ledger, &err),
                         0);
        assert_null(znode_find(&engine.tree, "/t"));
        ledger_close(ledger);
        engine_fini(&engine);
    }
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(create_and_refusals, set_up, tear_down),
        cmocka_unit_test_setup_teardown(notification_stands_before_the_answer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(failed_multi_leaves_no_trace, set_up, tear_down),
        cmocka_unit_test_setup_teardown(sessions_expire_with_their_nodes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(reattaching_needs_the_password, set_up, tear_down),
        cmocka_unit_test_setup_teardown(acl_by_address_and_digest, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_was_committed_comes_back, place_make, place_drop),
        cmocka_unit_test_setup_teardown(zxid_never_goes_back, place_make, place_drop),
#ifdef WITH_FAULTS
        cmocka_unit_test_setup_teardown(torture_commit, place_make, place_drop),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
