/* SPDX-License-Identifier: Apache-2.0 */

/* hostport: addresses as users write them. */

#include "store/hostport.h"

#include "base/mem.h"
#include "base/str.h"

#include <string.h>
#include <uv.h>

int hostport_parse(const char *text, struct sockaddr_storage *ret_addr, struct err *err)
{
    const char *colon = strrchr(text, ':');
    CLEANUP(mem_freep) char *host = NULL;
    int64_t port = 0;

    if (colon == NULL || str_to_int(colon + 1, 0, 65535, "port", &port, err) < 0) {
        return err_set(err, ERR_USAGE, "%s: HOST:PORT is needed", text);
    }
    size_t len = (size_t)(colon - text);

    host = str_printf("%.*s", (int)len, text);
    if (len >= 2 && host[0] == '[' && host[len - 1] == ']') {
        host[len - 1] = 0;
        memmove(host, host + 1, len - 1);
    }
    const char *numeric = str_eq(host, "localhost") ? "127.0.0.1" : host;

    if (uv_ip4_addr(numeric, (int)port, (struct sockaddr_in *)ret_addr) < 0 &&
        uv_ip6_addr(numeric, (int)port, (struct sockaddr_in6 *)ret_addr) < 0) {
        return err_set(err, ERR_USAGE, "%s: not a numeric address", text);
    }
    return 0;
}
