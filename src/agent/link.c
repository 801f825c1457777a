/* SPDX-License-Identifier: Apache-2.0 */
/* link: one connection between the agent and a davit-pod, a JSON message a line.
 *
 * Not the protocol's meaning (pods.c) nor its text (pod/proto.c).
 *
 *   closed --open, connect--> open --end of file, bad line, link_close()--> closing
 *   --handle closed--> closed
 *
 * Failure: whatever goes wrong with a connection ends that connection and nothing
 * else; davit-pod tells everything again on the next one.
 * Invariant: after link_close() or on_end neither on_msg nor on_end fires.
 */
#include "agent/link.h"

#include "base/file.h"
#include "base/str.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { READ_BYTES = 4096 };

struct sending {
    uv_write_t req;
    char *line;
};

bool link_is_open(const struct link *link)
{
    return link->open;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct link *link = handle->data;
    void (*cb)(struct link * link) = link->on_closed;

    link->handle = false;
    link->on_closed = NULL;
    buf_fini(&link->in);
    if (cb) {
        cb(link);
    }
}

static void shut(struct link *link)
{
    link->open = false;
    uv_close((uv_handle_t *)&link->pipe, on_handle_closed);
}

void link_close(struct link *link, void (*on_closed)(struct link *link))
{
    if (link->open) {
        shut(link);
    }
    if (link->handle) {
        link->on_closed = on_closed;
    } else if (on_closed) {
        on_closed(link);
    }
}

static void fail(struct link *link, const struct err *err)
{
    shut(link);
    link->on_end(link, err);
}

/* Give each whole line to the owner. */
static void take_lines(struct link *link)
{
    size_t begin = 0;
    const char *newline = NULL;

    while (link->open &&
           (newline = memchr(link->in.data + link->scanned, '\n', link->in.len - link->scanned))) {
        size_t end = (size_t)(newline - link->in.data);
        struct proto_msg msg = { 0 };
        struct err err = { 0 };

        if (proto_parse(link->in.data + begin, end - begin, &msg, &err) < 0) {
            fail(link, &err);
            return;
        }
        if (msg.type != PROTO_UNKNOWN) {
            link->on_msg(link, &msg);
        }
        proto_msg_fini(&msg);
        begin = end + 1;
        link->scanned = begin;
    }
    if (!link->open) {
        return;
    }
    if (begin > 0) {
        buf_drop(&link->in, begin);
    }
    link->scanned = link->in.len;
    if (link->in.len == 0) {
        buf_fini(&link->in); /* A thousand idle links keep no memory. */
    } else if (link->in.len > PROTO_LINE_MAX) {
        struct err err = { 0 };

        err_setf(&err, ERR_TOOBIG, "a line of more than %d bytes", PROTO_LINE_MAX);
        fail(link, &err);
    }
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buf)
{
    struct link *link = handle->data;

    (void)suggested;
    buf_reserve(&link->in, READ_BYTES);
    *ret_buf = uv_buf_init(link->in.data + link->in.len, READ_BYTES);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct link *link = stream->data;
    struct err err = { 0 };

    (void)buf;
    if (!link->open || n == 0) {
        return;
    }
    if (n < 0) {
        err_setf(&err, n == UV_EOF ? ERR_EOF : ERR_IO, "%s", uv_strerror((int)n));
        fail(link, &err);
        return;
    }
    link->in.len += (size_t)n;
    take_lines(link);
}

void link_open(struct link *link, uv_loop_t *loop, int fd, link_msg_cb on_msg, link_end_cb on_end)
{
    assert(!link->handle);
    link->on_msg = on_msg;
    link->on_end = on_end;
    link->scanned = 0;
    (void)uv_pipe_init(loop, &link->pipe, 0);
    link->pipe.data = link;
    link->handle = true;
    link->open = true;
    /* Both fail only for a descriptor that is no stream: our bug. */
    if (uv_pipe_open(&link->pipe, fd) < 0 ||
        uv_read_start((uv_stream_t *)&link->pipe, on_alloc, on_read) < 0) {
        abort();
    }
}

int link_connect(struct link *link, uv_loop_t *loop, const char *home, link_msg_cb on_msg,
                 link_end_cb on_end, struct err *err)
{
    CLEANUP(fd_closep) int dir = open(home, O_PATH | O_DIRECTORY | O_CLOEXEC);
    CLEANUP(fd_closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    if (dir < 0 || fd < 0) {
        return err_set(err, ERR_IO, "connect to the pod in %s: %s", home, strerror(errno));
    }
    snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/" PROTO_SOCK_FILE, dir);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        return err_set(err, ERR_UNREACHABLE, "connect to the pod in %s: %s", home, strerror(errno));
    }
    link_open(link, loop, TAKE_FD(fd), on_msg, on_end);
    return 0;
}

static void on_sent(uv_write_t *req, int status)
{
    struct sending *sending = req->data;

    (void)status; /* A broken link is told by its reading end. */
    free(sending->line);
    free(sending);
}

void link_send_take(struct link *link, char *line)
{
    struct sending *sending = NULL;
    uv_buf_t buf = uv_buf_init(line, (unsigned)strlen(line));

    if (!link->open) {
        free(line);
        return;
    }
    sending = mem_alloc(sizeof(*sending));
    sending->line = line;
    sending->req.data = sending;
    if (uv_write(&sending->req, (uv_stream_t *)&link->pipe, &buf, 1, on_sent) < 0) {
        free(line);
        free(sending);
    }
}
