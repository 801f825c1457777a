/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ended.h"

#include "base/file.h"
#include "base/str.h"
#include "test.h"

#include <sys/stat.h>

static int setup(void **state)
{
    char *dir = mem_strdup("/tmp/davit-test-XXXXXX");

    assert_non_null(mkdtemp(dir));
    *state = dir;
    return 0;
}

static int teardown(void **state)
{
    struct err err = { 0 };

    assert_int_equal(file_remove_tree(*state, &err), 0);
    free(*state);
    return 0;
}

/* Until the file system's clock has moved on: what comes next is newer. */
static void let_time_pass(const char *dir)
{
    CLEANUP(mem_freep) char *path = file_join(dir, "clock");
    struct err err = { 0 };
    struct stat first, now;

    assert_int_equal(file_write(path, "", 0, 0600, false, &err), 0);
    assert_int_equal(stat(path, &first), 0);
    do {
        assert_int_equal(file_write(path, "", 0, 0600, false, &err), 0);
        assert_int_equal(stat(path, &now), 0);
    } while (now.st_ctim.tv_sec == first.st_ctim.tv_sec &&
             now.st_ctim.tv_nsec == first.st_ctim.tv_nsec);
}

static void end_one(const char *dir, const char *name, unsigned keep)
{
    CLEANUP(mem_freep) char *home = str_printf("%s/pods/%s", dir, name);
    CLEANUP(mem_freep) char *sandbox = str_printf("%s/sandbox", home);
    CLEANUP(mem_freep) char *root = file_join(dir, "ended");
    struct err err = { 0 };

    assert_int_equal(file_mkdirs(sandbox, 0755, &err), 0);
    assert_int_equal(ended_keep(root, home, name, keep, &err), 0);
    assert_false(file_exists(home));
    assert_int_equal(ended_keep(root, home, name, keep, &err), 0); /* After a crash: again. */
}

static bool is_kept(const char *dir, const char *name)
{
    CLEANUP(mem_freep) char *path = str_printf("%s/ended/%s/sandbox", dir, name);

    return file_exists(path);
}

static void the_newest_are_kept(void **state)
{
    end_one(*state, "c", 2);
    let_time_pass(*state);
    end_one(*state, "a", 2);
    let_time_pass(*state);
    end_one(*state, "b", 2);
    assert_false(is_kept(*state, "c"));
    assert_true(is_kept(*state, "a"));
    assert_true(is_kept(*state, "b"));
}

static void one_of_the_same_name_is_replaced(void **state)
{
    end_one(*state, "a", 2);
    end_one(*state, "a", 2);
    assert_true(is_kept(*state, "a"));
}

static void none_is_kept_when_none_is_wanted(void **state)
{
    end_one(*state, "a", 0);
    assert_false(is_kept(*state, "a"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_newest_are_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(one_of_the_same_name_is_replaced, setup, teardown),
        cmocka_unit_test_setup_teardown(none_is_kept_when_none_is_wanted, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
