/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "pod/rotate.h"
#include "pod/taskfile.h"

enum { RUNLOG_STREAMS = 2 };

/* The outputs of one run; zeroed: none. */
struct runlog {
    struct rotate_log *logs[RUNLOG_STREAMS]; /* NULL: the process writes its file itself */
};

/* Makes the directory of all logs, in the sandbox. */
int runlog_prepare(const struct taskfile *task, int sandbox_fd, struct err *err);

/* *ret_out and *ret_err are the caller's, also after a failure, which may leave them -1. */
int runlog_open(struct runlog *runlog, const struct taskfile *task, int sandbox_fd,
                struct rotate *rotate, const struct graph_spec *spec, unsigned run, int *ret_out,
                int *ret_err, struct err *err);

/* The run is over: have in the files what it wrote. */
void runlog_drain(const struct runlog *runlog, struct rotate *rotate);
