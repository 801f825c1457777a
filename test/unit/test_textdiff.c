/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/textdiff.h"

#include "base/buf.h"
#include "base/mem.h"

#include "test.h"

#include <stdio.h>
#include <string.h>

static void check(const char *old_text, const char *new_text, const char *wanted)
{
    CLEANUP(mem_freep) char *got = textdiff_unified("a", old_text, "b", new_text);

    assert_string_equal(got, wanted);
}

static void equal_texts_differ_in_nothing(void **state)
{
    (void)state;
    check("", "", "");
    check("one\ntwo\n", "one\ntwo\n", "");
}

static void a_changed_line_has_three_around_it(void **state)
{
    (void)state;
    check("1\n2\n3\n4\n5\n6\n7\n8\n9\n", "1\n2\n3\n4\nfive\n6\n7\n8\n9\n",
          "--- a\n+++ b\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n");
}

static void added_and_removed_whole_texts(void **state)
{
    (void)state;
    check("", "x\n", "--- a\n+++ b\n@@ -0,0 +1 @@\n+x\n");
    check("x\ny\n", "", "--- a\n+++ b\n@@ -1,2 +0,0 @@\n-x\n-y\n");
}

static void changes_far_apart_are_two_hunks(void **state)
{
    (void)state;
    check("a\n1\n2\n3\n4\n5\n6\n7\nz\n", "b\n1\n2\n3\n4\n5\n6\n7\ny\n",
          "--- a\n+++ b\n@@ -1,4 +1,4 @@\n-a\n+b\n 1\n 2\n 3\n"
          "@@ -6,4 +6,4 @@\n 5\n 6\n 7\n-z\n+y\n");
    /* Six lines between them are the context of both. */
    check("a\n1\n2\n3\n4\n5\n6\nz\n", "b\n1\n2\n3\n4\n5\n6\ny\n",
          "--- a\n+++ b\n@@ -1,8 +1,8 @@\n-a\n+b\n 1\n 2\n 3\n 4\n 5\n 6\n-z\n+y\n");
}

static void moved_lines_keep_the_longest_common_part(void **state)
{
    (void)state;
    check("a\nb\nc\nd\n", "b\nc\nd\na\n", "--- a\n+++ b\n@@ -1,4 +1,4 @@\n-a\n b\n c\n d\n+a\n");
}

static void large_texts_are_replaced_as_a_whole(void **state)
{
    (void)state;
    CLEANUP_BUF old_text = { 0 };
    CLEANUP_BUF new_text = { 0 };

    buf_add_text(&old_text, "same\n");
    buf_add_text(&new_text, "same\n");
    for (int i = 0; i < 5000; i++) {
        buf_addf(&old_text, "old %d\n", i);
        buf_addf(&new_text, "new %d\n", i);
    }
    CLEANUP(mem_freep)
    char *got = textdiff_unified("a", buf_text(&old_text), "b", buf_text(&new_text));

    assert_non_null(strstr(got, "@@ -1,5001 +1,5001 @@\n same\n-old 0\n"));
    assert_non_null(strstr(got, "-old 4999\n+new 0\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_texts_differ_in_nothing),
        cmocka_unit_test(a_changed_line_has_three_around_it),
        cmocka_unit_test(added_and_removed_whole_texts),
        cmocka_unit_test(changes_far_apart_are_two_hunks),
        cmocka_unit_test(moved_lines_keep_the_longest_common_part),
        cmocka_unit_test(large_texts_are_replaced_as_a_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
