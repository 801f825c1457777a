/* SPDX-License-Identifier: Apache-2.0 */
#include "http/bearer.h"

#include "base/file.h"
#include "test.h"

#include <string.h>
#include <sys/stat.h>

static char path[] = "/tmp/davit-bearer-XXXXXX";

static int load(const char *text, mode_t mode, struct bearer_tokens **ret_tokens, struct err *err)
{
    struct err written = { 0 };

    assert_int_equal(file_write(path, text, strlen(text), 0600, false, &written), 0);
    assert_int_equal(chmod(path, mode), 0);
    return bearer_load(path, ret_tokens, err);
}

static void knows_names_and_roles(void **ctx)
{
    (void)ctx;
    CLEANUP(bearer_freep) struct bearer_tokens *tokens = NULL;
    struct httpd_identity who = { 0 };
    struct err err = { 0 };

    assert_int_equal(load("# ours\n0123456789abcdef\n\n0123456789abcdeg ci viewer # read\n"
                          "0123456789abcdeh web role:www\n",
                          0600, &tokens, &err),
                     0);
    assert_true(bearer_identify(tokens, "0123456789abcdef", &who));
    assert_int_equal(who.role, HTTPD_ADMIN);
    assert_true(bearer_identify(tokens, "0123456789abcdeg", &who));
    assert_int_equal(who.role, HTTPD_VIEWER);
    assert_string_equal(who.name, "ci");
    assert_true(bearer_identify(tokens, "0123456789abcdeh", &who));
    assert_int_equal(who.role, HTTPD_ROLE);
    assert_string_equal(who.role_name, "www");
    assert_false(bearer_identify(tokens, "0123456789abcdei", &who));
    assert_false(bearer_identify(tokens, "0123456789abcdef0", &who));
    assert_false(bearer_identify(tokens, "", &who));
}

static void refuses_the_whole_file(void **ctx)
{
    (void)ctx;
    static const struct {
        const char *text;
        mode_t mode;
    } bad[] = {
        { "", 0600 },
        { "short\n", 0600 },
        { "0123456789abcdef ci root\n", 0600 },
        { "0123456789abcdef ci role:\n", 0600 },
        { "0123456789abcdef ci viewer more\n", 0600 },
        { "0123456789abcdef\n", 0644 },
    };

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct bearer_tokens *tokens = NULL;
        struct err err = { 0 };
        assert_int_equal(load(bad[i].text, bad[i].mode, &tokens, &err), ERR_CONFIG);
        assert_null(tokens);
    }
}

static int make_file(void **ctx)
{
    (void)ctx;
    int fd = mkstemp(path);

    close(fd);
    return fd < 0;
}

static int remove_file(void **ctx)
{
    (void)ctx;
    return unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_names_and_roles),
        cmocka_unit_test(refuses_the_whole_file),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
