/* SPDX-License-Identifier: Apache-2.0 */
/* simworld: makes a history from a seed and lets it happen.
 *
 *   troubled times: actions at random moments --> calm: misfortune ends, everything comes up
 *   --> settled: nothing was written for a while --> the last checks
 *
 * How much of each kind of misfortune there is, is drawn first, so that some histories have none of
 * a kind: a fault that needs an undisturbed neighbour shows there.
 */
#include "simworld.h"

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "simagent.h"
#include "simcheck.h"
#include "simcompare.h"
#include "simloop.h"
#include "simmaster.h"
#include "simmodel.h"
#include "simops.h"
#include "simusers.h"
#include "simzk.h"

#include <string.h>

enum {
    MAX_NODES = 8,
    MASTERS = 2,
    MIB = 1024 * 1024,
    MAX_STEPS = 3 * 1000 * 1000,
    STILL_MS = 12 * 60 * 1000,        /* Longer than any time limit or penalty. */
    PATIENCE_MS = 8 * 60 * 60 * 1000, /* Updates that take longer are aborted. */
    SETTLE_MS = 40 * 60 * 60 * 1000,
};

struct world {
    uint64_t seed;
    struct simtree *tree;
    struct simcheck *check;
    struct simmodel *model;
    struct simops *ops;
    struct simmaster *masters[MASTERS];
    struct simagent *agents[MAX_NODES];
    size_t n_agents;
    struct simusers users;
    struct simworld_tally *tally;

    /* What this history is like. */
    uint64_t pause_ms;                          /* Between actions, about. */
    unsigned actions;                           /* Still to come. */
    unsigned masters_die, nodes_die, tasks_die; /* Of 1000. */
    unsigned kill_every; /* Leaders' writes between two kills of the leader; 0: none. */
    unsigned kill_in;
    bool quiet; /* No node and no task fails. */
    bool calm;
    struct sim_event *action, *kill;
    struct sim_event *revive[MASTERS + MAX_NODES];
};

/* ---- Masters ---- */

static struct simmaster *leader(const struct world *world)
{
    for (size_t i = 0; i < MASTERS; i++) {
        if (simmaster_leads(world->masters[i])) {
            return world->masters[i];
        }
    }
    return NULL;
}

struct revival {
    struct world *world;
    size_t at;
};

static void on_revive(void *arg)
{
    struct revival *revival = arg;
    struct world *world = revival->world;
    size_t at = revival->at;

    free(revival);
    world->revive[at] = NULL;
    if (at < MASTERS) {
        simmaster_up(world->masters[at]);
    } else {
        simagent_boot(world->agents[at - MASTERS], !world->calm && sim_chance(200));
    }
}

static void revive(struct world *world, size_t at, uint64_t in_ms)
{
    struct revival *revival;

    if (world->revive[at] != NULL) {
        return;
    }
    revival = mem_alloc(sizeof(*revival));
    revival->world = world;
    revival->at = at;
    world->revive[at] = sim_after(in_ms, NULL, on_revive, revival, "revival");
}

static void kill_master(struct world *world, struct simmaster *master)
{
    for (size_t i = 0; i < MASTERS; i++) {
        if (world->masters[i] == master && simmaster_is_up(master)) {
            simmaster_kill(master);
            world->tally->kills++;
            revive(world, i, sim_chance(500) ? sim_between(10, 500) : sim_between(500, 60000));
        }
    }
}

/* Somebody takes a candidate's node away: another leads while the first does not know, and its
 * session is as good as before.  Only the epoch tells their writes apart. */
static void depose(struct world *world, struct simmaster *master)
{
    const struct simtree_node *folder = simtree_find(world->tree, "/davit/master/election");
    const struct simtree_node *node = folder != NULL ? folder->children : NULL;
    int64_t session = zk_session_id(simmaster_zk(master));

    while (node != NULL && node->stat.ephemeral_owner != session) {
        node = node->next;
    }
    if (node == NULL) {
        return;
    }
    CLEANUP(mem_freep) char *path = mem_strdup(node->path);

    sim_trace("the candidacy of %s is removed", simmaster_name(master));
    if (sim_chance(500)) {
        simmaster_freeze(master, sim_between(1, 5000));
    }
    simtree_start(world->tree, 0);
    (void)simtree_delete(world->tree, path, ZK_ANY_VERSION);
    simtree_commit(world->tree);
}

static void on_kill(void *arg)
{
    struct world *world = arg;
    struct simmaster *master = leader(world);

    world->kill = NULL;
    if (master == NULL) {
        return;
    }
    if (sim_chance(600)) {
        kill_master(world, master);
    } else if (sim_chance(300)) {
        depose(world, master);
    } else if (sim_chance(800)) {
        simzk_break(simmaster_zk(master), sim_between(0, 2000));
    } else {
        simzk_expire(simmaster_zk(master));
    }
}

/* "A master change at every step": the leader dies, or loses its connection, after so many writes,
 * at any of them: before, while or after it is carried out. */
static void on_sent(struct zk *zk, void *data)
{
    struct world *world = data;

    (void)zk;
    if (!world->calm && world->kill_every != 0 && world->kill == NULL && --world->kill_in == 0) {
        world->kill_in = (unsigned)sim_between(1, world->kill_every);
        world->kill = sim_after(sim_rand() % 4, NULL, on_kill, world, "kill");
    }
}

static void on_commit(struct simtree *tree, int64_t session, const struct simtree_change *changes,
                      size_t n, void *data)
{
    struct world *world = data;

    (void)tree;
    (void)session;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(changes[i].path, "/davit/epoch") == 0) {
            world->tally->terms++;
        }
    }
}

static void trouble_masters(struct world *world)
{
    struct simmaster *master = leader(world);

    if (master == NULL || sim_chance(200)) {
        master = world->masters[sim_rand() % MASTERS];
    }
    if (!simmaster_is_up(master)) {
        return;
    }
    switch (sim_rand() % 5) {
    case 4:
        depose(world, master);
        break;
    case 0:
        kill_master(world, master);
        break;
    case 1:
        simmaster_freeze(master,
                         sim_chance(500) ? sim_between(100, 5000) : sim_between(5000, 40000));
        break;
    case 2:
        simzk_break(simmaster_zk(master),
                    sim_chance(700) ? sim_between(0, 2000) : sim_between(2000, 30000));
        break;
    default:
        simzk_expire(simmaster_zk(master));
        break;
    }
}

/* ---- Nodes ---- */

static void trouble_nodes(struct world *world)
{
    size_t at = sim_rand() % world->n_agents;
    struct simagent *agent = world->agents[at];

    switch (sim_rand() % 3) {
    case 0:
        simagent_die(agent);
        revive(world, MASTERS + at,
               sim_chance(500) ? sim_between(100, 20000) : sim_between(20000, 600 * 1000));
        break;
    case 1:
        simagent_restart(agent, sim_chance(500) ? sim_between(10, 3000) : sim_between(3000, 60000));
        break;
    default:
        simagent_partition(agent,
                           sim_chance(500) ? sim_between(10, 5000) : sim_between(5000, 300 * 1000));
        break;
    }
}

static void make_agent(struct world *world, size_t at)
{
    CLEANUP(mem_freep) char *name = str_printf("n%zu", at);
    CLEANUP(mem_freep)
    char *attributes = str_printf("\"rack\":\"r%zu\"%s", at % 3,
                                  !sim_chance(150)  ? ""
                                  : sim_chance(500) ? ",\"dedicated\":\"www/web\""
                                                    : ",\"dedicated\":\"*/any,www/web\"");
    int ports = (int)sim_between(3, 12);
    struct simagent_options options = { .tree = world->tree,
                                        .name = name,
                                        .cpu = (double)sim_between(2, 8),
                                        .ram_bytes = (int64_t)sim_between(1, 8) * 1024 * MIB,
                                        .disk_bytes = (int64_t)sim_between(2, 20) * 1024 * MIB,
                                        .port_lo = 31000,
                                        .port_hi = 31000 + ports,
                                        .attributes = attributes,
                                        .late = world->quiet || sim_chance(700) ? 0 : 100,
                                        .clumsy = world->quiet ? 0 : 30 };

    world->agents[at] = simagent_new(&options);
    revive(world, MASTERS + at, sim_chance(700) ? sim_between(0, 5000) : sim_between(0, 300000));
}

/* ---- Users ---- */

static void on_op_ended(struct simop *op, void *data)
{
    struct world *world = data;

    world->tally->operations++;
    world->tally->disappeared += op->status == SIMOP_DISAPPEARED;
    simmodel_ended(world->model, op);
}

/* ---- The course of it ---- */

static void look(struct world *world)
{
    struct simmaster *master = leader(world);

    if (master != NULL && simmaster_is_clean(master)) {
        simcompare_sums(simmaster_state(master));
        simcompare_reload(master, world->tree);
        world->tally->reloads++;
    }
}

static void on_action(void *arg)
{
    struct world *world = arg;

    world->action = NULL;
    world->tally->actions++;
    if (sim_chance(300)) {
        look(world);
    }
    if (sim_chance(world->masters_die)) {
        trouble_masters(world);
    } else if (sim_chance(world->nodes_die)) {
        trouble_nodes(world);
    } else {
        simusers_ask(&world->users);
    }
    if (--world->actions > 0) {
        world->action =
            sim_after(sim_between(1, 2 * world->pause_ms), NULL, on_action, world, "action");
    }
}

static void run_until(struct world *world, uint64_t until_ms)
{
    while (sim_now() < until_ms) {
        SIM_CHECK(sim_steps() < MAX_STEPS, "the history does not end");
        SIM_CHECK(sim_step(), "nothing happens any more");
        if (!world->calm && world->action == NULL) {
            return;
        }
    }
}

static void heal(struct world *world)
{
    for (size_t i = 0; i < world->n_agents; i++) {
        simagent_heal(world->agents[i]);
    }
}

/* An update that does not end must have something to wait for. */
static void check_stuck(const struct world *world)
{
    const struct simcheck_task *task;

    for (task = simcheck_active(world->check); task != NULL; task = task->next) {
        if (task->status != TASK_RUNNING) {
            return;
        }
    }
    sim_fail("all tasks run and an update does not end");
}

static bool is_draining(const struct world *world)
{
    const struct simcheck_node *node;

    for (node = simcheck_nodes(world->check); node != NULL; node = node->hh.next) {
        if (str_eq(node->mode, "draining")) {
            return true;
        }
    }
    return false;
}

static void on_tick(void *arg)
{
    *(struct sim_event **)arg = NULL;
}

static void settle(struct world *world)
{
    uint64_t end_ms = sim_now() + SETTLE_MS;
    uint64_t writes = 0;
    uint64_t still_ms = 0;
    struct sim_event *tick = NULL;

    sim_trace("---- calm");
    world->calm = true;
    sim_cancel(&world->kill);
    for (size_t i = 0; i < world->n_agents; i++) {
        simagent_calm(world->agents[i]);
        revive(world, MASTERS + i, sim_between(0, 5000));
    }
    for (size_t i = 0; i < MASTERS; i++) {
        revive(world, i, sim_between(0, 5000));
    }
    while (still_ms < STILL_MS || simmodel_is_updating(world->model)) {
        sim_cancel(&tick);
        tick = sim_after(60 * 1000, NULL, on_tick, &tick, "tick");
        run_until(world, sim_now() + 60 * 1000);
        if (simmodel_is_updating(world->model)) {
            bool stuck = sim_now() > end_ms - SETTLE_MS + PATIENCE_MS;

            if (stuck) {
                check_stuck(world);
            }
            simusers_tend(&world->users, stuck);
            still_ms = 0;
        } else if (simops_pending(world->ops) == 0) {
            heal(world);
        }
        still_ms += 60 * 1000;
        if (!simusers_end_crons(&world->users, world->tree) || is_draining(world) ||
            simcheck_writes(world->check) != writes || simops_pending(world->ops) > 0 ||
            leader(world) == NULL) {
            writes = simcheck_writes(world->check);
            still_ms = 0;
        }
        SIM_CHECK(sim_now() < end_ms, "it does not settle: %zu operations pending",
                  simops_pending(world->ops));
    }
    sim_cancel(&tick);
}

/* PENDING for ever is right only if there is no room. */
static void check_room(const struct world *world, const struct simcheck_task *task)
{
    const struct simcheck_config *config = simcheck_config(world->check, task);
    const struct simcheck_node *node;
    const struct simcheck_task *other;

    for (node = simcheck_nodes(world->check); node != NULL; node = node->hh.next) {
        double cpu = node->cpu;
        int64_t ram = node->ram_bytes;
        int64_t disk = node->disk_bytes;
        size_t ports = (size_t)(node->port_hi - node->port_lo + 1);

        for (other = simcheck_active(world->check); other != NULL; other = other->next) {
            if (str_eq(other->node, node->name)) {
                const struct simcheck_config *held = simcheck_config(world->check, other);

                cpu -= held->cpu;
                ram -= held->ram_bytes;
                disk -= held->disk_bytes;
                ports -= other->n_ports;
            }
        }
        CLEANUP(mem_freep) char *text = json_dumps(config->doc, JSON_COMPACT);
        size_t needs = (size_t)(strstr(text, "ports[http]") != NULL) +
                       (size_t)(strstr(text, "ports[admin]") != NULL);
        bool fits = cpu > config->cpu + 1e-6 && ram >= config->ram_bytes &&
                    disk >= config->disk_bytes && ports >= needs;

        fits = fits && simcheck_allows(world->check, task->job, config, node, 1);
        SIM_CHECK(!fits || !node->alive || !str_eq(node->mode, "active"),
                  "task %s is PENDING although %s has room for it", task->id, node->name);
    }
}

static void check_end(const struct world *world)
{
    const struct simcheck_task *task;

    for (task = simcheck_active(world->check); task != NULL; task = task->next) {
        SIM_CHECK(task->status == TASK_RUNNING || task->status == TASK_PENDING,
                  "task %s is %s for ever", task->id, task_status_name(task->status));
        if (task->status == TASK_PENDING) {
            check_room(world, task);
        }
    }
    for (task = simcheck_active(world->check); task != NULL; task = task->next) {
        const struct simcheck_node *node =
            task->node != NULL ? simcheck_node(world->check, task->node) : NULL;

        SIM_CHECK(node == NULL || !str_eq(node->mode, "drained"),
                  "task %s is on %s, which is drained", task->id, task->node);
    }
    for (size_t i = 0; i < world->n_agents; i++) {
        const char *stray = simagent_stray(world->agents[i]);

        SIM_CHECK(stray == NULL, "pod %s is left on %s without an intent", stray,
                  simagent_name(world->agents[i]));
    }
    for (task = simcheck_active(world->check); task != NULL; task = task->next) {
        for (size_t i = 0; i < world->n_agents; i++) {
            bool here = str_eq(task->node, simagent_name(world->agents[i]));

            SIM_CHECK(!here || simagent_pod_lives(world->agents[i], task->id),
                      "task %s is RUNNING and its pod does not live", task->id);
        }
    }
    for (task = simcheck_tasks(world->check); task != NULL; task = task->hh.next) {
        SIM_CHECK(task->active || simcheck_intent(world->check, task) == NULL,
                  "task %s is %s and its intent is left", task->id, task_status_name(task->status));
    }
    simmodel_check(world->model);
}

/* ---- Making and unmaking ---- */

static void make_folders(struct world *world)
{
    static const char *const paths[] = { "/davit/master/election", "/davit/tasks" };
    char path[32];

    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        simtree_put(world->tree, 0, paths[i], "", 0);
    }
    for (unsigned i = 0; i < 256; i++) {
        (void)snprintf(path, sizeof(path), "/davit/tasks/%02x", i);
        simtree_put(world->tree, 0, path, "", 0);
    }
}

static unsigned some(unsigned never, unsigned most)
{
    return sim_chance(never) ? 0 : (unsigned)sim_between(1, most);
}

static void make(struct world *world)
{
    static const char *const names[MASTERS] = { "m0", "m1" };
    struct simmaster_options options = { .node_lost_ms = sim_between(10, 120) * 1000,
                                         .history_ms = sim_chance(700)
                                                           ? UINT64_C(48) * 3600 * 1000
                                                           : sim_between(5, 60) * 60 * 1000 };

    world->n_agents = sim_between(1, MAX_NODES);
    world->pause_ms = sim_chance(300) ? sim_between(50, 2000) : sim_between(2000, 60000);
    world->actions = (unsigned)sim_between(5, 60);
    world->masters_die = some(400, 400);
    world->nodes_die = some(300, 500);
    world->tasks_die = some(300, 600);
    world->kill_every = some(600, 25);
    world->kill_in = world->kill_every;
    world->tree = simtree_new();
    if (!sim_chance(20)) {
        make_folders(world); /* Else the first leader does. */
    }
    world->check = simcheck_new(world->tree);
    world->ops = simops_make(on_op_ended, world);
    world->quiet = world->nodes_die == 0 && world->tasks_die == 0;
    world->model = simmodel_new(world->tree, world->check, world->ops, world->quiet);
    world->users = (struct simusers){ .ops = world->ops,
                                      .model = world->model,
                                      .check = world->check,
                                      .n_jobs = sim_between(1, 4),
                                      .n_nodes = world->n_agents,
                                      .tasks_die = world->tasks_die,
                                      .choosy = some(400, 1000),
                                      .updating = some(300, 900),
                                      .moving = some(500, 200),
                                      .handling = some(500, 400),
                                      .timing = some(700, 300) };
    options.tree = world->tree;
    options.ops = world->ops;
    for (size_t i = 0; i < MASTERS; i++) {
        options.name = names[i];
        world->masters[i] = simmaster_new(&options);
        revive(world, i, sim_between(0, 1000));
    }
    for (size_t i = 0; i < world->n_agents; i++) {
        make_agent(world, i);
    }
    simtree_listen(world->tree, on_commit, world);
    simzk_on_sent(on_sent, world);
    simusers_begin(&world->users);
    world->action = sim_after(sim_between(1, 5000), NULL, on_action, world, "action");
    sim_trace("---- seed %llu: %zu nodes, %u actions, of 1000: masters %u nodes %u tasks %u, a "
              "kill every %u writes",
              (unsigned long long)world->seed, world->n_agents, world->actions, world->masters_die,
              world->nodes_die, world->tasks_die, world->kill_every);
}

static void unmake(struct world *world)
{
    for (size_t i = 0; i < MASTERS; i++) {
        simmaster_free(world->masters[i]);
    }
    for (size_t i = 0; i < world->n_agents; i++) {
        simagent_free(world->agents[i]);
    }
    simmodel_free(world->model);
    simops_destroy(world->ops);
    simcheck_free(world->check);
    simtree_free(world->tree);
    for (size_t i = 0; i < MASTERS + MAX_NODES; i++) {
        SIM_CHECK(world->revive[i] == NULL, "somebody was to be revived");
    }
}

uint64_t simworld_run(uint64_t seed, struct simworld_tally *tally)
{
    struct world world = { .seed = seed, .tally = tally };
    uint64_t digest;

    sim_begin(seed);
    make(&world);
    run_until(&world, UINT64_MAX);
    settle(&world);
    look(&world);
    check_end(&world);
    digest = sim_digest();
    tally->histories++;
    tally->steps += sim_steps();
    tally->virtual_ms += sim_now();
    tally->writes += simcheck_writes(world.check);
    tally->tasks += simcheck_moves(world.check, TASK_ASSIGNED);
    tally->lost += simcheck_moves(world.check, TASK_LOST);
    tally->partitioned += simcheck_moves(world.check, TASK_PARTITIONED);
    tally->forward += simmodel_updates(world.model, "ROLLED_FORWARD");
    tally->back += simmodel_updates(world.model, "ROLLED_BACK");
    tally->aborted += simmodel_updates(world.model, "ABORTED");
    tally->failed += simmodel_updates(world.model, "FAILED");
    tally->launches += simmodel_launches(world.model);
    tally->draining += simcheck_moves(world.check, TASK_DRAINING);
    tally->restarting += simcheck_moves(world.check, TASK_RESTARTING);
    tally->preempted += simcheck_moves(world.check, TASK_PREEMPTING);
    unmake(&world);
    sim_end();
    return digest;
}
