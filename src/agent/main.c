/* SPDX-License-Identifier: Apache-2.0 */
/* davit-agent: turns the intents of one node into running pods.
 *
 * Options, the order of the beginning and of the end; everything else is elsewhere.
 *
 *   begin: lock, journal, pods of a former agent, store session, HTTP, ready;
 *          then: reality read -> intents watched
 *   end:   [pods stopped, reality written] -> HTTP, logs -> watches -> pods -> hooks
 *          -> reality -> alive -> store session -> journal
 *
 * Failure: what is wrong at the beginning is one line and an exit status; from then on
 * nothing ends the agent but a signal.
 */
#include "agent/announce.h"
#include "agent/api.h"
#include "agent/home.h"
#include "agent/intents.h"
#include "agent/logs.h"
#include "agent/node_hooks.h"
#include "agent/pods.h"
#include "agent/reality.h"
#include "agent/resources.h"
#include "base/args.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/daemon.h"
#include "base/file.h"
#include "base/hostport.h"
#include "base/json.h"
#include "base/log.h"
#include "base/selfpath.h"
#include "base/str.h"
#include "base/tree.h"
#include "coord/member.h"
#include "coord/zk.h"
#include "hook/upkeep.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

enum {
    FLUSH_MS = 2000,
    JOURNAL_AGE_MS = 7 * 24 * 3600 * 1000,
    JOURNAL_RUNS = 200 * 1000,
};

static const char PROGRAM[] = "davit-agent";

struct options {
    const char *node;
    const char *dir;
    int64_t keep_ended;
    int64_t keep_hook_runs;
    const char *pod_root;
    const char *zk;
    const char *zk_auth_file;
    const char *listen;
    const char *port_file;
    const char *token_file;
    const char *hooks_dir;
    const char *node_hooks_dir;
    const char *pod_hooks_dir;
    char **hooks_required;
    const char *cpus;
    int64_t ram_bytes;
    int64_t disk_bytes;
    const char *ports;
    char **attributes;
    const char *announcer_root;
    const char *announcer_hostname;
    bool announcer_custom_path;
    bool run_as_self;
    bool stop_pods_on_exit;
    int64_t ready_fd;
    int64_t zk_timeout_ms;
};

struct agent {
    struct options options;
    struct resources resources;
    uv_loop_t *loop;
    char *dir;
    char *pod_root;
    char *ended_root;
    char *hooks_dir;
    char *node_hooks_dir;
    char *pod_hooks_dir;
    char *program; /* davit-pod */
    char host[256];
    struct rlimit nofile;
    int lock_fd;

    struct hook_journal *journal;
    struct hook_upkeep *upkeep;
    struct hook_engine *engine;
    struct node_hooks hooks;
    struct pods *pods;
    struct announcer *announcer;
    struct zk *zk;
    struct member *alive;
    struct reality *reality;
    struct intents *intents;
    struct logs *logs;
    struct httpd *httpd;
    struct api api;
    struct daemon_stop stop;
    bool stopping;       /* pods are being stopped */
    bool pods_announced; /* some were when we went */
    bool ending;
};

/* ---- The end, one after the other. ---- */

static void on_zk_closed(struct zk *zk)
{
    (void)zk;
    /* Whatever is left lives on the loop's handles, and there are none now. */
}

static void on_alive_closed(void *data)
{
    struct agent *agent = data;

    if (agent->pods_announced) {
        zk_abandon(agent->zk, on_zk_closed); /* Our successor takes their members over. */
    } else {
        zk_close(agent->zk, on_zk_closed);
    }
}

static void on_reality_closed(void *data)
{
    struct agent *agent = data;

    member_close(agent->alive, on_alive_closed, agent);
}

static void on_upkeep_closed(void *data)
{
    struct agent *agent = data;

    reality_close(agent->reality, on_reality_closed, agent);
}

static void on_engine_closed(void *data)
{
    struct agent *agent = data;

    upkeep_close(agent->upkeep, on_upkeep_closed, agent);
}

static void on_announcer_closed(void *data)
{
    struct agent *agent = data;

    run_engine_close(agent->engine, on_engine_closed, agent);
}

static void on_pods_closed(void *data)
{
    struct agent *agent = data;

    announcer_close(agent->announcer, on_announcer_closed, agent);
}

static void on_httpd_closed(struct httpd *httpd)
{
    (void)httpd;
}

static void on_logs_closed(void *data)
{
    struct agent *agent = data;

    httpd_close(agent->httpd, on_httpd_closed);
    intents_free(TAKE(agent->intents));
    agent->pods_announced = announcer_any(agent->announcer);
    pods_close(agent->pods, on_pods_closed, agent);
}

static void end(struct agent *agent)
{
    if (agent->ending) {
        return;
    }
    agent->ending = true;
    daemon_stop_close(&agent->stop);
    logs_close(agent->logs, on_logs_closed, agent);
}

static void on_flushed(struct reality *reality, void *data)
{
    (void)reality;
    end(data);
}

static void on_pods_stopped(void *data)
{
    struct agent *agent = data;

    log_info("all pods have ended");
    reality_flush(agent->reality, FLUSH_MS, on_flushed, agent);
}

static void on_stop(struct daemon_stop *stop)
{
    struct agent *agent = stop->data;

    if (agent->stopping || !agent->options.stop_pods_on_exit) {
        log_info("stopping; pods are left running");
        end(agent);
        return;
    }
    agent->stopping = true;
    log_info("stopping all pods");
    pods_stop_all(agent->pods, on_pods_stopped, agent);
}

/* ---- Between the store and the pods. ---- */

static void on_entry(const char *pod, const char *entry, bool news, void *data)
{
    struct agent *agent = data;

    reality_set(agent->reality, pod, entry, news ? REALITY_NOW : REALITY_LATER);
}

static void on_found(const char *pod, const char *entry, void *data)
{
    struct agent *agent = data;

    pods_found(agent->pods, pod, entry);
}

static void on_intent(const char *pod, struct intent *intent, void *data)
{
    struct agent *agent = data;

    pods_intent(agent->pods, pod, intent);
}

static void on_bad_intent(const char *pod, const struct err *err, void *data)
{
    struct agent *agent = data;

    pods_bad_intent(agent->pods, pod, err);
}

static bool has_intent(const char *pod, void *data)
{
    return intents_has(data, pod);
}

static void on_listed(struct intents *intents, void *data)
{
    struct agent *agent = data;

    pods_listed(agent->pods, has_intent, intents);
}

static void on_reality_ready(struct reality *reality, void *data)
{
    struct agent *agent = data;
    struct intents_options options = {
        .zk = agent->zk,
        .node = agent->options.node,
        .on_intent = on_intent,
        .on_bad = on_bad_intent,
        .on_listed = on_listed,
        .data = agent,
    };

    (void)reality;
    if (!agent->ending) {
        intents_start(&options, &agent->intents);
    }
}

static void on_alive(struct member *member, const char *path, const struct err *err, void *data)
{
    (void)member;
    (void)data;
    if (err->code == 0) {
        log_info("registered path=%s", path);
    } else if (err->code == ERR_EXISTS) {
        log_warn("%s is still held by another session; waiting for its end", path);
    } else {
        log_debug("register: %s", err->msg);
    }
}

static json_t *attributes(const struct agent *agent)
{
    json_t *all = json_object();

    json_put_str(all, "host", agent->options.node);
    for (char **one = agent->options.attributes; one && *one; one++) {
        const char *equals = strchr(*one, '=');
        CLEANUP(mem_freep) char *name = mem_strndup(*one, (size_t)(equals - *one));

        json_put_str(all, name, equals + 1);
    }
    return all;
}

static char *alive_text(const struct agent *agent, const char *address)
{
    const struct resources *resources = &agent->resources;
    CLEANUP(json_freep) json_t *doc = json_object();
    json_t *offer = json_object();
    CLEANUP_BUF boot_id = { 0 };
    struct err ignored = { 0 };

    (void)file_read("/proc/sys/kernel/random/boot_id", 64, &boot_id, &ignored);
    if (boot_id.len > 0) {
        boot_id.data[strcspn(boot_id.data, "\n")] = '\0';
    }
    json_put_int(doc, "v", 1);
    json_put_str(doc, "address", address);
    json_put_str(doc, "boot_id", buf_text(&boot_id));
    json_put_str(doc, "host", agent->host);
    json_put_int(doc, "pid", getpid());
    json_put_str(doc, "version", DAVIT_VERSION);
    json_put_take(doc, "attributes", attributes(agent));
    json_put_num(offer, "cpu", resources->cpus);
    json_put_int(offer, "ram_bytes", resources->ram_bytes);
    json_put_int(offer, "disk_bytes", resources->disk_bytes);
    json_put_take(offer, "ports", json_pack("[ii]", resources->port_first, resources->port_last));
    json_put_take(doc, "resources", offer);
    json_put_str(doc, "hooks_dir", agent->hooks_dir);
    json_put_str(doc, "pods_dir", agent->pod_root);
    json_put_str(doc, "announcer_host", agent->options.announcer_hostname);
    return json_text(doc);
}

/* ---- The beginning. ---- */

static int check_options(struct agent *agent, struct err *err)
{
    const struct options *options = &agent->options;
    char *end_of_number = NULL;

    if (!options->node || !options->dir || !options->zk) {
        return err_set(err, ERR_USAGE, "--node, --dir and --zk are needed");
    }
    if (!intent_name_ok(options->node)) {
        return err_set(err, ERR_USAGE, "no node can be called '%.100s'", options->node);
    }
    for (char **one = options->attributes; one && *one; one++) {
        if (!strchr(*one, '=')) {
            return err_set(err, ERR_USAGE, "--attribute wants NAME=VALUE, not '%.100s'", *one);
        }
    }
    agent->dir = file_absolute(options->dir);
    agent->pod_root =
        options->pod_root ? file_absolute(options->pod_root) : file_join(agent->dir, "pods");
    agent->hooks_dir = file_absolute(options->hooks_dir ? options->hooks_dir : "/etc/davit/hooks");
    agent->node_hooks_dir =
        file_absolute(options->node_hooks_dir ? options->node_hooks_dir : "/usr/local/p2hooks.d");
    agent->pod_hooks_dir = options->pod_hooks_dir ? file_absolute(options->pod_hooks_dir) : NULL;
    agent->ended_root = file_join(agent->dir, "ended");
    if (file_mkdirs(agent->pod_root, 0755, err) < 0 || file_mkdirs(agent->dir, 0755, err) < 0) {
        return err_code(err);
    }
    if (!announce_path_ok(options->announcer_root)) {
        return err_set(err, ERR_USAGE, "--announcer-root wants a path as /aurora, not '%.200s'",
                       options->announcer_root);
    }
    resources_detect(agent->pod_root, &agent->resources);
    if (options->cpus) {
        agent->resources.cpus = strtod(options->cpus, &end_of_number);
        if (*end_of_number || !(agent->resources.cpus > 0) || agent->resources.cpus > 1e6) {
            return err_set(err, ERR_USAGE, "--cpus wants a number above 0, not '%.100s'",
                           options->cpus);
        }
    }
    if (options->ram_bytes > 0) {
        agent->resources.ram_bytes = options->ram_bytes;
    }
    if (options->disk_bytes > 0) {
        agent->resources.disk_bytes = options->disk_bytes;
    }
    return options->ports ? resources_parse_ports(options->ports, &agent->resources, err) : 0;
}

static int lock_dir(struct agent *agent, struct err *err)
{
    CLEANUP(mem_freep) char *path = file_join(agent->dir, "agent.lock");

    if (file_lock(path, &agent->lock_fd, err) < 0) {
        return err_wrap(err, "another davit-agent uses %s", agent->dir);
    }
    return 0;
}

/* A pod costs two descriptors. */
static void raise_file_limit(struct agent *agent)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &agent->nofile) == 0) {
        limit = agent->nofile;
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int begin_hooks(struct agent *agent, struct err *err)
{
    CLEANUP(mem_freep) char *path = file_join(agent->dir, "hooks.db");

    if (journal_open(path, &agent->journal, err) < 0) {
        return err_code(err);
    }
    if (journal_recover(agent->journal, NULL, err) < 0) {
        return err_code(err);
    }
    upkeep_start(&(struct upkeep_options){ .loop = agent->loop,
                                           .journal = path,
                                           .max_age_ms = JOURNAL_AGE_MS,
                                           .max_runs = agent->options.keep_hook_runs },
                 &agent->upkeep);
    agent->engine = run_engine_new(agent->loop, TREE_AUTO);
    agent->hooks = (struct node_hooks){
        .engine = agent->engine,
        .journal = agent->journal,
        .node = agent->options.node,
        .dir = agent->node_hooks_dir,
        .pod_root = agent->pod_root,
        .required = (const char *const *)agent->options.hooks_required,
    };
    return 0;
}

static int begin_store(struct agent *agent, struct err *err)
{
    CLEANUP(mem_freep) char *auth = NULL;
    struct zk_options options = {
        .loop = agent->loop,
        .servers = agent->options.zk,
        .session_timeout_ms = (uint32_t)agent->options.zk_timeout_ms,
    };

    if (agent->options.zk_auth_file && zk_load_auth(agent->options.zk_auth_file, &auth, err) < 0) {
        return err_code(err);
    }
    options.auth = auth;
    return zk_open(&options, &agent->zk, err);
}

static int begin_pods(struct agent *agent, struct err *err)
{
    struct announcer_options announcer = {
        .zk = agent->zk,
        .root = agent->options.announcer_root,
        .host = agent->options.announcer_hostname,
        .custom_path = agent->options.announcer_custom_path,
    };
    struct pods_options options = {
        .loop = agent->loop,
        .root = agent->pod_root,
        .program = agent->program,
        .pod_hooks_dir = agent->pod_hooks_dir,
        .ended_root = agent->ended_root,
        .keep_ended = (unsigned)agent->options.keep_ended,
        .run_as_self = agent->options.run_as_self,
        .hooks = &agent->hooks,
        .nofile = &agent->nofile,
        .on_entry = on_entry,
        .data = agent,
    };

    announcer_new(&announcer, &agent->announcer);
    options.announcer = agent->announcer;
    return pods_new(&options, &agent->pods, err);
}

static int begin_http(struct agent *agent, char **ret_address, struct err *err)
{
    CLEANUP(mem_freep) char *socket_path = file_join(agent->dir, "agent.sock");
    const char *listen = agent->options.listen ? agent->options.listen : "127.0.0.1:0";
    CLEANUP(mem_freep) char *host = hostport_host(listen);
    struct httpd_options options = {
        .loop = agent->loop,
        .ctx = &agent->api,
        .token_file = agent->options.token_file,
    };
    uint16_t port = 0;

    options.routes = api_routes(&options.n_routes);
    if (httpd_new(&options, &agent->httpd, err) < 0 ||
        httpd_listen_tcp(agent->httpd, listen, &port, err) < 0 ||
        httpd_listen_unix(agent->httpd, socket_path, 0600, err) < 0) {
        return err_code(err);
    }
    if (str_eq(host, "0.0.0.0") || str_eq(host, "[::]")) {
        free(host);
        host = mem_strdup(agent->host); /* Others cannot call a wildcard. */
    }
    *ret_address = str_printf("%s:%u", host, port);
    return daemon_write_port(agent->options.port_file, port, err);
}

static void begin_watching(struct agent *agent, const char *address)
{
    CLEANUP(mem_freep) char *path = str_printf("/davit/nodes/%s/alive", agent->options.node);
    CLEANUP(mem_freep) char *text = alive_text(agent, address);
    struct reality_options options = {
        .zk = agent->zk,
        .node = agent->options.node,
        .on_found = on_found,
        .on_ready = on_reality_ready,
        .data = agent,
    };

    member_start(agent->zk, path, text, strlen(text), 0, on_alive, agent, &agent->alive);
    reality_start(&options, &agent->reality);
}

/* A failure here ends the process: what was begun goes with it. */
static int begin(struct agent *agent, struct err *err)
{
    CLEANUP(mem_freep) char *address = NULL;

    if (check_options(agent, err) < 0 || lock_dir(agent, err) < 0) {
        return err_code(err);
    }
    raise_file_limit(agent);
    (void)gethostname(agent->host, sizeof(agent->host) - 1);
    agent->program = selfpath_program("pod");
    if (begin_hooks(agent, err) < 0 || begin_store(agent, err) < 0 || begin_pods(agent, err) < 0) {
        return err_code(err);
    }
    logs_new(agent->loop, agent->pods, agent->pod_root, agent->ended_root, &agent->logs);
    agent->api = (struct api){
        .pods = agent->pods,
        .logs = agent->logs,
        .engine = agent->engine,
        .journal = agent->journal,
        .zk = agent->zk,
        .node = agent->options.node,
        .hooks_dir = agent->hooks_dir,
    };
    if (begin_http(agent, &address, err) < 0) {
        return err_code(err);
    }
    begin_watching(agent, address);
    if (pods_adopt(agent->pods, err) < 0) {
        return err_code(err);
    }
    agent->stop.data = agent;
    daemon_stop_start(&agent->stop, agent->loop, on_stop);
    log_info("serving node=%s address=%s pods=%zu rung=%s", agent->options.node, address,
             pods_count(agent->pods), tree_rung_name(tree_best_rung()));
    daemon_ready((int)agent->options.ready_fd);
    return 0;
}

static void agent_free(struct agent *agent)
{
    journal_close(agent->journal);
    fd_closep(&agent->lock_fd);
    free(agent->dir);
    free(agent->pod_root);
    free(agent->ended_root);
    free(agent->hooks_dir);
    free(agent->node_hooks_dir);
    free(agent->pod_hooks_dir);
    free(agent->program);
    strv_free(agent->options.hooks_required);
    strv_free(agent->options.attributes);
}

int main(int argc, char **argv)
{
    static struct agent agent = { .lock_fd = -1,
                                  .options = { .ready_fd = -1,
                                               .keep_ended = 100,
                                               .keep_hook_runs = JOURNAL_RUNS,
                                               .announcer_root = "/aurora",
                                               .zk_timeout_ms = 10000 } };
    struct options *o = &agent.options;
    /* clang-format off */
    const struct args_option table[] = {
        { "node", 0, ARGS_TEXT, "NAME", "name of this node in the cluster", &o->node, 0, 0 },
        { "dir", 0, ARGS_TEXT, "DIR", "state of the agent: agent.sock, hooks.db, pods/", &o->dir, 0, 0 },
        { "zk", 0, ARGS_TEXT, "ADDRESS", "the store: HOST:PORT[,...][/CHROOT]", &o->zk, 0, 0 },
        { "zk-auth-file", 0, ARGS_TEXT, "FILE", "its first line is USER:PASSWORD for the store", &o->zk_auth_file, 0, 0 },
        { "zk-timeout-ms", 0, ARGS_INT, "MS", "session timeout asked of the store (default 10000)", &o->zk_timeout_ms, 1000, 600000 },
        { "pod-root", 0, ARGS_TEXT, "DIR", "homes of the pods (default DIR/pods)", &o->pod_root, 0, 0 },
        { "keep-ended", 0, ARGS_INT, "N", "homes of ended tasks to keep for their logs (default 100)", &o->keep_ended, 0, 100000 },
        { "keep-hook-runs", 0, ARGS_INT, "N", "records of hook runs kept in hooks.db (default 200000)", &o->keep_hook_runs, 1, INT32_MAX },
        { "listen", 0, ARGS_TEXT, "HOST:PORT", "where to serve HTTP (default 127.0.0.1:0)", &o->listen, 0, 0 },
        { "port-file", 0, ARGS_TEXT, "FILE", "write the port there", &o->port_file, 0, 0 },
        { "token-file", 0, ARGS_TEXT, "FILE", "tokens that HTTP callers may show", &o->token_file, 0, 0 },
        { "hooks-dir", 0, ARGS_TEXT, "DIR", "operation hooks run on this node (default /etc/davit/hooks)", &o->hooks_dir, 0, 0 },
        { "node-hooks-dir", 0, ARGS_TEXT, "DIR", "p2's hooks (default /usr/local/p2hooks.d)", &o->node_hooks_dir, 0, 0 },
        { "pod-hooks-dir", 0, ARGS_TEXT, "DIR", "callback programs of pods (default none)", &o->pod_hooks_dir, 0, 0 },
        { "hooks-required", 0, ARGS_LIST, "NAME", "a node hook whose failure blocks; may be repeated", &o->hooks_required, 0, 0 },
        { "cpus", 0, ARGS_TEXT, "N", "processors to offer (default: all)", &o->cpus, 0, 0 },
        { "ram-bytes", 0, ARGS_INT, "N", "memory to offer (default: all)", &o->ram_bytes, 1, INT64_MAX },
        { "disk-bytes", 0, ARGS_INT, "N", "disk to offer (default: what is free)", &o->disk_bytes, 1, INT64_MAX },
        { "ports", 0, ARGS_TEXT, "A-B", "ports to offer (default 31000-32000)", &o->ports, 0, 0 },
        { "attribute", 0, ARGS_LIST, "K=V", "attribute of the node; may be repeated", &o->attributes, 0, 0 },
        { "announcer-root", 0, ARGS_TEXT, "PATH", "where in the store tasks are announced (default /aurora)", &o->announcer_root, 0, 0 },
        { "announcer-hostname", 0, ARGS_TEXT, "NAME", "host in the announcements (default: the node's host attribute)", &o->announcer_hostname, 0, 0 },
        { "announcer-allow-custom-path", 0, ARGS_FLAG, NULL, "a job's announce.zk_path counts", &o->announcer_custom_path, 0, 0 },
        { "run-as-self", 0, ARGS_FLAG, NULL, "run pods as the agent's user, whatever their role", &o->run_as_self, 0, 0 },
        { "stop-pods-on-exit", 0, ARGS_FLAG, NULL, "end all pods together with the agent", &o->stop_pods_on_exit, 0, 0 },
        { "ready-fd", 0, ARGS_INT, "N", "write a newline to this descriptor when ready", &o->ready_fd, 0, 1 << 20 },
    };
    /* clang-format on */
    const struct args_spec spec = {
        .program = PROGRAM,
        .usage = "--node NAME --dir DIR --zk ADDRESS [options]",
        .summary = "Run on this node what the cluster wants to run here.",
        .options = table,
        .n_options = sizeof(table) / sizeof(table[0]),
    };
    static uv_loop_t loop;
    struct err err = { 0 };
    int rest = 0;
    int rv = 0;

    log_init(PROGRAM);
    rv = args_parse(&spec, argc, argv, &rest, &err);
    if (rv > 0) {
        return 0;
    }
    if (rv == 0 && rest < argc) {
        rv = err_set(&err, ERR_USAGE, "unexpected '%.100s'", argv[rest]);
    }
    if (rv < 0) {
        return args_complain(&spec, &err);
    }
    (void)uv_loop_init(&loop);
    agent.loop = &loop;
    if (begin(&agent, &err) < 0) {
        return err.code == ERR_USAGE ? args_complain(&spec, &err) : daemon_fail(PROGRAM, &err);
    }
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    tree_drop_spares();
    agent_free(&agent);
    rv = uv_loop_close(&loop);
    if (rv < 0) {
        log_error("the loop did not close: %s", uv_strerror(rv));
    }
    return 0;
}
