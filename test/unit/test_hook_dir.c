/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/dir.h"
#include "hook/point.h"
#include "hook_fixture.h"

static int setup(void **ctx)
{
    struct hook_fixture *f = mem_alloc(sizeof *f);

    fixture_init(f, TREE_AUTO);
    *ctx = f;
    return 0;
}

static int teardown(void **ctx)
{
    fixture_fini(*ctx);
    free(*ctx);
    return 0;
}

/* "name:verdict" of each entry in order, with + for leave and ! for tokens. */
static char *list(struct hook_fixture *f, enum hook_rules rules, const char *event)
{
    static const char *const verdicts[] = { "run", "skip", "audit" };
    struct hook_dir dir = { 0 };
    struct buf text = { 0 };
    struct err err = { 0 };

    if (dir_read(rules, f->dir, event, &dir, &err) < 0) {
        fail_msg("%s", err.msg);
    }
    for (size_t i = 0; i < dir.n; i++) {
        buf_addf(&text, "%s%s:%s%s%s", i > 0 ? " " : "", dir.entries[i].name,
                 verdicts[dir.entries[i].verdict], dir.entries[i].leave ? "+" : "",
                 dir.entries[i].tokens ? "!" : "");
    }
    dir_fini(&dir);
    return buf_take(&text);
}

static void expect(struct hook_fixture *f, enum hook_rules rules, const char *event,
                   const char *expected)
{
    char *found = list(f, rules, event);

    assert_string_equal(found, expected);
    free(found);
}

static void put_link(struct hook_fixture *f, const char *name, const char *target)
{
    CLEANUP(mem_freep) char *path = file_join(f->dir, name);

    assert_int_equal(symlink(target, path), 0);
}

static void ganeti_lists_each_entry_once(void **ctx)
{
    struct hook_fixture *f = *ctx;

    put_file(f, "real", "#!/bin/sh\n", 0755);
    put_file(f, "job-create-pre.d/a", "", 0755);
    put_file(f, "job-create-pre.d/10a", "", 0755);
    put_file(f, "job-create-pre.d/Zz", "", 0755);
    put_file(f, "job-create-pre.d/hook.sh", "", 0755);
    put_file(f, "job-create-pre.d/old~", "", 0755);
    put_file(f, "job-create-pre.d/plain", "", 0644);
    put_file(f, "job-create-pre.d/.hidden", "", 0755);
    put_file(f, "job-create-pre.d/sub/x", "", 0755);
    put_link(f, "job-create-pre.d/link", "../real");
    put_link(f, "job-create-pre.d/nowhere", "../gone");
    expect(f, HOOK_RULES_GANETI, "job-create-pre",
           "10a:run Zz:run a:run hook.sh:skip link:run nowhere:skip old~:skip plain:skip sub:skip");
}

static void missing_directory_is_no_hooks(void **ctx)
{
    struct hook_fixture *f = *ctx;

    expect(f, HOOK_RULES_GANETI, "global-pre", "");
    expect(f, HOOK_RULES_POD, "initialize", "");
    put_file(f, "global-post.d", "a file", 0644);
    expect(f, HOOK_RULES_GANETI, "global-post", "");
}

static void p2_takes_the_event_directory_first_and_modes_by_lstat(void **ctx)
{
    struct hook_fixture *f = *ctx;

    put_file(f, "before_install/z", "", 0755);
    put_file(f, "b", "", 0641);
    put_file(f, "a~", "", 0755);
    put_file(f, ".dot", "", 0755);
    put_file(f, "no-x", "", 0644);
    put_link(f, "dangling", "gone");
    expect(f, HOOK_RULES_P2, "before_install",
           "z:run .dot:run a~:run b:run dangling:run no-x:audit");
    expect(f, HOOK_RULES_P2, "after_launch", ".dot:run a~:run b:run dangling:run no-x:audit");
}

static void pod_takes_the_program_then_the_directory(void **ctx)
{
    struct hook_fixture *f = *ctx;

    put_file(f, "initialize", "", 0755);
    put_file(f, "initialize.d/20.sh", "", 0755);
    put_file(f, "initialize.d/10", "", 0755);
    expect(f, HOOK_RULES_POD, "initialize", "initialize:run 10:run 20.sh:run");
}

static void side_files_mark_hooks_and_are_not_hooks(void **ctx)
{
    struct hook_fixture *f = *ctx;
    struct hook_dir dir = { 0 };
    struct err err = { 0 };

    put_file(f, "x.d/one", "", 0755);
    put_file(f, "x.d/one.leave", "", 0644);
    put_file(f, "x.d/two", "", 0755);
    put_file(f, "x.d/two.env", "", 0644);
    put_file(f, "x.d/lonely.env", "", 0755);
    put_file(f, "x.d/.deadline", "7\n", 0644);
    expect(f, HOOK_RULES_GANETI, "x", "lonely.env:skip one:run+ two:run!");
    assert_int_equal(dir_read(HOOK_RULES_GANETI, f->dir, "x", &dir, &err), 0);
    assert_int_equal(dir.entries[1].term_ms, 7000);
    dir_fini(&dir);
}

static void an_event_cannot_leave_its_directory(void **ctx)
{
    struct hook_fixture *f = *ctx;
    struct hook_dir dir = { 0 };
    struct err err = { 0 };

    assert_int_equal(dir_read(HOOK_RULES_P2, f->dir, "../etc", &dir, &err), ERR_INVALID);
    assert_int_equal(dir_read(HOOK_RULES_P2, f->dir, "", &dir, &err), ERR_INVALID);
    assert_int_equal(dir_read(HOOK_RULES_P2, f->dir, "..", &dir, &err), ERR_INVALID);
}

static void points_are_found_by_name_and_pattern(void **ctx)
{
    (void)ctx;

    assert_int_equal(point_find(HOOK_OPERATION, "global-pre")->policy, HOOK_POLICY_JUDGE);
    assert_int_equal(point_find(HOOK_OPERATION, "job-kill-post")->policy, HOOK_POLICY_LOG);
    assert_int_equal(point_find(HOOK_NODE, "before_launch")->term_ms, 30000);
    assert_true(point_find(HOOK_NODE, "before_launch")->go_on_at_term);
    assert_int_equal(point_find(HOOK_CLIENT, "err_create_job")->form, HOOK_FORM_GUEST);
    assert_null(point_find(HOOK_NODE, "after_uninstall"));
    assert_null(point_find(HOOK_OPERATION, "-pre"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(ganeti_lists_each_entry_once, setup, teardown),
        cmocka_unit_test_setup_teardown(missing_directory_is_no_hooks, setup, teardown),
        cmocka_unit_test_setup_teardown(p2_takes_the_event_directory_first_and_modes_by_lstat,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(pod_takes_the_program_then_the_directory, setup, teardown),
        cmocka_unit_test_setup_teardown(side_files_mark_hooks_and_are_not_hooks, setup, teardown),
        cmocka_unit_test_setup_teardown(an_event_cannot_leave_its_directory, setup, teardown),
        cmocka_unit_test(points_are_found_by_name_and_pattern),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
