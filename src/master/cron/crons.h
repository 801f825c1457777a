/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"
#include "master/cron/cron_entry.h"
#include "master/state/state.h"
#include "master/state/steer.h"
#include "model/job.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The cron jobs of the leading master: what is scheduled, and one operation OP_CRON_START for each
 * tick that is due.  Lives as long as a term of leadership. */
struct crons;
struct operations;

struct crons_options {
    struct state *state;
    struct steer *steer;
    struct operations *operations;
    int64_t catch_up_ms; /* See cron_tick.h. */
};

/* Reads the documents; nothing fires before crons_begin(), for which operations are ready. */
struct crons *crons_new(const struct crons_options *options);
void crons_begin(struct crons *crons);

typedef void (*crons_cb)(void *data);
void crons_close(struct crons *crons, crons_cb cb, void *data);

/* NULL when key is no cron job.  Borrowed until it is removed; read only. */
struct cron_entry *crons_find(const struct crons *crons, const char *key);
/* Head of the hash. */
struct cron_entry *crons_entries(const struct crons *crons);

/* "Job role/env/name already exists": is the key that of a cron job? */
int crons_check_free(const struct crons *crons, const struct job *job, struct err *err);

/* Schedules the job, or replaces what was scheduled under its key; what runs goes on.  Takes
 * config and the plan in it. */
void crons_put_take(struct crons *crons, struct job *config, struct cron_plan *plan,
                    const char *user, const char *op_id);

/* What runs goes on.  False: there was none. */
bool crons_remove(struct crons *crons, const char *key);

/* Makes all instances of the job, of which none may be active, for the operation op_id. */
struct state_job *crons_launch(struct crons *crons, struct cron_entry *entry, const char *op_id);

/* Was it launched for that operation already? */
bool crons_launched_by(const struct crons *crons, const struct cron_entry *entry,
                       const char *op_id);

/* As the API shows it, with the next n fire times; the caller's. */
json_t *crons_encode(const struct crons *crons, const struct cron_entry *entry, size_t n);
