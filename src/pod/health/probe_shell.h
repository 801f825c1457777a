/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "hook/run.h"
#include "pod/taskfile.h"

/* One run of a health check's command, as the pod's user, in its sandbox. */

struct probe_shell;
typedef void (*probe_shell_cb)(struct probe_shell *probe);

/* Caller-owned; keep it alive and in place until the callback has fired. */
struct probe_shell {
    void *data;
    char *why; /* NULL: status 0 in time.  The probe's; probe_shell_fini() frees it */
    bool canceled;

    /* Private to probe_shell.c. */
    char *command;
    struct hook_run run;
    struct hook_record record;
    probe_shell_cb cb;
};

/* Borrowed until probe_shell_start() returns. */
struct probe_shell_spec {
    const struct taskfile *task; /* whose user it runs as */
    const char *command;
    const char *sandbox;
    char *const *env;
    uint64_t timeout_ms;
};

/* cb fires exactly once, later on the loop.  The command has timeout_ms; then it is
 * killed, with everything that it started. */
void probe_shell_start(struct probe_shell *probe, struct hook_engine *engine,
                       const struct probe_shell_spec *spec, probe_shell_cb cb);

/* Ends it early; canceled tells.  Nothing once an outcome is known. */
void probe_shell_cancel(struct probe_shell *probe);
void probe_shell_fini(struct probe_shell *probe);

/* NULL, or what the end of the command says against the task; the caller's. */
char *probe_shell_verdict(const char *command, const struct hook_record *record);
