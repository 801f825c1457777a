/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "http/httpc.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

/* One directory of hooks on many nodes at once, through their agents. */
struct hook_relay;

/* Once, from the loop.  results is an array, one object a node in the order asked for:
 * {"node", "reachable", "error", "runs"}; borrowed for the call.  The relay is gone afterwards. */
typedef void (*hook_relay_cb)(struct hook_relay *relay, json_t *results, void *data);

/* Where the agent of this node listens: "host:port", NULL when it is not alive.  Asked again every
 * second while its answer is awaited: a node that vanishes is given up. */
typedef const char *(*hook_relay_address_fn)(void *data, const char *node);

struct hook_relay_options {
    uv_loop_t *loop;
    struct httpc *httpc;
    const char *token;   /* Bearer; NULL: none.  Copied. */
    const json_t *nodes; /* Names. */
    const json_t *body;  /* Of POST /v1/hooks/run. */
    uint64_t timeout_ms; /* For all of it. */
    hook_relay_address_fn address;
    hook_relay_cb cb;
    void *data;
};

struct hook_relay *hook_relay_start(const struct hook_relay_options *options);

/* Give up every call; the callback comes as ever, later. */
void hook_relay_cancel(struct hook_relay *relay);
