/* SPDX-License-Identifier: Apache-2.0 */
#include "model/yaml.h"

#include "base/json.h"
#include "base/str.h"

#include "test.h"

#include <string.h>

static void check_value(const char *yaml, const char *json)
{
    CLEANUP(json_freep) json_t *value = NULL;
    CLEANUP(json_freep) json_t *wanted = json_loads(json, JSON_DECODE_ANY, NULL);
    struct err err = { 0 };

    assert_int_equal(yaml_parse(yaml, strlen(yaml), 100000, &value, &err), 0);
    assert_non_null(wanted);
    if (!json_equal(value, wanted)) {
        CLEANUP(mem_freep) char *got = json_text(value);

        fail_msg("%s gave %s, not %s", yaml, got, json);
    }
}

static void values_are_what_they_look_like(void **state)
{
    (void)state;
    check_value("a: 1\nb: 1.5\nc: text\nd: true\ne: ~\nf: [1, two]\ng: {h: null}\n",
                "{\"a\":1,\"b\":1.5,\"c\":\"text\",\"d\":true,\"e\":null,\"f\":[1,\"two\"],"
                "\"g\":{\"h\":null}}");
    check_value(
        "[yes, no, on, 0644, 0x10, 1_000, '1', \"true\", 1e3, .5, -7, 99999999999999999999]",
        "[\"yes\",\"no\",\"on\",\"0644\",\"0x10\",\"1_000\",\"1\",\"true\",1000.0,\".5\",-7,"
        "\"99999999999999999999\"]");
    check_value("", "null");
    check_value("a: |\n  one\n  two\n", "{\"a\":\"one\\ntwo\\n\"}");
}

static void dangerous_yaml_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "a: &x 1\nb: *x\n",
        "a: !!int 1\n",
        "!t {a: 1}",
        "--- a\n--- b\n",
        "{a: 1, a: 2}",
        "<<: {a: 1}\n",
        "a: [1\n",
        "? [a]\n: 1\n",
        "%YAML 1.1\n---\na",
        "a: \"\\0\"\n",
        "a\tb: \xff\n",
        "a: 'x\n",
        "%TAG ! tag:x,2000:\n--- a\n",
        "b: &y [1]\n",
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        json_t *value = NULL;
        struct err err = { 0 };

        if (yaml_parse(bad[i], strlen(bad[i]), 1000, &value, &err) != ERR_INVALID) {
            fail_msg("accepted: %s", bad[i]);
        }
        assert_null(value);
        assert_non_null(strstr(err.msg, "line "));
    }
}

static void depth_and_size_are_capped(void **state)
{
    (void)state;
    char text[300];
    CLEANUP(json_freep) json_t *value = NULL;
    struct err err = { 0 };

    memset(text, '[', sizeof(text));
    memset(text + YAML_MAX_DEPTH, ']', YAML_MAX_DEPTH);
    assert_int_equal(yaml_parse(text, 2 * YAML_MAX_DEPTH, 1000, &value, &err), 0);
    memset(text, '[', sizeof(text));
    memset(text + YAML_MAX_DEPTH + 1, ']', YAML_MAX_DEPTH + 1);
    json_decref(value);
    value = NULL;
    assert_int_equal(yaml_parse(text, 2 * YAML_MAX_DEPTH + 2, 1000, &value, &err), ERR_INVALID);
    assert_int_equal(yaml_parse(text, 300, 299, &value, &err), ERR_TOOBIG);
}

static void what_is_written_reads_back_equal(void **state)
{
    (void)state;
    static const char *const values[] = {
        "{\"b\":1,\"a\":[],\"c\":{},\"d\":[[1],{\"x\":null}]}",
        "[\"yes\",\"0644\",\"1\",\"-\",\"- x\",\"a: b\",\"#c\",\"\",\" lead\",\"trail "
        "\",\"~\",\"null\"]",
        "[\"a\\nb\",\"\\t\",\"\\u001b[0m\",\"\\u00e9\\u2028\\ud83d\\ude00\",\"'q'\",\"\\\"\",\"%"
        "x\",\"@y\"]",
        "[0.1,1.0,1e300,-2.5e-7,123456789012345,true,false,null,3.0]",
        "\"---\"",
        "\"...\"",
        "{\"key: odd\":1,\"yes\":2,\"{{mesos.instance}}\":\"{{x}}\"}",
    };

    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        CLEANUP(json_freep) json_t *value = json_loads(values[i], JSON_DECODE_ANY, NULL);
        CLEANUP(mem_freep) char *text = NULL;

        assert_non_null(value);
        text = yaml_text(value);
        check_value(text, values[i]);
    }
}

static void long_lines_are_not_folded(void **state)
{
    (void)state;
    char words[2001];
    CLEANUP(json_freep) json_t *value = NULL;
    CLEANUP(mem_freep) char *text = NULL;

    for (size_t i = 0; i < 2000; i++) {
        words[i] = i % 5 == 4 ? ' ' : 'x';
    }
    words[1999] = 'x';
    words[2000] = '\0';
    value = json_pack("{s:s}", "w", words);
    text = yaml_text(value);
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_what_they_look_like),
        cmocka_unit_test(dangerous_yaml_is_refused),
        cmocka_unit_test(depth_and_size_are_capped),
        cmocka_unit_test(what_is_written_reads_back_equal),
        cmocka_unit_test(long_lines_are_not_folded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
