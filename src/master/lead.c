/* SPDX-License-Identifier: Apache-2.0 */
/* lead: terms of leadership.
 *
 *   FOLLOWING --elected--> LOADING --loaded--> RESUMING --operations ready--> LEADING
 *       ^---------------------'--------------------'-------lost-----------------'
 *
 * Happy path: elected, the store is read into a struct state, steer and nodes take it
 * up, operations resume what they owe, on_begin.
 * Failures: the term is lost (session, another epoch, a refused write): first of all the
 * davit-ops are killed, then everything of the term is dropped; the election stands again
 * by itself.  When reading the store fails the term is given up: we leave the election and
 * stand again a moment later, so that another may try.
 * Invariant: env->state and env->steer are set exactly while the term's objects live.
 */
#include "master/lead.h"

#include "base/fault.h"
#include "base/id.h"
#include "base/json.h"
#include "base/log.h"
#include "base/str.h"
#include "coord/election.h"
#include "master/cron/crons.h"
#include "master/drain/drain.h"
#include "master/predecessor.h"
#include "master/state/nodes.h"
#include "master/state/state_load.h"

#include <string.h>

#define ELECTION_PATH "/davit/master/election"
#define EPOCH_PATH    "/davit/epoch"

enum { AGAIN_MS = 1000, CONTACT_CAP = 4096 };

struct lead {
    struct lead_options options;
    struct election *election; /* NULL while we have left it. */
    char token[ID_TOKEN_SIZE]; /* Of all our candidacies: none stands behind a forgotten one. */
    struct election_observer *observer;
    json_t *leader;
    uv_timer_t again;
    struct predecessor *predecessor; /* Until we stand for the first time. */

    struct state_load *load;
    struct state *state;
    struct steer *steer;
    struct updates *updates;
    struct nodes *nodes;
    struct drain *drain;
    struct crons *crons;
    bool leading, closing;
    unsigned closes; /* Closing parts of a term, the timer, the election. */
    lead_closed_cb close_cb;
    void *close_data;
};

static void stand(struct lead *lead);
static void give_up(struct lead *lead, const char *why);

/* ---- A term's end ---- */

static void maybe_closed(struct lead *lead)
{
    lead_closed_cb cb = lead->close_cb;
    void *data = lead->close_data;

    if (!lead->closing || lead->closes > 0) {
        return;
    }
    json_decref(lead->leader);
    free(lead);
    if (cb != NULL) {
        cb(data);
    }
}

static void on_part_closed(void *data)
{
    struct lead *lead = data;

    lead->closes--;
    maybe_closed(lead);
}

static void end_term(struct lead *lead)
{
    operations_unlead(lead->options.operations); /* First: its processes must not act any more. */
    if (lead->leading) {
        lead->leading = false;
        lead->options.on_end(lead, lead->options.data);
    }
    state_load_cancel(TAKE(lead->load));
    lead->options.env->state = NULL;
    lead->options.env->steer = NULL;
    lead->options.env->updates = NULL;
    if (lead->drain != NULL) {
        lead->closes++;
        drain_close(TAKE(lead->drain), on_part_closed, lead);
    }
    lead->options.env->crons = NULL;
    if (lead->crons != NULL) {
        lead->closes++;
        crons_close(TAKE(lead->crons), on_part_closed, lead);
    }
    if (lead->nodes != NULL) {
        lead->closes++;
        nodes_close(TAKE(lead->nodes), on_part_closed, lead);
    }
    if (lead->updates != NULL) {
        lead->closes++;
        updates_close(TAKE(lead->updates), on_part_closed, lead);
    }
    if (lead->steer != NULL) {
        lead->closes++;
        steer_close(TAKE(lead->steer), on_part_closed, lead);
    }
    if (lead->state != NULL) {
        lead->closes++;
        state_close(TAKE(lead->state), on_part_closed, lead);
    }
}

/* ---- A term's beginning ---- */

static void on_operations_ready(void *data)
{
    struct lead *lead = data;

    CRASH_POINT("master.lead.ready");
    lead->leading = true;
    crons_begin(lead->crons);
    log_info("leading epoch=%lld jobs=%u tasks=%u", (long long)state_epoch(lead->state),
             HASH_COUNT(state_jobs(lead->state)), HASH_COUNT(state_tasks(lead->state)));
    lead->options.on_begin(lead, lead->options.data);
}

static void on_loaded(struct state *state, const struct err *err, void *data)
{
    struct lead *lead = data;
    struct nodes_options nodes;
    struct drain_options drain;
    struct crons_options crons;

    lead->load = NULL;
    if (state == NULL) {
        give_up(lead, err->msg);
        return;
    }
    CRASH_POINT("master.lead.loaded");
    lead->state = state;
    lead->steer = steer_new(state, lead->options.history_ms);
    steer_set_preempt(lead->steer, lead->options.preempt_delay_ms, lead->options.preempt_every_ms);
    lead->updates = updates_new(state, lead->steer);
    nodes = (struct nodes_options){ state, lead->steer, lead->options.node_lost_ms };
    lead->nodes = nodes_new(&nodes);
    drain = (struct drain_options){ state, lead->steer, lead->options.coordinator_retry_ms };
    lead->drain = drain_new(&drain);
    crons = (struct crons_options){ state, lead->steer, lead->options.operations,
                                    (int64_t)lead->options.cron_catch_up_ms };
    lead->crons = crons_new(&crons);
    lead->options.env->state = state;
    lead->options.env->steer = lead->steer;
    lead->options.env->updates = lead->updates;
    lead->options.env->crons = lead->crons;
    operations_lead(lead->options.operations, state, on_operations_ready, lead);
}

/* A write was refused: somebody else may lead by now. */
static void on_state_lost(struct state *state, const char *why, void *data)
{
    (void)state;
    give_up(data, why);
}

static void on_leader(struct election *election, int64_t epoch, void *data)
{
    struct lead *lead = data;
    struct state_options options = { .loop = lead->options.loop,
                                     .zk = lead->options.zk,
                                     .election = election,
                                     .cluster = lead->options.cluster,
                                     .epoch = epoch,
                                     .on_lost = on_state_lost,
                                     .data = lead };

    CRASH_POINT("master.lead.elected");
    log_info("elected, reading the store epoch=%lld", (long long)epoch);
    lead->load = state_load_start(&options, on_loaded, lead);
}

static void on_lost(struct election *election, const char *why, void *data)
{
    (void)election;
    log_warn("not leading any more: %s", why);
    end_term(data);
}

/* ---- Standing and leaving ---- */

static void on_again(uv_timer_t *timer)
{
    stand(timer->data);
}

static void on_withdrawn(void *data)
{
    struct lead *lead = data;

    lead->closes--;
    if (lead->closing) {
        maybe_closed(lead);
    } else {
        uv_timer_start(&lead->again, on_again, AGAIN_MS, 0);
    }
}

static void give_up(struct lead *lead, const char *why)
{
    log_error("this term of leadership is given up, standing again in %d ms: %s", AGAIN_MS, why);
    end_term(lead);
    if (lead->election != NULL) {
        lead->closes++;
        election_close(TAKE(lead->election), on_withdrawn, lead);
    }
}

static void stand(struct lead *lead)
{
    CLEANUP(mem_freep) char *contact = json_text(lead->options.contact);
    struct election_options options = { .zk = lead->options.zk,
                                        .path = ELECTION_PATH,
                                        .bytes = contact,
                                        .len = strlen(contact),
                                        .epoch_path = EPOCH_PATH,
                                        .token = lead->token,
                                        .on_leader = on_leader,
                                        .on_lost = on_lost,
                                        .data = lead };

    election_start(&options, &lead->election);
}

static void on_predecessor_removed(void *data)
{
    struct lead *lead = data;

    lead->predecessor = NULL;
    stand(lead);
}

static void on_observed(const char *bytes, size_t len, void *data)
{
    struct lead *lead = data;
    json_t *leader = NULL;
    struct err err = { 0 };

    if (len > 0 && json_parse(bytes, len, CONTACT_CAP, &leader, &err) < 0) {
        log_warn("the leading master's address cannot be read: %s", err.msg);
    }
    json_decref(lead->leader);
    lead->leader = leader;
}

void lead_start(const struct lead_options *options, struct lead **ret_lead)
{
    struct lead *lead = mem_alloc(sizeof(*lead));

    lead->options = *options;
    id_token(lead->token);
    uv_timer_init(options->loop, &lead->again);
    lead->again.data = lead;
    *ret_lead = lead; /* Before anything can call back. */
    election_observe(options->zk, ELECTION_PATH, on_observed, lead, &lead->observer);
    lead->predecessor = predecessor_remove(options->zk, ELECTION_PATH, options->contact,
                                           on_predecessor_removed, lead);
}

static void on_timer_closed(uv_handle_t *handle)
{
    on_part_closed(handle->data);
}

void lead_close(struct lead *lead, lead_closed_cb cb, void *data)
{
    lead->closing = true;
    lead->close_cb = cb;
    lead->close_data = data;
    end_term(lead);
    predecessor_cancel(TAKE(lead->predecessor));
    election_observer_free(TAKE(lead->observer));
    lead->closes++;
    uv_close((uv_handle_t *)&lead->again, on_timer_closed);
    if (lead->election != NULL) {
        lead->closes++;
        election_close(TAKE(lead->election), on_withdrawn, lead);
    }
}

struct state *lead_state(const struct lead *lead)
{
    return lead->leading ? lead->state : NULL;
}

struct updates *lead_updates(const struct lead *lead)
{
    return lead->leading ? lead->updates : NULL;
}

const struct opcode_env *lead_env(const struct lead *lead)
{
    return lead->options.env;
}

struct crons *lead_crons(const struct lead *lead)
{
    return lead->leading ? lead->crons : NULL;
}

const json_t *lead_leader(const struct lead *lead)
{
    return json_is_object(lead->leader) ? lead->leader : NULL;
}
