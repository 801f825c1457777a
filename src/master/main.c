/* SPDX-License-Identifier: Apache-2.0 */
/* davit-master: the cluster's API and single writer; several may run, one leads.
 *
 * Options, listeners, and the parts in order: API, store session, operations, election.
 * It is ready (--ready-fd) when it serves its first term, or when another master is seen
 * to lead.
 */
#include "base/args.h"
#include "base/clock.h"
#include "base/daemon.h"
#include "base/file.h"
#include "base/hostport.h"
#include "base/json.h"
#include "base/log.h"
#include "base/str.h"
#include "coord/zk.h"
#include "master/api/master_api.h"
#include "master/drain/drain.h"
#include "master/lead.h"
#include "master/operations/opcodes.h"
#include "master/state/place.h"

#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    NODE_LOST_MS = 60000,
    CRON_CATCH_UP_MS = 60000,
    HISTORY_MS = 2 * 24 * 3600 * 1000,
    OP_TERM_MS = 15 * 60 * 1000,
    SESSION_MS = 10000,
    OTHER_MASTER_EXTRA_MS = 5000,
    READY_POLL_MS = 50,
};

struct options {
    const char *zk, *zk_auth_file, *dir, *cluster, *listen, *port_file, *token_file, *hooks_dir;
    int64_t op_term_ms, op_work_ms, history_ms, node_lost_ms, session_ms, keep_hook_runs, ready_fd;
    int64_t preempt_delay_ms, preempt_every_ms, coordinator_retry_ms;
    int64_t cron_catch_up_ms, wall_offset_ms;
};

struct program {
    struct options options;
    uv_loop_t loop;
    struct daemon_stop stop;
    struct zk *zk;
    struct operations *operations;
    struct lead *lead;
    struct master_api *api;
    struct opcode_env env;
    json_t *contact;
    uv_timer_t follower; /* Until we are ready: does another lead? */
    bool ready, stopping;
    char host[256];
    int lock; /* Of --dir: one master in it. */
};

static void tell_ready(struct program *program)
{
    if (!program->ready) {
        program->ready = true;
        uv_timer_stop(&program->follower);
        daemon_ready((int)program->options.ready_fd);
    }
}

static void on_begin(struct lead *lead, void *data)
{
    (void)lead;
    tell_ready(data);
}

static void on_end(struct lead *lead, void *data)
{
    const struct program *program = data;

    (void)lead;
    master_api_term_ended(program->api);
}

/* Another master leads: this one is of use as it is. */
static void on_follower(uv_timer_t *timer)
{
    struct program *program = timer->data;
    const json_t *leader = lead_leader(program->lead);

    if (leader != NULL && !json_equal(leader, program->contact)) {
        tell_ready(program);
    }
}

/* ---- Stopping, the reverse of starting ---- */

static void on_zk_closed(struct zk *zk)
{
    (void)zk;
}

static void on_api_closed(void *data)
{
    struct program *program = data;

    zk_close(program->zk, on_zk_closed);
    uv_close((uv_handle_t *)&program->follower, NULL);
    daemon_stop_close(&program->stop);
}

static void on_operations_closed(void *data)
{
    struct program *program = data;

    master_api_close(program->api, on_api_closed, program);
}

static void on_lead_closed(void *data)
{
    struct program *program = data;

    operations_close(program->operations, on_operations_closed, program);
}

static void on_stop(struct daemon_stop *stop)
{
    struct program *program = stop->data;

    if (!program->stopping) {
        program->stopping = true;
        log_info("stopping");
        lead_close(program->lead, on_lead_closed, program);
    }
}

/* ---- Starting ---- */

static int parse(int argc, char **argv, struct options *options, struct err *err)
{
    const struct args_option table[] = {
        { "zk", 0, ARGS_TEXT, "HOST:PORT[,...][/CHROOT]", "the store (required)", &options->zk, 0,
          0 },
        { "zk-auth-file", 0, ARGS_TEXT, "FILE", "user:password for the store",
          &options->zk_auth_file, 0, 0 },
        { "dir", 0, ARGS_TEXT, "DIR", "state of this master: hooks.db, api.sock, op/ (required)",
          &options->dir, 0, 0 },
        { "cluster", 0, ARGS_TEXT, "NAME", "name of the cluster (devcluster)", &options->cluster, 0,
          0 },
        { "listen", 0, ARGS_TEXT, "HOST:PORT", "API address; port 0 picks one (127.0.0.1:0)",
          &options->listen, 0, 0 },
        { "port-file", 0, ARGS_TEXT, "FILE", "write the API's port here", &options->port_file, 0,
          0 },
        { "token-file", 0, ARGS_TEXT, "FILE", "bearer tokens of callers; the first is ours",
          &options->token_file, 0, 0 },
        { "hooks-dir", 0, ARGS_TEXT, "DIR", "operation hooks (/etc/ganeti/hooks)",
          &options->hooks_dir, 0, 0 },
        { "op-term-ms", 0, ARGS_INT, "MS", "deadline of an operation hook (900000)",
          &options->op_term_ms, 1, INT32_MAX },
        { "op-work-ms", 0, ARGS_INT, "MS", "deadline of an operation's work (3600000)",
          &options->op_work_ms, 1, INT32_MAX },
        { "history-ms", 0, ARGS_INT, "MS",
          "an ended task is forgotten after this long (172800000, two days)", &options->history_ms,
          1, INT64_MAX / 2 },
        { "node-lost-ms", 0, ARGS_INT, "MS",
          "a node away this long is given up: partition policies begin (60000)",
          &options->node_lost_ms, 0, INT32_MAX },
        { "preempt-delay-ms", 0, ARGS_INT, "MS",
          "a task PENDING this long may preempt others (180000)", &options->preempt_delay_ms, 0,
          INT32_MAX },
        { "preempt-every-ms", 0, ARGS_INT, "MS", "how often victims are looked for (60000)",
          &options->preempt_every_ms, 1, INT32_MAX },
        { "coordinator-retry-ms", 0, ARGS_INT, "MS",
          "ask a job's SLA coordinator again after a refusal (30000)",
          &options->coordinator_retry_ms, 1, INT32_MAX },
        { "cron-catch-up-ms", 0, ARGS_INT, "MS",
          "a cron job is started for its last tick if that is no older (60000)",
          &options->cron_catch_up_ms, 1000, INT64_MAX / 2 },
        { "wall-offset-ms", 0, ARGS_INT, "MS", "for tests: added to what the wall clock says (0)",
          &options->wall_offset_ms, INT64_MIN / 4, INT64_MAX / 4 },
        { "session-ms", 0, ARGS_INT, "MS", "session timeout to the store (10000)",
          &options->session_ms, 100, 600000 },
        { "keep-hook-runs", 0, ARGS_INT, "N", "records of hook runs kept in hooks.db (200000)",
          &options->keep_hook_runs, 1, INT32_MAX },
        { "ready-fd", 0, ARGS_INT, "N", "write a line here when ready", &options->ready_fd, 0,
          INT32_MAX },
    };
    const struct args_spec spec = {
        .program = "davit-master",
        .usage = "--zk HOST:PORT --dir DIR [options]",
        .summary = "The API and single writer of a davit cluster.",
        .options = table,
        .n_options = sizeof(table) / sizeof(table[0]),
    };
    int rest;
    int code = args_parse(&spec, argc, argv, &rest, err);

    if (code < 0) {
        return args_complain(&spec, err) > 0 ? err_code(err) : ERR_USAGE;
    }
    if (code == 0 && (options->zk == NULL || options->dir == NULL || rest < argc)) {
        err_set(err, ERR_USAGE, "%s",
                rest < argc           ? "unexpected operand"
                : options->zk == NULL ? "--zk is required"
                                      : "--dir is required");
        (void)args_complain(&spec, err);
        return err_code(err);
    }
    return code;
}

static int make_dirs(const struct options *options, struct err *err)
{
    CLEANUP(mem_freep) char *op = file_join(options->dir, "op");

    return file_mkdirs(options->dir, 0700, err) < 0 ? err->code : file_mkdirs(op, 0700, err);
}

/* The API's listeners, and what the others are told of them. */
static int serve(struct program *program, struct err *err)
{
    const struct options *options = &program->options;
    CLEANUP(mem_freep) char *dir = file_absolute(options->dir);
    CLEANUP(mem_freep) char *path = file_join(dir, "api.sock");
    CLEANUP(mem_freep) char *address = NULL;
    CLEANUP(mem_freep) char *host = hostport_host(options->listen);
    uint16_t port;

    if (master_api_listen(program->api, options->listen, &port, err) < 0 ||
        master_api_listen_unix(program->api, path, err) < 0) {
        return err->code;
    }
    address = str_printf("%s:%u", host, (unsigned)port);
    program->contact = json_object();
    json_put_str(program->contact, "address", address);
    json_put_str(program->contact, "socket", path);
    json_put_int(program->contact, "pid", getpid());
    json_put_str(program->contact, "host", program->host);
    log_info("serving address=%s socket=%s", address, path);
    return daemon_write_port(options->port_file, port, err);
}

static int connect_store(struct program *program, struct err *err)
{
    CLEANUP(mem_freep) char *auth = NULL;
    struct zk_options zk = { .loop = &program->loop,
                             .servers = program->options.zk,
                             .session_timeout_ms = (uint32_t)program->options.session_ms };

    if (program->options.zk_auth_file != NULL &&
        zk_load_auth(program->options.zk_auth_file, &auth, err) < 0) {
        return err->code;
    }
    zk.auth = auth;
    return zk_open(&zk, &program->zk, err);
}

static void start_operations(struct program *program)
{
    const struct options *options = &program->options;
    struct operations_options operations = {
        .loop = &program->loop,
        .opcodes = opcodes_table,
        .env = &program->env,
        .dir = options->dir,
        .hooks_dir = options->hooks_dir,
        .cluster = options->cluster,
        .node = program->host,
        .token_file = options->token_file,
        .op_term_ms = (uint64_t)options->op_term_ms,
        .op_work_ms = (uint64_t)options->op_work_ms,
        .keep_hook_runs = options->keep_hook_runs,
        .other_master_ms = (uint64_t)options->session_ms + OTHER_MASTER_EXTRA_MS,
    };

    operations_new(&operations, &program->operations);
    program->env.operations = program->operations;
}

static int start(struct program *program, struct err *err)
{
    struct master_api_options api = { .loop = &program->loop,
                                      .cluster = program->options.cluster,
                                      .dir = program->options.dir,
                                      .node = program->host,
                                      .token_file = program->options.token_file };

    CLEANUP(mem_freep) char *lock = file_join(program->options.dir, "master.lock");

    if (make_dirs(&program->options, err) < 0 || file_lock(lock, &program->lock, err) < 0) {
        return err->code;
    }
    start_operations(program);
    api.operations = program->operations;
    if (master_api_new(&api, &program->api, err) < 0 || serve(program, err) < 0) {
        return err->code;
    }
    return connect_store(program, err);
}

static void stand(struct program *program)
{
    struct lead_options lead = { .loop = &program->loop,
                                 .zk = program->zk,
                                 .cluster = program->options.cluster,
                                 .node_lost_ms = (uint64_t)program->options.node_lost_ms,
                                 .coordinator_retry_ms =
                                     (uint64_t)program->options.coordinator_retry_ms,
                                 .history_ms = (uint64_t)program->options.history_ms,
                                 .preempt_delay_ms = (uint64_t)program->options.preempt_delay_ms,
                                 .preempt_every_ms = (uint64_t)program->options.preempt_every_ms,
                                 .cron_catch_up_ms = (uint64_t)program->options.cron_catch_up_ms,
                                 .operations = program->operations,
                                 .env = &program->env,
                                 .contact = program->contact,
                                 .on_begin = on_begin,
                                 .on_end = on_end,
                                 .data = program };

    lead_start(&lead, &program->lead);
    master_api_set_lead(program->api, program->lead);
    uv_timer_init(&program->loop, &program->follower);
    program->follower.data = program;
    uv_timer_start(&program->follower, on_follower, READY_POLL_MS, READY_POLL_MS);
}

int main(int argc, char **argv)
{
    struct program program = { .options = { .cluster = "devcluster",
                                            .listen = "127.0.0.1:0",
                                            .hooks_dir = "/etc/ganeti/hooks",
                                            .op_term_ms = OP_TERM_MS,
                                            .node_lost_ms = NODE_LOST_MS,
                                            .coordinator_retry_ms = DRAIN_COORDINATOR_RETRY_MS,
                                            .history_ms = HISTORY_MS,
                                            .preempt_delay_ms = PLACE_PREEMPT_DELAY_MS,
                                            .preempt_every_ms = PLACE_PREEMPT_EVERY_MS,
                                            .cron_catch_up_ms = CRON_CATCH_UP_MS,
                                            .session_ms = SESSION_MS,
                                            .ready_fd = -1 } };
    struct err err;
    int code;

    log_init("master");
    code = parse(argc, argv, &program.options, &err);
    if (code != 0) {
        return code > 0 ? 0 : err_exit_status(code);
    }
    clock_shift_wall(program.options.wall_offset_ms);
    (void)gethostname(program.host, sizeof(program.host) - 1);
    uv_loop_init(&program.loop);
    if (start(&program, &err) < 0) {
        return daemon_fail("davit-master", &err);
    }
    program.stop.data = &program;
    daemon_stop_start(&program.stop, &program.loop, on_stop);
    stand(&program);
    uv_run(&program.loop, UV_RUN_DEFAULT);
    json_decref(program.contact);
    return uv_loop_close(&program.loop) == 0 ? 0 : 1;
}
