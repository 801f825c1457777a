/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "store/acl.h"
#include "store/zsession.h"

/* What the ledger has yet to write of a node. */
enum znode_dirt {
    ZNODE_NEW = 1,      /* the whole node */
    ZNODE_DATA = 2,     /* data and what changes with it */
    ZNODE_CHILDREN = 4, /* cversion and pzxid */
    ZNODE_ACL = 8,      /* acl and aversion */
};

struct znode {
    int64_t id; /* its row in the ledger; a parent's is smaller than its children's */
    int64_t czxid, mzxid, pzxid, ctime, mtime;
    int64_t owner; /* session of an ephemeral node, else 0 */
    int32_t version, aversion;
    int32_t created; /* children ever created; the next sequence number */
    int32_t n_children;
    struct jute_bytes data;
    struct acl *acl;
    struct znode *parent;
    struct znode *first_child;

    /* Private to znode.c, zsession.c and ledger.c. */
    struct znode *prev, *next;             /* among its siblings */
    struct znode *bucket_next;             /* in the table of names */
    struct znode *owned_prev, *owned_next; /* among its session's nodes */
    struct znode *dirty_prev, *dirty_next; /* in the change log */
    unsigned dirt;                         /* enum znode_dirt */
    uint32_t hash;
    uint32_t name_len;
    char name[];
};

/* What changed since the ledger wrote last; sessions keep their part themselves. */
struct znode_log {
    struct znode *dirty;
    int64_t *dead; /* ids */
    size_t n_dead, cap_dead;
};

struct znode_tree {
    struct znode *root;
    size_t n_nodes;
    size_t n_ephemeral;
    uint64_t data_bytes;
    int64_t zxid; /* of the last change */
    int64_t last_id;
    struct acl_table acls;
    struct znode_log log;

    /* Private to znode.c. */
    struct znode **buckets;
    size_t n_buckets; /* a power of two */
    uint64_t seed;
};

/* Empty, without even a root.  seed should be unguessable: it decides which names collide. */
void znode_tree_init(struct znode_tree *tree, uint64_t seed);
void znode_tree_fini(struct znode_tree *tree);

/* The nodes that ZooKeeper has from the start: /, /zookeeper, its config and quota. */
void znode_tree_plant(struct znode_tree *tree);

/* NULL when there is none; also for text that is no path at all. */
struct znode *znode_find(const struct znode_tree *tree, const char *path);
struct znode *znode_child(const struct znode_tree *tree, const struct znode *parent,
                          const char *name, size_t len);

/* A node below parent (NULL: the root), linked and counted, not logged.
 * Takes data and the reference to acl. */
struct znode *znode_add_take(struct znode_tree *tree, struct znode *parent, const char *name,
                             size_t len, struct jute_bytes data, struct acl *acl);

/* Take it out of the tree and put it back (undo); its memory stays. */
void znode_unlink(struct znode_tree *tree, struct znode *node);
void znode_relink(struct znode_tree *tree, struct znode *node);

/* Free an unlinked node. */
void znode_free(struct znode_tree *tree, struct znode *node);

/* Log a change, or the end of an unlinked node. */
void znode_log_change(struct znode_tree *tree, struct znode *node, unsigned dirt);
void znode_log_end(struct znode_tree *tree, struct znode *node);

/* The ledger has written everything. */
void znode_log_clear(struct znode_tree *tree);

/* As ZooKeeper counts: each create and each delete of a child is one cversion. */
struct jute_stat znode_stat(const struct znode *node);

/* Append the absolute path to out; an unlinked node has still its old one. */
void znode_path(const struct znode *node, struct buf *out);

/* By ZooKeeper's PathUtils. */
bool znode_path_valid(const char *path);
