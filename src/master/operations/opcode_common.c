/* SPDX-License-Identifier: Apache-2.0 */
/* opcode_common: what the opcodes of jobs tell their hooks, and check, in the same way.
 *
 * Not an opcode, and it changes nothing.
 */
#include "master/operations/opcode_common.h"

#include "base/buf.h"
#include "base/json.h"
#include "base/str.h"
#include "master/operations/opcode_env.h"
#include "model/job_key.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

enum { MIB = 1024 * 1024 };

/* ---- Variables and nodes ---- */

void opcode_common_put_int(json_t *vars, const char *name, long long value)
{
    char text[32];

    (void)snprintf(text, sizeof(text), "%lld", value);
    json_put_str(vars, name, text);
}

static void put_resources(json_t *vars, const struct job *job)
{
    char cpu[32];

    (void)snprintf(cpu, sizeof(cpu), "%g", job->cpu);
    json_put_str(vars, "JOB_CPU", cpu);
    opcode_common_put_int(vars, "JOB_MEMORY", job->ram_bytes / MIB);
    opcode_common_put_int(vars, "JOB_DISK", job->disk_bytes / MIB);
    opcode_common_put_int(vars, "JOB_PORT_COUNT", (long long)job->n_ports);
    for (size_t i = 0; i < job->n_ports; i++) {
        CLEANUP(mem_freep) char *name = str_printf("JOB_PORT%zu_NAME", i);

        json_put_str(vars, name, job->ports[i]);
    }
}

static void put_tags(json_t *vars, const json_t *doc)
{
    CLEANUP_BUF tags = { 0 };
    json_t *item;
    size_t i;

    json_array_foreach(json_object_get(doc, "metadata"), i, item)
    {
        buf_addf(&tags, "%s%s=%s", i > 0 ? " " : "", json_str_or(item, "key", ""),
                 json_str_or(item, "value", ""));
    }
    json_put_str(vars, "JOB_TAGS", buf_text(&tags));
}

void opcode_common_put_job(json_t *vars, const struct job *job)
{
    json_put_str(vars, "OP_TARGET", job->key_text);
    json_put_str(vars, "JOB_KEY", job->key_text);
    json_put_str(vars, "JOB_NAME", job->key.name);
    json_put_str(vars, "JOB_OWNER", job->key.role);
    json_put_str(vars, "JOB_ENV", job->key.env);
    opcode_common_put_int(vars, "JOB_PRIORITY", json_int_or(job->doc, "priority", 0));
    json_put_str(vars, "JOB_TIER", json_str_or(job->doc, "tier", "preemptible"));
    put_tags(vars, job->doc);
    opcode_common_put_int(vars, "JOB_INSTANCE_COUNT", job->instances);
    put_resources(vars, job);
    json_put_str(vars, "JOB_CONFIG_HASH", job->hash);
}

void opcode_common_put_instances(json_t *vars, const char *name, const json_t *instances)
{
    CLEANUP_BUF list = { 0 };
    json_t *item;
    size_t i;

    json_array_foreach(instances, i, item)
    {
        buf_addf(&list, "%s%lld", i > 0 ? " " : "", (long long)json_integer_value(item));
    }
    json_put_str(vars, name, buf_text(&list));
}

void opcode_common_add_nodes(const struct state_job *job, json_t *nodes)
{
    const struct state_task *task;
    json_t *seen = json_object();

    DL_FOREACH2(job->tasks, task, job_next)
    {
        if (task->node != NULL && json_object_get(seen, task->node->name) == NULL) {
            json_put_bool(seen, task->node->name, true);
            json_array_append_new(nodes, json_string(task->node->name));
        }
    }
    json_decref(seen);
}

/* ---- Input ---- */

int opcode_common_check_key(const json_t *input, struct err *err)
{
    struct job_key key = { 0 };
    const char *text;

    if (json_need_str(input, "key", &text, err) < 0 || job_key_parse(text, &key, err) < 0) {
        return err->code;
    }
    job_key_fini(&key);
    if (strlen(json_str_or(input, "message", "")) > OPCODE_COMMON_MAX_MESSAGE) {
        return err_set(err, ERR_TOOBIG, "the message is longer than %d bytes",
                       OPCODE_COMMON_MAX_MESSAGE);
    }
    return 0;
}

int opcode_common_check_instances(const json_t *input, struct err *err)
{
    const json_t *instances = json_object_get(input, "instances");
    json_t *item;
    size_t i;

    if (instances == NULL || json_is_null(instances)) {
        return 0;
    }
    if (!json_is_array(instances) || json_array_size(instances) > JOB_MAX_INSTANCES) {
        return err_set(err, ERR_INVALID, "instances must be an array of at most %d numbers",
                       JOB_MAX_INSTANCES);
    }
    json_array_foreach(instances, i, item)
    {
        if (!json_is_integer(item) || json_integer_value(item) < 0) {
            return err_set(err, ERR_INVALID, "instances must be numbers from 0");
        }
    }
    return 0;
}

static int by_number(const void *a, const void *b)
{
    int one = *(const int *)a;
    int other = *(const int *)b;

    return (one > other) - (one < other);
}

int *opcode_common_instances(const json_t *input, size_t *ret_n)
{
    const json_t *instances = json_object_get(input, "instances");
    size_t n = json_array_size(instances);
    size_t kept = 0;
    int *ids;

    *ret_n = 0;
    if (!json_is_array(instances)) {
        return NULL;
    }
    ids = mem_alloc((n + 1) * sizeof(*ids));
    for (size_t i = 0; i < n; i++) {
        json_int_t id = json_integer_value(json_array_get(instances, i));

        ids[i] = id < INT32_MAX ? (int)id : INT32_MAX;
    }
    qsort(ids, n, sizeof(*ids), by_number);
    for (size_t i = 0; i < n; i++) {
        if (kept == 0 || ids[kept - 1] != ids[i]) {
            ids[kept++] = ids[i];
        }
    }
    *ret_n = kept;
    return ids;
}

bool opcode_common_is_named(const int *ids, size_t n, int instance)
{
    return ids == NULL || bsearch(&instance, ids, n, sizeof(*ids), by_number) != NULL;
}

char *opcode_common_key(const json_t *input)
{
    return mem_strdup_opt(json_str_or(input, "key", NULL));
}

struct state_job *opcode_common_find(const struct opcode_ref *ref)
{
    return state_job_find(ref->env->state, json_str_or(ref->input, "key", ""));
}

const char *opcode_common_user(const struct opcode_ref *ref)
{
    return ref->user != NULL ? ref->user : "UNSECURE";
}
