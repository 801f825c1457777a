/* SPDX-License-Identifier: Apache-2.0 */
/* steer_nodes: what nodes and their agents mean for the tasks there.
 *
 *   node gone for longer than the grace: RUNNING, STARTING --> PARTITIONED
 *                                        anything else there --> LOST
 *   ... and for the job's partition delay more: PARTITIONED --> LOST, a new run elsewhere
 *   node back before: PARTITIONED --> what its agent says
 *   node back after: the intent of the LOST task says stopped; the agent ends the stray
 */
#include "master/state/steer_priv.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"

#include <utlist.h>

void steer_pod(struct steer *steer, struct state_task *task, enum pod_state pod, const char *reason)
{
    struct task_stimulus stimulus = { .kind = TASK_EV_POD, .pod = pod, .message = reason };

    if (task->t.status == TASK_PARTITIONED && task->node != NULL && !task->node->alive &&
        !pod_state_is_terminal(pod)) {
        return; /* What was read of a node that is away is old. */
    }
    steer_apply(steer, task, &stimulus, NULL);
}

void steer_node_changed(struct steer *steer, struct state_node *node)
{
    if (node->alive) {
        place_want(steer->place);
    }
}

void steer_task_partitioned(struct steer *steer, struct state_task *task)
{
    bool was = task->t.status == TASK_PARTITIONED;
    CLEANUP(mem_freep)
    char *message =
        str_printf("Node %s cannot be reached.", task->t.node != NULL ? task->t.node : "(none)");
    struct task_stimulus gone = { .kind = TASK_EV_PARTITION, .message = message };
    struct task_stimulus over = { .kind = TASK_EV_NODE_LOST, .message = TASK_PARTITIONED_TOO_LONG };
    uint64_t due;

    steer_apply(steer, task, &gone, NULL);
    due = steer_partition_due_ms(task);
    if (due != 0 && due <= clock_wall_ms()) {
        steer_apply(steer, task, &over, NULL);
    } else if (was) {
        steer_limit_changed(steer, task); /* Its node was not known to be gone until now. */
    }
}

uint64_t steer_partition_due_ms(const struct state_task *task)
{
    const struct job_partition *policy;

    if (task->t.status != TASK_PARTITIONED || task->node == NULL || !task->node->lost) {
        return 0;
    }
    policy = &task->config->job->partition;
    if (!policy->reschedule) {
        return 0;
    }
    return task->since_ms + (uint64_t)policy->delay_secs * 1000;
}

void steer_partition(struct steer *steer, struct state_node *node)
{
    struct state_task *task;
    struct state_task *next;

    log_warn("node is given up node=%s tasks=%zu", node->name, node->n_tasks);
    DL_FOREACH_SAFE2(node->tasks, task, next, node_next)
    {
        steer_task_partitioned(steer, task);
    }
}
