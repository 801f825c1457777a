/* SPDX-License-Identifier: Apache-2.0 */

/* davit up, davit down: a whole cluster on this machine, in one terminal or in the
 * background, and its end.
 */

#include "base/buf.h"
#include "base/child.h"
#include "base/daemon.h"
#include "base/file.h"
#include "base/json.h"
#include "base/selfpath.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/up/uplocal.h"
#include "cli/verbs.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

extern char **environ;

enum { NODES_MAX = 100, UP_JSON_CAP = 1 << 20, REPORT_CAP = 4096 };

static const struct verb_option up_options[] = {
    { "dir", 0, ARGS_TEXT, "D", "where everything lives ($XDG_STATE_HOME/davit)", NULL, 0, 0 },
    { "cluster", 'c', ARGS_TEXT, "NAME", "the cluster's name (devcluster)", "devcluster", 0, 0 },
    { "zk", 0, ARGS_TEXT, "HOST:PORT[,...][/CHROOT]",
      "use this ZooKeeper ensemble instead of an own davit-store", NULL, 0, 0 },
    { "nodes", 'n', ARGS_INT, "N", "how many nodes, each with its own agent (1)", "1", 1,
      NODES_MAX },
    { "port", 'p', ARGS_INT, "PORT", "of the master's API (a free one, remembered in D)", "0", 0,
      65535 },
    { "wait", 0, ARGS_INT, "SECONDS", "give up when not all of it is ready by then (60)", "60", 1,
      3600 },
    { "detach", 'd', ARGS_FLAG, NULL, "run in the background; 'davit down' ends it", NULL, 0, 0 },
    { "node-cpus", 0, ARGS_TEXT, "N", "cores that each node offers (what the machine has)", NULL, 0,
      0 },
    { "node-ram", 0, ARGS_TEXT, "BYTES", "memory that each node offers", NULL, 0, 0 },
    { "node-disk", 0, ARGS_TEXT, "BYTES", "disk that each node offers", NULL, 0, 0 },
    { "node-attribute", 0, ARGS_LIST, "[NODE:]NAME=VALUE",
      "attribute of every node, or of one, for constraints: node1:rack=a; repeatable", NULL, 0, 0 },
    { "agent-arg", 0, ARGS_LIST, "ARG", "another option of every davit-agent; repeatable", NULL, 0,
      0 },
    { "master-arg", 0, ARGS_LIST, "ARG",
      "another option of davit-master: --master-arg=--node-lost-ms=5000; repeatable", NULL, 0, 0 },
    { "report-fd", 0, ARGS_INT, "N", "internal: where a detached start reports to", "-1", -1,
      1024 },
    { 0 },
};

/* The absolute directory of --dir or the default; the caller's. */
static int cluster_dir(const struct verb_call *call, char **ret_dir, struct err *err)
{
    const char *given = verb_text(call, "dir");
    const char *state = getenv("XDG_STATE_HOME");
    const char *home = getenv("HOME");

    if (given != NULL) {
        *ret_dir = file_absolute(given);
    } else if (state != NULL && state[0] != 0) {
        *ret_dir = file_join(state, "davit");
    } else if (home != NULL) {
        *ret_dir = file_join(home, ".local/state/davit");
    } else {
        return err_set(err, ERR_USAGE, "HOME is not set: say where with --dir");
    }
    return 0;
}

struct session {
    struct verb_call *call;
    struct uplocal *up;
    const char *dir;
    struct daemon_stop stop;
    int report_fd;
    struct err err;
    bool stopped;
};

static void on_stop_signal(struct daemon_stop *stop)
{
    struct session *session = stop->data;

    if (session->up != NULL) {
        (void)fprintf(stderr, "davit up: stopping\n");
        uplocal_stop(session->up);
    }
}

/* {"cluster","pid","ports","zk","dir","clusters"}: what the cluster wrote down of itself. */
static void print_up_json(const char *dir)
{
    CLEANUP(mem_freep) char *path = file_join(dir, "up.json");
    CLEANUP(mem_freep) char *clusters = file_join(dir, "clusters.json");
    CLEANUP(json_freep) json_t *doc = NULL;
    CLEANUP_BUF text = { 0 };
    struct err err = { 0 };

    if (file_read(path, UP_JSON_CAP, &text, &err) == 0 &&
        json_parse(buf_text(&text), text.len, UP_JSON_CAP, &doc, &err) == 0) {
        json_put_str(doc, "dir", dir);
        json_put_str(doc, "clusters", clusters);
        cli_print_json(doc);
    }
    (void)fflush(stdout);
}

/* How the CLI finds this cluster, when its directory is not the default one. */
static void print_next_steps(const struct session *session)
{
    const char *cluster = verb_text(session->call, "cluster");

    if (session->call->cli->json) {
        print_up_json(session->dir);
        return;
    }
    (void)printf("%s is up: %s, state in %s\n", cluster, uplocal_uri(session->up), session->dir);
    (void)printf("type next, in another terminal:\n");
    if (verb_text(session->call, "dir") != NULL) {
        (void)printf("  export AURORA_CONFIG_ROOT=%s\n", session->dir);
    }
    (void)printf("  davit job create %s/$USER/devel/hello examples/hello.aurora\n", cluster);
    (void)printf("  davit job status %s\n", cluster);
    (void)printf("  davit hook log\n");
    if (session->report_fd < 0) {
        (void)printf("Ctrl-C stops the cluster and everything it runs.\n");
    }
    (void)fflush(stdout);
}

static void on_up(struct uplocal *up, const struct err *err, void *data)
{
    struct session *session = data;

    (void)up;
    session->err = *err;
    if (err->code == 0) {
        print_next_steps(session);
        daemon_ready(session->report_fd);
        session->report_fd = -1;
    }
}

static void on_stopped(void *data)
{
    struct session *session = data;

    session->up = NULL;
    session->stopped = true;
}

static void node_option(char ***options, const char *name, const char *value)
{
    if (value != NULL) {
        strv_addf(options, "--%s=%s", name, value);
    }
}

/* NAME=VALUE, or that behind the name of a node. */
static int check_attributes(char *const *attributes, struct err *err)
{
    for (char *const *each = attributes; each != NULL && *each != NULL; each++) {
        size_t head = strcspn(*each, ":=");
        const char *name = (*each)[head] == ':' ? *each + head + 1 : *each;

        if (name[strcspn(name, "=")] != '=' || name[0] == '=' || head == 0) {
            return err_set(err, ERR_USAGE, "--node-attribute %s: expected [NODE:]NAME=VALUE",
                           *each);
        }
    }
    return 0;
}

static int run_foreground(struct verb_call *call, const char *dir, struct err *err)
{
    CLEANUP(strv_freep) char **node_options = mem_alloc(sizeof *node_options);
    struct session session = { .call = call,
                               .dir = dir,
                               .report_fd = (int)verb_number(call, "report-fd") };

    if (check_attributes(verb_list(call, "node-attribute"), err) < 0) {
        return err_code(err);
    }
    node_option(&node_options, "cpus", verb_text(call, "node-cpus"));
    node_option(&node_options, "ram-bytes", verb_text(call, "node-ram"));
    node_option(&node_options, "disk-bytes", verb_text(call, "node-disk"));
    for (char **arg = verb_list(call, "agent-arg"); arg != NULL && *arg != NULL; arg++) {
        strv_add(&node_options, *arg);
    }
    const struct uplocal_options options = {
        .dir = dir,
        .cluster = verb_text(call, "cluster"),
        .zk = verb_text(call, "zk"),
        .nodes = (int)verb_number(call, "nodes"),
        .wait_s = (unsigned)verb_number(call, "wait"),
        .port = (int)verb_number(call, "port"),
        .node_options = node_options,
        .node_attributes = verb_list(call, "node-attribute"),
        .master_options = verb_list(call, "master-arg"),
    };

    if (uplocal_new(&call->cli->loop, &options, &session.up, err) < 0) {
        return err_code(err);
    }
    session.stop.data = &session;
    daemon_stop_start(&session.stop, &call->cli->loop, on_stop_signal);
    uplocal_start(session.up, on_up, on_stopped, &session);
    while (!session.stopped) {
        (void)uv_run(&call->cli->loop, UV_RUN_ONCE);
    }
    daemon_stop_close(&session.stop);
    (void)uv_run(&call->cli->loop, UV_RUN_DEFAULT); /* Its handles are ours, and we return. */
    if (session.err.code < 0) {
        *err = session.err;
        return err_code(err);
    }
    return 0;
}

/* What the background process says when it is ready, "\n", or has given up: "CODE message". */
static int await_report(int fd, struct err *err)
{
    char text[REPORT_CAP] = { 0 };
    size_t len = 0;
    ssize_t n = 0;

    while (len < sizeof text - 1 && (n = read(fd, text + len, sizeof text - 1 - len)) != 0) {
        if (n < 0 && errno != EINTR) {
            break;
        }
        len += n > 0 ? (size_t)n : 0;
    }
    if (strcmp(text, "\n") == 0) {
        return 0;
    }
    char *message = text;
    long code = strtol(text, &message, 10);

    message[strcspn(message, "\n")] = 0;
    if (message == text || *message != ' ' || code >= 0) {
        return err_set(err, ERR_FAILED, "the cluster did not start");
    }
    return err_set(err, (int)code, "%s", message + 1);
}

static void on_background_exit(struct child *child)
{
    (void)child;
}

/* Starts the same command line without --detach, in a session of its own, with
 * its messages in the log and its first word for us in a pipe. */
static int run_detached(struct verb_call *call, const char *dir, struct err *err)
{
    CLEANUP(mem_freep) char *log_dir = file_join(dir, "log");
    CLEANUP(mem_freep) char *log = file_join(log_dir, "up.log");
    CLEANUP(strv_freep) char **argv = NULL;
    int ends[2];

    if (file_mkdirs(log_dir, 0700, err) < 0) {
        return err_code(err);
    }
    CLEANUP(fd_closep) int log_fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

    if (log_fd < 0 || pipe2(ends, O_CLOEXEC) < 0) {
        return err_set(err, ERR_IO, "%s: %s", log, strerror(errno));
    }
    CLEANUP(fd_closep) int read_end = ends[0];
    int write_end = ends[1];

    strv_add(&argv, "/proc/self/exe");
    strv_add(&argv, "up");
    strv_addf(&argv, "--dir=%s", dir);
    strv_addf(&argv, "--cluster=%s", verb_text(call, "cluster"));
    strv_addf(&argv, "--nodes=%lld", (long long)verb_number(call, "nodes"));
    strv_addf(&argv, "--port=%lld", (long long)verb_number(call, "port"));
    strv_addf(&argv, "--wait=%lld", (long long)verb_number(call, "wait"));
    strv_add(&argv, "--report-fd=3");
    static const char *const passed[] = { "zk", "node-cpus", "node-ram", "node-disk" };

    for (size_t i = 0; i < sizeof passed / sizeof passed[0]; i++) {
        if (verb_text(call, passed[i]) != NULL) {
            strv_addf(&argv, "--%s=%s", passed[i], verb_text(call, passed[i]));
        }
    }
    static const char *const lists[] = { "node-attribute", "agent-arg", "master-arg" };

    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        for (char **item = verb_list(call, lists[i]); item != NULL && *item != NULL; item++) {
            strv_addf(&argv, "--%s=%s", lists[i], *item);
        }
    }
    const struct child_fd fds[] = { { log_fd, 1 }, { log_fd, 2 }, { write_end, 3 } };
    const struct child_options options = {
        .path = "/proc/self/exe",
        .argv = (const char *const *)argv,
        .envp = (const char *const *)environ,
        .fds = fds,
        .n_fds = 3,
        .group = CHILD_GROUP_SESSION,
    };
    struct child child = { 0 };
    int rv = child_start(&child, &call->cli->loop, &options, on_background_exit, err);

    (void)close(write_end);
    if (rv < 0) {
        return err_code(err);
    }
    rv = await_report(read_end, err);
    child_cancel(&child);
    (void)uv_run(&call->cli->loop, UV_RUN_DEFAULT);
    if (rv == 0 && call->cli->json) {
        print_up_json(dir);
    } else if (rv == 0) {
        (void)printf("%s runs in the background, state in %s; stop it with: davit down --dir %s\n",
                     verb_text(call, "cluster"), dir, dir);
    }
    return rv;
}

static int run_up(struct verb_call *call, struct err *err)
{
    CLEANUP(mem_freep) char *dir = NULL;
    int report_fd = (int)verb_number(call, "report-fd");

    if (cluster_dir(call, &dir, err) < 0) {
        return err_code(err);
    }
    if (verb_flag(call, "detach")) {
        return run_detached(call, dir, err);
    }
    int rv = run_foreground(call, dir, err);

    if (rv < 0 && report_fd >= 0) {
        (void)dprintf(report_fd, "%d %s", err->code, err->msg);
    }
    return rv;
}

const struct verb verb_up = {
    .name = "up",
    .operands = "",
    .summary = "Start a whole cluster on this machine: store, master and nodes.",
    .details = "Ctrl-C, or 'davit down', stops it with everything it runs; started again on the\n"
               "same directory it resumes its jobs.",
    .options = up_options,
    .json = true,
    .run = run_up,
};

static const struct verb_option down_options[] = {
    { "dir", 0, ARGS_TEXT, "D", "the directory that 'davit up' was given", NULL, 0, 0 },
    { 0 },
};

/* The process that holds the cluster's lock. */
static int holder(const char *lock, pid_t *ret_pid, struct err *err)
{
    CLEANUP_BUF text = { 0 };
    int64_t pid = 0;

    if (file_read(lock, 64, &text, err) < 0) {
        return err_code(err);
    }
    text.data[strcspn(buf_text(&text), "\n")] = 0;
    if (str_to_int(buf_text(&text), 1, INT32_MAX, "pid", &pid, err) < 0) {
        return err_wrap(err, "%s", lock);
    }
    *ret_pid = (pid_t)pid;
    return 0;
}

static void say_down(const struct cli *cli, const char *dir, bool stopped)
{
    CLEANUP(json_freep) json_t *doc = json_object();

    if (cli->json) {
        json_put_str(doc, "dir", dir);
        json_put_bool(doc, "stopped", stopped);
        cli_print_json(doc);
    } else {
        (void)printf(stopped ? "stopped the cluster in %s\n" : "no cluster runs in %s\n", dir);
    }
}

static int run_down(struct verb_call *call, struct err *err)
{
    CLEANUP(mem_freep) char *dir = NULL;
    CLEANUP(mem_freep) char *lock = NULL;
    struct child watched = { 0 };
    uint64_t start_time = 0;
    pid_t pid = 0;

    if (cluster_dir(call, &dir, err) < 0) {
        return err_code(err);
    }
    lock = file_join(dir, "up.lock");
    if (!file_locked(lock)) {
        say_down(call->cli, dir, false);
        return 0;
    }
    if (holder(lock, &pid, err) < 0) {
        return err_code(err);
    }
    if (child_start_time(pid, &start_time, err) < 0 ||
        child_watch(&watched, &call->cli->loop, pid, start_time, on_background_exit, err) < 0) {
        if (err->code == ERR_NOTFOUND) {
            *err = (struct err){ 0 };
            return 0;
        }
        return err_code(err);
    }
    child_signal(&watched, SIGTERM);
    cli_progress(call->cli, "waiting for the cluster and its pods to stop");
    (void)uv_run(&call->cli->loop, UV_RUN_DEFAULT);
    cli_progress(call->cli, NULL);
    say_down(call->cli, dir, true);
    return 0;
}

const struct verb verb_down = {
    .name = "down",
    .operands = "",
    .summary = "Stop the cluster that 'davit up' started, with everything it runs.",
    .details = "Nothing running there is success.",
    .options = down_options,
    .json = true,
    .run = run_down,
};
