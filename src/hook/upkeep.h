/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdint.h>
#include <uv.h>

/* Keeps a journal of hook runs small, and ends what dead executors left behind; all of it
 * off the loop. */
struct hook_upkeep;

struct upkeep_options {
    uv_loop_t *loop;
    const char *journal; /* Its path, copied. */
    uint64_t max_age_ms; /* Finished runs older than this are forgotten, ... */
    int64_t max_runs;    /* ... and the oldest beyond so many. */
};

/* Forgets old runs soon, and then every hour. */
void upkeep_start(const struct upkeep_options *options, struct hook_upkeep **ret_upkeep);

/* An executor died: soon its open runs are `lost`, and what they started is killed.  May be
 * called at any time and again and again; live executors are let alone. */
void upkeep_recover(struct hook_upkeep *upkeep);

/* When what is under way has ended, frees it, then cb (may be NULL). */
void upkeep_close(struct hook_upkeep *upkeep, void (*cb)(void *data), void *data);
