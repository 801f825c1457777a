/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the files of the HTTP server share:
 *
 *   httpd.c          libmicrohttpd: connections, bodies, answers, streams; opening and closing
 *   httpd_listen.c   listening sockets, and taking connections from them
 *   httpd_admit.c    who calls, which route, may they: what is said before the body is here
 *   httpd_request.c  what a handler reads of its request, and the forms of its answer
 */

#include "base/buf.h"
#include "base/sm.h"
#include "http/bearer.h"
#include "http/httpd.h"
#include "http/route.h"

#include <sys/socket.h>

struct MHD_Connection;
struct MHD_Daemon;
struct MHD_Response;

enum {
    HTTPD_MAX_DISCARD_BYTES = 16 * 1024 * 1024, /* Of a refused body we read this much away. */
    HTTPD_MAX_ID = 64,
};

enum { HTTPD_RECEIVING, HTTPD_HANDLING, HTTPD_STREAMING, HTTPD_ANSWERED };

struct httpd_listener;
struct httpd_watch;

/* One per connection: what does not change from request to request. */
struct httpd_peer {
    bool local;
    struct ucred cred;
    int fd;
    bool idle;              /* It owes us a request: in httpd->idle. */
    uint64_t idle_since_ms; /* Since its beginning, or its last answer. */
    struct httpd_peer *prev, *next;
};

struct httpd_arg {
    char *key, *value;
};

struct httpd_header {
    char *name, *value;
    struct httpd_header *next;
};

struct httpd_request {
    struct httpd *httpd;
    struct httpd_peer *peer;     /* While conn is ours. */
    struct MHD_Connection *conn; /* NULL once MHD is done with it. */
    struct sm sm;
    struct httpd_request *prev, *next;

    char method[16]; /* Ours: MHD's goes with the connection. */
    struct route_path path;
    const struct httpd_route *route;
    const struct route_pattern *pattern;
    struct httpd_identity identity;
    char identity_name[32];
    char id[HTTPD_MAX_ID + 1];
    struct httpd_arg *args;
    size_t n_args;
    struct buf body;
    size_t discarded;
    uint64_t started_ms;
    void *data;

    struct MHD_Response *response; /* Until it is queued. */
    int status;
    struct httpd_header *headers;
    int json_status; /* What httpd_json() found wrong, for httpd_reply_err(); 0. */

    bool in_access; /* on_access() is on the stack: answer by returning to it. */
    bool suspended;
    bool dropped;
    bool gone;
    bool early; /* Answered without waiting for the body. */
    httpd_request_cb on_gone;
    struct httpd_watch *watch;

    struct buf stream;
    size_t stream_sent; /* Of stream, from its front. */
    bool stream_full;   /* A write was refused: on_writable is owed. */
    httpd_request_cb on_writable;
};

struct httpd {
    struct httpd_options options;
    struct route_pattern **patterns;
    struct bearer_tokens *tokens;
    struct MHD_Daemon *daemon;
    struct httpd_listener *listeners;
    struct httpd_request *requests;
    unsigned connections;
    struct httpd_peer *idle; /* The longest idle first. */
    uint64_t next_id;
    char id_prefix[9];

    uv_poll_t poll;
    uv_timer_t timer;  /* MHD's next timeout. */
    uv_timer_t paused; /* Listeners rest until it fires. */
    uv_timer_t hurry;  /* When the longest idle connection is given up. */
    uv_timer_t closer; /* Leaves the caller's stack before MHD is stopped. */
    unsigned open_handles;
    bool resumed; /* Since MHD last ran. */
    bool closing;
    bool draining; /* No new request becomes a handler's. */
    bool stopped;
    httpd_cb close_cb;
};

/* ---- httpd.c ---- */

/* Once it is stopped and nothing of it is left, tells the closer and frees it. */
void httpd_maybe_closed(struct httpd *httpd);

/* Lets MHD work, and arms the timer for its next time.  Not from within MHD. */
void httpd_run(struct httpd *httpd);

/* Hands a connected socket to MHD, which closes it in any case. */
void httpd_adopt(struct httpd *httpd, int fd, const struct sockaddr *addr, socklen_t len);

/* Decodes the query into req->args. */
int httpd_read_args(struct httpd_request *req, struct err *err);

/* ---- httpd_listen.c ---- */

/* Takes connections, or leaves them in the backlog. */
void httpd_set_listening(struct httpd *httpd, bool listening);
void httpd_close_listeners(struct httpd *httpd);

/* From now on the connection owes us a request with all of its headers, in body_timeout_ms; or it
 * owes us none, because one is here or the connection ends. */
void httpd_peer_idle(struct httpd *httpd, struct httpd_peer *peer);
void httpd_peer_busy(struct httpd *httpd, struct httpd_peer *peer);

/* ---- httpd_admit.c ---- */

/* Finds the route, or answers; with req->early the answer goes out before the body. */
void httpd_admit(struct httpd_request *req, const char *url);

/* ---- httpd_request.c ---- */

void httpd_refuse(struct httpd_request *req, int code, const char *why);
