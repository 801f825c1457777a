/* SPDX-License-Identifier: Apache-2.0 */
/* drain_pass: one look at a node that is being drained.
 *
 *   active, cordoned --begin--> draining --nothing left--> drained
 *          ^-------------------------'------- end -----------'
 *
 * Each look asks every task that may go to go: DRAINING, ended by its agent, and a new run
 * PENDING, which is placed elsewhere because this node takes none.  Whether one may go
 * is sla_rule.c's to say; behind the deadline all may.  Those that nothing holds are asked first,
 * on all nodes: else a task of the same job could be let go because they are still up.  Nothing is
 * remembered between looks but what the store has, so that another leader goes on where this one
 * was.
 */
#include "master/drain/drain_pass.h"

#include "base/json.h"
#include "base/log.h"
#include "base/str.h"
#include "master/drain/sla_rule.h"
#include "master/state/task_state.h"

#include <string.h>
#include <utlist.h>

void drain_plan_read(const json_t *doc, struct drain_plan *ret_plan)
{
    uint64_t since = (uint64_t)json_int_or(doc, "since_ms", 0);

    *ret_plan = (struct drain_plan){
        .since_ms = since,
        .deadline_ms = (uint64_t)json_int_or(doc, "deadline_ms",
                                             (int64_t)(since + (uint64_t)DRAIN_TIMEOUT_S * 1000)),
        .fallback = { .kind = SLA_PERCENTAGE,
                      .value = json_num_or(doc, "percentage", DRAIN_PERCENTAGE),
                      .duration_secs = json_int_or(doc, "duration_secs", DRAIN_DURATION_S) },
    };
}

json_t *drain_plan_make(const struct drain_plan *plan, const char *reason, const char *user,
                        const char *op_id)
{
    json_t *doc = json_object();

    json_put_int(doc, "since_ms", (int64_t)plan->since_ms);
    json_put_int(doc, "deadline_ms", (int64_t)plan->deadline_ms);
    json_put_num(doc, "percentage", plan->fallback.value);
    json_put_int(doc, "duration_secs", plan->fallback.duration_secs);
    json_put_str(doc, "reason", reason);
    json_put_str(doc, "user", user);
    json_put_str(doc, "op_id", op_id);
    return doc;
}

static void set_mode(struct state *state, struct state_node *node, const char *mode)
{
    log_info("node is %s node=%s was=%s tasks=%zu", mode, node->name, node->mode, node->n_tasks);
    free(node->mode);
    node->mode = mem_strdup(mode);
    node->drain_waiting = node->drain_asking = 0;
    state_node_touch(state, node);
}

void drain_begin_take(struct state *state, struct steer *steer, struct state_node *node,
                      json_t *plan)
{
    json_decref(node->drain);
    node->drain = plan;
    set_mode(state, node, STATE_NODE_DRAINING);
    steer_node_changed(steer, node);
}

void drain_end(struct state *state, struct steer *steer, struct state_node *node, const char *mode)
{
    json_decref(node->drain);
    node->drain = NULL;
    set_mode(state, node, mode);
    steer_node_changed(steer, node);
}

static void look_at(struct steer *steer, struct state_task *task, const struct drain_plan *plan,
                    uint64_t now_ms, drain_ask_fn ask, void *data, struct drain_left *left)
{
    enum sla_verdict verdict = SLA_MAY;

    if (!task_state_allows(task->t.status, TASK_DRAINING)) {
        left->leaving++;
        return;
    }
    if (now_ms < plan->deadline_ms) {
        verdict = sla_task_may_go(task, &plan->fallback, now_ms);
    }
    switch (verdict) {
    case SLA_MAY:
        left->leaving++;
        steer_drain(steer, task);
        break;
    case SLA_WAIT:
        left->waiting++;
        break;
    case SLA_ASK:
        left->asking++;
        if (ask != NULL) {
            ask(task, plan->deadline_ms, data);
        }
        break;
    }
}

void drain_node_unheld(struct steer *steer, struct state_node *node, uint64_t now_ms)
{
    struct drain_plan plan;
    struct state_task *task;
    struct state_task *next;

    drain_plan_read(node->drain, &plan);
    DL_FOREACH_SAFE2(node->tasks, task, next, node_next)
    {
        if (task_state_allows(task->t.status, TASK_DRAINING) &&
            (now_ms >= plan.deadline_ms || !sla_task_is_held(task, &plan.fallback))) {
            steer_drain(steer, task);
        }
    }
}

void drain_node(struct state *state, struct steer *steer, struct state_node *node, uint64_t now_ms,
                drain_ask_fn ask, void *data, struct drain_left *ret_left)
{
    struct drain_plan plan;
    struct state_task *task;
    struct state_task *next;

    *ret_left = (struct drain_left){ 0 };
    drain_plan_read(node->drain, &plan);
    DL_FOREACH_SAFE2(node->tasks, task, next, node_next)
    {
        look_at(steer, task, &plan, now_ms, ask, data, ret_left);
    }
    if (node->n_tasks == 0) {
        set_mode(state, node, STATE_NODE_DRAINED);
        steer_node_changed(steer, node); /* Those that wait are told why in other words. */
    }
}

void drain_granted(struct state *state, struct steer *steer, const char *task_id)
{
    struct state_task *task = state_task_find(state, task_id);

    if (task != NULL && task->node != NULL && strcmp(task->node->mode, STATE_NODE_DRAINING) == 0) {
        steer_drain(steer, task);
    }
}
