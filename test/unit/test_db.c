/* SPDX-License-Identifier: Apache-2.0 */
#include "base/db.h"

#include "base/file.h"
#include "base/str.h"
#include "test.h"

#include <sys/wait.h>
#include <unistd.h>

static void rows_survive_closing(void **state)
{
    (void)state;
    char dir[] = "/tmp/davit-test-XXXXXX";
    assert_non_null(mkdtemp(dir));
    CLEANUP(mem_freep) char *path = file_join(dir, "t.db");
    struct err err = { 0 };
    size_t len = 0;

    for (int round = 0; round < 2; round++) {
        CLEANUP(db_closep) struct db *db = NULL;
        CLEANUP(db_stmt_freep) struct db_stmt *stmt = NULL;

        assert_int_equal(db_open(path, DB_SYNC_FULL, 1000, &db, &err), 0);
        assert_int_equal(
            db_exec(db, "CREATE TABLE IF NOT EXISTS t (a INTEGER PRIMARY KEY, b, c)", &err), 0);
        if (round == 0) {
            assert_int_equal(db_prepare(db, "INSERT INTO t VALUES (?, ?, ?)", &stmt, &err), 0);
            db_bind_int(stmt, 1, 7);
            db_bind_text(stmt, 2, "x");
            db_bind_blob(stmt, 3, "a\0b", 3);
            assert_int_equal(db_run(stmt, &err), 0);
            db_bind_int(stmt, 1, 7);
            assert_int_equal(db_run(stmt, &err), ERR_EXISTS);
        } else {
            assert_int_equal(db_prepare(db, "SELECT a, b, c FROM t", &stmt, &err), 0);
            assert_int_equal(db_step(stmt, &err), 1);
            assert_int_equal(db_col_int(stmt, 0), 7);
            assert_string_equal(db_col_text(stmt, 1), "x");
            assert_memory_equal(db_col_blob(stmt, 2, &len), "a\0b", 3);
            assert_int_equal(len, 3);
            assert_int_equal(db_step(stmt, &err), 0);
        }
    }
    struct db *none = NULL;
    assert_int_equal(db_open("/nonexistent/t.db", DB_SYNC_FULL, 1, &none, &err), ERR_DENIED);
    assert_int_equal(file_remove_tree(dir, &err), 0);
}

/* A master and its first davit-op do. */
static void many_may_open_a_new_one_at_once(void **state)
{
    enum { ROUNDS = 20, PROCESSES = 4 };
    char dir[] = "/tmp/davit-test-XXXXXX";
    struct err err = { 0 };
    int failures = 0;

    (void)state;
    assert_non_null(mkdtemp(dir));
    for (int round = 0; round < ROUNDS; round++) {
        CLEANUP(mem_freep) char *path = str_printf("%s/%d.db", dir, round);

        for (int i = 0; i < PROCESSES; i++) {
            if (fork() == 0) {
                struct db *db = NULL;

                _exit(db_open(path, DB_SYNC_NORMAL, 5000, &db, &err) < 0);
            }
        }
        for (int i = 0; i < PROCESSES; i++) {
            int status = 0;

            assert_true(wait(&status) > 0);
            failures += status != 0;
        }
    }
    assert_int_equal(failures, 0);
    assert_int_equal(file_remove_tree(dir, &err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(rows_survive_closing),
                                        cmocka_unit_test(many_may_open_a_new_one_at_once) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
