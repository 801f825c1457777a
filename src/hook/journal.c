/* SPDX-License-Identifier: Apache-2.0 */

/* journal: the hook runs of one machine, kept in SQLite.
 *
 * WAL with synchronous=NORMAL: what was written survives kill -9 of any process; a power
 * cut may take the last runs, never an operation's duty, which is in the store.  The only
 * file of the room that needs SQLite: davit-pod uses another sink and does not link it.
 *
 * One table, one row a run: the record's JSON, and beside it only what is asked for in a
 * WHERE.  `owner` is the executor (boot, pid, start time), so that another process can tell
 * that it died.
 * Failure: SQLite's, passed on; readers and other writers are waited for up to 5 s.
 * Invariant: a row is closed (open = 0) exactly once; what is closed is never changed.
 */
#include "hook/journal.h"

#include "base/buf.h"
#include "base/child.h"
#include "base/clock.h"
#include "base/db.h"
#include "base/json.h"
#include "base/str.h"
#include "base/tree.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    BUSY_MS = 5000,
    LIMIT_DEFAULT = 100,
    LIMIT_MAX = 1000,
    RECORD_MAX = 1024 * 1024,
    TRIM_AT_ONCE = 500,
};

static const char schema[] = "CREATE TABLE IF NOT EXISTS runs("
                             " seq INTEGER PRIMARY KEY AUTOINCREMENT,"
                             " run_id TEXT NOT NULL UNIQUE,"
                             " open INTEGER NOT NULL,"
                             " bad INTEGER NOT NULL,"
                             " op_id TEXT, op_number INTEGER, job TEXT, level TEXT, node TEXT,"
                             " event TEXT, token TEXT,"
                             " pid INTEGER, started_ms INTEGER, finished_ms INTEGER,"
                             " owner TEXT,"
                             " record TEXT NOT NULL);"
                             "CREATE INDEX IF NOT EXISTS runs_op ON runs(op_id);"
                             "CREATE INDEX IF NOT EXISTS runs_open ON runs(open) WHERE open = 1;";

/* The same columns in the same order for both, so that bind_record() serves both. */
static const char sql_put[] =
    "INSERT INTO runs(run_id, open, bad, op_id, op_number, job, level, node, event, token,"
    " finished_ms, record, owner) VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13)"
    " ON CONFLICT(run_id) DO UPDATE SET open = ?2, bad = ?3, finished_ms = ?11, record = ?12"
    " WHERE open = 1";
static const char sql_update[] = "UPDATE runs SET open = ?2, bad = ?3, finished_ms = ?4,"
                                 " record = ?5 WHERE run_id = ?1 AND open = 1";

/* Beside the record, as making its JSON again would cost more than the write. */
static const char sql_start[] = "UPDATE runs SET pid = ?2, started_ms = ?3"
                                " WHERE run_id = ?1 AND open = 1";

struct hook_journal {
    struct db *db;
    struct db_stmt *put, *start, *update;
    char owner[128];
    struct hook_sink sink;
};

static const char *boot_id(char *ret, size_t size)
{
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");

    (void)snprintf(ret, size, "unknown");
    if (file != NULL) {
        if (fgets(ret, (int)size, file) != NULL) {
            ret[strcspn(ret, "\n")] = '\0';
        }
        (void)fclose(file);
    }
    return ret;
}

static void name_owner(char *ret, size_t size)
{
    char boot[64];
    uint64_t ticks = 0;
    struct err ignored;

    (void)child_start_time(getpid(), &ticks, &ignored);
    (void)snprintf(ret, size, "%s %d %llu", boot_id(boot, sizeof boot), (int)getpid(),
                   (unsigned long long)ticks);
}

static bool owner_is_alive(const char *owner)
{
    char boot[64];
    char theirs[64];
    int pid = 0;
    unsigned long long ticks = 0;
    uint64_t now_ticks = 0;
    struct err ignored;

    if (owner == NULL ||
        sscanf(owner, "%63s %d %llu", theirs, &pid, &ticks) != 3 || /* NOLINT(cert-err34-c) */
        strcmp(theirs, boot_id(boot, sizeof boot)) != 0) {
        return false;
    }
    return child_start_time(pid, &now_ticks, &ignored) == 0 && now_ticks == ticks;
}

/* --- Writing. --- */

static int put_record(struct hook_journal *journal, const struct hook_record *record,
                      const char *owner, struct err *err)
{
    CLEANUP(json_freep) json_t *json = record_to_json_short(record);
    CLEANUP(mem_freep) char *text = json_text_ordered(json);
    struct db_stmt *put = journal->put;

    if (strlen(text) > RECORD_MAX) {
        return err_set(err, ERR_TOOBIG, "hook record of %zu bytes", strlen(text));
    }
    db_bind_text(put, 1, record->run_id);
    db_bind_int(put, 2, record->outcome == HOOK_OPEN);
    db_bind_int(put, 3, record_is_bad(record));
    db_bind_text(put, 4, record->op_id);
    db_bind_int(put, 5, record->op_number);
    db_bind_text(put, 6, record->job);
    db_bind_text(put, 7, record->level);
    db_bind_text(put, 8, record->node);
    db_bind_text(put, 9, record->event);
    db_bind_text(put, 10, record->token);
    db_bind_int(put, 11, (int64_t)record->finished_ms);
    db_bind_text(put, 12, text);
    db_bind_text(put, 13, owner);
    return db_run(put, err);
}

static int put_all(struct hook_journal *journal, const struct hook_record *records, size_t n,
                   const char *owner, struct err *err)
{
    struct err ignored;

    /* One statement is a transaction by itself. */
    if (n == 1) {
        return put_record(journal, &records[0], owner, err);
    }
    if (db_exec(journal->db, "BEGIN IMMEDIATE", err) < 0) {
        return err_code(err);
    }
    for (size_t i = 0; i < n; i++) {
        if (put_record(journal, &records[i], owner, err) < 0) {
            (void)db_exec(journal->db, "ROLLBACK", &ignored);
            return err_code(err);
        }
    }
    if (db_exec(journal->db, "COMMIT", err) < 0) {
        (void)db_exec(journal->db, "ROLLBACK", &ignored);
        return err_code(err);
    }
    return 0;
}

static int sink_intents(void *ctx, const struct hook_record *records, size_t n, struct err *err)
{
    struct hook_journal *journal = ctx;

    if (n > 0 && put_all(journal, records, n, journal->owner, err) < 0) {
        return err_wrap(err, "journal of hook runs");
    }
    return 0;
}

static int sink_started(void *ctx, const struct hook_record *record, struct err *err)
{
    struct hook_journal *journal = ctx;
    struct db_stmt *start = journal->start;

    db_bind_text(start, 1, record->run_id);
    db_bind_int(start, 2, record->pid);
    db_bind_int(start, 3, (int64_t)record->started_ms);
    if (db_run(start, err) < 0) {
        return err_wrap(err, "journal of hook runs");
    }
    return 0;
}

static int sink_finished(void *ctx, const struct hook_record *record, struct err *err)
{
    struct hook_journal *journal = ctx;
    CLEANUP(json_freep) json_t *json = record_to_json_short(record);
    CLEANUP(mem_freep) char *text = json_text_ordered(json);
    struct db_stmt *update = journal->update;

    db_bind_text(update, 1, record->run_id);
    db_bind_int(update, 2, record->outcome == HOOK_OPEN);
    db_bind_int(update, 3, record_is_bad(record));
    db_bind_int(update, 4, (int64_t)record->finished_ms);
    db_bind_text(update, 5, text);
    if (db_run(update, err) < 0) {
        return err_wrap(err, "journal of hook runs");
    }
    return 0;
}

const struct hook_sink *journal_sink(struct hook_journal *journal)
{
    return &journal->sink;
}

int journal_insert(struct hook_journal *journal, const struct hook_record *records, size_t n,
                   struct err *err)
{
    /* Whoever made them will close them: no owner of ours to outlive. */
    if (n > 0 && put_all(journal, records, n, "elsewhere", err) < 0) {
        return err_wrap(err, "journal of hook runs");
    }
    return 0;
}

/* --- Opening. --- */

int journal_open(const char *path, struct hook_journal **ret_journal, struct err *err)
{
    CLEANUP(journal_closep) struct hook_journal *journal = mem_alloc(sizeof *journal);

    if (db_open(path, DB_SYNC_NORMAL, BUSY_MS, &journal->db, err) < 0 ||
        db_exec(journal->db, schema, err) < 0 ||
        db_prepare(journal->db, sql_put, &journal->put, err) < 0 ||
        db_prepare(journal->db, sql_start, &journal->start, err) < 0 ||
        db_prepare(journal->db, sql_update, &journal->update, err) < 0) {
        return err_wrap(err, "open journal of hook runs %s", path);
    }
    name_owner(journal->owner, sizeof journal->owner);
    journal->sink = (struct hook_sink){
        .ctx = journal, .intents = sink_intents, .started = sink_started, .finished = sink_finished
    };
    *ret_journal = TAKE(journal);
    return 0;
}

void journal_close(struct hook_journal *journal)
{
    if (journal != NULL) {
        db_stmt_free(journal->put);
        db_stmt_free(journal->start);
        db_stmt_free(journal->update);
        db_close(journal->db);
        free(journal);
    }
}

/* --- Reading. --- */

/* The record of a row of (..., record, pid, started_ms) with `record` at column at. */
static int read_record(struct db_stmt *stmt, int at, struct hook_record *ret_record,
                       struct err *err)
{
    CLEANUP(json_freep) json_t *json = NULL;
    const char *text = db_col_text(stmt, at);

    if (json_parse(text, strlen(text), RECORD_MAX, &json, err) < 0 ||
        record_from_json(json, ret_record, err) < 0) {
        return err_wrap(err, "read hook runs");
    }
    /* Columns of a run that was started here; inserted records are whole. */
    if (ret_record->pid == 0 && db_col_int(stmt, at + 1) != 0) {
        ret_record->pid = db_col_int(stmt, at + 1);
        ret_record->started_ms = (uint64_t)db_col_int(stmt, at + 2);
    }
    return 0;
}

static int read_json(struct db_stmt *stmt, int at, json_t *items, struct err *err)
{
    struct hook_record record;

    if (read_record(stmt, at, &record, err) < 0) {
        return err_code(err);
    }
    json_array_append_new(items, record_to_json(&record));
    record_fini(&record);
    return 0;
}

static bool is_number(const char *text)
{
    return text[0] != '\0' && text[strspn(text, "0123456789")] == '\0' && strlen(text) < 19;
}

static void add_where(struct buf *sql, const struct journal_query *query)
{
    buf_add_text(sql, "SELECT seq, record, pid, started_ms FROM runs WHERE seq > ?1");
    if (query->op_id != NULL) {
        buf_add_text(sql, is_number(query->op_id) ? " AND op_number = ?2" : " AND op_id = ?2");
    }
    buf_add_text(sql, query->job != NULL ? " AND job = ?3" : "");
    buf_add_text(sql, query->level != NULL ? " AND level = ?4" : "");
    buf_add_text(sql, query->node != NULL ? " AND node = ?5" : "");
    buf_add_text(sql, query->event != NULL ? " AND event = ?6" : "");
    if (query->token != NULL) {
        buf_add_text(sql, " AND (token = ?7 OR substr(token, 1, length(?7) + 1) = ?7 || '.')");
    }
    buf_add_text(sql, query->failed ? " AND bad = 1" : "");
    buf_add_text(sql, query->newest ? " ORDER BY seq DESC LIMIT ?8" : " ORDER BY seq LIMIT ?8");
}

static void bind_where(struct db_stmt *stmt, const struct journal_query *query)
{
    struct err ignored;
    int64_t number = 0;

    if (query->op_id != NULL && is_number(query->op_id)) {
        (void)str_to_int(query->op_id, 0, INT64_MAX, "operation", &number, &ignored);
        db_bind_int(stmt, 2, number);
    } else if (query->op_id != NULL) {
        db_bind_text(stmt, 2, query->op_id);
    }
    const struct {
        int index;
        const char *text;
    } texts[] = { { 3, query->job },
                  { 4, query->level },
                  { 5, query->node },
                  { 6, query->event },
                  { 7, query->token } };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (texts[i].text != NULL) {
            db_bind_text(stmt, texts[i].index, texts[i].text);
        }
    }
}

static json_t *reversed(const json_t *items)
{
    json_t *other = json_array();

    for (size_t i = json_array_size(items); i > 0; i--) {
        json_array_append(other, json_array_get(items, i - 1));
    }
    return other;
}

int journal_query(struct hook_journal *journal, const struct journal_query *query,
                  json_t **ret_items, int64_t *ret_next, struct err *err)
{
    CLEANUP_BUF sql = { 0 };
    CLEANUP(db_stmt_freep) struct db_stmt *stmt = NULL;
    CLEANUP(json_freep) json_t *items = json_array();
    int limit = query->limit <= 0 ? LIMIT_DEFAULT : query->limit;
    int64_t last = 0;
    int row;

    limit = limit > LIMIT_MAX ? LIMIT_MAX : limit;
    add_where(&sql, query);
    if (db_prepare(journal->db, buf_text(&sql), &stmt, err) < 0) {
        return err_wrap(err, "read hook runs");
    }
    db_bind_int(stmt, 1, query->after);
    db_bind_int(stmt, 8, limit + 1); /* One more tells whether there is more. */
    bind_where(stmt, query);
    while ((row = db_step(stmt, err)) == 1) {
        if (json_array_size(items) == (size_t)limit) {
            *ret_next = query->newest ? 0 : last;
            *ret_items = query->newest ? reversed(items) : TAKE(items);
            return 0;
        }
        if (read_json(stmt, 1, items, err) < 0) {
            return err_code(err);
        }
        last = db_col_int(stmt, 0);
    }
    if (row < 0) {
        return err_wrap(err, "read hook runs");
    }
    *ret_next = 0;
    *ret_items = query->newest ? reversed(items) : TAKE(items);
    return 0;
}

/* --- After a crash, and with age. --- */

static int close_lost(struct hook_journal *journal, json_t *json, struct err *err)
{
    struct hook_record record;

    if (record_from_json(json, &record, err) < 0) {
        return err_code(err);
    }
    record.outcome = HOOK_LOST;
    record.finished_ms = clock_wall_ms();
    record_set(&record.error, "its executor died");
    int ret = sink_finished(journal, &record, err);
    if (ret == 0) {
        json_object_set_new(json, "outcome", json_string("lost"));
        json_put_int(json, "finished_ms", (int64_t)record.finished_ms);
        json_put_str(json, "error", record.error);
    }
    record_fini(&record);
    return ret;
}

int journal_recover(struct hook_journal *journal, json_t **ret_lost, struct err *err)
{
    CLEANUP(db_stmt_freep) struct db_stmt *stmt = NULL;
    CLEANUP(json_freep) json_t *lost = json_array();
    size_t i;
    json_t *json;
    int row;

    /* What the dead ones started must not run on beside its own repetition. */
    tree_remove_stale();
    if (db_prepare(journal->db,
                   "SELECT owner, record, pid, started_ms FROM runs WHERE open = 1 ORDER BY seq",
                   &stmt, err) < 0) {
        return err_wrap(err, "recover hook runs");
    }
    while ((row = db_step(stmt, err)) == 1) {
        const char *owner = db_col_text(stmt, 0);
        if (owner != NULL && (strcmp(owner, "elsewhere") == 0 || owner_is_alive(owner))) {
            continue;
        }
        if (read_json(stmt, 1, lost, err) < 0) {
            return err_code(err);
        }
    }
    if (row < 0) {
        return err_wrap(err, "recover hook runs");
    }
    json_array_foreach(lost, i, json)
    {
        if (close_lost(journal, json, err) < 0) {
            return err_wrap(err, "recover hook runs");
        }
    }
    if (ret_lost != NULL) {
        *ret_lost = TAKE(lost);
    }
    return 0;
}

/* In pieces: a writer waits for one of them at most. */
int journal_trim(struct hook_journal *journal, uint64_t max_age_ms, int64_t max_runs,
                 struct err *err)
{
    CLEANUP(db_stmt_freep) struct db_stmt *stmt = NULL;
    uint64_t now_ms = clock_wall_ms();

    /* What was made elsewhere and never closed goes with its number only. */
    if (db_prepare(journal->db,
                   "DELETE FROM runs WHERE seq IN (SELECT seq FROM (SELECT seq, finished_ms, open"
                   " FROM runs WHERE open = 0 OR owner = 'elsewhere' ORDER BY seq LIMIT ?3)"
                   " WHERE (open = 0 AND finished_ms < ?1)"
                   " OR seq <= (SELECT max(seq) FROM runs) - ?2)",
                   &stmt, err) < 0) {
        return err_wrap(err, "trim hook runs");
    }
    do {
        db_bind_int(stmt, 1, (int64_t)(now_ms > max_age_ms ? now_ms - max_age_ms : 0));
        db_bind_int(stmt, 2, max_runs);
        db_bind_int(stmt, 3, TRIM_AT_ONCE);
        if (db_run(stmt, err) < 0) {
            return err_wrap(err, "trim hook runs");
        }
    } while (db_changes(journal->db) == TRIM_AT_ONCE);
    return 0;
}
