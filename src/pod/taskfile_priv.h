/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the files of taskfile share:
 *
 *   taskfile.c         who the task is, and its processes
 *   taskfile_health.c  its health checks and its stop ladder
 */

#include "pod/taskfile.h"

#include <jansson.h>

/* After the ports. */
int taskfile_read_check(const json_t *body, struct taskfile *task, struct err *err);
int taskfile_read_ladder(const json_t *body, struct taskfile *task, struct err *err);
void taskfile_free_check(struct taskfile_check *check);
void taskfile_free_ladder(struct taskfile_ladder *ladder);

/* What can be filled into text; borrowed from task. */
struct placeholder_values taskfile_values(const struct taskfile *task);
