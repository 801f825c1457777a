/* SPDX-License-Identifier: Apache-2.0 */
#include "http/problem.h"

#include "base/json.h"
#include "test.h"

#include <string.h>

static void every_code_survives_the_way(void **ctx)
{
    (void)ctx;
    static const int codes[] = {
#define X(name, value, http, cli, text) name,
        ERR_TABLE(X)
#undef X
    };

    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        struct err from = { 0 }, to = { 0 };
        err_setf(&from, codes[i], "job %s is gone", "www/prod/web");
        CLEANUP(json_freep) json_t *doc = problem_encode(&from, 418, "/v1/jobs", "r1");
        CLEANUP(mem_freep) char *text = json_text(doc);
        problem_decode(text, strlen(text), 418, &to);
        assert_int_equal(to.code, codes[i]);
        assert_string_equal(to.msg, from.msg);
    }
}

static void a_strangers_answer_goes_by_its_status(void **ctx)
{
    (void)ctx;
    struct err err = { 0 };

    problem_decode("<html>", 6, 404, &err);
    assert_int_equal(err.code, ERR_NOTFOUND);
    assert_string_equal(err.msg, "the server answered HTTP status 404");
    problem_decode("", 0, 503, &err);
    assert_int_equal(err.code, ERR_NOTLEADER);
    problem_decode("{\"title\":\"no\",\"code\":7}", 22, 401, &err);
    assert_int_equal(err.code, ERR_UNAUTH);
    problem_decode("[]", 2, 418, &err);
    assert_int_equal(err.code, ERR_INVALID);
    problem_decode("[]", 2, 599, &err);
    assert_int_equal(err.code, ERR_INTERNAL);
}

static void has_the_fields_of_rfc_9457(void **ctx)
{
    (void)ctx;
    struct err from = { 0 };

    err_setf(&from, ERR_NOTFOUND, "no job");
    CLEANUP(json_freep) json_t *doc = problem_encode(&from, 404, "/v1/jobs/x", "r1");
    assert_string_equal(json_str_or(doc, "type", ""), "urn:davit:error:notfound");
    assert_string_equal(json_str_or(doc, "title", ""), err_text(ERR_NOTFOUND));
    assert_int_equal(json_int_or(doc, "status", 0), 404);
    assert_string_equal(json_str_or(doc, "detail", ""), "no job");
    assert_string_equal(json_str_or(doc, "instance", ""), "/v1/jobs/x");
    assert_string_equal(json_str_or(doc, "code", ""), "notfound");
    assert_string_equal(json_str_or(doc, "request_id", ""), "r1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_survives_the_way),
        cmocka_unit_test(a_strangers_answer_goes_by_its_status),
        cmocka_unit_test(has_the_fields_of_rfc_9457),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
