/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/id.h"
#include "test.h"

static void whole_numbers_only(void **state)
{
    (void)state;
    static const char *const bad[] = { "",    " 1", "1 ",
                                       "+1",  "-1", "0x1",
                                       "1.0", "11", "99999999999999999999" };
    struct err err = { 0 };
    int64_t value = -5;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(str_to_int(bad[i], 0, 10, "n", &value, &err), ERR_INVALID);
        assert_int_equal(value, -5);
    }
    assert_int_equal(str_to_int("10", 0, 10, "n", &value, &err), 0);
    assert_int_equal(value, 10);
    assert_int_equal(str_to_int("-3", -3, 10, "n", &value, &err), 0);
    assert_int_equal(value, -3);
}

static void split_keeps_empty_parts(void **state)
{
    (void)state;
    CLEANUP(strv_freep) char **parts = str_split("a//b/", "/");

    assert_int_equal(strv_len(parts), 4);
    assert_string_equal(parts[1], "");
    assert_string_equal(parts[2], "b");
    assert_string_equal(parts[3], "");
}

static void escapes_what_moves_a_terminal(void **state)
{
    (void)state;
    static const struct {
        const char *raw, *shown;
    } rows[] = {
        { "a\nb\x1b[1m\\\xc3\xa9", "a\\nb\\x1b[1m\\\\\xc3\xa9" },
        { "\x7f\r\t", "\\x7f\\x0d\\t" },
        { "\xc2\x9b"
          "31m",
          "\\u009b31m" }, /* CSI as one character. */
        { "\x9b"
          "31m",
          "\\x9b31m" }, /* and as one byte. */
        { "abc\xe2\x80\xae"
          "txt",
          "abc\\u202etxt" },                                     /* right to left */
        { "\xe2\x82", "\\xe2\\x82" },                            /* cut off */
        { "\xc0\xaf\xed\xa0\x80", "\\xc0\\xaf\\xed\\xa0\\x80" }, /* too long; a surrogate */
        { "\xf0\x9f\x9a\xa2 \xe2\x82\xac", "\xf0\x9f\x9a\xa2 \xe2\x82\xac" },
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        CLEANUP(mem_freep) char *s = str_escape(rows[i].raw);

        assert_string_equal(s, rows[i].shown);
    }
}

static void ids_have_their_shape(void **state)
{
    (void)state;
    char a[ID_UUID_SIZE], b[ID_UUID_SIZE];

    id_uuid(a);
    id_uuid(b);
    assert_true(id_is_uuid(a));
    assert_string_not_equal(a, b);
    a[8] = 'x';
    assert_false(id_is_uuid(a));
}

static void digests_match_known_vectors(void **state)
{
    (void)state;
    char hex[DIGEST_SHA256_HEX], sha1[DIGEST_SHA1_BASE64];

    digest_sha256_hex("abc", 3, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    digest_sha1_base64("super:test", 10, sha1);
    assert_string_equal(sha1, "D/InIHSb7yEEbrWz8b9l71RjZJU=");
    assert_true(digest_equal_secret("a", "a"));
    assert_false(digest_equal_secret("a", "ab"));
}

static void times_read_as_rfc3339(void **state)
{
    (void)state;
    char text[CLOCK_UTC_SIZE];

    clock_format_utc(1500000000123, text);
    assert_string_equal(text, "2017-07-14T02:40:00.123Z");
}

static void uris_keep_only_what_is_safe(void **state)
{
    (void)state;
    CLEANUP_BUF uri = { 0 };

    buf_add_uri(&uri, "aZ0-._~");
    buf_add_uri(&uri, "a/b c%\xc3\xa9?");
    assert_string_equal(buf_text(&uri), "aZ0-._~a%2Fb%20c%25%C3%A9%3F");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_numbers_only),
        cmocka_unit_test(split_keeps_empty_parts),
        cmocka_unit_test(escapes_what_moves_a_terminal),
        cmocka_unit_test(ids_have_their_shape),
        cmocka_unit_test(digests_match_known_vectors),
        cmocka_unit_test(uris_keep_only_what_is_safe),
        cmocka_unit_test(times_read_as_rfc3339),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
