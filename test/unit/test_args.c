/* SPDX-License-Identifier: Apache-2.0 */
#include "base/args.h"

#include "base/str.h"
#include "test.h"

#include <string.h>

struct values {
    bool flag, exact;
    const char *text;
    int64_t number;
    char **list;
    int rest;
};

static int parse(struct values *v, struct err *err, int argc, char **argv)
{
    const struct args_option options[] = {
        { "detach", 'd', ARGS_FLAG, NULL, "go to the background", &v->flag, 0, 0 },
        { "dir", 0, ARGS_TEXT, "D", "state directory", &v->text, 0, 0 },
        { "nodes", 'n', ARGS_INT, "N", "how many (1)", &v->number, 1, 100 },
        { "bind", 0, ARGS_LIST, "K=V", "repeatable", &v->list, 0, 0 },
        { "dirty", 0, ARGS_FLAG_EXACT, NULL, "not by an abbreviation", &v->exact, 0, 0 },
    };
    const struct args_spec spec = { "prog", "[options] FILE", "Does it.", options, 5, NULL };

    return args_parse(&spec, argc, argv, &v->rest, err);
}

/* Compound literals, so that the words live as long as what points to them. */
#define PARSE(v, err, ...)                                                           \
    parse((v), (err), (int)(sizeof((char *[]){ __VA_ARGS__ }) / sizeof(char *)) + 1, \
          (char *[]){ W("prog"), __VA_ARGS__, NULL })
#define W(text) ((char[]){ text })

static void values_land_where_they_belong(void **state)
{
    (void)state;
    struct values v = { 0 };
    struct err err = { 0 };

    assert_int_equal(PARSE(&v, &err, W("file"), W("-d"), W("--dir=x"), W("--nod"), W("3"),
                           W("--bind"), W("a=1"), W("--bind"), W("b=2")),
                     0);
    assert_true(v.flag);
    assert_string_equal(v.text, "x");
    assert_int_equal(v.number, 3);
    assert_int_equal(strv_len(v.list), 2);
    assert_string_equal(v.list[1], "b=2");
    assert_int_equal(v.rest, 9); /* "file" was moved behind the options. */
    strv_free(v.list);
}

static void some_flags_are_not_abbreviated(void **state)
{
    (void)state;
    struct values v = { 0 };
    struct err err = { 0 };

    assert_int_equal(PARSE(&v, &err, W("--dirty"), W("file"), W("--di=x")), 0);
    assert_true(v.exact);
    assert_string_equal(v.text, "x"); /* No other can be meant. */
    assert_int_equal(v.rest, 3);
    assert_int_equal(PARSE(&v, &err, W("--dirt")), ERR_USAGE);
    assert_string_equal(err.msg, "unrecognized arguments: --dirt");
    assert_int_equal(PARSE(&v, &err, W("--d=1")), ERR_USAGE);
    assert_string_equal(err.msg, "ambiguous option: --d=1 could match --detach, --dir");
}

static void complaints_name_the_argument(void **state)
{
    (void)state;
    struct values v = { 0 };
    struct err err = { 0 };

    assert_int_equal(PARSE(&v, &err, W("--nope")), ERR_USAGE);
    assert_string_equal(err.msg, "unrecognized arguments: --nope");
    assert_int_equal(PARSE(&v, &err, W("--nodes")), ERR_USAGE);
    assert_int_equal(PARSE(&v, &err, W("--nodes"), W("x")), ERR_USAGE);
    assert_string_equal(err.msg, "--nodes: 'x' is not a whole number");
    assert_int_equal(PARSE(&v, &err, W("--nodes=101")), ERR_USAGE);
    assert_int_equal(PARSE(&v, &err, W("--d")), ERR_USAGE); /* detach or dir? */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_land_where_they_belong),
        cmocka_unit_test(some_flags_are_not_abbreviated),
        cmocka_unit_test(complaints_name_the_argument),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
