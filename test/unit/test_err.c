/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

#include "test.h"

#include <string.h>

static void set_returns_the_code(void **state)
{
    (void)state;
    struct err err = { 0 };

    assert_int_equal(err_set(&err, ERR_NOTFOUND, "job %s", "web"), ERR_NOTFOUND);
    assert_string_equal(err.msg, "job web");
    assert_int_equal(err_http_status(err.code), 404);
    assert_int_equal(err_exit_status(err.code), 14);
}

static void wrap_reads_outside_in(void **state)
{
    (void)state;
    struct err err = { 0 };

    err_set(&err, ERR_IO, "disk full");
    assert_int_equal(err_wrap(&err, "write snapshot %d", 7), ERR_IO);
    assert_string_equal(err.msg, "write snapshot 7: disk full");
}

/* The boundary that flux-core's errprintf() misses: exactly one byte too long. */
static void cut_messages_say_so(void **state)
{
    (void)state;
    struct err err = { 0 };
    char fits[sizeof err.msg];
    char over[sizeof err.msg + 1];

    memset(fits, 'a', sizeof fits - 1);
    fits[sizeof fits - 1] = 0;
    err_set(&err, ERR_IO, "%s", fits);
    assert_string_equal(err.msg, fits);

    memset(over, 'a', sizeof over - 1);
    over[sizeof over - 1] = 0;
    err_set(&err, ERR_IO, "%s", over);
    assert_string_equal(err.msg + sizeof err.msg - 4, "...");

    err_set(&err, ERR_IO, "%s", fits);
    err_wrap(&err, "load");
    assert_memory_equal(err.msg, "load: a", 7);
    assert_string_equal(err.msg + sizeof err.msg - 4, "...");

    err_set(&err, ERR_IO, "inner");
    err_wrap(&err, "%s", over);
    assert_string_equal(err.msg + sizeof err.msg - 4, "...");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(set_returns_the_code),
        cmocka_unit_test(wrap_reads_outside_in),
        cmocka_unit_test(cut_messages_say_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
