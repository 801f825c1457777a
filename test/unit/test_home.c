/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include "agent/home.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/json.h"
#include "base/str.h"

#include <string.h>
#include <sys/stat.h>

static const char manifest[] = "id: t1\n"
                               "launchables: {task: {launchable_type: davit/task}}\n"
                               "config:\n"
                               "  davit:\n"
                               "    job: c/www/devel/hello\n"
                               "    op_id: op-1\n"
                               "    ports: {http: 31004}\n"
                               "    task: {name: hello, processes: []}\n";

static char *temp_dir(void)
{
    char path[] = "/tmp/davit-test-XXXXXX";

    assert_non_null(mkdtemp(path));
    return mem_strdup(path);
}

static struct intent *parse(const char *text)
{
    struct intent *intent = NULL;
    struct err err = { 0 };

    assert_int_equal(intent_parse("t1", text, strlen(text), &intent, &err), 0);
    return intent;
}

static mode_t mode_of(const char *dir, const char *name)
{
    CLEANUP(mem_freep) char *path = file_join(dir, name);
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    return st.st_mode & 07777;
}

static void home_has_what_p2_and_davit_pod_expect(void **state)
{
    CLEANUP(mem_freep) char *dir = temp_dir();
    CLEANUP(mem_freep) char *home = file_join(dir, "pods/t1");
    CLEANUP(mem_freep) char *task_path = file_join(home, "task.json");
    CLEANUP(mem_freep) char *config = NULL;
    CLEANUP(mem_freep) char *token = NULL;
    CLEANUP(json_freep) json_t *task = NULL;
    CLEANUP(intent_freep) struct intent *intent = parse(manifest);
    CLEANUP_BUF text = { 0 };
    struct home_user user = { 0 };
    struct home_spec spec = { .node = "n1", .token = "tok", .user = &user };
    struct err err = { 0 };

    (void)state;
    (void)umask(022);
    assert_int_equal(home_install(home, intent, &spec, &err), 0);
    assert_int_equal(home_install(home, intent, &spec, &err), 0); /* And again. */
    assert_int_equal(mode_of(home, "."), 0755);
    assert_int_equal(mode_of(home, "sandbox"), 0700);
    assert_int_equal(mode_of(home, "task.json"), 0600);
    config = home_config_path(home, "t1", intent->digest);
    assert_false(file_exists(config));
    assert_int_equal(home_write_config(home, intent, &err), 0);
    assert_int_equal(home_write_config(home, intent, &err), 0);
    assert_true(file_exists(config));
    assert_int_equal(mode_of(home, "env/POD_ID"), 0644);
    token = home_token(home);
    assert_string_equal(token, "tok");
    assert_int_equal(file_read(task_path, 4096, &text, &err), 0);
    assert_int_equal(json_parse(buf_text(&text), text.len, 4096, &task, &err), 0);
    assert_string_equal(json_str_or(task, "id", ""), "t1");
    assert_string_equal(json_str_or(task, "node", ""), "n1");
    assert_string_equal(json_str_or(task, "digest", ""), intent->digest);
    assert_int_equal(json_int_or(json_object_get(task, "ports"), "http", 0), 31004);
    assert_null(json_object_get(task, "run_as"));
    assert_int_equal(file_remove_tree(dir, &err), 0);
}

static void mark_comes_back_and_goes_with_a_new_install(void **state)
{
    CLEANUP(mem_freep) char *dir = temp_dir();
    CLEANUP(intent_freep) struct intent *intent = parse(manifest);
    struct home_user user = { 0 };
    struct home_spec spec = { .node = "n1", .token = "tok", .user = &user };
    struct home_mark mark = { .up = true, .digest = "abc", .instance = 3, .job = mem_strdup("j") };
    struct home_mark back = { 0 };
    struct err err = { 0 };

    (void)state;
    assert_int_equal(home_read_mark(dir, &back, &err), ERR_NOTFOUND);
    assert_int_equal(home_write_mark(dir, &mark, &err), 0);
    assert_int_equal(home_read_mark(dir, &back, &err), 0);
    assert_true(back.up);
    assert_false(back.leaving);
    assert_string_equal(back.digest, "abc");
    assert_int_equal(back.instance, 3);
    assert_string_equal(back.job, "j");
    assert_null(back.op_id);
    home_mark_fini(&back);
    home_mark_fini(&mark);
    assert_int_equal(home_install(dir, intent, &spec, &err), 0);
    assert_int_equal(home_read_mark(dir, &back, &err), ERR_NOTFOUND);
    assert_int_equal(file_remove_tree(dir, &err), 0);
}

static void other_launchables_are_refused(void **state)
{
    CLEANUP(mem_freep) char *dir = temp_dir();
    CLEANUP(intent_freep)
    struct intent *intent = parse("id: t1\nlaunchables: {a: {launchable_type: hoist}}\n");
    struct home_user user = { 0 };
    struct home_spec spec = { .node = "n1", .token = "tok", .user = &user };
    struct err err = { 0 };

    (void)state;
    assert_int_equal(home_install(dir, intent, &spec, &err), ERR_UNSUPPORTED);
    assert_int_equal(file_remove_tree(dir, &err), 0);
}

static void only_pods_are_listed(void **state)
{
    CLEANUP(mem_freep) char *dir = temp_dir();
    CLEANUP(mem_freep) char *pod = file_join(dir, "t1");
    CLEANUP(mem_freep) char *hidden = file_join(dir, ".x");
    CLEANUP(mem_freep) char *file = file_join(dir, "f");
    CLEANUP(strv_freep) char **names = NULL;
    struct err err = { 0 };

    (void)state;
    assert_int_equal(file_mkdirs(pod, 0755, &err), 0);
    assert_int_equal(file_mkdirs(hidden, 0755, &err), 0);
    assert_int_equal(file_write(file, "", 0, 0644, false, &err), 0);
    assert_int_equal(home_list(dir, &names, &err), 0);
    assert_int_equal(strv_len(names), 1);
    assert_string_equal(names[0], "t1");
    assert_int_equal(file_remove_tree(dir, &err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(home_has_what_p2_and_davit_pod_expect),
        cmocka_unit_test(mark_comes_back_and_goes_with_a_new_install),
        cmocka_unit_test(other_launchables_are_refused),
        cmocka_unit_test(only_pods_are_listed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
