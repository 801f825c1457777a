/* SPDX-License-Identifier: Apache-2.0 */

/* davit-store: the embedded store, for one machine.
 *
 * Options, the lock on the directory, and the loop; serving is zserver.c.
 */

#include "base/args.h"
#include "base/daemon.h"
#include "base/file.h"
#include "base/log.h"
#include "base/str.h"
#include "store/zcopy.h"
#include "store/zserver.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

static const char PROGRAM[] = "davit-store";

struct options {
    const char *dir;
    const char *listen;
    const char *port_file;
    int64_t ready_fd;
    int64_t tick_ms;
    int64_t min_timeout_ms;
    int64_t max_timeout_ms;
    int64_t max_frame;
    int64_t max_connections;
};

static void raise_file_limit(void)
{
    struct rlimit limit = { 0 };

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static void on_stop(struct daemon_stop *stop)
{
    zserver_stop(stop->data);
}

static int announce(const struct options *options, int port, struct err *err)
{
    if (daemon_write_port(options->port_file, port, err) < 0) {
        return err_code(err);
    }
    log_info("serving port=%d dir=%s", port, options->dir);
    daemon_ready((int)options->ready_fd);
    return 0;
}

static int serve(uv_loop_t *loop, const struct options *options, struct err *err)
{
    CLEANUP(zserver_freep) struct zserver *server = NULL;
    struct daemon_stop stop = { 0 };
    struct zserver_options inner = {
        .dir = options->dir,
        .listen = options->listen,
        .limits = { (int32_t)options->min_timeout_ms, (int32_t)options->max_timeout_ms },
        .tick_ms = options->tick_ms,
        .max_frame = options->max_frame,
        .max_connections = options->max_connections,
    };

    if (zserver_open(loop, &inner, &server, err) < 0) {
        return err_code(err);
    }
    stop.data = server;
    daemon_stop_start(&stop, loop, on_stop); /* before anybody hears that we are ready */
    int rv = announce(options, zserver_port(server), err);

    if (rv < 0) {
        zserver_stop(server);
    }
    (void)uv_run(loop, UV_RUN_DEFAULT);
    daemon_stop_close(&stop);
    (void)uv_run(loop, UV_RUN_DEFAULT);
    if (rv == 0 && zserver_failure(server)->code != 0) {
        *err = *zserver_failure(server);
        rv = err_code(err);
    }
    return rv;
}

static int run(struct options *options, struct err *err)
{
    CLEANUP(mem_freep) char *lock = NULL;
    CLEANUP(fd_closep) int lock_fd = -1;
    uv_loop_t loop;

    if (options->dir == NULL) {
        return err_set(err, ERR_USAGE, "--dir is needed");
    }
    if (options->min_timeout_ms == 0) {
        options->min_timeout_ms = 2 * options->tick_ms;
    }
    if (options->max_timeout_ms == 0) {
        options->max_timeout_ms = 20 * options->tick_ms;
    }
    if (options->min_timeout_ms > options->max_timeout_ms) {
        return err_set(err, ERR_USAGE, "the smallest session timeout is above the largest");
    }
    lock = file_join(options->dir, "store.lock");
    if (file_mkdirs(options->dir, 0700, err) < 0 || file_lock(lock, &lock_fd, err) < 0) {
        return err_code(err);
    }
    raise_file_limit();
    (void)umask(0077); /* The file holds the sessions' passwords. */
    (void)uv_loop_init(&loop);
    int rv = serve(&loop, options, err);

    if (uv_loop_close(&loop) != 0) {
        log_error("a handle was left open");
    }
    return rv;
}

int main(int argc, char **argv)
{
    struct options options = { .listen = "127.0.0.1:2181",
                               .ready_fd = -1,
                               .tick_ms = 2000,
                               .max_frame = 1048575,
                               .max_connections = 10000 };
    const struct args_option rows[] = {
        { "dir", 0, ARGS_TEXT, "D", "directory of the data; created when absent", &options.dir, 0,
          0 },
        { "listen", 0, ARGS_TEXT, "HOST:PORT", "numeric address (127.0.0.1:2181); port 0 picks one",
          &options.listen, 0, 0 },
        { "port-file", 0, ARGS_TEXT, "F", "write the port to F", &options.port_file, 0, 0 },
        { "ready-fd", 0, ARGS_INT, "N", "write a line to descriptor N when serving",
          &options.ready_fd, 0, INT32_MAX },
        { "tick", 0, ARGS_INT, "MS", "how often sessions are looked at (2000)", &options.tick_ms,
          10, 60000 },
        { "min-session-timeout", 0, ARGS_INT, "MS", "smallest one granted (2 ticks)",
          &options.min_timeout_ms, 1, INT32_MAX },
        { "max-session-timeout", 0, ARGS_INT, "MS", "largest one granted (20 ticks)",
          &options.max_timeout_ms, 1, INT32_MAX },
        { "max-frame", 0, ARGS_INT, "BYTES", "longest frame taken (1048575)", &options.max_frame,
          1024, 1 << 30 },
        { "max-connections", 0, ARGS_INT, "N", "connections at a time (10000)",
          &options.max_connections, 1, 1000000 },
    };
    const struct args_spec spec = {
        .program = PROGRAM,
        .usage = "--dir D [options]  |  copy FROM TO",
        .summary = "Serve the ZooKeeper protocol on one machine, from a SQLite file.",
        .options = rows,
        .n_options = sizeof rows / sizeof rows[0],
        .epilog = "copy FROM TO, each HOST:PORT[/chroot], copies a tree between two servers.\n",
    };
    struct err err = { 0 };
    int rest = 0;

    log_init("store");
    if (argc > 1 && str_eq(argv[1], "copy")) {
        return zcopy_main(argc - 1, argv + 1);
    }
    int rv = args_parse(&spec, argc, argv, &rest, &err);

    if (rv > 0) {
        return 0;
    }
    if (rv == 0 && rest < argc) {
        rv = err_set(&err, ERR_USAGE, "unexpected operand %s", argv[rest]);
    }
    if (rv == 0) {
        rv = run(&options, &err);
    }
    if (rv == ERR_USAGE) {
        return args_complain(&spec, &err);
    }
    return rv < 0 ? daemon_fail(PROGRAM, &err) : 0;
}
