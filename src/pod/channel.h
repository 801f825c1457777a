/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "pod/proto.h"

#include <uv.h>

/* davit-pod's end of the talk with agents: pod.sock and its connections. */
struct channel;

/* Called on the loop.  msg is borrowed for the call. */
struct channel_events {
    void *ctx;
    /* A connection begins: add to hello what it must hear first. */
    void (*greet)(void *ctx, struct buf *hello);
    void (*message)(void *ctx, const struct proto_msg *msg);
    /* The last connection has gone. */
    void (*alone)(void *ctx);
};

struct channel *channel_new(uv_loop_t *loop, const struct channel_events *events);

/* Bind home/pod.sock, replacing one of a davit-pod that died, and accept.  Only root and
 * our own user may connect. */
int channel_listen(struct channel *channel, const char *home, struct err *err);

/* fd, a connected stream socket, is the channel's afterwards, also when it fails. */
int channel_adopt(struct channel *channel, int fd, struct err *err);

/* To every connection; whole lines.  One that does not read is closed. */
void channel_tell(struct channel *channel, const char *lines, size_t len);

size_t channel_connections(const struct channel *channel);

/* Sends what can be sent without waiting, closes everything, removes pod.sock and fires
 * cb, later on the loop; the channel is freed then. */
void channel_close(struct channel *channel, void (*cb)(void *data), void *data);
