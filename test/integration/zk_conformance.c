/* SPDX-License-Identifier: Apache-2.0 */

/* zk_conformance: what a program linked with libzookeeper sees of a server.
 *
 *   zk_conformance --list              the names of the cases
 *   zk_conformance HOST:PORT CASE      run one; status 0, or 1 and what was wrong
 *
 * Run by test_store_conformance.py against davit-store and a real ZooKeeper.
 * Every wait is a loop over zookeeper_interest() and zookeeper_process() under a
 * deadline.
 */

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <zookeeper/zookeeper.h>

enum { DEADLINE_S = 15, SESSION_MS = 4000, MAX_EVENTS = 64 };

#define EXPECT(condition)                                                           \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            exit(1);                                                                \
        }                                                                           \
    } while (0)

struct event {
    int type;
    char path[128];
};

static const char *address;
static char root[64];
static struct event events[MAX_EVENTS];
static int n_events;

struct outcome {
    bool done;
    int rc;
    char text[256];
    int len;
    struct Stat stat;
    int n_children;
    int n_acl;
};

static void on_event(zhandle_t *zh, int type, int state, const char *path, void *context)
{
    (void)zh;
    (void)state;
    (void)context;
    if (type != ZOO_SESSION_EVENT && n_events < MAX_EVENTS) {
        events[n_events].type = type;
        (void)snprintf(events[n_events++].path, sizeof events[0].path, "%s", path);
    }
}

/* One round of the library's loop. */
static void turn(zhandle_t *zh)
{
    struct timeval wait = { 0 };
    int fd = -1;
    int interest = 0;

    (void)zookeeper_interest(zh, &fd, &interest, &wait);
    struct pollfd one = { .fd = fd,
                          .events = (short)(((interest & ZOOKEEPER_READ) ? POLLIN : 0) |
                                            ((interest & ZOOKEEPER_WRITE) ? POLLOUT : 0)) };
    int ms = (int)(wait.tv_sec * 1000 + wait.tv_usec / 1000);

    (void)poll(&one, fd >= 0 ? 1 : 0, ms < 100 ? ms : 100);
    int got = ((one.revents & (POLLIN | POLLHUP | POLLERR)) ? ZOOKEEPER_READ : 0) |
              ((one.revents & POLLOUT) ? ZOOKEEPER_WRITE : 0);

    (void)zookeeper_process(zh, got);
}

static void until(zhandle_t *zh, const bool *done)
{
    time_t end = time(NULL) + DEADLINE_S;

    while (!*done) {
        EXPECT(time(NULL) < end);
        turn(zh);
    }
}

static void until_events(zhandle_t *zh, int n)
{
    time_t end = time(NULL) + DEADLINE_S;

    while (n_events < n) {
        EXPECT(time(NULL) < end);
        turn(zh);
    }
}

static void until_state(zhandle_t *zh, int state)
{
    time_t end = time(NULL) + DEADLINE_S;

    while (zoo_state(zh) != state) {
        EXPECT(time(NULL) < end);
        turn(zh);
    }
}

static zhandle_t *open_client(const clientid_t *id)
{
    zhandle_t *zh = zookeeper_init(address, on_event, SESSION_MS, id, NULL, 0);

    EXPECT(zh != NULL);
    until_state(zh, ZOO_CONNECTED_STATE);
    return zh;
}

/* ---- completions ------------------------------------------------------ */

static void on_void(int rc, const void *data)
{
    struct outcome *out = (struct outcome *)(uintptr_t)data;

    out->rc = rc;
    out->done = true;
}

static void on_string(int rc, const char *value, const void *data)
{
    struct outcome *out = (struct outcome *)(uintptr_t)data;

    (void)snprintf(out->text, sizeof out->text, "%s", value != NULL ? value : "");
    on_void(rc, data);
}

static void on_stat(int rc, const struct Stat *stat, const void *data)
{
    struct outcome *out = (struct outcome *)(uintptr_t)data;

    if (stat != NULL) {
        out->stat = *stat;
    }
    on_void(rc, data);
}

static void on_string_stat(int rc, const char *value, const struct Stat *stat, const void *data)
{
    on_stat(rc, stat, data);
    on_string(rc, value, data);
}

static void on_data(int rc, const char *value, int len, const struct Stat *stat, const void *data)
{
    struct outcome *out = (struct outcome *)(uintptr_t)data;

    out->len = len;
    if (len > 0 && (size_t)len < sizeof out->text) {
        memcpy(out->text, value, (size_t)len);
    }
    on_stat(rc, stat, data);
}

static void on_strings(int rc, const struct String_vector *strings, const struct Stat *stat,
                       const void *data)
{
    struct outcome *out = (struct outcome *)(uintptr_t)data;

    out->n_children = strings != NULL ? strings->count : 0;
    on_stat(rc, stat, data);
}

static void on_acl(int rc, struct ACL_vector *acl, struct Stat *stat, const void *data)
{
    struct outcome *out = (struct outcome *)(uintptr_t)data;

    out->n_acl = acl != NULL ? acl->count : 0;
    if (out->n_acl > 0) {
        (void)snprintf(out->text, sizeof out->text, "%s:%s", acl->data[0].id.scheme,
                       acl->data[0].id.id);
    }
    on_stat(rc, stat, data);
}

static const char *at(const char *name)
{
    static char paths[8][128];
    static int next;
    char *path = paths[next++ % 8];

    (void)snprintf(path, 128, "%s%s", root, name);
    return path;
}

static int create(zhandle_t *zh, const char *path, int flags)
{
    struct outcome out = { 0 };

    EXPECT(zoo_acreate(zh, path, "x", 1, &ZOO_OPEN_ACL_UNSAFE, flags, on_string, &out) == ZOK);
    until(zh, &out.done);
    return out.rc;
}

static int set(zhandle_t *zh, const char *path, const char *value, int version)
{
    struct outcome out = { 0 };

    EXPECT(zoo_aset(zh, path, value, (int)strlen(value), version, on_stat, &out) == ZOK);
    until(zh, &out.done);
    return out.rc;
}

static int delete (zhandle_t *zh, const char *path)
{
    struct outcome out = { 0 };

    EXPECT(zoo_adelete(zh, path, -1, on_void, &out) == ZOK);
    until(zh, &out.done);
    return out.rc;
}

static struct outcome get(zhandle_t *zh, const char *path, bool watch)
{
    struct outcome out = { 0 };

    EXPECT(zoo_awget(zh, path, watch ? on_event : NULL, NULL, on_data, &out) == ZOK);
    until(zh, &out.done);
    return out;
}

static struct outcome exists(zhandle_t *zh, const char *path, bool watch)
{
    struct outcome out = { 0 };

    EXPECT(zoo_awexists(zh, path, watch ? on_event : NULL, NULL, on_stat, &out) == ZOK);
    until(zh, &out.done);
    return out;
}

static struct outcome children(zhandle_t *zh, const char *path, bool watch)
{
    struct outcome out = { 0 };

    EXPECT(zoo_awget_children2(zh, path, watch ? on_event : NULL, NULL, on_strings, &out) == ZOK);
    until(zh, &out.done);
    return out;
}

/* Cut the connection under the library; it comes back by itself. */
static void cut(zhandle_t *zh)
{
    struct timeval wait = { 0 };
    int fd = -1;
    int interest = 0;

    (void)zookeeper_interest(zh, &fd, &interest, &wait);
    EXPECT(shutdown(fd, SHUT_RDWR) == 0);
    time_t end = time(NULL) + DEADLINE_S;

    while (zoo_state(zh) == ZOO_CONNECTED_STATE) {
        EXPECT(time(NULL) < end);
        turn(zh);
    }
}

/* ---- cases ------------------------------------------------------------ */

static void create_get_set_delete(zhandle_t *zh)
{
    EXPECT(create(zh, at("/a"), 0) == ZOK);
    EXPECT(create(zh, at("/a"), 0) == ZNODEEXISTS);
    EXPECT(set(zh, at("/a"), "value", 0) == ZOK);
    EXPECT(set(zh, at("/a"), "value", 0) == ZBADVERSION);
    struct outcome got = get(zh, at("/a"), false);

    EXPECT(got.rc == ZOK && got.len == 5 && strcmp(got.text, "value") == 0);
    EXPECT(got.stat.version == 1 && got.stat.dataLength == 5);
    EXPECT(delete (zh, at("/a")) == ZOK);
    EXPECT(get(zh, at("/a"), false).rc == ZNONODE);
}

static void create2_gives_the_stat(zhandle_t *zh)
{
    struct outcome out = { 0 };

    EXPECT(zoo_acreate2(zh, at("/a"), "xy", 2, &ZOO_OPEN_ACL_UNSAFE, 0, on_string_stat, &out) ==
           ZOK);
    until(zh, &out.done);
    EXPECT(out.rc == ZOK && strcmp(out.text, at("/a")) == 0);
    EXPECT(out.stat.dataLength == 2 && out.stat.czxid == out.stat.pzxid);
}

static void null_data(zhandle_t *zh)
{
    struct outcome out = { 0 };

    EXPECT(zoo_acreate(zh, at("/a"), NULL, -1, &ZOO_OPEN_ACL_UNSAFE, 0, on_string, &out) == ZOK);
    until(zh, &out.done);
    EXPECT(out.rc == ZOK && get(zh, at("/a"), false).len == -1);
}

static void ephemeral_sequence(zhandle_t *zh)
{
    struct outcome out = { 0 };

    EXPECT(zoo_acreate(zh, at("/e-"), "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_EPHEMERAL | ZOO_SEQUENCE,
                       on_string, &out) == ZOK);
    until(zh, &out.done);
    EXPECT(out.rc == ZOK && strcmp(out.text, at("/e-0000000000")) == 0);
    EXPECT(exists(zh, out.text, false).stat.ephemeralOwner == zoo_client_id(zh)->client_id);
    EXPECT(create(zh, at("/e-0000000000/x"), 0) == ZNOCHILDRENFOREPHEMERALS);
}

static void children_and_stat(zhandle_t *zh)
{
    EXPECT(create(zh, at("/a"), 0) == ZOK && create(zh, at("/b"), 0) == ZOK);
    struct outcome got = children(zh, root, false);

    EXPECT(got.n_children == 2 && got.stat.numChildren == 2 && got.stat.cversion == 2);
    EXPECT(delete (zh, root) == ZNOTEMPTY);
}

static void data_watch(zhandle_t *zh)
{
    EXPECT(get(zh, root, true).rc == ZOK);
    EXPECT(set(zh, root, "1", -1) == ZOK && set(zh, root, "2", -1) == ZOK);
    EXPECT(n_events == 1 && events[0].type == ZOO_CHANGED_EVENT);
    EXPECT(strcmp(events[0].path, root) == 0);
}

static void exists_watch(zhandle_t *zh)
{
    EXPECT(exists(zh, at("/a"), true).rc == ZNONODE);
    EXPECT(create(zh, at("/a"), 0) == ZOK && n_events == 1);
    EXPECT(exists(zh, at("/a"), true).rc == ZOK);
    EXPECT(delete (zh, at("/a")) == ZOK && n_events == 2);
    EXPECT(events[0].type == ZOO_CREATED_EVENT && events[1].type == ZOO_DELETED_EVENT);
}

static void child_watch(zhandle_t *zh)
{
    EXPECT(children(zh, root, true).rc == ZOK);
    EXPECT(create(zh, at("/a"), 0) == ZOK && create(zh, at("/b"), 0) == ZOK);
    EXPECT(n_events == 1 && events[0].type == ZOO_CHILD_EVENT);
}

static void watch_from_another(zhandle_t *zh)
{
    zhandle_t *other = open_client(NULL);

    EXPECT(get(zh, root, true).rc == ZOK);
    EXPECT(set(other, root, "other", -1) == ZOK);
    until_events(zh, 1);
    EXPECT(strcmp(get(zh, root, false).text, "other") == 0);
    EXPECT(zookeeper_close(other) == ZOK);
}

static void ephemeral_goes_with_close(zhandle_t *zh)
{
    zhandle_t *other = open_client(NULL);

    EXPECT(create(other, at("/e"), ZOO_EPHEMERAL) == ZOK);
    EXPECT(exists(zh, at("/e"), true).rc == ZOK);
    EXPECT(zookeeper_close(other) == ZOK);
    until_events(zh, 1);
    EXPECT(events[0].type == ZOO_DELETED_EVENT && exists(zh, at("/e"), false).rc == ZNONODE);
}

static void multi_all(zhandle_t *zh)
{
    zoo_op_t ops[3];
    zoo_op_result_t results[3];
    struct Stat stat = { 0 };
    struct outcome out = { 0 };
    char path[128] = "";

    zoo_create_op_init(&ops[0], at("/a"), "1", 1, &ZOO_OPEN_ACL_UNSAFE, 0, path, sizeof path);
    zoo_set_op_init(&ops[1], at("/a"), "22", 2, 0, &stat);
    zoo_check_op_init(&ops[2], at("/a"), 1);
    EXPECT(zoo_amulti(zh, 3, ops, results, on_void, &out) == ZOK);
    until(zh, &out.done);
    EXPECT(out.rc == ZOK && strcmp(path, at("/a")) == 0);
    EXPECT(stat.version == 1 && stat.dataLength == 2);
    EXPECT(results[0].err == ZOK && results[1].err == ZOK && results[2].err == ZOK);
}

static void multi_nothing(zhandle_t *zh)
{
    zoo_op_t ops[3];
    zoo_op_result_t results[3];
    struct outcome out = { 0 };

    zoo_create_op_init(&ops[0], at("/a"), "1", 1, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0);
    zoo_delete_op_init(&ops[1], at("/missing"), -1);
    zoo_create_op_init(&ops[2], at("/b"), "1", 1, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0);
    EXPECT(zoo_amulti(zh, 3, ops, results, on_void, &out) == ZOK);
    until(zh, &out.done);
    EXPECT(out.rc == ZNONODE);
    EXPECT(results[0].err == ZOK && results[1].err == ZNONODE);
    EXPECT(results[2].err == ZRUNTIMEINCONSISTENCY);
    EXPECT(exists(zh, at("/a"), false).rc == ZNONODE);
}

static void digest_auth(zhandle_t *zh)
{
    struct outcome out = { 0 };
    struct outcome made = { 0 };
    struct outcome acl = { 0 };
    zhandle_t *other = open_client(NULL);

    EXPECT(zoo_add_auth(zh, "digest", "u:p", 3, on_void, &out) == ZOK);
    until(zh, &out.done);
    EXPECT(out.rc == ZOK);
    EXPECT(zoo_acreate(zh, at("/a"), "x", 1, &ZOO_CREATOR_ALL_ACL, 0, on_string, &made) == ZOK);
    until(zh, &made.done);
    EXPECT(made.rc == ZOK && get(zh, at("/a"), false).rc == ZOK);
    EXPECT(get(other, at("/a"), false).rc == ZNOAUTH);
    EXPECT(zoo_aget_acl(zh, at("/a"), on_acl, &acl) == ZOK);
    until(zh, &acl.done);
    EXPECT(acl.n_acl == 1 && strncmp(acl.text, "digest:u:", 9) == 0);
    EXPECT(zookeeper_close(other) == ZOK);
}

static void bad_auth_ends_it(zhandle_t *zh)
{
    struct outcome out = { 0 };

    EXPECT(zoo_add_auth(zh, "nonsense", "u:p", 3, on_void, &out) == ZOK);
    until(zh, &out.done);
    EXPECT(out.rc == ZAUTHFAILED);
    EXPECT(zoo_state(zh) == ZOO_AUTH_FAILED_STATE);
}

static void reconnect_keeps_the_session(zhandle_t *zh)
{
    int64_t id = zoo_client_id(zh)->client_id;

    EXPECT(create(zh, at("/e"), ZOO_EPHEMERAL) == ZOK);
    cut(zh);
    until_state(zh, ZOO_CONNECTED_STATE);
    EXPECT(zoo_client_id(zh)->client_id == id);
    EXPECT(exists(zh, at("/e"), false).stat.ephemeralOwner == id);
}

static void reconnect_brings_watches_back(zhandle_t *zh)
{
    zhandle_t *other = open_client(NULL);

    EXPECT(create(zh, at("/missed"), 0) == ZOK && create(zh, at("/later"), 0) == ZOK);
    EXPECT(get(zh, at("/missed"), true).rc == ZOK && get(zh, at("/later"), true).rc == ZOK);
    EXPECT(exists(zh, at("/unborn"), true).rc == ZNONODE);
    cut(zh);
    EXPECT(set(other, at("/missed"), "new", -1) == ZOK);
    until_state(zh, ZOO_CONNECTED_STATE);
    until_events(zh, 1);
    EXPECT(strcmp(events[0].path, at("/missed")) == 0 && events[0].type == ZOO_CHANGED_EVENT);
    EXPECT(set(other, at("/later"), "new", -1) == ZOK);
    EXPECT(create(other, at("/unborn"), 0) == ZOK);
    until_events(zh, 3);
    EXPECT(zookeeper_close(other) == ZOK);
}

static void reattach_by_id(zhandle_t *zh)
{
    clientid_t id = *zoo_client_id(zh);
    zhandle_t *again = open_client(&id);

    EXPECT(zoo_client_id(again)->client_id == id.client_id);
    EXPECT(zookeeper_close(again) == ZOK);
}

static void wrong_password_expires(zhandle_t *zh)
{
    clientid_t id = *zoo_client_id(zh);

    id.passwd[0] = (char)(id.passwd[0] ^ 1);
    zhandle_t *again = zookeeper_init(address, on_event, SESSION_MS, &id, NULL, 0);

    EXPECT(again != NULL);
    until_state(again, ZOO_EXPIRED_SESSION_STATE);
    (void)zookeeper_close(again);
}

static void sync_and_timeout(zhandle_t *zh)
{
    struct outcome out = { 0 };

    EXPECT(zoo_async(zh, root, on_string, &out) == ZOK);
    until(zh, &out.done);
    EXPECT(out.rc == ZOK && strcmp(out.text, root) == 0);
    EXPECT(zoo_recv_timeout(zh) == SESSION_MS);
}

static void a_thousand_outstanding(zhandle_t *zh)
{
    enum { N = 1000 };
    struct outcome *outs = calloc(N, sizeof *outs);

    EXPECT(outs != NULL);
    for (int i = 0; i < N; i++) {
        EXPECT(zoo_acreate(zh, at("/n-"), "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_SEQUENCE, on_string,
                           &outs[i]) == ZOK);
    }
    for (int i = 0; i < N; i++) {
        char want[32];

        until(zh, &outs[i].done);
        (void)snprintf(want, sizeof want, "/n-%010d", i);
        EXPECT(outs[i].rc == ZOK && strcmp(outs[i].text, at(want)) == 0);
    }
    free(outs);
}

static void idle_session_lives(zhandle_t *zh)
{
    time_t end = time(NULL) + SESSION_MS / 1000 + 2;

    EXPECT(create(zh, at("/e"), ZOO_EPHEMERAL) == ZOK);
    while (time(NULL) < end) {
        turn(zh); /* The library pings. */
    }
    EXPECT(exists(zh, at("/e"), false).rc == ZOK);
}

static void chroot_is_the_clients(zhandle_t *zh)
{
    char text[192];
    struct outcome out = { 0 };
    const char *saved = address;

    (void)snprintf(text, sizeof text, "%s%s", address, root);
    address = text;
    zhandle_t *inner = open_client(NULL);

    address = saved;
    EXPECT(zoo_acreate(inner, "/in", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, on_string, &out) == ZOK);
    until(inner, &out.done);
    EXPECT(out.rc == ZOK && strcmp(out.text, "/in") == 0);
    EXPECT(exists(zh, at("/in"), false).rc == ZOK);
    EXPECT(zookeeper_close(inner) == ZOK);
}

static const struct test {
    const char *name;
    void (*run)(zhandle_t *zh);
} TESTS[] = {
#define CASE(name)  \
    {               \
#name, name \
    }
    CASE(create_get_set_delete),
    CASE(create2_gives_the_stat),
    CASE(null_data),
    CASE(ephemeral_sequence),
    CASE(children_and_stat),
    CASE(data_watch),
    CASE(exists_watch),
    CASE(child_watch),
    CASE(watch_from_another),
    CASE(ephemeral_goes_with_close),
    CASE(multi_all),
    CASE(multi_nothing),
    CASE(digest_auth),
    CASE(bad_auth_ends_it),
    CASE(reconnect_keeps_the_session),
    CASE(reconnect_brings_watches_back),
    CASE(reattach_by_id),
    CASE(wrong_password_expires),
    CASE(sync_and_timeout),
    CASE(a_thousand_outstanding),
    CASE(idle_session_lives),
    CASE(chroot_is_the_clients),
#undef CASE
};

int main(int argc, char **argv)
{
    size_t n = sizeof TESTS / sizeof TESTS[0];

    if (argc == 2 && strcmp(argv[1], "--list") == 0) {
        for (size_t i = 0; i < n; i++) {
            puts(TESTS[i].name);
        }
        return 0;
    }
    if (argc != 3) {
        fprintf(stderr, "usage: zk_conformance --list | HOST:PORT CASE\n");
        return 2;
    }
    address = argv[1];
    zoo_set_debug_level(ZOO_LOG_LEVEL_ERROR);
    for (size_t i = 0; i < n; i++) {
        if (strcmp(TESTS[i].name, argv[2]) == 0) {
            zhandle_t *zh = open_client(NULL);

            (void)snprintf(root, sizeof root, "/c-%s", TESTS[i].name);
            EXPECT(create(zh, root, 0) == ZOK);
            TESTS[i].run(zh);
            (void)zookeeper_close(zh);
            return 0;
        }
    }
    fprintf(stderr, "zk_conformance: no case %s\n", argv[2]);
    return 2;
}
