/* SPDX-License-Identifier: Apache-2.0 */
/* simcheck: what must hold after every transaction.
 *
 * - only the session that claimed the newest epoch writes what is the leader's;
 * - a task's history only grows, by moves that the contract's table has, and what ended stays so;
 * - a task that lives has its intent, asked to stop exactly when it is to end; one that waits has
 *   none; an ended one has none or one that says stop; no intent is without its task;
 * - an instance has at most one active run;
 * - what lives on a node fits it, no port is given twice, constraints hold;
 * - a task's job and its configuration are there.
 *
 * Nothing of the master's code is used but names: a fault there must not hide itself here.
 */
#include "simcheck.h"

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "model/pod.h"
#include "simloop.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

struct simcheck {
    struct simtree *tree;
    struct simcheck_job *jobs;
    struct simcheck_task *tasks, *active;
    struct simcheck_node *nodes;
    int64_t leader; /* Session of the newest epoch. */
    uint64_t writes, order;
    uint64_t n_writes; /* All transactions. */
    uint64_t moves[TASK_N_STATUS];
};

/* clang-format off */
/* contracts/aurora.md 4.1, typed in once more on purpose. */
static const char *const MOVES[TASK_N_STATUS] = {
    [TASK_INIT] = "PENDING THROTTLED",
    [TASK_THROTTLED] = "PENDING KILLING",
    [TASK_PENDING] = "ASSIGNED KILLING",
    [TASK_ASSIGNED] = "STARTING RUNNING FINISHED FAILED KILLED LOST RESTARTING DRAINING PREEMPTING "
                      "KILLING PARTITIONED",
    [TASK_STARTING] = "RUNNING FINISHED FAILED KILLED LOST RESTARTING DRAINING PREEMPTING KILLING "
                      "PARTITIONED",
    [TASK_RUNNING] = "FINISHED FAILED KILLED LOST RESTARTING DRAINING PREEMPTING KILLING "
                     "PARTITIONED",
    [TASK_PREEMPTING] = "FINISHED FAILED KILLED LOST KILLING PARTITIONED",
    [TASK_RESTARTING] = "FINISHED FAILED KILLED LOST KILLING PARTITIONED",
    [TASK_DRAINING] = "FINISHED FAILED KILLED LOST KILLING PARTITIONED",
    [TASK_KILLING] = "FINISHED FAILED KILLED LOST PARTITIONED",
    [TASK_PARTITIONED] = "LOST FAILED FINISHED RUNNING ASSIGNED STARTING RESTARTING DRAINING "
                         "PREEMPTING KILLING",
    [TASK_FINISHED] = "", [TASK_FAILED] = "", [TASK_KILLED] = "", [TASK_LOST] = "",
};
/* clang-format on */

static bool may_move(enum task_status from, const char *to)
{
    const char *at = strstr(MOVES[from], to);
    size_t len = strlen(to);

    return at != NULL && (at == MOVES[from] || at[-1] == ' ') &&
           (at[len] == ' ' || at[len] == '\0');
}

static bool is_ending(enum task_status status)
{
    return status == TASK_KILLING || status == TASK_RESTARTING || status == TASK_DRAINING ||
           status == TASK_PREEMPTING;
}

static json_t *parse(const char *path, const char *text)
{
    json_t *doc = json_loads(text, JSON_REJECT_DUPLICATES, NULL);

    SIM_CHECK(json_is_object(doc), "%s is no JSON object: %s", path, text);
    return doc;
}

/* ---- Jobs ---- */

static void free_configs(struct simcheck_job *job)
{
    struct simcheck_config *config, *next;

    HASH_ITER(hh, job->configs, config, next)
    {
        HASH_DEL(job->configs, config);
        free(config->hash);
        free(config);
    }
}

static void free_job(struct simcheck *check, struct simcheck_job *job)
{
    HASH_DEL(check->jobs, job);
    free_configs(job);
    json_decref(job->doc);
    free(job->key);
    free(job->current);
    free(job);
}

struct simcheck_job *simcheck_job(const struct simcheck *check, const char *key)
{
    struct simcheck_job *job = NULL;

    HASH_FIND_STR(check->jobs, key, job);
    return job;
}

static void read_job(struct simcheck *check, const char *path, const char *text)
{
    CLEANUP(mem_freep) char *key = str_printf("sim/%s", path + strlen("/davit/jobs/"));
    struct simcheck_job *job = simcheck_job(check, key);
    const char *hash;
    json_t *config;

    if (text == NULL) {
        if (job != NULL) {
            free_job(check, job);
        }
        return;
    }
    if (job == NULL) {
        job = mem_alloc(sizeof(*job));
        job->key = mem_strdup(key);
        HASH_ADD_KEYPTR(hh, check->jobs, job->key, strlen(job->key), job);
    }
    free_configs(job);
    json_decref(job->doc);
    job->doc = parse(path, text);
    free(job->current);
    job->current = mem_strdup_opt(json_str_or(job->doc, "current", NULL));
    json_object_foreach(json_object_get(job->doc, "configs"), hash, config)
    {
        struct simcheck_config *entry = mem_alloc(sizeof(*entry));
        const json_t *resources = json_object_get(json_object_get(config, "task"), "resources");

        entry->hash = mem_strdup(hash);
        entry->doc = config;
        entry->cpu = json_number_value(json_object_get(resources, "cpu"));
        entry->ram_bytes = json_integer_value(json_object_get(resources, "ram"));
        entry->disk_bytes = json_integer_value(json_object_get(resources, "disk"));
        entry->service = json_is_true(json_object_get(config, "service"));
        entry->max_failures = (int)json_int_or(config, "max_task_failures", 1);
        HASH_ADD_KEYPTR(hh, job->configs, entry->hash, strlen(entry->hash), entry);
    }
    SIM_CHECK(job->current == NULL ||
                  json_object_get(json_object_get(job->doc, "configs"), job->current) != NULL,
              "job %s has no configuration %s", key, job->current);
}

/* ---- Tasks ---- */

static void free_task(struct simcheck *check, struct simcheck_task *task)
{
    if (task->active) {
        DL_DELETE(check->active, task);
    }
    HASH_DEL(check->tasks, task);
    json_decref(task->doc);
    free(task->id);
    free(task->job);
    free(task->config);
    free(task->node);
    free(task->ancestor);
    free(task);
}

const struct simcheck_config *simcheck_config(const struct simcheck *check,
                                              const struct simcheck_task *task)
{
    const struct simcheck_job *job = simcheck_job(check, task->job);
    struct simcheck_config *config = NULL;

    if (job != NULL) {
        HASH_FIND_STR(job->configs, task->config, config);
    }
    return config;
}

static const char *event_status(const json_t *event)
{
    return json_string_value(json_object_get(event, "state"));
}

/* Old events stay, and each new one follows from the one before. */
static void check_events(const struct simcheck_task *task, const json_t *old)
{
    enum task_status status = TASK_INIT;
    size_t n = json_array_size(task->events);
    json_t *event;
    size_t i;

    for (i = 0; i < json_array_size(old) && n < TASK_MAX_EVENTS; i++) {
        SIM_CHECK(i < n && json_equal(json_array_get(old, i), json_array_get(task->events, i)),
                  "the history of task %s was rewritten", task->id);
    }
    json_array_foreach(task->events, i, event)
    {
        const char *to = event_status(event);

        SIM_CHECK(to != NULL && (i == 1 && n >= TASK_MAX_EVENTS ? true : may_move(status, to)),
                  "task %s went from %s to %s", task->id, task_status_name(status), to);
        SIM_CHECK(task_status_parse(to, &status), "task %s has an event %s", task->id, to);
    }
    SIM_CHECK(status == task->status, "task %s is %s but its last event says %s", task->id,
              task_status_name(task->status), task_status_name(status));
}

static void check_end(const struct simcheck *check, const struct simcheck_task *task,
                      enum task_status was)
{
    (void)check;
    SIM_CHECK(!task_is_terminal(was) || was == task->status, "task %s had ended %s and is %s",
              task->id, task_status_name(was), task_status_name(task->status));
}

static void read_task(struct simcheck *check, const char *path, const char *text)
{
    const char *id = strrchr(path, '/') + 1;
    struct simcheck_task *task = NULL;
    CLEANUP(json_freep) json_t *old = NULL;
    enum task_status was = TASK_INIT;
    json_t *ports;
    const char *name;
    json_t *port;

    HASH_FIND_STR(check->tasks, id, task);
    if (text == NULL) {
        if (task != NULL) {
            free_task(check, task);
        }
        return;
    }
    if (task == NULL) {
        task = mem_alloc(sizeof(*task));
        task->id = mem_strdup(id);
        task->order = ++check->order;
        HASH_ADD_KEYPTR(hh, check->tasks, task->id, strlen(task->id), task);
    } else {
        old = json_incref(task->events);
        was = task->status;
    }
    json_decref(task->doc);
    task->doc = parse(path, text);
    SIM_CHECK(str_eq(json_str_or(task->doc, "id", NULL), id), "%s is of another task", path);
    free(task->job);
    free(task->config);
    free(task->node);
    free(task->ancestor);
    task->job = mem_strdup(json_str_or(task->doc, "job", ""));
    task->config = mem_strdup(json_str_or(task->doc, "config", ""));
    task->node = mem_strdup_opt(json_str_or(task->doc, "node", NULL));
    task->ancestor = mem_strdup_opt(json_str_or(task->doc, "ancestor", NULL));
    task->instance = (int)json_int_or(task->doc, "instance", -1);
    task->failures = (int)json_int_or(task->doc, "failures", 0);
    task->events = json_object_get(task->doc, "events");
    SIM_CHECK(task_status_parse(json_str_or(task->doc, "state", ""), &task->status),
              "task %s has no state", id);
    check_events(task, old);
    check_end(check, task, was);
    task->moved = 0;
    task->moved_write = check->n_writes;
    for (size_t i = json_array_size(old); i < json_array_size(task->events); i++) {
        enum task_status status;

        if (task_status_parse(event_status(json_array_get(task->events, i)), &status)) {
            check->moves[status]++;
            task->placed |= status == TASK_ASSIGNED;
            task->moved |= UINT32_C(1) << status;
        }
    }
    task->n_ports = 0;
    ports = json_object_get(task->doc, "ports");
    json_object_foreach(ports, name, port)
    {
        if (task->n_ports < sizeof(task->ports) / sizeof(task->ports[0])) {
            task->ports[task->n_ports++] = (int)json_integer_value(port);
        }
    }
    if (task->active != task_is_active(task->status)) {
        task->active = !task->active;
        if (task->active) {
            DL_APPEND(check->active, task);
        } else {
            DL_DELETE(check->active, task);
        }
    }
}

const char *simcheck_intent(const struct simcheck *check, const struct simcheck_task *task)
{
    CLEANUP(mem_freep)
    char *path = str_printf("/davit/intent/%s/%s", task->node != NULL ? task->node : "", task->id);
    const struct simtree_node *node = simtree_find(check->tree, path);

    return node != NULL ? node->bytes : NULL;
}

static void check_intent(const struct simcheck *check, const struct simcheck_task *task)
{
    const char *intent = simcheck_intent(check, task);
    bool stop = intent != NULL && strstr(intent, "desired: stopped") != NULL;

    if (task->status == TASK_PENDING || task->status == TASK_THROTTLED) {
        SIM_CHECK(intent == NULL && task->node == NULL, "task %s is %s and has a node or an intent",
                  task->id, task_status_name(task->status));
    } else if (task_is_active(task->status)) {
        SIM_CHECK(task->node != NULL, "task %s is %s without a node", task->id,
                  task_status_name(task->status));
        SIM_CHECK(intent != NULL, "task %s is %s without an intent", task->id,
                  task_status_name(task->status));
        /* One that was to end when its node went away stays so. */
        SIM_CHECK(stop == is_ending(task->status) || task->status == TASK_PARTITIONED,
                  "task %s is %s and its intent says %s", task->id, task_status_name(task->status),
                  stop ? "stop" : "run");
    } else {
        SIM_CHECK(intent == NULL || stop, "task %s is %s and its intent says run", task->id,
                  task_status_name(task->status));
    }
}

static void check_once(const struct simcheck *check, const struct simcheck_task *task)
{
    const struct simcheck_task *other;

    DL_FOREACH(check->active, other)
    {
        SIM_CHECK(other == task || !task->active || other->instance != task->instance ||
                      !str_eq(other->job, task->job),
                  "two runs of %s instance %d: %s %s and %s %s", task->job, task->instance,
                  task->id, task_status_name(task->status), other->id,
                  task_status_name(other->status));
    }
}

/* ---- Nodes ---- */

struct simcheck_node *simcheck_node(const struct simcheck *check, const char *name)
{
    struct simcheck_node *node = NULL;

    HASH_FIND_STR(check->nodes, name, node);
    return node;
}

static struct simcheck_node *add_node(struct simcheck *check, const char *name, size_t len)
{
    CLEANUP(mem_freep) char *copy = mem_strndup(name, len);
    struct simcheck_node *node = simcheck_node(check, copy);

    if (node == NULL) {
        node = mem_alloc(sizeof(*node));
        node->name = TAKE(copy);
        node->mode = mem_strdup("active");
        HASH_ADD_KEYPTR(hh, check->nodes, node->name, strlen(node->name), node);
    }
    return node;
}

static void read_node(struct simcheck *check, const char *path, const char *text)
{
    const char *name = path + strlen("/davit/nodes/");
    size_t len = strcspn(name, "/");
    struct simcheck_node *node = add_node(check, name, len);
    CLEANUP(json_freep) json_t *doc = NULL;
    const json_t *resources;

    if (text != NULL && text[0] != '\0') {
        doc = parse(path, text);
    }
    if (name[len] == '\0') {
        node->mode_write = check->n_writes;
        free(node->mode);
        node->mode = mem_strdup(json_str_or(doc, "mode", "active"));
        json_decref(node->drain);
        node->drain = json_incref(json_object_get(doc, "drain"));
        return;
    }
    node->alive = doc != NULL;
    if (doc != NULL) {
        resources = json_object_get(doc, "resources");
        node->cpu = json_number_value(json_object_get(resources, "cpu"));
        node->ram_bytes = json_int_or(resources, "ram_bytes", 0);
        node->disk_bytes = json_int_or(resources, "disk_bytes", 0);
        node->port_lo =
            (int)json_integer_value(json_array_get(json_object_get(resources, "ports"), 0));
        node->port_hi =
            (int)json_integer_value(json_array_get(json_object_get(resources, "ports"), 1));
        json_decref(node->attributes);
        node->attributes = json_deep_copy(json_object_get(doc, "attributes"));
    }
}

static void check_ports(const struct simcheck_node *node, const struct simcheck_task *task,
                        const struct simcheck_task *others)
{
    const struct simcheck_task *other;

    for (size_t i = 0; i < task->n_ports; i++) {
        SIM_CHECK(task->ports[i] >= node->port_lo && task->ports[i] <= node->port_hi,
                  "task %s has port %d on %s", task->id, task->ports[i], node->name);
        for (other = others; other != NULL; other = other->next) {
            for (size_t j = 0; j < other->n_ports && str_eq(other->node, node->name); j++) {
                SIM_CHECK((other == task && i == j) || other->ports[j] != task->ports[i],
                          "port %d of %s is given to %s and %s", task->ports[i], node->name,
                          task->id, other->id);
            }
        }
    }
}

static void check_node(const struct simcheck *check, const struct simcheck_node *node)
{
    const struct simcheck_task *task;
    double cpu = 0;
    int64_t ram = 0;
    int64_t disk = 0;

    DL_FOREACH(check->active, task)
    {
        const struct simcheck_config *config;

        if (!str_eq(task->node, node->name)) {
            continue;
        }
        config = simcheck_config(check, task);
        SIM_CHECK(config != NULL, "task %s has no configuration", task->id);
        cpu += config->cpu;
        ram += config->ram_bytes;
        disk += config->disk_bytes;
        check_ports(node, task, check->active);
    }
    SIM_CHECK(cpu <= node->cpu + 1e-6 && ram <= node->ram_bytes && disk <= node->disk_bytes,
              "node %s is over its capacity: %g of %g cpu, %lld of %lld ram, %lld of %lld disk",
              node->name, cpu, node->cpu, (long long)ram, (long long)node->ram_bytes,
              (long long)disk, (long long)node->disk_bytes);
}

/* ---- Constraints: contracts/aurora.md 4.6 ---- */

static bool lists(const char *list, const char *value)
{
    CLEANUP(strv_freep) char **all = str_split(list != NULL ? list : "", ",");

    for (size_t i = 0; all[i] != NULL; i++) {
        if (strcmp(all[i], value) == 0) {
            return true;
        }
    }
    return false;
}

static bool share_value(const char *list, const char *other)
{
    CLEANUP(strv_freep) char **all = str_split(list != NULL ? list : "", ",");

    for (size_t i = 0; other != NULL && all[i] != NULL; i++) {
        if (lists(other, all[i])) {
            return true;
        }
    }
    return false;
}

static const char *attribute(const struct simcheck_node *node, const char *name)
{
    return node != NULL ? json_str_or(node->attributes, name, NULL) : NULL;
}

/* Tasks of the job on nodes that have this very value.  Those of other configurations that were
 * placed by the same transaction may have been placed after. */
static unsigned count_there(const struct simcheck *check, const char *job, const char *config,
                            const char *name, const char *value)
{
    const struct simcheck_task *task;
    unsigned n = 0;

    DL_FOREACH(check->active, task)
    {
        n += task->node != NULL && str_eq(task->job, job) &&
             (!task->placed || str_eq(task->config, config)) &&
             lists(attribute(simcheck_node(check, task->node), name), value);
    }
    return n;
}

static bool limit_holds(const struct simcheck *check, const char *job, const char *config,
                        const char *name, unsigned limit, const char *values, unsigned more)
{
    CLEANUP(strv_freep) char **all = str_split(values, ",");

    for (size_t i = 0; all[i] != NULL; i++) {
        if (count_there(check, job, config, name, all[i]) + more > limit) {
            return false;
        }
    }
    return true;
}

bool simcheck_allows(const struct simcheck *check, const char *job,
                     const struct simcheck_config *config, const struct simcheck_node *node,
                     unsigned more)
{
    json_t *constraints = json_object_get(config->doc, "constraints");
    const char *name;
    json_t *rule;

    if (attribute(node, "dedicated") != NULL && json_object_get(constraints, "dedicated") == NULL) {
        return false;
    }
    json_object_foreach(constraints, name, rule)
    {
        const char *text = json_string_value(rule);
        const char *values = attribute(node, name);

        if (str_starts(text, "limit:")) {
            if (values == NULL || !limit_holds(check, job, config->hash, name,
                                               (unsigned)atoi(text + 6), values, more)) {
                return false;
            }
        } else if (text[0] == '!' ? share_value(values, text + 1) : !share_value(values, text)) {
            return false;
        }
    }
    return true;
}

/* ---- Transactions ---- */

static const char *const LEADERS[] = { "/davit/jobs/",        "/davit/tasks/", "/davit/intent/",
                                       "/davit/updates/",     "/davit/cron/",  "/davit/quota/",
                                       "/davit/master/writes" };

static bool is_leaders(const char *path)
{
    for (size_t i = 0; i < sizeof(LEADERS) / sizeof(LEADERS[0]); i++) {
        if (str_starts(path, LEADERS[i])) {
            return true;
        }
    }
    return false;
}

static const char *text_of(const struct simcheck *check, const char *path)
{
    const struct simtree_node *node = simtree_find(check->tree, path);

    return node != NULL ? node->bytes : NULL;
}

static bool depth_is(const char *path, unsigned depth)
{
    unsigned n = 0;

    for (; *path != '\0'; path++) {
        n += *path == '/';
    }
    return n == depth;
}

static void take_in(struct simcheck *check, const char *path)
{
    if (str_starts(path, "/davit/jobs/") && depth_is(path, 5)) {
        read_job(check, path, text_of(check, path));
    } else if (str_starts(path, "/davit/tasks/") && depth_is(path, 4)) {
        read_task(check, path, text_of(check, path));
    } else if (str_starts(path, "/davit/nodes/")) {
        read_node(check, path, text_of(check, path));
    }
}

static void check_drained(const struct simcheck *check, const struct simcheck_node *node)
{
    const struct simcheck_task *task;

    DL_FOREACH(check->active, task)
    {
        SIM_CHECK(!str_eq(node->mode, "drained") || !str_eq(task->node, node->name),
                  "node %s is drained and has task %s, %s", node->name, task->id,
                  task_status_name(task->status));
    }
}

static void check_change(struct simcheck *check, const char *path)
{
    struct simcheck_task *task = NULL;
    const char *id = strrchr(path, '/') + 1;
    bool of_node = str_starts(path, "/davit/nodes/") && depth_is(path, 3);
    bool of_task = str_starts(path, "/davit/tasks/") && depth_is(path, 4);
    bool of_intent = str_starts(path, "/davit/intent/") && depth_is(path, 4);

    if (of_node) {
        check_drained(check, simcheck_node(check, id));
    }
    if (!of_task && !of_intent) {
        return;
    }
    HASH_FIND_STR(check->tasks, id, task);
    SIM_CHECK(task != NULL || text_of(check, path) == NULL, "%s is without its task", path);
    if (task == NULL) {
        return;
    }
    SIM_CHECK(!of_intent || text_of(check, path) == NULL ||
                  strncmp(path + strlen("/davit/intent/"), task->node, strlen(task->node)) == 0,
              "%s is on another node than its task, %s", path, task->node);
    SIM_CHECK(!task->active || simcheck_config(check, task) != NULL,
              "task %s is without the configuration %s of its job", task->id, task->config);
    check_intent(check, task);
    if (of_task) {
        check_once(check, task);
        if (simcheck_moved(check, task, TASK_DRAINING) && task->status == TASK_DRAINING) {
            simsla_check(check, task);
        }
        if (task->node != NULL && task->active) {
            const struct simcheck_node *node = simcheck_node(check, task->node);

            SIM_CHECK(node != NULL, "task %s is on %s, which never was", task->id, task->node);
            check_node(check, node);
            if (task->placed) {
                SIM_CHECK(simcheck_allows(check, task->job, simcheck_config(check, task), node, 0),
                          "task %s of %s was placed on %s against its constraints", task->id,
                          task->job, node->name);
                SIM_CHECK(str_eq(node->mode, "active") || node->mode_write == check->n_writes,
                          "task %s was placed on %s, which is %s", task->id, node->name,
                          node->mode);
            }
        }
    }
}

/* contracts/aurora.md 4.8: production tasks of a role stay within its quota, dedicated ones apart.
 */
static void check_quota(const struct simcheck *check)
{
    const struct simtree_node *node = simtree_find(check->tree, "/davit/quota/www");
    CLEANUP(json_freep) json_t *quota = node != NULL ? parse(node->path, node->bytes) : NULL;
    const struct simcheck_task *task;
    double cpu = 0;
    int64_t ram = 0;
    int64_t disk = 0;

    DL_FOREACH(check->active, task)
    {
        const struct simcheck_config *config = simcheck_config(check, task);

        if (config != NULL && str_eq(json_str_or(config->doc, "tier", ""), "preferred") &&
            json_object_get(json_object_get(config->doc, "constraints"), "dedicated") == NULL) {
            cpu += config->cpu;
            ram += config->ram_bytes;
            disk += config->disk_bytes;
        }
    }
    SIM_CHECK(cpu <= json_num_or(quota, "cpu", 0) + 1e-6 &&
                  ram <= json_int_or(quota, "ram_bytes", 0) &&
                  disk <= json_int_or(quota, "disk_bytes", 0),
              "production tasks take %g cpu, %lld ram, %lld disk: more than their quota", cpu,
              (long long)ram, (long long)disk);
}

static void on_commit(struct simtree *tree, int64_t session, const struct simtree_change *changes,
                      size_t n, void *data)
{
    struct simcheck *check = data;
    struct simcheck_task *task;
    bool leaders = false;

    (void)tree;
    check->n_writes++;
    for (size_t i = 0; i < n; i++) {
        const char *path = changes[i].path;

        if (strcmp(path, "/davit/epoch") == 0 && changes[i].kind == SIMTREE_SET) {
            check->leader = session;
        }
        if (is_leaders(path)) {
            SIM_CHECK(session == check->leader, "%s was written by who does not lead", path);
            leaders = true;
        }
        take_in(check, path);
    }
    check->writes += leaders;
    for (size_t i = 0; i < n; i++) {
        check_change(check, changes[i].path);
    }
    if (leaders) {
        check_quota(check);
    }
    for (task = check->active; task != NULL; task = task->next) {
        task->placed = false;
    }
}

/* ---- Reading ---- */

struct simcheck_job *simcheck_jobs(const struct simcheck *check)
{
    return check->jobs;
}

struct simcheck_task *simcheck_tasks(const struct simcheck *check)
{
    return check->tasks;
}

struct simcheck_task *simcheck_active(const struct simcheck *check)
{
    return check->active;
}

struct simcheck_node *simcheck_nodes(const struct simcheck *check)
{
    return check->nodes;
}

bool simcheck_moved(const struct simcheck *check, const struct simcheck_task *task,
                    enum task_status status)
{
    return task->moved_write == check->n_writes && (task->moved & (UINT32_C(1) << status)) != 0;
}

struct simcheck_task *simcheck_task(const struct simcheck *check, const char *id)
{
    struct simcheck_task *task = NULL;

    HASH_FIND_STR(check->tasks, id, task);
    return task;
}

struct simcheck_task *simcheck_instance(const struct simcheck *check, const char *job, int instance)
{
    struct simcheck_task *task;

    DL_FOREACH(check->active, task)
    {
        if (task->instance == instance && str_eq(task->job, job)) {
            return task;
        }
    }
    return NULL;
}

struct simcheck_task *simcheck_newest(const struct simcheck *check, const char *job, int instance)
{
    struct simcheck_task *newest = NULL;
    struct simcheck_task *task, *next;

    HASH_ITER(hh, check->tasks, task, next)
    {
        if (task->instance == instance && str_eq(task->job, job) &&
            (newest == NULL || task->order > newest->order)) {
            newest = task;
        }
    }
    return newest;
}

uint64_t simcheck_writes(const struct simcheck *check)
{
    return check->writes;
}

uint64_t simcheck_moves(const struct simcheck *check, enum task_status status)
{
    return check->moves[status];
}

struct simcheck *simcheck_new(struct simtree *tree)
{
    struct simcheck *check = mem_alloc(sizeof(*check));

    check->tree = tree;
    simtree_listen(tree, on_commit, check);
    return check;
}

void simcheck_free(struct simcheck *check)
{
    struct simcheck_job *job, *next_job;
    struct simcheck_task *task, *next_task;
    struct simcheck_node *node, *next_node;

    simtree_unlisten(check->tree, on_commit, check);
    HASH_ITER(hh, check->tasks, task, next_task)
    {
        free_task(check, task);
    }
    HASH_ITER(hh, check->jobs, job, next_job)
    {
        free_job(check, job);
    }
    HASH_ITER(hh, check->nodes, node, next_node)
    {
        HASH_DEL(check->nodes, node);
        json_decref(node->attributes);
        json_decref(node->drain);
        free(node->name);
        free(node->mode);
        free(node);
    }
    free(check);
}
