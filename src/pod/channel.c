/* SPDX-License-Identifier: Apache-2.0 */

/* channel: several agents' connections to one davit-pod, one JSON object a line.
 *
 * What the messages mean is lifecycle.c's; here are sockets, lines and limits.
 *
 *   a connection:  OPEN --end of file, error, bad line, too slow--> closing --> freed
 *
 * Happy path: a connection is greeted (hello, state, records that wait), then each
 * line that comes is parsed and told, and each change is sent to all.
 * Failure: whatever is wrong with a connection closes it with one line in the log, and
 * never anything else; the agent connects again and is greeted anew.
 * Invariants: an idle connection holds no buffer (a line's bytes are kept only while
 * it is incomplete); a reader for whom OUT_MAX bytes wait gets no more.
 */
#include "pod/channel.h"

#include "base/file.h"
#include "base/log.h"
#include "base/str.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <utlist.h>

enum { CONNECTIONS_MAX = 16, OUT_MAX = 512 * 1024, READ_BYTES = 4096, BACKLOG = 8 };

struct connection {
    uv_pipe_t pipe;
    struct channel *channel;
    struct buf line; /* an incomplete one */
    struct connection *prev, *next;
};

struct channel {
    uv_loop_t *loop;
    struct channel_events events;
    uv_pipe_t listener;
    bool listening;
    int home_fd;
    struct connection *connections;
    size_t n_connections;
    bool closing;
    unsigned open_handles;
    void (*on_closed)(void *data);
    void *closed_data;
};

struct outgoing {
    uv_write_t request;
    char bytes[];
};

struct channel *channel_new(uv_loop_t *loop, const struct channel_events *events)
{
    struct channel *channel = mem_alloc(sizeof(*channel));

    channel->loop = loop;
    channel->events = *events;
    channel->home_fd = -1;
    channel->listener.data = channel;
    (void)uv_pipe_init(loop, &channel->listener, 0);
    channel->open_handles = 1;
    return channel;
}

size_t channel_connections(const struct channel *channel)
{
    return channel->n_connections;
}

static void maybe_closed(struct channel *channel)
{
    if (!channel->closing || channel->open_handles > 0) {
        return;
    }
    void (*cb)(void *data) = channel->on_closed;
    void *data = channel->closed_data;

    fd_closep(&channel->home_fd);
    free(channel);
    cb(data);
}

static void on_connection_closed(uv_handle_t *handle)
{
    struct connection *connection = handle->data;
    struct channel *channel = connection->channel;

    channel->open_handles--;
    buf_fini(&connection->line);
    free(connection);
    maybe_closed(channel);
}

static void drop(struct connection *connection)
{
    struct channel *channel = connection->channel;

    if (uv_is_closing((uv_handle_t *)&connection->pipe)) {
        return;
    }
    DL_DELETE(channel->connections, connection);
    channel->n_connections--;
    uv_close((uv_handle_t *)&connection->pipe, on_connection_closed);
    if (channel->n_connections == 0 && !channel->closing) {
        channel->events.alone(channel->events.ctx);
    }
}

static void on_written(uv_write_t *request, int status)
{
    struct outgoing *outgoing = (struct outgoing *)request;
    struct connection *connection = request->handle->data;

    free(outgoing);
    if (status < 0 && status != UV_ECANCELED) {
        drop(connection);
    }
}

static void send_bytes(struct connection *connection, const char *bytes, size_t len)
{
    uv_stream_t *stream = (uv_stream_t *)&connection->pipe;
    uv_buf_t buf = uv_buf_init((char *)bytes, (unsigned)len);
    size_t waiting = uv_stream_get_write_queue_size(stream);
    int sent = waiting == 0 ? uv_try_write(stream, &buf, 1) : UV_EAGAIN;

    if (sent == (int)len) {
        return;
    }
    if (sent < 0 && sent != UV_EAGAIN) {
        drop(connection);
        return;
    }
    size_t done = sent > 0 ? (size_t)sent : 0;
    if (waiting > OUT_MAX) {
        log_warn("an agent does not read what it is told, closing its connection waiting=%zu",
                 waiting);
        drop(connection);
        return;
    }
    struct outgoing *outgoing = mem_alloc(sizeof(*outgoing) + len - done);
    memcpy(outgoing->bytes, bytes + done, len - done);
    buf = uv_buf_init(outgoing->bytes, (unsigned)(len - done));
    if (uv_write(&outgoing->request, stream, &buf, 1, on_written) < 0) {
        free(outgoing);
        drop(connection);
    }
}

void channel_tell(struct channel *channel, const char *lines, size_t len)
{
    struct connection *connection;
    struct connection *next;

    DL_FOREACH_SAFE(channel->connections, connection, next)
    {
        send_bytes(connection, lines, len);
    }
}

/* False when the connection was closed by it. */
static bool take_line(struct connection *connection, const char *line, size_t len)
{
    struct channel *channel = connection->channel;
    struct proto_msg msg = { 0 };
    struct err err = { 0 };

    if (proto_parse(line, len, &msg, &err) < 0) {
        log_warn("an agent sent a bad line, closing its connection error=\"%s\"", err.msg);
        drop(connection);
        return false;
    }
    channel->events.message(channel->events.ctx, &msg);
    proto_msg_fini(&msg);
    return !uv_is_closing((uv_handle_t *)&connection->pipe);
}

static void take_bytes(struct connection *connection, const char *bytes, size_t len)
{
    while (len > 0) {
        const char *end = memchr(bytes, '\n', len);
        size_t part = end ? (size_t)(end - bytes) : len;

        if (connection->line.len + part > PROTO_LINE_MAX) {
            log_warn("an agent sent a line longer than %d bytes, closing its connection",
                     PROTO_LINE_MAX);
            drop(connection);
            return;
        }
        if (!end || connection->line.len > 0) {
            buf_add(&connection->line, bytes, part);
        }
        if (!end) {
            return;
        }
        struct buf whole = TAKE(connection->line);
        bool open = whole.len > 0 ? take_line(connection, whole.data, whole.len)
                                  : take_line(connection, bytes, part);
        buf_fini(&whole);
        if (!open) {
            return;
        }
        bytes = end + 1;
        len -= part + 1;
    }
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buf)
{
    static char bytes[READ_BYTES]; /* what is read is consumed before the next read */

    (void)handle;
    (void)suggested;
    *ret_buf = uv_buf_init(bytes, sizeof(bytes));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct connection *connection = stream->data;

    if (n < 0) {
        drop(connection);
    } else {
        take_bytes(connection, buf->base, (size_t)n);
    }
}

static void greet(struct connection *connection)
{
    struct channel *channel = connection->channel;
    CLEANUP_BUF hello = { 0 };

    DL_APPEND(channel->connections, connection);
    channel->n_connections++;
    channel->events.greet(channel->events.ctx, &hello);
    (void)uv_read_start((uv_stream_t *)&connection->pipe, on_alloc, on_read);
    send_bytes(connection, buf_text(&hello), hello.len);
}

static struct connection *connection_new(struct channel *channel)
{
    struct connection *connection = mem_alloc(sizeof(*connection));

    connection->channel = channel;
    (void)uv_pipe_init(channel->loop, &connection->pipe, 0);
    connection->pipe.data = connection;
    channel->open_handles++;
    return connection;
}

int channel_adopt(struct channel *channel, int fd, struct err *err)
{
    CLEANUP(fd_closep) int given = fd;
    int type = 0;
    socklen_t size = sizeof(type);

    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0 || type != SOCK_STREAM) {
        return err_set(err, ERR_USAGE, "descriptor %d is not a stream socket", fd);
    }
    (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    struct connection *connection = connection_new(channel);
    int ret = uv_pipe_open(&connection->pipe, TAKE_FD(given));
    if (ret < 0) {
        uv_close((uv_handle_t *)&connection->pipe, on_connection_closed);
        return err_set(err, ERR_IO, "descriptor %d: %s", fd, uv_strerror(ret));
    }
    greet(connection);
    return 0;
}

static void on_connect(uv_stream_t *listener, int status)
{
    struct channel *channel = listener->data;
    struct connection *connection = connection_new(channel);

    if (status < 0 || uv_accept(listener, (uv_stream_t *)&connection->pipe) < 0 ||
        channel->n_connections >= CONNECTIONS_MAX) {
        uv_close((uv_handle_t *)&connection->pipe, on_connection_closed);
        return;
    }
    greet(connection);
}

/* Through /proc/self/fd, as home may be longer than a socket's address may be. */
static int bind_home(int home_fd, int *ret_fd, struct err *err)
{
    CLEANUP(fd_closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_un addr = { .sun_family = AF_UNIX };

    (void)snprintf(addr.sun_path, sizeof(addr.sun_path), "/proc/self/fd/%d/%s", home_fd,
                   PROTO_SOCK_FILE);
    /* Set before bind, so that the file never has another mode. */
    if (fd < 0 || fchmod(fd, 0600) < 0) {
        return err_set(err, ERR_IO, "socket: %s", strerror(errno));
    }
    (void)unlinkat(home_fd, PROTO_SOCK_FILE, 0);
    if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
        return err_set(err, ERR_IO, "bind %s: %s", PROTO_SOCK_FILE, strerror(errno));
    }
    *ret_fd = TAKE_FD(fd);
    return 0;
}

static void on_listener_closed(uv_handle_t *handle)
{
    struct channel *channel = handle->data;

    channel->open_handles--;
    maybe_closed(channel);
}

int channel_listen(struct channel *channel, const char *home, struct err *err)
{
    CLEANUP(fd_closep) int home_fd = open(home, O_PATH | O_DIRECTORY | O_CLOEXEC);
    CLEANUP(fd_closep) int fd = -1;

    if (home_fd < 0) {
        return err_set(err, ERR_NOTFOUND, "open %s: %s", home, strerror(errno));
    }
    if (bind_home(home_fd, &fd, err) < 0) {
        return err->code;
    }
    channel->listening = true;
    channel->home_fd = TAKE_FD(home_fd);
    int ret = uv_pipe_open(&channel->listener, fd);
    if (ret == 0) {
        fd = -1; /* the handle's now */
        ret = uv_listen((uv_stream_t *)&channel->listener, BACKLOG, on_connect);
    }
    return ret < 0 ? err_set(err, ERR_IO, "listen on %s: %s", PROTO_SOCK_FILE, uv_strerror(ret))
                   : 0;
}

void channel_close(struct channel *channel, void (*cb)(void *data), void *data)
{
    struct connection *connection;
    struct connection *next;

    channel->closing = true;
    channel->on_closed = cb;
    channel->closed_data = data;
    DL_FOREACH_SAFE(channel->connections, connection, next)
    {
        drop(connection);
    }
    if (channel->listening) {
        (void)unlinkat(channel->home_fd, PROTO_SOCK_FILE, 0);
    }
    uv_close((uv_handle_t *)&channel->listener, on_listener_closed);
}
