/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"

#include <uv.h>

/* What every long-running davit program does the same way. */

/* Tell whoever started us (--ready-fd N, and systemd's NOTIFY_SOCKET) that we
 * serve now: writes "\n" to fd and closes it; fd -1 is nothing. */
void daemon_ready(int fd);

/* --port-file: one line with the port that we serve at; path NULL is nothing. */
int daemon_write_port(const char *path, int port, struct err *err);

struct daemon_stop;

/* Fires on the loop at SIGTERM and SIGINT, once for each. */
typedef void (*daemon_stop_cb)(struct daemon_stop *stop);

/* Embed it; data is the caller's. */
struct daemon_stop {
    void *data;

    /* Private to daemon.c. */
    uv_signal_t term;
    uv_signal_t intr;
    daemon_stop_cb cb;
};

/* SIGPIPE is ignored from here on.  The handles do not keep the loop alive. */
void daemon_stop_start(struct daemon_stop *stop, uv_loop_t *loop, daemon_stop_cb cb);
void daemon_stop_close(struct daemon_stop *stop);

/* Print "PROGRAM: MESSAGE" as one line on stderr and give back err's exit status. */
int daemon_fail(const char *program, const struct err *err);
