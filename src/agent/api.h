/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "agent/logs.h"
#include "agent/pods.h"
#include "coord/zk.h"
#include "hook/journal.h"
#include "hook/run.h"
#include "http/httpd.h"

/* The agent's HTTP resources, as docs/architecture.md lists them. */
struct api {
    /* Set by the owner before api_routes(); borrowed. */
    struct pods *pods;
    struct logs *logs;
    struct hook_engine *engine;
    struct hook_journal *journal;
    struct zk *zk;
    const char *node;
    const char *hooks_dir; /* of operation hooks */

    /* Private to api.c. */
    struct op_hooks *running; /* uthash */
};

/* For httpd_options; its ctx is the api. */
const struct httpd_route *api_routes(size_t *ret_n);
