/* SPDX-License-Identifier: Apache-2.0 */
#include "model/job.h"

#include "base/json.h"
#include "base/str.h"
#include "model/pod.h"
#include "model/yaml.h"

#include "test.h"

#include <string.h>

static json_t *hello(void)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:i, s:{s:s, s:[{s:s, s:s}], s:{s:f, s:i, s:i}}}",
                     "cluster", "devcluster", "role", "www", "environment", "devel", "name",
                     "hello", "instances", 2, "task", "name", "hello", "processes", "name", "hello",
                     "cmdline", "serve {{thermos.ports[http]}} {{thermos.ports[admin]}}",
                     "resources", "cpu", 0.5, "ram", 1048576, "disk", 2097152);
}

static void a_job_is_read(void **state)
{
    (void)state;
    CLEANUP(json_freep) json_t *doc = hello();
    CLEANUP(job_freep) struct job *job = NULL;
    struct err err = { 0 };

    assert_int_equal(job_decode(doc, &job, &err), 0);
    assert_string_equal(job->key_text, "devcluster/www/devel/hello");
    assert_int_equal(job->instances, 2);
    assert_int_equal(job->max_task_failures, 1);
    assert_int_equal(job->ram_bytes, 1048576);
    assert_int_equal(job->n_ports, 2);
    assert_string_equal(job->ports[0], "admin");
    assert_string_equal(job->ports[1], "http");
}

static void the_hash_ignores_instances_and_update_config_only(void **state)
{
    (void)state;
    CLEANUP(json_freep) json_t *doc = hello();
    CLEANUP(job_freep) struct job *job = NULL;
    CLEANUP(job_freep) struct job *more = NULL;
    CLEANUP(job_freep) struct job *other = NULL;
    struct err err = { 0 };

    assert_int_equal(job_decode(doc, &job, &err), 0);
    json_put_int(doc, "instances", 7);
    json_put_take(doc, "update_config", json_pack("{s:i}", "batch_size", 3));
    assert_int_equal(job_decode(doc, &more, &err), 0);
    json_put_str(doc, "contact", "a@b");
    assert_int_equal(job_decode(doc, &other, &err), 0);
    assert_string_equal(job->hash, more->hash);
    assert_string_not_equal(job->hash, other->hash);
}

static void announced_ports_follow_the_portmap(void **state)
{
    (void)state;
    CLEANUP(json_freep) json_t *doc = hello();
    CLEANUP(job_freep) struct job *job = NULL;
    struct err err = { 0 };

    json_put_take(doc, "announce",
                  json_pack("{s:{s:s, s:s, s:s}}", "portmap", "aurora", "web", "admin", "8080",
                            "alias", "aurora"));
    assert_int_equal(job_decode(doc, &job, &err), 0);
    assert_int_equal(job->n_ports, 2); /* admin is static, aurora an alias. */
    assert_string_equal(job->ports[0], "http");
    assert_string_equal(job->ports[1], "web");
}

static void refuse(const char *path, json_t *value, const char *message)
{
    CLEANUP(json_freep) json_t *doc = hello();
    struct job *job = NULL;
    struct err err = { 0 };
    json_t *at = doc;

    if (str_starts(path, "task.")) {
        at = json_object_get(doc, "task");
        path += strlen("task.");
    }
    json_put_take(at, path, value);
    assert_true(job_decode(doc, &job, &err) < 0);
    assert_null(job);
    if (strstr(err.msg, message) == NULL) {
        fail_msg("'%s' does not say '%s'", err.msg, message);
    }
}

static void bad_jobs_are_refused_in_auroras_words(void **state)
{
    (void)state;
    refuse("instances", json_integer(0), "Instance count must be positive.");
    refuse("instances", json_integer(-3), "Instance count must be positive.");
    refuse("instances", json_integer(4001), "Instance count must be between 1 and 4000 inclusive.");
    refuse("environment", json_string("production"),
           "Job environment production doesn't match: ^(prod|devel|test|staging\\d*)$");
    refuse("environment", json_string("staging1x"), "doesn't match");
    refuse("role", json_string("a/b"), "Invalid role");
    refuse("name", json_string(".."), "Invalid name");
    refuse("name", json_integer(1), "has no name");
    refuse("tier", json_string("golden"), "Invalid tier 'golden'.");
    refuse("partition_policy", json_pack("{s:i}", "delay_secs", -1), "must not be negative");
    refuse("constraints", json_pack("{s:s}", "rack", "limit:x"),
           "limit:x is not a valid limit value, must be integer");
    refuse("constraints", json_pack("{s:s}", "dedicated", "mail/x"),
           "Only mail may use hosts dedicated for that role.");
    refuse("sla_policy", json_pack("{s:f,s:i}", "percentage", 95.0, "duration_secs", 60),
           "Tier 'preemptible' does not support SlaPolicy.");
    refuse("health_check_config", json_pack("{s:f}", "interval_secs", -1.5),
           "Invalid value (-1.5) specified for interval_secs. Value cannot be less than 0.");
    refuse("health_check_config", json_pack("{s:i}", "max_consecutive_failures", -1),
           "Invalid value (-1) specified for max_consecutive_failures. Value cannot be less than "
           "0.");
    refuse("health_check_config", json_pack("{s:i}", "timeout_secs", 3601), "more than 3600");
    refuse("health_check_config", json_pack("{s:s}", "interval_secs", "often"), "a number");
    refuse("health_check_config", json_pack("{s:{s:{}}}", "health_checker", "shell"),
           "ShellHealthChecker[shell_command] is required.");
    refuse("health_check_config",
           json_pack("{s:{s:{s:i}}}", "health_checker", "http", "endpoint", 1),
           "endpoint must be a text");
    refuse("lifecycle", json_pack("{s:{s:i}}", "http", "shutdown_wait_secs", -3),
           "Invalid value (-3) specified for shutdown_wait_secs.");
    refuse("lifecycle", json_pack("{s:i}", "http", 1), "http lifecycle must be an object");
    refuse("task", json_integer(3), "Task required");
    refuse("task.processes", json_array(), "Processes required");
    refuse("task.processes", json_pack("[{s:s,s:s}]", "name", "a/b", "cmdline", "x"),
           "Invalid process name: a/b");
    refuse("task.processes", json_pack("[{s:s}]", "name", "a"), "Process[cmdline] is required");
    refuse("task.processes",
           json_pack("[{s:s,s:s},{s:s,s:s}]", "name", "a", "cmdline", "x", "name", "a", "cmdline",
                     "x"),
           "two processes");
    refuse("task.resources", json_pack("{s:i,s:i,s:i}", "cpu", 0, "ram", 1, "disk", 1),
           "must all be positive");
    refuse("task.resources", json_pack("{s:i,s:i,s:i}", "cpu", 1, "ram", -1, "disk", 1),
           "must all be positive");
    refuse("task.resources", json_pack("{s:i,s:f,s:i}", "cpu", 1, "ram", 8e15, "disk", 1),
           "A task may have at most 1073741824 MB of RAM and of disk.");
}

static void what_placing_and_moving_go_by_is_read(void **state)
{
    (void)state;
    CLEANUP(json_freep) json_t *doc = hello();
    CLEANUP(job_freep) struct job *plain = NULL;
    CLEANUP(job_freep) struct job *job = NULL;
    struct err err = { 0 };

    assert_int_equal(job_decode(doc, &plain, &err), 0);
    assert_int_equal(plain->tier, JOB_TIER_PREEMPTIBLE);
    assert_false(plain->is_production);
    assert_true(plain->partition.reschedule);
    assert_int_equal(plain->partition.delay_secs, 0);
    assert_int_equal(plain->n_constraints, 0);
    assert_null(plain->dedicated);
    assert_int_equal(plain->sla.kind, SLA_NONE);

    json_put_bool(doc, "production", true);
    json_put_int(doc, "priority", -7);
    json_put_int(doc, "instances", 20);
    json_put_take(doc, "partition_policy",
                  json_pack("{s:b,s:i}", "reschedule", 0, "delay_secs", 9));
    json_put_take(doc, "constraints",
                  json_pack("{s:s,s:s}", "rack", "limit:2", "dedicated", "www/web"));
    json_put_take(doc, "sla_policy",
                  json_pack("{s:f,s:i}", "percentage", 80.0, "duration_secs", 5));
    assert_int_equal(job_decode(doc, &job, &err), 0);
    assert_int_equal(job->tier, JOB_TIER_PREFERRED);
    assert_true(job->is_production);
    assert_int_equal(job->priority, -7);
    assert_false(job->partition.reschedule);
    assert_int_equal(job->partition.delay_secs, 9);
    assert_int_equal(job->n_constraints, 2);
    assert_string_equal(job->dedicated, "www/web");
    assert_int_equal(job->sla.kind, SLA_PERCENTAGE);
}

static void a_cron_job_is_a_job_that_others_refuse(void **state)
{
    (void)state;
    CLEANUP(json_freep) json_t *doc = hello();
    CLEANUP(job_freep) struct job *job = NULL;
    struct err err = { 0 };

    json_put_str(doc, "cron_schedule", "*/5 * * * *");
    assert_int_equal(job_decode(doc, &job, &err), 0);
    assert_string_equal(job->cron_schedule, "*/5 * * * *");
    assert_string_equal(job->cron_collision_policy, "KILL_EXISTING");
    assert_true(job_check_no_cron(job, &err) < 0);
    assert_non_null(strstr(err.msg, "calling scheduleCronJob."));
}

static void staging_environments_have_numbers(void **state)
{
    (void)state;
    struct err err = { 0 };

    assert_int_equal(job_check_env("staging", &err), 0);
    assert_int_equal(job_check_env("staging42", &err), 0);
    assert_int_equal(job_check_env("prod", &err), 0);
    assert_true(job_check_env("stagin", &err) < 0);
    assert_true(job_check_env("", &err) < 0);
}

static void keys_and_patterns(void **state)
{
    (void)state;
    struct job_key key = { 0 };
    struct job_key glob = { 0 };
    struct err err = { 0 };

    assert_int_equal(job_key_parse("c/www/prod/hello", &key, &err), 0);
    assert_true(job_key_parse("c/www/prod", &glob, &err) < 0);
    assert_true(job_key_parse("c/www/prod/", &glob, &err) < 0);
    assert_true(job_key_parse("c/../prod/x", &glob, &err) < 0);
    assert_true(job_key_parse("c/a b/prod/x", &glob, &err) < 0);
    assert_int_equal(job_key_parse_glob("c/w*/pr?d", &glob, &err), 0);
    assert_true(job_key_matches(&glob, &key));
    assert_int_equal(job_key_parse_glob("*/*/[d]*/*", &glob, &err), 0);
    assert_false(job_key_matches(&glob, &key));
    assert_true(job_key_parse_glob("a/b/c/d/e", &glob, &err) < 0);
    job_key_fini(&key);
    job_key_fini(&glob);
}

static void the_manifest_says_what_is_wanted(void **state)
{
    (void)state;
    CLEANUP(json_freep) json_t *doc = hello();
    CLEANUP(job_freep) struct job *job = NULL;
    CLEANUP(mem_freep) char *run = NULL;
    CLEANUP(mem_freep) char *stop = NULL;
    CLEANUP(json_freep) json_t *parsed = NULL;
    struct pod_stop why = { "op-2", "Killed by root" };
    struct err err = { 0 };
    struct task task;
    json_t *davit;

    assert_int_equal(job_decode(doc, &job, &err), 0);
    task_init(&task);
    task.id = task_make_id("www", "devel", "hello", 1);
    task.job = mem_strdup(job->key_text);
    task.op_id = mem_strdup("op-1");
    task_add_port(&task, "http", 31000);
    run = pod_manifest(job, &task, "node1", NULL);
    stop = pod_manifest(job, &task, "node1", &why);
    assert_string_not_equal(run, stop);
    assert_int_equal(yaml_parse(stop, strlen(stop), 100000, &parsed, &err), 0);
    assert_string_equal(json_str_or(parsed, "id", ""), task.id);
    assert_string_equal(json_str_or(parsed, "run_as", ""), "www");
    davit = json_object_get(json_object_get(parsed, "config"), "davit");
    assert_string_equal(json_str_or(davit, "desired", ""), "stopped");
    assert_string_equal(json_str_or(davit, "stop_reason", ""), "Killed by root");
    assert_int_equal(json_int_or(json_object_get(davit, "ports"), "http", 0), 31000);
    assert_true(json_equal(json_object_get(davit, "task"), job->task));
    task_fini(&task);
}

static json_t *health_in_manifest(json_t *doc, const char *port, const char *member)
{
    CLEANUP(job_freep) struct job *job = NULL;
    CLEANUP(mem_freep) char *text = NULL;
    CLEANUP(json_freep) json_t *parsed = NULL;
    struct err err = { 0 };
    struct task task;

    assert_int_equal(job_decode(doc, &job, &err), 0);
    task_init(&task);
    task.id = task_make_id("www", "devel", "hello", 1);
    task.job = mem_strdup(job->key_text);
    task_add_port(&task, port, 31000);
    text = pod_manifest(job, &task, "node1", NULL);
    assert_int_equal(yaml_parse(text, strlen(text), 100000, &parsed, &err), 0);
    task_fini(&task);
    return json_incref(
        json_object_get(json_object_get(json_object_get(parsed, "config"), "davit"), member));
}

static void the_manifest_has_health_and_lifecycle_only_where_they_are_in_force(void **state)
{
    (void)state;
    CLEANUP(json_freep) json_t *doc = hello();
    CLEANUP(json_freep) json_t *none = NULL;
    CLEANUP(json_freep) json_t *http = NULL;
    CLEANUP(json_freep) json_t *shell = NULL;
    CLEANUP(json_freep) json_t *ladder = NULL;
    CLEANUP(json_freep) json_t *no_ladder = NULL;
    CLEANUP(json_freep) json_t *aliased = NULL;

    json_put_take(doc, "lifecycle", json_pack("{s:{s:s}}", "http", "port", "admin"));
    json_put_take(doc, "health_check_config",
                  json_pack("{s:i, s:{s:{}}}", "interval_secs", 3, "health_checker", "http"));
    none = health_in_manifest(doc, "http", "health");
    assert_null(none);
    http = health_in_manifest(doc, "health", "health");
    assert_true(json_equal(http, json_object_get(doc, "health_check_config")));
    no_ladder = health_in_manifest(doc, "health", "lifecycle");
    assert_null(no_ladder);
    ladder = health_in_manifest(doc, "admin", "lifecycle");
    assert_true(json_equal(ladder, json_object_get(doc, "lifecycle")));
    json_put_take(doc, "announce", json_pack("{s:{s:s}}", "portmap", "health", "admin"));
    aliased = health_in_manifest(doc, "admin", "health"); /* By its other name. */
    assert_non_null(aliased);
    json_put_take(doc, "health_check_config",
                  json_pack("{s:{s:{s:s}}}", "health_checker", "shell", "shell_command", "true"));
    shell = health_in_manifest(doc, "http", "health");
    assert_non_null(shell);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_job_is_read),
        cmocka_unit_test(the_hash_ignores_instances_and_update_config_only),
        cmocka_unit_test(announced_ports_follow_the_portmap),
        cmocka_unit_test(bad_jobs_are_refused_in_auroras_words),
        cmocka_unit_test(what_placing_and_moving_go_by_is_read),
        cmocka_unit_test(a_cron_job_is_a_job_that_others_refuse),
        cmocka_unit_test(staging_environments_have_numbers),
        cmocka_unit_test(keys_and_patterns),
        cmocka_unit_test(the_manifest_says_what_is_wanted),
        cmocka_unit_test(the_manifest_has_health_and_lifecycle_only_where_they_are_in_force),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
