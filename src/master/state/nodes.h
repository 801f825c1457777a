/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "master/state/state.h"
#include "master/state/steer.h"

#include <stdint.h>

/* Follows /davit/nodes and /davit/reality, and tells steer what agents say. */
struct nodes;

struct nodes_options {
    struct state *state;
    struct steer *steer;
    uint64_t lost_ms; /* A node that is away this long has lost its tasks. */
};

/* state and steer outlive it. */
struct nodes *nodes_new(const struct nodes_options *options);

typedef void (*nodes_cb)(void *data);
void nodes_close(struct nodes *nodes, nodes_cb cb, void *data);
