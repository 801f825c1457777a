/* SPDX-License-Identifier: Apache-2.0 */
/* sched: best fit over nodes, fair over groups.
 *
 * Pure and deterministic: the same input gives the same places.  Which constraints
 * exist beyond resources (attributes, limits, dedicated hosts) comes here later as
 * further vetoes.
 *
 * A round is O(tasks + nodes * groups): while a group's last node still has room it
 * stays the best fit, having the least left, so only a full node costs a search.
 */
#include "master/sched/sched.h"

#include <float.h>
#include <stdio.h>
#include <string.h>

/* Aurora's scales: a shortfall of the whole range is a score of 1,000. */
static const double CPU_RANGE = 16;
static const double RAM_RANGE = 24.0 * 1024 * 1024 * 1024;
static const double DISK_RANGE = 450.0 * 1024 * 1024 * 1024;
static const double PORT_RANGE = 1000;

enum { SCORE_RESOURCE = 1000, SCORE_MAINTENANCE = 100000 };

/* Sums of fractions: 10 times 0.1 fits into 1.0. */
static const double CPU_SLACK = 1e-6;

static bool fits(const struct sched_node *node, const struct sched_demand *demand)
{
    return !node->drained && node->cpu + CPU_SLACK >= demand->cpu &&
           node->ram_bytes >= demand->ram_bytes && node->disk_bytes >= demand->disk_bytes &&
           node->ports >= demand->ports;
}

/* How much would be left, on a common scale. */
static double left_over(const struct sched_node *node, const struct sched_demand *demand)
{
    return (node->cpu - demand->cpu) / CPU_RANGE +
           (double)(node->ram_bytes - demand->ram_bytes) / RAM_RANGE +
           (double)(node->disk_bytes - demand->disk_bytes) / DISK_RANGE +
           ((double)node->ports - demand->ports) / PORT_RANGE;
}

static double shortfall(double wanted, double there, double range)
{
    double score;

    if (wanted <= there) {
        return 0;
    }
    score = SCORE_RESOURCE * (wanted - there) / range;
    /* A veto is never free, and never more than its class. */
    return score < 1 ? 1 : score > SCORE_RESOURCE ? SCORE_RESOURCE : score;
}

static double veto_score(const struct sched_node *node, const struct sched_demand *demand)
{
    if (node->drained) {
        return SCORE_MAINTENANCE;
    }
    return shortfall(demand->cpu, node->cpu + CPU_SLACK, CPU_RANGE) +
           shortfall((double)demand->ram_bytes, (double)node->ram_bytes, RAM_RANGE) +
           shortfall((double)demand->disk_bytes, (double)node->disk_bytes, DISK_RANGE) +
           shortfall(demand->ports, node->ports, PORT_RANGE);
}

static void add_reason(char *reason, size_t size, const char *what)
{
    size_t len = strlen(reason);

    (void)snprintf(reason + len, size - len, "%sInsufficient: %s", len > 0 ? "," : "", what);
}

static void describe(const struct sched_node *node, const struct sched_demand *demand, char *reason,
                     size_t size)
{
    reason[0] = '\0';
    if (node->drained) {
        (void)snprintf(reason, size, "%s", SCHED_DRAINED);
        return;
    }
    if (demand->cpu > node->cpu + CPU_SLACK) {
        add_reason(reason, size, "CPU");
    }
    if (demand->ram_bytes > node->ram_bytes) {
        add_reason(reason, size, "RAM");
    }
    if (demand->disk_bytes > node->disk_bytes) {
        add_reason(reason, size, "disk");
    }
    if (demand->ports > node->ports) {
        add_reason(reason, size, "ports");
    }
}

static struct sched_node *best_fit(struct sched_node *nodes, size_t n_nodes,
                                   const struct sched_demand *demand)
{
    struct sched_node *best = NULL;
    double least = DBL_MAX;

    for (size_t i = 0; i < n_nodes; i++) {
        if (fits(&nodes[i], demand)) {
            double left = left_over(&nodes[i], demand);

            if (left < least) {
                least = left;
                best = &nodes[i];
            }
        }
    }
    return best;
}

static void explain(struct sched_group *group, const struct sched_node *nodes, size_t n_nodes)
{
    const struct sched_node *nearest = NULL;
    double lowest = DBL_MAX;

    for (size_t i = 0; i < n_nodes; i++) {
        double score = veto_score(&nodes[i], &group->demand);

        if (score < lowest) {
            lowest = score;
            nearest = &nodes[i];
        }
    }
    if (nearest == NULL) {
        (void)snprintf(group->reason, sizeof(group->reason), "%s", SCHED_NO_NODE);
    } else {
        describe(nearest, &group->demand, group->reason, sizeof(group->reason));
    }
}

static void take(struct sched_node *node, const struct sched_demand *demand)
{
    node->cpu -= demand->cpu;
    node->ram_bytes -= demand->ram_bytes;
    node->disk_bytes -= demand->disk_bytes;
    node->ports -= demand->ports;
}

/* False when nothing more of the group can be placed. */
static bool place_one(struct sched_group *group, struct sched_node *nodes, size_t n_nodes,
                      sched_place_fn place, void *data)
{
    if (group->last == NULL || !fits(group->last, &group->demand)) {
        group->last = best_fit(nodes, n_nodes, &group->demand);
    }
    if (group->last == NULL) {
        explain(group, nodes, n_nodes);
        return false;
    }
    take(group->last, &group->demand);
    place(group, group->n_placed, group->last, data);
    group->n_placed++;
    return group->n_placed < group->n_tasks;
}

void sched_round(struct sched_node *nodes, size_t n_nodes, struct sched_group *groups,
                 size_t n_groups, sched_place_fn place, void *data)
{
    size_t open = 0;

    for (size_t i = 0; i < n_groups; i++) {
        groups[i].n_placed = 0;
        groups[i].reason[0] = '\0';
        groups[i].last = NULL;
        groups[i].stuck = groups[i].n_tasks == 0;
        open += !groups[i].stuck;
    }
    while (open > 0) {
        for (size_t i = 0; i < n_groups; i++) {
            for (int turn = 0; turn < SCHED_TURN && !groups[i].stuck; turn++) {
                if (!place_one(&groups[i], nodes, n_nodes, place, data)) {
                    groups[i].stuck = true;
                    open--;
                }
            }
        }
    }
}
