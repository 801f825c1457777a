/* SPDX-License-Identifier: Apache-2.0 */

/* znode: the tree of nodes in memory, and the log of what changed in it.
 *
 * Pure: no I/O, no clock.  Not the rules (versions, permissions, watches): those
 * are engine.c's.
 *
 * Names are found through one chained hash table keyed by (parent, name), so a
 * node stores its own name and nothing of its path.
 *
 * Happy path: engine.c adds, changes or unlinks nodes, and when the request has
 * succeeded logs each; ledger.c writes the log and clears it.
 * Invariants: a node is in the table, in its parent's list and in its session's
 * list exactly while linked; log.dirty holds linked nodes only; an id is never
 * used twice.
 */

#include "store/znode.h"

#include <string.h>
#include <utlist.h>

enum { FIRST_BUCKETS = 256 };

static uint64_t mix(uint64_t a, uint64_t b)
{
    __extension__ typedef unsigned __int128 wide;
    wide product = (wide)a * b;

    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint32_t hash_of(const struct znode_tree *tree, const struct znode *parent, const char *name,
                        size_t len)
{
    const uint64_t odd = UINT64_C(0x9e3779b97f4a7c15);
    uint64_t sum = mix(tree->seed ^ (uint64_t)(parent != NULL ? parent->id : 0), odd);

    while (len > 0) {
        size_t part = len < 8 ? len : 8;
        uint64_t word = 0;

        memcpy(&word, name, part);
        sum = mix(sum ^ word ^ ((uint64_t)part << 56), tree->seed | 1);
        name += part;
        len -= part;
    }
    return (uint32_t)mix(sum ^ odd, odd);
}

void znode_tree_init(struct znode_tree *tree, uint64_t seed)
{
    *tree = (struct znode_tree){ .n_buckets = FIRST_BUCKETS, .seed = seed };
    tree->buckets = mem_alloc(tree->n_buckets * sizeof(struct znode *));
}

void znode_free(struct znode_tree *tree, struct znode *node)
{
    acl_unref(&tree->acls, node->acl);
    free(node->data.data);
    free(node);
}

void znode_tree_fini(struct znode_tree *tree)
{
    for (size_t i = 0; i < tree->n_buckets; i++) {
        struct znode *next = NULL;

        for (struct znode *node = tree->buckets[i]; node != NULL; node = next) {
            next = node->bucket_next;
            znode_free(tree, node);
        }
    }
    acl_table_fini(&tree->acls);
    free(tree->buckets);
    free(tree->log.dead);
    *tree = (struct znode_tree){ 0 };
}

void znode_tree_plant(struct znode_tree *tree)
{
    struct jute_acl open = { ACL_ALL, "world", "anyone" };
    struct jute_acl closed = { ACL_READ, "world", "anyone" };
    struct jute_bytes none = { NULL, 0 };
    struct znode *root = znode_add_take(tree, NULL, "", 0, none, acl_intern(&tree->acls, &open, 1));
    struct znode *own =
        znode_add_take(tree, root, "zookeeper", 9, none, acl_intern(&tree->acls, &open, 1));
    struct znode *config =
        znode_add_take(tree, own, "config", 6, none, acl_intern(&tree->acls, &closed, 1));
    struct znode *quota =
        znode_add_take(tree, own, "quota", 5, none, acl_intern(&tree->acls, &open, 1));

    config->aversion = -1;
    znode_log_change(tree, root, ZNODE_NEW);
    znode_log_change(tree, own, ZNODE_NEW);
    znode_log_change(tree, config, ZNODE_NEW);
    znode_log_change(tree, quota, ZNODE_NEW);
}

struct znode *znode_child(const struct znode_tree *tree, const struct znode *parent,
                          const char *name, size_t len)
{
    uint32_t hash = hash_of(tree, parent, name, len);
    struct znode *node = tree->buckets[hash & (tree->n_buckets - 1)];

    while (node != NULL && !(node->hash == hash && node->parent == parent &&
                             node->name_len == len && memcmp(node->name, name, len) == 0)) {
        node = node->bucket_next;
    }
    return node;
}

struct znode *znode_find(const struct znode_tree *tree, const char *path)
{
    struct znode *node = tree->root;

    if (path[0] == 0 || (path[0] == '/' && path[1] == 0)) {
        return node;
    }
    while (node != NULL && *path == '/') {
        size_t len = strcspn(path + 1, "/");

        node = len > 0 ? znode_child(tree, node, path + 1, len) : NULL;
        path += 1 + len;
    }
    return *path == 0 ? node : NULL;
}

static void grow(struct znode_tree *tree)
{
    size_t n = tree->n_buckets * 2;
    struct znode **buckets = mem_alloc(n * sizeof(struct znode *));

    for (size_t i = 0; i < tree->n_buckets; i++) {
        struct znode *next = NULL;

        for (struct znode *node = tree->buckets[i]; node != NULL; node = next) {
            next = node->bucket_next;
            LL_PREPEND2(buckets[node->hash & (n - 1)], node, bucket_next);
        }
    }
    free(tree->buckets);
    tree->buckets = buckets;
    tree->n_buckets = n;
}

void znode_relink(struct znode_tree *tree, struct znode *node)
{
    if (tree->n_nodes >= tree->n_buckets) {
        grow(tree);
    }
    LL_PREPEND2(tree->buckets[node->hash & (tree->n_buckets - 1)], node, bucket_next);
    if (node->parent != NULL) {
        DL_APPEND(node->parent->first_child, node);
        node->parent->n_children++;
    } else {
        tree->root = node;
    }
    tree->n_nodes++;
    tree->n_ephemeral += node->owner != 0;
    tree->data_bytes += node->data.len > 0 ? (uint64_t)node->data.len : 0;
}

void znode_unlink(struct znode_tree *tree, struct znode *node)
{
    LL_DELETE2(tree->buckets[node->hash & (tree->n_buckets - 1)], node, bucket_next);
    DL_DELETE(node->parent->first_child, node);
    node->parent->n_children--;
    tree->n_nodes--;
    tree->n_ephemeral -= node->owner != 0;
    tree->data_bytes -= node->data.len > 0 ? (uint64_t)node->data.len : 0;
}

struct znode *znode_add_take(struct znode_tree *tree, struct znode *parent, const char *name,
                             size_t len, struct jute_bytes data, struct acl *acl)
{
    struct znode *node = mem_alloc(sizeof *node + len + 1);

    node->id = ++tree->last_id;
    node->parent = parent;
    node->data = data;
    node->acl = acl;
    node->name_len = (uint32_t)len;
    memcpy(node->name, name, len);
    node->hash = hash_of(tree, parent, name, len);
    znode_relink(tree, node);
    return node;
}

void znode_log_change(struct znode_tree *tree, struct znode *node, unsigned dirt)
{
    if (node->dirt == 0) {
        DL_APPEND2(tree->log.dirty, node, dirty_prev, dirty_next);
    }
    node->dirt |= dirt;
}

void znode_log_end(struct znode_tree *tree, struct znode *node)
{
    struct znode_log *log = &tree->log;
    bool unknown = (node->dirt & ZNODE_NEW) != 0; /* The ledger never heard of it. */

    if (node->dirt != 0) {
        DL_DELETE2(log->dirty, node, dirty_prev, dirty_next);
        node->dirt = 0;
    }
    if (unknown) {
        return;
    }
    if (log->n_dead == log->cap_dead) {
        log->cap_dead = log->cap_dead > 0 ? log->cap_dead * 2 : 64;
        log->dead = mem_realloc(log->dead, log->cap_dead * sizeof *log->dead);
    }
    log->dead[log->n_dead++] = node->id;
}

void znode_log_clear(struct znode_tree *tree)
{
    enum { KEEP_DEAD = 4096 };
    struct znode *next = NULL;

    for (struct znode *node = tree->log.dirty; node != NULL; node = next) {
        next = node->dirty_next;
        node->dirt = 0;
    }
    tree->log.dirty = NULL;
    tree->log.n_dead = 0;
    if (tree->log.cap_dead > KEEP_DEAD) {
        free(tree->log.dead);
        tree->log.dead = NULL;
        tree->log.cap_dead = 0;
    }
}

struct jute_stat znode_stat(const struct znode *node)
{
    return (struct jute_stat){
        .czxid = node->czxid,
        .mzxid = node->mzxid,
        .pzxid = node->pzxid,
        .ctime = node->ctime,
        .mtime = node->mtime,
        .owner = node->owner,
        .version = node->version,
        .cversion = (int32_t)((uint32_t)node->created * 2 - (uint32_t)node->n_children),
        .aversion = node->aversion,
        .data_len = node->data.len > 0 ? node->data.len : 0,
        .n_children = node->n_children,
    };
}

void znode_path(const struct znode *node, struct buf *out)
{
    if (node->parent == NULL) {
        buf_add_text(out, "/");
        return;
    }
    /* Depth is bounded by the path that once created the node, so by one frame;
     * a loop, not recursion, because that is still half a million levels. */
    size_t len = 0;

    for (const struct znode *at = node; at->parent != NULL; at = at->parent) {
        len += 1 + at->name_len;
    }
    buf_reserve(out, len);
    out->len += len;
    char *end = out->data + out->len;

    *end = 0;
    for (const struct znode *at = node; at->parent != NULL; at = at->parent) {
        end -= at->name_len;
        memcpy(end, at->name, at->name_len);
        *--end = '/';
    }
}

/* The next code point; 0xfffd, which no path may hold, for what is not UTF-8. */
static uint32_t next_rune(const unsigned char **at)
{
    const unsigned char *s = *at;
    int more = s[0] < 0x80 ? 0 : s[0] >= 0xf0 ? 3 : s[0] >= 0xe0 ? 2 : 1;
    uint32_t rune = s[0] < 0x80 ? s[0] : s[0] & (0x3fU >> more);

    if (s[0] >= 0x80 && (s[0] < 0xc2 || s[0] > 0xf4)) {
        more = 0;
        rune = 0xfffd;
    }
    for (int i = 1; i <= more; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            *at += i;
            return 0xfffd;
        }
        rune = rune << 6 | (s[i] & 0x3f);
    }
    *at += more + 1;
    return rune;
}

static bool rune_valid(uint32_t rune)
{
    return !(rune <= 0x1f || (rune >= 0x7f && rune <= 0x9f) || (rune >= 0xd800 && rune <= 0xf8ff) ||
             rune >= 0xfff0);
}

bool znode_path_valid(const char *path)
{
    if (path[0] != '/') {
        return false;
    }
    if (path[1] == 0) {
        return true;
    }
    for (const char *part = path; *part == '/';) {
        size_t len = strcspn(part + 1, "/");

        if (len == 0 || (len == 1 && part[1] == '.') ||
            (len == 2 && part[1] == '.' && part[2] == '.')) {
            return false;
        }
        part += 1 + len;
    }
    for (const unsigned char *at = (const unsigned char *)path; *at != 0;) {
        if (!rune_valid(next_rune(&at))) {
            return false;
        }
    }
    return true;
}
