/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"

#include "base/str.h"
#include "test.h"

#include <fcntl.h>
#include <string.h>
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
    assert_false(file_exists(*state));
    free(*state);
    return 0;
}

static void written_files_read_back(void **state)
{
    CLEANUP(mem_freep) char *path = file_join(*state, "f");
    CLEANUP_BUF buf = { 0 };
    struct err err = { 0 };
    struct stat st;

    assert_int_equal(file_write(path, "hello", 5, 0640, true, &err), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    assert_int_equal(file_read(path, 5, &buf, &err), 0);
    assert_string_equal(buf_text(&buf), "hello");
    buf_fini(&buf);
    assert_int_equal(file_read(path, 4, &buf, &err), ERR_TOOBIG);
    assert_int_equal(file_read(*state, 5, &buf, &err), ERR_INVALID);
    assert_int_equal(file_read("/nonexistent/x", 5, &buf, &err), ERR_NOTFOUND);
}

static void one_holder_a_lock(void **state)
{
    CLEANUP(mem_freep) char *path = file_join(*state, "lock");
    struct err err = { 0 };
    int fd = -1, other = -1;

    assert_false(file_locked(path));
    assert_int_equal(file_lock(path, &fd, &err), 0);
    assert_true(file_locked(path));
    assert_int_equal(file_lock(path, &other, &err), ERR_CONFLICT);
    CLEANUP(mem_freep) char *pid = str_printf("process %d", (int)getpid());
    assert_non_null(strstr(err.msg, pid));
    fd_closep(&fd);
    assert_false(file_locked(path));
}

static void user_paths_stay_beneath(void **state)
{
    CLEANUP(fd_closep) int root = open(*state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CLEANUP(mem_freep) char *link = file_join(*state, "link");
    CLEANUP(mem_freep) char *sub = file_join(*state, "a/b/c");
    struct err err = { 0 };
    int fd = -1;

    assert_int_equal(symlink("/etc", link), 0);
    assert_int_equal(file_mkdirs(sub, 0755, &err), 0);
    assert_int_equal(file_open_beneath(root, "../x", O_RDONLY, 0, &fd, &err), ERR_INVALID);
    assert_int_equal(file_open_beneath(root, "link/passwd", O_RDONLY, 0, &fd, &err), ERR_INVALID);
    assert_int_equal(file_open_beneath(root, "/etc/passwd", O_RDONLY, 0, &fd, &err), ERR_INVALID);
    assert_int_equal(file_open_beneath(root, "a/b/c", O_RDONLY, 0, &fd, &err), 0);
    fd_closep(&fd);
}

static void directories_are_made_beneath_or_not_at_all(void **state)
{
    CLEANUP(mem_freep) char *inside = file_join(*state, "in");
    CLEANUP(mem_freep) char *outside = file_join(*state, "out");
    CLEANUP(mem_freep) char *link = file_join(*state, "in/link");
    CLEANUP(mem_freep) char *planted = file_join(*state, "out/made");
    struct err err = { 0 };
    bool made = false;
    int fd = -1;

    assert_int_equal(file_mkdirs(inside, 0755, &err), 0);
    assert_int_equal(file_mkdirs(outside, 0755, &err), 0);
    assert_int_equal(symlink(outside, link), 0);
    CLEANUP(fd_closep) int root = open(inside, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    assert_int_equal(file_mkdir_beneath(root, "link/made", 0755, &fd, &made, &err), ERR_INVALID);
    assert_int_equal(file_mkdir_beneath(root, "../made", 0755, &fd, &made, &err), ERR_INVALID);
    assert_int_equal(file_mkdir_beneath(root, "..", 0755, &fd, &made, &err), ERR_INVALID);
    assert_false(file_exists(planted));
    assert_true(file_mkdir_beneath(root, "link", 0755, &fd, &made, &err) < 0);
    assert_int_equal(file_mkdir_beneath(root, "a", 0755, &fd, &made, &err), 0);
    fd_closep(&fd);
    assert_true(made);
    assert_int_equal(file_mkdir_beneath(root, "a/b", 0755, &fd, &made, &err), 0);
    fd_closep(&fd);
    assert_int_equal(file_mkdir_beneath(root, "a/b", 0755, &fd, &made, &err), 0);
    fd_closep(&fd);
    assert_false(made);
}

static void removing_a_tree_leaves_link_targets(void **state)
{
    CLEANUP(mem_freep) char *kept = file_join(*state, "kept");
    CLEANUP(mem_freep) char *tree = file_join(*state, "tree");
    CLEANUP(mem_freep) char *link = file_join(*state, "tree/link");
    struct err err = { 0 };

    assert_int_equal(file_mkdirs(kept, 0755, &err), 0);
    assert_int_equal(file_mkdirs(tree, 0755, &err), 0);
    assert_int_equal(symlink("../kept", link), 0);
    assert_int_equal(file_remove_tree(tree, &err), 0);
    assert_false(file_exists(tree));
    assert_true(file_exists(kept));
    assert_int_equal(file_remove_tree(tree, &err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(written_files_read_back, setup, teardown),
        cmocka_unit_test_setup_teardown(one_holder_a_lock, setup, teardown),
        cmocka_unit_test_setup_teardown(user_paths_stay_beneath, setup, teardown),
        cmocka_unit_test_setup_teardown(directories_are_made_beneath_or_not_at_all, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(removing_a_tree_leaves_link_targets, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
