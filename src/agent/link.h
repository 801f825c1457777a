/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "pod/proto.h"

#include <stdbool.h>
#include <uv.h>

struct link;

/* A message of a known type; the callback may call link_close(). */
typedef void (*link_msg_cb)(struct link *link, const struct proto_msg *msg);

/* The connection is over, and closed: end of file, an error or a bad line (err says). */
typedef void (*link_end_cb)(struct link *link, const struct err *err);

/* The agent's end of one connection to a davit-pod.  Caller-owned; a zeroed one is closed.
 * Keep it in place until link_is_closed(). */
struct link {
    void *data;

    /* Private to link.c. */
    uv_pipe_t pipe;
    struct buf in;
    size_t scanned; /* of in, without a newline */
    link_msg_cb on_msg;
    link_end_cb on_end;
    bool open;
    bool handle; /* the pipe is not closed yet */
    void (*on_closed)(struct link *link);
};

/* Takes over fd, a connected stream socket. */
void link_open(struct link *link, uv_loop_t *loop, int fd, link_msg_cb on_msg, link_end_cb on_end);

/* Connects to a pod's socket at once: ERR_UNREACHABLE when nobody answers there. */
int link_connect(struct link *link, uv_loop_t *loop, const char *home, link_msg_cb on_msg,
                 link_end_cb on_end, struct err *err);

bool link_is_open(const struct link *link);

/* Sends a line of proto.h and frees it; lost when the link is or becomes closed. */
void link_send_take(struct link *link, char *line);

/* on_end comes no more.  on_closed (may be NULL) fires later, when link may be freed or opened
 * again; at once when it was closed already. */
void link_close(struct link *link, void (*on_closed)(struct link *link));
