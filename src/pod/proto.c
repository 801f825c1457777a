/* SPDX-License-Identifier: Apache-2.0 */

/* proto: the messages between davit-agent and davit-pod, read and written.
 *
 * Used by both ends.  It knows no socket: lines come in, lines go out.  A
 * message is checked whole here, so that no caller meets a member of a wrong type.
 */
#include "pod/proto.h"

#include "base/buf.h"
#include "base/file.h"
#include "base/json.h"
#include "base/str.h"

#include <signal.h>
#include <string.h>

static const char *const state_names[] = {
    [PROTO_STARTING] = "starting", [PROTO_RUNNING] = "running", [PROTO_STOPPING] = "stopping",
    [PROTO_FINISHED] = "finished", [PROTO_FAILED] = "failed",   [PROTO_KILLED] = "killed",
};

static const char *const type_names[] = {
    [PROTO_UNKNOWN] = NULL, [PROTO_HELLO] = "hello",       [PROTO_STATE] = "state",
    [PROTO_STOP] = "stop",  [PROTO_SIGNAL] = "signal",     [PROTO_HOOK] = "hook",
    [PROTO_BYE] = "bye",    [PROTO_HOOK_ACK] = "hook-ack",
};

const char *proto_state_name(enum proto_state state)
{
    return state_names[state];
}

bool proto_state_terminal(enum proto_state state)
{
    return state >= PROTO_FINISHED;
}

int proto_state_of(const char *name, enum proto_state *ret_state, struct err *err)
{
    for (size_t i = 0; i < sizeof(state_names) / sizeof(state_names[0]); i++) {
        if (str_eq(name, state_names[i])) {
            *ret_state = (enum proto_state)i;
            return 0;
        }
    }
    return err_set(err, ERR_INVALID, "no state of a pod is called '%s'", name);
}

int proto_signal_number(const char *name, int *ret_signum, struct err *err)
{
    const char *bare = str_starts(name, "SIG") ? name + 3 : name;
    struct err ignored;
    int64_t number = 0;

    if (str_to_int(name, 1, SIGRTMAX, "signal", &number, &ignored) == 0) {
        *ret_signum = (int)number;
        return 0;
    }
    for (int i = 1; i < NSIG; i++) {
        const char *abbrev = sigabbrev_np(i);
        if (abbrev && strcmp(abbrev, bare) == 0) {
            *ret_signum = i;
            return 0;
        }
    }
    return err_set(err, ERR_INVALID, "no signal is called '%s'", name);
}

static enum proto_type type_of(const char *name)
{
    for (size_t i = 1; i < sizeof(type_names) / sizeof(type_names[0]); i++) {
        if (strcmp(name, type_names[i]) == 0) {
            return (enum proto_type)i;
        }
    }
    return PROTO_UNKNOWN;
}

/* A member that may be missing or null, but must be text when it is there. */
static int opt_str(const json_t *obj, const char *key, const char **ret_value, struct err *err)
{
    const json_t *value = json_object_get(obj, key);

    if (!value || json_is_null(value)) {
        return 0;
    }
    return json_need_str(obj, key, ret_value, err);
}

static int opt_uint(const json_t *obj, const char *key, uint64_t *ret_value, struct err *err)
{
    const json_t *value = json_object_get(obj, key);
    int64_t number = 0;

    if (!value || json_is_null(value)) {
        return 0;
    }
    if (json_need_int(obj, key, 0, INT64_MAX, &number, err) < 0) {
        return err->code;
    }
    *ret_value = (uint64_t)number;
    return 0;
}

static int need_uint(const json_t *obj, const char *key, uint64_t *ret_value, struct err *err)
{
    int64_t number = 0;

    if (json_need_int(obj, key, 0, INT64_MAX, &number, err) < 0) {
        return err->code;
    }
    *ret_value = (uint64_t)number;
    return 0;
}

static int read_hello(const json_t *body, struct proto_msg *msg, struct err *err)
{
    int64_t version = 0;
    int64_t pid = 0;

    if (json_need_int(body, "v", 1, INT32_MAX, &version, err) < 0 ||
        json_need_int(body, "pid", 1, INT32_MAX, &pid, err) < 0 ||
        need_uint(body, "start_time", &msg->start_time, err) < 0 ||
        json_need_str(body, "boot_id", &msg->boot_id, err) < 0 ||
        json_need_str(body, "task", &msg->task, err) < 0 ||
        opt_str(body, "digest", &msg->digest, err) < 0) {
        return err->code;
    }
    msg->version = (int)version;
    msg->pid = (pid_t)pid;
    return 0;
}

static int read_state(const json_t *body, struct proto_msg *msg, struct err *err)
{
    const char *state = NULL;

    if (json_need_str(body, "state", &state, err) < 0 ||
        proto_state_of(state, &msg->state, err) < 0 ||
        opt_str(body, "reason", &msg->reason, err) < 0 ||
        need_uint(body, "seq", &msg->seq, err) < 0 ||
        json_need_obj(body, "processes", &msg->processes, err) < 0 ||
        opt_uint(body, "started_ms", &msg->started_ms, err) < 0 ||
        opt_uint(body, "ended_ms", &msg->ended_ms, err) < 0) {
        return err->code;
    }
    return 0;
}

static int read_signal(const json_t *body, struct proto_msg *msg, struct err *err)
{
    const char *name = NULL;

    if (json_need_str(body, "signal", &name, err) < 0 ||
        proto_signal_number(name, &msg->signum, err) < 0 ||
        opt_str(body, "process", &msg->process, err) < 0) {
        return err->code;
    }
    return 0;
}

static int read_members(const json_t *body, struct proto_msg *msg, struct err *err)
{
    switch (msg->type) {
    case PROTO_HELLO:
        return read_hello(body, msg, err);
    case PROTO_STATE:
        return read_state(body, msg, err);
    case PROTO_STOP:
        if (need_uint(body, "grace_ms", &msg->grace_ms, err) < 0 ||
            opt_str(body, "reason", &msg->reason, err) < 0 ||
            opt_str(body, "op_id", &msg->op_id, err) < 0) {
            return err->code;
        }
        return 0;
    case PROTO_SIGNAL:
        return read_signal(body, msg, err);
    case PROTO_HOOK:
        if (need_uint(body, "seq", &msg->seq, err) < 0 ||
            json_need_obj(body, "record", &msg->record, err) < 0 ||
            opt_uint(body, "dropped", &msg->dropped, err) < 0) {
            return err->code;
        }
        return 0;
    case PROTO_HOOK_ACK:
        return need_uint(body, "seq", &msg->seq, err);
    case PROTO_BYE:
    case PROTO_UNKNOWN:
        return 0;
    }
    return 0;
}

int proto_parse(const char *line, size_t len, struct proto_msg *ret_msg, struct err *err)
{
    CLEANUP(json_freep) json_t *body = NULL;
    struct proto_msg msg = { 0 };
    const char *type = NULL;

    if (json_parse(line, len, PROTO_LINE_MAX, &body, err) < 0) {
        return err->code;
    }
    if (!json_is_object(body)) {
        return err_set(err, ERR_INVALID, "a message must be an object");
    }
    if (json_need_str(body, "type", &type, err) < 0) {
        return err->code;
    }
    msg.type = type_of(type);
    if (read_members(body, &msg, err) < 0) {
        return err_wrap(err, "message '%s'", type);
    }
    msg.body = TAKE(body);
    *ret_msg = msg;
    return 0;
}

void proto_msg_fini(struct proto_msg *msg)
{
    json_decref(msg->body);
    *msg = (struct proto_msg){ 0 };
}

static json_t *message(enum proto_type type)
{
    json_t *body = json_object();

    json_put_str(body, "type", type_names[type]);
    return body;
}

static char *line_take(json_t *body)
{
    CLEANUP(mem_freep) char *text = json_text_ordered(body);

    json_decref(body);
    return str_printf("%s\n", text);
}

char *proto_stop(uint64_t grace_ms, const char *reason, const char *op_id)
{
    json_t *body = message(PROTO_STOP);

    json_put_int(body, "grace_ms", (int64_t)grace_ms);
    json_put_str(body, "reason", reason);
    json_put_str(body, "op_id", op_id);
    return line_take(body);
}

char *proto_signal(const char *signal, const char *process)
{
    json_t *body = message(PROTO_SIGNAL);

    json_put_str(body, "signal", signal);
    json_put_str(body, "process", process);
    return line_take(body);
}

char *proto_hook_ack(uint64_t seq)
{
    json_t *body = message(PROTO_HOOK_ACK);

    json_put_int(body, "seq", (int64_t)seq);
    return line_take(body);
}

char *proto_bye(void)
{
    return line_take(message(PROTO_BYE));
}

int proto_read_status(const char *home, struct proto_status *ret_status, struct err *err)
{
    CLEANUP(mem_freep) char *path = file_join(home, PROTO_STATE_FILE);
    CLEANUP(json_freep) json_t *body = NULL;
    CLEANUP_BUF text = { 0 };
    struct proto_status status = { 0 };

    if (file_read(path, PROTO_LINE_MAX, &text, err) < 0) {
        return err->code;
    }
    if (json_parse(buf_text(&text), text.len, PROTO_LINE_MAX, &body, err) < 0 ||
        read_hello(body, &status.msg, err) < 0 || read_state(body, &status.msg, err) < 0 ||
        opt_str(body, "token", &status.token, err) < 0) {
        return err_wrap(err, "read %s", path);
    }
    status.msg.type = PROTO_STATE;
    status.msg.body = TAKE(body);
    *ret_status = status;
    return 0;
}

void proto_status_fini(struct proto_status *status)
{
    proto_msg_fini(&status->msg);
    *status = (struct proto_status){ 0 };
}

static uint64_t wait_of(const json_t *http, const char *key)
{
    enum { WAIT_DEFAULT_S = 5 };
    double secs = json_num_or(http, key, WAIT_DEFAULT_S);

    return secs > 0 && secs * 1000 < PROTO_STOP_TOTAL_MS ? (uint64_t)(secs * 1000)
           : secs > 0                                    ? PROTO_STOP_TOTAL_MS
                                                         : 0;
}

uint64_t proto_ladder_ms(const json_t *lifecycle)
{
    const json_t *http = json_object_get(lifecycle, "http");

    return json_is_object(http)
               ? wait_of(http, "graceful_shutdown_wait_secs") +
                     wait_of(http, "shutdown_wait_secs") + 2 * (uint64_t)PROTO_LADDER_POST_MS
               : 0;
}

uint64_t proto_stop_total_ms(uint64_t finalization_wait_ms, uint64_t ladder_ms)
{
    uint64_t total = finalization_wait_ms;

    if (total < PROTO_STOP_TOTAL_MS) {
        total += ladder_ms;
        total = total < PROTO_STOP_TOTAL_MS ? total : PROTO_STOP_TOTAL_MS;
    }
    return total;
}

uint64_t proto_stop_signals_ms(uint64_t finalization_wait_ms, uint64_t ladder_ms)
{
    uint64_t total = proto_stop_total_ms(finalization_wait_ms, ladder_ms);
    uint64_t least = total - total / 2;
    uint64_t left = ladder_ms < total - least ? total - ladder_ms : least;

    return left < finalization_wait_ms ? left : finalization_wait_ms;
}
