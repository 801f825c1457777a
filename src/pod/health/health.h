/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* When a task is checked, and what the outcomes make of it. */

enum {
    HEALTH_INTERVAL_MIN_MS = 100, /* a shorter interval counts as this one */
    HEALTH_REASON_MAX = 700,
};
#define HEALTH_NEVER UINT64_MAX

struct health_config {
    uint64_t initial_interval_ms;
    uint64_t interval_ms;
    unsigned max_consecutive_failures;
    unsigned min_consecutive_successes; /* 0 counts as 1 */
};

enum health_state { HEALTH_STARTING, HEALTH_HEALTHY, HEALTH_FAILED };

/* Read its members freely, change them by the functions only. */
struct health {
    uint64_t interval_ms;
    uint64_t forgiving;       /* failures of the first attempts count for nothing */
    uint64_t within_attempts; /* it must have become healthy */
    unsigned max_failures, min_successes;

    enum health_state state;
    uint64_t attempts;
    unsigned successes; /* in a row, as the next */
    unsigned failures;
    uint64_t next_ms;               /* of the next attempt; HEALTH_NEVER: none */
    char reason[HEALTH_REASON_MAX]; /* for people, once not STARTING */
};

/* The first attempt is due at once. */
void health_init(struct health *health, const struct health_config *config, uint64_t now_ms);

/* An attempt that began at started_ms is over.  why (NULL: healthy) is copied. */
void health_attempted(struct health *health, uint64_t started_ms, const char *why, uint64_t now_ms);
