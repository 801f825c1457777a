/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "master/state/state.h"
#include "master/state/steer.h"

#include <stdint.h>

/* Looks after the nodes whose mode is draining, as long as a term lasts. */
struct drain;

struct drain_options {
    struct state *state;
    struct steer *steer;
    uint64_t coordinator_retry_ms;
};

enum { DRAIN_COORDINATOR_RETRY_MS = 30 * 1000 };

/* state and steer outlive it. */
struct drain *drain_new(const struct drain_options *options);

typedef void (*drain_cb)(void *data);
void drain_close(struct drain *drain, drain_cb cb, void *data);
