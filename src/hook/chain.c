/* SPDX-License-Identifier: Apache-2.0 */

/* chain: all hooks of one event in one directory, in order, and what they decide.
 *
 * How one program runs is run.c's; which there are is dir.c's; what a refusal means is the
 * caller's.
 *
 *   chain_start(): list, intents of all in one call of the sink
 *   --> run 0, run 1, ... --end, stopped by the policy, cancel--> closing --> cb.
 *
 * Happy path: each run's callback starts the next; after the last the policy judges.
 * Failure: without a readable directory or a kept intent nothing is run at all.
 * Invariants: each listed entry has a record, whether it ran or not, and what was not
 * reached is closed as skipped; a hook's token depends only on the base given, the event and
 * its name, so a retry has the same.
 */
#include "hook/chain.h"

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

#include <string.h>

struct chain_state {
    struct hook_chain *chain;
    struct hook_engine *engine;
    const struct hook_sink *sink;
    struct hook_dir dir;
    struct hook_chain_spec spec; /* Its pointers are our copies. */
    char **env, **required;
    char *cwd;
    void *input;
    gid_t *groups;
    char *op_id;
    size_t at; /* The entry that runs, or is next. */
    struct hook_run run;
    bool running;
    bool canceled;
    bool finished;
    uv_timer_t timer; /* Takes the first step and the last off the caller's stack. */
};

static void on_run(struct hook_run *run);

/* <base>.<event>.<hook> in letters, digits and "._-": it becomes a variable's value and
 * part of URLs. */
static char *make_token(const char *base, const char *event, const char *hook)
{
    char *token = str_printf("%s.%s.%s", base, event, hook);

    for (char *at = token; *at != '\0'; at++) {
        if (strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-", *at) ==
            NULL) {
            *at = '_';
        }
    }
    return token;
}

static void make_record(struct chain_state *state, const struct hook_entry *entry,
                        struct hook_record *record)
{
    const struct hook_chain_spec *spec = &state->spec;
    struct hook_record fresh;

    record_init(&fresh, true);
    record_copy(record, spec->context);
    free(record->run_id);
    record->run_id = TAKE(fresh.run_id);
    record_set(&record->hook, entry->name);
    record_set(&record->path, entry->path);
    if (record->event == NULL) {
        record_set(&record->event, spec->event);
    }
    if (record->level == NULL) {
        record_set(&record->level, "operation");
    }
    if (spec->token_base != NULL) {
        free(record->token);
        record->token = make_token(spec->token_base, spec->event, entry->name);
    }
    record->intent_ms = clock_wall_ms();
    record->leave = entry->leave;
    record->outcome = HOOK_OPEN;
    record->exit_code = -1;
    if (entry->verdict != HOOK_ENTRY_RUN) {
        record->outcome = entry->verdict == HOOK_ENTRY_SKIP ? HOOK_SKIPPED : HOOK_UNSTARTABLE;
        record_set(&record->error, entry->why);
        record->finished_ms = record->intent_ms;
    }
}

static void free_state(struct chain_state *state)
{
    dir_fini(&state->dir);
    strv_free(state->env);
    strv_free(state->required);
    free(state->cwd);
    free(state->input);
    free(state->groups);
    free(state->op_id);
    free((char *)state->spec.event);
    run_fini(&state->run);
    free(state);
}

static void on_closed(uv_handle_t *handle)
{
    struct chain_state *state = handle->data;
    struct hook_chain *chain = state->chain;

    chain->state = NULL;
    free_state(state);
    chain->cb(chain); /* Last: the callback may free the chain. */
}

/* What was not reached is told as skipped: each intent has an end. */
static void close_rest(struct chain_state *state)
{
    struct hook_chain *chain = state->chain;
    struct err err = { 0 };

    for (size_t i = 0; i < chain->n_records; i++) {
        struct hook_record *record = &chain->records[i];
        if (record->outcome != HOOK_OPEN) {
            continue;
        }
        record->outcome = state->canceled ? HOOK_LOST : HOOK_SKIPPED;
        record->finished_ms = clock_wall_ms();
        record_set(&record->error, state->canceled ? "canceled before it began"
                                                   : "not reached: an earlier hook refused");
        if (state->sink != NULL && state->sink->finished(state->sink->ctx, record, &err) < 0) {
            log_error("record of a skipped hook is not kept, going on: %s hook=%s", err.msg,
                      record->hook);
        }
    }
}

static void finish(struct chain_state *state)
{
    if (state->finished) {
        return;
    }
    state->finished = true;
    if (state->chain->err.code == 0 && state->canceled) {
        err_setf(&state->chain->err, ERR_CANCELED, "hooks of %s: canceled", state->spec.event);
    }
    close_rest(state);
    uv_close((uv_handle_t *)&state->timer, on_closed);
}

static void refuse(struct chain_state *state, const struct hook_record *record)
{
    if (state->chain->err.code == 0) {
        err_setf(&state->chain->err, ERR_REFUSED, "%s hook %s: %s", state->spec.event, record->hook,
                 record->error != NULL ? record->error : record_outcome_name(record->outcome));
    }
}

static bool is_required(const struct chain_state *state, const char *hook)
{
    for (size_t i = 0; state->required != NULL && state->required[i] != NULL; i++) {
        if (strcmp(state->required[i], hook) == 0) {
            return true;
        }
    }
    return false;
}

/* True when no other hook is to run. */
static bool judge(struct chain_state *state, const struct hook_record *record)
{
    if (!record_is_bad(record)) {
        return false;
    }
    if (state->chain->culprit == NULL) {
        state->chain->culprit = record;
    }
    switch (state->spec.policy) {
    case HOOK_POLICY_LOG:
        return false;
    case HOOK_POLICY_JUDGE:
        refuse(state, record);
        return false;
    case HOOK_POLICY_REQUIRED:
        /* p2: a timeout of a required hook does not block. */
        if (record->outcome == HOOK_TIMED_OUT || !is_required(state, record->hook)) {
            return false;
        }
        refuse(state, record);
        return true;
    case HOOK_POLICY_STOP:
        refuse(state, record);
        return true;
    }
    return false;
}

static char **make_env(const struct chain_state *state, const struct hook_entry *entry,
                       const struct hook_record *record)
{
    char **env = state->env != NULL ? strv_dup(state->env) : NULL;

    if (state->spec.add_tokens || entry->tokens) {
        strv_addf(&env, "HOOK_TOKEN=%s", record->token != NULL ? record->token : record->run_id);
        strv_addf(&env, "HOOK_OP_ID=%s", state->op_id != NULL ? state->op_id : "");
    }
    return env;
}

static void start_entry(struct chain_state *state)
{
    const struct hook_chain_spec *given = &state->spec;
    const struct hook_entry *entry = &state->dir.entries[state->at];
    struct hook_record *record = &state->chain->records[state->at];
    CLEANUP(strv_freep) char **env = make_env(state, entry, record);
    uint64_t grace_ms = given->kill_ms > given->term_ms ? given->kill_ms - given->term_ms : 0;
    struct hook_spec spec = {
        .path = entry->path,
        .env = (const char *const *)env,
        .cwd = state->cwd,
        .input = state->input,
        .input_len = given->input_len,
        .wants_answer = given->wants_answer,
        .term_ms = entry->term_ms > 0 ? entry->term_ms : given->term_ms,
        .go_on_at_term = given->go_on_at_term,
        .leave = entry->leave,
        .may_refuse = given->policy == HOOK_POLICY_JUDGE ||
                      (given->policy == HOOK_POLICY_REQUIRED && is_required(state, entry->name)),
        .set_user = given->set_user,
        .uid = given->uid,
        .gid = given->gid,
        .groups = state->groups,
        .n_groups = given->n_groups,
        .set_umask = given->set_umask,
        .umask = given->umask,
    };

    spec.kill_ms = grace_ms > 0 ? spec.term_ms + grace_ms : 0;
    state->run.data = state;
    state->running = true;
    run_start(&state->run, state->engine, &spec, record, state->sink, on_run);
}

static void go_on(struct chain_state *state)
{
    while (state->at < state->chain->n_records && !state->canceled) {
        if (state->chain->records[state->at].outcome == HOOK_OPEN) {
            start_entry(state);
            return;
        }
        state->at++; /* Skipped or audited by discovery: never a reason to refuse. */
    }
    finish(state);
}

static void on_run(struct hook_run *run)
{
    struct chain_state *state = run->data;
    struct hook_chain *chain = state->chain;

    state->running = false;
    if (run->answer != NULL && run->answer_len > 0) {
        free(chain->answer);
        chain->answer_len = run->answer_len;
        chain->answer = TAKE(run->answer);
    }
    CRASH_POINT("hook.recorded");
    run_fini(run);
    if (run->err.code == ERR_CANCELED) {
        state->canceled = true;
    }
    bool stop = judge(state, &chain->records[state->at]);
    state->at++;
    if (stop) {
        finish(state);
        return;
    }
    go_on(state);
}

static void on_begin(uv_timer_t *timer)
{
    struct chain_state *state = timer->data;

    if (state->chain->err.code != 0) {
        finish(state);
        return;
    }
    go_on(state);
}

/* List the hooks and have their intents kept. */
static int prepare(struct chain_state *state, const char *base, struct err *err)
{
    struct hook_chain *chain = state->chain;

    if (dir_read(state->spec.rules, base, state->spec.event, &state->dir, err) < 0) {
        return err_code(err);
    }
    if (state->dir.n == 0) {
        return 0;
    }
    struct hook_record *records = mem_alloc(state->dir.n * sizeof *records);
    for (size_t i = 0; i < state->dir.n; i++) {
        make_record(state, &state->dir.entries[i], &records[i]);
    }
    chain->records = records;
    if (state->sink != NULL &&
        state->sink->intents(state->sink->ctx, records, state->dir.n, err) < 0) {
        for (size_t i = 0; i < state->dir.n; i++) {
            record_fini(&records[i]);
        }
        free(records);
        chain->records = NULL;
        return err_wrap(err, "keep the intent of %s hooks", state->spec.event);
    }
    chain->n_records = state->dir.n;
    CRASH_POINT("hook.intended");
    return 0;
}

static void *copy_bytes(const void *bytes, size_t len)
{
    void *copy = mem_alloc(len + 1);

    if (len > 0) {
        memcpy(copy, bytes, len);
    }
    return copy;
}

void chain_start(struct hook_chain *chain, struct hook_engine *engine,
                 const struct hook_chain_spec *spec, const struct hook_sink *sink, hook_chain_cb cb)
{
    struct chain_state *state = mem_alloc(sizeof *state);

    *chain = (struct hook_chain){ .data = chain->data, .state = state, .cb = cb };
    state->chain = chain;
    state->engine = engine;
    state->sink = sink;
    state->spec = *spec;
    state->spec.event = mem_strdup(spec->event);
    state->env = spec->env != NULL ? strv_dup((char *const *)spec->env) : NULL;
    state->required = spec->required != NULL ? strv_dup((char *const *)spec->required) : NULL;
    state->cwd = spec->cwd != NULL ? mem_strdup(spec->cwd) : NULL;
    state->input = spec->input != NULL ? copy_bytes(spec->input, spec->input_len) : NULL;
    state->groups = copy_bytes(spec->groups, spec->n_groups * sizeof *spec->groups);
    state->op_id = spec->context->op_id != NULL ? mem_strdup(spec->context->op_id) : NULL;
    (void)prepare(state, spec->base, &chain->err);
    (void)uv_timer_init(run_engine_loop(engine), &state->timer);
    state->timer.data = state;
    (void)uv_timer_start(&state->timer, on_begin, 0, 0);
}

void chain_cancel(struct hook_chain *chain)
{
    struct chain_state *state = chain->state;

    if (state == NULL || state->finished) {
        return;
    }
    state->canceled = true;
    if (state->running) {
        run_cancel(&state->run);
    }
}

void chain_fini(struct hook_chain *chain)
{
    for (size_t i = 0; i < chain->n_records; i++) {
        record_fini(&chain->records[i]);
    }
    free(chain->records);
    free(chain->answer);
    chain->records = NULL;
    chain->n_records = 0;
    chain->culprit = NULL;
    chain->answer = NULL;
}
