/* SPDX-License-Identifier: Apache-2.0 */

/* daemon: readiness, stopping and dying, the same in every program. */

#include "base/daemon.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

/* systemd's protocol: one datagram "READY=1" to the socket it named. */
static void notify_systemd(void)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    static const char message[] = "READY=1";

    if (path == NULL || path[0] == 0 || strlen(path) >= sizeof addr.sun_path) {
        return;
    }
    CLEANUP(fd_closep) int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    memcpy(addr.sun_path, path, strlen(path));
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    if (addr.sun_path[0] == '@') {
        addr.sun_path[0] = 0;
    }
    if (fd >= 0) {
        (void)sendto(fd, message, sizeof message - 1, MSG_NOSIGNAL, (struct sockaddr *)&addr, len);
    }
}

void daemon_ready(int fd)
{
    if (fd >= 0) {
        (void)!write(fd, "\n", 1);
        (void)close(fd);
    }
    notify_systemd();
}

int daemon_write_port(const char *path, int port, struct err *err)
{
    char text[16];
    int len = snprintf(text, sizeof text, "%d\n", port);

    return path != NULL ? file_write(path, text, (size_t)len, 0644, false, err) : 0;
}

static void on_signal(uv_signal_t *handle, int signum)
{
    struct daemon_stop *stop = handle->data;

    (void)signum;
    stop->cb(stop);
}

void daemon_stop_start(struct daemon_stop *stop, uv_loop_t *loop, daemon_stop_cb cb)
{
    (void)signal(SIGPIPE, SIG_IGN);
    stop->cb = cb;
    stop->term.data = stop->intr.data = stop;
    (void)uv_signal_init(loop, &stop->term);
    (void)uv_signal_init(loop, &stop->intr);
    (void)uv_signal_start(&stop->term, on_signal, SIGTERM);
    (void)uv_signal_start(&stop->intr, on_signal, SIGINT);
    uv_unref((uv_handle_t *)&stop->term);
    uv_unref((uv_handle_t *)&stop->intr);
}

void daemon_stop_close(struct daemon_stop *stop)
{
    uv_close((uv_handle_t *)&stop->term, NULL);
    uv_close((uv_handle_t *)&stop->intr, NULL);
}

int daemon_fail(const char *program, const struct err *err)
{
    CLEANUP(mem_freep) char *message = str_escape(err->msg);

    (void)fprintf(stderr, "%s: %s\n", program, message);
    return err_exit_status(err->code);
}
