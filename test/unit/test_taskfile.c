/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/taskfile.h"

#include "base/str.h"
#include "test.h"

#include <string.h>

static int parse(const char *text, struct taskfile **task, struct err *err)
{
    return taskfile_parse(text, strlen(text), task, err);
}

static void everything_is_read(void **state)
{
    (void)state;
    CLEANUP(taskfile_freep) struct taskfile *task = NULL;
    struct err err = { 0 };

    int ret = parse("{\"v\":1,\"id\":\"t1\",\"digest\":\"d\",\"job\":\"c/r/e/n\",\"instance\":3,"
                    "\"hostname\":\"h\",\"ports\":{\"http\":31000},\"user\":\"www\","
                    "\"run_as\":{\"uid\":33,\"gid\":34,\"groups\":[34,35]},"
                    "\"env\":{\"A\":\"1\"},\"token\":\"abc\",\"unknown\":[],"
                    "\"resources\":{\"cpu\":0.25,\"ram_bytes\":1048576},"
                    "\"hooks\":{\"grace_ms\":5,\"check_every_ms\":6,\"checks\":7},"
                    "\"task\":{\"name\":\"n\",\"processes\":["
                    "{\"name\":\"a\",\"cmdline\":\"echo {{mesos.instance}} "
                    "{{thermos.ports[http]}}\",\"min_duration\":0.5,\"daemon\":true},"
                    "{\"name\":\"b\",\"cmdline\":\"true\",\"max_failures\":0},"
                    "{\"name\":\"c\",\"cmdline\":\"true\"}],"
                    "\"constraints\":[{\"order\":[\"b\",\"c\"]},{}],\"max_failures\":4,"
                    "\"max_concurrency\":2,\"finalization_wait\":9}}",
                    &task, &err);
    assert_int_equal(ret, 0);
    assert_string_equal(task->id, "t1");
    assert_int_equal(task->instance, 3);
    assert_string_equal(task->env[0], "A=1");
    assert_true(task->set_user);
    assert_int_equal(task->uid, 33);
    assert_int_equal(task->groups[1], 35);
    assert_int_equal(task->cpu_milli, 250);
    assert_int_equal(task->ram_bytes, 1048576);
    assert_int_equal(task->checks, 7);
    assert_int_equal(task->graph->n_processes, 3);
    assert_string_equal(task->graph->processes[0].spec.cmdline, "echo 3 31000");
    assert_int_equal(task->graph->processes[0].spec.min_duration_ms, 500);
    assert_true(task->graph->processes[0].spec.daemon);
    assert_int_equal(task->graph->processes[1].spec.max_failures, 0);
    assert_int_equal(task->graph->processes[2].n_before, 1);
    assert_int_equal(task->graph->max_failures, 4);
    assert_int_equal(task->graph->finalization_wait_ms, 9000);
}

static void defaults_are_auroras(void **state)
{
    (void)state;
    CLEANUP(taskfile_freep) struct taskfile *task = NULL;
    struct err err = { 0 };

    assert_int_equal(parse("{\"v\":1,\"id\":\"t\",\"task\":{\"processes\":[{\"name\":\"a\","
                           "\"cmdline\":\"true\"}]}}",
                           &task, &err),
                     0);
    const struct graph_spec *spec = &task->graph->processes[0].spec;
    assert_int_equal(spec->max_failures, 1);
    assert_int_equal(spec->min_duration_ms, 5000);
    assert_false(spec->daemon || spec->ephemeral || spec->final);
    assert_int_equal(task->graph->max_failures, 1);
    assert_int_equal(task->graph->max_concurrency, 0);
    assert_int_equal(task->graph->finalization_wait_ms, 30000);
    assert_int_equal(task->hook_grace_ms, 60000);
    assert_int_equal(task->check_every_ms, 0);
    assert_false(task->set_user);
    assert_int_equal(strlen(task->token), 32);
}

#define WITH(members)                                                                          \
    "{\"v\":1,\"id\":\"t\",\"instance\":2,\"ports\":{\"health\":4711,\"admin\":4712}," members \
    ",\"task\":{\"processes\":[{\"name\":\"a\",\"cmdline\":\"true\"}]}}"

static void checks_and_ladders_have_auroras_defaults(void **state)
{
    (void)state;
    CLEANUP(taskfile_freep) struct taskfile *task = NULL;
    CLEANUP(taskfile_freep) struct taskfile *other = NULL;
    struct err err = { 0 };

    assert_int_equal(parse(WITH("\"health\":{},\"lifecycle\":{\"http\":{}}"), &task, &err), 0);
    const struct taskfile_check *check = task->check;
    assert_null(check->command);
    assert_int_equal(check->port, 4711);
    assert_string_equal(check->endpoint, "/health");
    assert_string_equal(check->expected, "ok");
    assert_int_equal(check->expected_code, 0);
    assert_int_equal(check->timeout_ms, 1000);
    assert_int_equal(check->health.initial_interval_ms, 15000);
    assert_int_equal(check->health.interval_ms, 10000);
    assert_int_equal(check->health.max_consecutive_failures, 0);
    assert_int_equal(check->health.min_consecutive_successes, 1);
    const struct taskfile_ladder *ladder = task->ladder;
    assert_int_equal(ladder->port, 4711);
    assert_string_equal(ladder->graceful_path, "/quitquitquit");
    assert_string_equal(ladder->shutdown_path, "/abortabortabort");
    assert_int_equal(ladder->graceful_wait_ms, 5000);
    assert_int_equal(ladder->shutdown_wait_ms, 5000);
    assert_int_equal(ladder->total_ms, 12000);

    assert_int_equal(
        parse(WITH("\"health\":{\"health_checker\":{\"http\":{},\"shell\":{\"shell_command\":"
                   "\"try {{mesos.instance}} {{thermos.ports[admin]}}\"}},\"interval_secs\":0.25,"
                   "\"max_consecutive_failures\":3.0},"
                   "\"lifecycle\":{\"http\":{\"port\":\"admin\",\"shutdown_wait_secs\":0.5}}"),
              &other, &err),
        0);
    assert_string_equal(other->check->command, "try 2 4712");
    assert_int_equal(other->check->health.interval_ms, 250);
    assert_int_equal(other->check->health.max_consecutive_failures, 3);
    assert_int_equal(other->ladder->port, 4712);
    assert_int_equal(other->ladder->total_ms, 7500);
}

static void without_a_port_there_is_nobody_to_ask(void **state)
{
    (void)state;
    static const char *const cases[] = {
        WITH("\"env\":{}"),
        WITH("\"lifecycle\":{}"),
        WITH("\"lifecycle\":{\"http\":null},\"health\":null"),
        WITH("\"lifecycle\":{\"http\":{\"port\":\"http\"}}"),
        ("{\"v\":1,\"id\":\"t\",\"health\":{},\"lifecycle\":{\"http\":{}},"
         "\"task\":{\"processes\":[{\"name\":\"a\",\"cmdline\":\"true\"}]}}"),
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CLEANUP(taskfile_freep) struct taskfile *task = NULL;
        struct err err = { 0 };

        assert_int_equal(parse(cases[i], &task, &err), 0);
        assert_null(task->check);
        assert_null(task->ladder);
    }
}

/* Each with what the message must name. */
static void what_is_wrong_is_named(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        { "", "not JSON" },
        { "[]", "'v'" },
        { "{\"v\":2,\"id\":\"t\",\"task\":{}}", "'v'" },
        { "{\"v\":1,\"task\":{}}", "'id'" },
        { "{\"v\":1,\"id\":\"\",\"task\":{}}", "'id'" },
        { "{\"v\":1,\"id\":\"t\"}", "'task'" },
        { "{\"v\":1,\"id\":\"t\",\"token\":\"a/b\",\"task\":{}}", "'token'" },
        { "{\"v\":1,\"id\":\"t\",\"ports\":{\"x\":70000},\"task\":{}}", "'x'" },
        { "{\"v\":1,\"id\":\"t\",\"ports\":[],\"task\":{}}", "'ports'" },
        { "{\"v\":1,\"id\":\"t\",\"env\":{\"A=\":\"1\"},\"task\":{}}", "A=" },
        { "{\"v\":1,\"id\":\"t\",\"run_as\":{\"uid\":1},\"task\":{}}", "'gid'" },
        { "{\"v\":1,\"id\":\"t\",\"run_as\":{\"uid\":-1,\"gid\":1},\"task\":{}}", "'uid'" },
        { "{\"v\":1,\"id\":\"t\",\"resources\":{\"cpu\":\"1\"},\"task\":{}}", "'cpu'" },
        { "{\"v\":1,\"id\":\"t\",\"resources\":{\"cpu\":-1},\"task\":{}}", "'cpu'" },
        { WITH("\"health\":1"), "'health'" },
        { WITH("\"health\":{\"interval_secs\":-1}"), "'interval_secs'" },
        { WITH("\"health\":{\"max_consecutive_failures\":-1}"), "'max_consecutive_failures'" },
        { WITH("\"health\":{\"health_checker\":{\"shell\":{}}}"), "'shell_command'" },
        { WITH("\"lifecycle\":{\"http\":{\"shutdown_wait_secs\":\"x\"}}"), "'shutdown_wait_secs'" },
        { "{\"v\":1,\"id\":\"t\",\"task\":{}}", "'processes'" },
        { "{\"v\":1,\"id\":\"t\",\"task\":{\"processes\":[]}}", "without processes" },
        { "{\"v\":1,\"id\":\"t\",\"task\":{\"processes\":[1]}}", "not an object" },
        { "{\"v\":1,\"id\":\"t\",\"task\":{\"processes\":[{\"name\":\"a\"}]}}", "'cmdline'" },
        { "{\"v\":1,\"id\":\"t\",\"task\":{\"processes\":[{\"name\":\"a\",\"cmdline\":\"x\","
          "\"daemon\":1}]}}",
          "'daemon'" },
        { "{\"v\":1,\"id\":\"t\",\"task\":{\"processes\":[{\"name\":\"a/b\",\"cmdline\":\"x\"}]}}",
          "a/b" },
        { "{\"v\":1,\"id\":\"t\",\"task\":{\"processes\":[{\"name\":\"a\",\"cmdline\":\"x\"}],"
          "\"constraints\":[{\"order\":[\"a\",\"z\"]}]}}",
          "'z'" },
        { "{\"v\":1,\"id\":\"t\",\"task\":{\"processes\":[{\"name\":\"a\",\"cmdline\":\"x\"}],"
          "\"constraints\":[{\"order\":[\"a\",\"a\"]}]}}",
          "cycle" },
        { "{\"v\":1,\"id\":\"t\",\"task\":{\"processes\":[{\"name\":\"a\",\"cmdline\":\"x\"}],"
          "\"constraints\":[{\"order\":[1]}]}}",
          "no name" },
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct taskfile *task = NULL;
        struct err err = { 0 };

        assert_int_equal(parse(bad[i][0], &task, &err), ERR_CONFIG);
        assert_null(task);
        assert_non_null(strstr(err.msg, bad[i][1]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_is_read),
        cmocka_unit_test(defaults_are_auroras),
        cmocka_unit_test(checks_and_ladders_have_auroras_defaults),
        cmocka_unit_test(without_a_port_there_is_nobody_to_ask),
        cmocka_unit_test(what_is_wrong_is_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
