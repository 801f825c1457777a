/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"
#include "cli/cli.h"

/* The value of --wait-until: PENDING, RUNNING or FINISHED, else ERR_USAGE. */
int job_wait_check(const char *goal, struct err *err);

/* Waits until every instance that the operation made has come to the goal: RUNNING is reached by
 * any live or ended task, FINISHED by any ended one.  whole_job: it made all of the job. */
int job_wait_until(struct cli *cli, struct client *client, const struct cli_key *key,
                   const char *op_id, bool whole_job, const char *goal, struct err *err);
