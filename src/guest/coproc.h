/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/child.h"
#include "base/err.h"

#include <uv.h>

/* A child that talks with us over its own end of a stream socketpair. */

/* The descriptor it finds its end at. */
enum { COPROC_FD = 3 };

struct coproc_options {
    const char *const *argv; /* Ends with NULL; argv[0] is the program's path. */
    const char *const *envp; /* NULL: this process's, without NOTIFY_SOCKET. */
    const char *fd_variable; /* Set to COPROC_FD in its environment, whatever it was. */
    const char *cwd;         /* NULL: this process's. */
    int stdio[3];            /* Which of our descriptors are its 0, 1, 2; -1: /dev/null. */
    enum child_group group;
    int death_signal; /* Sent to it when our thread dies; 0: none. */
};

/* Start it as child_start() does, with its errors.  *ret_fd, our end, is the caller's; the end of
 * file on it does not mean that the child has ended. */
int coproc_start(struct child *child, uv_loop_t *loop, const struct coproc_options *options,
                 child_cb cb, int *ret_fd, struct err *err);
