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

/* One call, made again for some seconds while no master answers: for requests that may be repeated.
 * ret_result as cli_request(). */
int operation_request(struct cli *cli, struct client *client, const char *method, const char *path,
                      const json_t *body, json_t **ret_result, struct err *err);

bool operation_is_over(const json_t *record);

/* 0 when it succeeded, else as operation_run() says. */
int operation_verdict(const json_t *record, struct err *err);

/* Waits until it is over, with progress; *record is replaced by its newer versions. */
int operation_follow(struct cli *cli, struct client *client, json_t **record, const char *what,
                     struct err *err);

void operation_init(struct operation *operation);
void operation_fini(struct operation *operation);

/* POST one opcode, or an array of them (taken).  0: the operation was accepted. */
int operation_start(struct cli *cli, struct client *client, struct operation *operation,
                    json_t *opcode, struct err *err);

/* POST one opcode, or an array of them (taken), and wait until the operation is over, with
 * progress.  0 when it succeeded.  ERR_REFUSED names the hook that vetoed; ERR_FAILED carries the
 * opcode's error; an answer that the master refused at once has the master's code. */
int operation_run(struct cli *cli, struct client *client, struct operation *operation,
                  json_t *opcode, const char *what, struct err *err);
