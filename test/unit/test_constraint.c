/* SPDX-License-Identifier: Apache-2.0 */
#include "model/constraint.h"

#include "base/json.h"

#include "test.h"

#include <string.h>

static void values_limits_and_negations_are_read(void **state)
{
    (void)state;
    CLEANUP(json_freep)
    json_t *doc = json_pack("{s:s,s:s,s:s}", "rack", "limit:3", "host", "b,a", "zone", "!x,y");
    struct constraint *list = NULL;
    struct err err = { 0 };
    size_t n = 0;

    constraints_read(doc, &list, &n);
    assert_int_equal(n, 3);
    assert_string_equal(list[0].name, "host");
    assert_int_equal(list[0].n_values, 2);
    assert_string_equal(list[0].values[0], "a");
    assert_string_equal(list[0].values[1], "b");
    assert_true(list[1].is_limit);
    assert_int_equal(list[1].limit, 3);
    assert_true(list[2].negated);
    assert_string_equal(list[2].values[0], "x");
    assert_null(constraints_dedicated(list, n));
    assert_int_equal(constraints_check(doc, list, n, "www", &err), 0);
    constraints_free(list, n);
}

static void none_is_none(void **state)
{
    (void)state;
    struct constraint *list = NULL;
    struct err err = { 0 };
    size_t n = 1;

    constraints_read(NULL, &list, &n);
    assert_int_equal(n, 0);
    assert_null(list);
    assert_int_equal(constraints_check(NULL, list, n, "www", &err), 0);
}

static void check(const char *name, const char *value, const char *role, const char *message)
{
    CLEANUP(json_freep) json_t *doc = json_pack("{s:s}", name, value);
    struct constraint *list = NULL;
    struct err err = { 0 };
    size_t n = 0;
    int rv;

    constraints_read(doc, &list, &n);
    rv = constraints_check(doc, list, n, role, &err);
    if (message == NULL) {
        assert_int_equal(rv, 0);
    } else {
        assert_int_equal(rv, ERR_CONFIG);
        assert_string_equal(err.msg, message);
    }
    constraints_free(list, n);
}

static void bad_ones_are_refused_in_auroras_words(void **state)
{
    (void)state;
    check("rack", "limit:0", "www", "limit:0 is not a valid limit value, must be integer");
    check("rack", "limit:", "www", "limit: is not a valid limit value, must be integer");
    check("rack", "limit:12", "www", NULL);
    check("dedicated", "www/a,www/b", "www", "A dedicated constraint must have exactly one value");
    check("dedicated", "", "www", "A dedicated constraint must have exactly one value");
    check("dedicated", "!www/a", "www", "A dedicated constraint must be of value type.");
    check("dedicated", "limit:1", "www", "A dedicated constraint must be of value type.");
    check("dedicated", "mail/a", "www", "Only mail may use hosts dedicated for that role.");
    check("dedicated", "wwww/a", "www", "Only wwww may use hosts dedicated for that role.");
    check("dedicated", "www/a", "www", NULL);
    check("dedicated", "*/a", "www", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_limits_and_negations_are_read),
        cmocka_unit_test(none_is_none),
        cmocka_unit_test(bad_ones_are_refused_in_auroras_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
