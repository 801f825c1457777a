/* SPDX-License-Identifier: Apache-2.0 */

/* The housekeeping of a journal, beside a loop that goes on. */
#include "hook/upkeep.h"

#include "base/json.h"
#include "hook/chain.h"
#include "hook/journal.h"
#include "hook_fixture.h"

#include <signal.h>
#include <sys/wait.h>

struct fixture {
    struct hook_fixture hook;
    char *path;
    struct hook_journal *journal;
    struct hook_upkeep *upkeep;
    bool closed;
};

static void begin(struct fixture *f, int64_t max_runs)
{
    struct err err = { 0 };

    fixture_init(&f->hook, TREE_AUTO);
    f->path = file_join(f->hook.dir, "hooks.db");
    assert_int_equal(journal_open(f->path, &f->journal, &err), 0);
    upkeep_start(&(struct upkeep_options){ .loop = &f->hook.loop,
                                           .journal = f->path,
                                           .max_age_ms = 3600000,
                                           .max_runs = max_runs },
                 &f->upkeep);
}

static void end(struct fixture *f)
{
    journal_close(f->journal);
    free(f->path);
    fixture_fini(&f->hook);
}

static void close_upkeep(struct fixture *f)
{
    upkeep_close(f->upkeep, on_fixture_closed, &f->closed);
    run_until(&f->hook, &f->closed);
}

static size_t count(struct fixture *f, const char *event)
{
    struct journal_query query = { .event = event, .limit = 1000 };
    CLEANUP(json_freep) json_t *items = NULL;
    struct err err = { 0 };
    int64_t next;

    assert_int_equal(journal_query(f->journal, &query, &items, &next, &err), 0);
    return json_array_size(items);
}

static void put_runs(struct fixture *f, int n)
{
    struct err err = { 0 };

    for (int i = 0; i < n; i++) {
        struct hook_record record;

        record_init(&record, true);
        record_set(&record.level, "client");
        record_set(&record.event, "old");
        record_set(&record.hook, "h");
        record.outcome = HOOK_OK;
        record.finished_ms = UINT64_C(1) << 50; /* Not too old. */
        assert_int_equal(journal_insert(f->journal, &record, 1, &err), 0);
        record_fini(&record);
    }
}

static void on_turn(uv_timer_t *timer)
{
    (void)timer;
}

static void a_journal_keeps_its_newest_runs(void **ctx)
{
    struct fixture f = { 0 };

    (void)ctx;
    begin(&f, 20);
    put_runs(&f, 700); /* More than one piece. */
    uint64_t due_ms = uv_now(&f.hook.loop) + DEADLINE_MS;
    uv_timer_t tick; /* The upkeep's own timer keeps no loop going. */
    uv_timer_init(&f.hook.loop, &tick);
    uv_timer_start(&tick, on_turn, 10, 10);
    while (count(&f, "old") > 20 && uv_now(&f.hook.loop) < due_ms) {
        uv_run(&f.hook.loop, UV_RUN_ONCE);
    }
    uv_close((uv_handle_t *)&tick, NULL);
    assert_int_equal(count(&f, "old"), 20);
    close_upkeep(&f);
    end(&f);
}

/* In a process of its own: runs a hook whose child goes on, until it is killed. */
static void be_executor(const struct fixture *f)
{
    static const char *const env[] = { "PATH=/usr/bin:/bin", NULL };
    struct hook_journal *journal = NULL;
    struct hook_record context = { 0 };
    struct hook_chain chain = { 0 };
    struct err err = { 0 };
    uv_loop_t loop;

    (void)uv_loop_init(&loop);
    if (journal_open(f->path, &journal, &err) < 0) {
        _exit(1);
    }
    record_init(&context, false);
    record_set(&context.level, "operation");
    chain_start(
        &chain, run_engine_new(&loop, TREE_AUTO),
        &(struct hook_chain_spec){
            .base = f->hook.dir, .event = "x", .context = &context, .token_base = "t", .env = env },
        journal_sink(journal), NULL);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    _exit(1);
}

static void wait_for(int wanted)
{
    for (int i = 0; i < DEADLINE_MS / 10 && running_count("sleep 9861") != wanted; i++) {
        (void)usleep(10000);
    }
    assert_int_equal(running_count("sleep 9861"), wanted);
}

/* Also when the upkeep's owner ends right then. */
static void what_a_dead_executor_left_is_ended_and_recorded(void **ctx)
{
    struct fixture f = { 0 };
    pid_t pid;

    (void)ctx;
    begin(&f, 1000);
    put_file(&f.hook, "x.d/a", "#!/bin/sh\nsetsid sleep 9861 &\nsleep 30\n", 0755);
    pid = fork();
    if (pid == 0) {
        be_executor(&f);
    }
    wait_for(1);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    upkeep_recover(f.upkeep);
    upkeep_recover(f.upkeep);
    close_upkeep(&f);
    wait_for(0);

    struct journal_query query = { .failed = true };
    CLEANUP(json_freep) json_t *items = NULL;
    struct err err = { 0 };
    int64_t next;
    assert_int_equal(journal_query(f.journal, &query, &items, &next, &err), 0);
    assert_int_equal(json_array_size(items), 1);
    assert_string_equal(json_string_value(json_object_get(json_array_get(items, 0), "outcome")),
                        "lost");
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_journal_keeps_its_newest_runs),
        cmocka_unit_test(what_a_dead_executor_left_is_ended_and_recorded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
