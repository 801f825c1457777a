/* SPDX-License-Identifier: Apache-2.0 */

/* httpd_admit: everything that can be said of a request before its body is here.
 *
 * Who calls (a peer's credentials, a bearer token, or being on this machine), which route takes
 * the path and method, whether the caller's role suffices, whether the body may be as long as it
 * claims.  Not the meaning of roles beyond their order.
 *
 * Happy path: req->route is set and the request waits for its body.  Failure: it is answered.
 */

#include "base/str.h"
#include "http/httpd_priv.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Is "Host:" a name of this machine's loopback?  Keeps web pages that the user visits from
 * reaching a server without tokens under a name of theirs (DNS rebinding). */
static bool is_loopback_host(const char *host)
{
    static const char *const names[] = { "localhost", "127.0.0.1", "[::1]" };

    for (size_t i = 0; host != NULL && i < sizeof names / sizeof names[0]; i++) {
        size_t len = strlen(names[i]);
        if (strncasecmp(host, names[i], len) == 0 && (host[len] == '\0' || host[len] == ':')) {
            return true;
        }
    }
    return host == NULL; /* HTTP/1.0: no browser. */
}

static int identify_loopback(struct httpd_request *req, struct err *err)
{
    const char *host = httpd_header(req, "Host");
    const char *origin = httpd_header(req, "Origin");
    const char *authority = origin != NULL ? strstr(origin, "://") : NULL;

    if (!is_loopback_host(host)) {
        return err_set(err, ERR_DENIED, "without a token only loopback names are served");
    }
    if (origin != NULL && (authority == NULL || !str_eq(authority + 3, host))) {
        return err_set(err, ERR_DENIED, "another site's page may not call without a token");
    }
    req->identity = (struct httpd_identity){ .name = "loopback", .role = HTTPD_ADMIN };
    return 0;
}

static int identify_by_token(struct httpd_request *req, struct err *err)
{
    static const char scheme[] = "Bearer ";
    const char *value = httpd_header(req, "Authorization");

    if (value == NULL) {
        req->identity = (struct httpd_identity){ .name = "anonymous", .role = HTTPD_PUBLIC };
        return 0;
    }
    if (strncasecmp(value, scheme, strlen(scheme)) != 0 ||
        !bearer_identify(req->httpd->tokens, value + strlen(scheme), &req->identity)) {
        return err_set(err, ERR_UNAUTH, "unknown token");
    }
    return 0;
}

static int identify(struct httpd_request *req, struct err *err)
{
    const struct httpd_peer *peer = req->peer;

    if (!peer->local) {
        return req->httpd->tokens != NULL ? identify_by_token(req, err)
                                          : identify_loopback(req, err);
    }
    bool trusted = peer->cred.uid == 0 || peer->cred.uid == geteuid();
    if (!trusted && req->httpd->tokens != NULL) {
        if (identify_by_token(req, err) < 0) {
            return err->code;
        }
    } else {
        snprintf(req->identity_name, sizeof req->identity_name, "uid:%u", peer->cred.uid);
        req->identity = (struct httpd_identity){ .name = req->identity_name,
                                                 .role = trusted ? HTTPD_ADMIN : HTTPD_PUBLIC };
    }
    req->identity.local = true;
    req->identity.uid = peer->cred.uid;
    req->identity.gid = peer->cred.gid;
    req->identity.pid = peer->cred.pid;
    return 0;
}

static bool takes_method(const struct httpd_route *route, const char *method)
{
    return strcmp(route->method, method) == 0 ||
           (strcmp(method, "HEAD") == 0 && strcmp(route->method, "GET") == 0);
}

/* Sets req->route, or fills allow with the methods that the path does take. */
static void find_route(struct httpd_request *req, struct buf *allow)
{
    const struct httpd *httpd = req->httpd;

    for (size_t i = 0; i < httpd->options.n_routes; i++) {
        const struct httpd_route *route = &httpd->options.routes[i];
        if (!route_match(httpd->patterns[i], &req->path)) {
            continue;
        }
        if (takes_method(route, req->method)) {
            req->route = route;
            req->pattern = httpd->patterns[i];
            return;
        }
        if (strstr(buf_text(allow), route->method) == NULL) {
            buf_addf(allow, "%s%s", allow->len > 0 ? ", " : "", route->method);
        }
    }
}

static void set_id(struct httpd_request *req)
{
    const char *theirs = httpd_header(req, "X-Request-Id");
    size_t len = theirs != NULL ? strspn(theirs, "0123456789abcdefghijklmnopqrstuvwxyz"
                                                 "ABCDEFGHIJKLMNOPQRSTUVWXYZ-_.:")
                                : 0;

    if (len > 0 && len <= HTTPD_MAX_ID && theirs[len] == '\0') {
        memcpy(req->id, theirs, len + 1);
    } else {
        snprintf(req->id, sizeof req->id, "%s-%llx", req->httpd->id_prefix,
                 (unsigned long long)++req->httpd->next_id);
    }
}

static void check_role(struct httpd_request *req)
{
    if (req->identity.role >= req->route->role) {
        return;
    }
    if (req->identity.role == HTTPD_PUBLIC && !req->identity.local) {
        httpd_add_header(req, "WWW-Authenticate", "Bearer");
        httpd_refuse(req, ERR_UNAUTH, "a token is needed");
    } else {
        httpd_refuse(req, ERR_DENIED, "your role does not allow this");
    }
}

/* Everything that can be said before the body is here. */
static void find_answer(struct httpd_request *req, const char *url)
{
    CLEANUP_BUF allow = { 0 };
    struct err err = { 0 };

    set_id(req);
    if (route_path_init(&req->path, url, &err) < 0 || httpd_read_args(req, &err) < 0) {
        req->route = NULL;
        httpd_reply_err(req, &err);
        return;
    }
    if (identify(req, &err) < 0) {
        if (err.code == ERR_UNAUTH) {
            httpd_add_header(req, "WWW-Authenticate", "Bearer");
        }
        httpd_reply_err(req, &err);
        return;
    }
    find_route(req, &allow);
    if (req->route != NULL) {
        check_role(req);
    } else if (allow.len == 0) {
        httpd_refuse(req, ERR_NOTFOUND, "no such resource");
    } else {
        if (strstr(buf_text(&allow), "GET") != NULL) {
            buf_add_text(&allow, ", HEAD");
        }
        httpd_add_header(req, "Allow", buf_text(&allow));
        httpd_refuse(req, ERR_METHOD, "this resource does not take that method");
    }
}

static void check_length(struct httpd_request *req)
{
    const char *length = httpd_header(req, "Content-Length");
    bool expects = httpd_header(req, "Expect") != NULL;
    int64_t bytes = 0;
    struct err err = { 0 };

    if (length != NULL && str_to_int(length, 0, INT64_MAX, "Content-Length", &bytes, &err) < 0) {
        bytes = INT64_MAX;
    }
    if (req->sm.state == HTTPD_RECEIVING && (uint64_t)bytes > req->httpd->options.max_body_bytes) {
        httpd_refuse(req, ERR_TOOBIG, "the body is too large");
    }
    req->early = req->sm.state == HTTPD_ANSWERED && (expects || bytes > HTTPD_MAX_DISCARD_BYTES);
}

void httpd_admit(struct httpd_request *req, const char *url)
{
    find_answer(req, url);
    check_length(req);
}
