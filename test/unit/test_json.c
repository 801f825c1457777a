/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"

#include "test.h"

#include <string.h>

static int parse(const char *text, json_t **json, struct err *err)
{
    return json_parse(text, strlen(text), 1000, json, err);
}

static void strict_about_what_comes_in(void **state)
{
    (void)state;
    static const char *const bad[] = { "",         "{",           "{} x",     "{\"a\":1,\"a\":2}",
                                       "\"\xff\"", "{\"a\":}",    "nul",      "[1,]",
                                       "{'a':1}",  "\"\\ud800\"", "\"a\nb\"", "01" };

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        json_t *json = NULL;
        struct err err = { 0 };

        assert_int_equal(parse(bad[i], &json, &err), ERR_INVALID);
        assert_null(json);
    }
}

static void depth_and_size_are_capped(void **state)
{
    (void)state;
    CLEANUP(json_freep) json_t *json = NULL;
    struct err err = { 0 };
    char text[200];

    memset(text, '[', 65);
    memset(text + 65, ']', 65);
    assert_int_equal(json_parse(text, 130, 1000, &json, &err), ERR_INVALID);
    assert_int_equal(json_parse(text, 130, 100, &json, &err), ERR_TOOBIG);
    memset(text, '[', 64);
    memset(text + 64, ']', 64);
    assert_int_equal(json_parse(text, 128, 1000, &json, &err), 0);
}

static void brackets_in_strings_are_not_depth(void **state)
{
    (void)state;
    CLEANUP(json_freep) json_t *json = NULL;
    struct err err = { 0 };
    char text[200] = "\"\\\"";

    memset(text + 3, '[', 100);
    text[103] = '"';
    assert_int_equal(json_parse(text, 104, 1000, &json, &err), 0);
}

static void members_say_what_is_wrong(void **state)
{
    (void)state;
    CLEANUP(json_freep) json_t *json = NULL;
    struct err err = { 0 };
    const char *text = NULL;
    int64_t number = 0;

    assert_int_equal(parse("{\"s\":\"x\",\"n\":7}", &json, &err), 0);
    assert_int_equal(json_need_str(json, "s", &text, &err), 0);
    assert_string_equal(text, "x");
    assert_int_equal(json_need_int(json, "n", 0, 10, &number, &err), 0);
    assert_int_equal(number, 7);
    assert_int_equal(json_need_int(json, "n", 0, 6, &number, &err), ERR_INVALID);
    assert_string_equal(err.msg, "member 'n': 7 is not between 0 and 6");
    assert_int_equal(json_need_str(json, "n", &text, &err), ERR_INVALID);
    assert_string_equal(err.msg, "member 'n' is not a string");
    assert_int_equal(json_need_str(json, "z", &text, &err), ERR_INVALID);
    assert_string_equal(err.msg, "member 'z' is missing");
}

static void bytes_that_are_not_text_are_repaired(void **state)
{
    (void)state;
    CLEANUP(json_freep) json_t *json = json_str_repaired("a\xff\xc3\xa9\xed\xa0\x80\xc3", 8);

    assert_string_equal(json_string_value(json),
                        "a\xef\xbf\xbd\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strict_about_what_comes_in),
        cmocka_unit_test(depth_and_size_are_capped),
        cmocka_unit_test(brackets_in_strings_are_not_depth),
        cmocka_unit_test(members_say_what_is_wrong),
        cmocka_unit_test(bytes_that_are_not_text_are_repaired),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
