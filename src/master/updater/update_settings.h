/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct job;

/* How an update goes about it: a Job's UpdateConfig (contracts/aurora.md 2.3), read out. */
enum update_strategy {
    UPDATE_QUEUE,    /* At most sizes[0] instances at a time. */
    UPDATE_BATCH,    /* sizes[0] instances, then the next. */
    UPDATE_VARIABLE, /* The same with one size after the other; the last one repeats. */
    UPDATE_N_STRATEGIES,
};

struct update_settings {
    enum update_strategy strategy;
    int *sizes; /* At least one, each at least 1. */
    size_t n_sizes;
    bool autopause;    /* Before each batch but the first, while rolling forward. */
    uint64_t watch_ms; /* RUNNING for so long is success. */
    int per_instance;  /* Runs of one instance that may end before it has failed. */
    int total;         /* Instances that may fail before the update has failed. */
    bool rollback;     /* ... and is rolled back then. */
    uint64_t pulse_ms; /* 0: nobody has to send pulses. */
    bool sla_aware;
};

enum {
    UPDATE_MAX_FAILURES = 20000, /* per_instance x instances. */
    UPDATE_MIN_PULSE_SECS = 60,
    UPDATE_MAX_SIZES = 4000,
};

void update_settings_fini(struct update_settings *settings);

/* Reads job's update_config (missing: the defaults) and checks it with Aurora's words (ERR_CONFIG).
 * settings is zeroed. */
int update_settings_read(const struct job *job, struct update_settings *settings, struct err *err);

/* As the API and the store have it; the caller's. */
json_t *update_settings_encode(const struct update_settings *settings);
/* Of what update_settings_encode() made. */
void update_settings_decode(const json_t *doc, struct update_settings *settings);

/* The group of each place in the order: sizes in turn, the last one repeats. */
void update_settings_groups(const struct update_settings *settings, unsigned *groups, size_t n);
