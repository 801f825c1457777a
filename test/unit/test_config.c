/* SPDX-License-Identifier: Apache-2.0 */

/* Configuration files through the real guest: what comes back, and each way it fails. */

#include "config/config.h"

#include "base/json.h"
#include "test.h"

#include <string.h>

#define TASK                                                                             \
    "t = Task(processes=[Process(name='p', cmdline='echo {{who}} {{thermos.ports[b]}} "  \
    "{{thermos.ports[a]}} {{mesos.instance}}')], resources=Resources(cpu=1, ram=64*MB, " \
    "disk=64*MB))\n"
#define JOB "Job(cluster='c', role='r', environment='devel', name='n', task=t)"

static const struct config_options plain;

static int load(struct config *config, const char *text, struct err *err)
{
    return config_load_text(config, "f.aurora", text, &plain, err);
}

static void job_is_listed_bound_and_selected(void **state)
{
    static const char *const binds[] = { "who=me", NULL };
    const struct config_options options = { .binds = binds };
    CLEANUP(config_freep) struct config *config = config_new();
    CLEANUP(json_freep) json_t *selected = NULL;
    struct err err;

    (void)state;
    assert_int_equal(config_load_text(config, "f", TASK "jobs = [" JOB "]\n", &options, &err), 0);
    assert_int_equal(json_array_size(config_jobs(config)), 1);
    assert_int_equal(config_select(config, "c/r/devel/n", &selected, &err), 0);
    json_t *job = json_object_get(selected, "job");
    json_t *process = json_array_get(json_object_get(json_object_get(job, "task"), "processes"), 0);
    assert_string_equal(json_str_or(process, "cmdline", ""),
                        "echo me {{thermos.ports[b]}} {{thermos.ports[a]}} {{mesos.instance}}");
    json_t *ports = json_object_get(selected, "ports");
    assert_int_equal(json_array_size(ports), 2);
    assert_string_equal(json_string_value(json_array_get(ports, 0)), "a");
    assert_int_equal(json_int_or(job, "instances", 0), 1);
}

static void failures_are_one_line_with_their_place(void **state)
{
    static const struct {
        const char *text, *says;
    } rows[] = {
        { "a = 1\nb = = 2\n", "invalid syntax (f.aurora, line 2)" },
        { "x = 1\nJob(nam='x')\n", "Unknown schema attribute nam (f.aurora, line 2)" },
        { "jobs = [zzz]\n", "name 'zzz' is not defined (f.aurora, line 1)" },
        { "include('gone')\n", "You may not include() anything from filelike objects." },
        { "jobs = 7\n", "`jobs` must be a list, not 7" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        CLEANUP(config_freep) struct config *config = config_new();
        struct err err;

        assert_int_equal(load(config, rows[i].text, &err), ERR_CONFIG);
        assert_non_null(strstr(err.msg, rows[i].says));
        assert_null(strchr(err.msg, '\n'));
        assert_int_equal(config_exit_status(config), -1);
    }
}

static void missing_file_is_worded_as_ever(void **state)
{
    CLEANUP(config_freep) struct config *config = config_new();
    struct err err;

    (void)state;
    assert_int_equal(config_load(config, "/nonexistent/x.aurora", &plain, &err), ERR_CONFIG);
    assert_string_equal(err.msg, "[Errno 2] No such file or directory: '/nonexistent/x.aurora'");
}

static void unknown_job_lists_candidates(void **state)
{
    CLEANUP(config_freep) struct config *config = config_new();
    CLEANUP(json_freep) json_t *selected = NULL;
    struct err err;

    (void)state;
    assert_int_equal(load(config, TASK "jobs = [" JOB "]\n", &err), 0);
    assert_int_equal(config_select(config, "c/r/devel/other", &selected, &err), ERR_CONFIG);
    assert_string_equal(err.msg, "Could not find job c/r/devel/other");
    assert_string_equal(config_message(config),
                        "Could not find job c/r/devel/other\nCandidates are:\n  c/r/devel/n");
}

static void open_reference_is_refused(void **state)
{
    CLEANUP(config_freep) struct config *config = config_new();
    CLEANUP(json_freep) json_t *selected = NULL;
    struct err err;

    (void)state;
    assert_int_equal(load(config, TASK "jobs = [" JOB "]\n", &err), 0);
    assert_int_equal(config_select(config, "c/r/devel/n", &selected, &err), ERR_CONFIG);
    assert_non_null(strstr(err.msg, "Unexpected unbound refs: {{who}}."));
}

static void malformed_bind_is_bad_usage(void **state)
{
    static const char *const none[] = { "who", NULL }, *const bad[] = { "a b=1", NULL };
    const struct config_options a = { .binds = none }, b = { .binds = bad };
    CLEANUP(config_freep) struct config *one = config_new();
    CLEANUP(config_freep) struct config *two = config_new();
    struct err err;

    (void)state;
    assert_int_equal(config_load_text(one, "f", "jobs=[]", &a, &err), ERR_USAGE);
    assert_string_equal(err.msg, "Binding parameter must be formatted name=value");
    assert_int_equal(config_load_text(two, "f", "jobs=[]", &b, &err), ERR_USAGE);
    assert_non_null(strstr(err.msg, "Could not parse binding parameter a b=1"));
}

static void endless_file_ends_at_its_deadline(void **state)
{
    const struct config_options options = { .timeout_ms = 300 };
    CLEANUP(config_freep) struct config *config = config_new();
    CLEANUP(json_freep) json_t *selected = NULL;
    struct err err;

    (void)state;
    assert_int_equal(config_load_text(config, "f", "while True: pass\n", &options, &err),
                     ERR_TIMEOUT);
    assert_non_null(strstr(err.msg, "evaluating f took longer than"));
    assert_int_equal(config_select(config, NULL, &selected, &err), ERR_CONFIG);
}

static void dead_guest_is_told_with_its_signal(void **state)
{
    CLEANUP(config_freep) struct config *config = config_new();
    struct err err;

    (void)state;
    assert_int_equal(load(config, "import os\nos.kill(os.getpid(), 9)\n", &err), ERR_CONFIG);
    assert_string_equal(err.msg, "evaluating f.aurora: the Python process was killed by signal 9");
}

static void exit_in_a_file_ends_the_client_with_it(void **state)
{
    CLEANUP(config_freep) struct config *config = config_new();
    struct err err;

    (void)state;
    assert_int_equal(load(config, "import sys\nsys.exit(42)\n", &err), ERR_CONFIG);
    assert_int_equal(config_exit_status(config), 42);
}

static void hooks_run_refuse_and_change_the_job(void **state)
{
    static const char text[] =
        TASK "class H(object):\n"
             "    def pre_create_job(self, config):\n"
             "        config.add_metadata('k', 'v')\n"
             "        return True\n"
             "    def pre_kill_job(self, job_key, shards=None):\n"
             "        return shards != [1]\n"
             "hooks = [H]\n"
             "jobs = [" JOB "(enable_hooks=True, name='{{who}}').bind(who='n')]\n";
    CLEANUP(config_freep) struct config *config = config_new();
    CLEANUP(json_freep) json_t *selected = NULL, *plan = NULL, *pre = NULL, *kill = NULL;
    CLEANUP(json_freep) json_t *args = json_pack("{s:[i]}", "instances", 1);
    struct err err;

    (void)state;
    assert_int_equal(load(config, text, &err), 0);
    assert_int_equal(config_select(config, "c/r/devel/n", &selected, &err), 0);
    assert_int_equal(config_plan(config, "create_job", &plan, &err), 0);
    assert_int_equal(json_array_size(json_object_get(plan, "pre")), 1);
    assert_int_equal(
        config_hooks(config, CONFIG_PRE, "create_job", "c/r/devel/n", NULL, NULL, &pre, &err), 0);
    assert_int_equal(config_refusal(pre, "create_job", &err), 0);
    json_t *job = json_object_get(json_object_get(pre, "config"), "job");
    assert_int_equal(json_array_size(json_object_get(job, "metadata")), 1);

    assert_int_equal(
        config_hooks(config, CONFIG_PRE, "kill_job", "c/r/devel/n", args, NULL, &kill, &err), 0);
    assert_int_equal(config_refusal(kill, "kill_job", &err), ERR_REFUSED);
    assert_string_equal(err.msg,
                        "Pre hooks stopped call to kill_job (H.pre_kill_job: returned False)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(job_is_listed_bound_and_selected),
        cmocka_unit_test(failures_are_one_line_with_their_place),
        cmocka_unit_test(missing_file_is_worded_as_ever),
        cmocka_unit_test(unknown_job_lists_candidates),
        cmocka_unit_test(open_reference_is_refused),
        cmocka_unit_test(malformed_bind_is_bad_usage),
        cmocka_unit_test(endless_file_ends_at_its_deadline),
        cmocka_unit_test(dead_guest_is_told_with_its_signal),
        cmocka_unit_test(exit_in_a_file_ends_the_client_with_it),
        cmocka_unit_test(hooks_run_refuse_and_change_the_job),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
