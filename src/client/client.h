/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "client/clusters.h"
#include "http/httpc.h"

#include <jansson.h>
#include <uv.h>

/* Calls to one cluster's master, over its unix socket when there is one on this
 * machine, else over TCP with the cluster's token. */
struct client;
struct client_call;

/* Once per start, from the loop.  May free or restart the call. */
typedef void (*client_call_cb)(struct client_call *call);
typedef void (*client_data_cb)(struct client_call *call, const void *bytes, size_t len);

/* Caller-owned; keep it in place until its callback has fired. */
struct client_call {
    void *data; /* The caller's. */

    /* Set before start; zero means the default. */
    client_data_cb on_data; /* Stream a successful body here. */
    uint64_t timeout_ms;    /* 30,000 */

    /* The outcome. */
    struct err err;  /* code 0: a 2xx answer.  Else transport's error or the server's words. */
    json_t *result;  /* The answer; NULL when it has no JSON.  During the callback only. */
    json_t *problem; /* The server's problem+json, when it sent one.  The same. */

    /* Private to client.c. */
    struct client *client;
    struct httpc_call http;
    char *method;
    char *path;
    char *url;
    char *body;
    client_call_cb cb;
    unsigned redirects;
};

/* cluster is borrowed for the client's life.  ERR_* when its token cannot be read. */
int client_new(uv_loop_t *loop, const struct cluster *cluster, struct client **ret_client,
               struct err *err);

/* Cancels what is under way; cb (may be NULL) when all is gone. */
void client_close(struct client *client, void (*cb)(void *data), void *data);

/* path is "/v1/..." with its query, encoded.  body is borrowed, NULL for none.  A
 * master that is not the leader names the leader, and the call goes there. */
void client_call_start(struct client_call *call, struct client *client, const char *method,
                       const char *path, const json_t *body, client_call_cb cb);
void client_call_cancel(struct client_call *call);

/* Append "&key=value" ("?key=value" first), percent-encoded; NULL value: nothing. */
void client_query(struct buf *path, const char *key, const char *value);

/* Append one path segment, percent-encoded, with a slash before it. */
void client_segment(struct buf *path, const char *segment);
