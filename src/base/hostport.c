/* SPDX-License-Identifier: Apache-2.0 */

/* hostport: socket addresses as users write them.
 *
 * Not a resolver: looking names up may block, and a server that listens at a name would have to
 * say at which of its addresses.
 */

#include "base/hostport.h"

#include "base/mem.h"
#include "base/str.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <uv.h>

int hostport_parse(const char *text, struct sockaddr_storage *ret_addr, struct err *err)
{
    const char *colon = strrchr(text, ':');
    struct sockaddr_storage addr = { 0 };
    int64_t port = 0;

    if (colon == NULL || colon == text) {
        return err_set(err, ERR_USAGE, "address '%s' is not HOST:PORT", text);
    }
    if (str_to_int(colon + 1, 0, 65535, "port", &port, err) < 0) {
        return err_set(err, ERR_USAGE, "address '%s': the port is not 0 to 65535", text);
    }
    bool bracketed = text[0] == '[' && colon[-1] == ']';
    CLEANUP(mem_freep)
    char *host = bracketed ? str_printf("%.*s", (int)(colon - text) - 2, text + 1)
                           : str_printf("%.*s", (int)(colon - text), text);
    const char *numeric = str_eq(host, "localhost") ? "127.0.0.1" : host;
    if ((bracketed || uv_ip4_addr(numeric, (int)port, (struct sockaddr_in *)&addr) < 0) &&
        uv_ip6_addr(numeric, (int)port, (struct sockaddr_in6 *)&addr) < 0) {
        return err_set(err, ERR_USAGE, "address '%s' is not numeric", text);
    }
    *ret_addr = addr;
    return 0;
}

char *hostport_host(const char *text)
{
    const char *colon = strrchr(text, ':');

    return colon != NULL ? mem_strndup(text, (size_t)(colon - text)) : mem_strdup(text);
}

bool hostport_is_loopback(const struct sockaddr_storage *addr)
{
    if (addr->ss_family == AF_INET) {
        return ntohl(((const struct sockaddr_in *)addr)->sin_addr.s_addr) >> 24 == 127;
    }
    return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)addr)->sin6_addr) != 0;
}
