/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/usage.h"

#include "base/file.h"
#include "base/str.h"
#include "test.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

struct fixture {
    uv_loop_t loop;
    struct usage *usage;
    char dir[64];
    uint64_t used_bytes;
    int looks;
};

static void on_used(void *data, uint64_t used_bytes)
{
    struct fixture *f = data;

    f->used_bytes = used_bytes;
    f->looks++;
}

static void on_closed(void *data)
{
    ((struct fixture *)data)->usage = NULL;
}

static int setup(void **state)
{
    struct fixture *f = mem_alloc(sizeof(*f));

    (void)strcpy(f->dir, "/tmp/davit-usage-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    assert_int_equal(uv_loop_init(&f->loop), 0);
    f->usage = usage_new(&f->loop, f->dir, 1, on_used, f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    struct err err = { 0 };

    usage_close(f->usage, on_closed, f);
    (void)uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_null(f->usage);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    assert_int_equal(file_remove_tree(f->dir, &err), 0);
    free(f);
    return 0;
}

static uint64_t look(struct fixture *f)
{
    int before = f->looks;

    while (f->looks == before) {
        (void)uv_run(&f->loop, UV_RUN_ONCE);
    }
    return f->used_bytes;
}

static uint64_t blocks(const char *path)
{
    struct stat st;

    assert_int_equal(lstat(path, &st), 0);
    return (uint64_t)st.st_blocks * 512;
}

static char *make_file(const struct fixture *f, const char *name, size_t len)
{
    CLEANUP(mem_freep) char *bytes = mem_alloc(len + 1);
    char *path = str_printf("%s/%s", f->dir, name);
    struct err err = { 0 };

    (void)memset(bytes, 'x', len);
    assert_int_equal(file_write(path, bytes, len, 0600, true, &err), 0);
    return path;
}

static void an_empty_one_is_its_directory(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(look(f), blocks(f->dir));
}

static void all_blocks_are_counted_once(void **state)
{
    struct fixture *f = *state;
    CLEANUP(mem_freep) char *file = make_file(f, "a", 100000);
    CLEANUP(mem_freep) char *link_path = str_printf("%s/b", f->dir);
    CLEANUP(mem_freep) char *symlink_path = str_printf("%s/c", f->dir);

    assert_int_equal(link(file, link_path), 0);
    assert_int_equal(symlink("/", symlink_path), 0);
    assert_int_equal(look(f), blocks(f->dir) + blocks(file) + blocks(symlink_path));
}

static void many_files_take_several_turns(void **state)
{
    struct fixture *f = *state;
    uint64_t want = 0;

    for (int i = 0; i < 1000; i++) {
        char name[16];

        (void)snprintf(name, sizeof(name), "f%d", i);
        CLEANUP(mem_freep) char *path = str_printf("%s/%s", f->dir, name);
        int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, path, 10), 10);
        (void)close(fd);
        want += blocks(path);
    }
    (void)look(f); /* It may have begun before the last file was there. */
    assert_int_equal(look(f), want + blocks(f->dir));
}

static void a_deep_one_is_walked_as_far_as_it_goes(void **state)
{
    struct fixture *f = *state;
    CLEANUP(mem_freep) char *path = mem_strdup(f->dir);
    struct err err = { 0 };

    for (int depth = 0; depth < 200; depth++) {
        char *deeper = str_printf("%s/d", path);

        free(path);
        path = deeper;
    }
    assert_int_equal(file_mkdirs(path, 0700, &err), 0);
    (void)look(f);
    assert_true(look(f) <= 66 * blocks(f->dir));
}

static void one_that_is_gone_holds_nothing(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(rmdir(f->dir), 0);
    (void)look(f);
    assert_int_equal(look(f), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_empty_one_is_its_directory, setup, teardown),
        cmocka_unit_test_setup_teardown(all_blocks_are_counted_once, setup, teardown),
        cmocka_unit_test_setup_teardown(many_files_take_several_turns, setup, teardown),
        cmocka_unit_test_setup_teardown(a_deep_one_is_walked_as_far_as_it_goes, setup, teardown),
        cmocka_unit_test_setup_teardown(one_that_is_gone_holds_nothing, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
