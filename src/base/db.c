/* SPDX-License-Identifier: Apache-2.0 */

/* db: the only file that knows SQLite.
 *
 * Blocking calls on the caller's thread: writes are small and WAL makes them
 * appends.  Every SQLite code becomes an ERR_* here.
 */

#include "base/db.h"

#include "base/fault.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <string.h>

struct db {
    sqlite3 *handle;
};

struct db_stmt {
    struct db *db;
    sqlite3_stmt *handle;
};

static int failed(struct db *db, int code, const char *what, struct err *err)
{
    const char *text = db->handle != NULL ? sqlite3_errmsg(db->handle) : sqlite3_errstr(code);

    switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return err_set(err, ERR_TIMEOUT, "%s: %s", what, text);
    case SQLITE_CONSTRAINT:
        return err_set(err, ERR_EXISTS, "%s: %s", what, text);
    case SQLITE_PERM:
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
        return err_set(err, ERR_DENIED, "%s: %s", what, text);
    case SQLITE_TOOBIG:
        return err_set(err, ERR_TOOBIG, "%s: %s", what, text);
    default:
        return err_set(err, ERR_IO, "%s: %s", what, text);
    }
}

enum { WAL_PAUSE_MS = 5 };

/* Before SQLite makes it by the umask: what is kept there is for this user's programs alone. */
static void make_private(const char *path)
{
    int fd =
        path[0] != ':' ? open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600) : -1;

    fd_closep(&fd);
}

/* SQLite does not wait by itself for another one that turns the same new database into WAL
 * mode: two opening it at once would fail one of them. */
static int use_wal(struct db *db, unsigned busy_ms, struct err *err)
{
    for (unsigned waited_ms = 0;; waited_ms += WAL_PAUSE_MS) {
        if (db_exec(db, "PRAGMA journal_mode=WAL", err) == 0) {
            return 0;
        }
        if (err->code != ERR_TIMEOUT || waited_ms >= busy_ms) {
            return err_code(err);
        }
        (void)sqlite3_sleep(WAL_PAUSE_MS);
    }
}

int db_open(const char *path, enum db_sync sync, unsigned busy_ms, struct db **ret_db,
            struct err *err)
{
    CLEANUP(db_closep) struct db *db = mem_alloc(sizeof *db);

    make_private(path);
    int rv = sqlite3_open_v2(path, &db->handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);

    if (rv != SQLITE_OK) {
        (void)failed(db, rv, "open", err);
        return err_wrap(err, "database %s", path);
    }
    (void)sqlite3_busy_timeout(db->handle, (int)busy_ms);
    if (use_wal(db, busy_ms, err) < 0 ||
        db_exec(db, sync == DB_SYNC_FULL ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL",
                err) < 0) {
        return err_wrap(err, "database %s", path);
    }
    *ret_db = TAKE(db);
    return 0;
}

void db_close(struct db *db)
{
    if (db != NULL) {
        (void)sqlite3_close_v2(db->handle);
        free(db);
    }
}

int db_exec(struct db *db, const char *sql, struct err *err)
{
    int rv = FAULT("db.exec") ? SQLITE_IOERR : sqlite3_exec(db->handle, sql, NULL, NULL, NULL);

    return rv == SQLITE_OK ? 0 : failed(db, rv, "database", err);
}

int db_prepare(struct db *db, const char *sql, struct db_stmt **ret_stmt, struct err *err)
{
    CLEANUP(db_stmt_freep) struct db_stmt *stmt = mem_alloc(sizeof *stmt);
    int rv =
        sqlite3_prepare_v3(db->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &stmt->handle, NULL);

    stmt->db = db;
    if (rv != SQLITE_OK) {
        return failed(db, rv, "prepare", err);
    }
    *ret_stmt = TAKE(stmt);
    return 0;
}

void db_stmt_free(struct db_stmt *stmt)
{
    if (stmt != NULL) {
        (void)sqlite3_finalize(stmt->handle);
        free(stmt);
    }
}

void db_bind_int(struct db_stmt *stmt, int index, int64_t value)
{
    (void)sqlite3_bind_int64(stmt->handle, index, value);
}

void db_bind_text(struct db_stmt *stmt, int index, const char *text)
{
    if (text == NULL) {
        (void)sqlite3_bind_null(stmt->handle, index);
    } else {
        (void)sqlite3_bind_text(stmt->handle, index, text, -1, SQLITE_STATIC);
    }
}

void db_bind_blob(struct db_stmt *stmt, int index, const void *bytes, size_t len)
{
    (void)sqlite3_bind_blob64(stmt->handle, index, len > 0 ? bytes : "", len, SQLITE_STATIC);
}

int db_step(struct db_stmt *stmt, struct err *err)
{
    int rv = FAULT("db.step") ? SQLITE_IOERR : sqlite3_step(stmt->handle);

    if (rv == SQLITE_ROW) {
        return 1;
    }
    if (rv != SQLITE_DONE) {
        (void)failed(stmt->db, rv, "database", err);
    }
    db_reset(stmt);
    return rv == SQLITE_DONE ? 0 : err_code(err);
}

int db_run(struct db_stmt *stmt, struct err *err)
{
    int rv = 0;

    do {
        rv = db_step(stmt, err);
    } while (rv > 0);
    return rv;
}

void db_reset(struct db_stmt *stmt)
{
    (void)sqlite3_reset(stmt->handle);
    (void)sqlite3_clear_bindings(stmt->handle);
}

int64_t db_col_int(struct db_stmt *stmt, int index)
{
    return sqlite3_column_int64(stmt->handle, index);
}

const char *db_col_text(struct db_stmt *stmt, int index)
{
    return (const char *)sqlite3_column_text(stmt->handle, index);
}

const void *db_col_blob(struct db_stmt *stmt, int index, size_t *ret_len)
{
    *ret_len = (size_t)sqlite3_column_bytes(stmt->handle, index);
    return sqlite3_column_blob(stmt->handle, index);
}

int64_t db_last_id(struct db *db)
{
    return sqlite3_last_insert_rowid(db->handle);
}

int64_t db_changes(struct db *db)
{
    return sqlite3_changes64(db->handle);
}
