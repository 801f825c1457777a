/* SPDX-License-Identifier: Apache-2.0 */

/* coproc: a child at the other end of a socketpair.
 *
 * Used for guests, for davit-op and for its worker.  What is said on the channel is rpc.c's; the
 * child is its caller's from the start on.
 *
 * Failure: no socketpair, or child_start()'s; then nothing is left of the attempt.
 */

#include "guest/coproc.h"

#include "base/fault.h"
#include "base/mem.h"
#include "base/str.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

/* Which of several a program finds that reads a variable twice there is anybody's guess: the
 * variable is there once.  And whoever waits at NOTIFY_SOCKET waits for us, not for our children.
 */
static char **environment(const char *const *given, const char *variable)
{
    const char *const *from = given != NULL ? given : (const char *const *)environ;
    size_t len = strlen(variable);
    char **env = NULL;

    for (; *from != NULL; from++) {
        bool ours = strncmp(*from, variable, len) == 0 && (*from)[len] == '=';

        if (!ours && (given != NULL || !str_starts(*from, "NOTIFY_SOCKET="))) {
            strv_add(&env, *from);
        }
    }
    strv_addf(&env, "%s=%d", variable, COPROC_FD);
    return env;
}

int coproc_start(struct child *child, uv_loop_t *loop, const struct coproc_options *options,
                 child_cb cb, int *ret_fd, struct err *err)
{
    CLEANUP(strv_freep) char **env = environment(options->envp, options->fd_variable);
    int pair[2];

    if ((FAULT("coproc.socketpair") ?: socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) <
        0) {
        return err_set(err, ERR_IO, "socketpair: %s", strerror(errno));
    }
    CLEANUP(fd_closep) int ours = pair[0];
    CLEANUP(fd_closep) int theirs = pair[1];
    struct child_fd fds[4] = { { theirs, COPROC_FD } };
    size_t n = 1;

    for (int std = 0; std < 3; std++) {
        if (options->stdio[std] >= 0) {
            fds[n++] = (struct child_fd){ options->stdio[std], std };
        }
    }
    const struct child_options how = {
        .argv = options->argv,
        .envp = (const char *const *)env,
        .cwd = options->cwd,
        .fds = fds,
        .n_fds = n,
        .group = options->group,
        .death_signal = options->death_signal,
    };

    if (child_start(child, loop, &how, cb, err) < 0) {
        return err_code(err);
    }
    *ret_fd = TAKE_FD(ours);
    return 0;
}
