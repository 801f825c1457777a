/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"
#include "base/mem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A thin door to SQLite: what davit's journals and its store need, no more. */
struct db;
struct db_stmt;

enum db_sync { DB_SYNC_NORMAL, DB_SYNC_FULL };

/* Open path in WAL mode, or create it for this user alone (mode 0600).  Another writer is waited
 * for up to busy_ms, then ERR_TIMEOUT. */
int db_open(const char *path, enum db_sync sync, unsigned busy_ms, struct db **ret_db,
            struct err *err);
void db_close(struct db *db);
DEFINE_FREEP(struct db, db_close)

/* One or more statements without parameters or results. */
int db_exec(struct db *db, const char *sql, struct err *err);

/* Prepared once, used often.  Finalised by db_stmt_free() before db_close(). */
int db_prepare(struct db *db, const char *sql, struct db_stmt **ret_stmt, struct err *err);
void db_stmt_free(struct db_stmt *stmt);
DEFINE_FREEP(struct db_stmt, db_stmt_free)

/* Parameters count from 1.  Text and bytes are borrowed until db_reset(). */
void db_bind_int(struct db_stmt *stmt, int index, int64_t value);
void db_bind_text(struct db_stmt *stmt, int index, const char *text); /* NULL binds NULL */
void db_bind_blob(struct db_stmt *stmt, int index, const void *bytes, size_t len);

/* 1: a row is there.  0: done, and the statement is reset.  Negative: error, reset. */
int db_step(struct db_stmt *stmt, struct err *err);

/* Run to the end and reset; rows are ignored. */
int db_run(struct db_stmt *stmt, struct err *err);

/* Leave the rows that were not read; what was bound is let go of. */
void db_reset(struct db_stmt *stmt);

/* Columns count from 0 and are borrowed until the next step. */
int64_t db_col_int(struct db_stmt *stmt, int index);
const char *db_col_text(struct db_stmt *stmt, int index); /* NULL for NULL */
const void *db_col_blob(struct db_stmt *stmt, int index, size_t *ret_len);

/* Of the connection: the rowid of the latest INSERT, the rows that the latest change touched. */
int64_t db_last_id(struct db *db);
int64_t db_changes(struct db *db);
