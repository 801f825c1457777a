/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "master/state/state.h"
#include "master/state/steer.h"
#include "master/updater/updates.h"

struct crons;
struct operations;

/* What opcodes see and change of the master: all but operations NULL while it does not lead. */
struct opcode_env {
    struct state *state;
    struct steer *steer;
    struct updates *updates;
    struct crons *crons;
    const struct operations *operations;
};
