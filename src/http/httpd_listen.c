/* SPDX-License-Identifier: Apache-2.0 */

/* httpd_listen: the sockets at which a server is called, and the connections that come in there.
 *
 * Not what is said on a connection: each goes to MHD at once.  A listener is polled by our loop;
 * at the connection limit, or out of descriptors, all of them rest for a moment and the kernel's
 * backlog holds those who wait.
 *
 * A connection that sends its headers byte by byte never looks idle to MHD: those that take too
 * long for a request are shut down here.
 *
 * Failures: what an address is missing is said before a socket is made; a socket file is taken
 * over only from a server that is gone.
 */

#include "http/httpd_priv.h"

#include "base/clock.h"
#include "base/fault.h"
#include "base/hostport.h"
#include "base/log.h"
#include "base/mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <utlist.h>

enum {
    ACCEPT_BATCH = 64,
    ACCEPT_PAUSE_MS = 50, /* Out of descriptors or at the connection limit. */
    BACKLOG = 512,
};

struct httpd_listener {
    struct httpd *httpd;
    int fd;
    char *unix_path; /* Removed at close; NULL for TCP and passed descriptors. */
    uv_poll_t poll;
    struct httpd_listener *prev, *next;
};

/* ---- Connections ---- */

static void on_accept(uv_poll_t *poll, int status, int events);

void httpd_set_listening(struct httpd *httpd, bool listening)
{
    struct httpd_listener *listener;

    DL_FOREACH(httpd->listeners, listener)
    {
        if (listening) {
            uv_poll_start(&listener->poll, UV_READABLE, on_accept);
        } else {
            uv_poll_stop(&listener->poll);
        }
    }
}

static void on_pause_over(uv_timer_t *timer)
{
    httpd_set_listening(timer->data, true);
}

static void pause_listening(struct httpd *httpd)
{
    httpd_set_listening(httpd, false);
    uv_timer_start(&httpd->paused, on_pause_over, ACCEPT_PAUSE_MS, 0);
}

static void on_accept(uv_poll_t *poll, int status, int events)
{
    struct httpd_listener *listener = poll->data;
    struct httpd *httpd = listener->httpd;

    (void)status;
    (void)events;
    for (int i = 0; i < ACCEPT_BATCH; i++) {
        struct sockaddr_storage addr = { 0 };
        socklen_t len = sizeof addr;
        if (httpd->connections >= httpd->options.max_connections) {
            pause_listening(httpd); /* The rest wait in the backlog. */
            break;
        }
        int fd = FAULT("httpd.accept") != 0 ? -1
                                            : accept4(listener->fd, (struct sockaddr *)&addr, &len,
                                                      SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
                log_warn("cannot accept a connection: %s, trying again in %d ms", strerror(errno),
                         ACCEPT_PAUSE_MS);
                pause_listening(httpd);
            }
            break;
        }
        httpd_adopt(httpd, fd, (struct sockaddr *)&addr, len);
    }
    httpd_run(httpd);
}

static void arm_hurry(struct httpd *httpd);

static void on_hurry(uv_timer_t *timer)
{
    struct httpd *httpd = timer->data;
    uint64_t now_ms = clock_now_ms();

    while (httpd->idle != NULL &&
           now_ms - httpd->idle->idle_since_ms >= httpd->options.body_timeout_ms) {
        struct httpd_peer *peer = httpd->idle;
        httpd_peer_busy(httpd, peer); /* Nothing more is asked of it. */
        (void)shutdown(peer->fd, SHUT_RDWR);
    }
    arm_hurry(httpd);
}

static void arm_hurry(struct httpd *httpd)
{
    if (httpd->idle == NULL || uv_is_closing((uv_handle_t *)&httpd->hurry)) {
        return; /* A timer that fires for nobody does no harm. */
    }
    uint64_t due_ms = httpd->idle->idle_since_ms + httpd->options.body_timeout_ms;
    uint64_t now_ms = clock_now_ms();

    if (!uv_is_active((uv_handle_t *)&httpd->hurry)) {
        uv_update_time(httpd->options.loop);
        uv_timer_start(&httpd->hurry, on_hurry, due_ms > now_ms ? due_ms - now_ms : 0, 0);
    }
}

void httpd_peer_idle(struct httpd *httpd, struct httpd_peer *peer)
{
    if (!peer->idle) {
        peer->idle = true;
        peer->idle_since_ms = clock_now_ms();
        DL_APPEND(httpd->idle, peer);
        arm_hurry(httpd);
    }
}

void httpd_peer_busy(struct httpd *httpd, struct httpd_peer *peer)
{
    if (peer->idle) {
        peer->idle = false;
        DL_DELETE(httpd->idle, peer);
    }
}

/* ---- Sockets ---- */

int httpd_listen_fd(struct httpd *httpd, int fd, struct err *err)
{
    struct httpd_listener *listener = mem_alloc(sizeof *listener);

    listener->httpd = httpd;
    listener->fd = fd;
    listener->poll.data = listener;
    int rv = uv_poll_init(httpd->options.loop, &listener->poll, fd); /* Makes it non-blocking. */
    if (rv != 0) {
        free(listener);
        close(fd);
        return err_set(err, ERR_IO, "listen on descriptor %d: %s", fd, uv_strerror(rv));
    }
    httpd->open_handles++;
    DL_APPEND(httpd->listeners, listener);
    uv_poll_start(&listener->poll, UV_READABLE, on_accept);
    return 0;
}

int httpd_listen_tcp(struct httpd *httpd, const char *address, uint16_t *ret_port, struct err *err)
{
    CLEANUP(fd_closep) int fd = -1;
    struct sockaddr_storage addr = { 0 };
    socklen_t len = sizeof addr;

    if (hostport_parse(address, &addr, err) < 0) {
        return err->code;
    }
    if (httpd->tokens == NULL && !hostport_is_loopback(&addr)) {
        return err_set(err, ERR_CONFIG, "listen on %s: beyond loopback a token file is needed",
                       address);
    }
    len = addr.ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    fd = socket(addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int)) < 0 ||
        bind(fd, (struct sockaddr *)&addr, len) < 0 || listen(fd, BACKLOG) < 0) {
        return err_set(err, ERR_IO, "listen on %s: %s", address, strerror(errno));
    }
    len = sizeof addr;
    if (getsockname(fd, (struct sockaddr *)&addr, &len) < 0) {
        return err_set(err, ERR_IO, "listen on %s: %s", address, strerror(errno));
    }
    if (httpd_listen_fd(httpd, TAKE_FD(fd), err) < 0) {
        return err->code;
    }
    if (ret_port != NULL) {
        *ret_port = ntohs(((struct sockaddr_in *)&addr)->sin_port); /* Same place in both. */
    }
    return 0;
}

/* Does somebody answer at this socket file? */
static bool is_socket_live(const struct sockaddr_un *addr)
{
    CLEANUP(fd_closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    return fd >= 0 && (connect(fd, (const struct sockaddr *)addr, sizeof *addr) == 0 ||
                       errno == EAGAIN || errno == EINPROGRESS);
}

static int remove_stale(const struct sockaddr_un *addr, struct err *err)
{
    struct stat st;

    if (lstat(addr->sun_path, &st) < 0) {
        return 0;
    }
    if (!S_ISSOCK(st.st_mode)) {
        return err_set(err, ERR_EXISTS, "socket %s: something else is there", addr->sun_path);
    }
    if (is_socket_live(addr)) {
        return err_set(err, ERR_CONFLICT, "socket %s is in use", addr->sun_path);
    }
    if (unlink(addr->sun_path) < 0 && errno != ENOENT) {
        return err_set(err, ERR_IO, "remove stale socket %s: %s", addr->sun_path, strerror(errno));
    }
    return 0;
}

int httpd_listen_unix(struct httpd *httpd, const char *path, mode_t mode, struct err *err)
{
    CLEANUP(fd_closep) int fd = -1;
    struct sockaddr_un addr = { .sun_family = AF_UNIX };

    if (strlen(path) >= sizeof addr.sun_path) {
        return err_set(err, ERR_INVALID, "socket path %s is longer than %zu bytes", path,
                       sizeof addr.sun_path - 1);
    }
    memcpy(addr.sun_path, path, strlen(path) + 1);
    if (remove_stale(&addr, err) < 0) {
        return err->code;
    }
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* The mode is set before listen(), so nobody connects under another one. */
    if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof addr) < 0 || chmod(path, mode) < 0 ||
        listen(fd, BACKLOG) < 0) {
        return err_set(err, ERR_IO, "listen on %s: %s", path, strerror(errno));
    }
    if (httpd_listen_fd(httpd, TAKE_FD(fd), err) < 0) {
        return err->code;
    }
    httpd->listeners->prev->unix_path = mem_strdup(path); /* The head's prev is the tail. */
    return 0;
}

/* ---- Closing ---- */

static void on_listener_closed(uv_handle_t *handle)
{
    struct httpd_listener *listener = handle->data;
    struct httpd *httpd = listener->httpd;

    if (listener->unix_path != NULL) {
        unlink(listener->unix_path);
    }
    close(listener->fd);
    free(listener->unix_path);
    free(listener);
    httpd->open_handles--;
    httpd_maybe_closed(httpd);
}

void httpd_close_listeners(struct httpd *httpd)
{
    struct httpd_listener *listener, *next;

    DL_FOREACH_SAFE(httpd->listeners, listener, next)
    {
        DL_DELETE(httpd->listeners, listener);
        uv_close((uv_handle_t *)&listener->poll, on_listener_closed);
    }
}
