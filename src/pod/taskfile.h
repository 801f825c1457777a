/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"
#include "base/mem.h"
#include "pod/graph.h"
#include "pod/health/health.h"
#include "pod/placeholder.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* How the pod is checked: by a command, or else by HTTP. */
struct taskfile_check {
    struct health_config health;
    uint64_t timeout_ms;
    char *command; /* NULL: HTTP; placeholders are filled in */
    int port;
    char *endpoint;
    char *expected;
    int expected_code; /* 0: any */
};

/* Whom a stop asks to leave before it signals. */
struct taskfile_ladder {
    int port;
    char *graceful_path;
    char *shutdown_path;
    uint64_t graceful_wait_ms;
    uint64_t shutdown_wait_ms;
    uint64_t total_ms;
};

/* task.json, checked; pod/proto.h says what each member means. */
struct taskfile {
    char *id;
    char *digest; /* NULL when not given; so are job, op_id, node */
    char *job;
    char *op_id;
    char *node;
    char *hostname;
    int64_t instance;
    struct placeholder_port *ports;
    size_t n_ports;

    char *user;
    char *path;
    char *token;
    char **env; /* NAME=text */
    bool set_user;
    uid_t uid;
    gid_t gid;
    gid_t *groups;
    size_t n_groups;

    uint64_t cpu_milli; /* 0: no limit, as of the others */
    uint64_t ram_bytes;
    uint64_t disk_bytes;

    uint64_t hook_grace_ms;
    uint64_t check_every_ms; /* 0: no checks */
    unsigned checks;

    struct taskfile_check *check;   /* NULL: none */
    struct taskfile_ladder *ladder; /* NULL: none */
    struct graph *graph;            /* placeholders are filled in */
};

/* ERR_CONFIG says what is wrong with it, and where. */
int taskfile_parse(const char *bytes, size_t len, struct taskfile **ret_task, struct err *err);
int taskfile_load(const char *home, struct taskfile **ret_task, struct err *err);
void taskfile_free(struct taskfile *task);
DEFINE_FREEP(struct taskfile, taskfile_free)
