/* SPDX-License-Identifier: Apache-2.0 */
/* endpoint: the addresses of a task, as Aurora's Announcer says them.
 *
 * Pure.  Used by the master (the manifest's ports, what the API shows) and the agent (the member
 * it keeps in the store), so that both always say the same.
 */
#include "model/endpoint.h"

#include "base/json.h"
#include "base/str.h"

#include <string.h>

enum { PORT_MOST = 65535 };

static const char PRIMARY_DEFAULT[] = "http";

bool endpoint_announced(const json_t *announce)
{
    return json_is_object(announce);
}

/* The number of a static port, as number or text; -1: it is a name. */
static int64_t static_port(const json_t *value)
{
    int64_t port = -1;
    struct err ignored = { 0 };

    if (json_is_integer(value)) {
        port = json_integer_value(value);
    } else if (json_is_string(value)) {
        (void)str_to_int(json_string_value(value), 0, PORT_MOST, "port", &port, &ignored);
    }
    return port >= 0 && port <= PORT_MOST ? port : -1;
}

/* What name leads to; -1: nothing. */
static int64_t follow(const json_t *map, const char *name)
{
    for (size_t steps = json_object_size(map); steps > 0; steps--) {
        const json_t *value = json_object_get(map, name);
        int64_t port = static_port(value);

        if (port >= 0 || !json_is_string(value)) {
            return port;
        }
        name = json_string_value(value);
    }
    return -1;
}

json_t *endpoint_ports(const json_t *announce, const json_t *assigned)
{
    const json_t *portmap = json_object_get(announce, "portmap");
    CLEANUP(json_freep) json_t *map = json_object();
    json_t *ports = json_object();
    const char *name = NULL;
    json_t *value = NULL;

    if (json_is_object(portmap)) {
        json_object_update(map, (json_t *)portmap);
    }
    if (json_is_object(assigned)) {
        json_object_update(map, (json_t *)assigned);
    }
    json_object_foreach(map, name, value)
    {
        int64_t port = follow(map, name);

        if (port >= 0) {
            json_put_int(ports, name, port);
        }
    }
    return ports;
}

static json_t *endpoint(const char *host, int64_t port)
{
    json_t *one = json_object();

    json_put_str(one, "host", host);
    json_put_int(one, "port", port);
    return one;
}

json_t *endpoint_member(const json_t *announce, const json_t *ports, const char *host, int shard)
{
    const char *primary = json_str_or(announce, "primary_port", PRIMARY_DEFAULT);
    json_t *member = json_object();
    json_t *additional = json_object();
    const char *name = NULL;
    json_t *port = NULL;

    json_object_foreach((json_t *)ports, name, port)
    {
        json_put_take(additional, name, endpoint(host, json_integer_value(port)));
    }
    json_put_take(member, "serviceEndpoint", endpoint(host, json_int_or(ports, primary, 0)));
    json_put_take(member, "additionalEndpoints", additional);
    json_put_str(member, "status", "ALIVE");
    json_put_int(member, "shard", shard);
    return member;
}
