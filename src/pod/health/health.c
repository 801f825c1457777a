/* SPDX-License-Identifier: Apache-2.0 */

/* health: what the outcomes of health checks make of a task.
 *
 * Aurora's rules (contract: health checking) as a pure core: outcomes and the time come in;
 * state, reason and the next attempt's time are read out.  How one attempt is made is
 * checker.c's.
 *
 *   STARTING --min_successes in a row--> HEALTHY --more than max_failures in a row--> FAILED
 *   (STARTING --that many successes cannot be reached in time--> FAILED)
 *
 * Failures of the first `forgiving` attempts, those that begin within initial_interval, count for
 * nothing, until the task was healthy once.  From then on the attempts left must suffice for the
 * successes wanted; as soon as they do not, waiting for the rest of them would change nothing.
 * Invariants: FAILED is final and has no next attempt; successes and failures are never both
 * above 0.
 */
#include "pod/health/health.h"

#include <stdio.h>
#include <string.h>

static uint64_t later(uint64_t now_ms, uint64_t wait_ms)
{
    return wait_ms > HEALTH_NEVER - now_ms ? HEALTH_NEVER : now_ms + wait_ms;
}

void health_init(struct health *health, const struct health_config *config, uint64_t now_ms)
{
    uint64_t interval = config->interval_ms;

    interval = interval < HEALTH_INTERVAL_MIN_MS ? HEALTH_INTERVAL_MIN_MS : interval;
    *health = (struct health){ .interval_ms = interval, .next_ms = now_ms };
    health->forgiving = config->initial_interval_ms / interval +
                        (config->initial_interval_ms % interval > 0 ? 1 : 0);
    health->max_failures = config->max_consecutive_failures;
    health->min_successes =
        config->min_consecutive_successes > 0 ? config->min_consecutive_successes : 1;
    health->within_attempts =
        health->forgiving + (uint64_t)health->max_failures + health->min_successes;
}

static void fail(struct health *health, const char *why)
{
    health->state = HEALTH_FAILED;
    (void)snprintf(health->reason, sizeof(health->reason), "Failed health check! %s", why);
    if (strlen(why) + strlen("Failed health check! ") >= sizeof(health->reason)) {
        (void)memcpy(health->reason + sizeof(health->reason) - 4, "...", 4);
    }
}

static void succeeded(struct health *health)
{
    health->failures = 0;
    health->successes += health->successes < health->min_successes ? 1 : 0;
    if (health->state == HEALTH_STARTING && health->successes >= health->min_successes) {
        health->state = HEALTH_HEALTHY;
        (void)snprintf(health->reason, sizeof(health->reason), "Task is healthy.");
    }
}

static void failed(struct health *health, const char *why)
{
    health->successes = 0;
    if (health->state == HEALTH_HEALTHY && health->failures++ >= health->max_failures) {
        fail(health, why);
    }
}

/* Every attempt left would have to succeed, and even that is not enough. */
static bool out_of_time(const struct health *health)
{
    return health->attempts + (health->min_successes - health->successes) > health->within_attempts;
}

void health_attempted(struct health *health, uint64_t started_ms, const char *why, uint64_t now_ms)
{
    uint64_t next_ms = later(started_ms, health->interval_ms);

    if (health->state == HEALTH_FAILED) {
        return;
    }
    health->attempts++;
    if (why) {
        failed(health, why);
    } else {
        succeeded(health);
    }
    if (health->state == HEALTH_STARTING && out_of_time(health)) {
        fail(health, "Not enough successful health checks in time.");
    }
    health->next_ms = health->state == HEALTH_FAILED ? HEALTH_NEVER
                      : next_ms > now_ms             ? next_ms
                                                     : now_ms;
}
