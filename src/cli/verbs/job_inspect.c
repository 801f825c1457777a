/* SPDX-License-Identifier: Apache-2.0 */

/* davit job inspect: what a configuration file makes of a job, in the words of the Aurora client.
 * No cluster is asked.
 */

#include "base/json.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/hooked.h"
#include "cli/verbs.h"

#include <stdio.h>
#include <string.h>

static const struct verb_option options[] = {
    HOOKED_FILE_OPTIONS,
    { "raw", 0, ARGS_FLAG, NULL, "print the job as the scheduler's structures", NULL, 0, 0 },
    { 0 },
};

/* A scalar as the original prints one: 'x', 'True', '3'. */
static char *quoted(const json_t *value)
{
    if (json_is_string(value)) {
        CLEANUP(mem_freep) char *shown = str_escape(json_string_value(value));

        return str_printf("'%s'", shown);
    }
    if (json_is_boolean(value)) {
        return str_printf("'%s'", json_is_true(value) ? "True" : "False");
    }
    return json_is_real(value) ? str_printf("'%g'", json_real_value(value))
                               : str_printf("'%lld'", (long long)json_integer_value(value));
}

/* "  name:       'x'" when the job has that member. */
static void print_member(const json_t *obj, const char *indented_label, const char *member)
{
    const json_t *value = json_object_get(obj, member);

    if (value != NULL && !json_is_null(value)) {
        CLEANUP(mem_freep) char *text = quoted(value);

        (void)printf("%s%s\n", indented_label, text);
    }
}

static void print_job(const json_t *job)
{
    const json_t *constraints = json_object_get(job, "constraints");
    const json_t *partition = json_object_get(job, "partition_policy");
    const char *name;
    json_t *value;

    (void)printf("Job level information\n");
    print_member(job, "  name:       ", "name");
    print_member(job, "  role:       ", "role");
    print_member(job, "  contact:    ", "contact");
    print_member(job, "  cluster:    ", "cluster");
    print_member(job, "  instances:  ", "instances");
    if (json_is_string(json_object_get(job, "cron_schedule"))) {
        (void)printf("  cron:\n");
        print_member(job, "    schedule: ", "cron_schedule");
        print_member(job, "    policy:   ", "cron_collision_policy");
    }
    if (json_is_object(constraints)) {
        (void)printf("  constraints:\n");
    }
    json_object_foreach((json_t *)constraints, name, value)
    {
        CLEANUP(mem_freep) char *shown = str_escape(name);
        CLEANUP(mem_freep) char *text = quoted(value);

        (void)printf("    '%s': %s\n", shown, text);
    }
    if (json_is_object(partition)) {
        (void)printf("  partition_policy:\n");
        print_member(partition, "    reschedule: ", "reschedule");
        print_member(partition, "    delay_secs: ", "delay_secs");
    }
    (void)printf("  service:    %s\n", json_bool_or(job, "service", false) ? "True" : "False");
    (void)printf("  production: %s\n\n", json_bool_or(job, "production", false) ? "True" : "False");
}

static void print_order(const json_t *constraint)
{
    size_t i;
    json_t *name;

    (void)printf("    ");
    json_array_foreach(json_object_get(constraint, "order"), i, name)
    {
        CLEANUP(mem_freep)
        char *shown = str_escape(json_is_string(name) ? json_string_value(name) : "?");

        (void)printf("%s%s", i > 0 ? " < " : "", shown);
    }
    (void)printf("\n");
}

static void print_process(const json_t *process)
{
    static const char *const flags[] = { "daemon", "ephemeral", "final" };
    const char *cmdline = json_str_or(process, "cmdline", "");
    CLEANUP(mem_freep) char *name = cli_shown(process, "name", "?");

    (void)printf("Process '%s':\n", name);
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        if (json_bool_or(process, flags[i], false)) {
            (void)printf("  %s\n", flags[i]);
        }
    }
    (void)printf("  cmdline:\n");
    while (*cmdline != '\0') {
        size_t len = strcspn(cmdline, "\n");
        CLEANUP(mem_freep) char *line = mem_strndup(cmdline, len);
        CLEANUP(mem_freep) char *shown = str_escape(line);

        (void)printf("    %s\n", shown);
        cmdline += len + (cmdline[len] == '\n');
    }
    (void)printf("\n");
}

static void print_task(const json_t *task)
{
    const json_t *constraints = json_object_get(task, "constraints");
    size_t i;
    json_t *item;

    (void)printf("Task level information\n");
    print_member(task, "  name: ", "name");
    if (json_array_size(constraints) > 0) {
        (void)printf("  constraints:\n");
    }
    json_array_foreach(constraints, i, item)
    {
        print_order(item);
    }
    (void)printf("\n");
    json_array_foreach(json_object_get(task, "processes"), i, item)
    {
        print_process(item);
    }
}

static int run_job_inspect(struct verb_call *call, struct err *err)
{
    CLEANUP(cli_key_fini) struct cli_key key = { 0 };
    CLEANUP(config_freep) struct config *config = NULL;
    CLEANUP(json_freep) json_t *selected = NULL;
    CLEANUP(mem_freep) char *raw = NULL;
    const json_t *job = NULL;

    if (cli_key_parse(call->operands[0], &key, err) < 0) {
        return err_code(err);
    }
    if (hooked_load(call, call->operands[1], call->operands[0], &config, &selected, err) < 0 ||
        (verb_flag(call, "raw") && config_raw(config, &raw, err) < 0)) {
        return err->code == ERR_USAGE ? err_code(err) : hooked_config_failed(config, err);
    }
    job = json_object_get(selected, "job");
    if (raw != NULL) {
        (void)printf("%s\n", raw);
    } else if (call->cli->json) {
        cli_print_json(job);
    } else {
        print_job(job);
        print_task(json_object_get(job, "task"));
    }
    return 0;
}

const struct verb verb_job_inspect = {
    .noun = "job",
    .name = "inspect",
    .operands = "CLUSTER/ROLE/ENV/NAME FILE",
    .min_operands = 2,
    .max_operands = 2,
    .summary = "Show what a configuration file makes of a job.",
    .details = "With --json the whole job, defaults included, as --read-json takes it.\n"
               "A wrong configuration: exit 3.",
    .options = options,
    .json = true,
    .run = run_job_inspect,
};
