/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"
#include "model/endpoint.h"

#include "test.h"

#include <string.h>

static json_t *parse(const char *text)
{
    json_t *json = NULL;
    struct err err = { 0 };

    assert_int_equal(json_parse(text, strlen(text), 4096, &json, &err), 0);
    return json;
}

static void check(const char *announce_text, const char *assigned_text, const char *ports_text,
                  const char *primary_text)
{
    CLEANUP(json_freep) json_t *announce = parse(announce_text);
    CLEANUP(json_freep) json_t *assigned = parse(assigned_text);
    CLEANUP(json_freep) json_t *ports = endpoint_ports(announce, assigned);
    CLEANUP(json_freep) json_t *member = endpoint_member(announce, ports, "h", 3);
    CLEANUP(mem_freep) char *text = json_text(ports);
    CLEANUP(mem_freep) char *primary = json_text(json_object_get(member, "serviceEndpoint"));

    assert_string_equal(text, ports_text);
    assert_string_equal(primary, primary_text);
    assert_int_equal(json_object_size(json_object_get(member, "additionalEndpoints")),
                     json_object_size(ports));
}

static void a_member_reads_as_the_original_wrote_it(void **state)
{
    CLEANUP(json_freep)
    json_t *announce = parse("{\"primary_port\":\"http\",\"portmap\":{\"aurora\":\"http\"}}");
    CLEANUP(json_freep) json_t *assigned = parse("{\"http\":31001}");
    CLEANUP(json_freep) json_t *ports = endpoint_ports(announce, assigned);
    CLEANUP(json_freep) json_t *member = endpoint_member(announce, ports, "node1", 7);
    CLEANUP(mem_freep) char *text = json_text(member);

    (void)state;
    assert_string_equal(text, "{\"additionalEndpoints\":{\"aurora\":{\"host\":\"node1\",\"port\":"
                              "31001},\"http\":{\"host\":\"node1\",\"port\":31001}},"
                              "\"serviceEndpoint\":{\"host\":\"node1\",\"port\":31001},"
                              "\"shard\":7,\"status\":\"ALIVE\"}");
}

static void names_are_followed_to_numbers(void **state)
{
    (void)state;
    /* Several names, one of them by two steps. */
    check("{\"primary_port\":\"http\",\"portmap\":{\"a\":\"b\",\"b\":\"http\",\"x\":\"admin\"}}",
          "{\"http\":1,\"admin\":2}", "{\"a\":1,\"admin\":2,\"b\":1,\"http\":1,\"x\":2}",
          "{\"host\":\"h\",\"port\":1}");
    /* A static port, as text and as number. */
    check("{\"primary_port\":\"http\",\"portmap\":{\"http\":\"8080\",\"x\":90,\"y\":\"http\"}}",
          "{}", "{\"http\":8080,\"x\":90,\"y\":8080}", "{\"host\":\"h\",\"port\":8080}");
    /* What is assigned wins. */
    check("{\"primary_port\":\"http\",\"portmap\":{\"http\":\"8080\"}}", "{\"http\":5}",
          "{\"http\":5}", "{\"host\":\"h\",\"port\":5}");
    /* Nobody asked for the primary port. */
    check("{\"primary_port\":\"http\",\"portmap\":{}}", "{\"admin\":5}", "{\"admin\":5}",
          "{\"host\":\"h\",\"port\":0}");
    /* Circles and loose ends. */
    check("{\"primary_port\":\"a\",\"portmap\":{\"a\":\"b\",\"b\":\"a\",\"c\":\"d\",\"e\":\"e\","
          "\"f\":\"99999\",\"g\":null}}",
          "{}", "{}", "{\"host\":\"h\",\"port\":0}");
    check("null", "{\"http\":1}", "{\"http\":1}", "{\"host\":\"h\",\"port\":1}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_member_reads_as_the_original_wrote_it),
        cmocka_unit_test(names_are_followed_to_numbers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
