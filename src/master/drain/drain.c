/* SPDX-License-Identifier: Apache-2.0 */
/* drain: when to look at the nodes that are being drained.
 *
 * Not what a look does: drain_pass.c; not who may go: sla_rule.c.
 *
 * Happy path: a change of the state while a node is draining starts the timer (at most
 * one look every PAUSE_MS); without changes there is a look every IDLE_MS, for times
 * that pass: the durations of policies, and deadlines.  No node is draining: no timer.
 * Failures: all that counts is in the nodes' documents; the next leader looks at them.
 */
#include "master/drain/drain.h"

#include "base/clock.h"
#include "master/drain/coordinator.h"
#include "master/drain/drain_pass.h"

#include <string.h>

enum { PAUSE_MS = 100, IDLE_MS = 1000, COORDINATOR_TIMEOUT_MS = 60 * 1000 };

struct drain {
    struct drain_options options;
    struct state_listener listener;
    struct coordinators *coordinators;
    uv_timer_t timer;
    unsigned closes;
    drain_cb close_cb;
    void *close_data;
};

static void on_timer(uv_timer_t *timer);

static bool is_draining(const struct state_node *node)
{
    return strcmp(node->mode, STATE_NODE_DRAINING) == 0;
}

static void look_in(struct drain *drain, uint64_t ms)
{
    if (!uv_is_active((uv_handle_t *)&drain->timer) || uv_timer_get_due_in(&drain->timer) > ms) {
        uv_timer_start(&drain->timer, on_timer, ms, 0);
    }
}

static void on_ask(struct state_task *task, uint64_t deadline_ms, void *data)
{
    struct drain *drain = data;

    coordinators_ask(drain->coordinators, task, deadline_ms);
}

static void on_granted(const char *task_id, void *data)
{
    struct drain *drain = data;

    drain_granted(drain->options.state, drain->options.steer, task_id);
}

static void look_at_node(struct drain *drain, struct state_node *node, uint64_t now_ms)
{
    struct drain_left left;

    drain_node(drain->options.state, drain->options.steer, node, now_ms, on_ask, drain, &left);
    if (left.waiting != node->drain_waiting || left.asking != node->drain_asking) {
        node->drain_waiting = left.waiting;
        node->drain_asking = left.asking;
        state_bump(drain->options.state);
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct drain *drain = timer->data;
    uint64_t now_ms = clock_wall_ms();
    struct state_node *node;
    bool any = false;

    for (node = state_nodes(drain->options.state); node != NULL; node = node->hh.next) {
        if (is_draining(node)) {
            drain_node_unheld(drain->options.steer, node, now_ms);
        }
    }
    for (node = state_nodes(drain->options.state); node != NULL; node = node->hh.next) {
        if (is_draining(node)) {
            look_at_node(drain, node, now_ms);
            any = any || is_draining(node);
        }
    }
    if (any) {
        look_in(drain, IDLE_MS);
    }
}

static void on_changed(struct state_listener *listener)
{
    struct drain *drain = listener->data;
    const struct state_node *node;

    for (node = state_nodes(drain->options.state); node != NULL; node = node->hh.next) {
        if (is_draining(node)) {
            look_in(drain, PAUSE_MS);
            return;
        }
    }
}

struct drain *drain_new(const struct drain_options *options)
{
    struct drain *drain = mem_alloc(sizeof(*drain));
    struct coordinators_options coordinators = {
        .state = options->state,
        .retry_ms = options->coordinator_retry_ms,
        .timeout_ms = COORDINATOR_TIMEOUT_MS,
    };

    drain->options = *options;
    drain->coordinators = coordinators_new(&coordinators, on_granted, drain);
    uv_timer_init(state_loop(options->state), &drain->timer);
    drain->timer.data = drain;
    drain->listener.data = drain;
    state_listen(options->state, &drain->listener, on_changed);
    look_in(drain, PAUSE_MS); /* What a former leader has begun. */
    return drain;
}

static void on_part_closed(struct drain *drain)
{
    drain_cb cb = drain->close_cb;
    void *data = drain->close_data;

    if (--drain->closes > 0) {
        return;
    }
    free(drain);
    if (cb != NULL) {
        cb(data);
    }
}

static void on_timer_closed(uv_handle_t *handle)
{
    on_part_closed(handle->data);
}

static void on_coordinators_closed(void *data)
{
    on_part_closed(data);
}

void drain_close(struct drain *drain, drain_cb cb, void *data)
{
    state_unlisten(&drain->listener);
    drain->close_cb = cb;
    drain->close_data = data;
    drain->closes = 2;
    uv_close((uv_handle_t *)&drain->timer, on_timer_closed);
    coordinators_close(drain->coordinators, on_coordinators_closed, drain);
}
