/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"
#include "master/lead.h"
#include "master/operations/operations.h"

#include <stdint.h>
#include <uv.h>

/* The HTTP API of docs/architecture.md. */
struct master_api;

struct master_api_options {
    uv_loop_t *loop;
    const char *cluster;
    const char *dir;        /* hooks.db */
    const char *node;       /* How this machine's records are named. */
    const char *token_file; /* For callers, and for agents; NULL: loopback without. */
    struct operations *operations;
};

int master_api_new(const struct master_api_options *options, struct master_api **ret_api,
                   struct err *err);

/* TCP "HOST:PORT" (0 picks) and the unix socket. */
int master_api_listen(struct master_api *api, const char *address, uint16_t *ret_port,
                      struct err *err);
int master_api_listen_unix(struct master_api *api, const char *path, struct err *err);

/* Where the leadership stands is asked of lead.  Set once, before the loop runs. */
void master_api_set_lead(struct master_api *api, struct lead *lead);

/* The term is over: what waits for a change of its state is answered now. */
void master_api_term_ended(struct master_api *api);

typedef void (*master_api_cb)(void *data);
void master_api_close(struct master_api *api, master_api_cb cb, void *data);
