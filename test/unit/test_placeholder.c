/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/placeholder.h"

#include "base/mem.h"
#include "test.h"

static const struct placeholder_port ports[] = { { (char *)"http", 31004 },
                                                 { (char *)"admin-2", 31005 } };
static const struct placeholder_values values = {
    .instance = 7,
    .hostname = "node1",
    .task_id = "www-devel-hello-7-x",
    .user = "www",
    .ports = ports,
    .n_ports = 2,
};

static void becomes(const char *text, const char *want)
{
    CLEANUP(mem_freep) char *got = placeholder_fill(text, &values);

    assert_string_equal(got, want);
}

static void known_ones_are_filled_in(void **state)
{
    (void)state;
    becomes("", "");
    becomes("echo hello", "echo hello");
    becomes("{{mesos.instance}}", "7");
    becomes("a {{mesos.hostname}}:{{thermos.ports[http]}} b", "a node1:31004 b");
    becomes("{{thermos.ports[admin-2]}}{{thermos.user}}", "31005www");
    becomes("x{{thermos.task_id}}y", "xwww-devel-hello-7-xy");
}

static void unknown_ones_stay(void **state)
{
    (void)state;
    becomes("{{nope}}", "{{nope}}");
    becomes("{{mesos.instances}} {{mesos.instanc}}", "{{mesos.instances}} {{mesos.instanc}}");
    becomes("{{thermos.ports[ftp]}}", "{{thermos.ports[ftp]}}");
    becomes("{{thermos.ports[}}", "{{thermos.ports[}}");
    becomes("{{thermos.ports[]}}", "{{thermos.ports[]}}");
    becomes("{{ mesos.instance }}", "{{ mesos.instance }}");
    becomes("{{}}", "{{}}");
}

static void broken_braces_are_text(void **state)
{
    (void)state;
    becomes("{{mesos.instance", "{{mesos.instance");
    becomes("{{mesos.instance}", "{{mesos.instance}");
    becomes("{", "{");
    becomes("}}{{", "}}{{");
    becomes("awk '{{print {{mesos.instance}}}}'", "awk '{{print 7}}'");
    becomes("{{{mesos.instance}}}", "{7}");
    becomes("{{a{{mesos.instance}}", "{{a7");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_ones_are_filled_in),
        cmocka_unit_test(unknown_ones_stay),
        cmocka_unit_test(broken_braces_are_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
