/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"
#include "cli/cli.h"

/* How one operation is asked for and followed to its end. */
struct operation {
    char id[40];       /* Made by the client, also the Idempotency-Key. */
    json_t *hook_runs; /* Client-level records of the pre hooks, sent with the call; may be NULL. */
    json_t *record;    /* The operation as the master has it at the end; NULL before. */
};

void operation_init(struct operation *operation);
void operation_fini(struct operation *operation);

/* POST one opcode (taken) and wait until the operation is over, with progress.  0 when it
 * succeeded.  ERR_REFUSED names the hook that vetoed; ERR_FAILED carries the opcode's
 * error; an answer that the master refused at once has the master's code. */
int operation_run(struct cli *cli, struct client *client, struct operation *operation,
                  json_t *opcode, const char *what, struct err *err);
