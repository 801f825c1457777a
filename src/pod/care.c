/* SPDX-License-Identifier: Apache-2.0 */

/* care: looks after a pod whose processes run, as far as its task asks for it.
 *
 * Health checks are checker.c's, the disk is usage.c's, memory supervise.c's; here they are
 * joined into two events.  What follows from them is lifecycle.c's.
 *
 * Happy path of most pods: no check, and one cheap look at the disk every 15 s.
 * Invariants: after care_stop() there is no event; a failure is told once.
 */
#include "pod/care.h"

#include "base/mem.h"
#include "base/str.h"
#include "pod/health/checker.h"
#include "pod/usage.h"

struct care {
    uv_loop_t *loop;
    const struct taskfile *task;
    struct supervise *supervise;
    struct care_events events;
    struct checker *checker; /* NULL: no health checks */
    struct usage *usage;     /* NULL: nobody looks */
    bool stopped;
    bool healthy;
    char *reason;

    uv_idle_t later; /* closing without a part */
    unsigned open_parts;
    void (*on_closed)(void *data);
    void *closed_data;
};

static void fail(struct care *care, const char *reason)
{
    care_stop(care);
    care->events.failed(care->events.ctx, reason);
}

static void on_health(void *data, enum health_state state, const char *reason)
{
    struct care *care = data;

    if (care->stopped) {
        return;
    }
    if (state == HEALTH_FAILED) {
        fail(care, reason);
        return;
    }
    free(care->reason);
    care->reason = mem_strdup(reason);
    care->healthy = true;
    care->events.changed(care->events.ctx);
}

static void on_used(void *data, uint64_t used_bytes)
{
    struct care *care = data;
    uint64_t reserved = care->task->disk_bytes;

    if (care->stopped) {
        return;
    }
    supervise_check_memory(care->supervise);
    if (reserved > 0 && used_bytes > reserved && care->task->graph->stage == GRAPH_ACTIVE) {
        CLEANUP(mem_freep)
        char *reason = str_printf("Disk limit exceeded.  Reserved %llu bytes vs used %llu bytes.",
                                  (unsigned long long)reserved, (unsigned long long)used_bytes);

        fail(care, reason);
    }
}

struct care *care_new(uv_loop_t *loop, const struct taskfile *task, struct supervise *supervise,
                      uint64_t usage_every_ms, const struct care_events *events)
{
    struct care *care = mem_alloc(sizeof(*care));
    const char *sandbox = supervise_sandbox(supervise);

    care->loop = loop;
    care->task = task;
    care->supervise = supervise;
    care->events = *events;
    care->healthy = !task->check;
    if (task->check) {
        CLEANUP(strv_freep) char **env = supervise_env(supervise);

        care->checker = checker_new(loop, task, sandbox, env, on_health, care);
    }
    if (usage_every_ms > 0 && (task->disk_bytes > 0 || task->ram_bytes > 0)) {
        care->usage = usage_new(loop, sandbox, usage_every_ms, on_used, care);
    }
    return care;
}

const char *care_reason(const struct care *care)
{
    return care->reason;
}

bool care_is_healthy(const struct care *care)
{
    return care->healthy;
}

void care_stop(struct care *care)
{
    if (!care->stopped && care->checker) {
        checker_stop(care->checker);
    }
    care->stopped = true;
}

static void part_closed(void *data)
{
    struct care *care = data;

    if (--care->open_parts > 0) {
        return;
    }
    void (*cb)(void *data) = care->on_closed;
    void *cb_data = care->closed_data;

    free(care->reason);
    free(care);
    cb(cb_data);
}

static void on_later_closed(uv_handle_t *handle)
{
    part_closed(handle->data);
}

void care_close(struct care *care, void (*cb)(void *data), void *data)
{
    care_stop(care);
    care->on_closed = cb;
    care->closed_data = data;
    care->open_parts = 1;
    if (care->checker) {
        care->open_parts++;
        checker_close(care->checker, part_closed, care);
    }
    if (care->usage) {
        care->open_parts++;
        usage_close(care->usage, part_closed, care);
    }
    care->later.data = care;
    (void)uv_idle_init(care->loop, &care->later);
    uv_close((uv_handle_t *)&care->later, on_later_closed);
}
