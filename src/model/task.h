/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"
#include "base/mem.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One run of one instance of a job: what /davit/tasks/<2 hex>/<id> says.
 * Its state is one of Aurora's, with Aurora's number. */
/* clang-format off */
#define TASK_TABLE(X)              \
    X(TASK_INIT,        11)        \
    X(TASK_THROTTLED,   16)        \
    X(TASK_PENDING,      0)        \
    X(TASK_ASSIGNED,     9)        \
    X(TASK_STARTING,     1)        \
    X(TASK_RUNNING,      2)        \
    X(TASK_PREEMPTING,  13)        \
    X(TASK_RESTARTING,  12)        \
    X(TASK_DRAINING,    17)        \
    X(TASK_KILLING,      6)        \
    X(TASK_PARTITIONED, 18)        \
    X(TASK_FINISHED,     3)        \
    X(TASK_FAILED,       4)        \
    X(TASK_KILLED,       5)        \
    X(TASK_LOST,         7)
/* clang-format on */

enum task_status {
#define X(name, number) name,
    TASK_TABLE(X)
#undef X
        TASK_N_STATUS,
};

/* "RUNNING"; and back, false for an unknown word. */
const char *task_status_name(enum task_status status);
bool task_status_parse(const char *name, enum task_status *ret_status);
int task_status_number(enum task_status status); /* Aurora's wire number. */

bool task_is_terminal(enum task_status status);
bool task_is_active(enum task_status status); /* Neither terminal nor INIT. */
bool task_is_live(enum task_status status);   /* Aurora's LIVE: may be running. */

struct task_event {
    uint64_t time_ms; /* Wall clock. */
    enum task_status status;
    char *message; /* NULL for none. */
};

struct task_port {
    char *name;
    int port;
};

struct task {
    char *id;
    char *job; /* Its key as text. */
    int instance;
    char *config; /* Hash of its job configuration. */
    enum task_status status;
    char *node; /* NULL until it is assigned. */
    struct task_port *ports;
    size_t n_ports;
    struct task_event *events; /* Oldest first. */
    size_t n_events;
    int failures;
    char *ancestor;         /* Id of the run before this one, NULL for the first. */
    char *op_id;            /* Operation that made it. */
    uint64_t not_before_ms; /* THROTTLED: wall time at which it may be PENDING. */
};

enum { TASK_DOC_VERSION = 1, TASK_MAX_EVENTS = 64, TASK_MESSAGE_MAX = 5000, TASK_ID_MAX = 1100 };

void task_init(struct task *task);
void task_fini(struct task *task);

/* Sets status and appends its event (at most TASK_MESSAGE_MAX bytes of message); beyond
 * TASK_MAX_EVENTS the oldest but the first goes. */
void task_add_event(struct task *task, uint64_t wall_ms, enum task_status status,
                    const char *message);
void task_add_port(struct task *task, const char *name, int port);

/* -1 when it has no such port. */
int task_port(const struct task *task, const char *name);

/* The store document; the caller's reference. */
json_t *task_encode(const struct task *task);
/* task is zeroed.  ERR_UNSUPPORTED for a later version. */
int task_decode(const json_t *doc, struct task *task, struct err *err);

/* <role>-<env>-<name>-<instance>-<uuid4>; the caller's. */
char *task_make_id(const char *role, const char *env, const char *name, int instance);

/* The folder of /davit/tasks that holds id: first byte of SHA-256(id) in hex. */
void task_folder(const char *id, char ret[3]);
