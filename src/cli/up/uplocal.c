/* SPDX-License-Identifier: Apache-2.0 */

/* uplocal: one cluster on one machine, as children of one process.
 *
 * Not a supervisor for production (systemd is): it starts the programs in order,
 * restarts one that dies, and stops all of them in the reverse order.
 *
 *   store --ready--> master and agents together --all ready--> up
 *   stop: master, then agents (which stop their pods), then store --> stopped
 *
 * Happy path: each service tells readiness through a pipe (--ready-fd) and its
 * port through a file; ports are remembered in up.json, so that a cluster comes
 * back at the same addresses.
 * Failure: a service that ends before everything was ready once ends the whole
 * start, with the last line it logged; later it is restarted with back-off.  A port of
 * the last time that somebody else has by now is replaced.  Programs of a cluster that
 * was killed here may still be ending their pods: each is waited for before its
 * successor starts.
 * Invariant: every child has PDEATHSIG, so that nothing outlives this process.
 */

#include "cli/up/uplocal.h"

#include "base/buf.h"
#include "base/child.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/hostport.h"
#include "base/json.h"
#include "base/log.h"
#include "base/selfpath.h"
#include "base/str.h"
#include "cli/up/upfiles.h"
#include "cli/up/upnodes.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

extern char **environ;

enum {
    STOP_KILL_MS = 150000, /* An agent first lets its pods end, which may take two minutes. */
    BACKOFF_FIRST_MS = 100,
    BACKOFF_MAX_MS = 5000,
    LOOK_AGAIN_MS = 50,
    LOG_TAIL_CAP = 1 << 20,
    PORT_MAX = 65535,
    FIRST_TASK_PORT = 31000,
    TASK_PORTS = 1700, /* Below those that the kernel gives out. */
};

enum rank { RANK_STORE, RANK_MASTER, RANK_AGENT };

struct service {
    struct uplocal *up;
    enum rank rank;
    char *name;    /* "store", "master", "node1" */
    char *program; /* path */
    char *log;
    char *port_file;
    char *lock; /* held by the program while it lives */
    int port;   /* 0 until known */
    bool port_asked_for;
    bool running, ready, waiting;
    uint64_t backoff_ms, started_ms;
    struct child child;
    uv_pipe_t ready_pipe;
    bool pipe_open;
    char byte[1];
    uv_timer_t timer; /* Restart, or kill while stopping. */
};

struct uplocal {
    uv_loop_t *loop;
    struct uplocal_options options;
    char *uri;
    char *zk; /* address of the store in use */
    int lock_fd;
    struct service *services;
    size_t n_services;
    struct cluster cluster; /* How to reach the master. */
    struct upnodes *nodes;  /* While the master is asked for its nodes. */
    bool nodes_known, reported, stopping;
    uv_timer_t deadline; /* Until reported. */
    struct err failure;
    unsigned open_handles;
    uplocal_ready_cb ready_cb;
    uplocal_stopped_cb stopped_cb;
    void *data;
};

static char *in_dir(const struct uplocal *up, const char *path)
{
    return file_join(up->options.dir, path);
}

const char *uplocal_uri(const struct uplocal *up)
{
    return up->uri;
}

/* Ports of the last time, by service name; 0 where none is known. */
static void remember_ports(struct uplocal *up)
{
    CLEANUP(json_freep) json_t *ports = upfiles_ports(up->options.dir);

    for (size_t i = 0; i < up->n_services; i++) {
        struct service *service = &up->services[i];
        int64_t port = json_int_or(ports, service->name, 0);

        service->port = port > 0 && port <= PORT_MAX ? (int)port : 0;
    }
}

static void add_service(struct uplocal *up, enum rank rank, char *name, const char *program)
{
    struct service *service = &up->services[up->n_services++];
    CLEANUP(mem_freep)
    char *lock = str_printf("%s%s/%s.lock", rank == RANK_AGENT ? "nodes/" : "", name, program);
    CLEANUP(mem_freep) char *log = str_printf("log/%s.log", name);
    CLEANUP(mem_freep) char *port_file = str_printf("run/%s.port", name);

    *service = (struct service){ .up = up,
                                 .rank = rank,
                                 .name = name,
                                 .program = selfpath_program(program),
                                 .log = in_dir(up, log),
                                 .port_file = in_dir(up, port_file),
                                 .lock = in_dir(up, lock),
                                 .backoff_ms = BACKOFF_FIRST_MS };
}

static int make_directories(const struct uplocal *up, struct err *err)
{
    static const char *const shared[] = { "", "log", "run", "store", "master", "hooks" };
    static const char *const per_node[] = { "pods", "hooks", "p2hooks.d", "podhooks" };
    /* Root's tasks run as other users, who must be able to pass through to their homes. */
    mode_t top = geteuid() == 0 ? 0711 : 0700;

    for (size_t i = 0; i < sizeof shared / sizeof shared[0]; i++) {
        CLEANUP(mem_freep) char *path = in_dir(up, shared[i]);

        if (file_mkdirs(path, i == 0 ? top : 0700, err) < 0) {
            return err_code(err);
        }
    }
    for (int n = 1; n <= up->options.nodes; n++) {
        for (size_t i = 0; i < sizeof per_node / sizeof per_node[0]; i++) {
            CLEANUP(mem_freep)
            char *path = str_printf("%s/nodes/node%d/%s", up->options.dir, n, per_node[i]);

            if (file_mkdirs(path, 0755, err) < 0) {
                return err_code(err);
            }
        }
    }
    return 0;
}

static void free_all(struct uplocal *up)
{
    if (up == NULL) {
        return;
    }
    for (size_t i = 0; i < up->n_services; i++) {
        free(up->services[i].name);
        free(up->services[i].program);
        free(up->services[i].log);
        free(up->services[i].port_file);
        free(up->services[i].lock);
    }
    free(up->services);
    free(up->uri);
    free(up->cluster.name);
    free(up->cluster.uri);
    free(up->cluster.socket);
    free(up->cluster.token_file);
    free(up->zk);
    fd_closep(&up->lock_fd);
    free(up);
}
DEFINE_FREEP(struct uplocal, free_all)

int uplocal_new(uv_loop_t *loop, const struct uplocal_options *options, struct uplocal **ret_up,
                struct err *err)
{
    CLEANUP(free_allp) struct uplocal *up = mem_alloc(sizeof *up);
    CLEANUP(mem_freep) char *lock = NULL;

    up->loop = loop;
    up->options = *options;
    up->lock_fd = -1;
    up->services = mem_alloc(((size_t)options->nodes + 2) * sizeof *up->services);
    up->zk = mem_strdup_opt(options->zk);
    lock = in_dir(up, "up.lock");
    if (make_directories(up, err) < 0) {
        return err_code(err);
    }
    if (file_lock(lock, &up->lock_fd, err) < 0) {
        if (err->code == ERR_CONFLICT) {
            return err_wrap(err,
                            "a cluster already runs in %s (stop it with 'davit down --dir %s')",
                            options->dir, options->dir);
        }
        return err_code(err);
    }
    if (upfiles_need_secret(options->dir, "token", "", err) < 0 ||
        upfiles_need_secret(options->dir, "zk-auth", "davit:", err) < 0) {
        return err_code(err);
    }
    if (options->zk == NULL) {
        add_service(up, RANK_STORE, mem_strdup("store"), "store");
    }
    add_service(up, RANK_MASTER, mem_strdup("master"), "master");
    for (int n = 1; n <= options->nodes; n++) {
        add_service(up, RANK_AGENT, str_printf("node%d", n), "agent");
    }
    remember_ports(up);
    for (size_t i = 0; i < up->n_services; i++) {
        if (up->services[i].rank == RANK_MASTER && options->port != 0) {
            up->services[i].port = options->port;
            up->services[i].port_asked_for = true;
        }
    }
    *ret_up = TAKE(up);
    return 0;
}

static const struct service *find_master(const struct uplocal *up)
{
    const struct service *service = up->services;

    while (service->rank != RANK_MASTER) {
        service++;
    }
    return service;
}

/* Nodes of one machine share its ports: to each its own. */
static void add_ports(char ***argv, const struct uplocal *up, const struct service *service)
{
    int width = TASK_PORTS / up->options.nodes;
    int index = (int)(service - up->services) - ((int)up->n_services - up->options.nodes);
    int first = FIRST_TASK_PORT + index * width;

    strv_addf(argv, "--ports=%d-%d", first, first + width - 1);
}

/* Those for every node, and those for this one. */
static void add_attributes(char ***argv, char *const *attributes, const char *node)
{
    for (char *const *each = attributes; each != NULL && *each != NULL; each++) {
        size_t head = strcspn(*each, ":=");

        if ((*each)[head] == '=') {
            strv_addf(argv, "--attribute=%s", *each);
        } else if (strlen(node) == head && strncmp(*each, node, head) == 0) {
            strv_addf(argv, "--attribute=%s", *each + head + 1);
        }
    }
}

static char **arguments(const struct service *service, int ready_fd)
{
    const struct uplocal *up = service->up;
    const char *dir = up->options.dir;
    char **argv = NULL;

    strv_add(&argv, service->program);
    strv_addf(&argv, "--ready-fd=%d", ready_fd);
    strv_addf(&argv, "--listen=127.0.0.1:%d", service->port);
    strv_addf(&argv, "--port-file=%s", service->port_file);
    if (service->rank == RANK_STORE) {
        strv_addf(&argv, "--dir=%s/store", dir);
        return argv;
    }
    strv_addf(&argv, "--zk=%s", up->zk);
    strv_addf(&argv, "--zk-auth-file=%s/zk-auth", dir);
    strv_addf(&argv, "--token-file=%s/token", dir);
    if (service->rank == RANK_MASTER) {
        strv_addf(&argv, "--dir=%s/master", dir);
        strv_addf(&argv, "--cluster=%s", up->options.cluster);
        strv_addf(&argv, "--hooks-dir=%s/hooks", dir);
        for (char **each = up->options.master_options; each != NULL && *each != NULL; each++) {
            strv_add(&argv, *each);
        }
        return argv;
    }
    strv_addf(&argv, "--dir=%s/nodes/%s", dir, service->name);
    strv_addf(&argv, "--node=%s", service->name);
    strv_addf(&argv, "--hooks-dir=%s/nodes/%s/hooks", dir, service->name);
    strv_addf(&argv, "--node-hooks-dir=%s/nodes/%s/p2hooks.d", dir, service->name);
    strv_addf(&argv, "--pod-hooks-dir=%s/nodes/%s/podhooks", dir, service->name);
    add_ports(&argv, up, service);
    strv_add(&argv, "--announcer-hostname=127.0.0.1"); /* Nobody else knows node1. */
    strv_add(&argv, "--stop-pods-on-exit");
    for (char **option = up->options.node_options; option != NULL && *option != NULL; option++) {
        strv_add(&argv, *option);
    }
    add_attributes(&argv, up->options.node_attributes, service->name);
    return argv;
}

/* Who waits at NOTIFY_SOCKET waits for the whole cluster, not for its first program. */
static char **environment(void)
{
    char **env = mem_alloc(sizeof *env);

    for (char **variable = environ; *variable != NULL; variable++) {
        if (!str_starts(*variable, "NOTIFY_SOCKET=")) {
            strv_add(&env, *variable);
        }
    }
    return env;
}

static void advance(struct uplocal *up);
static void start_service(struct service *service);

/* The last line that the service logged: why it could not start. */
static void explain_death(const struct service *service, struct err *err)
{
    CLEANUP_BUF text = { 0 };
    struct err ignored = { 0 };
    const char *line = "";

    if (file_read(service->log, LOG_TAIL_CAP, &text, &ignored) == 0 && text.len > 0) {
        while (text.len > 0 && text.data[text.len - 1] == '\n') {
            text.data[--text.len] = 0;
        }
        line = strrchr(text.data, '\n') != NULL ? strrchr(text.data, '\n') + 1 : text.data;
    }
    (void)err_set(err, ERR_FAILED, "%s did not start: %s", service->name,
                  line[0] != 0 ? line : "it said nothing");
}

static void on_pipe_closed(uv_handle_t *handle)
{
    struct service *service = handle->data;

    service->pipe_open = false;
    service->up->open_handles--;
    advance(service->up);
}

static void close_pipe(struct service *service)
{
    if (service->pipe_open && !uv_is_closing((uv_handle_t *)&service->ready_pipe)) {
        uv_close((uv_handle_t *)&service->ready_pipe, on_pipe_closed);
    }
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct service *service = handle->data;

    service->up->open_handles--;
    advance(service->up);
}

static void read_port(struct service *service)
{
    CLEANUP_BUF text = { 0 };
    struct err err = { 0 };
    int64_t port = 0;

    if (file_read(service->port_file, 64, &text, &err) < 0) {
        log_warn("no port of %s: %s", service->name, err.msg);
        return;
    }
    if (text.len > 0 && text.data[text.len - 1] == '\n') {
        text.data[text.len - 1] = 0;
    }
    if (str_to_int(buf_text(&text), 1, 65535, "port", &port, &err) < 0) {
        log_warn("port file of %s: %s", service->name, err.msg);
        return;
    }
    service->port = (int)port;
}

static void on_ready_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct service *service = stream->data;

    (void)buf;
    if (n > 0) {
        service->ready = true;
        service->backoff_ms = BACKOFF_FIRST_MS;
        read_port(service);
        log_debug("%s is ready port=%d", service->name, service->port);
    }
    if (n != 0) {
        close_pipe(service);
        advance(service->up);
    }
}

static void on_ready_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct service *service = handle->data;

    (void)suggested;
    *buf = uv_buf_init(service->byte, sizeof service->byte);
}

static void on_restart(uv_timer_t *timer)
{
    struct service *service = timer->data;

    if (!service->up->stopping) {
        start_service(service);
    }
}

static void restart_later(struct service *service)
{
    (void)uv_timer_start(&service->timer, on_restart, service->backoff_ms, 0);
    service->backoff_ms =
        service->backoff_ms * 2 < BACKOFF_MAX_MS ? service->backoff_ms * 2 : BACKOFF_MAX_MS;
}

static void on_ended(struct child *child)
{
    struct service *service = child->data;
    struct uplocal *up = service->up;

    service->running = service->ready = false;
    (void)uv_timer_stop(&service->timer);
    close_pipe(service);
    if (!up->stopping && !up->reported) {
        if (up->failure.code == 0) {
            explain_death(service, &up->failure);
        }
        uplocal_stop(up);
    } else if (!up->stopping) {
        log_warn("%s ended (exit %d, signal %d), restarting it in %llu ms", service->name,
                 child->exit_code, child->term_signal, (unsigned long long)service->backoff_ms);
        restart_later(service);
    }
    advance(up);
}

static int spawn(struct service *service, struct err *err)
{
    struct uplocal *up = service->up;
    CLEANUP(fd_closep)
    int log_fd = open(service->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    int ends[2] = { -1, -1 };

    if (log_fd < 0 || pipe2(ends, O_CLOEXEC) < 0) {
        return err_set(err, ERR_IO, "%s: %s", service->log, strerror(errno));
    }
    CLEANUP(fd_closep) int write_end = ends[1];
    CLEANUP(strv_freep) char **argv = arguments(service, 3);
    CLEANUP(strv_freep) char **env = environment();
    const struct child_fd fds[] = { { log_fd, 1 }, { log_fd, 2 }, { write_end, 3 } };
    const struct child_options options = {
        .argv = (const char *const *)argv,
        .envp = (const char *const *)env,
        .fds = fds,
        .n_fds = 3,
        .group = CHILD_GROUP_OWN, /* Ctrl-C is for us alone: we stop them in order. */
        .death_signal = SIGTERM,
    };

    (void)uv_pipe_init(up->loop, &service->ready_pipe, 0);
    service->pipe_open = true;
    up->open_handles++;
    (void)uv_pipe_open(&service->ready_pipe, ends[0]);
    service->child.data = service;
    if (child_start(&service->child, up->loop, &options, on_ended, err) < 0) {
        close_pipe(service);
        return err_wrap(err, "start %s", service->name);
    }
    (void)uv_read_start((uv_stream_t *)&service->ready_pipe, on_ready_alloc, on_ready_read);
    return 0;
}

/* Could a server listen there now? */
static bool is_port_free(int port)
{
    CLEANUP(mem_freep) char *address = str_printf("127.0.0.1:%d", port);
    CLEANUP(fd_closep) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_storage addr = { 0 };
    struct err ignored = { 0 };

    if (fd < 0 || hostport_parse(address, &addr, &ignored) < 0) {
        return true; /* The program itself will say what is wrong. */
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int));
    return bind(fd, (struct sockaddr *)&addr, sizeof(struct sockaddr_in)) == 0 ||
           errno != EADDRINUSE;
}

/* What a cluster that was killed in this directory may have left; true: look again later. */
static bool must_wait(struct service *service)
{
    if (!file_locked(service->lock) || clock_now_ms() - service->started_ms > STOP_KILL_MS) {
        return false;
    }
    if (!service->waiting) {
        service->waiting = true;
        log_info("%s of the last cluster is still ending, waiting for it", service->name);
    }
    (void)uv_timer_start(&service->timer, on_restart, LOOK_AGAIN_MS, 0);
    return true;
}

static void start_service(struct service *service)
{
    struct uplocal *up = service->up;
    struct err err = { 0 };

    if (service->started_ms == 0) {
        service->started_ms = clock_now_ms();
    }
    if (!up->reported && must_wait(service)) {
        return;
    }
    /* Once the cluster is up, others rely on the port. */
    if (!up->reported && service->port != 0 && !service->port_asked_for &&
        !is_port_free(service->port)) {
        log_warn("somebody has port %d of %s, using another", service->port, service->name);
        service->port = 0;
    }
    if (spawn(service, &err) == 0) {
        service->running = true;
        return;
    }
    log_error("%s", err.msg);
    if (up->reported) {
        restart_later(service);
    } else if (up->failure.code == 0) {
        up->failure = err;
        uplocal_stop(up);
    }
}

static int write_files(const struct uplocal *up, struct err *err)
{
    json_t *ports = json_object();

    for (size_t i = 0; i < up->n_services; i++) {
        json_put_int(ports, up->services[i].name, up->services[i].port);
    }
    return upfiles_write(up->options.dir, &up->cluster, ports, up->zk, err);
}

/* Root's tasks run as the users that their roles name. */
static void warn_of_closed_doors(const struct uplocal *up)
{
    CLEANUP(mem_freep) char *path = mem_strdup(up->options.dir);
    struct stat st;

    for (char *slash = path + strlen(path); geteuid() == 0 && slash != NULL && slash != path;
         slash = strrchr(path, '/')) {
        *slash = 0;
        if (stat(path, &st) == 0 && (st.st_mode & S_IXOTH) == 0) {
            log_warn("other users cannot pass %s: jobs of roles other than root will fail there; "
                     "chmod it, or choose another --dir",
                     path);
            return;
        }
    }
}

static void fail(struct uplocal *up, const struct err *err)
{
    up->failure = *err;
    uplocal_stop(up);
}

static void on_nodes_closed(void *data)
{
    struct uplocal *up = data;

    up->nodes = NULL;
    up->open_handles--;
    advance(up);
}

static void on_nodes_known(void *data)
{
    struct uplocal *up = data;

    up->nodes_known = true;
    upnodes_close(up->nodes, on_nodes_closed, up);
}

/* Every program is ready; does the master know its nodes? */
static void ask_for_nodes(struct uplocal *up)
{
    struct err err = { 0 };

    up->uri = str_printf("http://127.0.0.1:%d", find_master(up)->port);
    up->cluster = (struct cluster){
        .name = mem_strdup(up->options.cluster),
        .uri = mem_strdup(up->uri),
        .socket = in_dir(up, "master/api.sock"),
        .token_file = in_dir(up, "token"),
    };
    if (upnodes_start(up->loop, &up->cluster, up->options.nodes, on_nodes_known, up, &up->nodes,
                      &err) < 0) {
        fail(up, &err);
        return;
    }
    up->open_handles++;
}

static void report_ready(struct uplocal *up)
{
    struct err err = { 0 };

    if (write_files(up, &err) < 0) {
        fail(up, &err);
        return;
    }
    up->reported = true;
    (void)uv_timer_stop(&up->deadline);
    warn_of_closed_doors(up);
    up->ready_cb(up, &err, up->data);
}

static void on_kill(uv_timer_t *timer)
{
    struct service *service = timer->data;

    log_warn("%s does not stop, killing it", service->name);
    child_signal(&service->child, SIGKILL);
}

/* Ask the running services of one rank to stop; true when none of them runs. */
static bool stop_rank(struct uplocal *up, enum rank rank)
{
    bool none = true;

    for (size_t i = 0; i < up->n_services; i++) {
        struct service *service = &up->services[i];

        if (service->rank != rank || !service->running) {
            continue;
        }
        none = false;
        if (!uv_is_active((uv_handle_t *)&service->timer)) {
            child_signal(&service->child, SIGTERM);
            (void)uv_timer_start(&service->timer, on_kill, STOP_KILL_MS, 0);
        }
    }
    return none;
}

static void finish(struct uplocal *up)
{
    struct err failure = up->failure;
    uplocal_ready_cb ready = up->reported ? NULL : up->ready_cb;
    uplocal_stopped_cb stopped = up->stopped_cb;
    void *data = up->data;

    if (ready != NULL) {
        ready(up, &failure, data);
    }
    free_all(up);
    stopped(data);
}

static void on_deadline_closed(uv_handle_t *handle)
{
    struct uplocal *up = handle->data;

    up->open_handles--;
    advance(up);
}

static void on_deadline(uv_timer_t *timer)
{
    struct uplocal *up = timer->data;
    for (size_t i = 0; i < up->n_services && up->failure.code == 0; i++) {
        if (!up->services[i].ready) {
            (void)err_set(&up->failure, ERR_FAILED, "%s is not ready after %u s%s%s; its log is %s",
                          up->services[i].name, up->options.wait_s,
                          up->options.zk != NULL ? ": does ZooKeeper answer at " : "",
                          up->options.zk != NULL ? up->options.zk : "", up->services[i].log);
        }
    }
    if (up->failure.code == 0) {
        (void)err_set(&up->failure, ERR_FAILED,
                      "the master does not know all nodes after %u s; its log is %s",
                      up->options.wait_s, find_master(up)->log);
    }
    uplocal_stop(up);
}

static void close_timers(struct uplocal *up)
{
    for (size_t i = 0; i < up->n_services; i++) {
        if (!uv_is_closing((uv_handle_t *)&up->services[i].timer)) {
            uv_close((uv_handle_t *)&up->services[i].timer, on_timer_closed);
        }
    }
    if (!uv_is_closing((uv_handle_t *)&up->deadline)) {
        uv_close((uv_handle_t *)&up->deadline, on_deadline_closed);
    }
    if (up->nodes != NULL && !up->nodes_known) {
        up->nodes_known = true; /* It is being closed. */
        upnodes_close(up->nodes, on_nodes_closed, up);
    }
}

/* The one place that decides what comes next; called after everything that happens. */
static void advance(struct uplocal *up)
{
    bool all_ready = true, store_ready = true;

    if (up->stopping) {
        if (up->open_handles == 0) {
            finish(up);
        } else if (stop_rank(up, RANK_MASTER) && stop_rank(up, RANK_AGENT) &&
                   stop_rank(up, RANK_STORE)) {
            close_timers(up);
        }
        return;
    }
    for (size_t i = 0; i < up->n_services; i++) {
        all_ready = all_ready && up->services[i].ready;
        if (up->services[i].rank == RANK_STORE) {
            store_ready = up->services[i].ready;
            if (store_ready && up->zk == NULL) {
                up->zk = str_printf("127.0.0.1:%d", up->services[i].port);
            }
        }
    }
    if (up->reported) {
        return;
    }
    if (up->nodes_known) {
        report_ready(up);
        return;
    }
    if (all_ready) {
        if (up->uri == NULL) {
            ask_for_nodes(up);
        }
        return;
    }
    for (size_t i = 0; store_ready && !up->stopping && i < up->n_services; i++) {
        struct service *service = &up->services[i];

        if (service->rank != RANK_STORE && service->started_ms == 0) {
            start_service(service);
        }
    }
}

void uplocal_start(struct uplocal *up, uplocal_ready_cb ready, uplocal_stopped_cb stopped,
                   void *data)
{
    up->ready_cb = ready;
    up->stopped_cb = stopped;
    up->data = data;
    for (size_t i = 0; i < up->n_services; i++) {
        (void)uv_timer_init(up->loop, &up->services[i].timer);
        up->services[i].timer.data = up->services[i].ready_pipe.data = &up->services[i];
        up->open_handles++;
    }
    (void)uv_timer_init(up->loop, &up->deadline);
    up->deadline.data = up;
    up->open_handles++;
    (void)uv_timer_start(&up->deadline, on_deadline, up->options.wait_s * UINT64_C(1000), 0);
    if (up->options.zk == NULL) {
        start_service(&up->services[0]);
    }
    advance(up);
}

void uplocal_stop(struct uplocal *up)
{
    if (!up->stopping) {
        up->stopping = true;
        (void)uv_timer_stop(&up->deadline);
        for (size_t i = 0; i < up->n_services; i++) {
            (void)uv_timer_stop(&up->services[i].timer);
        }
        advance(up);
    }
}
