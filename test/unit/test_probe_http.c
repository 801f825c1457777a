/* SPDX-License-Identifier: Apache-2.0 */

/* Answers of HTTP servers, whole, in pieces and broken, and the verdicts on them.  The
 * exchange itself is tested with real servers by test/integration/test_health.py.
 */
#include "pod/health/probe_http.h"

#include "base/mem.h"
#include "test.h"

#include <string.h>

/* Feeds text in pieces, then the end of the connection if it is not done; the outcome's code. */
static int feed(struct probe_http_answer *answer, const char *text, size_t piece, struct err *err)
{
    size_t len = strlen(text);

    *err = (struct err){ 0 };
    probe_http_answer_init(answer);
    for (size_t at = 0; at < len && !answer->done; at += piece) {
        size_t n = len - at < piece ? len - at : piece;

        if (probe_http_answer_feed(answer, text + at, n, err) < 0) {
            return err->code;
        }
    }
    return answer->done ? 0 : probe_http_answer_feed(answer, "", 0, err);
}

static void answers_are_understood_in_pieces_of_any_size(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int status;
        const char *body;
    } cases[] = {
        { "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, "ok" },
        { "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 500 No\r\n\r\n", 200, "ok" },
        { "HTTP/1.0 503 Busy\r\n\r\nlater, please", 503, "later, please" },
        { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n", 200,
          "ok" },
        { "HTTP/1.1 204 None\r\n\r\n", 204, "" },
        { "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200,
          "ok" },
        { "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", 200, "" },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (size_t piece = 1; piece < 40; piece++) {
            struct probe_http_answer answer;
            struct err err;

            if (feed(&answer, cases[i].text, piece, &err) < 0) {
                fail_msg("case %zu in pieces of %zu: %s", i, piece, err.msg);
            }
            assert_int_equal(answer.status, cases[i].status);
            assert_string_equal(buf_text(&answer.body), cases[i].body);
            probe_http_answer_fini(&answer);
        }
    }
}

static void broken_answers_are_told_apart(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int code;
    } cases[] = {
        { "", ERR_EOF },
        { "SSH-2.0-OpenSSH\r\n", ERR_INVALID },
        { "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok", ERR_INVALID },
        { "HTTP/1.1 200 OK\r\nContent-Le", ERR_INVALID },
        { "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", ERR_INVALID },
        { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", ERR_INVALID },
        { "HTTP/1.1 100 Continue\r\n\r\n", ERR_EOF },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct probe_http_answer answer;
        struct err err;

        assert_int_equal(feed(&answer, cases[i].text, 7, &err), cases[i].code);
        probe_http_answer_fini(&answer);
    }
}

static void no_answer_is_read_for_ever(void **state)
{
    (void)state;
    CLEANUP(mem_freep) char *much = mem_alloc(8193);
    struct probe_http_answer answer;
    struct err err;
    int ret = feed(&answer, "HTTP/1.1 200 OK\r\n\r\n", 100, &err);

    assert_int_equal(ret, 0); /* closed by the server: done */
    probe_http_answer_fini(&answer);
    probe_http_answer_init(&answer);
    err = (struct err){ 0 };
    assert_int_equal(probe_http_answer_feed(&answer, "HTTP/1.1 200 OK\r\n\r\n", 19, &err), 0);
    (void)memset(much, 'x', 8192);
    size_t fed = 0;
    while (probe_http_answer_feed(&answer, much, 8192, &err) == 0) {
        fed += 8192;
        assert_true(fed <= PROBE_HTTP_BYTES_MAX);
    }
    assert_int_equal(err.code, ERR_TOOBIG);
    assert_int_equal(answer.body.len, PROBE_HTTP_BODY_MAX);
    probe_http_answer_fini(&answer);
}

static void random_bytes_do_no_harm(void **state)
{
    (void)state;
    static const char *const parts[] = { "HTTP/1.1 ",
                                         "200",
                                         " OK",
                                         "\r\n",
                                         "\n",
                                         "Content-Length: ",
                                         "7",
                                         "ffffffffffffffff",
                                         "Transfer-Encoding: chunked",
                                         "\r\n\r\n",
                                         "ok",
                                         ":",
                                         " ",
                                         "\t",
                                         "\x01",
                                         "100 Continue",
                                         "Connection: upgrade\r\nUpgrade: x\r\n",
                                         "101 Switch" };
    uint64_t rng = 88172645463325252ULL;

    for (int life = 0; life < 20000; life++) {
        struct probe_http_answer answer;
        struct err err = { 0 };
        int ret = 0;

        probe_http_answer_init(&answer);
        for (int n = 0; n < 12 && ret == 0 && !answer.done; n++) {
            rng ^= rng << 13;
            rng ^= rng >> 7;
            rng ^= rng << 17;
            const char *part = parts[(rng >> 20) % (sizeof(parts) / sizeof(parts[0]))];

            ret = probe_http_answer_feed(&answer, part, strlen(part), &err);
        }
        if (ret == 0 && !answer.done) {
            ret = probe_http_answer_feed(&answer, "", 0, &err);
        }
        assert_true(ret < 0 ? !answer.done : answer.done && answer.status >= 200);
        probe_http_answer_fini(&answer);
    }
}

static void verdicts_are_the_contracts(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *body, *expected;
        int expected_code;
        const char *verdict;
    } cases[] = {
        { 200, "ok", "ok", 0, NULL },
        { 200, "  OK\r\n", "ok", 200, NULL },
        { 200, "ok", " Ok ", 0, NULL },
        { 500, "ok", "ok", 0, NULL },
        { 200, "anything", "", 0, NULL },
        { 200, "anything", NULL, 200, NULL },
        { 200, "", "", 200, NULL },
        { 200, "okay", "ok", 0,
          "Response differs from expected response (expected \"ok\", got \"okay\")" },
        { 200, "", "ok", 0, "Response differs from expected response (expected \"ok\", got \"\")" },
        { 500, "Sick", "ok", 200,
          "Response differs from expected response (expected \"ok\", got \"sick\")" },
        { 500, "ok", "ok", 200,
          "Response code differs from expected response (expected 200, got 500)" },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct probe_http_answer answer = { .status = cases[i].status };

        buf_add_text(&answer.body, cases[i].body);
        CLEANUP(mem_freep)
        char *verdict = probe_http_verdict(&answer, cases[i].expected, cases[i].expected_code);
        if (cases[i].verdict) {
            assert_non_null(verdict);
            assert_string_equal(verdict, cases[i].verdict);
        } else {
            assert_null(verdict);
        }
        buf_fini(&answer.body);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_understood_in_pieces_of_any_size),
        cmocka_unit_test(broken_answers_are_told_apart),
        cmocka_unit_test(no_answer_is_read_for_ever),
        cmocka_unit_test(random_bytes_do_no_harm),
        cmocka_unit_test(verdicts_are_the_contracts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
