/* SPDX-License-Identifier: Apache-2.0 */

/* Chains with their records in a real journal. */
#include "hook/chain.h"
#include "hook/journal.h"
#include "hook_fixture.h"

#include <signal.h>
#include <sys/wait.h>

struct fixture {
    struct hook_fixture hook;
    struct hook_journal *journal;
    struct hook_chain chain;
    struct hook_record context;
    bool done;
    int calls;
};

static int setup(void **ctx)
{
    struct fixture *f = mem_alloc(sizeof *f);
    struct err err = { 0 };

    fixture_init(&f->hook, TREE_AUTO);
    CLEANUP(mem_freep) char *path = file_join(f->hook.dir, "hooks.db");
    assert_int_equal(journal_open(path, &f->journal, &err), 0);
    record_init(&f->context, false);
    record_set(&f->context.level, "operation");
    record_set(&f->context.op_id, "op-1");
    f->context.op_number = 17;
    record_set(&f->context.job, "www/prod/web");
    *ctx = f;
    return 0;
}

static int teardown(void **ctx)
{
    struct fixture *f = *ctx;

    chain_fini(&f->chain);
    record_fini(&f->context);
    journal_close(f->journal);
    fixture_fini(&f->hook);
    free(f);
    return 0;
}

static void on_chain(struct hook_chain *chain)
{
    struct fixture *f = chain->data;

    f->done = true;
    f->calls++;
}

static void start(struct fixture *f, const struct hook_chain_spec *given)
{
    static const char *const env[] = { "PATH=/usr/bin:/bin", NULL };
    struct hook_chain_spec spec = *given;

    spec.base = f->hook.dir;
    if (spec.event == NULL) {
        spec.event = "x";
    }
    spec.context = &f->context;
    spec.token_base = "op-1.0";
    spec.env = env;
    f->done = false;
    f->calls = 0;
    f->chain.data = f;
    chain_start(&f->chain, f->hook.engine, &spec, journal_sink(f->journal), on_chain);
    assert_int_equal(f->calls, 0);
}

static void run(struct fixture *f, const struct hook_chain_spec *spec)
{
    start(f, spec);
    run_until(&f->hook, &f->done);
    run_until_idle(&f->hook);
    assert_int_equal(f->calls, 1);
}

static json_t *query(struct fixture *f, const struct journal_query *query, int64_t *ret_next)
{
    json_t *items = NULL;
    int64_t next = 0;
    struct err err = { 0 };

    if (journal_query(f->journal, query, &items, &next, &err) < 0) {
        fail_msg("%s", err.msg);
    }
    if (ret_next != NULL) {
        *ret_next = next;
    }
    return items;
}

static size_t count(struct fixture *f, const struct journal_query *filter)
{
    json_t *items = query(f, filter, NULL);
    size_t n = json_array_size(items);

    json_decref(items);
    return n;
}

static const char *text(json_t *items, size_t i, const char *key)
{
    return json_string_value(json_object_get(json_array_get(items, i), key));
}

static void no_hooks_is_success(void **ctx)
{
    struct fixture *f = *ctx;

    run(f, &(struct hook_chain_spec){ .policy = HOOK_POLICY_JUDGE });
    assert_int_equal(f->chain.err.code, 0);
    assert_int_equal(f->chain.n_records, 0);
}

static void ganeti_runs_all_then_judges(void **ctx)
{
    struct fixture *f = *ctx;

    put_file(&f->hook, "x.d/a", "#!/bin/sh\necho no disk; exit 1\n", 0755);
    put_file(&f->hook, "x.d/b", "#!/bin/sh\necho $0 $HOOK_TOKEN\n", 0755);
    put_file(&f->hook, "x.d/c.sh", "#!/bin/sh\n", 0755);
    run(f, &(struct hook_chain_spec){ .policy = HOOK_POLICY_JUDGE });
    assert_int_equal(f->chain.err.code, ERR_REFUSED);
    assert_string_equal(f->chain.err.msg, "x hook a: exited with status 1");
    assert_string_equal(f->chain.culprit->hook, "a");
    assert_int_equal(f->chain.n_records, 3);
    assert_int_equal(f->chain.records[0].outcome, HOOK_REFUSED);
    assert_int_equal(f->chain.records[1].outcome, HOOK_OK);
    assert_int_equal(f->chain.records[2].outcome, HOOK_SKIPPED);
    char expected[200];
    (void)snprintf(expected, sizeof expected, "%s/x.d/b\n", f->hook.dir); /* No token asked for. */
    assert_true(strncmp(f->chain.records[1].output_head, expected, strlen(expected) - 1) == 0);

    json_t *items = query(f, &(struct journal_query){ .op_id = "17" }, NULL);
    assert_int_equal(json_array_size(items), 3);
    assert_string_equal(text(items, 0, "outcome"), "refused");
    assert_string_equal(text(items, 0, "output_head"), "no disk\n");
    assert_string_equal(text(items, 0, "token"), "op-1.0.x.a");
    assert_string_equal(text(items, 2, "outcome"), "skipped");
    json_decref(items);
    assert_int_equal(count(f, &(struct journal_query){ .op_id = "op-1", .failed = true }), 1);
    assert_int_equal(count(f, &(struct journal_query){ .job = "other" }), 0);
}

static void post_failures_are_only_recorded(void **ctx)
{
    struct fixture *f = *ctx;

    put_file(&f->hook, "x.d/a", "#!/bin/sh\nexit 1\n", 0755);
    run(f, &(struct hook_chain_spec){ .policy = HOOK_POLICY_LOG });
    assert_int_equal(f->chain.err.code, 0);
    assert_string_equal(f->chain.culprit->hook, "a");
    assert_int_equal(f->chain.records[0].outcome, HOOK_FAILED);
}

static void required_hook_stops_the_chain(void **ctx)
{
    struct fixture *f = *ctx;
    const char *const required[] = { "b", NULL };

    put_file(&f->hook, "a", "#!/bin/sh\nexit 1\n", 0755);
    put_file(&f->hook, "b", "#!/bin/sh\nexit 1\n", 0755);
    put_file(&f->hook, "c", "#!/bin/sh\n", 0755);
    struct hook_chain_spec spec = { .rules = HOOK_RULES_P2,
                                    .event = "before_install",
                                    .policy = HOOK_POLICY_REQUIRED,
                                    .required = required };
    put_file(&f->hook, "hooks.db-not", "", 0644);
    run(f, &spec);
    assert_int_equal(f->chain.err.code, ERR_REFUSED);
    assert_string_equal(f->chain.err.msg, "before_install hook b: exited with status 1");
    assert_string_equal(f->chain.records[2].hook, "c");
    assert_int_equal(f->chain.records[2].outcome, HOOK_SKIPPED);
    assert_string_equal(f->chain.records[2].error, "not reached: an earlier hook refused");
}

static void tokens_are_the_same_on_a_retry(void **ctx)
{
    struct fixture *f = *ctx;
    struct hook_chain_spec spec = { .add_tokens = true };

    put_file(&f->hook, "x.d/a", "#!/bin/sh\necho $HOOK_TOKEN $HOOK_OP_ID\n", 0755);
    run(f, &spec);
    assert_string_equal(f->chain.records[0].output_head, "op-1.0.x.a op-1\n");
    chain_fini(&f->chain);
    run(f, &spec);
    assert_string_equal(f->chain.records[0].output_head, "op-1.0.x.a op-1\n");
    assert_int_equal(count(f, &(struct journal_query){ .token = "op-1.0" }), 2);
    assert_int_equal(count(f, &(struct journal_query){ .token = "op-1" }), 2);
    assert_int_equal(count(f, &(struct journal_query){ .token = "op" }), 0);
}

static void last_answer_is_kept(void **ctx)
{
    struct fixture *f = *ctx;

    put_file(&f->hook, "x", "#!/bin/sh\ncat\n", 0755);
    put_file(&f->hook, "x.d/silent", "#!/bin/sh\ntrue\n", 0755);
    run(f, &(struct hook_chain_spec){ .rules = HOOK_RULES_POD,
                                      .policy = HOOK_POLICY_STOP,
                                      .input = "{\"a\":1}",
                                      .input_len = 7,
                                      .wants_answer = true });
    assert_int_equal(f->chain.err.code, 0);
    assert_string_equal(f->chain.answer, "{\"a\":1}");
}

static void canceled_chain_starts_no_other(void **ctx)
{
    struct fixture *f = *ctx;

    put_file(&f->hook, "x.d/a", "#!/bin/sh\nsleep 98781\n", 0755);
    put_file(&f->hook, "x.d/b", "#!/bin/sh\n", 0755);
    start(f, &(struct hook_chain_spec){ 0 });
    while (running_count("sleep 98781") == 0) { /* The alarm limits it. */
        uv_run(&f->hook.loop, UV_RUN_NOWAIT);
    }
    chain_cancel(&f->chain);
    run_until(&f->hook, &f->done);
    run_until_idle(&f->hook);
    assert_int_equal(f->chain.err.code, ERR_CANCELED);
    assert_string_equal(f->chain.records[0].error, "canceled");
    assert_string_equal(f->chain.records[1].error, "canceled before it began");
    assert_int_equal(f->chain.records[0].outcome, HOOK_LOST); /* Whoever repeats it runs both. */
    assert_int_equal(f->chain.records[1].outcome, HOOK_LOST);
    assert_int_equal(running_count("sleep 98781"), 0);
    assert_int_equal(count(f, &(struct journal_query){ .failed = true }), 2);
}

static void queries_page(void **ctx)
{
    struct fixture *f = *ctx;
    int64_t next = 0;

    for (int i = 0; i < 5; i++) {
        char name[] = "x.d/h0";
        name[sizeof name - 2] = (char)('0' + i);
        put_file(&f->hook, name, "#!/bin/sh\n", 0755);
    }
    run(f, &(struct hook_chain_spec){ 0 });
    json_t *first = query(f, &(struct journal_query){ .limit = 3 }, &next);
    assert_int_equal(json_array_size(first), 3);
    assert_true(next > 0);
    int64_t none;
    json_t *last = query(f, &(struct journal_query){ .limit = 2, .newest = true }, &none);
    assert_int_equal(json_array_size(last), 2);
    assert_int_equal(none, 0);
    assert_string_equal(text(last, 0, "hook"), "h3");
    assert_string_equal(text(last, 1, "hook"), "h4");
    json_decref(last);
    json_t *rest = query(f, &(struct journal_query){ .limit = 3, .after = next }, &next);
    assert_int_equal(json_array_size(rest), 2);
    assert_int_equal(next, 0);
    assert_string_equal(text(rest, 0, "hook"), "h3");
    json_decref(first);
    json_decref(rest);
}

static void foreign_records_are_kept_once(void **ctx)
{
    struct fixture *f = *ctx;
    struct hook_record record;
    struct err err = { 0 };

    record_init(&record, true);
    record_set(&record.level, "client");
    record_set(&record.event, "pre_create_job");
    record_set(&record.hook, "Checks.pre_create_job");
    record.outcome = HOOK_REFUSED;
    json_t *json = record_to_json(&record);
    assert_true(json_is_null(json_object_get(json, "pid")));
    struct hook_record again;
    assert_int_equal(record_from_json(json, &again, &err), 0);
    assert_int_equal(journal_insert(f->journal, &record, 1, &err), 0);
    again.outcome = HOOK_OK; /* A closed record is never changed. */
    assert_int_equal(journal_insert(f->journal, &again, 1, &err), 0);
    json_t *items = query(f, &(struct journal_query){ .level = "client" }, NULL);
    assert_int_equal(json_array_size(items), 1);
    assert_true(json_equal(json_array_get(items, 0), json));
    json_object_set_new(json, "hook", json_integer(1));
    assert_int_equal(record_from_json(json, &again, &err), ERR_INVALID);
    json_decref(items);
    json_decref(json);
    record_fini(&record);
    record_fini(&again);
}

/* Another process writes an intent and dies. */
static void runs_of_a_dead_executor_are_lost(void **ctx)
{
    struct fixture *f = *ctx;
    CLEANUP(mem_freep) char *path = file_join(f->hook.dir, "hooks.db");
    struct err err = { 0 };
    json_t *lost = NULL;
    pid_t pid = fork();

    if (pid == 0) {
        struct hook_journal *journal = NULL;
        struct hook_record record;
        record_init(&record, true);
        record_set(&record.level, "node");
        record_set(&record.event, "before_launch");
        record_set(&record.hook, "h");
        record_set(&record.token, "tok");
        if (journal_open(path, &journal, &err) == 0) {
            (void)journal_sink(journal)->intents(journal, &record, 1, &err);
        }
        (void)raise(SIGKILL);
    }
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    struct hook_record mine;
    record_init(&mine, true);
    record_set(&mine.level, "node");
    record_set(&mine.event, "before_launch");
    record_set(&mine.hook, "mine");
    const struct hook_sink *sink = journal_sink(f->journal);
    assert_int_equal(sink->intents(sink->ctx, &mine, 1, &err), 0);
    assert_int_equal(journal_recover(f->journal, &lost, &err), 0);
    assert_int_equal(json_array_size(lost), 1);
    assert_string_equal(text(lost, 0, "token"), "tok");
    assert_string_equal(text(lost, 0, "outcome"), "lost");
    json_decref(lost);
    assert_int_equal(journal_recover(f->journal, NULL, &err), 0);
    assert_int_equal(count(f, &(struct journal_query){ .failed = true }), 1);
    assert_int_equal(count(f, &(struct journal_query){ .level = "node" }), 2);
    record_fini(&mine);
}

static void old_runs_are_forgotten_open_ones_by_number_only(void **ctx)
{
    struct fixture *f = *ctx;
    struct hook_record record;
    struct err err = { 0 };

    put_file(&f->hook, "x.d/a", "#!/bin/sh\n", 0755);
    put_file(&f->hook, "x.d/b", "#!/bin/sh\n", 0755);
    run(f, &(struct hook_chain_spec){ 0 });
    record_init(&record, true);
    record_set(&record.level, "node");
    record_set(&record.event, "e");
    record_set(&record.hook, "h");
    assert_int_equal(journal_insert(f->journal, &record, 1, &err), 0);
    assert_int_equal(journal_trim(f->journal, 3600000, 2, &err), 0);
    assert_int_equal(count(f, &(struct journal_query){ 0 }), 2); /* b and the open one. */
    assert_int_equal(journal_trim(f->journal, 3600000, 1, &err), 0);
    assert_int_equal(count(f, &(struct journal_query){ 0 }), 1);
    /* Whoever made the open one may have died without a word: it does not stay for ever. */
    assert_int_equal(journal_trim(f->journal, 0, 0, &err), 0);
    assert_int_equal(count(f, &(struct journal_query){ 0 }), 0);
    record_fini(&record);
}

static int refuse_intents(void *ctx, const struct hook_record *records, size_t n, struct err *err)
{
    (void)ctx;
    (void)records;
    (void)n;
    return err_set(err, ERR_IO, "disk full");
}

static void nothing_runs_without_a_kept_intent(void **ctx)
{
    struct fixture *f = *ctx;
    const struct hook_sink sink = { .intents = refuse_intents };
    const struct hook_chain_spec spec = { .base = f->hook.dir,
                                          .event = "x",
                                          .context = &f->context };

    put_file(&f->hook, "x.d/a", "#!/bin/sh\n>$0.ran\n", 0755);
    f->chain.data = f;
    chain_start(&f->chain, f->hook.engine, &spec, &sink, on_chain);
    run_until(&f->hook, &f->done);
    assert_int_equal(f->chain.err.code, ERR_IO);
    assert_string_equal(f->chain.err.msg, "keep the intent of x hooks: disk full");
    CLEANUP(mem_freep) char *ran = file_join(f->hook.dir, "x.d/a.ran");
    assert_false(file_exists(ran));
}

#define IN_FIXTURE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FIXTURE(no_hooks_is_success),
        IN_FIXTURE(ganeti_runs_all_then_judges),
        IN_FIXTURE(post_failures_are_only_recorded),
        IN_FIXTURE(required_hook_stops_the_chain),
        IN_FIXTURE(tokens_are_the_same_on_a_retry),
        IN_FIXTURE(last_answer_is_kept),
        IN_FIXTURE(canceled_chain_starts_no_other),
        IN_FIXTURE(queries_page),
        IN_FIXTURE(foreign_records_are_kept_once),
        IN_FIXTURE(runs_of_a_dead_executor_are_lost),
        IN_FIXTURE(old_runs_are_forgotten_open_ones_by_number_only),
        IN_FIXTURE(nothing_runs_without_a_kept_intent),
    };

    alarm(120);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
