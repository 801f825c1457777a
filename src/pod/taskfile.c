/* SPDX-License-Identifier: Apache-2.0 */

/* taskfile: reads task.json, by which the agent tells davit-pod what to run.
 *
 * The file comes from our own agent, but what is in it a user wrote: everything is
 * checked and capped here, and nothing of the JSON is kept in memory.
 */
#include "pod/taskfile_priv.h"

#include "base/buf.h"
#include "base/file.h"
#include "base/id.h"
#include "base/json.h"
#include "base/str.h"
#include "pod/field.h"
#include "pod/proto.h"

#include <string.h>

enum {
    ID_MAX = 512,
    TOKEN_MAX = 64, /* base/tree.h's */
    PORTS_MAX = 1000,
    GROUPS_MAX = 1000,
    SECONDS_MAX = 10 * 365 * 24 * 3600,
    ONE_MINUTE_MS = 60 * 1000,
    LOG_DEFAULT_BYTES = 100 * 1024 * 1024,
    LOG_DEFAULT_BACKUPS = 5,
    LOG_MAX_BACKUPS = 1000,
};

static const char default_path[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

void taskfile_free(struct taskfile *task)
{
    if (!task) {
        return;
    }
    for (size_t i = 0; i < task->n_ports; i++) {
        free(task->ports[i].name);
    }
    free(task->ports);
    free(task->id);
    free(task->digest);
    free(task->job);
    free(task->op_id);
    free(task->node);
    free(task->hostname);
    free(task->user);
    free(task->path);
    free(task->token);
    strv_free(task->env);
    free(task->groups);
    taskfile_free_check(task->check);
    taskfile_free_ladder(task->ladder);
    graph_free(task->graph);
    free(task);
}

static int read_ports(const json_t *body, struct taskfile *task, struct err *err)
{
    const json_t *ports = NULL;
    const char *name;
    json_t *value;

    if (field_object(body, "ports", &ports, err) < 0) {
        return err->code;
    }
    if (json_object_size(ports) > PORTS_MAX) {
        return err_set(err, ERR_TOOBIG, "more than %d ports", PORTS_MAX);
    }
    task->ports = mem_alloc((json_object_size(ports) + 1) * sizeof(*task->ports));
    json_object_foreach((json_t *)ports, name, value)
    {
        int64_t port = 0;

        if (json_need_int(ports, name, 0, 65535, &port, err) < 0) {
            return err_wrap(err, "ports");
        }
        task->ports[task->n_ports].name = mem_strdup(name);
        task->ports[task->n_ports++].number = (int)port;
    }
    return 0;
}

static int read_env(const json_t *body, struct taskfile *task, struct err *err)
{
    const json_t *env = NULL;
    const char *name;
    json_t *value;

    if (field_object(body, "env", &env, err) < 0) {
        return err->code;
    }
    json_object_foreach((json_t *)env, name, value)
    {
        if (!json_is_string(value) || name[0] == '\0' || strchr(name, '=')) {
            return err_set(err, ERR_INVALID, "env: '%s' is no variable with a text", name);
        }
        strv_addf(&task->env, "%s=%s", name, json_string_value(value));
    }
    return 0;
}

static int read_run_as(const json_t *body, struct taskfile *task, struct err *err)
{
    const json_t *run_as = NULL;
    const json_t *groups = NULL;
    int64_t id = 0;

    if (field_object(body, "run_as", &run_as, err) < 0) {
        return err->code;
    }
    if (!run_as) {
        return 0;
    }
    if (json_need_int(run_as, "uid", 0, UINT32_MAX - 1, &id, err) < 0) {
        return err_wrap(err, "run_as");
    }
    task->uid = (uid_t)id;
    if (json_need_int(run_as, "gid", 0, UINT32_MAX - 1, &id, err) < 0 ||
        field_array(run_as, "groups", &groups, err) < 0) {
        return err_wrap(err, "run_as");
    }
    task->gid = (gid_t)id;
    if (json_array_size(groups) > GROUPS_MAX) {
        return err_set(err, ERR_TOOBIG, "run_as: more than %d groups", GROUPS_MAX);
    }
    task->groups = mem_alloc((json_array_size(groups) + 1) * sizeof(*task->groups));
    for (size_t i = 0; i < json_array_size(groups); i++) {
        const json_t *group = json_array_get(groups, i);

        if (!json_is_integer(group) || json_integer_value(group) < 0 ||
            json_integer_value(group) >= UINT32_MAX) {
            return err_set(err, ERR_INVALID, "run_as: a group is not a number");
        }
        task->groups[task->n_groups++] = (gid_t)json_integer_value(group);
    }
    task->set_user = true;
    return 0;
}

static int read_resources(const json_t *body, struct taskfile *task, struct err *err)
{
    const json_t *resources = NULL;
    const double bytes_max = 1e18;

    if (field_object(body, "resources", &resources, err) < 0) {
        return err->code;
    }
    if (field_scaled(resources, "cpu", 0, 1000, 1e6, &task->cpu_milli, err) < 0 ||
        field_scaled(resources, "ram_bytes", 0, 1, bytes_max, &task->ram_bytes, err) < 0 ||
        field_scaled(resources, "disk_bytes", 0, 1, bytes_max, &task->disk_bytes, err) < 0) {
        return err_wrap(err, "resources");
    }
    return 0;
}

static int read_hooks(const json_t *body, struct taskfile *task, struct err *err)
{
    const json_t *hooks = NULL;
    int64_t grace_ms = 0;
    int64_t every_ms = 0;

    if (field_object(body, "hooks", &hooks, err) < 0) {
        return err->code;
    }
    if (field_number(hooks, "grace_ms", 1, INT32_MAX, ONE_MINUTE_MS, &grace_ms, err) < 0 ||
        field_number(hooks, "check_every_ms", 0, INT32_MAX, 0, &every_ms, err) < 0 ||
        field_count(hooks, "checks", 1, &task->checks, err) < 0) {
        return err_wrap(err, "hooks");
    }
    task->hook_grace_ms = (uint64_t)grace_ms;
    task->check_every_ms = (uint64_t)every_ms;
    return 0;
}

static bool token_usable(const char *token)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
    size_t len = strlen(token);

    return len > 0 && len <= TOKEN_MAX && strspn(token, allowed) == len;
}

static int read_identity(const json_t *body, struct taskfile *task, struct err *err)
{
    int64_t version = 0;
    const char *id = NULL;
    char made_up[ID_TOKEN_SIZE];

    id_token(made_up);
    if (json_need_int(body, "v", 1, PROTO_VERSION, &version, err) < 0 ||
        json_need_str(body, "id", &id, err) < 0 ||
        field_text(body, "digest", NULL, &task->digest, err) < 0 ||
        field_text(body, "job", NULL, &task->job, err) < 0 ||
        field_text(body, "op_id", NULL, &task->op_id, err) < 0 ||
        field_text(body, "node", NULL, &task->node, err) < 0 ||
        field_text(body, "hostname", "localhost", &task->hostname, err) < 0 ||
        field_text(body, "user", "davit", &task->user, err) < 0 ||
        field_text(body, "path", default_path, &task->path, err) < 0 ||
        field_text(body, "token", made_up, &task->token, err) < 0 ||
        field_number(body, "instance", 0, INT32_MAX, 0, &task->instance, err) < 0) {
        return err->code;
    }
    if (id[0] == '\0' || strlen(id) > ID_MAX) {
        return err_set(err, ERR_INVALID, "member 'id' is empty or longer than %d", ID_MAX);
    }
    if (!token_usable(task->token)) {
        return err_set(err, ERR_INVALID, "member 'token' must be 1 to %d letters, digits, - and _",
                       TOKEN_MAX);
    }
    task->id = mem_strdup(id);
    return 0;
}

static int read_logger(const json_t *process, struct graph_spec *spec, struct err *err)
{
    CLEANUP(mem_freep) char *mode = NULL;
    const json_t *logger = NULL;
    const json_t *policy = NULL;
    int64_t bytes = 0;

    if (field_object(process, "logger", &logger, err) < 0 ||
        field_text(logger, "mode", "standard", &mode, err) < 0) {
        return err->code;
    }
    if (!str_eq(mode, "rotate")) {
        return 0;
    }
    if (field_object(logger, "rotate", &policy, err) < 0 ||
        field_number(policy, "log_size", 1, INT64_MAX, LOG_DEFAULT_BYTES, &bytes, err) < 0 ||
        field_count(policy, "backups", LOG_DEFAULT_BACKUPS, &spec->log_backups, err) < 0) {
        return err->code;
    }
    spec->log_bytes = (uint64_t)bytes;
    if (spec->log_backups > LOG_MAX_BACKUPS) {
        return err_set(err, ERR_TOOBIG, "more than %d backups of a log", LOG_MAX_BACKUPS);
    }
    return 0;
}

static int read_process(const json_t *process, const struct placeholder_values *values,
                        struct graph *graph, struct err *err)
{
    struct graph_spec spec = { 0 };
    const char *cmdline = NULL;

    if (!json_is_object(process)) {
        return err_set(err, ERR_INVALID, "a process is not an object");
    }
    if (json_need_str(process, "name", &spec.name, err) < 0) {
        return err_wrap(err, "a process");
    }
    if (json_need_str(process, "cmdline", &cmdline, err) < 0 ||
        field_count(process, "max_failures", 1, &spec.max_failures, err) < 0 ||
        field_scaled(process, "min_duration", 5, 1000, SECONDS_MAX, &spec.min_duration_ms, err) <
            0 ||
        field_flag(process, "daemon", &spec.daemon, err) < 0 ||
        field_flag(process, "ephemeral", &spec.ephemeral, err) < 0 ||
        field_flag(process, "final", &spec.final, err) < 0 ||
        read_logger(process, &spec, err) < 0) {
        return err_wrap(err, "process '%.100s'", spec.name);
    }
    CLEANUP(mem_freep) char *filled = placeholder_fill(cmdline, values);
    spec.cmdline = filled;
    return graph_add(graph, &spec, err);
}

static int read_constraint(const json_t *constraint, struct graph *graph, struct err *err)
{
    json_t *order = NULL;

    if (!json_is_object(constraint)) {
        return err_set(err, ERR_INVALID, "a constraint is not an object");
    }
    if (!field_find(constraint, "order")) {
        return 0;
    }
    if (json_need_array(constraint, "order", &order, err) < 0) {
        return err_wrap(err, "a constraint");
    }
    CLEANUP(mem_freep)
    const char **names = mem_alloc((json_array_size(order) + 1) * sizeof(*names));
    for (size_t i = 0; i < json_array_size(order); i++) {
        names[i] = json_string_value(json_array_get(order, i));
        if (!names[i]) {
            return err_set(err, ERR_INVALID, "a constraint orders something that is no name");
        }
    }
    return graph_order(graph, names, json_array_size(order), err);
}

struct placeholder_values taskfile_values(const struct taskfile *task)
{
    return (struct placeholder_values){
        .instance = task->instance,
        .hostname = task->hostname,
        .task_id = task->id,
        .user = task->user,
        .ports = task->ports,
        .n_ports = task->n_ports,
    };
}

static int read_graph(const json_t *body, struct taskfile *task, struct err *err)
{
    const struct placeholder_values values = taskfile_values(task);
    json_t *spec = NULL;
    json_t *processes = NULL;
    const json_t *constraints = NULL;
    unsigned max_failures = 0;
    unsigned max_concurrency = 0;
    uint64_t wait_ms = 0;

    if (json_need_obj(body, "task", &spec, err) < 0) {
        return err->code;
    }
    if (json_need_array(spec, "processes", &processes, err) < 0 ||
        field_array(spec, "constraints", &constraints, err) < 0 ||
        field_count(spec, "max_failures", 1, &max_failures, err) < 0 ||
        field_count(spec, "max_concurrency", 0, &max_concurrency, err) < 0 ||
        field_scaled(spec, "finalization_wait", 30, 1000, SECONDS_MAX, &wait_ms, err) < 0) {
        return err_wrap(err, "task");
    }
    task->graph = graph_new(max_failures, max_concurrency, wait_ms);
    for (size_t i = 0; i < json_array_size(processes); i++) {
        if (read_process(json_array_get(processes, i), &values, task->graph, err) < 0) {
            return err->code;
        }
    }
    for (size_t i = 0; i < json_array_size(constraints); i++) {
        if (read_constraint(json_array_get(constraints, i), task->graph, err) < 0) {
            return err->code;
        }
    }
    if (task->graph->n_processes == 0) {
        return err_set(err, ERR_INVALID, "a task without processes");
    }
    return graph_check(task->graph, err);
}

int taskfile_parse(const char *bytes, size_t len, struct taskfile **ret_task, struct err *err)
{
    CLEANUP(json_freep) json_t *body = NULL;
    CLEANUP(taskfile_freep) struct taskfile *task = mem_alloc(sizeof(*task));

    if (json_parse(bytes, len, PROTO_TASK_MAX, &body, err) < 0 ||
        read_identity(body, task, err) < 0 || read_ports(body, task, err) < 0 ||
        read_env(body, task, err) < 0 || read_run_as(body, task, err) < 0 ||
        read_resources(body, task, err) < 0 || read_hooks(body, task, err) < 0 ||
        taskfile_read_check(body, task, err) < 0 || taskfile_read_ladder(body, task, err) < 0 ||
        read_graph(body, task, err) < 0) {
        struct err why = *err;
        return err_set(err, ERR_CONFIG, "%s: %s", PROTO_TASK_FILE, why.msg);
    }
    *ret_task = TAKE(task);
    return 0;
}

int taskfile_load(const char *home, struct taskfile **ret_task, struct err *err)
{
    CLEANUP(mem_freep) char *path = file_join(home, PROTO_TASK_FILE);
    CLEANUP_BUF bytes = { 0 };

    if (file_read(path, PROTO_TASK_MAX, &bytes, err) < 0) {
        return err->code;
    }
    return taskfile_parse(buf_text(&bytes), bytes.len, ret_task, err);
}
