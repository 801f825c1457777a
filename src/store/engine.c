/* SPDX-License-Identifier: Apache-2.0 */

/* engine: ZooKeeper's rules: (state, request, now) -> (state, answers, log).
 *
 * Pure: no loop, no I/O, no clock, no randomness.  Frames come in, frames go
 * into the clients' out buffers; what must become durable first is in the logs
 * of tree and sessions.  zserver.c sends only after ledger.c has written.
 *
 * Here are sessions, reads, watches and who gets which request; what changes
 * the tree is zchange.c's.
 */

#include "store/engine.h"

#include "store/engine_priv.h"
#include "store/zchange.h"

#include <utlist.h>

void engine_init(struct engine *engine, const struct engine_limits *limits, uint64_t seed)
{
    *engine = (struct engine){ .limits = *limits };
    znode_tree_init(&engine->tree, seed);
}

void engine_fini(struct engine *engine)
{
    zwatch_table_fini(&engine->watches);
    zsession_table_fini(&engine->sessions);
    znode_tree_fini(&engine->tree);
    free(engine->effects);
}

void engine_client_init(struct engine_client *client, const char *address)
{
    *client = (struct engine_client){ 0 };
    acl_who_add(&client->who, "ip", address);
}

void engine_client_fini(struct engine *engine, struct engine_client *client)
{
    zwatch_remove_client(&engine->watches, &client->watch);
    if (client->session != NULL) {
        client->session->client = NULL;
    }
    acl_who_fini(&client->who);
    buf_fini(&client->out);
}

bool engine_changed(const struct engine *engine)
{
    return engine->tree.log.dirty != NULL || engine->tree.log.n_dead > 0 ||
           engine->sessions.n_dirty > 0 || engine->sessions.n_dead > 0;
}

/* ---- answers ---------------------------------------------------------- */

void engine_touch(struct engine *engine, struct engine_client *client)
{
    if (!client->touched) {
        client->touched = true;
        LL_PREPEND2(engine->touched, client, touched_next);
    }
}

struct buf *engine_answer(struct engine *engine, struct engine_client *client)
{
    engine_touch(engine, client);
    engine->n_sent++;
    return &client->out;
}

void engine_hang_up(struct engine *engine, struct engine_client *client)
{
    client->closing = true;
    engine_touch(engine, client);
}

/* ---- operations that read --------------------------------------------- */

static void put_children(struct engine *engine, struct engine_client *client, int32_t xid,
                         const struct znode *node, bool with_stat)
{
    struct jute_stat stat = znode_stat(node);
    CLEANUP(mem_freep) char **names = mem_alloc(((size_t)node->n_children + 1) * sizeof *names);
    struct jute_strings list = { names, 0 };

    for (const struct znode *child = node->first_child; child != NULL; child = child->next) {
        list.items[list.n++] = (char *)(uintptr_t)child->name;
    }
    jute_put_children(engine_answer(engine, client), xid, engine->tree.zxid, &list,
                      with_stat ? &stat : NULL);
}

static void put_acl(struct engine *engine, struct engine_client *client, int32_t xid,
                    const struct znode *node)
{
    struct jute_stat stat = znode_stat(node);
    const struct acl *acl = node->acl;
    struct jute_acl *masked = NULL;

    if (!acl_allows(acl, &client->who, ACL_ADMIN)) {
        masked = acl_masked(acl);
    }
    jute_put_acl(engine_answer(engine, client), xid, engine->tree.zxid,
                 masked != NULL ? masked : acl->entries, acl->n_entries, &stat);
    if (masked != NULL) {
        jute_acl_free(masked, acl->n_entries);
    }
}

/* The node of a read that exists() does not do, or why not. */
static enum jute_code find_readable(const struct engine *engine, const struct engine_client *client,
                                    const struct jute_call *call, struct znode **ret_node)
{
    int32_t perms = call->type == JUTE_GET_ACL ? ACL_READ | ACL_ADMIN : ACL_READ;
    struct znode *node = znode_find(&engine->tree, call->path);

    if (node == NULL) {
        return Z_NONODE;
    }
    if (call->type != JUTE_EXISTS && !acl_allows(node->acl, &client->who, perms)) {
        return Z_NOAUTH;
    }
    *ret_node = node;
    return Z_OK;
}

static void request_read(struct engine *engine, struct engine_client *client, int32_t xid,
                         const struct jute_call *call)
{
    struct znode *node = NULL;
    enum jute_code code =
        call->nul_text ? Z_BADARGUMENTS : find_readable(engine, client, call, &node);
    bool child = call->type == JUTE_GET_CHILDREN || call->type == JUTE_GET_CHILDREN2;

    if (call->watch && (code == Z_OK || (code == Z_NONODE && call->type == JUTE_EXISTS))) {
        zwatch_add(&engine->watches, &client->watch, child ? ZWATCH_CHILD : ZWATCH_DATA,
                   call->path);
    }
    if (code != Z_OK) {
        jute_put_header(engine_answer(engine, client), xid, engine->tree.zxid, code);
        return;
    }
    struct jute_stat stat = znode_stat(node);

    switch (call->type) {
    case JUTE_EXISTS:
        jute_put_stat(engine_answer(engine, client), xid, engine->tree.zxid, &stat);
        break;
    case JUTE_GET_DATA:
        jute_put_data(engine_answer(engine, client), xid, engine->tree.zxid, &node->data, &stat);
        break;
    case JUTE_GET_ACL:
        put_acl(engine, client, xid, node);
        break;
    default:
        put_children(engine, client, xid, node, call->type == JUTE_GET_CHILDREN2);
    }
}

/* ---- watches ---------------------------------------------------------- */

/* checkWatches and removeWatches; the types are ZooKeeper's: children, data, any. */
static void request_watches(struct engine *engine, struct engine_client *client, int32_t xid,
                            const struct jute_call *call)
{
    enum { WATCHER_CHILDREN = 1, WATCHER_DATA = 2, WATCHER_ANY = 3 };
    bool found = false;
    enum jute_code code = Z_OK;

    for (enum zwatch_kind kind = ZWATCH_DATA; kind <= ZWATCH_CHILD; kind++) {
        if (call->version != WATCHER_ANY &&
            call->version != (kind == ZWATCH_CHILD ? WATCHER_CHILDREN : WATCHER_DATA)) {
            continue;
        }
        if (call->type == JUTE_CHECK_WATCHES) {
            found |= zwatch_has(&engine->watches, &client->watch, kind, call->path);
        } else {
            found |= zwatch_remove(&engine->watches, &client->watch, kind, call->path);
        }
    }
    if (call->version < WATCHER_CHILDREN || call->version > WATCHER_ANY) {
        code = Z_MARSHALLINGERROR;
    } else if (!found) {
        code = Z_NOWATCHER;
    }
    jute_put_header(engine_answer(engine, client), xid, engine->tree.zxid, code);
}

enum { SET_DATA_WATCH, SET_EXIST_WATCH, SET_CHILD_WATCH };

/* What happened at path since the client saw zxid; 0 when nothing did. */
static int missed(const struct znode *node, int which, int64_t zxid)
{
    if (which == SET_EXIST_WATCH) {
        return node != NULL ? JUTE_NODE_CREATED : 0;
    }
    if (node == NULL) {
        return JUTE_NODE_DELETED;
    }
    if (which == SET_DATA_WATCH) {
        return node->mzxid > zxid ? JUTE_NODE_DATA_CHANGED : 0;
    }
    return node->pzxid > zxid ? JUTE_NODE_CHILDREN_CHANGED : 0;
}

static void request_set_watches(struct engine *engine, struct engine_client *client,
                                const struct jute_request *request)
{
    if (request->watches[3].n > 0 || request->watches[4].n > 0) {
        jute_put_header(engine_answer(engine, client), request->xid, engine->tree.zxid,
                        Z_UNIMPLEMENTED);
        return;
    }
    for (int which = SET_DATA_WATCH; which <= SET_CHILD_WATCH; which++) {
        for (int32_t i = 0; i < request->watches[which].n; i++) {
            const char *path = request->watches[which].items[i];
            int event = missed(znode_find(&engine->tree, path), which, request->relative_zxid);

            if (event != 0) {
                jute_put_event(engine_answer(engine, client), (enum jute_event)event, path);
            } else {
                zwatch_add(&engine->watches, &client->watch,
                           which == SET_CHILD_WATCH ? ZWATCH_CHILD : ZWATCH_DATA, path);
            }
        }
    }
    jute_put_header(engine_answer(engine, client), request->xid, engine->tree.zxid, Z_OK);
}

/* ---- sessions --------------------------------------------------------- */

static void end_session(struct engine *engine, struct zsession *session, struct engine_now now)
{
    zchange_drop_owned(engine, session, now);
    if (session->client != NULL) {
        session->client->session = NULL;
        engine_hang_up(engine, session->client);
    }
    zsession_end(&engine->sessions, session);
}

uint64_t engine_expire(struct engine *engine, struct engine_now now)
{
    uint64_t next = now.mono_ms + (uint64_t)engine->limits.max_timeout_ms;
    struct zsession *after = NULL;

    for (struct zsession *session = engine->sessions.all; session != NULL; session = after) {
        uint64_t due = session->heard_ms + (uint64_t)session->timeout_ms;

        after = session->hh.next;
        if (due <= now.mono_ms) {
            end_session(engine, session, now);
        } else if (due < next) {
            next = due;
        }
    }
    return next;
}

void engine_forgive(struct engine *engine, uint64_t away_ms)
{
    for (struct zsession *s = engine->sessions.all; s != NULL; s = s->hh.next) {
        s->heard_ms += away_ms;
    }
}

static bool same_passwd(const char *a, const char *b)
{
    unsigned char diff = 0;

    for (size_t i = 0; i < JUTE_PASSWD_SIZE; i++) {
        diff |= (unsigned char)(a[i] ^ b[i]);
    }
    return diff == 0;
}

static struct zsession *reattach(struct engine *engine, const struct jute_connect *connect,
                                 int32_t timeout_ms, struct engine_now now)
{
    struct zsession *session = zsession_find(&engine->sessions, connect->session);

    if (session == NULL || !connect->has_passwd || !same_passwd(session->passwd, connect->passwd)) {
        return NULL;
    }
    if (session->client != NULL) {
        session->client->session = NULL;
        engine_hang_up(engine, session->client);
    }
    zsession_set_timeout(&engine->sessions, session, timeout_ms);
    session->heard_ms = now.mono_ms;
    return session;
}

void engine_connect(struct engine *engine, struct engine_client *client, const char *frame,
                    size_t len, struct engine_now now, const char *passwd)
{
    static const char NO_PASSWD[JUTE_PASSWD_SIZE];
    struct jute_connect connect = { 0 };
    struct err err = { 0 };

    engine->n_received++;
    if (jute_decode_connect(frame, len, &connect, &err) < 0 ||
        connect.last_zxid > engine->tree.zxid) {
        /* Not ours, or a client that has seen a later state than this: as
         * ZooKeeper does, without a word, so that it tries another server. */
        engine_hang_up(engine, client);
        return;
    }
    int32_t timeout_ms = connect.timeout_ms;

    if (timeout_ms < engine->limits.min_timeout_ms) {
        timeout_ms = engine->limits.min_timeout_ms;
    }
    if (timeout_ms > engine->limits.max_timeout_ms) {
        timeout_ms = engine->limits.max_timeout_ms;
    }
    struct zsession *session = NULL;

    if (connect.session == 0) {
        engine->tree.zxid++;
        session = zsession_new(&engine->sessions, now.wall_ms, passwd, timeout_ms, now.mono_ms);
    } else {
        session = reattach(engine, &connect, timeout_ms, now);
    }
    if (session == NULL) {
        jute_put_connect(engine_answer(engine, client), 0, 0, NO_PASSWD, connect.has_readonly);
        engine_hang_up(engine, client);
        return;
    }
    session->client = client;
    client->session = session;
    jute_put_connect(engine_answer(engine, client), timeout_ms, session->id, session->passwd,
                     connect.has_readonly);
}

/* ---- requests --------------------------------------------------------- */

static void request_auth(struct engine *engine, struct engine_client *client,
                         const struct jute_request *request)
{
    bool ok = acl_authenticate(&client->who, request->scheme, &request->auth);

    jute_put_header(engine_answer(engine, client), request->xid, 0, ok ? Z_OK : Z_AUTHFAILED);
    if (!ok) {
        engine_hang_up(engine, client);
    }
}

static void dispatch(struct engine *engine, struct engine_client *client,
                     struct jute_request *request, struct engine_now now)
{
    switch (request->type) {
    case JUTE_CREATE:
    case JUTE_CREATE2:
    case JUTE_CREATE_CONTAINER:
    case JUTE_CREATE_TTL:
    case JUTE_DELETE:
    case JUTE_SET_DATA:
    case JUTE_SET_ACL:
    case JUTE_CHECK:
        zchange_request(engine, client, request, now);
        break;
    case JUTE_MULTI:
        zchange_multi(engine, client, request, now);
        break;
    case JUTE_EXISTS:
    case JUTE_GET_DATA:
    case JUTE_GET_ACL:
    case JUTE_GET_CHILDREN:
    case JUTE_GET_CHILDREN2:
        request_read(engine, client, request->xid, &request->calls[0]);
        break;
    case JUTE_CHECK_WATCHES:
    case JUTE_REMOVE_WATCHES:
        request_watches(engine, client, request->xid, &request->calls[0]);
        break;
    case JUTE_SET_WATCHES:
    case JUTE_SET_WATCHES2:
        request_set_watches(engine, client, request);
        break;
    case JUTE_AUTH:
        request_auth(engine, client, request);
        break;
    case JUTE_SYNC:
        jute_put_path(engine_answer(engine, client), request->xid, engine->tree.zxid,
                      request->calls[0].path);
        break;
    case JUTE_CLOSE:
        end_session(engine, client->session, now);
        jute_put_header(engine_answer(engine, client), request->xid, engine->tree.zxid, Z_OK);
        break;
    default:
        jute_put_header(engine_answer(engine, client), request->xid, engine->tree.zxid, Z_OK);
    }
}

/* Types that ZooKeeper 3.8 knows and the store refuses, by design. */
static bool refused(int32_t type)
{
    return type == JUTE_RECONFIG || type == JUTE_DELETE_CONTAINER || type == JUTE_MULTI_READ ||
           type == JUTE_SASL || type == JUTE_GET_EPHEMERALS ||
           type == JUTE_GET_ALL_CHILDREN_NUMBER || type == JUTE_ADD_WATCH;
}

void engine_request(struct engine *engine, struct engine_client *client, const char *frame,
                    size_t len, struct engine_now now)
{
    struct jute_request request = { 0 };
    struct err err = { 0 };
    int32_t xid = 0;
    int32_t type = 0;

    engine->n_received++;
    if (jute_decode_header(frame, len, &xid, &type, &err) < 0) {
        engine_hang_up(engine, client);
        return;
    }
    client->session->heard_ms = now.mono_ms;
    int rv = jute_decode(frame, len, &request, &err);

    if (rv == 0) {
        dispatch(engine, client, &request, now);
    } else {
        jute_put_header(engine_answer(engine, client), xid, engine->tree.zxid,
                        rv == ERR_UNSUPPORTED ? Z_UNIMPLEMENTED : Z_MARSHALLINGERROR);
        if (rv == ERR_UNSUPPORTED && !refused(type)) {
            engine_hang_up(engine, client); /* As ZooKeeper does with what is no request at all. */
        }
    }
    jute_request_fini(&request);
}
