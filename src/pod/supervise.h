/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"
#include "base/mem.h"
#include "pod/graph.h"
#include "pod/taskfile.h"

#include <jansson.h>
#include <uv.h>

/* The processes of one task, really run. */
struct supervise;

/* Something of the graph has changed: look, soon.  May be called from inside the
 * functions below. */
typedef void (*supervise_cb)(void *data);

/* Borrows task, whose graph it drives.  This process must be a child subreaper. */
struct supervise *supervise_new(uv_loop_t *loop, const char *home, struct taskfile *task,
                                supervise_cb changed, void *data);

/* Events of the graph of the same names. */
void supervise_begin(struct supervise *supervise);
void supervise_stop(struct supervise *supervise, uint64_t grace_ms, const char *reason);
void supervise_fail(struct supervise *supervise, const char *reason);
void supervise_leave(struct supervise *supervise, bool failed, const char *reason,
                     uint64_t leave_ms, uint64_t clean_ms);

/* Fails the task if the kernel killed one of its processes for want of memory.  Looked for at the
 * end of each run as well; this is for those that the runs' own processes start. */
void supervise_check_memory(struct supervise *supervise);

/* To one process's session, or to those of all that run (NULL); ERR_NOTFOUND, ERR_CONFLICT when
 * it does not run. */
int supervise_signal(struct supervise *supervise, const char *process, int signum, struct err *err);

/* {NAME: {"state", "runs", ...}} as in pod/proto.h; the caller's. */
json_t *supervise_processes(const struct supervise *supervise);

/* What every process and hook of the pod has in its environment; the caller's. */
char **supervise_env(const struct supervise *supervise);
const char *supervise_sandbox(const struct supervise *supervise);

/* Only in GRAPH_IDLE or GRAPH_DONE.  cb fires later on the loop; it is freed then. */
void supervise_close(struct supervise *supervise, void (*cb)(void *data), void *data);
