/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "pod/rotate.h"
#include "pod/taskfile.h"

enum { RUNLOG_STREAMS = 2 }; /* stdout, stderr */

/* All logs of a pod. */
struct runlogs {
    const struct taskfile *task; /* whose user owns them */
    int sandbox_fd;
    struct rotate rotate;
};

/* The outputs of one run; zeroed: none. */
struct runlog {
    struct rotate_log *logs[RUNLOG_STREAMS]; /* NULL: the process writes its file itself */
};

/* Makes the directory of all logs, in the sandbox. */
int runlog_prepare(const struct runlogs *logs, struct err *err);

/* The descriptors are the caller's, also after a failure, which may leave them -1. */
int runlog_open(struct runlog *runlog, struct runlogs *logs, const struct graph_spec *spec,
                unsigned run, int ret_fds[RUNLOG_STREAMS], struct err *err);

/* The run is over: have in the files what it wrote. */
void runlog_drain(const struct runlog *runlog, struct runlogs *logs);
