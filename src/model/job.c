/* SPDX-License-Identifier: Apache-2.0 */
/* job: what the control plane reads of an evaluated Aurora Job.
 *
 * The document stays whole, for the agent's manifest and for `job inspect`; this
 * file only checks it and reads out what decisions need.  Messages are those of
 * Aurora's scheduler where it had one, because scripts look for them.
 */
#include "model/job.h"

#include "base/digest.h"
#include "base/json.h"
#include "base/str.h"
#include "model/job_health.h"
#include "model/support.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static const char ENV_RULE[] = "^(prod|devel|test|staging\\d*)$";

void job_free(struct job *job)
{
    if (job == NULL) {
        return;
    }
    for (size_t i = 0; i < job->n_ports; i++) {
        free(job->ports[i]);
    }
    free(job->ports);
    constraints_free(job->constraints, job->n_constraints);
    sla_policy_fini(&job->sla);
    job_key_fini(&job->key);
    free(job->key_text);
    json_decref(job->doc);
    free(job);
}

int job_check_env(const char *env, struct err *err)
{
    bool ok = str_eq(env, "prod") || str_eq(env, "devel") || str_eq(env, "test");

    if (!ok && str_starts(env, "staging")) {
        const char *rest = env + strlen("staging");

        ok = strspn(rest, "0123456789") == strlen(rest);
    }
    if (!ok) {
        return err_set(err, ERR_CONFIG, "Job environment %.100s doesn't match: %s", env, ENV_RULE);
    }
    return 0;
}

/* ---- Ports ---- */

static bool has_port(const struct job *job, const char *name)
{
    for (size_t i = 0; i < job->n_ports; i++) {
        if (strcmp(job->ports[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static void add_port(struct job *job, const char *name, size_t len)
{
    CLEANUP(mem_freep) char *copy = mem_strndup(name, len);

    /* One more than allowed is kept, so that the check sees the excess. */
    if (len == 0 || has_port(job, copy) || job->n_ports > JOB_MAX_PORTS) {
        return;
    }
    job->ports = mem_realloc(job->ports, (job->n_ports + 1) * sizeof(job->ports[0]));
    job->ports[job->n_ports++] = TAKE(copy);
}

/* Every {{thermos.ports[NAME]}} in any text below json. */
static void collect_ports(struct job *job, const json_t *json)
{
    static const char begin[] = "{{thermos.ports[";
    const char *key;
    json_t *value;
    size_t i;

    if (json_is_object(json)) {
        json_object_foreach((json_t *)json, key, value)
        {
            collect_ports(job, value);
        }
    } else if (json_is_array(json)) {
        json_array_foreach(json, i, value)
        {
            collect_ports(job, value);
        }
    } else if (json_is_string(json)) {
        for (const char *at = strstr(json_string_value(json), begin); at != NULL;
             at = strstr(at, begin)) {
            const char *end;

            at += strlen(begin);
            end = strchr(at, ']');
            if (end != NULL) {
                add_port(job, at, (size_t)(end - at));
            }
        }
    }
}

static bool is_static_port(const json_t *value)
{
    const char *text = json_string_value(value);

    return json_is_integer(value) ||
           (text != NULL && text[0] != '\0' && strspn(text, "0123456789") == strlen(text));
}

static int compare_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Names that are referenced or aliased to; less those that the portmap answers itself. */
static void find_ports(struct job *job)
{
    const json_t *announce = json_object_get(job->doc, "announce");
    const json_t *portmap = json_object_get(announce, "portmap");
    const char *name;
    json_t *value;
    size_t kept = 0;

    collect_ports(job, job->task);
    json_object_foreach((json_t *)portmap, name, value)
    {
        if (json_is_string(value) && !is_static_port(value)) {
            add_port(job, json_string_value(value), json_string_length(value));
        }
    }
    for (size_t i = 0; i < job->n_ports; i++) {
        if (json_object_get(portmap, job->ports[i]) != NULL) {
            free(job->ports[i]);
        } else {
            job->ports[kept++] = job->ports[i];
        }
    }
    job->n_ports = kept;
    if (kept > 0) {
        qsort(job->ports, kept, sizeof(job->ports[0]), compare_text);
    }
}

/* ---- Reading ---- */

static int read_key(const json_t *doc, struct job *job, struct err *err)
{
    const char *part[4];
    static const char *const member[4] = { "cluster", "role", "environment", "name" };

    for (size_t i = 0; i < 4; i++) {
        part[i] = json_str_or(doc, member[i], NULL);
        if (part[i] == NULL || part[i][0] == '\0') {
            return err_set(err, ERR_CONFIG, "the job has no %s", member[i]);
        }
        if (!job_key_part_ok(part[i])) {
            return err_set(err, ERR_CONFIG, "Invalid %s '%.100s'", member[i], part[i]);
        }
    }
    job_key_set(&job->key, part[0], part[1], part[2], part[3]);
    job->key_text = job_key_text(&job->key);
    return 0;
}

static void make_hash(struct job *job)
{
    CLEANUP(json_freep) json_t *task_only = json_copy(job->doc);
    CLEANUP(mem_freep) char *text = NULL;
    char hex[DIGEST_SHA256_HEX];

    /* How many and how they are updated is not what a task is. */
    json_object_del(task_only, "instances");
    json_object_del(task_only, "update_config");
    text = json_text(task_only);
    digest_sha256_hex(text, strlen(text), hex);
    memcpy(job->hash, hex, sizeof(job->hash) - 1);
}

/* Integers may come as 1.0 from a templated field. */
static int64_t whole(const json_t *obj, const char *key, int64_t fallback)
{
    double value = json_num_or(obj, key, (double)fallback);

    if (!(value > -9e15 && value < 9e15)) {
        return fallback;
    }
    return (int64_t)value;
}

static const char *const tier_names[] = {
    [JOB_TIER_PREFERRED] = "preferred",
    [JOB_TIER_PREEMPTIBLE] = "preemptible",
    [JOB_TIER_REVOCABLE] = "revocable",
};

const char *job_tier_name(enum job_tier tier)
{
    return tier_names[tier];
}

bool job_tier_parse(const char *name, enum job_tier *ret_tier)
{
    for (unsigned i = 0; i < sizeof(tier_names) / sizeof(tier_names[0]); i++) {
        if (str_eq(name, tier_names[i])) {
            *ret_tier = (enum job_tier)i;
            return true;
        }
    }
    return false;
}

/* A text that is there and not empty, else NULL. */
static const char *text_member(const json_t *doc, const char *key)
{
    const char *text = json_str_or(doc, key, NULL);

    return text != NULL && text[0] != '\0' ? text : NULL;
}

/* What placing, preempting and moving go by. */
static void read_policies(struct job *job)
{
    const json_t *partition = json_object_get(job->doc, "partition_policy");
    const char *tier = text_member(job->doc, "tier");
    int64_t priority = whole(job->doc, "priority", 0);
    int64_t delay = whole(partition, "delay_secs", 0);

    job->tier = JOB_TIER_PREEMPTIBLE;
    if (tier == NULL && json_bool_or(job->doc, "production", false)) {
        job->tier = JOB_TIER_PREFERRED;
    } else if (tier != NULL) {
        (void)job_tier_parse(tier, &job->tier); /* job_decode() refuses another word. */
    }
    job->is_production = job->tier == JOB_TIER_PREFERRED;
    job->priority = priority > INT32_MAX   ? INT32_MAX
                    : priority < INT32_MIN ? INT32_MIN
                                           : (int)priority;
    constraints_read(json_object_get(job->doc, "constraints"), &job->constraints,
                     &job->n_constraints);
    job->dedicated = constraints_dedicated(job->constraints, job->n_constraints);
    job->partition.reschedule = json_bool_or(partition, "reschedule", true);
    job->partition.delay_secs = delay > 0 ? (delay < INT32_MAX ? delay : INT32_MAX) : 0;
    sla_policy_read(json_object_get(job->doc, "sla_policy"), &job->sla);
    job->cron_schedule = text_member(job->doc, "cron_schedule");
    job->cron_collision_policy = text_member(job->doc, "cron_collision_policy");
    if (job->cron_collision_policy == NULL) {
        job->cron_collision_policy = "KILL_EXISTING";
    }
}

int job_decode_trusted(const json_t *doc, struct job **ret_job, struct err *err)
{
    CLEANUP(job_freep) struct job *job = mem_alloc(sizeof(*job));
    const json_t *resources;
    int64_t instances, failures;

    if (!json_is_object(doc)) {
        return err_set(err, ERR_CONFIG, "a job must be an object");
    }
    job->doc = json_incref((json_t *)doc);
    if (read_key(doc, job, err) < 0) {
        return err->code;
    }
    job->task = json_object_get(doc, "task");
    if (!json_is_object(job->task)) {
        return err_set(err, ERR_CONFIG, "Task required for job \"%s\"", job->key.name);
    }
    instances = whole(doc, "instances", 1);
    failures = whole(doc, "max_task_failures", 1);
    job->instances = instances > INT32_MAX ? INT32_MAX : instances < 0 ? 0 : (int)instances;
    job->max_task_failures = failures > INT32_MAX ? INT32_MAX : failures < 0 ? -1 : (int)failures;
    job->service = json_bool_or(doc, "service", false);
    resources = json_object_get(job->task, "resources");
    job->cpu = json_num_or(resources, "cpu", 0);
    job->ram_bytes = whole(resources, "ram", 0);
    job->disk_bytes = whole(resources, "disk", 0);
    find_ports(job);
    read_policies(job);
    make_hash(job);
    *ret_job = TAKE(job);
    return 0;
}

static int check_process(const json_t *process, struct err *err)
{
    const char *name = json_str_or(process, "name", NULL);

    if (name == NULL || name[0] == '\0' || name[0] == '.' || strchr(name, '/') != NULL ||
        strlen(name) > JOB_KEY_PART_MAX) {
        return err_set(err, ERR_CONFIG, "Task is invalid: Invalid process name: %.100s",
                       name != NULL ? name : "(none)");
    }
    if (json_str_or(process, "cmdline", NULL) == NULL) {
        return err_set(err, ERR_CONFIG, "Process[cmdline] is required (process %s).", name);
    }
    return 0;
}

static int check_processes(const struct job *job, struct err *err)
{
    json_t *processes = json_object_get(job->task, "processes");
    CLEANUP(json_freep) json_t *names = json_object();
    json_t *process;
    size_t i;

    if (!json_is_array(processes) || json_array_size(processes) == 0) {
        return err_set(err, ERR_CONFIG, "Processes required for task on job \"%s\"", job->key.name);
    }
    if (json_array_size(processes) > JOB_MAX_PROCESSES) {
        return err_set(err, ERR_CONFIG, "A task may have at most %d processes.", JOB_MAX_PROCESSES);
    }
    json_array_foreach(processes, i, process)
    {
        const char *name;

        if (check_process(process, err) < 0) {
            return err->code;
        }
        name = json_string_value(json_object_get(process, "name"));
        if (json_object_get(names, name) != NULL) {
            return err_set(err, ERR_CONFIG, "Task is invalid: two processes are named %s", name);
        }
        json_put_bool(names, name, true);
    }
    return 0;
}

static int check_size(const struct job *job, struct err *err)
{
    CLEANUP(mem_freep) char *text = json_text(job->doc);

    if (strlen(text) > JOB_MAX_BYTES) {
        return err_set(err, ERR_TOOBIG, "the job configuration is larger than %d bytes",
                       JOB_MAX_BYTES);
    }
    return 0;
}

static int check_numbers(const struct job *job, struct err *err)
{
    enum { MIB = 1024 * 1024 };

    if (job->instances <= 0) {
        return err_set(err, ERR_CONFIG, "Instance count must be positive.");
    }
    if (job->instances > JOB_MAX_INSTANCES) {
        return err_set(err, ERR_CONFIG, "Instance count must be between 1 and %d inclusive.",
                       JOB_MAX_INSTANCES);
    }
    if (!(job->cpu > 0) || job->cpu > 1e6 || job->ram_bytes <= 0 || job->disk_bytes <= 0) {
        return err_set(err, ERR_CONFIG,
                       "Task has invalid resources.  cpu/ramMb/diskMb must all be positive: "
                       "cpu:%g ramMb:%lld diskMb:%lld",
                       job->cpu, (long long)(job->ram_bytes / MIB),
                       (long long)(job->disk_bytes / MIB));
    }
    if (job->ram_bytes > JOB_MAX_RESOURCE_BYTES || job->disk_bytes > JOB_MAX_RESOURCE_BYTES) {
        return err_set(err, ERR_CONFIG, "A task may have at most %lld MB of RAM and of disk.",
                       (long long)(JOB_MAX_RESOURCE_BYTES / MIB));
    }
    if (job->n_ports > JOB_MAX_PORTS) {
        return err_set(err, ERR_CONFIG, "A task may have at most %d ports.", JOB_MAX_PORTS);
    }
    return 0;
}

static int check_policies(const struct job *job, struct err *err)
{
    const json_t *partition = json_object_get(job->doc, "partition_policy");
    const char *tier = text_member(job->doc, "tier");
    enum job_tier known;

    if (tier != NULL && !job_tier_parse(tier, &known)) {
        return err_set(err, ERR_CONFIG, "Invalid tier '%.100s'.", tier);
    }
    if (whole(partition, "delay_secs", 0) < 0) {
        return err_set(err, ERR_CONFIG, "partition_policy: delay_secs must not be negative");
    }
    if (constraints_check(json_object_get(job->doc, "constraints"), job->constraints,
                          job->n_constraints, job->key.role, err) < 0) {
        return err->code;
    }
    return sla_policy_check(json_object_get(job->doc, "sla_policy"), &job->sla,
                            job_tier_name(job->tier), job->instances, err);
}

int job_check_no_cron(const struct job *job, struct err *err)
{
    if (job->cron_schedule != NULL) {
        return err_set(err, ERR_CONFIG,
                       "Cron jobs may only be created/updated by calling scheduleCronJob.");
    }
    return 0;
}

int job_decode(const json_t *doc, struct job **ret_job, struct err *err)
{
    CLEANUP(job_freep) struct job *job = NULL;

    if (job_decode_trusted(doc, &job, err) < 0) {
        return err->code;
    }
    if (job_check_env(job->key.env, err) < 0 || check_numbers(job, err) < 0 ||
        check_processes(job, err) < 0 || check_policies(job, err) < 0 ||
        job_health_check(doc, err) < 0 || support_check(doc, err) < 0 || check_size(job, err) < 0) {
        return err->code;
    }
    *ret_job = TAKE(job);
    return 0;
}
