/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "pod/health/health.h"
#include "pod/taskfile.h"

#include <uv.h>

/* The health checks of one pod, really made. */
struct checker;

/* The task became healthy, or failed (then no more comes).  May stop the checker. */
typedef void (*checker_cb)(void *data, enum health_state state, const char *reason);

#define CHECKER_SNOOZE_FILE ".healthchecksnooze"

/* task (which has a check) and sandbox are borrowed, env copied.  Begins with the first attempt. */
struct checker *checker_new(uv_loop_t *loop, const struct taskfile *task, const char *sandbox,
                            char *const *env, checker_cb cb, void *data);

/* No attempt any more; what runs is ended. */
void checker_stop(struct checker *checker);

/* cb fires later on the loop, when nothing of it runs; it is freed then. */
void checker_close(struct checker *checker, void (*cb)(void *data), void *data);
