/* SPDX-License-Identifier: Apache-2.0 */
/* simmaster: starts and kills masters.
 *
 * Killing: first nothing reaches the store any more (simzk_crash), then the usual closing runs
 * without any time passing, only so that memory is given back.
 */
#include "simmaster.h"

#include "base/json.h"
#include "base/mem.h"
#include "coord/zk_watch.h"
#include "master/lead.h"
#include "master/state/place.h"
#include "master/state/state_priv.h"
#include "simops.h"
#include "simzk.h"

struct simmaster {
    struct simmaster_options options;
    struct sim_proc proc;
    uv_loop_t loop;
    struct zk *zk;
    struct lead *lead;
    struct operations *operations;
    struct opcode_env env;
    json_t *contact;
    bool up, closed;
    int starts;
    struct sim_event *silence, *thaw;
    struct ghost *ghosts;
};

/* The session of a program that was killed: the store keeps it for a while. */
struct ghost {
    struct simmaster *master;
    int64_t session;
    struct sim_event *event;
    struct ghost *next;
};

static void on_ghost(void *arg)
{
    struct ghost *ghost = arg;

    ghost->event = NULL;
    simtree_end_session(ghost->master->options.tree, ghost->session);
}

static void on_begin(struct lead *lead, void *data)
{
    struct simmaster *master = data;

    (void)lead;
    sim_trace("%s: leads", master->proc.name);
}

static void on_end(struct lead *lead, void *data)
{
    struct simmaster *master = data;

    (void)lead;
    sim_trace("%s: leads no more", master->proc.name);
    sim_change_clock();
}

void simmaster_up(struct simmaster *master)
{
    struct lead_options options;

    if (master->up) {
        return;
    }
    sim_trace("%s: starts", master->proc.name);
    master->up = true;
    master->starts++;
    master->closed = false;
    master->zk = simzk_open(master->options.tree, &master->loop);
    master->operations = simops_new(master->options.ops, master);
    master->env.operations = master->operations;
    master->contact = json_pack("{s:s, s:s, s:i, s:s}", "address", master->proc.name, "socket",
                                master->proc.name, "pid", master->starts, "host", "h");
    options = (struct lead_options){ .loop = &master->loop,
                                     .zk = master->zk,
                                     .cluster = "sim",
                                     .node_lost_ms = master->options.node_lost_ms,
                                     .history_ms = master->options.history_ms,
                                     .preempt_delay_ms = PLACE_PREEMPT_DELAY_MS,
                                     .preempt_every_ms = PLACE_PREEMPT_EVERY_MS,
                                     .cron_catch_up_ms = 60000,
                                     .operations = master->operations,
                                     .env = &master->env,
                                     .contact = master->contact,
                                     .on_begin = on_begin,
                                     .on_end = on_end,
                                     .data = master };
    lead_start(&options, &master->lead);
}

static void on_closed(void *data)
{
    ((struct simmaster *)data)->closed = true;
}

void simmaster_kill(struct simmaster *master)
{
    struct ghost *ghost;

    if (!master->up) {
        return;
    }
    sim_trace("%s: is killed", master->proc.name);
    sim_cancel(&master->silence);
    sim_cancel(&master->thaw);
    ghost = mem_alloc(sizeof(*ghost));
    ghost->master = master;
    ghost->session = zk_session_id(master->zk);
    ghost->next = master->ghosts;
    master->ghosts = ghost;
    simzk_crash(master->zk);
    sim_change_clock();
    ghost->event = sim_after(sim_between(SIMZK_SESSION_MS * 2 / 3, SIMZK_SESSION_MS), NULL,
                             on_ghost, ghost, "dead master's expiry");
    lead_close(TAKE(master->lead), on_closed, master);
    do {
        sim_finish_closing(&master->proc);
    } while (!master->closed && simzk_answer_one(master->zk));
    SIM_CHECK(master->closed, "%s does not close", master->proc.name);
    simops_free(TAKE(master->operations));
    simzk_free(TAKE(master->zk));
    json_decref(TAKE(master->contact));
    master->up = false;
}

static void on_silence(void *arg)
{
    struct simmaster *master = arg;

    master->silence = NULL;
    simzk_expire(master->zk);
}

static void on_thaw(void *arg)
{
    struct simmaster *master = arg;

    master->thaw = NULL;
    sim_cancel(&master->silence);
    sim_trace("%s: goes on", master->proc.name);
    sim_thaw(&master->proc);
}

void simmaster_freeze(struct simmaster *master, uint64_t ms)
{
    if (!master->up || master->proc.frozen) {
        return;
    }
    sim_trace("%s: is stopped for %u ms", master->proc.name, (unsigned)ms);
    sim_freeze(&master->proc);
    master->thaw = sim_after(ms, NULL, on_thaw, master, "thaw");
    master->silence = sim_after(sim_between(SIMZK_SESSION_MS * 2 / 3, SIMZK_SESSION_MS), NULL,
                                on_silence, master, "silence");
}

bool simmaster_is_up(const struct simmaster *master)
{
    return master->up;
}

struct zk *simmaster_zk(struct simmaster *master)
{
    return master->zk;
}

struct state *simmaster_state(const struct simmaster *master)
{
    return master->up && !master->proc.frozen ? lead_state(master->lead) : NULL;
}

struct opcode_env *simmaster_env(struct simmaster *master)
{
    return &master->env;
}

struct sim_proc *simmaster_proc(struct simmaster *master)
{
    return &master->proc;
}

bool simmaster_leads(const struct simmaster *master)
{
    const struct simtree_node *epoch = simtree_find(master->options.tree, "/davit/epoch");
    const struct state *state = simmaster_state(master);

    return state != NULL && epoch != NULL && state_epoch(state) == epoch->stat.version &&
           simtree_session_lives(master->options.tree, zk_session_id(master->zk));
}

bool simmaster_is_clean(const struct simmaster *master)
{
    const struct state *state = simmaster_state(master);

    return simmaster_leads(master) && !state->dead && !state->broken && state->queue == NULL &&
           state->batches == NULL && !uv_is_active((const uv_handle_t *)&state->turn);
}

struct simmaster *simmaster_new(const struct simmaster_options *options)
{
    struct simmaster *master = mem_alloc(sizeof(*master));

    master->options = *options;
    master->proc.name = options->name;
    master->loop.data = &master->proc;
    return master;
}

void simmaster_free(struct simmaster *master)
{
    struct ghost *ghost;

    simmaster_kill(master);
    while ((ghost = master->ghosts) != NULL) {
        master->ghosts = ghost->next;
        sim_cancel(&ghost->event);
        free(ghost);
    }
    free(master);
}

const char *simmaster_name(const struct simmaster *master)
{
    return master->proc.name;
}
