/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

/* A whole cluster as children of this process: store, master, agents. */
struct uplocal;

/* What `davit up` was told; texts are borrowed for the cluster's life. */
struct uplocal_options {
    const char *dir;     /* absolute; made when absent */
    const char *cluster; /* its name */
    const char *zk;      /* an existing ensemble, NULL: our own davit-store */
    int nodes;
    unsigned wait_s;        /* give up when not everything is ready by then */
    int port;               /* of the master's API; 0: the remembered or a free one */
    char **node_options;    /* given on to every agent: --cpus ... (strv) */
    char **node_attributes; /* "[NODE:]NAME=VALUE" (strv), NULL for none */
    char **master_options;  /* given on to the master (strv), NULL for none */
};

/* Once: everything serves (err->code 0), or it could not be started; then the cluster is
 * already stopped again. */
typedef void (*uplocal_ready_cb)(struct uplocal *up, const struct err *err, void *data);
/* Once: nothing of it runs any more, and it is freed. */
typedef void (*uplocal_stopped_cb)(void *data);

/* Lay out the directory and take its lock.  ERR_CONFLICT when another one runs on it. */
int uplocal_new(uv_loop_t *loop, const struct uplocal_options *options, struct uplocal **ret_up,
                struct err *err);

/* Start it; ready and stopped come later, from the loop or from within uplocal_stop(). */
void uplocal_start(struct uplocal *up, uplocal_ready_cb ready, uplocal_stopped_cb stopped,
                   void *data);

/* Stop master, then agents with their pods, then the store. */
void uplocal_stop(struct uplocal *up);

/* "http://127.0.0.1:PORT" once ready. */
const char *uplocal_uri(const struct uplocal *up);
