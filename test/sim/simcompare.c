/* SPDX-License-Identifier: Apache-2.0 */
/* simcompare: the leader's memory against the store, and against itself. */
#include "simcompare.h"

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "master/state/state_load.h"
#include "master/state/state_priv.h"
#include "simzk.h"

#include <math.h>
#include <string.h>
#include <utlist.h>

struct loaded {
    struct state *state;
    bool over;
};

static void on_loaded(struct state *state, const struct err *err, void *data)
{
    struct loaded *loaded = data;

    SIM_CHECK(state != NULL, "the store cannot be loaded: %s", err->msg);
    loaded->state = state;
    loaded->over = true;
}

static void on_lost(struct state *state, const char *why, void *data)
{
    (void)state;
    (void)data;
    sim_fail("a state that only reads is lost: %s", why);
}

static void compare_json_take(const char *what, json_t *mine, json_t *theirs)
{
    if (!json_equal(mine, theirs)) {
        CLEANUP(mem_freep) char *a = json_dumps(mine, JSON_COMPACT | JSON_SORT_KEYS);
        CLEANUP(mem_freep) char *b = json_dumps(theirs, JSON_COMPACT | JSON_SORT_KEYS);

        sim_fail("%s: in memory %.900s, in the store %.900s", what, a, b);
    }
    json_decref(mine);
    json_decref(theirs);
}

static const char *node_of(const struct state_task *task)
{
    return task->node != NULL ? task->node->name : "-";
}

static bool has_line(const struct state *state, const struct state_task *task)
{
    while (task->t.ancestor != NULL) {
        task = state_task_find(state, task->t.ancestor);
        if (task == NULL) {
            return false; /* Forgotten: its flaps are, too. */
        }
    }
    return true;
}

static unsigned capped(unsigned flaps)
{
    return flaps < 16 ? flaps : 16;
}

static void compare_task(const struct state *mine, const struct state_task *a,
                         const struct state_task *b)
{
    SIM_CHECK(b != NULL, "task %s is in memory alone", a->t.id);
    compare_json_take(a->t.id, task_encode(&a->t), task_encode(&b->t));
    SIM_CHECK(str_eq(node_of(a), node_of(b)), "task %s holds %s in memory, %s in the store",
              a->t.id, node_of(a), node_of(b));
    SIM_CHECK(a->intent == b->intent && a->stored_intent == b->stored_intent,
              "intent of task %s: %d/%d in memory, %d/%d in the store", a->t.id, (int)a->intent,
              (int)a->stored_intent, (int)b->intent, (int)b->stored_intent);
    SIM_CHECK(a->stored && b->stored && !a->deleted, "task %s is not stored", a->t.id);
    SIM_CHECK(!task_is_active(a->t.status) || !has_line(mine, a) ||
                  capped(a->flaps) == capped(b->flaps),
              "flaps of task %s: %u in memory, %u in the store", a->t.id, a->flaps, b->flaps);
}

static void compare_job(const struct state_job *a, const struct state_job *b)
{
    SIM_CHECK(b != NULL, "job %s is in memory alone", a->key_text);
    compare_json_take(a->key_text, state_job_encode(a), state_job_encode(b));
    SIM_CHECK(a->n_tasks == b->n_tasks, "job %s has %zu tasks in memory, %zu in the store",
              a->key_text, a->n_tasks, b->n_tasks);
    for (int i = 0; i < TASK_N_STATUS; i++) {
        SIM_CHECK(a->counts[i] == b->counts[i],
                  "job %s has %zu %s tasks in memory, %zu in the store", a->key_text, a->counts[i],
                  task_status_name((enum task_status)i), b->counts[i]);
    }
}

static void compare(const struct state *mine, const struct state *theirs)
{
    const struct state_job *job;
    const struct state_task *task;
    const struct state_node *node;

    for (job = state_jobs(mine); job != NULL; job = job->hh.next) {
        compare_job(job, state_job_find(theirs, job->key_text));
    }
    for (task = state_tasks(mine); task != NULL; task = task->hh.next) {
        compare_task(mine, task, state_task_find(theirs, task->t.id));
    }
    for (node = state_nodes(mine); node != NULL; node = node->hh.next) {
        const struct state_node *other = state_node_find(theirs, node->name);

        SIM_CHECK(other != NULL || !node->stored, "node %s is in memory alone", node->name);
        SIM_CHECK(other == NULL || str_eq(node->mode, other->mode),
                  "node %s is %s in memory, %s in the store", node->name, node->mode, other->mode);
        SIM_CHECK(other == NULL || fabs(node->used_cpu - other->used_cpu) < 1e-6,
                  "node %s: %g cpu used in memory, %g in the store", node->name, node->used_cpu,
                  other->used_cpu);
    }
    SIM_CHECK(HASH_COUNT(state_jobs(mine)) == HASH_COUNT(state_jobs(theirs)),
              "%u jobs in memory, %u in the store", HASH_COUNT(state_jobs(mine)),
              HASH_COUNT(state_jobs(theirs)));
    SIM_CHECK(HASH_COUNT(state_tasks(mine)) == HASH_COUNT(state_tasks(theirs)),
              "%u tasks in memory, %u in the store", HASH_COUNT(state_tasks(mine)),
              HASH_COUNT(state_tasks(theirs)));
}

static void on_closed(void *data)
{
    *(bool *)data = true;
}

void simcompare_reload(struct simmaster *master, struct simtree *tree)
{
    struct state *mine = simmaster_state(master);
    struct sim_proc proc = { .name = "reader" };
    uv_loop_t loop = { .data = &proc };
    struct zk *zk = simzk_open_reader(tree, &loop);
    struct loaded loaded = { 0 };
    bool closed = false;
    struct state_options options = mine->options;

    options.loop = &loop;
    options.zk = zk;
    options.on_lost = on_lost;
    (void)state_load_start(&options, on_loaded, &loaded);
    while (!loaded.over && simzk_pump(zk)) {
    }
    SIM_CHECK(loaded.over, "loading the store does not end");
    SIM_CHECK(loaded.state->queue == NULL, "a new master would mend the store");
    compare(mine, loaded.state);
    state_close(loaded.state, on_closed, &closed);
    sim_finish_closing(&proc);
    SIM_CHECK(closed, "a loaded state does not close");
    simzk_free(zk);
}

/* ---- Sums ---- */

static void check_node(const struct state_node *node)
{
    const struct state_task *task;
    double cpu = 0;
    int64_t ram = 0;
    int64_t disk = 0;
    size_t ports = 0;
    size_t n = 0;

    DL_FOREACH2(node->tasks, task, node_next)
    {
        const struct job *job = task->config->job;

        SIM_CHECK(task_is_active(task->t.status), "task %s is %s and holds %s", task->t.id,
                  task_status_name(task->t.status), node->name);
        cpu += job->cpu;
        ram += job->ram_bytes;
        disk += job->disk_bytes;
        for (size_t i = 0; i < task->t.n_ports; i++) {
            int port = task->t.ports[i].port;

            ports += port >= node->port_lo && port <= node->port_hi;
        }
        n++;
    }
    SIM_CHECK(n == node->n_tasks && fabs(cpu - node->used_cpu) < 1e-6 &&
                  ram == node->used_ram_bytes && disk == node->used_disk_bytes &&
                  (node->used_ports == NULL || ports == node->n_used_ports),
              "node %s counts %zu tasks %g cpu %zu ports; they are %zu, %g, %zu", node->name,
              node->n_tasks, node->used_cpu, node->n_used_ports, n, cpu, ports);
}

static void check_job(const struct state_job *job)
{
    const struct state_task *task;
    size_t counts[TASK_N_STATUS] = { 0 };
    size_t n = 0;

    DL_FOREACH2(job->tasks, task, job_next)
    {
        counts[task->t.status]++;
        n++;
        SIM_CHECK(task->t.status != TASK_PENDING || task->config->pending_reason[0] != '\0',
                  "task %s is PENDING without a reason", task->t.id);
    }
    SIM_CHECK(n == job->n_tasks && memcmp(counts, job->counts, sizeof(counts)) == 0,
              "job %s counts %zu tasks, it has %zu", job->key_text, job->n_tasks, n);
}

void simcompare_sums(const struct state *state)
{
    const struct state_job *job;
    const struct state_node *node;

    for (job = state_jobs(state); job != NULL; job = job->hh.next) {
        check_job(job);
    }
    for (node = state_nodes(state); node != NULL; node = node->hh.next) {
        check_node(node);
    }
}
