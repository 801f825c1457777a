/* SPDX-License-Identifier: Apache-2.0 */
/* veto: why a node does not take a task, and which of all nodes came nearest.
 *
 * Aurora's classes, worst first: dedicated to others, in maintenance, a constraint or limit that
 * does not hold, too little left.  Only the worst class of a node counts, and the reason that a
 * user reads is that of the node with the lowest score.
 */
#include "master/sched/sched_priv.h"

#include <float.h>
#include <stdio.h>
#include <string.h>

enum {
    SCORE_RESOURCE = 1000, /* At most, for each kind. */
    SCORE_CONSTRAINT = 10000,
    SCORE_MAINTENANCE = 100000,
    SCORE_DEDICATED = 1000000,
};

/* Aurora's scales: a shortfall of the whole range is a score of 1,000. */
static const double RANGE[SCHED_N_KINDS] = {
    [SCHED_CPU] = 16e6,
    [SCHED_RAM] = 24.0 * 1024 * 1024 * 1024,
    [SCHED_DISK] = 450.0 * 1024 * 1024 * 1024,
    [SCHED_PORTS] = 1000,
};

/* For the one sum that is made for each pair of a group and a node: no division. */
static const double SHARE[SCHED_N_KINDS] = {
    [SCHED_CPU] = 1 / 16e6,
    [SCHED_RAM] = 1 / (24.0 * 1024 * 1024 * 1024),
    [SCHED_DISK] = 1 / (450.0 * 1024 * 1024 * 1024),
    [SCHED_PORTS] = 1 / 1000.0,
};

static const char *const KIND[SCHED_N_KINDS] = {
    [SCHED_CPU] = "CPU",
    [SCHED_RAM] = "RAM",
    [SCHED_DISK] = "disk",
    [SCHED_PORTS] = "ports",
};

static const char *const MAINTENANCE[] = {
    [SCHED_CORDONED] = "Host cordoned for maintenance",
    [SCHED_DRAINING] = "Host draining for maintenance",
    [SCHED_DRAINED] = "Host drained for maintenance",
};

static const char DEDICATED[] = "Host is dedicated";

struct sched_amounts sched_amounts(double cpu, int64_t ram_bytes, int64_t disk_bytes, size_t ports)
{
    return (struct sched_amounts){ { (int64_t)(cpu * 1e6 + 0.5), ram_bytes, disk_bytes,
                                     (int64_t)ports } };
}

bool veto_fits(const struct sched_amounts *left, const struct sched_amounts *demand)
{
    for (int i = 0; i < SCHED_N_KINDS; i++) {
        if (left->of[i] < demand->of[i]) {
            return false;
        }
    }
    return true;
}

static bool closed_to(const struct sched_group *group, const struct sched_node *node)
{
    return node->attrs.dedicated && !group->rules.dedicated;
}

static const struct attr_rule *broken(const struct sched_group *group,
                                      const struct sched_node *node)
{
    return attr_rules_broken(&group->rules, &node->attrs, &group->job->by_pair);
}

bool veto_allows(const struct sched_group *group, const struct sched_node *node)
{
    return node->up && node->mode == SCHED_ACTIVE && !closed_to(group, node) &&
           broken(group, node) == NULL;
}

bool veto_none(const struct sched_group *group, const struct sched_node *node)
{
    return veto_fits(&node->left, &group->demand) && veto_allows(group, node);
}

double veto_left_over(const struct sched_amounts *left, const struct sched_amounts *demand)
{
    double sum = 0;

    for (int i = 0; i < SCHED_N_KINDS; i++) {
        sum += (double)(left->of[i] - demand->of[i]) * SHARE[i];
    }
    return sum;
}

static double shortfalls(const struct sched_node *node, const struct sched_amounts *demand)
{
    double sum = 0;

    for (int i = 0; i < SCHED_N_KINDS; i++) {
        double lacking = (double)(demand->of[i] - node->left.of[i]);

        if (lacking > 0) {
            double score = SCORE_RESOURCE * lacking / RANGE[i];

            /* A veto is never free, and never more than its class. */
            sum += score < 1 ? 1 : score > SCORE_RESOURCE ? SCORE_RESOURCE : score;
        }
    }
    return sum;
}

static double score_of(const struct sched_group *group, const struct sched_node *node)
{
    if (closed_to(group, node)) {
        return SCORE_DEDICATED;
    }
    if (node->mode != SCHED_ACTIVE) {
        return SCORE_MAINTENANCE;
    }
    return broken(group, node) != NULL ? SCORE_CONSTRAINT : shortfalls(node, &group->demand);
}

static void describe_shortfalls(struct sched_group *group, const struct sched_node *node)
{
    size_t at = 0;

    for (int i = 0; i < SCHED_N_KINDS; i++) {
        if (group->demand.of[i] > node->left.of[i]) {
            at += (size_t)snprintf(group->reason + at, sizeof(group->reason) - at,
                                   "%sInsufficient: %s", at > 0 ? "," : "", KIND[i]);
        }
    }
}

static void describe(struct sched_group *group, const struct sched_node *node)
{
    const struct attr_rule *rule;

    group->reason[0] = '\0';
    if (closed_to(group, node)) {
        (void)snprintf(group->reason, sizeof(group->reason), "%s", DEDICATED);
    } else if (node->mode != SCHED_ACTIVE) {
        (void)snprintf(group->reason, sizeof(group->reason), "%s", MAINTENANCE[node->mode]);
    } else if ((rule = broken(group, node)) != NULL) {
        (void)snprintf(group->reason, sizeof(group->reason), "%s not satisfied: %.100s",
                       rule->is_limit ? "Limit" : "Constraint", rule->text);
    } else {
        describe_shortfalls(group, node);
    }
}

static double score_if_up(const struct sched_group *group, const struct sched_node *node)
{
    return node->up ? score_of(group, node) : DBL_MAX;
}

void veto_explain(struct sched_group *group)
{
    const struct sched *sched = group->job->sched;

    group->nearest = NULL;
    group->nearest_score = DBL_MAX;
    for (uint32_t i = 0; i < sched->n_nodes; i++) {
        double score = score_if_up(group, sched->nodes[i]);

        if (score < group->nearest_score) {
            group->nearest_score = score;
            group->nearest = sched->nodes[i];
        }
    }
    if (group->nearest == NULL) {
        (void)snprintf(group->reason, sizeof(group->reason), "%s", SCHED_NO_NODE);
    } else {
        describe(group, group->nearest);
    }
}

void veto_explain_by(struct sched_group *group, const struct sched_node *node)
{
    double score = score_if_up(group, node);

    if (score < group->nearest_score) {
        group->nearest_score = score;
        group->nearest = node;
        describe(group, node);
    }
}
