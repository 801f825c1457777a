/* SPDX-License-Identifier: Apache-2.0 */
/* pod_step: carrying out one action on one pod, and listening to its davit-pod.
 *
 * What to do and when is reconcile.c's and pods.c's.
 *
 * Happy path of a launch: manifest and mark are written, davit-pod starts in a session
 * of its own with one end of a socketpair, says hello, and from then on tells its
 * states.  Of a halt: `stop` is sent, davit-pod tells its end, gets `bye` and exits.
 * Failure: a davit-pod that exits before its first state file is a failed launch; one
 * that dies later has its tree killed and counts as lost; one that does not end in
 * time is killed with its tree.  A lost connection is made again for as long as the
 * process lives.
 * Invariants: state.json decides how a pod ended, the socket is only quicker; each
 * action may have been carried out before by an agent that was killed in the middle.
 */
#include "agent/ended.h"
#include "agent/pods_priv.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/id.h"
#include "base/json.h"
#include "base/log.h"
#include "base/str.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

enum {
    HELLO_MS = 30 * 1000,  /* from the start of davit-pod to its hello */
    AGAIN_MS = 500,        /* between attempts to reach a davit-pod */
    STRANGER_MS = 5000,    /* the same, after one that was not ours */
    HALT_EXTRA_MS = 10000, /* beyond the task's own finalization_wait */
    SETTLE_MS = PROTO_BYE_WAIT_MS + 5000,
    SWEEP_MS = 4000, /* to empty a dead davit-pod's tree */
    HALT_DEFAULT_MS = 30000,
    HOOKS_FILE_MAX = 16 * 1024 * 1024,
    AGENT_FD = 3,
    EXIT_LOCKED = 13,
    LOG_TAIL = 300,
};

static void connect_soon(struct pod *pod, uint64_t wait_ms);

/* ---- Killing what a pod left, or what does not want to end. ---- */

static void on_killed(struct tree_kill *kill)
{
    struct pod *pod = kill->data;
    bool ok = kill->err.code == 0;

    pod->killing = false;
    tree_free(TAKE(pod->tree));
    if (!ok && !pod->closing) {
        pods_problem(pod, &kill->err);
    }
    if (pod->ended_ms == 0) {
        pod->ended_ms = clock_wall_ms();
    }
    if (pod->rec.busy != RECONCILE_LAUNCH && pod->rec.busy != RECONCILE_HALT &&
        pod->rec.busy != RECONCILE_REAP && pod->rec.busy != RECONCILE_SETTLE) {
        pods_touch(pod);
        return;
    }
    if (ok && !reconcile_life_ended(pod->rec.life)) {
        reconcile_life(&pod->rec, RECONCILE_LIFE_DIED);
    }
    pods_step_over(pod, ok);
}

/* DAVIT_RUN of its processes; "" when nobody knows. */
static const char *pod_token(struct pod *pod)
{
    struct proto_status status = { 0 };
    struct err ignored = { 0 };

    if (pod->token) {
        return pod->token;
    }
    /* davit-pod's own word first: task.json may be that of a later attempt. */
    if (proto_read_status(pod->home, &status, &ignored) == 0) {
        pod->token = mem_strdup_opt(status.token);
        proto_status_fini(&status);
    }
    if (!pod->token) {
        pod->token = home_token(pod->home);
    }
    return pod->token;
}

/* Ends in the pending step's end. */
static void kill_all(struct pod *pod)
{
    if (pod->killing) {
        return;
    }
    pod->killing = true;
    if (pod->watched) {
        child_signal(&pod->child, SIGKILL);
    }
    pod->tree = tree_adopt(pod_token(pod));
    pod->kill.data = pod;
    CRASH_POINT("agent.kill");
    tree_kill_start(&pod->kill, pod->pods->loop, pod->tree, 0, SWEEP_MS, on_killed);
}

static void on_deadline(uv_timer_t *timer)
{
    struct pod *pod = timer->data;

    log_warn("davit-pod is late with %s, killing it pod=%s", reconcile_action_name(pod->rec.busy),
             pod->name);
    kill_all(pod);
}

static void expect_within(struct pod *pod, uint64_t ms)
{
    (void)uv_timer_start(&pod->deadline, on_deadline, ms, 0);
}

/* ---- What davit-pod tells. ---- */

static json_t *brief_processes(const json_t *processes)
{
    static const char *const members[] = { "state", "runs", "exit", "signal" };
    json_t *brief = json_object();
    const char *name = NULL;
    json_t *process = NULL;

    json_object_foreach((json_t *)processes, name, process)
    {
        json_t *one = json_object();

        for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
            json_t *value = json_object_get(process, members[i]);

            if (value) {
                json_object_set(one, members[i], value);
            }
        }
        json_put_take(brief, name, one);
    }
    return brief;
}

static void take_state(struct pod *pod, const struct proto_msg *msg)
{
    free(pod->reason);
    pod->reason = mem_strdup_opt(msg->reason);
    json_decref(pod->processes);
    pod->processes = brief_processes(msg->processes);
    pod->started_ms = msg->started_ms;
    pod->ended_ms = msg->ended_ms;
    reconcile_life(&pod->rec, reconcile_life_parse(proto_state_name(msg->state)));
}

static void take_hook_record(struct pod *pod, const json_t *doc)
{
    struct hook_record record = { 0 };
    struct err err = { 0 };

    if (record_from_json(doc, &record, &err) < 0 ||
        journal_insert(pod->pods->options.hooks->journal, &record, 1, &err) < 0) {
        log_warn("a hook record is lost: %s pod=%s", err.msg, pod->name);
    }
    record_fini(&record);
}

/* What a davit-pod could not tell any more. */
static void take_hooks_file(struct pod *pod)
{
    CLEANUP(mem_freep) char *path = file_join(pod->home, PROTO_HOOKS_FILE);
    CLEANUP_BUF text = { 0 };
    CLEANUP(strv_freep) char **lines = NULL;
    struct err err = { 0 };

    if (file_read(path, HOOKS_FILE_MAX, &text, &err) < 0) {
        return;
    }
    lines = str_split(buf_text(&text), "\n");
    for (char **line = lines; line && *line; line++) {
        struct proto_msg msg = { 0 };

        if (**line && proto_parse(*line, strlen(*line), &msg, &err) == 0) {
            if (msg.type == PROTO_HOOK) {
                take_hook_record(pod, msg.record);
            }
            proto_msg_fini(&msg);
        }
    }
}

static void send_stop(struct pod *pod)
{
    const struct intent *intent = pod->intent;
    const char *reason = intent ? intent->stop_reason : NULL;

    if (pod->rec.leaving) {
        reason = "The node's agent was stopped.";
    }
    link_send_take(&pod->link, proto_stop(intent ? intent->wait_ms : HALT_DEFAULT_MS, reason,
                                          intent ? intent->stop_op_id : NULL));
}

static void on_child(struct child *child);

static bool is_hello_good(struct pod *pod, const struct proto_msg *msg, struct err *err)
{
    if (msg->version > PROTO_VERSION) {
        err_setf(err, ERR_UNSUPPORTED, "it speaks version %d, this agent %d", msg->version,
                 PROTO_VERSION);
        return false;
    }
    if (!str_eq(msg->task, pod->name) || !str_eq(msg->boot_id, pod->pods->boot_id) ||
        (msg->digest && pod->mark.digest[0] && !str_eq(msg->digest, pod->mark.digest))) {
        err_setf(err, ERR_CONFLICT, "it is another pod, or of another manifest");
        return false;
    }
    return pod->watched ||
           child_watch(&pod->child, pod->pods->loop, msg->pid, msg->start_time, on_child, err) == 0;
}

static void on_hello(struct pod *pod, const struct proto_msg *msg)
{
    struct err err = { 0 };

    if (!is_hello_good(pod, msg, &err)) {
        log_warn("not talking to the davit-pod in %s: %s", pod->home, err.msg);
        link_close(&pod->link, NULL);
        connect_soon(pod, STRANGER_MS);
        return;
    }
    pod->child.data = pod;
    pod->watched = true;
    pod->greeted = true;
    (void)uv_timer_stop(&pod->again);
    if (pod->rec.busy == RECONCILE_LAUNCH) {
        CRASH_POINT("agent.launched");
        pods_step_over(pod, true);
    } else if (pod->rec.busy == RECONCILE_HALT && !pod->announce_left) {
        send_stop(pod);
    }
}

static void on_msg(struct link *link, const struct proto_msg *msg)
{
    struct pod *pod = link->data;

    if (msg->type == PROTO_HELLO) {
        on_hello(pod, msg);
        return;
    }
    if (!pod->greeted) {
        return;
    }
    if (msg->type == PROTO_STATE) {
        take_state(pod, msg);
        if (reconcile_life_ended(pod->rec.life) && pod->rec.busy == RECONCILE_HALT) {
            link_send_take(&pod->link, proto_bye());
        }
        pods_touch(pod);
    } else if (msg->type == PROTO_HOOK) {
        if (msg->dropped > 0) {
            log_warn("%llu hook records were dropped while nobody fetched them pod=%s",
                     (unsigned long long)msg->dropped, pod->name);
        }
        take_hook_record(pod, msg->record);
        link_send_take(&pod->link, proto_hook_ack(msg->seq));
    }
}

/* ---- Is it still there? ---- */

static bool is_locked(const struct pod *pod)
{
    CLEANUP(mem_freep) char *path = file_join(pod->home, PROTO_LOCK_FILE);

    return file_locked(path);
}

/* The last lines that davit-pod logged, for a reason. */
static void log_tail(const struct pod *pod, struct err *err)
{
    CLEANUP(mem_freep) char *path = file_join(pod->home, HOME_LOG_FILE);
    CLEANUP_BUF text = { 0 };
    struct err ignored = { 0 };

    if (file_read(path, PROTO_LINE_MAX, &text, &ignored) == 0 && text.len > 0) {
        const char *tail = text.len > LOG_TAIL ? text.data + text.len - LOG_TAIL : text.data;

        err_wrap(err, "%.*s", (int)strcspn(tail, "\n"), tail);
    }
}

/* The launch under way ended in davit-pod's exit before its hello. */
static void launch_ended(struct pod *pod, bool has_status)
{
    const struct child *child = &pod->child;
    struct err err = { 0 };

    if (child->exit_code == EXIT_LOCKED) {
        free(TAKE(pod->token)); /* Its token is that of its own attempt. */
        connect_soon(pod, 0);   /* One that an agent before us had started is there. */
        return;
    }
    if (has_status) {
        if (!reconcile_life_ended(pod->rec.life)) {
            kill_all(pod);
            return;
        }
        pods_step_over(pod, true); /* It ran, or could not and says why. */
        return;
    }
    err_setf(&err, ERR_FAILED, "davit-pod ended with %s %d before it began",
             child->term_signal ? "signal" : "exit status",
             child->term_signal ? child->term_signal : child->exit_code);
    log_tail(pod, &err);
    pods_problem(pod, &err);
    pods_step_over(pod, false);
}

/* The pod's empty control group goes with its tree. */
static void drop_tree(struct pod *pod)
{
    if (pod->pods->rung != TREE_SWEEP && *pod_token(pod)) {
        tree_free(tree_adopt(pod_token(pod)));
    }
}

static void process_ended(struct pod *pod)
{
    struct proto_status status = { 0 };
    struct err err = { 0 };
    bool has_status = proto_read_status(pod->home, &status, &err) == 0;

    (void)uv_timer_stop(&pod->again);
    link_close(&pod->link, NULL);
    pod->greeted = false;
    take_hooks_file(pod);
    if (has_status && proto_state_terminal(status.msg.state)) {
        take_state(pod, &status.msg);
    } else if (pod->rec.busy != RECONCILE_LAUNCH) {
        log_warn("davit-pod died, ending what it left behind pod=%s", pod->name);
        free(pod->reason);
        pod->reason = mem_strdup("davit-pod died.");
        reconcile_life(&pod->rec, RECONCILE_LIFE_DIED);
    }
    if (has_status) {
        proto_status_fini(&status);
    }
    if (pod->rec.busy == RECONCILE_LAUNCH) {
        launch_ended(pod, has_status);
    } else if (pod->killing) {
        return; /* on_killed() goes on. */
    } else if (pod->rec.busy == RECONCILE_HALT || pod->rec.busy == RECONCILE_SETTLE) {
        if (reconcile_life_ended(pod->rec.life)) {
            drop_tree(pod);
            pods_step_over(pod, true);
        } else {
            kill_all(pod);
        }
    } else {
        pods_touch(pod);
    }
}

static void on_child(struct child *child)
{
    struct pod *pod = child->data;

    pod->watched = false;
    if (pod->closing || child->err.code == ERR_CANCELED) {
        pods_touch(pod);
        return;
    }
    process_ended(pod);
}

static void on_link_end(struct link *link, const struct err *err)
{
    struct pod *pod = link->data;

    log_debug("the connection to davit-pod ended: %s pod=%s", err->msg, pod->name);
    pod->greeted = false;
    /* Mostly it has ended, and its pidfd will say so; if not, it is to be found again. */
    connect_soon(pod, AGAIN_MS);
}

static void on_again(uv_timer_t *timer)
{
    struct pod *pod = timer->data;
    struct err err = { 0 };

    if (pod->link.handle) {
        connect_soon(pod, AGAIN_MS);
        return;
    }
    if (link_connect(&pod->link, pod->pods->loop, pod->home, on_msg, on_link_end, &err) == 0) {
        return;
    }
    if (!pod->watched && !is_locked(pod)) {
        process_ended(pod);
        return;
    }
    log_debug("%s, trying again pod=%s", err.msg, pod->name);
    connect_soon(pod, AGAIN_MS);
}

static void connect_soon(struct pod *pod, uint64_t wait_ms)
{
    (void)uv_timer_start(&pod->again, on_again, wait_ms, 0);
}

void step_adopt(struct pod *pod, struct reconcile_found *ret_found)
{
    CLEANUP(mem_freep) char *lock = file_join(pod->home, PROTO_LOCK_FILE);
    struct proto_status status = { 0 };
    struct err err = { 0 };
    int mark = home_read_mark(pod->home, &pod->mark, &err);

    *ret_found = (struct reconcile_found){
        .has_home = true,
        .launched = mark != ERR_NOTFOUND, /* One that cannot be read counts. */
        .up = pod->mark.up,
        .leaving = pod->mark.leaving,
        .alive = file_locked(lock),
        .started = file_exists(lock),
    };
    if (proto_read_status(pod->home, &status, &err) == 0) {
        ret_found->started = true;
        take_state(pod, &status.msg);
        ret_found->life = pod->rec.life;
        if (ret_found->alive && str_eq(status.msg.boot_id, pod->pods->boot_id) &&
            child_watch(&pod->child, pod->pods->loop, status.msg.pid, status.msg.start_time,
                        on_child, &err) == 0) {
            pod->child.data = pod;
            pod->watched = true;
        }
        proto_status_fini(&status);
    }
    if (ret_found->alive) {
        connect_soon(pod, 0);
    } else if (ret_found->launched && ret_found->started) {
        take_hooks_file(pod);
        if (!reconcile_life_ended(ret_found->life)) {
            free(pod->reason);
            pod->reason = mem_strdup("davit-pod died while the agent was away.");
        }
    }
}

/* ---- Hooks. ---- */

static const char *hook_event(enum reconcile_action action)
{
    switch (action) {
    case RECONCILE_BEFORE_INSTALL:
    case RECONCILE_AFTER_INSTALL:
    case RECONCILE_BEFORE_LAUNCH:
    case RECONCILE_AFTER_LAUNCH:
    case RECONCILE_BEFORE_UNINSTALL:
        return reconcile_action_name(action);
    case RECONCILE_NOTHING:
    case RECONCILE_INSTALL:
    case RECONCILE_LAUNCH:
    case RECONCILE_HALT:
    case RECONCILE_REAP:
    case RECONCILE_SETTLE:
    case RECONCILE_UNINSTALL:
    case RECONCILE_FORGET:
        break;
    }
    return NULL;
}

enum pods_slot step_slot(const struct pod *pod, enum reconcile_action action)
{
    const char *event = hook_event(action);

    if (action == RECONCILE_LAUNCH) {
        return SLOT_LAUNCH;
    }
    return event && node_hooks_any(pod->pods->options.hooks, event) ? SLOT_HOOKS : SLOT_NONE;
}

/* after_launch has run: after a restart it is not to run again. */
static bool mark_up(struct pod *pod)
{
    struct err err = { 0 };

    if (pod->mark.up) {
        return true;
    }
    pod->mark.up = true;
    CRASH_POINT("agent.up");
    if (home_write_mark(pod->home, &pod->mark, &err) < 0) {
        pods_problem(pod, &err);
        return false;
    }
    return true;
}

static void on_hooks(struct node_hooks_run *run)
{
    struct pod *pod = run->data;
    bool ok = run->err.code == 0;

    pod->hooking = false;
    if (pod->closing) {
        pods_touch(pod);
        return;
    }
    CRASH_POINT("agent.hooks_done");
    if (!ok) {
        pods_problem(pod, &run->err);
    } else if (pod->rec.busy == RECONCILE_AFTER_LAUNCH) {
        ok = mark_up(pod);
    }
    pods_step_over(pod, ok);
}

/* What hooks may look for in a home that is there. */
static void write_config(struct pod *pod, const struct buf *manifest)
{
    CLEANUP(intent_freep) struct intent *parsed = NULL;
    const struct intent *intent = pod->intent;
    struct err err = { 0 };

    if (!pod->rec.has_home) {
        return;
    }
    if (!intent || !intent->config) {
        if (intent_parse(pod->name, buf_text(manifest), manifest->len, &parsed, &err) < 0) {
            log_debug("no config for the hooks: %s", err.msg);
            return;
        }
        intent = parsed;
    }
    if (home_write_config(pod->home, intent, &err) < 0) {
        log_warn("%s; going on pod=%s", err.msg, pod->name);
    }
}

static enum step_result begin_hooks(struct pod *pod, enum reconcile_action action)
{
    const struct intent *intent = pod->intent;
    bool launched = pod->rec.stage >= RECONCILE_LAUNCHED && pod->mark.digest[0];
    CLEANUP(mem_freep) char *path = file_join(pod->home, HOME_MANIFEST);
    CLEANUP_BUF text = { 0 };
    struct err err = { 0 };
    struct node_hooks_pod about = {
        .id = pod->name,
        .home = pod->home,
        .digest = launched || !intent ? pod->mark.digest : intent->digest,
        .instance = intent ? intent->instance : pod->mark.instance,
        .readonly = intent && intent->readonly,
        .job = intent && intent->job ? intent->job : pod->mark.job,
        .op_id = intent && intent->op_id ? intent->op_id : pod->mark.op_id,
    };

    if (action == RECONCILE_BEFORE_UNINSTALL && intent && intent->stop_op_id) {
        about.op_id = intent->stop_op_id;
    }
    if (!launched && intent && intent->text) {
        buf_add(&text, intent->text, intent->len);
    } else if (file_read(path, PROTO_TASK_MAX, &text, &err) < 0) {
        log_debug("no manifest for the hooks: %s", err.msg);
    }
    write_config(pod, &text);
    about.manifest = buf_text(&text);
    about.manifest_len = text.len;
    CRASH_POINT("agent.hooks");
    pod->hook.data = pod;
    pod->hooking = true;
    node_hooks_start(&pod->hook, pod->pods->options.hooks, hook_event(action), &about, on_hooks);
    return STEP_PENDING;
}

/* ---- The steps. ---- */

static enum step_result failed(struct pod *pod, const struct err *err)
{
    pods_problem(pod, err);
    return STEP_FAILED;
}

static enum step_result begin_install(struct pod *pod)
{
    struct home_user user = { 0 };
    struct err err = { 0 };
    struct home_spec spec = { .node = pod->pods->options.hooks->node, .user = &user };
    char token[ID_TOKEN_SIZE];

    if (is_locked(pod)) {
        /* Nobody can have got so far without a mark; never touch what lives. */
        err_setf(&err, ERR_CONFLICT, "a davit-pod lives in %s", pod->home);
        return failed(pod, &err);
    }
    if (!pod->pods->options.run_as_self && home_find_user(pod->intent->run_as, &user, &err) < 0) {
        /* Aurora's words: trying again would not make the user. */
        free(pod->reason);
        pod->reason = str_printf("Task started with unknown user. (%s)", err.msg);
        return STEP_HOPELESS;
    }
    id_token(token);
    free(pod->token);
    pod->token = mem_strdup(token);
    spec.token = token;
    CRASH_POINT("agent.install");
    if (home_install(pod->home, pod->intent, &spec, &err) < 0) {
        return failed(pod, &err);
    }
    CRASH_POINT("agent.installed");
    return STEP_OK;
}

/* What davit-pod sees of the agent's environment. */
static char **pod_env(const struct tree *tree, const char *token)
{
    static const char *const names[] = {
        "PATH",
        "HOME",
        "LANG",
        "LC_ALL",
        "TZ",
        "DAVIT_LOG",
        "DAVIT_BINDIR",
        "DAVIT_PYTHONPATH",
        "DAVIT_PYTHON",
        "DAVIT_KILL_RUNG",
        "ASAN_OPTIONS",
        "UBSAN_OPTIONS",
        "DAVIT_CRASH_AT",
        "DAVIT_CRASH_FILE",
        "DAVIT_CRASH_LOG",
        "LSAN_OPTIONS",
    };
    char **env = NULL;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const char *value = getenv(names[i]);

        if (value) {
            strv_addf(&env, "%s=%s", names[i], value);
        }
    }
    if (tree_env(tree)) {
        strv_add(&env, tree_env(tree));
    } else {
        strv_addf(&env, "DAVIT_RUN=%s", token);
    }
    return env;
}

static int start_pod(struct pod *pod, struct err *err)
{
    const struct pods_options *options = &pod->pods->options;
    const char *argv[] = { "davit-pod", "--home", pod->home, "--agent-fd", "3", NULL, NULL, NULL };
    CLEANUP(mem_freep) char *log_path = file_join(pod->home, HOME_LOG_FILE);
    CLEANUP(fd_closep) int log_fd = -1;
    CLEANUP(fd_closep) int ours = -1;
    CLEANUP(fd_closep) int theirs = -1;
    CLEANUP(tree_freep) struct tree *tree = NULL;
    CLEANUP(strv_freep) char **env = NULL;
    struct tree_options tree_options = { .token = pod->token, .rung = pod->pods->rung };
    struct child_rlimit nofile = { .resource = RLIMIT_NOFILE, .limit = *options->nofile };
    int pair[2];

    log_fd = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (log_fd < 0) {
        return err_set(err, ERR_IO, "open %s: %s", log_path, strerror(errno));
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        return err_set(err, ERR_IO, "make a socketpair: %s", strerror(errno));
    }
    ours = pair[0];
    theirs = pair[1];
    if (options->pod_hooks_dir) {
        argv[5] = "--pod-hooks-dir";
        argv[6] = options->pod_hooks_dir;
    }
    if (tree_new(&tree_options, &tree, err) < 0) {
        return err_code(err);
    }
    env = pod_env(tree, pod->token);
    struct child_fd fds[] = { { log_fd, 1 }, { log_fd, 2 }, { theirs, AGENT_FD } };
    struct child_options child = {
        .path = options->program,
        .argv = argv,
        .envp = (const char *const *)env,
        .cwd = pod->home,
        .fds = fds,
        .n_fds = sizeof(fds) / sizeof(fds[0]),
        .group = CHILD_GROUP_SESSION,
        .rlimits = &nofile,
        .n_rlimits = 1,
    };
    tree_join(tree, &child);
    pod->child = (struct child){ .data = pod };
    if (child_start(&pod->child, pod->pods->loop, &child, on_child, err) < 0) {
        return err_code(err);
    }
    tree_started(tree, pod->child.pid);
    pod->watched = true;
    link_open(&pod->link, pod->pods->loop, TAKE_FD(ours), on_msg, on_link_end);
    return 0;
}

static enum step_result begin_launch(struct pod *pod)
{
    const struct intent *intent = pod->intent;
    struct err err = { 0 };

    if (pod->link.handle || pod->watched) {
        err_setf(&err, ERR_CONFLICT, "the last attempt is not over");
        return failed(pod, &err);
    }
    home_mark_fini(&pod->mark);
    memcpy(pod->mark.digest, intent->digest, sizeof(pod->mark.digest));
    pod->mark.up = !node_hooks_any(pod->pods->options.hooks, "after_launch");
    pod->mark.instance = intent->instance;
    pod->mark.launched_ms = clock_wall_ms();
    pod->mark.job = mem_strdup_opt(intent->job);
    pod->mark.op_id = mem_strdup_opt(intent->op_id);
    CRASH_POINT("agent.launch");
    if (home_write_manifest(pod->home, intent, &err) < 0) {
        return failed(pod, &err);
    }
    CRASH_POINT("agent.launch_manifest");
    if (home_write_mark(pod->home, &pod->mark, &err) < 0) {
        return failed(pod, &err);
    }
    CRASH_POINT("agent.launch_marked");
    if (start_pod(pod, &err) < 0) {
        return failed(pod, &err);
    }
    CRASH_POINT("agent.launch_started");
    expect_within(pod, HELLO_MS);
    return STEP_PENDING;
}

/* ---- The ServerSet member ---- */

static void halt(struct pod *pod);

static void on_unannounced(void *data)
{
    struct pod *pod = data;

    pod->announce = NULL;
    pod->announce_left = false;
    if (pod->rec.busy == RECONCILE_HALT && !pod->killing) {
        halt(pod);
    } else {
        pods_touch(pod);
    }
}

/* False: there is nothing to wait for. */
static bool unannounce(struct pod *pod)
{
    struct announcer *announcer = pod->pods->options.announcer;

    if (!pod->announce && pod->maybe_announced && pod->intent && pod->intent->announce &&
        announcer) {
        CLEANUP(mem_freep) char *note = file_join(pod->home, HOME_MEMBER_FILE);

        announce_start(announcer, pod->intent, note, true, &pod->announce);
    }
    if (!pod->announce) {
        return false;
    }
    pod->maybe_announced = false;
    pod->announce_left = true;
    announce_leave(pod->announce, on_unannounced, pod);
    return true;
}

void step_announce(struct pod *pod, const char *state)
{
    struct announcer *announcer = pod->pods->options.announcer;

    if (!announcer || !pod->intent || !pod->intent->announce || !state) {
        return;
    }
    if (str_eq(state, "running") && pod->rec.life == RECONCILE_LIFE_RUNNING) {
        if (!pod->announce) {
            CLEANUP(mem_freep) char *note = file_join(pod->home, HOME_MEMBER_FILE);

            announce_start(announcer, pod->intent, note, pod->maybe_announced, &pod->announce);
            pod->maybe_announced = false;
        }
    } else if (!str_eq(state, "starting") && !str_eq(state, "installing") && !pod->announce_left) {
        (void)unannounce(pod);
    }
}

/* ---- Ending. ---- */

/* Clients are told to go elsewhere first, then the pod is told to stop. */
static void halt(struct pod *pod)
{
    expect_within(pod, (pod->intent ? pod->intent->wait_ms : HALT_DEFAULT_MS) + HALT_EXTRA_MS);
    if (pod->greeted) {
        send_stop(pod);
    } else if (!pod->link.open && !uv_is_active((uv_handle_t *)&pod->again)) {
        connect_soon(pod, 0);
    }
}

static enum step_result begin_halt(struct pod *pod)
{
    struct err err = { 0 };

    if (pod->rec.leaving && !pod->mark.leaving) {
        /* Before anything else, so that it will be reported lost whatever happens now. */
        pod->mark.leaving = true;
        if (home_write_mark(pod->home, &pod->mark, &err) < 0) {
            log_warn("%s pod=%s", err.msg, pod->name);
        }
    }
    CRASH_POINT("agent.halt");
    if (!unannounce(pod)) {
        halt(pod);
    }
    return STEP_PENDING;
}

static enum step_result begin_settle(struct pod *pod)
{
    CRASH_POINT("agent.settle");
    if (pod->greeted) {
        link_send_take(&pod->link, proto_bye());
    }
    if (!pod->watched && !is_locked(pod)) {
        drop_tree(pod);
        return STEP_OK;
    }
    expect_within(pod, SETTLE_MS);
    if (!pod->greeted && !pod->link.open) {
        connect_soon(pod, 0);
    }
    return STEP_PENDING;
}

static enum step_result begin_reap(struct pod *pod)
{
    CRASH_POINT("agent.reap");
    kill_all(pod);
    return STEP_PENDING;
}

static void remove_home(uv_work_t *work)
{
    struct pod *pod = work->data;

    (void)ended_keep(pod->pods->options.ended_root, pod->home, pod->name,
                     pod->pods->options.keep_ended, &pod->work_err);
}

static void on_home_removed(uv_work_t *work, int status)
{
    struct pod *pod = work->data;
    bool ok = status == 0 && pod->work_err.code == 0;

    pod->working = false;
    CRASH_POINT("agent.uninstalled");
    if (!ok && !pod->closing) {
        pods_problem(pod, &pod->work_err);
    }
    pods_step_over(pod, ok);
}

/* Elsewhere, because a task may have left a million files. */
static enum step_result begin_uninstall(struct pod *pod)
{
    CRASH_POINT("agent.uninstall");
    pod->work_err = (struct err){ 0 };
    pod->work.data = pod;
    pod->working = true;
    if (uv_queue_work(pod->pods->loop, &pod->work, remove_home, on_home_removed) < 0) {
        abort(); /* Only for a missing function. */
    }
    return STEP_PENDING;
}

enum step_result step_begin(struct pod *pod, enum reconcile_action action)
{
    switch (action) {
    case RECONCILE_INSTALL:
        return begin_install(pod);
    case RECONCILE_LAUNCH:
        return begin_launch(pod);
    case RECONCILE_HALT:
        return begin_halt(pod);
    case RECONCILE_REAP:
        return begin_reap(pod);
    case RECONCILE_SETTLE:
        return begin_settle(pod);
    case RECONCILE_UNINSTALL:
        return begin_uninstall(pod);
    case RECONCILE_BEFORE_INSTALL:
    case RECONCILE_AFTER_INSTALL:
    case RECONCILE_BEFORE_LAUNCH:
    case RECONCILE_AFTER_LAUNCH:
    case RECONCILE_BEFORE_UNINSTALL:
        if (pod->slot == SLOT_HOOKS) {
            return begin_hooks(pod, action);
        }
        if (action == RECONCILE_AFTER_LAUNCH && !mark_up(pod)) {
            return STEP_FAILED;
        }
        return STEP_OK;
    case RECONCILE_NOTHING:
    case RECONCILE_FORGET:
        break;
    }
    return STEP_OK;
}

void step_cancel(struct pod *pod)
{
    (void)uv_timer_stop(&pod->again);
    (void)uv_timer_stop(&pod->deadline);
    if (pod->watched) {
        child_cancel(&pod->child);
    }
    if (pod->hooking) {
        node_hooks_cancel(&pod->hook);
    }
    if (pod->killing) {
        tree_kill_cancel(&pod->kill);
    }
    if (pod->announce && pod->pods->closing) {
        announce_drop(pod->announce); /* A later agent takes it over with the pod. */
    } else if (pod->announce) {
        announce_leave(pod->announce, NULL, NULL);
    }
    pod->announce = NULL;
}
