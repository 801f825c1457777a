/* SPDX-License-Identifier: Apache-2.0 */
#include "base/hostport.h"

#include "base/mem.h"
#include "test.h"

#include <arpa/inet.h>
#include <netinet/in.h>

static void numeric_addresses_of_both_families(void **state)
{
    (void)state;
    struct sockaddr_storage addr = { 0 };
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&addr;
    struct err err = { 0 };

    assert_int_equal(hostport_parse("10.1.2.3:80", &addr, &err), 0);
    assert_int_equal(addr.ss_family, AF_INET);
    assert_int_equal(ntohl(v4->sin_addr.s_addr), 0x0a010203);
    assert_int_equal(ntohs(v4->sin_port), 80);
    assert_false(hostport_is_loopback(&addr));
    assert_int_equal(hostport_parse("[::1]:0", &addr, &err), 0);
    assert_int_equal(addr.ss_family, AF_INET6);
    assert_true(hostport_is_loopback(&addr));
    assert_int_equal(hostport_parse("localhost:65535", &addr, &err), 0);
    assert_true(hostport_is_loopback(&addr));
}

static void anything_else_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = { "",        "host",         ":80",         "1.2.3.4:",
                                       "1.2.3.4", "a.b:80",       "1.2.3.4:-1",  "1.2.3.4:65536",
                                       "[]:80",   "[1.2.3.4]:80", "1.2.3.4:80 ", "[::1:80" };
    struct sockaddr_storage addr = { .ss_family = AF_UNIX };

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct err err = { 0 };
        assert_int_equal(hostport_parse(bad[i], &addr, &err), ERR_USAGE);
        assert_int_equal(addr.ss_family, AF_UNIX);
    }
}

static void host_is_what_stands_before_the_port(void **state)
{
    static const char *const rows[][2] = {
        { "10.1.2.3:80", "10.1.2.3" },
        { "[::1]:0", "[::1]" },
        { "localhost", "localhost" },
        { ":7", "" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        CLEANUP(mem_freep) char *host = hostport_host(rows[i][0]);

        assert_string_equal(host, rows[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(host_is_what_stands_before_the_port),
        cmocka_unit_test(numeric_addresses_of_both_families),
        cmocka_unit_test(anything_else_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
