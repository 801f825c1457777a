/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"
#include "cli/cli.h"

/* What an update would do to a job, asked of the master and told as the Aurora client does. */

/* The answer of POST /v1/job-diff: {"add","remove","update","unchanged","from":[...]}; the
 * caller's.  instances NULL: all. */
int preview_ask(struct cli *cli, struct client *client, const json_t *job, const json_t *instances,
                json_t **ret_diff, struct err *err);

/* "This job update will:" and its lines; job (NULL: without) is what the configurations of those
 * that change are compared with. */
void preview_print(const json_t *diff, const json_t *job);
