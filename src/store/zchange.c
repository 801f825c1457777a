/* SPDX-License-Identifier: Apache-2.0 */

/* zchange: requests that change the tree, whole or not at all.
 *
 * Not the reading ones, nor sessions and watches as such: engine.c.  Pure, as all of the engine.
 *
 * A request runs its operations one by one against the tree, each checked in ZooKeeper's order of
 * checks, and notes what it did as an effect.  When all have succeeded, settle() fires the watches
 * and logs, in order; when one has failed, undo() takes the effects back, last first, and nobody
 * has seen anything.  A single operation is a multi of one.
 *
 * Invariants: between two requests there is no effect; a failed request leaves the zxid as it was;
 * notifications stand in out before the answer to the request that caused them.
 */

#include "store/zchange.h"

#include "base/str.h"
#include "store/engine_priv.h"

#include <string.h>

enum effect_kind { CREATED, DELETED, DATA_SET, ACL_SET };

struct engine_effect {
    enum effect_kind kind;
    struct znode *node;
    /* What undo() needs. */
    struct jute_bytes old_data;
    struct acl *old_acl;
    int64_t old_mzxid;
    int64_t old_mtime;
    int64_t old_parent_pzxid;
};

/* What the operations of one request have in common. */
struct turn {
    struct engine_client *client;
    int64_t zxid;
    uint64_t wall_ms;
};

/* ---- watches ---------------------------------------------------------- */

/* Tell all who wait at path; with once, those told in this round already are
 * only forgotten: ZooKeeper sends one NodeDeleted to who had both kinds of watch. */
static void fire(struct engine *engine, enum zwatch_kind kind, const char *path,
                 enum jute_event event, bool once)
{
    struct zwatch_client *watch = NULL;

    while ((watch = zwatch_take(&engine->watches, kind, path)) != NULL) {
        struct engine_client *client =
            (struct engine_client *)((char *)watch - offsetof(struct engine_client, watch));

        if (!once || watch->fired_in != engine->rounds) {
            jute_put_event(engine_answer(engine, client), event, path);
        }
        watch->fired_in = engine->rounds;
    }
}

static void fire_at(struct engine *engine, const struct znode *node, enum effect_kind kind)
{
    CLEANUP_BUF path = { 0 };
    CLEANUP_BUF parent = { 0 };

    if (engine->watches.n_watches == 0) {
        return;
    }
    znode_path(node, &path);
    engine->rounds++;
    if (kind == DATA_SET) {
        fire(engine, ZWATCH_DATA, path.data, JUTE_NODE_DATA_CHANGED, false);
        return;
    }
    znode_path(node->parent, &parent);
    if (kind == CREATED) {
        fire(engine, ZWATCH_DATA, path.data, JUTE_NODE_CREATED, false);
    } else {
        fire(engine, ZWATCH_DATA, path.data, JUTE_NODE_DELETED, false);
        fire(engine, ZWATCH_CHILD, path.data, JUTE_NODE_DELETED, true);
    }
    fire(engine, ZWATCH_CHILD, parent.data, JUTE_NODE_CHILDREN_CHANGED, false);
}

/* ---- effects ---------------------------------------------------------- */

static struct engine_effect *note(struct engine *engine, enum effect_kind kind, struct znode *node)
{
    if (engine->n_effects == engine->cap_effects) {
        engine->cap_effects = engine->cap_effects > 0 ? engine->cap_effects * 2 : 8;
        engine->effects =
            mem_realloc(engine->effects, engine->cap_effects * sizeof *engine->effects);
    }
    struct engine_effect *effect = &engine->effects[engine->n_effects++];

    *effect = (struct engine_effect){ .kind = kind, .node = node };
    return effect;
}

static void forget_effects(struct engine *engine)
{
    enum { KEEP = 1024 };

    engine->n_effects = 0;
    if (engine->cap_effects > KEEP) {
        free(engine->effects);
        engine->effects = NULL;
        engine->cap_effects = 0;
    }
}

static void settle_one(struct engine *engine, struct engine_effect *effect)
{
    struct znode_tree *tree = &engine->tree;
    struct znode *node = effect->node;

    switch (effect->kind) {
    case CREATED:
        znode_log_change(tree, node, ZNODE_NEW);
        znode_log_change(tree, node->parent, ZNODE_CHILDREN);
        break;
    case DELETED:
        znode_log_end(tree, node);
        znode_log_change(tree, node->parent, ZNODE_CHILDREN);
        break;
    case DATA_SET:
        znode_log_change(tree, node, ZNODE_DATA);
        free(effect->old_data.data);
        break;
    case ACL_SET:
        znode_log_change(tree, node, ZNODE_ACL);
        acl_unref(&tree->acls, effect->old_acl);
        break;
    }
    if (effect->kind != ACL_SET) {
        fire_at(engine, node, effect->kind);
    }
    if (effect->kind == DELETED) {
        znode_free(tree, node);
    }
}

/* The request has succeeded. */
static void settle(struct engine *engine, const struct turn *turn)
{
    if (engine->n_effects > 0) {
        engine->tree.zxid = turn->zxid;
    }
    for (size_t i = 0; i < engine->n_effects; i++) {
        settle_one(engine, &engine->effects[i]);
    }
    forget_effects(engine);
}

static void owner_link(struct engine *engine, struct znode *node, bool link)
{
    struct zsession *session = NULL;

    if (node->owner == 0) {
        return;
    }
    session = zsession_find(&engine->sessions, node->owner);
    assert(session != NULL);
    if (link) {
        zsession_own(session, node);
    } else {
        zsession_disown(session, node);
    }
}

static void undo_one(struct engine *engine, struct engine_effect *effect)
{
    struct znode *node = effect->node;

    switch (effect->kind) {
    case CREATED:
        node->parent->created--;
        node->parent->pzxid = effect->old_parent_pzxid;
        owner_link(engine, node, false);
        znode_unlink(&engine->tree, node);
        znode_free(&engine->tree, node);
        break;
    case DELETED:
        node->parent->pzxid = effect->old_parent_pzxid;
        znode_relink(&engine->tree, node);
        owner_link(engine, node, true);
        break;
    case DATA_SET:
        engine->tree.data_bytes -= node->data.len > 0 ? (uint64_t)node->data.len : 0;
        engine->tree.data_bytes += effect->old_data.len > 0 ? (uint64_t)effect->old_data.len : 0;
        free(node->data.data);
        node->data = effect->old_data;
        node->mzxid = effect->old_mzxid;
        node->mtime = effect->old_mtime;
        node->version--;
        break;
    case ACL_SET:
        acl_unref(&engine->tree.acls, node->acl);
        node->acl = effect->old_acl;
        node->aversion--;
        break;
    }
}

static void undo(struct engine *engine)
{
    while (engine->n_effects > 0) {
        undo_one(engine, &engine->effects[--engine->n_effects]);
    }
    forget_effects(engine);
}

/* ---- operations that change ------------------------------------------- */

/* The node whose path is that of path up to its last slash; NULL without one. */
static struct znode *find_parent(const struct engine *engine, char *path, char *last_slash)
{
    *last_slash = 0;
    struct znode *parent = znode_find(&engine->tree, path);

    *last_slash = '/';
    return parent;
}

enum { EPHEMERAL = 1, SEQUENCE = 2, MODE_CONTAINER = 4, MODE_LAST = 6 };

/* Checks that need no node, and the list that the node is to have. */
static enum jute_code create_prepare(const struct engine_client *client,
                                     const struct jute_call *call, struct jute_acl **ret_entries,
                                     int32_t *ret_n)
{
    if (call->type == JUTE_CREATE_CONTAINER || call->type == JUTE_CREATE_TTL) {
        return Z_UNIMPLEMENTED;
    }
    if (call->flags < 0 || call->flags > MODE_LAST) {
        return Z_BADARGUMENTS;
    }
    if (call->flags >= MODE_CONTAINER) {
        return Z_UNIMPLEMENTED;
    }
    if (strchr(call->path, '/') == NULL) {
        return Z_BADARGUMENTS;
    }
    return acl_fix_up(call->acl, call->n_acl, &client->who, ret_entries, ret_n);
}

static void create_at(struct engine *engine, const struct turn *turn, struct jute_call *call,
                      struct znode *parent, const char *name, struct acl *acl)
{
    struct znode_tree *tree = &engine->tree;
    struct znode *node = znode_add_take(tree, parent, name, strlen(name), TAKE(call->data), acl);
    struct engine_effect *effect = note(engine, CREATED, node);

    node->czxid = node->mzxid = node->pzxid = turn->zxid;
    node->ctime = node->mtime = (int64_t)turn->wall_ms;
    effect->old_parent_pzxid = parent->pzxid;
    parent->created++;
    parent->pzxid = turn->zxid;
    if ((call->flags & EPHEMERAL) != 0) {
        node->owner = turn->client->session->id;
        tree->n_ephemeral++;
        zsession_own(turn->client->session, node);
    }
}

static enum jute_code do_create(struct engine *engine, const struct turn *turn,
                                struct jute_call *call, struct jute_result *ret_result)
{
    CLEANUP(mem_freep) char *path = NULL;
    struct jute_acl *entries = NULL;
    int32_t n_entries = 0;
    enum jute_code code = create_prepare(turn->client, call, &entries, &n_entries);

    if (code != Z_OK) {
        return code;
    }
    struct acl *acl = acl_intern(&engine->tree.acls, entries, n_entries);

    jute_acl_free(entries, n_entries);
    struct znode *parent = find_parent(engine, call->path, strrchr(call->path, '/'));

    if (parent == NULL) {
        code = Z_NONODE;
    } else if (!acl_allows(parent->acl, &turn->client->who, ACL_CREATE)) {
        code = Z_NOAUTH;
    } else {
        path = (call->flags & SEQUENCE) != 0 ? str_printf("%s%010d", call->path, parent->created)
                                             : TAKE(call->path);
        if (!znode_path_valid(path)) {
            code = Z_BADARGUMENTS;
        } else if (znode_find(&engine->tree, path) != NULL) {
            code = Z_NODEEXISTS;
        } else if (parent->owner != 0) {
            code = Z_NOCHILDRENFOREPHEMERALS;
        }
    }
    if (code != Z_OK) {
        acl_unref(&engine->tree.acls, acl);
        return code;
    }
    create_at(engine, turn, call, parent, strrchr(path, '/') + 1, acl);
    ret_result->path = TAKE(path);
    ret_result->stat = znode_stat(engine->effects[engine->n_effects - 1].node);
    return Z_OK;
}

static void delete_node(struct engine *engine, struct znode *node, int64_t zxid)
{
    struct engine_effect *effect = note(engine, DELETED, node);

    effect->old_parent_pzxid = node->parent->pzxid;
    node->parent->pzxid = zxid;
    owner_link(engine, node, false);
    znode_unlink(&engine->tree, node);
}

static enum jute_code do_delete(struct engine *engine, const struct turn *turn,
                                struct jute_call *call)
{
    char *slash = strrchr(call->path, '/');

    if (slash == NULL || str_eq(call->path, "/") || str_eq(call->path, "/zookeeper") ||
        str_eq(call->path, "/zookeeper/config") || str_eq(call->path, "/zookeeper/quota")) {
        return Z_BADARGUMENTS;
    }
    struct znode *parent = find_parent(engine, call->path, slash);
    struct znode *node = znode_find(&engine->tree, call->path);

    if (parent == NULL || node == NULL) {
        return Z_NONODE;
    }
    if (!acl_allows(parent->acl, &turn->client->who, ACL_DELETE)) {
        return Z_NOAUTH;
    }
    if (call->version != -1 && call->version != node->version) {
        return Z_BADVERSION;
    }
    if (node->first_child != NULL) {
        return Z_NOTEMPTY;
    }
    delete_node(engine, node, turn->zxid);
    return Z_OK;
}

/* What setData, setACL and check have in common: a valid path of a node, the right
 * to do perms with it. */
static enum jute_code find_for(const struct engine *engine, const struct turn *turn,
                               const char *path, int32_t perms, struct znode **ret_node)
{
    if (!znode_path_valid(path)) {
        return Z_BADARGUMENTS;
    }
    struct znode *node = znode_find(&engine->tree, path);

    if (node == NULL) {
        return Z_NONODE;
    }
    if (!acl_allows(node->acl, &turn->client->who, perms)) {
        return Z_NOAUTH;
    }
    *ret_node = node;
    return Z_OK;
}

static enum jute_code do_set_data(struct engine *engine, const struct turn *turn,
                                  struct jute_call *call, struct jute_result *ret_result)
{
    struct znode *node = NULL;
    enum jute_code code = find_for(engine, turn, call->path, ACL_WRITE, &node);

    if (code != Z_OK) {
        return code;
    }
    if (call->version != -1 && call->version != node->version) {
        return Z_BADVERSION;
    }
    struct engine_effect *effect = note(engine, DATA_SET, node);

    effect->old_data = node->data;
    effect->old_mzxid = node->mzxid;
    effect->old_mtime = node->mtime;
    engine->tree.data_bytes -= node->data.len > 0 ? (uint64_t)node->data.len : 0;
    node->data = TAKE(call->data);
    engine->tree.data_bytes += node->data.len > 0 ? (uint64_t)node->data.len : 0;
    node->mzxid = turn->zxid;
    node->mtime = (int64_t)turn->wall_ms;
    node->version++;
    ret_result->stat = znode_stat(node);
    return Z_OK;
}

static enum jute_code do_set_acl(struct engine *engine, const struct turn *turn,
                                 struct jute_call *call, struct jute_result *ret_result)
{
    struct znode *node = NULL;
    struct jute_acl *entries = NULL;
    int32_t n_entries = 0;

    if (!znode_path_valid(call->path)) {
        return Z_BADARGUMENTS;
    }
    enum jute_code code =
        acl_fix_up(call->acl, call->n_acl, &turn->client->who, &entries, &n_entries);

    if (code == Z_OK) {
        code = find_for(engine, turn, call->path, ACL_ADMIN, &node);
    }
    if (code == Z_OK && call->version != -1 && call->version != node->aversion) {
        code = Z_BADVERSION;
    }
    if (code == Z_OK) {
        struct engine_effect *effect = note(engine, ACL_SET, node);

        effect->old_acl = node->acl;
        node->acl = acl_intern(&engine->tree.acls, entries, n_entries);
        node->aversion++;
        ret_result->stat = znode_stat(node);
    }
    jute_acl_free(entries, n_entries);
    return code;
}

static enum jute_code do_check(const struct engine *engine, const struct turn *turn,
                               const struct jute_call *call)
{
    struct znode *node = NULL;
    enum jute_code code = find_for(engine, turn, call->path, ACL_READ, &node);

    if (code == Z_OK && call->version != -1 && call->version != node->version) {
        code = Z_BADVERSION;
    }
    return code;
}

static enum jute_code do_change(struct engine *engine, const struct turn *turn,
                                struct jute_call *call, struct jute_result *ret_result)
{
    if (call->nul_text) {
        return Z_BADARGUMENTS;
    }
    ret_result->type = call->type;
    switch (call->type) {
    case JUTE_DELETE:
        return do_delete(engine, turn, call);
    case JUTE_SET_DATA:
        return do_set_data(engine, turn, call, ret_result);
    case JUTE_SET_ACL:
        return do_set_acl(engine, turn, call, ret_result);
    case JUTE_CHECK:
        return do_check(engine, turn, call);
    default:
        return do_create(engine, turn, call, ret_result);
    }
}

static struct turn turn_of(const struct engine *engine, struct engine_client *client,
                           struct engine_now now)
{
    return (struct turn){ client, engine->tree.zxid + 1, now.wall_ms };
}

static void answer_change(struct engine *engine, struct engine_client *client, int32_t xid,
                          const struct jute_result *result)
{
    struct buf *out = engine_answer(engine, client);
    int64_t zxid = engine->tree.zxid;

    switch (result->type) {
    case JUTE_CREATE:
        jute_put_path(out, xid, zxid, result->path);
        break;
    case JUTE_CREATE2:
        jute_put_path_stat(out, xid, zxid, result->path, &result->stat);
        break;
    case JUTE_SET_DATA:
    case JUTE_SET_ACL:
        jute_put_stat(out, xid, zxid, &result->stat);
        break;
    default:
        jute_put_header(out, xid, zxid, Z_OK);
    }
}

void zchange_request(struct engine *engine, struct engine_client *client,
                     struct jute_request *request, struct engine_now now)
{
    struct turn turn = turn_of(engine, client, now);
    struct jute_result result = { 0 };
    enum jute_code code = do_change(engine, &turn, &request->calls[0], &result);

    if (code == Z_OK) {
        settle(engine, &turn);
        answer_change(engine, client, request->xid, &result);
    } else {
        jute_put_header(engine_answer(engine, client), request->xid, engine->tree.zxid, code);
    }
    free(result.path);
}

/* As ZooKeeper reports a failed multi: what stood before the failing operation is
 * 0, what stands behind it was never tried. */
static void spoil(struct jute_result *results, size_t n, size_t failed, enum jute_code code)
{
    for (size_t i = 0; i < n; i++) {
        free(results[i].path);
        results[i] = (struct jute_result){
            .type = JUTE_ERROR,
            .code = i < failed    ? Z_OK
                    : i == failed ? (int32_t)code
                                  : Z_RUNTIMEINCONSISTENCY,
        };
    }
}

void zchange_multi(struct engine *engine, struct engine_client *client,
                   struct jute_request *request, struct engine_now now)
{
    struct turn turn = turn_of(engine, client, now);
    size_t n = request->n_calls;
    CLEANUP(mem_freep) struct jute_result *results = mem_alloc((n + 1) * sizeof *results);
    enum jute_code code = Z_OK;
    size_t done = 0;

    while (done < n) {
        code = do_change(engine, &turn, &request->calls[done], &results[done]);
        if (code != Z_OK) {
            break;
        }
        done++;
    }
    if (code == Z_OK) {
        settle(engine, &turn);
    } else {
        undo(engine);
        spoil(results, n, done, code);
    }
    jute_put_multi(engine_answer(engine, client), request->xid, engine->tree.zxid, results, n);
    for (size_t i = 0; i < n; i++) {
        free(results[i].path);
    }
}

void zchange_drop_owned(struct engine *engine, struct zsession *session, struct engine_now now)
{
    struct turn turn = turn_of(engine, session->client, now);

    while (session->owned != NULL) {
        delete_node(engine, session->owned, turn.zxid);
    }
    settle(engine, &turn);
    engine->tree.zxid = turn.zxid;
}
