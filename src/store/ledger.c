/* SPDX-License-Identifier: Apache-2.0 */

/* ledger: what the store must not forget, in SQLite.
 *
 * One row per node, keyed by a number that only grows: creating appends to the
 * right end of the B-tree, however the paths are scattered.  WAL with
 * synchronous=FULL: one fdatasync per commit, and a commit is a whole loop turn.
 *
 * Happy path: ledger_open() loads all rows, parents before children because
 * their ids are smaller; ledger_commit() writes what the logs name.
 * Failures: any error of a commit is final; the server ends and a restart
 * loads what was durable.
 * Invariant: the largest zxid in a row, or meta's when larger, is the engine's
 * zxid at the last commit, so that none is given out twice.
 */

#include "store/ledger.h"

#include "base/db.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/str.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { FORMAT = 1, WAL_PAGES = 1000, WAL_BYTES = WAL_PAGES * 4120 };

enum stmt {
    BEGIN,
    COMMIT,
    META_SET,
    ACL_ADD,
    SESSION_SET,
    SESSION_DROP,
    NODE_ADD,
    NODE_DATA,
    NODE_CHILDREN,
    NODE_ACL,
    NODE_DROP,
    N_STMTS,
};

static const char INSERT_NODE[] =
    "INSERT INTO node (id, parent, acl, owner, czxid, mzxid, pzxid, ctime, mtime,"
    " version, aversion, created, name, data)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";

static const char *const SQL[N_STMTS] = {
    [BEGIN] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [META_SET] = "INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)",
    [ACL_ADD] = "INSERT INTO acl (id, entries) VALUES (?1, ?2)",
    [SESSION_SET] = "INSERT OR REPLACE INTO session (id, timeout_ms, passwd) VALUES (?1, ?2, ?3)",
    [SESSION_DROP] = "DELETE FROM session WHERE id = ?1",
    [NODE_ADD] = INSERT_NODE,
    [NODE_DATA] = "UPDATE node SET mzxid = ?2, mtime = ?3, version = ?4, data = ?5 WHERE id = ?1",
    [NODE_CHILDREN] = "UPDATE node SET pzxid = ?2, created = ?3 WHERE id = ?1",
    [NODE_ACL] = "UPDATE node SET acl = ?2, aversion = ?3 WHERE id = ?1",
    [NODE_DROP] = "DELETE FROM node WHERE id = ?1",
};

static const char SCHEMA[] =
    "CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value INTEGER) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS acl (id INTEGER PRIMARY KEY, entries BLOB);"
    "CREATE TABLE IF NOT EXISTS session (id INTEGER PRIMARY KEY, timeout_ms INTEGER, passwd BLOB);"
    "CREATE TABLE IF NOT EXISTS node (id INTEGER PRIMARY KEY, parent INTEGER, acl INTEGER,"
    " owner INTEGER, czxid INTEGER, mzxid INTEGER, pzxid INTEGER, ctime INTEGER, mtime INTEGER,"
    " version INTEGER, aversion INTEGER, created INTEGER, name BLOB, data BLOB);";

struct ledger {
    struct db *db;
    struct db_stmt *stmts[N_STMTS];
};

void ledger_close(struct ledger *ledger)
{
    if (ledger == NULL) {
        return;
    }
    for (int i = 0; i < N_STMTS; i++) {
        db_stmt_free(ledger->stmts[i]);
    }
    db_close(ledger->db);
    free(ledger);
}

/* ---- writing ---------------------------------------------------------- */

static int run1(struct ledger *ledger, enum stmt which, int64_t id, struct err *err)
{
    db_bind_int(ledger->stmts[which], 1, id);
    return db_run(ledger->stmts[which], err);
}

static void bind_data(struct db_stmt *stmt, int index, const struct jute_bytes *data)
{
    if (data->len < 0) {
        db_bind_text(stmt, index, NULL);
    } else {
        db_bind_blob(stmt, index, data->data, (size_t)data->len);
    }
}

static int meta_set(struct ledger *ledger, const char *key, int64_t value, struct err *err)
{
    struct db_stmt *stmt = ledger->stmts[META_SET];

    db_bind_text(stmt, 1, key);
    db_bind_int(stmt, 2, value);
    return db_run(stmt, err);
}

static int save_acl(struct ledger *ledger, struct acl *acl, struct err *err)
{
    struct db_stmt *stmt = ledger->stmts[ACL_ADD];

    if (acl->saved) {
        return 0;
    }
    db_bind_int(stmt, 1, acl->id);
    db_bind_blob(stmt, 2, acl->key.data, acl->key.len);
    if (db_run(stmt, err) < 0) {
        return err_code(err);
    }
    acl->saved = true;
    return 0;
}

static int save_new(struct ledger *ledger, const struct znode *node, struct err *err)
{
    struct db_stmt *stmt = ledger->stmts[NODE_ADD];

    db_bind_int(stmt, 1, node->id);
    db_bind_int(stmt, 2, node->parent != NULL ? node->parent->id : 0);
    db_bind_int(stmt, 3, node->acl->id);
    db_bind_int(stmt, 4, node->owner);
    db_bind_int(stmt, 5, node->czxid);
    db_bind_int(stmt, 6, node->mzxid);
    db_bind_int(stmt, 7, node->pzxid);
    db_bind_int(stmt, 8, node->ctime);
    db_bind_int(stmt, 9, node->mtime);
    db_bind_int(stmt, 10, node->version);
    db_bind_int(stmt, 11, node->aversion);
    db_bind_int(stmt, 12, node->created);
    db_bind_blob(stmt, 13, node->name, node->name_len);
    bind_data(stmt, 14, &node->data);
    return db_run(stmt, err);
}

static int save_data(struct ledger *ledger, const struct znode *node, struct err *err)
{
    struct db_stmt *stmt = ledger->stmts[NODE_DATA];

    db_bind_int(stmt, 1, node->id);
    db_bind_int(stmt, 2, node->mzxid);
    db_bind_int(stmt, 3, node->mtime);
    db_bind_int(stmt, 4, node->version);
    bind_data(stmt, 5, &node->data);
    return db_run(stmt, err);
}

static int save_children(struct ledger *ledger, const struct znode *node, struct err *err)
{
    struct db_stmt *stmt = ledger->stmts[NODE_CHILDREN];

    db_bind_int(stmt, 1, node->id);
    db_bind_int(stmt, 2, node->pzxid);
    db_bind_int(stmt, 3, node->created);
    return db_run(stmt, err);
}

static int save_node_acl(struct ledger *ledger, const struct znode *node, struct err *err)
{
    struct db_stmt *stmt = ledger->stmts[NODE_ACL];

    db_bind_int(stmt, 1, node->id);
    db_bind_int(stmt, 2, node->acl->id);
    db_bind_int(stmt, 3, node->aversion);
    return db_run(stmt, err);
}

static int save_node(struct ledger *ledger, const struct znode *node, struct err *err)
{
    if ((node->dirt & (ZNODE_NEW | ZNODE_ACL)) != 0 && save_acl(ledger, node->acl, err) < 0) {
        return err_code(err);
    }
    if ((node->dirt & ZNODE_NEW) != 0) {
        return save_new(ledger, node, err);
    }
    if ((node->dirt & ZNODE_DATA) != 0 && save_data(ledger, node, err) < 0) {
        return err_code(err);
    }
    if ((node->dirt & ZNODE_CHILDREN) != 0 && save_children(ledger, node, err) < 0) {
        return err_code(err);
    }
    return (node->dirt & ZNODE_ACL) != 0 ? save_node_acl(ledger, node, err) : 0;
}

static int save_session(struct ledger *ledger, const struct zsession *session, struct err *err)
{
    struct db_stmt *stmt = ledger->stmts[SESSION_SET];

    db_bind_int(stmt, 1, session->id);
    db_bind_int(stmt, 2, session->timeout_ms);
    db_bind_blob(stmt, 3, session->passwd, sizeof session->passwd);
    return db_run(stmt, err);
}

static int save_sessions(struct ledger *ledger, const struct zsession_table *table, struct err *err)
{
    for (size_t i = 0; i < table->n_dead; i++) {
        if (run1(ledger, SESSION_DROP, table->dead[i], err) < 0) {
            return err_code(err);
        }
    }
    if (table->n_dirty == 0) {
        return 0;
    }
    for (struct zsession *session = table->all; session != NULL; session = session->hh.next) {
        if (session->dirty && save_session(ledger, session, err) < 0) {
            return err_code(err);
        }
    }
    return 0;
}

static int64_t newest(const struct znode *node)
{
    int64_t zxid = node->mzxid > node->pzxid ? node->mzxid : node->pzxid;

    return node->czxid > zxid ? node->czxid : zxid;
}

static int save_all(struct ledger *ledger, struct engine *engine, struct err *err)
{
    const struct znode_log *log = &engine->tree.log;
    int64_t in_rows = 0;

    for (size_t i = 0; i < log->n_dead; i++) {
        if (run1(ledger, NODE_DROP, log->dead[i], err) < 0) {
            return err_code(err);
        }
    }
    for (struct znode *node = log->dirty; node != NULL; node = node->dirty_next) {
        if (save_node(ledger, node, err) < 0) {
            return err_code(err);
        }
        in_rows = newest(node) > in_rows ? newest(node) : in_rows;
    }
    if (save_sessions(ledger, &engine->sessions, err) < 0) {
        return err_code(err);
    }
    return in_rows < engine->tree.zxid ? meta_set(ledger, "zxid", engine->tree.zxid, err) : 0;
}

int ledger_commit(struct ledger *ledger, struct engine *engine, struct err *err)
{
    if (FAULT("ledger.commit") != 0) {
        return err_set(err, ERR_IO, "commit: injected");
    }
    CRASH_POINT("store.commit");
    if (db_run(ledger->stmts[BEGIN], err) < 0 || save_all(ledger, engine, err) < 0) {
        return err_wrap(err, "commit");
    }
    CRASH_POINT("store.written");
    if (db_run(ledger->stmts[COMMIT], err) < 0) {
        return err_wrap(err, "commit");
    }
    CRASH_POINT("store.committed");
    znode_log_clear(&engine->tree);
    zsession_log_clear(&engine->sessions);
    return 0;
}

/* ---- loading ---------------------------------------------------------- */

static int load_meta(struct ledger *ledger, struct engine *engine, bool *ret_empty, struct err *err)
{
    CLEANUP(db_stmt_freep) struct db_stmt *stmt = NULL;
    int rv = db_prepare(ledger->db, "SELECT key, value FROM meta", &stmt, err);

    *ret_empty = true;
    while (rv == 0 && (rv = db_step(stmt, err)) > 0) {
        const char *key = db_col_text(stmt, 0);
        int64_t value = db_col_int(stmt, 1);

        rv = 0;
        if (key != NULL && strcmp(key, "zxid") == 0) {
            engine->tree.zxid = value;
        } else if (key != NULL && strcmp(key, "format") == 0) {
            *ret_empty = false;
            if (value != FORMAT) {
                return err_set(err, ERR_UNSUPPORTED, "format %lld is not %d", (long long)value,
                               FORMAT);
            }
        }
        if (key == NULL) {
            return err_set(err, ERR_INVALID, "damaged");
        }
    }
    return rv;
}

static int load_acls(struct ledger *ledger, struct engine *engine, struct err *err)
{
    CLEANUP(db_stmt_freep) struct db_stmt *stmt = NULL;
    int rv = db_prepare(
        ledger->db, "SELECT id, entries FROM acl WHERE id IN (SELECT acl FROM node)", &stmt, err);

    if (rv < 0) {
        return rv;
    }
    while ((rv = db_step(stmt, err)) > 0) {
        size_t len = 0;
        const void *key = db_col_blob(stmt, 1, &len);

        if (acl_restore(&engine->tree.acls, db_col_int(stmt, 0), key, len, err) < 0) {
            return err_code(err);
        }
    }
    return rv;
}

static int load_sessions(struct ledger *ledger, struct engine *engine, uint64_t now_ms,
                         struct err *err)
{
    CLEANUP(db_stmt_freep) struct db_stmt *stmt = NULL;
    int rv = db_prepare(ledger->db, "SELECT id, timeout_ms, passwd FROM session", &stmt, err);

    if (rv < 0) {
        return rv;
    }
    while ((rv = db_step(stmt, err)) > 0) {
        size_t len = 0;
        const char *passwd = db_col_blob(stmt, 2, &len);
        int64_t id = db_col_int(stmt, 0);

        if (len != JUTE_PASSWD_SIZE) {
            return err_set(err, ERR_INVALID, "session 0x%llx is damaged", (unsigned long long)id);
        }
        (void)zsession_restore(&engine->sessions, id, passwd, (int32_t)db_col_int(stmt, 1), now_ms);
    }
    return rv;
}

/* Rows come by id, so this stays sorted. */
struct loaded {
    struct znode **nodes;
    size_t n, cap;
    struct acl *last_acl; /* Neighbours mostly have the same. */
};

static void loaded_free(const struct loaded *loaded)
{
    free(loaded->nodes);
}

static void loaded_add(struct loaded *loaded, struct znode *node)
{
    if (loaded->n == loaded->cap) {
        loaded->cap = loaded->cap > 0 ? loaded->cap * 2 : 256;
        loaded->nodes = mem_realloc(loaded->nodes, loaded->cap * sizeof(void *));
    }
    loaded->nodes[loaded->n++] = node;
}

static int compare_id(const void *key, const void *element)
{
    int64_t id = *(const int64_t *)key;
    const struct znode *node = *(struct znode *const *)element;

    return id < node->id ? -1 : id > node->id;
}

static struct znode *loaded_find(const struct loaded *loaded, int64_t id)
{
    struct znode **found = NULL;

    if (loaded->n > 0) {
        found = bsearch(&id, loaded->nodes, loaded->n, sizeof(void *), compare_id);
    }
    return found != NULL ? *found : NULL;
}

static struct acl *loaded_acl(struct loaded *loaded, const struct engine *engine, int64_t id)
{
    struct acl *acl = loaded->last_acl;

    if (acl == NULL || acl->id != id) {
        for (acl = engine->tree.acls.all; acl != NULL && acl->id != id; acl = acl->hh.next) {
        }
        loaded->last_acl = acl;
    }
    return acl;
}

enum node_column {
    COL_ID,
    COL_PARENT,
    COL_ACL,
    COL_OWNER,
    COL_CZXID,
    COL_MZXID,
    COL_PZXID,
    COL_CTIME,
    COL_MTIME,
    COL_VERSION,
    COL_AVERSION,
    COL_CREATED,
    COL_NAME,
    COL_DATA,
    COL_DATA_NULL,
};

static struct jute_bytes load_data(struct db_stmt *stmt)
{
    size_t len = 0;
    const void *bytes = db_col_blob(stmt, COL_DATA, &len);
    struct jute_bytes data = { NULL, db_col_int(stmt, COL_DATA_NULL) != 0 ? -1 : (int32_t)len };

    if (bytes != NULL && len > 0) {
        data.data = mem_alloc(len);
        memcpy(data.data, bytes, len);
    }
    return data;
}

static int load_node(struct db_stmt *stmt, struct engine *engine, struct loaded *loaded,
                     struct err *err)
{
    int64_t id = db_col_int(stmt, COL_ID);
    int64_t owner = db_col_int(stmt, COL_OWNER);
    struct znode *parent = loaded_find(loaded, db_col_int(stmt, COL_PARENT));
    struct acl *acl = loaded_acl(loaded, engine, db_col_int(stmt, COL_ACL));
    struct zsession *session = owner != 0 ? zsession_find(&engine->sessions, owner) : NULL;
    size_t len = 0;
    const char *name = db_col_blob(stmt, COL_NAME, &len);

    if ((parent == NULL) != (loaded->n == 0) || acl == NULL || (owner != 0 && session == NULL) ||
        (parent != NULL && (name == NULL || len == 0))) {
        return err_set(err, ERR_INVALID, "node %lld is damaged", (long long)id);
    }
    struct jute_bytes data = load_data(stmt);

    acl->refs++;
    engine->tree.last_id = id - 1; /* so that znode_add_take() gives it its own id */
    struct znode *node =
        znode_add_take(&engine->tree, parent, name != NULL ? name : "", len, data, acl);

    node->owner = owner;
    node->czxid = db_col_int(stmt, COL_CZXID);
    node->mzxid = db_col_int(stmt, COL_MZXID);
    node->pzxid = db_col_int(stmt, COL_PZXID);
    node->ctime = db_col_int(stmt, COL_CTIME);
    node->mtime = db_col_int(stmt, COL_MTIME);
    node->version = (int32_t)db_col_int(stmt, COL_VERSION);
    node->aversion = (int32_t)db_col_int(stmt, COL_AVERSION);
    node->created = (int32_t)db_col_int(stmt, COL_CREATED);
    if (session != NULL) {
        zsession_own(session, node);
        engine->tree.n_ephemeral++;
    }
    if (engine->tree.zxid < newest(node)) {
        engine->tree.zxid = newest(node);
    }
    loaded_add(loaded, node);
    return 0;
}

static int load_nodes(struct ledger *ledger, struct engine *engine, struct err *err)
{
    CLEANUP(db_stmt_freep) struct db_stmt *stmt = NULL;
    CLEANUP(loaded_free) struct loaded loaded = { 0 };
    int rv = db_prepare(ledger->db,
                        "SELECT id, parent, acl, owner, czxid, mzxid, pzxid, ctime, mtime,"
                        " version, aversion, created, name, data, data IS NULL"
                        " FROM node ORDER BY id",
                        &stmt, err);

    if (rv < 0) {
        return rv;
    }
    while ((rv = db_step(stmt, err)) > 0) {
        if (load_node(stmt, engine, &loaded, err) < 0) {
            return err_code(err);
        }
    }
    if (rv == 0 && engine->tree.root == NULL) {
        return err_set(err, ERR_INVALID, "there is no root node");
    }
    return rv;
}

static int load(struct ledger *ledger, struct engine *engine, uint64_t now_ms, struct err *err)
{
    bool empty = false;

    if (load_meta(ledger, engine, &empty, err) < 0) {
        return err_code(err);
    }
    if (!empty) {
        if (load_acls(ledger, engine, err) < 0 || load_sessions(ledger, engine, now_ms, err) < 0) {
            return err_code(err);
        }
        return load_nodes(ledger, engine, err);
    }
    znode_tree_plant(&engine->tree);
    if (db_exec(ledger->db, "BEGIN IMMEDIATE", err) < 0 ||
        meta_set(ledger, "format", FORMAT, err) < 0 || save_all(ledger, engine, err) < 0 ||
        db_exec(ledger->db, "COMMIT", err) < 0) {
        return err_code(err);
    }
    znode_log_clear(&engine->tree);
    return 0;
}

/* A commit into space that the WAL has already is half as dear as one that makes
 * the file longer, because fdatasync has no size to write.  SQLite does not mind
 * zeros behind its frames: a frame counts by its checksum.  Only a shortcut, so
 * failing is no error. */
static void lengthen_wal(const char *path)
{
    static const char ZEROS[32768];
    CLEANUP(mem_freep) char *wal = str_printf("%s-wal", path);
    CLEANUP(fd_closep) int fd = open(wal, O_WRONLY | O_CLOEXEC);
    off_t at = fd >= 0 ? lseek(fd, 0, SEEK_END) : WAL_BYTES;

    while (at < WAL_BYTES) {
        ssize_t n = pwrite(fd, ZEROS, sizeof ZEROS, at);

        if (n <= 0) {
            return;
        }
        at += n;
    }
}

static int open_file(struct ledger *ledger, const char *path, struct err *err)
{
    if (db_open(path, DB_SYNC_FULL, 0, &ledger->db, err) < 0 ||
        db_exec(ledger->db, "PRAGMA cache_size=-512", err) < 0 ||
        db_exec(ledger->db, SCHEMA, err) < 0) {
        return err_code(err);
    }
    for (int i = 0; i < N_STMTS; i++) {
        if (db_prepare(ledger->db, SQL[i], &ledger->stmts[i], err) < 0) {
            return err_code(err);
        }
    }
    return 0;
}

int ledger_open(const char *dir, struct engine *engine, uint64_t now_ms, struct ledger **ret_ledger,
                struct err *err)
{
    CLEANUP(ledger_closep) struct ledger *ledger = mem_alloc(sizeof *ledger);
    CLEANUP(mem_freep) char *path = file_join(dir, "store.db");

    if (open_file(ledger, path, err) < 0 || load(ledger, engine, now_ms, err) < 0) {
        return err_wrap(err, "ledger %s", path);
    }
    lengthen_wal(path);
    *ret_ledger = TAKE(ledger);
    return 0;
}
