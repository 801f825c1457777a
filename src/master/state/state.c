/* SPDX-License-Identifier: Apache-2.0 */
/* state: the leader's jobs, tasks and nodes in memory.
 *
 * Objects, their indexes and counts.  What becomes of a change is state_write.c's;
 * which changes are made is steer.c's.
 *
 * Invariants: a task is in the hash of its id and in its job's list; it is in a
 * node's list, and holds that node's resources, exactly while task->node is set;
 * job->counts and config->n_tasks agree with the lists.  A deleted object is in
 * no index, only in the queue, which frees it.
 */
#include "master/state/state_priv.h"

#include "base/json.h"
#include "base/log.h"
#include "base/str.h"

#include <string.h>
#include <utlist.h>

struct state *state_new(const struct state_options *options)
{
    struct state *state = mem_alloc(sizeof(*state));

    state->options = *options;
    state->cluster = mem_strdup(options->cluster);
    state->options.cluster = state->cluster;
    /* Greater than any of an earlier term: clients compare across terms. */
    state->revision = ((uint64_t)options->epoch << 32) + 1;
    state_write_init(state);
    return state;
}

/* ---- Freeing ---- */

void state_task_free(struct state_task *task)
{
    task_fini(&task->t);
    free(task->stop_op_id);
    free(task->stop_reason);
    free(task);
}

static void config_free(struct state_config *config)
{
    job_free(config->job);
    free(config);
}

void state_job_free(struct state_job *job)
{
    struct state_config *config;
    struct state_config *tmp;

    HASH_ITER(hh, job->configs, config, tmp)
    {
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): HASH_DEL moves the head. */
        HASH_DEL(job->configs, config);
        config_free(config);
    }
    job_key_fini(&job->key);
    free(job->key_text);
    free(job->user);
    free(job->op_id);
    free(job->update_id);
    free(job);
}

static void node_free(struct state_node *node)
{
    free(node->name);
    free(node->address);
    free(node->mode);
    free(node->hostname);
    free(node->used_ports);
    json_decref(node->doc);
    json_decref(node->attributes);
    json_decref(node->own_attributes);
    json_decref(node->seen_attributes);
    json_decref(node->drain);
    free(node);
}

static void on_turn_closed(uv_handle_t *handle)
{
    struct state *state = handle->data;
    struct state_task *task;
    struct state_task *next_task;
    struct state_job *job;
    struct state_job *next_job;
    struct state_node *node;
    struct state_node *next_node;
    state_cb cb = state->close_cb;
    void *data = state->close_data;

    state_write_fini(state);
    HASH_ITER(hh, state->tasks, task, next_task)
    {
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): HASH_DEL moves the head. */
        HASH_DEL(state->tasks, task);
        state_task_free(task);
    }
    HASH_ITER(hh, state->jobs, job, next_job)
    {
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): HASH_DEL moves the head. */
        HASH_DEL(state->jobs, job);
        state_job_free(job);
    }
    HASH_ITER(hh, state->nodes, node, next_node)
    {
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): HASH_DEL moves the head. */
        HASH_DEL(state->nodes, node);
        node_free(node);
    }
    state_docs_free(state);
    free(state->cluster);
    free(state);
    if (cb != NULL) {
        cb(data);
    }
}

void state_close(struct state *state, state_cb cb, void *data)
{
    state->closing = true;
    state->dead = true;
    state->close_cb = cb;
    state->close_data = data;
    uv_close((uv_handle_t *)&state->turn, on_turn_closed);
}

/* ---- Reading ---- */

const char *state_cluster(const struct state *state)
{
    return state->cluster;
}

int64_t state_epoch(const struct state *state)
{
    return state->options.epoch;
}

struct zk *state_zk(const struct state *state)
{
    return state->options.zk;
}

uv_loop_t *state_loop(const struct state *state)
{
    return state->options.loop;
}

uint64_t state_revision(const struct state *state)
{
    return state->revision;
}

struct state_job *state_job_find(const struct state *state, const char *key)
{
    struct state_job *job;

    HASH_FIND_STR(state->jobs, key, job);
    return job;
}

struct state_task *state_task_find(const struct state *state, const char *id)
{
    struct state_task *task;

    HASH_FIND_STR(state->tasks, id, task);
    return task;
}

struct state_node *state_node_find(const struct state *state, const char *name)
{
    struct state_node *node;

    HASH_FIND_STR(state->nodes, name, node);
    return node;
}

struct state_config *state_config_find(const struct state_job *job, const char *hash)
{
    struct state_config *config;

    HASH_FIND_STR(job->configs, hash, config);
    return config;
}

struct state_job *state_jobs(const struct state *state)
{
    return state->jobs;
}

struct state_task *state_tasks(const struct state *state)
{
    return state->tasks;
}

struct state_node *state_nodes(const struct state *state)
{
    return state->nodes;
}

size_t state_job_active(const struct state_job *job)
{
    size_t n = 0;

    for (int i = 0; i < TASK_N_STATUS; i++) {
        n += task_is_active((enum task_status)i) ? job->counts[i] : 0;
    }
    return n;
}

/* ---- Jobs ---- */

struct state_job *state_job_add(struct state *state, const struct job_key *key)
{
    CLEANUP(mem_freep) char *text = job_key_text(key);
    struct state_job *job = state_job_find(state, text);

    if (job == NULL) {
        job = mem_alloc(sizeof(*job));
        job_key_set(&job->key, key->cluster, key->role, key->env, key->name);
        job->key_text = TAKE(text);
        HASH_ADD_KEYPTR(hh, state->jobs, job->key_text, strlen(job->key_text), job);
    }
    return job;
}

struct state_config *state_config_add_take(struct state_job *job, struct job *config)
{
    struct state_config *entry = state_config_find(job, config->hash);

    if (entry != NULL) {
        /* The key lies in the old struct job: the entry must be hashed anew. */
        HASH_DEL(job->configs, entry);
        job_free(entry->job);
    } else {
        entry = mem_alloc(sizeof(*entry));
    }
    entry->job = config;
    entry->bytes = json_dumpb(config->doc, NULL, 0, JSON_COMPACT);
    HASH_ADD_KEYPTR(hh, job->configs, config->hash, strlen(config->hash), entry);
    return entry;
}

static void drop_unused_configs(struct state_job *job)
{
    struct state_config *config;
    struct state_config *tmp;

    HASH_ITER(hh, job->configs, config, tmp)
    {
        if (config != job->current && config->n_tasks == 0 && config->pins == 0) {
            /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): HASH_DEL moves the head. */
            HASH_DEL(job->configs, config);
            config_free(config);
        }
    }
}

void state_job_touch(struct state *state, struct state_job *job)
{
    drop_unused_configs(job);
    state_bump(state);
    state_write_job(state, job);
}

json_t *state_job_encode(const struct state_job *job)
{
    json_t *doc = json_object();
    json_t *configs = json_object();
    struct state_config *config;
    struct state_config *tmp;

    HASH_ITER(hh, job->configs, config, tmp)
    {
        json_put_take(configs, config->job->hash, json_incref(config->job->doc));
    }
    json_put_int(doc, "v", 1);
    json_put_str(doc, "key", job->key_text);
    json_put_str(doc, "current", job->current != NULL ? job->current->job->hash : NULL);
    json_put_take(doc, "configs", configs);
    json_put_str(doc, "user", job->user);
    json_put_str(doc, "op_id", job->op_id);
    json_put_int(doc, "created_ms", (int64_t)job->created_ms);
    if (job->creating) {
        json_put_bool(doc, "creating", true);
    }
    json_put_str(doc, "update", job->update_id);
    return doc;
}

/* A job without any task is no job any more, unless something is going to give it some. */
void state_job_forget_if_empty(struct state *state, struct state_job *job)
{
    if (job->n_tasks > 0 || job->creating || job->update_id != NULL) {
        return;
    }
    HASH_DEL(state->jobs, job);
    job->deleted = true;
    state_write_job(state, job);
}

/* ---- Tasks ---- */

struct state_task *state_task_add(struct state *state, struct state_job *job,
                                  struct state_config *config, const char *id, int instance)
{
    struct state_task *task = mem_alloc(sizeof(*task));

    task_init(&task->t);
    task->t.id = mem_strdup(id);
    task->t.job = mem_strdup(job->key_text);
    task->t.config = mem_strdup(config->job->hash);
    task->t.instance = instance;
    task->job = job;
    task->config = config;
    config->n_tasks++;
    job->n_tasks++;
    job->counts[task->t.status]++;
    DL_APPEND2(job->tasks, task, job_prev, job_next);
    HASH_ADD_KEYPTR(hh, state->tasks, task->t.id, strlen(task->t.id), task);
    return task;
}

void state_task_move(struct state *state, struct state_task *task, enum task_status status,
                     uint64_t wall_ms, const char *message)
{
    task->job->counts[task->t.status]--;
    task_add_event(&task->t, wall_ms, status, message);
    task->since_ms = wall_ms;
    task->job->counts[status]++;
    state_task_touch(state, task);
}

void state_task_touch(struct state *state, struct state_task *task)
{
    if (task->job != NULL) {
        task->job->changes++;
    }
    state_bump(state);
    state_write_task(state, task);
}

void state_task_set_intent(struct state *state, struct state_task *task, enum state_intent intent)
{
    task->intent = intent;
    task->intent_dirty = true;
    state_task_touch(state, task);
}

static void hold_port(struct state_node *node, int port, bool hold)
{
    size_t at = (size_t)(port - node->port_lo);
    uint64_t bit = UINT64_C(1) << (at % 64);

    /* A node that came back with another range has no bit for the old ports. */
    if (port < node->port_lo || port > node->port_hi || node->used_ports == NULL) {
        return;
    }
    if (hold && (node->used_ports[at / 64] & bit) == 0) {
        node->used_ports[at / 64] |= bit;
        node->n_used_ports++;
    } else if (!hold && (node->used_ports[at / 64] & bit) != 0) {
        node->used_ports[at / 64] &= ~bit;
        node->n_used_ports--;
    }
}

static void hold(struct state_node *node, const struct state_task *task, int sign)
{
    const struct job *job = task->config->job;

    node->used_cpu += sign * job->cpu;
    node->used_ram_bytes += sign * job->ram_bytes;
    node->used_disk_bytes += sign * job->disk_bytes;
    for (size_t i = 0; i < task->t.n_ports; i++) {
        hold_port(node, task->t.ports[i].port, sign > 0);
    }
}

void state_task_place(struct state *state, struct state_task *task, struct state_node *node)
{
    (void)state;
    if (task->t.node == NULL || strcmp(task->t.node, node->name) != 0) {
        free(task->t.node);
        task->t.node = mem_strdup(node->name);
    }
    task->node = node;
    task->job->moves++;
    node->n_tasks++;
    DL_APPEND2(node->tasks, task, node_prev, node_next);
    hold(node, task, 1);
}

void state_task_unplace(struct state *state, struct state_task *task)
{
    struct state_node *node = task->node;

    (void)state;
    if (node == NULL) {
        return;
    }
    hold(node, task, -1);
    DL_DELETE2(node->tasks, task, node_prev, node_next);
    node->n_tasks--;
    if (node->n_tasks == 0) {
        node->used_cpu = 0; /* No crumbs of rounding stay behind. */
    }
    task->node = NULL;
    task->job->moves++;
}

void state_task_delete(struct state *state, struct state_task *task)
{
    struct state_job *job = task->job;

    state_task_unplace(state, task);
    HASH_DEL(state->tasks, task);
    DL_DELETE2(job->tasks, task, job_prev, job_next);
    job->n_tasks--;
    job->counts[task->t.status]--;
    job->changes++;
    task->config->n_tasks--;
    task->deleted = true;
    task->job = NULL;
    task->config = NULL;
    state_bump(state);
    state_write_task(state, task);
    state_job_forget_if_empty(state, job);
}

/* ---- Nodes ---- */

struct state_node *state_node_add(struct state *state, const char *name)
{
    struct state_node *node = state_node_find(state, name);

    if (node == NULL) {
        node = mem_alloc(sizeof(*node));
        node->name = mem_strdup(name);
        node->hostname = mem_strdup(name);
        node->mode = mem_strdup(STATE_NODE_ACTIVE);
        node->doc = json_object();
        node->own_attributes = json_object();
        node->seen_attributes = json_object();
        node->attributes = json_object();
        node->port_hi = -1; /* No ports, until its agent says which. */
        state_node_attributes_changed(node);
        HASH_ADD_KEYPTR(hh, state->nodes, node->name, strlen(node->name), node);
    }
    return node;
}

void state_node_capacity(struct state_node *node, double cpu, int64_t ram_bytes, int64_t disk_bytes,
                         int port_lo, int port_hi)
{
    struct state_task *task;
    int n_ports = port_hi >= port_lo ? port_hi - port_lo + 1 : 0;

    node->cpu = cpu;
    node->ram_bytes = ram_bytes;
    node->disk_bytes = disk_bytes;
    if (node->used_ports != NULL && node->port_lo == port_lo && node->port_hi == port_hi) {
        return;
    }
    free(node->used_ports);
    node->port_lo = port_lo;
    node->port_hi = port_hi;
    node->next_port = port_lo;
    node->n_used_ports = 0;
    node->used_ports = mem_alloc(((size_t)n_ports / 64 + 1) * sizeof(uint64_t));
    DL_FOREACH2(node->tasks, task, node_next)
    {
        for (size_t i = 0; i < task->t.n_ports; i++) {
            hold_port(node, task->t.ports[i].port, true);
        }
    }
}

int state_node_free_port(struct state_node *node)
{
    int n = node->used_ports == NULL ? 0 : node->port_hi - node->port_lo + 1;

    /* Next fit: a port that was just given back rests as long as possible. */
    for (int i = 0; i < n; i++) {
        int port = node->next_port;
        size_t at = (size_t)(port - node->port_lo);

        node->next_port = port == node->port_hi ? node->port_lo : port + 1;
        if ((node->used_ports[at / 64] & (UINT64_C(1) << (at % 64))) == 0) {
            return port;
        }
    }
    return -1;
}

bool state_node_seen_take(struct state_node *node, json_t *doc)
{
    json_t *seen = json_object();
    bool is_other;

    json_put_str(seen, "host", json_str_or(doc, "host", node->name));
    if (json_is_object(json_object_get(doc, "attributes"))) {
        (void)json_object_update(seen, json_object_get(doc, "attributes"));
    }
    is_other = !json_equal(seen, node->seen_attributes);
    json_decref(node->seen_attributes);
    node->seen_attributes = seen;
    json_decref(node->doc);
    node->doc = doc;
    state_node_attributes_changed(node);
    return is_other;
}

void state_node_attributes_changed(struct state_node *node)
{
    json_object_clear(node->attributes);
    json_put_str(node->attributes, "host", node->name);
    (void)json_object_update(node->attributes, node->seen_attributes);
    (void)json_object_update(node->attributes, node->own_attributes);
    node->attributes_version++;
    free(node->hostname);
    node->hostname = mem_strdup(json_str_or(node->attributes, "host", node->name));
}

const char *state_node_attribute(const struct state_node *node, const char *name)
{
    return json_str_or(node->attributes, name, NULL);
}

json_t *state_node_encode(const struct state_node *node)
{
    json_t *doc = json_object();

    json_put_int(doc, "v", 1);
    json_put_str(doc, "mode", node->mode);
    json_put_take(doc, "attributes", json_incref(node->own_attributes));
    json_put_take(doc, "seen", json_incref(node->seen_attributes));
    if (node->drain != NULL) {
        json_put_take(doc, "drain", json_incref(node->drain));
    }
    return doc;
}

void state_node_touch(struct state *state, struct state_node *node)
{
    state_bump(state);
    state_write_node(state, node);
}
