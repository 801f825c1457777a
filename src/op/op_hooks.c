/* SPDX-License-Identifier: Apache-2.0 */

/* op_hooks: runs one directory of operation hooks here, through the hook room.
 *
 * Which directory and when is life.c's; other machines' hooks are the master's
 * to have run.  Kept lazy: an operation without hooks opens no journal.
 *
 * Failures: a journal that cannot be written, or a directory that cannot be
 * read, means that nothing was run, and the caller is told so: it takes that for
 * a veto before the work and for a log line after it.
 * Invariant: cb comes once a start, unless op_hooks_close() came first.
 */

#include "op/op_hooks.h"

#include "base/json.h"
#include "base/log.h"
#include "base/str.h"
#include "base/tree.h"
#include "hook/chain.h"
#include "hook/dir.h"
#include "hook/journal.h"
#include "hook/point.h"
#include "hook/run.h"
#include "op/op_env.h"

enum { KILL_AFTER_MS = 30 * 1000, MAX_KNOWN = 1000 };

struct op_hooks {
    struct op_hooks_options options;
    struct hook_engine *engine;
    struct hook_journal *journal;
    struct hook_chain chain;
    op_hooks_cb cb;
    void *data;
    uv_timer_t timer; /* Tells what was known at once. */
    struct err err;
    bool closing;
    void (*close_cb)(void *data);
    void *close_data;
};

struct op_hooks *op_hooks_new(const struct op_hooks_options *options)
{
    struct op_hooks *hooks = mem_alloc(sizeof *hooks);

    hooks->options = *options;
    (void)uv_timer_init(options->loop, &hooks->timer);
    hooks->timer.data = hooks;
    return hooks;
}

bool op_hooks_any(const struct op_hooks *hooks, const char *event)
{
    struct hook_dir dir = { 0 };
    struct err err = { 0 };
    bool any;

    if (dir_read(HOOK_RULES_GANETI, hooks->options.dir, event, &dir, &err) < 0) {
        return true; /* Running it will say what is wrong. */
    }
    any = dir.n > 0;
    dir_fini(&dir);
    return any;
}

static int open_parts(struct op_hooks *hooks, struct err *err)
{
    if (hooks->journal == NULL && journal_open(hooks->options.journal, &hooks->journal, err) < 0) {
        return err_code(err);
    }
    if (hooks->engine == NULL) {
        hooks->engine = run_engine_new(hooks->options.loop, TREE_AUTO);
    }
    return 0;
}

static void on_told(uv_timer_t *timer)
{
    struct op_hooks *hooks = timer->data;

    hooks->cb(hooks->err.code < 0 ? &hooks->err : NULL, NULL, 0, hooks->data);
}

static void on_chain(struct hook_chain *chain)
{
    struct op_hooks *hooks = chain->data;
    struct hook_chain ended = TAKE(*chain); /* The callback may start the next one. */
    bool verdict = ended.err.code == 0 || ended.err.code == ERR_REFUSED;

    if (!hooks->closing) {
        hooks->cb(verdict ? NULL : &ended.err, ended.records, ended.n_records, hooks->data);
    }
    chain_fini(&ended);
}

/* Has this hook ended under this token, according to the journal's items? */
static bool has_ended(const json_t *items, const char *name)
{
    size_t i;
    json_t *item;

    json_array_foreach((json_t *)items, i, item)
    {
        const char *outcome = json_str_or(item, "outcome", NULL);

        if (outcome != NULL && !str_eq(outcome, record_outcome_name(HOOK_LOST)) &&
            str_eq(json_str_or(item, "hook", ""), name)) {
            return true;
        }
    }
    return false;
}

/* Did an earlier davit-op see all of them end?  When the journal cannot say, no. */
static bool all_ended(struct op_hooks *hooks, const struct op_hooks_spec *spec)
{
    CLEANUP(mem_freep) char *token = str_printf("%s.%s", spec->token, spec->event);
    struct journal_query query = { .token = token, .op_id = spec->op_id, .limit = MAX_KNOWN };
    CLEANUP(json_freep) json_t *items = NULL;
    struct hook_dir dir = { 0 };
    struct err err = { 0 };
    int64_t next;
    bool all = true;

    if (journal_query(hooks->journal, &query, &items, &next, &err) < 0 ||
        dir_read(HOOK_RULES_GANETI, hooks->options.dir, spec->event, &dir, &err) < 0) {
        return false;
    }
    for (size_t i = 0; i < dir.n && all; i++) {
        all = dir.entries[i].verdict != HOOK_ENTRY_RUN || has_ended(items, dir.entries[i].name);
    }
    dir_fini(&dir);
    return all;
}

static void start_chain(struct op_hooks *hooks, const struct op_hooks_spec *spec)
{
    const struct hook_point *point = point_find(HOOK_OPERATION, spec->event);
    CLEANUP(strv_freep) char **env = op_env_strv(spec->env);
    struct hook_record context = { 0 };
    uint64_t term_ms = hooks->options.term_ms;

    record_init(&context, false);
    record_set(&context.level, point_level_name(HOOK_OPERATION));
    record_set(&context.event, spec->event);
    record_set(&context.phase, spec->post ? "post" : "pre");
    record_set(&context.op_id, spec->op_id);
    record_set(&context.job, spec->job);
    record_set(&context.node, hooks->options.node);
    context.op_number = spec->number;
    context.opcode_index = spec->index;
    context.attempt = spec->attempt;
    if (term_ms == 0 && point != NULL) {
        term_ms = point->term_ms;
    }
    chain_start(&hooks->chain, hooks->engine,
                &(struct hook_chain_spec){
                    .rules = HOOK_RULES_GANETI,
                    .base = hooks->options.dir,
                    .event = spec->event,
                    .policy = spec->post ? HOOK_POLICY_LOG : HOOK_POLICY_JUDGE,
                    .context = &context,
                    .token_base = spec->token,
                    .env = (const char *const *)env,
                    .cwd = "/",
                    .term_ms = term_ms,
                    .kill_ms = term_ms + KILL_AFTER_MS,
                },
                journal_sink(hooks->journal), on_chain);
    record_fini(&context);
}

void op_hooks_start(struct op_hooks *hooks, const struct op_hooks_spec *spec, op_hooks_cb cb,
                    void *data)
{
    hooks->cb = cb;
    hooks->data = data;
    hooks->err.code = 0;
    hooks->chain = (struct hook_chain){ .data = hooks };
    if (!op_hooks_any(hooks, spec->event) || open_parts(hooks, &hooks->err) < 0 ||
        (spec->again && all_ended(hooks, spec))) {
        (void)uv_timer_start(&hooks->timer, on_told, 0, 0);
        return;
    }
    start_chain(hooks, spec);
}

/* What a lost run may have left alive, by the token that its processes carry. */
static void kill_left(const json_t *lost)
{
    size_t i;
    json_t *item;

    json_array_foreach((json_t *)lost, i, item)
    {
        const char *run_id = json_str_or(item, "run_id", NULL);

        if (run_id != NULL) {
            CLEANUP(tree_freep) struct tree *tree = tree_adopt(run_id);

            tree_signal(tree, SIGKILL);
        }
    }
}

void op_hooks_recover(struct op_hooks *hooks)
{
    CLEANUP(json_freep) json_t *lost = NULL;
    struct err err = { 0 };

    if (open_parts(hooks, &err) < 0 || journal_recover(hooks->journal, &lost, &err) < 0) {
        log_warn("cannot tidy the journal after a crash: %s", err.msg);
        return;
    }
    kill_left(lost);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct op_hooks *hooks = handle->data;
    void (*cb)(void *data) = hooks->close_cb;
    void *data = hooks->close_data;

    journal_close(hooks->journal);
    free(hooks);
    cb(data);
}

static void on_engine_closed(void *data)
{
    struct op_hooks *hooks = data;

    uv_close((uv_handle_t *)&hooks->timer, on_timer_closed);
}

void op_hooks_close(struct op_hooks *hooks, void (*cb)(void *data), void *data)
{
    hooks->closing = true;
    hooks->close_cb = cb;
    hooks->close_data = data;
    if (hooks->engine != NULL) {
        run_engine_close(hooks->engine, on_engine_closed, hooks);
    } else {
        on_engine_closed(hooks);
    }
}
