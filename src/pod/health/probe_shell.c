/* SPDX-License-Identifier: Apache-2.0 */

/* probe_shell: one run of a health check's command.
 *
 * Processes, deadlines and output are the hook engine's, which kills whole trees and never
 * waits for a pipe that somebody keeps open; here its record becomes a verdict.  The runs are no
 * hook runs: no record of them goes anywhere.  A command has the limits of its task, but beside
 * the task: a check that is hungry is a failed check, not a task out of memory.
 */
#include "pod/health/probe_shell.h"

#include "base/mem.h"
#include "base/str.h"

#include <ctype.h>
#include <string.h>

enum { COMMAND_SHOWN = 200, OUTPUT_SHOWN = 256, UMASK = 022 };

char *probe_shell_verdict(const char *command, const struct hook_record *record)
{
    const char *output = record->output_head ? record->output_head : "";
    size_t len = strlen(output);

    if (record->timed_out) {
        return mem_strdup("Health check timed out.");
    }
    if (record->outcome == HOOK_UNSTARTABLE) {
        return str_printf("Command '%.*s' could not be started: %.*s", COMMAND_SHOWN, command,
                          OUTPUT_SHOWN, record->error ? record->error : "");
    }
    if (record->signal == 0 && record->exit_code == 0) {
        return NULL;
    }
    while (len > 0 && isspace((unsigned char)output[len - 1])) {
        len--;
    }
    return str_printf("Command '%.*s%s' returned non-zero exit status %lld with output '%.*s%s'",
                      COMMAND_SHOWN, command, strlen(command) > COMMAND_SHOWN ? "..." : "",
                      (long long)(record->signal > 0 ? -record->signal : record->exit_code),
                      (int)(len < OUTPUT_SHOWN ? len : OUTPUT_SHOWN), output,
                      len > OUTPUT_SHOWN ? "..." : "");
}

static void on_run(struct hook_run *run)
{
    struct probe_shell *probe = run->data;

    probe->canceled = run->err.code == ERR_CANCELED;
    probe->why = probe->canceled ? NULL : probe_shell_verdict(probe->command, &probe->record);
    run_fini(run);
    record_fini(&probe->record);
    free(probe->command);
    probe->command = NULL;
    probe->cb(probe); /* Last: the callback may start it again. */
}

void probe_shell_start(struct probe_shell *probe, struct hook_engine *engine,
                       const struct probe_shell_spec *spec, probe_shell_cb cb)
{
    const struct taskfile *task = spec->task;
    const char *const argv[] = { "/bin/bash", "-c", spec->command, NULL };
    const struct hook_spec run = {
        .path = argv[0],
        .argv = argv,
        .env = (const char *const *)spec->env,
        .cwd = spec->sandbox,
        .term_ms = spec->timeout_ms,
        .kill_ms = spec->timeout_ms + 1, /* A check has nothing to clean up, */
        .go_on_at_term = true,           /* and one that cannot be killed is a failed one. */
        .set_user = task->set_user,
        .uid = task->uid,
        .gid = task->gid,
        .groups = task->groups,
        .n_groups = task->n_groups,
        .set_umask = true,
        .umask = UMASK,
        .limits = { .cpu_milli = task->cpu_milli, .mem_bytes = task->ram_bytes },
    };

    *probe = (struct probe_shell){ .data = probe->data, .cb = cb };
    probe->command = mem_strdup(spec->command);
    record_init(&probe->record, true);
    record_set(&probe->record.hook, "health check");
    probe->run.data = probe;
    run_start(&probe->run, engine, &run, &probe->record, NULL, on_run);
}

void probe_shell_cancel(struct probe_shell *probe)
{
    if (probe->command) {
        run_cancel(&probe->run);
    }
}

void probe_shell_fini(struct probe_shell *probe)
{
    free(probe->why);
    probe->why = NULL;
}
