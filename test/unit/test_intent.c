/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include "agent/intent.h"
#include "base/str.h"

#include <string.h>

#define TASK                            \
    "id: t1\n"                          \
    "run_as: www\n"                     \
    "launchables:\n"                    \
    "  task:\n"                         \
    "    launchable_type: davit/task\n" \
    "config:\n"                         \
    "  davit:\n"                        \
    "    job: c/www/devel/hello\n"      \
    "    instance: 3\n"                 \
    "    op_id: op-1\n"                 \
    "    desired: running\n"            \
    "    task:\n"                       \
    "      name: hello\n"               \
    "      processes: []\n"             \
    "      finalization_wait: 7\n"

static int parse(const char *pod, const char *text, struct intent **ret_intent, struct err *err)
{
    return intent_parse(pod, text, strlen(text), ret_intent, err);
}

static void task_is_read(void **state)
{
    CLEANUP(intent_freep) struct intent *intent = NULL;
    struct err err = { 0 };

    (void)state;
    assert_int_equal(parse("t1", TASK, &intent, &err), 0);
    assert_true(intent->is_task);
    assert_false(intent->stop);
    assert_string_equal(intent->run_as, "www");
    assert_string_equal(intent->job, "c/www/devel/hello");
    assert_string_equal(intent->op_id, "op-1");
    assert_int_equal(intent->instance, 3);
    assert_int_equal(intent->wait_ms, 7000);
    assert_int_equal(strlen(intent->digest), 64);
    assert_string_equal(intent->text, TASK);
    intent_slim(intent);
    assert_null(intent->text);
    assert_string_equal(intent->op_id, "op-1");
}

static void a_stop_with_a_ladder_may_take_longer(void **state)
{
    static const struct {
        const char *lifecycle;
        uint64_t wait_ms;
    } cases[] = {
        { "{}", 7000 },
        { "{http: {}}", 7000 + 5000 + 5000 + 2000 },
        { "{http: {graceful_shutdown_wait_secs: 0.5, shutdown_wait_secs: 0}}", 9500 },
        { "{http: {graceful_shutdown_wait_secs: 1000, shutdown_wait_secs: 1e30}}", 120000 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CLEANUP(intent_freep) struct intent *intent = NULL;
        CLEANUP(mem_freep)
        char *text = str_printf("%s    lifecycle: %s\n", TASK, cases[i].lifecycle);
        struct err err = { 0 };

        assert_int_equal(parse("t1", text, &intent, &err), 0);
        assert_int_equal(intent->wait_ms, cases[i].wait_ms);
    }
}

static void stop_is_read_with_its_reason(void **state)
{
    CLEANUP(intent_freep) struct intent *intent = NULL;
    struct err err = { 0 };

    (void)state;
    assert_int_equal(parse("p",
                           "id: p\n"
                           "config:\n"
                           "  davit:\n"
                           "    desired: stopped\n"
                           "    stop_op_id: op-2\n"
                           "    stop_reason: Killed by root\n",
                           &intent, &err),
                     0);
    assert_true(intent->stop);
    assert_false(intent->is_task);
    assert_string_equal(intent->run_as, "p"); /* p2's default. */
    assert_string_equal(intent->stop_op_id, "op-2");
    assert_string_equal(intent->stop_reason, "Killed by root");
}

static void malformed_is_refused_with_a_reason(void **state)
{
    static const struct {
        const char *text;
        const char *why;
    } rows[] = {
        { "", "not a mapping" },
        { "- a\n", "not a mapping" },
        { "id: [\n", "line 2" },
        { "run_as: www\n", "'id'" },
        { "id: t2\n", "its id is 't2'" },
        { "id: t1\nconfig: 3\n", "'config'" },
        { "id: t1\nlaunchables: {a: {x: y}}\n", "launchable_type" },
        { "id: t1\nlaunchables: {task: {launchable_type: davit/task}}\n", "config.davit" },
        { "id: t1\nconfig: {davit: {desired: maybe}}\n", "neither running nor stopped" },
        { "id: t1\nconfig: {davit: {instance: -1}}\n", "'instance'" },
        { "id: t1\nlaunchables: {t: {launchable_type: davit/task}}\nconfig: {davit: {a: b}}\n",
          "'task'" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct intent *intent = NULL;
        struct err err = { 0 };

        assert_true(parse("t1", rows[i].text, &intent, &err) < 0);
        assert_null(intent);
        if (!strstr(err.msg, rows[i].why)) {
            fail_msg("%s: got '%s'", rows[i].why, err.msg);
        }
        assert_true(str_starts(err.msg, "intent of pod t1"));
    }
}

static void names_that_are_no_file_names_are_refused(void **state)
{
    char longest[252];

    (void)state;
    memset(longest, 'a', 250);
    longest[250] = '\0';
    assert_true(intent_name_ok(longest));
    longest[250] = 'a';
    longest[251] = '\0';
    assert_false(intent_name_ok(longest));
    assert_true(intent_name_ok("www-devel-hello-0-5e0c_1.x"));
    assert_false(intent_name_ok(""));
    assert_false(intent_name_ok("."));
    assert_false(intent_name_ok(".."));
    assert_false(intent_name_ok(".hidden"));
    assert_false(intent_name_ok("a/b"));
    assert_false(intent_name_ok("a b"));
    assert_false(intent_name_ok("a\nb"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(task_is_read),
        cmocka_unit_test(a_stop_with_a_ladder_may_take_longer),
        cmocka_unit_test(stop_is_read_with_its_reason),
        cmocka_unit_test(malformed_is_refused_with_a_reason),
        cmocka_unit_test(names_that_are_no_file_names_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
