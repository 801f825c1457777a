/* SPDX-License-Identifier: Apache-2.0 */
/* simsla: a drain leaves enough of a production job up (contracts/aurora.md 4.9).
 *
 * Judged by the events of the job's tasks when one of them becomes DRAINING: how many were RUNNING
 * for long enough just before, less those that were taken at that same moment.  Not in histories
 * whose masters have clocks of their own: their events do not tell how long a task was RUNNING.
 */
#include "simcheck.h"

#include "base/json.h"
#include "base/str.h"
#include "simloop.h"

#include <math.h>

enum { MIN_INSTANCES = 20 };

/* When it became DRAINING; 0: it did not. */
static int64_t drained_ms(const struct simcheck_task *task)
{
    json_t *event;
    size_t i;

    json_array_foreach(task->events, i, event)
    {
        if (str_eq(json_str_or(event, "state", ""), "DRAINING")) {
            return json_int_or(event, "time_ms", 0);
        }
    }
    return 0;
}

/* Was it RUNNING at that moment, for so long? */
static bool was_up(const struct simcheck_task *task, int64_t at_ms, int64_t duration_ms)
{
    bool up = false;
    json_t *event;
    size_t i;

    json_array_foreach(task->events, i, event)
    {
        int64_t time_ms = json_int_or(event, "time_ms", 0);

        if (time_ms >= at_ms) {
            break;
        }
        up = str_eq(json_str_or(event, "state", ""), "RUNNING") && time_ms + duration_ms <= at_ms;
    }
    return up;
}

void simsla_check(const struct simcheck *check, const struct simcheck_task *task)
{
    const struct simcheck_config *config = simcheck_config(check, task);
    const struct simcheck_node *node = simcheck_node(check, task->node != NULL ? task->node : "");
    const struct simcheck_task *other;
    int64_t at_ms = drained_ms(task);
    double active = 0;
    double left = 0;
    double required;

    if (sim_clocks_differ() || config == NULL ||
        !str_eq(json_str_or(config->doc, "tier", ""), "preferred") || node == NULL ||
        node->drain == NULL || at_ms >= json_int_or(node->drain, "deadline_ms", 0)) {
        return;
    }
    /* Ended ones, too: the same transaction may tell of their end after that moment. */
    for (other = simcheck_tasks(check); other != NULL; other = other->hh.next) {
        if (!str_eq(other->job, task->job)) {
            continue;
        }
        active +=
            other->active && json_int_or(json_array_get(other->events, 0), "time_ms", 0) < at_ms;
        left += drained_ms(other) != at_ms &&
                was_up(other, at_ms, json_int_or(node->drain, "duration_secs", 0) * 1000);
    }
    if (active < MIN_INSTANCES) {
        return;
    }
    required = ceil(json_num_or(node->drain, "percentage", 0) * active / 100 - 1e-9);
    required = required > active - 1 ? active - 1 : required;
    SIM_CHECK(left >= required, "draining %s takes %s of %s: %g of %g are left, not %g", node->name,
              task->id, task->job, left, active, required);
}
