/* SPDX-License-Identifier: Apache-2.0 */
/* simtree: nodes, versions, sequence numbers, ephemerals and transactions, as ZooKeeper has them.
 *
 * Happy path: simtree_start(), changes, simtree_commit() tells the listeners.
 * Failures: simtree_abort() undoes the changes in the reverse order; nobody hears of them.
 * Invariant: every node but the root is in its parent's list of children.
 */
#include "simtree.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "simloop.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>
#include <utlist.h>

enum { MAX_LISTENERS = 32 };

struct session {
    int64_t id;
    UT_hash_handle hh;
};

struct simtree {
    struct simtree_node *nodes;
    struct session *sessions;
    int64_t zxid, next_session, writer;
    struct simtree_change *changes;
    size_t n, cap;
    struct {
        simtree_cb cb;
        void *data;
    } listeners[MAX_LISTENERS];
    size_t n_listeners;
    bool open;
};

struct simtree_node *simtree_find(const struct simtree *tree, const char *path)
{
    struct simtree_node *node = NULL;

    HASH_FIND_STR(tree->nodes, path, node);
    return node;
}

int64_t simtree_zxid(const struct simtree *tree)
{
    return tree->zxid;
}

static struct simtree_node *add(struct simtree *tree, const char *path, struct simtree_node *parent)
{
    struct simtree_node *node = mem_alloc(sizeof(*node));

    node->path = mem_strdup(path);
    node->bytes = mem_strdup("");
    node->parent = parent;
    if (parent != NULL) {
        DL_APPEND(parent->children, node);
        parent->stat.n_children++;
    }
    HASH_ADD_KEYPTR(hh, tree->nodes, node->path, strlen(node->path), node);
    return node;
}

static void drop(struct simtree *tree, struct simtree_node *node)
{
    if (node->parent != NULL) {
        DL_DELETE(node->parent->children, node);
        node->parent->stat.n_children--;
    }
    HASH_DEL(tree->nodes, node);
    free(node->path);
    free(node->bytes);
    free(node);
}

struct simtree *simtree_new(void)
{
    struct simtree *tree = mem_alloc(sizeof(*tree));

    (void)add(tree, "/", NULL);
    tree->zxid = 1;
    tree->next_session = 1;
    return tree;
}

void simtree_free(struct simtree *tree)
{
    struct simtree_node *node, *next;
    struct session *session, *next_session;

    HASH_ITER(hh, tree->nodes, node, next)
    {
        HASH_DEL(tree->nodes, node);
        free(node->path);
        free(node->bytes);
        free(node);
    }
    HASH_ITER(hh, tree->sessions, session, next_session)
    {
        HASH_DEL(tree->sessions, session);
        free(session);
    }
    free(tree->changes);
    free(tree);
}

void simtree_listen(struct simtree *tree, simtree_cb cb, void *data)
{
    assert(tree->n_listeners < MAX_LISTENERS);
    tree->listeners[tree->n_listeners].cb = cb;
    tree->listeners[tree->n_listeners++].data = data;
}

void simtree_listen_first(struct simtree *tree, simtree_cb cb, void *data)
{
    simtree_listen(tree, cb, data);
    for (size_t i = tree->n_listeners - 1; i > 0; i--) {
        tree->listeners[i] = tree->listeners[i - 1];
    }
    tree->listeners[0].cb = cb;
    tree->listeners[0].data = data;
}

void simtree_unlisten(struct simtree *tree, simtree_cb cb, void *data)
{
    for (size_t i = 0; i < tree->n_listeners; i++) {
        if (tree->listeners[i].cb == cb && tree->listeners[i].data == data) {
            memmove(&tree->listeners[i], &tree->listeners[i + 1],
                    (tree->n_listeners - i - 1) * sizeof(tree->listeners[0]));
            tree->n_listeners--;
            return;
        }
    }
}

/* ---- Transactions ---- */

void simtree_start(struct simtree *tree, int64_t session)
{
    assert(!tree->open);
    tree->open = true;
    tree->writer = session;
    tree->zxid++;
}

static struct simtree_change *log_change(struct simtree *tree, enum simtree_kind kind,
                                         const char *path)
{
    if (tree->n == tree->cap) {
        tree->cap = tree->cap != 0 ? 2 * tree->cap : 64;
        tree->changes = mem_realloc(tree->changes, tree->cap * sizeof(tree->changes[0]));
    }
    tree->changes[tree->n] = (struct simtree_change){ .kind = kind, .path = mem_strdup(path) };
    return &tree->changes[tree->n++];
}

static struct simtree_node *parent_of(const struct simtree *tree, const char *path)
{
    const char *slash = strrchr(path, '/');
    CLEANUP(mem_freep)
    char *parent = slash == path ? mem_strdup("/") : mem_strndup(path, (size_t)(slash - path));

    return simtree_find(tree, parent);
}

static void fill(struct simtree_node *node, const void *bytes, size_t len)
{
    node->bytes = mem_realloc(node->bytes, len + 1);
    if (len > 0) {
        memcpy(node->bytes, bytes, len);
    }
    node->bytes[len] = '\0';
    node->stat.data_len = (int32_t)len;
}

int simtree_check(struct simtree *tree, const char *path, int32_t version)
{
    const struct simtree_node *node = simtree_find(tree, path);

    if (node == NULL) {
        return ERR_NOTFOUND;
    }
    return version != ZK_ANY_VERSION && version != node->stat.version ? ERR_CONFLICT : 0;
}

int simtree_create(struct simtree *tree, const char *path, const void *bytes, size_t len, int flags,
                   const struct simtree_node **ret_node)
{
    struct simtree_node *parent = parent_of(tree, path);
    CLEANUP(mem_freep) char *real = NULL;
    struct simtree_node *node;

    if (parent == NULL) {
        return ERR_NOTFOUND;
    }
    if (parent->stat.ephemeral_owner != 0) {
        return ERR_INVALID;
    }
    real = (flags & ZK_SEQUENCE) != 0 ? str_printf("%s%010d", path, parent->next_sequence)
                                      : mem_strdup(path);
    if (simtree_find(tree, real) != NULL) {
        return ERR_EXISTS;
    }
    node = add(tree, real, parent);
    fill(node, bytes, len);
    node->stat.czxid = node->stat.mzxid = node->stat.pzxid = tree->zxid;
    node->stat.ctime_ms = node->stat.mtime_ms = (int64_t)clock_wall_ms();
    node->stat.ephemeral_owner = (flags & ZK_EPHEMERAL) != 0 ? tree->writer : 0;
    parent->stat.pzxid = tree->zxid;
    parent->stat.cversion++;
    parent->next_sequence++;
    (void)log_change(tree, SIMTREE_MADE, real);
    if (ret_node != NULL) {
        *ret_node = node;
    }
    return 0;
}

int simtree_set(struct simtree *tree, const char *path, const void *bytes, size_t len,
                int32_t version, const struct simtree_node **ret_node)
{
    struct simtree_node *node = simtree_find(tree, path);
    int rc = simtree_check(tree, path, version);
    struct simtree_change *change;

    if (rc != 0) {
        return rc;
    }
    change = log_change(tree, SIMTREE_SET, path);
    change->bytes = TAKE(node->bytes);
    change->stat = node->stat;
    fill(node, bytes, len);
    node->stat.version++;
    node->stat.mzxid = tree->zxid;
    node->stat.mtime_ms = (int64_t)clock_wall_ms();
    if (ret_node != NULL) {
        *ret_node = node;
    }
    return 0;
}

int simtree_delete(struct simtree *tree, const char *path, int32_t version)
{
    struct simtree_node *node = simtree_find(tree, path);
    int rc = simtree_check(tree, path, version);
    struct simtree_change *change;

    if (rc != 0) {
        return rc;
    }
    if (node->children != NULL) {
        return ERR_CONFLICT;
    }
    change = log_change(tree, SIMTREE_GONE, path);
    change->bytes = TAKE(node->bytes);
    change->stat = node->stat;
    node->parent->stat.pzxid = tree->zxid;
    node->parent->stat.cversion++;
    drop(tree, node);
    return 0;
}

static void clear(struct simtree *tree)
{
    for (size_t i = 0; i < tree->n; i++) {
        free(tree->changes[i].path);
        free(tree->changes[i].bytes);
    }
    tree->n = 0;
    tree->open = false;
}

void simtree_commit(struct simtree *tree)
{
    assert(tree->open);
    for (size_t i = 0; i < tree->n; i++) {
        const struct simtree_change *change = &tree->changes[i];
        const struct simtree_node *node = simtree_find(tree, change->path);

        sim_mix(change->path, strlen(change->path));
        if (node != NULL) {
            sim_mix(node->bytes, (uint64_t)node->stat.data_len);
        }
    }
    for (size_t i = 0; i < tree->n_listeners; i++) {
        tree->listeners[i].cb(tree, tree->writer, tree->changes, tree->n, tree->listeners[i].data);
    }
    clear(tree);
}

void simtree_abort(struct simtree *tree)
{
    assert(tree->open);
    for (size_t i = tree->n; i-- > 0;) {
        struct simtree_change *change = &tree->changes[i];
        struct simtree_node *node = simtree_find(tree, change->path);

        switch (change->kind) {
        case SIMTREE_MADE:
            drop(tree, node);
            break;
        case SIMTREE_SET:
            fill(node, change->bytes, (size_t)change->stat.data_len);
            node->stat = change->stat;
            break;
        case SIMTREE_GONE:
            node = add(tree, change->path, parent_of(tree, change->path));
            fill(node, change->bytes, (size_t)change->stat.data_len);
            node->stat = change->stat;
            break;
        }
    }
    clear(tree);
}

/* ---- Sessions ---- */

int64_t simtree_open_session(struct simtree *tree)
{
    struct session *session = mem_alloc(sizeof(*session));

    session->id = tree->next_session++;
    HASH_ADD(hh, tree->sessions, id, sizeof(session->id), session);
    return session->id;
}

bool simtree_session_lives(const struct simtree *tree, int64_t id)
{
    struct session *session = NULL;

    HASH_FIND(hh, tree->sessions, &id, sizeof(id), session);
    return session != NULL;
}

void simtree_end_session(struct simtree *tree, int64_t id)
{
    struct session *session = NULL;
    struct simtree_node *node, *next;

    HASH_FIND(hh, tree->sessions, &id, sizeof(id), session);
    if (session == NULL) {
        return;
    }
    HASH_DEL(tree->sessions, session);
    free(session);
    simtree_start(tree, id);
    HASH_ITER(hh, tree->nodes, node, next)
    {
        if (node->stat.ephemeral_owner == id) {
            CLEANUP(mem_freep) char *path = mem_strdup(node->path);

            (void)simtree_delete(tree, path, ZK_ANY_VERSION);
        }
    }
    simtree_commit(tree);
}

void simtree_put(struct simtree *tree, int64_t session, const char *path, const char *text,
                 int flags)
{
    size_t len = strlen(text);

    simtree_start(tree, session);
    for (const char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        CLEANUP(mem_freep) char *parent = mem_strndup(path, (size_t)(slash - path));

        (void)simtree_create(tree, parent, "", 0, 0, NULL);
    }
    if (simtree_set(tree, path, text, len, ZK_ANY_VERSION, NULL) != 0) {
        (void)simtree_create(tree, path, text, len, flags, NULL);
    }
    simtree_commit(tree);
}
