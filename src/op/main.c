/* SPDX-License-Identifier: Apache-2.0 */

/* davit-op: runs one operation for davit-master: hooks around a worker.
 *
 * Options and the choice between davit-op proper (runner.c) and its worker
 * (worker.c).  Nobody starts it by hand: its channel is a number in the
 * environment.
 */

#include "base/args.h"
#include "base/daemon.h"
#include "base/log.h"
#include "base/str.h"
#include "master/op_proto.h"
#include "op/runner.h"
#include "op/worker.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>

static const char PROGRAM[] = "davit-op";

/* The channel's descriptor, from the environment; what we start does not inherit it. */
static int find_channel(int *ret_fd, struct err *err)
{
    const char *text = getenv(OP_PROTO_FD_ENV);
    int64_t fd;

    if (text == NULL) {
        return err_set(err, ERR_USAGE, "davit-op is started by davit-master, not by hand");
    }
    if (str_to_int(text, 3, INT32_MAX, OP_PROTO_FD_ENV, &fd, err) < 0) {
        return err_code(err);
    }
    if (fcntl((int)fd, F_SETFD, FD_CLOEXEC) < 0) {
        return err_set(err, ERR_USAGE, "%s=%s is not an open descriptor", OP_PROTO_FD_ENV, text);
    }
    *ret_fd = (int)fd;
    return 0;
}

int main(int argc, char **argv)
{
    bool worker = false;
    const struct args_option options[] = {
        { .name = "worker",
          .type = ARGS_FLAG,
          .help = "do the work of an operation for the davit-op that started this",
          .dest = &worker },
    };
    const struct args_spec spec = {
        .program = PROGRAM,
        .usage = "[--worker]",
        .summary = "Run one operation for davit-master: its hooks, and its work in a process of "
                   "its own.",
        .options = options,
        .n_options = sizeof options / sizeof options[0],
        .epilog = "The channel to the master is the descriptor in " OP_PROTO_FD_ENV ".",
    };
    struct err err = { 0 };
    int rest, fd = -1;
    int rv = args_parse(&spec, argc, argv, &rest, &err);

    if (rv != 0) {
        return rv > 0 ? 0 : args_complain(&spec, &err);
    }
    if (find_channel(&fd, &err) < 0) {
        return daemon_fail(PROGRAM, &err);
    }
    log_init(PROGRAM);
    (void)signal(SIGPIPE, SIG_IGN);
    return worker ? worker_main(fd) : runner_main(fd);
}
