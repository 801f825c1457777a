/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"
#include "base/mem.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* What davit-agent and davit-pod say to each other, and the files by which they
 * find each other again.  Version 1; docs/architecture.md has the short table.
 *
 * A pod's home, HOME:
 *   task.json      by the agent, before davit-pod starts (format below)
 *   sandbox/       by the agent, owned by the user of the processes, mode 0700;
 *                  logs are sandbox/.logs/<process>/<run 0,1,..>/stdout|stderr, and
 *                  older parts of a rotated one beside it: stdout.1, stdout.2, ...
 *   pod.lock       file_lock()ed by davit-pod from before its first process until it ends
 *   pod.sock       davit-pod listens; connect through /proc/self/fd/N/pod.sock,
 *                  because HOME may be longer than sun_path
 *   state.json     by davit-pod, atomic rename, always before it tells anybody
 *   hooks.jsonl    hook records that no agent has acknowledged yet, a `hook`
 *                  message a line; absent when there are none
 *
 * Starting one:  davit-pod --home HOME [--agent-fd N] [--pod-hooks-dir DIR] [--ready-fd N]
 *   N is one end of a stream socketpair (or any connected stream socket).  Give it a
 *   session of its own and no death signal: it outlives the agent.  Its log goes to its
 *   stderr, so point that at a file.  Exit status: 0 when a final state was
 *   reached and written, whatever that state is; else it could not do its
 *   work: 2 bad options, 13 another davit-pod holds pod.lock, 3 bad task.json (then
 *   state.json says `failed` with the reason, if HOME can be written), 20 anything else.
 *
 * Finding one again: pod.lock held (file_locked()) = it lives: connect to pod.sock,
 *   which answers hello and state at once.  Lock free and state.json terminal = it
 *   ended so.  Lock free and state.json absent or not terminal = it died: its
 *   direct children died with it (PDEATHSIG); tree_kill_start(tree_adopt(token)) ends the
 *   rest.  A boot_id other than the present one = died with the machine.
 *
 * Talking: one JSON object a line, at most PROTO_LINE_MAX bytes, either side any time.
 *   hello  {"v":1,"type":"hello","pid","start_time","boot_id","task","digest"}
 *          first line of each connection, from davit-pod; start_time in clock ticks since boot
 *   state  {"type":"state","state","reason","seq","processes","started_ms","ended_ms"}
 *          from davit-pod after hello and on every change; seq grows; several changes of one
 *          moment are one message.  processes: {NAME:{"state","runs","failures",
 *          "exit","signal","pid","started_ms","ended_ms"}}: state is waiting, running,
 *          finished, failed or killed; exit and signal are of the last run that
 *          ended (absent before); pid only while running
 *   stop   {"type":"stop","grace_ms","reason","op_id"}
 *          from the agent: first the HTTP steps of `lifecycle`, if there are any and grace_ms
 *          leaves them time; then TERM to everything, final processes run, KILL when
 *          min(grace_ms, finalization_wait) is over (grace_ms 0: at once, no final
 *          processes).  A later stop can only shorten the rest.  Ends `killed`
 *          with the reason given (default "Task killed.")
 *   signal {"type":"signal","signal":"USR1","process":NAME or null for all}
 *   hook   {"type":"hook","seq","record"[,"dropped"]}  from davit-pod: a record of
 *          hook/record.h's shape; repeated on each connection until acknowledged.
 *          dropped: how many were lost so far because nobody fetched them
 *   hook-ack {"type":"hook-ack","seq"}  from the agent: all records up to seq are safe
 *   bye    {"type":"bye"}  from the agent: the final state was recorded.  After its
 *          final state davit-pod waits PROTO_BYE_WAIT_MS for it (not at all when nobody
 *          is connected) and ends anyway: state.json is the durable answer.
 * A line that is too long, not JSON, or wrong in a known type closes that connection
 * (never the pod).  A type that is not known is ignored, so that later versions may add.
 *
 * state.json: the members of `state` without "type", and of `hello` without "type", and
 *   "token".
 *
 * task.json (unknown members are ignored; * = must be there):
 *   {"v":1,*
 *    "id":*             task id = pod: {{thermos.task_id}}
 *    "digest":          SHA-256 of the intent; told back in hello and state.json
 *    "job":             cluster/role/env/name
 *    "instance":        0          {{mesos.instance}}
 *    "op_id":           operation that created the task; for hook records
 *    "node":            for hook records
 *    "hostname":        the node's host name     {{mesos.hostname}}
 *    "ports":           {NAME: number}           {{thermos.ports[NAME]}}
 *    "user":            LOGNAME, USER, {{thermos.user}}; default: name of nobody in particular,
 *                       "davit"
 *    "run_as":          {"uid","gid","groups":[..]}: become this user; absent: stay who we are
 *                       (the agent decides: not root, or the role is no local user)
 *    "path":            PATH; default /usr/local/sbin:...:/bin
 *    "env":             {NAME: text} more variables for processes and hooks
 *    "token":           names the pod's tree of processes (base/tree.h: 1 to 64 of A-Za-z0-9_-;
 *                       DAVIT_RUN in the environment of each); unique; default: made up
 *    "resources":       {"cpu","ram_bytes","disk_bytes"}; 0 or absent: no limit
 *    "hooks":           {"grace_ms":60000,"check_every_ms":0,"checks":1}
 *    "health":          the job's HealthCheckConfig:
 * {"health_checker":{"http":{"endpoint":"/health",
 *                       "expected_response":"ok","expected_response_code":0}, or "shell":
 *                       {"shell_command"*}},"initial_interval_secs":15,"interval_secs":10,
 *                       "max_consecutive_failures":0,"min_consecutive_successes":1,
 *                       "timeout_secs":1}; in force with a command, or a port called health
 *    "lifecycle":       the job's LifecycleConfig: {"http":{"port":"health",
 *                       "graceful_shutdown_endpoint":"/quitquitquit",
 *                       "shutdown_endpoint":"/abortabortabort","graceful_shutdown_wait_secs":5,
 *                       "shutdown_wait_secs":5}}; in force with a port of that name
 *    "task":*           as in the intent: {"name","processes":[{"name"*,"cmdline"*,
 *                       "max_failures":1,"daemon":false,"ephemeral":false,"min_duration":5,
 *                       "final":false,"logger":{"mode":"standard" or "rotate","rotate":
 *                       {"log_size":104857600,"backups":5}}}],"constraints":[{"order":[..]}],"max_failures":1,
 *                       "max_concurrency":0,"finalization_wait":30}}
 */

enum {
    PROTO_VERSION = 1,
    PROTO_LINE_MAX = 1024 * 1024,
    PROTO_TASK_MAX = 4 * 1024 * 1024, /* task.json */
    PROTO_BYE_WAIT_MS = 10 * 1000,
    PROTO_LADDER_POST_MS = 1000,      /* for one request of the stop ladder */
    PROTO_STOP_TOTAL_MS = 120 * 1000, /* a stop with a ladder; or a longer finalization_wait */
};

#define PROTO_TASK_FILE  "task.json"
#define PROTO_STATE_FILE "state.json"
#define PROTO_LOCK_FILE  "pod.lock"
#define PROTO_SOCK_FILE  "pod.sock"
#define PROTO_HOOKS_FILE "hooks.jsonl"
#define PROTO_SANDBOX    "sandbox"

enum proto_state {
    PROTO_STARTING,
    PROTO_RUNNING,
    PROTO_STOPPING,
    PROTO_FINISHED, /* terminal from here on */
    PROTO_FAILED,
    PROTO_KILLED,
};

enum proto_type {
    PROTO_UNKNOWN, /* a type that this version does not know: ignore it */
    PROTO_HELLO,
    PROTO_STATE,
    PROTO_STOP,
    PROTO_SIGNAL,
    PROTO_HOOK,
    PROTO_HOOK_ACK,
    PROTO_BYE,
};

/* One parsed message.  Only the members of its type are set; text and JSON
 * are borrowed from body, which the message owns. */
struct proto_msg {
    enum proto_type type;
    json_t *body;

    int version; /* hello */
    pid_t pid;
    uint64_t start_time;
    const char *boot_id;
    const char *task;
    const char *digest; /* NULL when absent */

    enum proto_state state; /* state */
    json_t *processes;      /* an object */
    uint64_t seq;           /* state, hook, hook-ack: counted apart */
    uint64_t started_ms;    /* wall clock; 0 unknown */
    uint64_t ended_ms;

    const char *reason; /* state, stop; NULL when absent */
    uint64_t grace_ms;  /* stop */
    const char *op_id;  /* stop; NULL when absent */

    int signum;          /* signal */
    const char *process; /* signal; NULL means all */

    json_t *record;   /* hook: an object */
    uint64_t dropped; /* hook */
};

/* line without its newline; ERR_INVALID says what is wrong, ERR_TOOBIG a long one.
 * On success proto_msg_fini() releases it. */
int proto_parse(const char *line, size_t len, struct proto_msg *ret_msg, struct err *err);
void proto_msg_fini(struct proto_msg *msg);

/* Encoded lines, newline included; the caller's.  NULL text is left out. */
char *proto_stop(uint64_t grace_ms, const char *reason, const char *op_id);
char *proto_signal(const char *signal, const char *process);
char *proto_hook_ack(uint64_t seq);
char *proto_bye(void);

const char *proto_state_name(enum proto_state state);
bool proto_state_terminal(enum proto_state state);

/* ERR_INVALID for another word. */
int proto_state_of(const char *name, enum proto_state *ret_state, struct err *err);

/* "USR1", "SIGUSR1" or "10"; ERR_INVALID for no signal of this system. */
int proto_signal_number(const char *name, int *ret_signum, struct err *err);

/* How long a stop may take until KILL: finalization_wait, and the stop ladder as far as
 * PROTO_STOP_TOTAL_MS has room for it.  lifecycle as in task.json; NULL: no ladder. */
uint64_t proto_ladder_ms(const json_t *lifecycle);
uint64_t proto_stop_total_ms(uint64_t finalization_wait_ms, uint64_t ladder_ms);

/* How much of that is for TERM and final processes: finalization_wait, or what the ladder leaves
 * of the whole where there is not room for both, and half of the whole at least. */
uint64_t proto_stop_signals_ms(uint64_t finalization_wait_ms, uint64_t ladder_ms);

/* What state.json says; text and JSON as in proto_msg. */
struct proto_status {
    struct proto_msg msg; /* the members of hello and of state are set */
    const char *token;
};

/* ERR_NOTFOUND when there is no state.json in home. */
int proto_read_status(const char *home, struct proto_status *ret_status, struct err *err);
void proto_status_fini(struct proto_status *status);
