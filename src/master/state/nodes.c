/* SPDX-License-Identifier: Apache-2.0 */
/* nodes: which nodes there are, what they offer, and what runs there.
 *
 * A watch on the list of nodes; per node one on its `alive` and one on each shard
 * of its reality.  What a report means for a task is task_state.c's to say.
 *
 *   (new) --alive--> ALIVE --alive gone--> GONE --lost_ms, the grace--> LOST
 *                      ^---------------------'----------alive----------'
 *
 * Happy path: an agent comes, its `alive` is read, its capacity is known, tasks are
 * placed there; each rewrite of a shard is compared with the tasks of its pods.  Within
 * the grace nothing happens to tasks: an agent that is only restarted leaves no trace.
 * Behind it steer_nodes.c has the partition policy of each job; a node that comes back
 * then is read anew, because its tasks wait for its word.
 * Failures: what an agent wrote that cannot be read is logged and ignored until it
 * is rewritten: a task is never ended because something could not be read.
 */
#include "master/state/nodes.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/str.h"
#include "coord/zk_watch.h"
#include "model/pod.h"

#include <string.h>
#include <utlist.h>

enum { ALIVE_MAX_BYTES = 64 * 1024, MAX_PORT = 65535 };

struct watched {
    struct nodes *nodes;
    struct state_node *node;
    struct zk_watch alive;
    struct zk_watch shards[POD_SHARDS];
    struct watched *prev, *next;
};

struct nodes {
    struct nodes_options options;
    struct zk_watch list;
    struct watched *watched;
    uv_timer_t timer; /* The next node to be given up. */
    nodes_cb close_cb;
    void *close_data;
};

/* ---- Giving up ---- */

static void on_timer(uv_timer_t *timer)
{
    struct nodes *nodes = timer->data;
    uint64_t now = clock_now_ms();
    uint64_t earliest = 0;
    struct watched *watched;

    DL_FOREACH(nodes->watched, watched)
    {
        struct state_node *node = watched->node;
        uint64_t due = node->gone_ms + nodes->options.lost_ms;

        if (node->alive || node->lost || node->gone_ms == 0) {
            continue;
        }
        if (due <= now) {
            node->lost = true;
            steer_partition(nodes->options.steer, node);
            state_bump(nodes->options.state);
        } else if (earliest == 0 || due < earliest) {
            earliest = due;
        }
    }
    if (earliest != 0) {
        uv_timer_start(&nodes->timer, on_timer, earliest - now, 0);
    }
}

static void gone(struct watched *watched)
{
    struct nodes *nodes = watched->nodes;
    struct state_node *node = watched->node;

    if (node->gone_ms != 0) {
        return;
    }
    if (node->alive) {
        log_warn("node is away, its tasks are given up in %llu ms node=%s tasks=%zu",
                 (unsigned long long)nodes->options.lost_ms, node->name, node->n_tasks);
    }
    node->alive = false;
    node->gone_ms = clock_now_ms();
    free(node->address);
    node->address = NULL;
    state_bump(nodes->options.state);
    if (!uv_is_active((uv_handle_t *)&nodes->timer)) {
        uv_timer_start(&nodes->timer, on_timer, nodes->options.lost_ms, 0);
    }
}

/* ---- Coming ---- */

static void read_capacity(struct state_node *node, const json_t *doc)
{
    const json_t *resources = json_object_get(doc, "resources");
    const json_t *ports = json_object_get(resources, "ports");
    int64_t lo = json_integer_value(json_array_get(ports, 0));
    int64_t hi = json_integer_value(json_array_get(ports, 1));

    if (json_array_size(ports) != 2 || lo < 1 || hi > MAX_PORT || hi < lo) {
        lo = 0;
        hi = -1;
    }
    state_node_capacity(node, json_num_or(resources, "cpu", 0),
                        json_int_or(resources, "ram_bytes", 0),
                        json_int_or(resources, "disk_bytes", 0), (int)lo, (int)hi);
}

static void on_shard(struct zk_watch *watch);

static void watch_shards(struct watched *watched)
{
    for (unsigned i = 0; i < POD_SHARDS; i++) {
        CLEANUP(mem_freep)
        char *path = str_printf("/davit/reality/%s/%u", watched->node->name, i);

        zk_watch_stop(&watched->shards[i]);
        watched->shards[i].data = watched;
        zk_watch_data(state_zk(watched->nodes->options.state), &watched->shards[i], path, on_shard);
    }
}

static bool has_partitioned(const struct state_node *node)
{
    const struct state_task *task;

    DL_FOREACH2(node->tasks, task, node_next)
    {
        if (task->t.status == TASK_PARTITIONED) {
            return true;
        }
    }
    return false;
}

static void came(struct watched *watched, json_t *doc)
{
    struct nodes *nodes = watched->nodes;
    struct state_node *node = watched->node;
    bool is_other = state_node_seen_take(node, doc);

    free(node->address);
    node->address = mem_strdup_opt(json_str_or(doc, "address", NULL));
    if (!node->alive) {
        log_info("node is here node=%s address=%s", node->name,
                 node->address != NULL ? node->address : "-");
    }
    node->alive = true;
    node->lost = false;
    node->gone_ms = 0;
    read_capacity(node, doc);
    if (!node->stored || is_other) {
        state_node_touch(nodes->options.state, node);
    }
    state_bump(nodes->options.state);
    steer_node_changed(nodes->options.steer, node);
    if (has_partitioned(node)) {
        watch_shards(watched); /* What was read while it was away did not count. */
    }
}

static void on_alive(struct zk_watch *watch)
{
    struct watched *watched = watch->data;
    json_t *doc = NULL;
    struct err err = { 0 };

    if (watch->err.code != 0) {
        log_error("cannot read what a node says of itself: %s node=%s", watch->err.msg,
                  watched->node->name);
    } else if (!watch->exists) {
        gone(watched);
    } else if (json_parse(watch->bytes, watch->len, ALIVE_MAX_BYTES, &doc, &err) < 0) {
        log_error("a node says of itself what is no JSON: %s node=%s", err.msg,
                  watched->node->name);
    } else if (!json_is_object(doc) || json_int_or(doc, "v", 1) > 1) {
        log_error("a node speaks of itself in a later version node=%s", watched->node->name);
        json_decref(doc);
    } else {
        came(watched, doc);
    }
}

/* ---- Reality ---- */

static void report(struct watched *watched, const char *pod, const json_t *entry)
{
    struct state_task *task = state_task_find(watched->nodes->options.state, pod);
    enum pod_state state;

    if (task == NULL || !str_eq(task->t.node, watched->node->name)) {
        return; /* The agent will remove it: it has no intent. */
    }
    if (!pod_state_parse(json_str_or(entry, "state", ""), &state)) {
        log_warn("an agent reports an unknown state state=%s pod=%s node=%s",
                 json_str_or(entry, "state", "(none)"), pod, watched->node->name);
        return;
    }
    steer_pod(watched->nodes->options.steer, task, state, json_str_or(entry, "reason", NULL));
}

static void on_shard(struct zk_watch *watch)
{
    struct watched *watched = watch->data;
    CLEANUP(json_freep) json_t *doc = NULL;
    const char *pod;
    json_t *entry;
    struct err err = { 0 };

    if (watch->err.code != 0) {
        log_error("cannot read what runs on a node: %s node=%s", watch->err.msg,
                  watched->node->name);
        return;
    }
    if (!watch->exists || watch->len == 0) {
        return;
    }
    if (json_parse(watch->bytes, watch->len, POD_REALITY_MAX_BYTES, &doc, &err) < 0) {
        log_error("what runs on a node is no JSON: %s node=%s", err.msg, watched->node->name);
        return;
    }
    if (json_int_or(doc, "v", 1) > 1) {
        log_error("what runs on a node is written in a later version node=%s", watched->node->name);
        return;
    }
    json_object_foreach(json_object_get(doc, "pods"), pod, entry)
    {
        report(watched, pod, entry);
    }
}

/* ---- The list ---- */

static void watch_node(struct nodes *nodes, struct state_node *node)
{
    struct watched *watched = mem_alloc(sizeof(*watched));
    struct zk *zk = state_zk(nodes->options.state);
    CLEANUP(mem_freep) char *alive = str_printf("/davit/nodes/%s/alive", node->name);

    watched->nodes = nodes;
    watched->node = node;
    DL_APPEND(nodes->watched, watched);
    watched->alive.data = watched;
    zk_watch_data(zk, &watched->alive, alive, on_alive);
    watch_shards(watched);
}

static bool is_watched(const struct nodes *nodes, const char *name)
{
    const struct watched *watched;

    DL_FOREACH(nodes->watched, watched)
    {
        if (strcmp(watched->node->name, name) == 0) {
            return true;
        }
    }
    return false;
}

static void on_list(struct zk_watch *watch)
{
    struct nodes *nodes = watch->data;

    if (watch->err.code != 0) {
        log_error("cannot read the list of nodes: %s", watch->err.msg);
        return;
    }
    for (size_t i = 0; i < watch->n_children; i++) {
        struct state_node *node = state_node_add(nodes->options.state, watch->children[i]);

        node->listed = true;
        if (!is_watched(nodes, watch->children[i])) {
            watch_node(nodes, node);
        }
    }
}

/* ---- Life ---- */

struct nodes *nodes_new(const struct nodes_options *options)
{
    struct nodes *nodes = mem_alloc(sizeof(*nodes));
    struct state_node *node;

    nodes->options = *options;
    uv_timer_init(state_loop(options->state), &nodes->timer);
    nodes->timer.data = nodes;
    /* Those that only a task or an intent knows are watched as well: they may be given up. */
    for (node = state_nodes(options->state); node != NULL; node = node->hh.next) {
        watch_node(nodes, node);
    }
    nodes->list.data = nodes;
    zk_watch_children(state_zk(options->state), &nodes->list, "/davit/nodes", on_list);
    return nodes;
}

static void on_closed(uv_handle_t *handle)
{
    struct nodes *nodes = handle->data;
    nodes_cb cb = nodes->close_cb;
    void *data = nodes->close_data;

    free(nodes);
    if (cb != NULL) {
        cb(data);
    }
}

void nodes_close(struct nodes *nodes, nodes_cb cb, void *data)
{
    struct watched *watched;
    struct watched *next;

    zk_watch_stop(&nodes->list);
    DL_FOREACH_SAFE(nodes->watched, watched, next)
    {
        zk_watch_stop(&watched->alive);
        for (unsigned i = 0; i < POD_SHARDS; i++) {
            zk_watch_stop(&watched->shards[i]);
        }
        free(watched);
    }
    nodes->watched = NULL;
    nodes->close_cb = cb;
    nodes->close_data = data;
    uv_close((uv_handle_t *)&nodes->timer, on_closed);
}
