/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "master/state/state.h"
#include "master/state/steer.h"
#include "master/updater/updates.h"

struct crons;

/* What opcodes see and change of the master: all NULL while it does not lead. */
struct opcode_env {
    struct state *state;
    struct steer *steer;
    struct updates *updates;
    struct crons *crons;
};
