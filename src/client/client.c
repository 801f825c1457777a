/* SPDX-License-Identifier: Apache-2.0 */

/* client: one HTTP exchange with a master as one typed call.
 *
 * Not the hooks around it; see hooked.c.  A call that reaches a master that does
 * not lead is repeated at the leader it names, three times at the most: the
 * first master refused before doing anything, so that repeating is safe.
 */

#include "client/client.h"

#include "base/file.h"
#include "base/json.h"
#include "base/str.h"
#include "client/netrc.h"

#include <string.h>

enum { TOKEN_CAP = 4096, ANSWER_CAP = 64 << 20, REDIRECTS_MAX = 3 };

struct client {
    const struct cluster *cluster;
    struct httpc *httpc;
    char *token;
    char *base;   /* "http://host:port" */
    char *socket; /* NULL: TCP */
    void (*closed_cb)(void *data);
    void *closed_data;
};

static int read_token(const char *path, char **ret_token, struct err *err)
{
    CLEANUP_BUF text = { 0 };

    if (file_read(path, TOKEN_CAP, &text, err) < 0) {
        return err_wrap(err, "cluster token");
    }
    *ret_token = mem_strndup(buf_text(&text), strcspn(buf_text(&text), "\r\n"));
    return 0;
}

/* "http://host:port/" -> host */
static char *host_of(const char *uri)
{
    const char *start = strstr(uri, "://");

    start = start != NULL ? start + 3 : uri;
    return mem_strndup(start, strcspn(start, ":/"));
}

int client_new(uv_loop_t *loop, const struct cluster *cluster, struct client **ret_client,
               struct err *err)
{
    CLEANUP(mem_freep) char *token = NULL;
    bool local = cluster->socket != NULL && file_exists(cluster->socket);
    struct err failure = { 0 };

    /* A local master may not lead and name one that is elsewhere: the token is for that. */
    if (cluster->token_file != NULL && read_token(cluster->token_file, &token, &failure) < 0 &&
        !local) {
        *err = failure;
        return err_code(err);
    }
    if (cluster->token_file == NULL && cluster->uri != NULL) {
        CLEANUP(mem_freep) char *host = host_of(cluster->uri);

        token = netrc_password(host);
    }
    struct client *client = mem_alloc(sizeof *client);

    client->cluster = cluster;
    client->token = TAKE(token);
    client->base = mem_strdup(cluster->uri != NULL ? cluster->uri : "http://localhost");
    client->socket = local ? mem_strdup(cluster->socket) : NULL;
    httpc_new(loop, &client->httpc);
    *ret_client = client;
    return 0;
}

static void on_httpc_closed(void *data)
{
    struct client *client = data;
    void (*cb)(void *) = client->closed_cb;
    void *closed_data = client->closed_data;

    free(client->token);
    free(client->base);
    free(client->socket);
    free(client);
    if (cb != NULL) {
        cb(closed_data);
    }
}

void client_close(struct client *client, void (*cb)(void *data), void *data)
{
    client->closed_cb = cb;
    client->closed_data = data;
    httpc_close(client->httpc, on_httpc_closed, client);
}

static void send_it(struct client_call *call);

/* "leader" in a 503: {"address":"host:port","socket":path}. */
static bool redirect(struct client_call *call)
{
    const json_t *leader = json_object_get(call->problem, "leader");
    const char *address = json_str_or(leader, "address", NULL);
    const char *path = json_str_or(leader, "socket", NULL);
    struct client *client = call->client;

    if (call->http.status != 503 || address == NULL || call->redirects >= REDIRECTS_MAX) {
        return false;
    }
    call->redirects++;
    free(client->socket);
    client->socket = path != NULL && file_exists(path) ? mem_strdup(path) : NULL;
    free(client->base);
    client->base = str_printf("http://%s", address);
    return true;
}

static void finish(struct client_call *call)
{
    json_t *result = call->result, *problem = call->problem;

    httpc_call_fini(&call->http);
    free(call->method);
    free(call->path);
    free(call->url);
    free(call->body);
    call->method = call->path = call->url = call->body = NULL;
    call->cb(call); /* Last: the callback may free the call. */
    json_decref(result);
    json_decref(problem);
}

static void on_answer(struct httpc_call *http)
{
    struct client_call *call = http->data;
    struct err ignored = { 0 };

    call->err = (struct err){ 0 };
    if (httpc_check(http, &call->err) < 0) {
        if (http->err.code == 0 && httpc_json(http, &call->problem, &ignored) == 0 &&
            redirect(call)) {
            json_decref(call->problem);
            call->problem = NULL;
            httpc_call_fini(http);
            send_it(call);
            return;
        }
        if (http->err.code == ERR_UNREACHABLE) {
            (void)err_wrap(&call->err, "cluster %s", call->client->cluster->name);
        }
    } else if (call->on_data == NULL && http->res_len > 0) {
        (void)httpc_json(http, &call->result, &call->err);
    }
    finish(call);
}

static void on_data(struct httpc_call *http, const void *bytes, size_t len)
{
    struct client_call *call = http->data;

    call->on_data(call, bytes, len);
}

static void send_it(struct client_call *call)
{
    struct client *client = call->client;

    free(call->url);
    call->url =
        str_printf("%s%s", client->socket != NULL ? "http://localhost" : client->base, call->path);
    call->http = (struct httpc_call){
        .data = call,
        .method = call->method,
        .url = call->url,
        .unix_path = client->socket,
        .token = client->socket != NULL ? NULL : client->token,
        .body = call->body,
        .body_len = call->body != NULL ? strlen(call->body) : 0,
        .timeout_ms = call->timeout_ms,
        .max_bytes = ANSWER_CAP,
        .on_data = call->on_data != NULL ? on_data : NULL,
    };
    httpc_start(client->httpc, &call->http, on_answer);
}

void client_call_start(struct client_call *call, struct client *client, const char *method,
                       const char *path, const json_t *body, client_call_cb cb)
{
    call->err = (struct err){ 0 };
    call->result = call->problem = NULL;
    call->client = client;
    call->method = mem_strdup(method);
    call->path = mem_strdup(path);
    call->url = NULL;
    call->body = body != NULL ? json_text(body) : NULL;
    call->cb = cb;
    call->redirects = 0;
    send_it(call);
}

void client_call_cancel(struct client_call *call)
{
    httpc_cancel(&call->http);
}

void client_query(struct buf *path, const char *key, const char *value)
{
    if (value != NULL) {
        buf_addf(path, "%c%s=", strchr(buf_text(path), '?') == NULL ? '?' : '&', key);
        buf_add_uri(path, value);
    }
}

void client_segment(struct buf *path, const char *segment)
{
    buf_add_text(path, "/");
    buf_add_uri(path, segment);
}
