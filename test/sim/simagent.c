/* SPDX-License-Identifier: Apache-2.0 */
/* simagent: nodes, agents and pods of the simulation.
 *
 *   DOWN --boot--> agent up, linked --partition--> not linked --> linked
 *    ^--die-------------'  '--restart--> agent away --> agent up
 *
 * Happy path: a change below its intents makes it look soon; each pod's wish goes to
 * agent/reconcile.c, whose actions take a random time; a pod's entry in reality is written at once
 * when it ends or runs, and a moment later otherwise.
 * Failures: an agent that is away or not linked writes nothing; what it has to say is written when
 * it is back.  Actions fail now and then and are repeated.
 * Invariant: a pod has at most one action and one event of its life under way.
 */
#include "simagent.h"

#include "agent/reconcile.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include "model/pod.h"
#include "simloop.h"
#include "simzk.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <utlist.h>

struct pod {
    struct simagent *agent;
    char *name;
    char *plan;
    struct reconcile r;
    bool alive; /* davit-pod lives. */
    bool launched, up, listed;
    enum reconcile_life life; /* What davit-pod knows; the agent may not. */
    struct sim_event *action, *living, *retry;
    struct pod *prev, *next;
};

struct simagent {
    struct simagent_options options;
    struct simtree *tree;
    char *name;
    struct pod *pods;
    bool machine, agent, linked;
    bool calm, healed;
    int64_t session;
    uint64_t boots;
    char *shards[POD_SHARDS]; /* As in the store. */
    bool dirty[POD_SHARDS];
    struct sim_event *look, *write, *back, *expiry;
    uint64_t write_at_ms;
};

static void kick(struct pod *pod);
static void want_look(struct simagent *agent, uint64_t most_ms);

/* ---- What it tells ---- */

static char *shard_text(const struct simagent *agent, unsigned shard)
{
    struct buf text = { 0 };
    const struct pod *pod;
    bool first = true;
    char *copy;

    buf_addf(&text, "{\"v\":1,\"pods\":{");
    DL_FOREACH(agent->pods, pod)
    {
        const char *state = reconcile_state(&pod->r);

        if (pod_shard(pod->name) == shard && state != NULL) {
            buf_addf(&text, "%s\"%s\":{\"state\":\"%s\",\"reason\":null}", first ? "" : ",",
                     pod->name, state);
            first = false;
        }
    }
    buf_addf(&text, "}}");
    copy = mem_strdup(buf_text(&text));
    buf_fini(&text);
    return copy;
}

static void on_write(void *arg)
{
    struct simagent *agent = arg;

    agent->write = NULL;
    if (!agent->linked || !agent->agent) {
        return;
    }
    for (unsigned i = 0; i < POD_SHARDS; i++) {
        if (agent->dirty[i]) {
            CLEANUP(mem_freep) char *text = shard_text(agent, i);
            CLEANUP(mem_freep) char *path = str_printf("/davit/reality/%s/%u", agent->name, i);

            agent->dirty[i] = false;
            if (!str_eq(text, agent->shards[i])) {
                sim_trace("%s: reality %s", agent->name, text);
                simtree_put(agent->tree, agent->session, path, text, 0);
                free(agent->shards[i]);
                agent->shards[i] = TAKE(text);
            }
        }
    }
}

static void want_write(struct simagent *agent, uint64_t in_ms)
{
    uint64_t at = sim_now() + in_ms;

    if (!agent->linked || !agent->agent || (agent->write != NULL && agent->write_at_ms <= at)) {
        return;
    }
    sim_cancel(&agent->write);
    agent->write_at_ms = at;
    agent->write = sim_at(at, NULL, on_write, agent, "reality");
}

static void tell(struct pod *pod)
{
    const char *state = reconcile_state(&pod->r);
    bool news = state != NULL && !str_eq(state, "installing") && !str_eq(state, "starting") &&
                !str_eq(state, "stopping");

    pod->agent->dirty[pod_shard(pod->name)] = true;
    want_write(pod->agent, news ? sim_between(0, 5) : sim_between(1, 50));
}

/* ---- How a pod fares ---- */

static bool plan_is(const struct pod *pod, const char *word)
{
    return str_starts(pod->plan, word);
}

static uint64_t plan_number(const struct pod *pod)
{
    const char *colon = strchr(pod->plan, ':');

    return colon != NULL ? strtoull(colon + 1, NULL, 10) : 0;
}

static void on_living(void *arg);

static void live(struct pod *pod, uint64_t in_ms)
{
    sim_cancel(&pod->living);
    pod->living = sim_after(in_ms, NULL, on_living, pod, "life");
}

static void lead_life(struct pod *pod, enum reconcile_life life)
{
    pod->life = life;
    pod->alive = !reconcile_life_ended(life) && life != RECONCILE_LIFE_DIED;
    if (pod->agent->agent) {
        reconcile_life(&pod->r, life);
        tell(pod);
        kick(pod);
    }
}

/* The next thing that happens by itself. */
static void on_living(void *arg)
{
    struct pod *pod = arg;
    bool calm = pod->agent->calm;

    pod->living = NULL;
    if (pod->life == RECONCILE_LIFE_STARTING) {
        if (plan_is(pod, "sick") && !pod->agent->healed) {
            lead_life(pod, RECONCILE_LIFE_FAILED);
            return;
        }
        if (plan_is(pod, "done")) {
            live(pod, calm && plan_number(pod) > 60000 ? 60000 : plan_number(pod));
        } else if (plan_is(pod, "crash") && !calm && sim_chance((unsigned)plan_number(pod))) {
            live(pod, sim_between(100, 600 * 1000));
        }
        lead_life(pod, RECONCILE_LIFE_RUNNING);
    } else if (pod->life == RECONCILE_LIFE_RUNNING) {
        if (plan_is(pod, "done")) {
            lead_life(pod, RECONCILE_LIFE_FINISHED);
        } else if (!calm) {
            lead_life(pod, sim_chance(300) ? RECONCILE_LIFE_FINISHED : RECONCILE_LIFE_FAILED);
        }
    } else if (pod->life == RECONCILE_LIFE_STOPPING) {
        lead_life(pod, RECONCILE_LIFE_KILLED);
    }
}

static void launch(struct pod *pod)
{
    pod->launched = pod->alive = true;
    pod->life = RECONCILE_LIFE_STARTING;
    live(pod, plan_is(pod, "sick") ? sim_between(5000, 90000) : sim_between(1, 15000));
}

/* ---- Actions ---- */

static void drop_pod(struct pod *pod)
{
    sim_cancel(&pod->action);
    sim_cancel(&pod->living);
    sim_cancel(&pod->retry);
    DL_DELETE(pod->agent->pods, pod);
    free(pod->name);
    free(pod->plan);
    free(pod);
}

static void on_retry(void *arg)
{
    struct pod *pod = arg;

    pod->retry = NULL;
    kick(pod);
}

static void on_action(void *arg)
{
    struct pod *pod = arg;
    enum reconcile_action action = pod->r.busy;
    bool may_fail = action != RECONCILE_HALT && action != RECONCILE_REAP &&
                    action != RECONCILE_SETTLE && !pod->agent->calm;
    bool ok = !may_fail || !sim_chance(pod->agent->options.clumsy);

    pod->action = NULL;
    switch (action) {
    case RECONCILE_LAUNCH:
        if (ok) {
            launch(pod);
        }
        break;
    case RECONCILE_AFTER_LAUNCH:
        pod->up = ok;
        break;
    case RECONCILE_HALT:
    case RECONCILE_REAP:
    case RECONCILE_SETTLE:
        if (pod->alive) { /* Halted; it may have ended by itself meanwhile. */
            reconcile_life(&pod->r, RECONCILE_LIFE_KILLED);
            pod->life = RECONCILE_LIFE_KILLED;
        }
        pod->alive = false;
        sim_cancel(&pod->living);
        break;
    case RECONCILE_NOTHING:
    case RECONCILE_BEFORE_INSTALL:
    case RECONCILE_INSTALL:
    case RECONCILE_AFTER_INSTALL:
    case RECONCILE_BEFORE_LAUNCH:
    case RECONCILE_BEFORE_UNINSTALL:
    case RECONCILE_UNINSTALL:
    case RECONCILE_FORGET:
        break;
    }
    reconcile_done(&pod->r, ok, sim_now());
    if (action == RECONCILE_LAUNCH && ok) {
        reconcile_life(&pod->r, pod->life);
    }
    tell(pod);
    kick(pod);
}

static uint64_t duration(const struct pod *pod, enum reconcile_action action)
{
    if (action != RECONCILE_HALT) {
        return sim_between(1, sim_chance(50) ? 20000 : 200);
    }
    if (!pod->agent->calm && sim_chance(pod->agent->options.late)) {
        return sim_between(200, 600) * 1000;
    }
    return sim_between(1, 30000);
}

/* A pod that is gone may be freed here. */
static void kick(struct pod *pod)
{
    struct simagent *agent = pod->agent;
    enum reconcile_action action;

    if (!agent->agent) {
        return;
    }
    action = reconcile_next(&pod->r, sim_now());
    tell(pod); /* The wish alone may have changed its word. */
    if (action == RECONCILE_FORGET) {
        drop_pod(pod);
        return;
    }
    if (action != RECONCILE_NOTHING) {
        pod->action = sim_after(duration(pod, action), NULL, on_action, pod, "action");
    } else if (pod->r.busy == RECONCILE_NOTHING && pod->r.retry_at_ms > sim_now() &&
               pod->retry == NULL) {
        pod->retry = sim_at(pod->r.retry_at_ms, NULL, on_retry, pod, "retry");
    }
}

/* ---- What it is asked for ---- */

static char *read_plan(const char *intent)
{
    const char *at = strstr(intent, "plan=");

    at = at != NULL ? at + strlen("plan=") : "good";
    return mem_strndup(at, strcspn(at, " '\"\n"));
}

static struct pod *find_pod(const struct simagent *agent, const char *name)
{
    struct pod *pod;

    DL_FOREACH(agent->pods, pod)
    {
        if (strcmp(pod->name, name) == 0) {
            return pod;
        }
    }
    return NULL;
}

static void on_look(void *arg)
{
    struct simagent *agent = arg;
    CLEANUP(mem_freep) char *path = str_printf("/davit/intent/%s", agent->name);
    const struct simtree_node *folder = simtree_find(agent->tree, path);
    const struct simtree_node *node;
    struct pod *pod, *next;

    agent->look = NULL;
    DL_FOREACH(agent->pods, pod)
    {
        pod->listed = false;
    }
    for (node = folder != NULL ? folder->children : NULL; node != NULL; node = node->next) {
        const char *name = strrchr(node->path, '/') + 1;
        bool stop = strstr(node->bytes, "desired: stopped") != NULL;

        pod = find_pod(agent, name);
        if (pod == NULL) {
            pod = mem_alloc(sizeof(*pod));
            pod->agent = agent;
            pod->name = mem_strdup(name);
            pod->plan = read_plan(node->bytes);
            DL_APPEND(agent->pods, pod);
        }
        pod->listed = true;
        reconcile_intent(&pod->r, stop ? RECONCILE_STOP : RECONCILE_RUN, true);
    }
    DL_FOREACH_SAFE(agent->pods, pod, next)
    {
        if (!pod->listed) {
            reconcile_intent(&pod->r, RECONCILE_ABSENT, true);
        }
        kick(pod);
    }
}

static void want_look(struct simagent *agent, uint64_t most_ms)
{
    if (agent->agent && agent->linked && agent->look == NULL) {
        agent->look = sim_after(sim_between(1, most_ms), NULL, on_look, agent, "look");
    }
}

static void on_change(struct simtree *tree, int64_t session, const struct simtree_change *changes,
                      size_t n, void *data)
{
    struct simagent *agent = data;
    size_t len = strlen(agent->name);

    (void)tree;
    (void)session;
    for (size_t i = 0; i < n && agent->look == NULL; i++) {
        const char *path = changes[i].path;

        if (str_starts(path, "/davit/intent/") &&
            strncmp(path + strlen("/davit/intent/"), agent->name, len) == 0 &&
            path[strlen("/davit/intent/") + len] == '/') {
            want_look(agent, agent->calm ? 20 : 300);
        }
    }
}

/* ---- Coming and going ---- */

static void on_expiry(void *arg)
{
    struct simagent *agent = arg;

    agent->expiry = NULL;
    sim_trace("store: the session of %s is over", agent->name);
    simtree_end_session(agent->tree, agent->session);
}

static void unlink_store(struct simagent *agent)
{
    agent->linked = false;
    sim_cancel(&agent->look);
    sim_cancel(&agent->write);
    if (agent->expiry == NULL && simtree_session_lives(agent->tree, agent->session)) {
        agent->expiry = sim_after(sim_between(SIMZK_SESSION_MS * 2 / 3, SIMZK_SESSION_MS), NULL,
                                  on_expiry, agent, "agent's expiry");
    }
}

static void announce(struct simagent *agent)
{
    const struct simagent_options *o = &agent->options;
    CLEANUP(mem_freep) char *path = str_printf("/davit/nodes/%s/alive", agent->name);
    CLEANUP(mem_freep)
    char *text = str_printf(
        "{\"v\":1,\"address\":\"%s:1\",\"boot_id\":\"%" PRIu64 "\",\"host\":\"%s\",\"pid\":1,"
        "\"version\":\"0\",\"attributes\":{\"host\":\"%s\"%s%s},\"resources\":{\"cpu\":%g,"
        "\"ram_bytes\":%" PRId64 ",\"disk_bytes\":%" PRId64 ",\"ports\":[%d,%d]},"
        "\"hooks_dir\":\"/none\"}",
        agent->name, agent->boots, agent->name, agent->name, o->attributes[0] != '\0' ? "," : "",
        o->attributes, o->cpu, o->ram_bytes, o->disk_bytes, o->port_lo, o->port_hi);

    simtree_put(agent->tree, agent->session, path, text, ZK_EPHEMERAL);
}

/* Linked again: under the old session while that lives and its program is the same. */
static void link_store(struct simagent *agent, bool same_program)
{
    agent->linked = true;
    sim_cancel(&agent->expiry);
    if (!same_program || !simtree_session_lives(agent->tree, agent->session)) {
        simtree_end_session(agent->tree, agent->session); /* member.c finds its old node's end. */
        agent->session = simtree_open_session(agent->tree);
        announce(agent);
    }
    memset(agent->dirty, true, sizeof(agent->dirty));
    want_write(agent, sim_between(1, 50));
    want_look(agent, 200);
}

static void on_agent_back(void *arg)
{
    struct simagent *agent = arg;
    struct pod *pod, *next;

    agent->back = NULL;
    agent->agent = true;
    sim_trace("%s: the agent starts", agent->name);
    DL_FOREACH_SAFE(agent->pods, pod, next)
    {
        struct reconcile_found found = { .has_home = pod->r.has_home,
                                         .launched = pod->launched,
                                         .started = pod->launched,
                                         .up = pod->up,
                                         .alive = pod->alive,
                                         .life = pod->life };

        if (pod->r.stage < RECONCILE_ENDED) {
            reconcile_adopt(&pod->r, &found);
        } else {
            pod->r.busy = RECONCILE_NOTHING;
        }
    }
    link_store(agent, false);
    DL_FOREACH_SAFE(agent->pods, pod, next)
    {
        kick(pod);
    }
}

static void stop_agent(struct simagent *agent)
{
    struct pod *pod;

    agent->agent = false;
    DL_FOREACH(agent->pods, pod)
    {
        sim_cancel(&pod->action);
        sim_cancel(&pod->retry);
    }
    unlink_store(agent);
    sim_cancel(&agent->back);
}

void simagent_restart(struct simagent *agent, uint64_t away_ms)
{
    if (!agent->machine || !agent->agent) {
        return;
    }
    sim_trace("%s: the agent dies for %" PRIu64 " ms", agent->name, away_ms);
    stop_agent(agent);
    agent->back = sim_after(away_ms, NULL, on_agent_back, agent, "agent back");
}

static void on_linked(void *arg)
{
    struct simagent *agent = arg;

    agent->back = NULL;
    sim_trace("%s: reaches the store again", agent->name);
    link_store(agent, true);
}

void simagent_partition(struct simagent *agent, uint64_t away_ms)
{
    if (!agent->machine || !agent->agent || !agent->linked) {
        return;
    }
    sim_trace("%s: cannot reach the store for %" PRIu64 " ms", agent->name, away_ms);
    unlink_store(agent);
    agent->back = sim_after(away_ms, NULL, on_linked, agent, "linked");
}

void simagent_die(struct simagent *agent)
{
    struct pod *pod;

    if (!agent->machine) {
        return;
    }
    sim_trace("%s: the machine dies", agent->name);
    stop_agent(agent);
    agent->machine = false;
    DL_FOREACH(agent->pods, pod)
    {
        sim_cancel(&pod->living);
        pod->alive = false;
    }
}

void simagent_boot(struct simagent *agent, bool wiped)
{
    struct pod *pod, *next;

    if (agent->machine) {
        return;
    }
    sim_trace("%s: the machine starts%s", agent->name, wiped ? ", empty" : "");
    agent->machine = true;
    agent->boots++;
    DL_FOREACH_SAFE(agent->pods, pod, next)
    {
        const char *told = reconcile_state(&pod->r);

        if (!wiped || pod->r.stage >= RECONCILE_ENDED) {
            continue;
        }
        if (told != NULL && !str_eq(told, "installing")) {
            /* Only the store remembers it: pods_found() in agent/pods.c. */
            pod->r = (struct reconcile){ .wish = RECONCILE_UNKNOWN };
            reconcile_ended(&pod->r, RECONCILE_END_LOST);
        } else {
            drop_pod(pod);
        }
    }
    on_agent_back(agent);
}

/* ---- Life ---- */

struct simagent *simagent_new(const struct simagent_options *options)
{
    struct simagent *agent = mem_alloc(sizeof(*agent));

    agent->options = *options;
    agent->options.attributes = mem_strdup(options->attributes);
    agent->tree = options->tree;
    agent->name = mem_strdup(options->name);
    simtree_listen(agent->tree, on_change, agent);
    return agent;
}

void simagent_free(struct simagent *agent)
{
    simtree_unlisten(agent->tree, on_change, agent);
    while (agent->pods != NULL) {
        drop_pod(agent->pods);
    }
    sim_cancel(&agent->look);
    sim_cancel(&agent->write);
    sim_cancel(&agent->back);
    sim_cancel(&agent->expiry);
    for (unsigned i = 0; i < POD_SHARDS; i++) {
        free(agent->shards[i]);
    }
    free((char *)agent->options.attributes);
    free(agent->name);
    free(agent);
}

const char *simagent_name(const struct simagent *agent)
{
    return agent->name;
}

bool simagent_is_up(const struct simagent *agent)
{
    return agent->machine;
}

void simagent_calm(struct simagent *agent)
{
    agent->calm = true;
}

void simagent_heal(struct simagent *agent)
{
    agent->healed = true;
}

bool simagent_pod_lives(const struct simagent *agent, const char *name)
{
    const struct pod *pod = find_pod(agent, name);

    return pod != NULL && pod->alive;
}

const char *simagent_stray(const struct simagent *agent)
{
    const struct pod *pod;

    DL_FOREACH(agent->pods, pod)
    {
        CLEANUP(mem_freep)
        char *path = str_printf("/davit/intent/%s/%s", agent->name, pod->name);

        if (simtree_find(agent->tree, path) == NULL) {
            return pod->name;
        }
    }
    return NULL;
}
