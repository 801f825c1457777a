/* SPDX-License-Identifier: Apache-2.0 */

/* fuzz_store_frame: hostile frames against the store's codec and engine.
 *
 * Reaches jute_decode_connect(), jute_decode() and every request of engine.c,
 * through two connections of one engine.  Input: records of one control byte
 * (bit 0 which connection, bit 1 time passes, bit 2 the frame is a hello), two
 * bytes of length, and the frame.
 *
 *   CC=clang meson setup build-fuzz -Dfuzz=true
 *   ninja -C build-fuzz src/store/fuzz_store_frame
 *   build-fuzz/src/store/fuzz_store_frame -seed=1 -runs=1000000 -max_len=4096
 */

#include "store/engine.h"

#include <string.h>
#include <utlist.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char PASSWD[JUTE_PASSWD_SIZE] = "0123456789abcde";

struct world {
    struct engine engine;
    struct engine_client clients[2];
    struct engine_now now;
};

static void forget_touched(struct engine *engine)
{
    while (engine->touched != NULL) {
        struct engine_client *client = engine->touched;

        LL_DELETE2(engine->touched, client, touched_next);
        client->touched = false;
        buf_clear(&client->out);
    }
}

/* A connection that the engine hung up on is replaced by a new one. */
static void renew(struct world *world, struct engine_client *client)
{
    CLEANUP_BUF hello = { 0 };
    struct jute_connect connect = { .timeout_ms = 5000 };

    forget_touched(&world->engine);
    engine_client_fini(&world->engine, client);
    engine_client_init(client, "127.0.0.1");
    jute_put_connect_request(&hello, &connect);
    engine_connect(&world->engine, client, hello.data + 4, hello.len - 4, world->now, PASSWD);
    forget_touched(&world->engine);
}

static void deliver(struct world *world, uint8_t control, const char *frame, size_t len)
{
    struct engine_client *client = &world->clients[control & 1];

    if ((control & 2) != 0) {
        world->now.mono_ms += 1500;
        (void)engine_expire(&world->engine, world->now);
    }
    if (client->session == NULL || client->closing) {
        renew(world, client);
    }
    if ((control & 4) != 0) {
        struct engine_client guest;

        engine_client_init(&guest, "10.0.0.1");
        engine_connect(&world->engine, &guest, frame, len, world->now, PASSWD);
        forget_touched(&world->engine);
        engine_client_fini(&world->engine, &guest);
    } else {
        engine_request(&world->engine, client, frame, len, world->now);
    }
    forget_touched(&world->engine);
}

/* Every node's count is the length of its list, and it is found by its path. */
static size_t check(const struct znode_tree *tree, const struct znode *node)
{
    CLEANUP_BUF path = { 0 };
    size_t n = 1;
    int32_t n_children = 0;

    znode_path(node, &path);
    assert(znode_find(tree, path.data) == node);
    for (const struct znode *child = node->first_child; child != NULL; child = child->next) {
        n += check(tree, child);
        n_children++;
    }
    assert(n_children == node->n_children);
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct engine_limits limits = { 1000, 10000 };
    struct world world = { .now = { 1000, 1790000000000 } };

    engine_init(&world.engine, &limits, 1);
    znode_tree_plant(&world.engine.tree);
    engine_client_init(&world.clients[0], "127.0.0.1");
    engine_client_init(&world.clients[1], "127.0.0.1");
    while (size >= 3) {
        size_t len = (size_t)data[1] << 8 | data[2];

        len = len < size - 3 ? len : size - 3;
        /* A copy of exactly its length, so that the sanitizer sees each overread. */
        CLEANUP(mem_freep) char *frame = mem_alloc(len + (len == 0));

        memcpy(frame, data + 3, len);
        deliver(&world, data[0], frame, len);
        data += 3 + len;
        size -= 3 + len;
    }
    assert(check(&world.engine.tree, world.engine.tree.root) == world.engine.tree.n_nodes);
    engine_client_fini(&world.engine, &world.clients[0]);
    engine_client_fini(&world.engine, &world.clients[1]);
    engine_fini(&world.engine);
    return 0;
}
