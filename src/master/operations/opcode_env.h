/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "master/state/state.h"
#include "master/state/steer.h"

/* What opcodes see and change of the master: both NULL while it does not lead. */
struct opcode_env {
    struct state *state;
    struct steer *steer;
};
