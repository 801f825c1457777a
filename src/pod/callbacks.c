/* SPDX-License-Identifier: Apache-2.0 */

/* callbacks: the pod level of hooks, by programs.
 *
 * Finding, running and recording is the hook room's; here is what is the pod's own: the
 * question as JSON on stdin, the user they run as, and a sink that hands each record on.
 * What a failure means is lifecycle.c's.
 * Invariant: without a program for an event no engine exists and nothing was allocated.
 */
#include "pod/callbacks.h"

#include "base/json.h"
#include "base/str.h"
#include "hook/chain.h"

#include <string.h>

struct callbacks {
    uv_loop_t *loop;
    char *dir; /* NULL: none */
    const struct taskfile *task;
    struct callbacks_events events;
    struct hook_engine *engine; /* from the first program on */
    struct hook_sink sink;
    struct hook_chain chain;
    bool running;
    uint64_t calls; /* tells the tokens of repeated events apart */
    void (*on_closed)(void *data);
    void *closed_data;
    uv_idle_t later; /* closing without an engine */
};

static void hand_on(struct callbacks *callbacks, const struct hook_record *record)
{
    CLEANUP(json_freep) json_t *json = record_to_json(record);

    callbacks->events.record(callbacks->events.ctx, json);
}

static int on_intents(void *ctx, const struct hook_record *records, size_t n, struct err *err)
{
    (void)err;
    for (size_t i = 0; i < n; i++) {
        hand_on(ctx, &records[i]);
    }
    return 0;
}

static int on_change(void *ctx, const struct hook_record *record, struct err *err)
{
    (void)err;
    hand_on(ctx, record);
    return 0;
}

struct callbacks *callbacks_new(uv_loop_t *loop, const char *dir, const struct taskfile *task,
                                const struct callbacks_events *events)
{
    struct callbacks *callbacks = mem_alloc(sizeof(*callbacks));

    callbacks->loop = loop;
    callbacks->dir = mem_strdup_opt(dir);
    callbacks->task = task;
    callbacks->events = *events;
    callbacks->sink = (struct hook_sink){ callbacks, on_intents, on_change, on_change };
    return callbacks;
}

static char *question(const struct taskfile *task, const char *event, const json_t *processes)
{
    CLEANUP(json_freep) json_t *body = json_object();
    json_t *ports = json_object();

    for (size_t i = 0; i < task->n_ports; i++) {
        json_put_int(ports, task->ports[i].name, task->ports[i].number);
    }
    json_put_str(body, "event", event);
    json_put_str(body, "task", task->id);
    json_put_str(body, "job", task->job);
    json_put_int(body, "instance", task->instance);
    json_put_str(body, "hostname", task->hostname);
    json_put_take(body, "ports", ports);
    json_put_take(body, "processes", json_incref((json_t *)processes));
    CLEANUP(mem_freep) char *text = json_text_ordered(body);
    return str_printf("%s\n", text);
}

/* Nothing to run is the usual case, so it is found out without an engine. */
static bool has_programs(const struct callbacks *callbacks, const char *event)
{
    struct hook_dir found = { 0 };
    struct err err = { 0 };

    if (!callbacks->dir) {
        return false;
    }
    if (dir_read(HOOK_RULES_POD, callbacks->dir, event, &found, &err) < 0) {
        return true; /* The chain meets it again and tells it as its outcome. */
    }
    bool any = found.n > 0;
    dir_fini(&found);
    return any;
}

static void on_chain(struct hook_chain *chain)
{
    struct callbacks *callbacks = chain->data;
    CLEANUP(mem_freep) char *why = NULL;

    if (chain->culprit) {
        const struct hook_record *record = chain->culprit;

        why = record->error ? str_printf("hook %s: %s", record->hook, record->error)
                            : str_printf("hook %s ended with status %lld", record->hook,
                                         (long long)record->exit_code);
    } else if (chain->err.code < 0) {
        why = mem_strdup(chain->err.msg);
    }
    chain_fini(chain);
    callbacks->running = false;
    callbacks->events.done(callbacks->events.ctx, why);
}

bool callbacks_start(struct callbacks *callbacks, const char *event, const json_t *processes,
                     const char *sandbox, char *const *env, uint64_t term_ms, uint64_t kill_ms)
{
    const struct taskfile *task = callbacks->task;

    if (!has_programs(callbacks, event)) {
        return false;
    }
    if (!callbacks->engine) {
        enum tree_rung best = tree_best_rung();
        /* A callback that is process 1 would not feel TERM; we are its subreaper anyway. */
        callbacks->engine =
            run_engine_new(callbacks->loop, best == TREE_PIDNS ? TREE_SWEEP : TREE_AUTO);
        run_engine_spare_orphans(callbacks->engine); /* Those of the task. */
    }
    const struct hook_point *point = point_find(HOOK_POD, event);
    CLEANUP(mem_freep) char *input = question(task, event, processes);
    CLEANUP(mem_freep)
    char *token = str_printf("%s.%llu", task->token, (unsigned long long)callbacks->calls++);
    struct hook_record context;

    record_init(&context, false);
    record_set(&context.level, point_level_name(HOOK_POD));
    record_set(&context.event, event);
    record_set(&context.op_id, task->op_id);
    record_set(&context.job, task->job);
    context.instance = task->instance;
    record_set(&context.task, task->id);
    record_set(&context.node, task->node);
    const struct hook_chain_spec spec = {
        .rules = HOOK_RULES_POD,
        .base = callbacks->dir,
        .event = event,
        .policy = point ? point->policy : HOOK_POLICY_STOP,
        .context = &context,
        .token_base = token,
        .add_tokens = true,
        .env = (const char *const *)env,
        .cwd = sandbox,
        .input = input,
        .input_len = strlen(input),
        .wants_answer = true,
        .term_ms = term_ms,
        .kill_ms = kill_ms,
        .set_user = task->set_user,
        .uid = task->uid,
        .gid = task->gid,
        .groups = task->groups,
        .n_groups = task->n_groups,
    };
    callbacks->running = true;
    callbacks->chain.data = callbacks;
    chain_start(&callbacks->chain, callbacks->engine, &spec, &callbacks->sink, on_chain);
    record_fini(&context);
    return true;
}

void callbacks_cancel(struct callbacks *callbacks)
{
    if (callbacks->running) {
        chain_cancel(&callbacks->chain);
    }
}

static void gone(void *data)
{
    struct callbacks *callbacks = data;
    void (*cb)(void *data) = callbacks->on_closed;
    void *cb_data = callbacks->closed_data;

    free(callbacks->dir);
    free(callbacks);
    cb(cb_data);
}

static void on_later_closed(uv_handle_t *handle)
{
    gone(handle->data);
}

void callbacks_close(struct callbacks *callbacks, void (*cb)(void *data), void *data)
{
    callbacks->on_closed = cb;
    callbacks->closed_data = data;
    if (callbacks->engine) {
        run_engine_close(callbacks->engine, gone, callbacks);
        return;
    }
    callbacks->later.data = callbacks;
    (void)uv_idle_init(callbacks->loop, &callbacks->later);
    uv_close((uv_handle_t *)&callbacks->later, on_later_closed);
}
