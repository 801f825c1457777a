/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"
#include "master/cron/cron_plan.h"
#include "model/job.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include <uthash.h>

/* One scheduled job, its document in the store, and how the API shows it. */
struct cron_entry {
    struct job *config; /* The template of each launch. */
    struct cron_plan plan;
    char *error; /* Why it never fires: its document says what this master cannot read. */
    char *user, *op_id;
    int64_t created_ms;
    int64_t last_ms, next_ms;      /* The last tick that is done with; INT64_MAX: none comes. */
    int64_t missed_ms;             /* The last tick that was passed over as too old; 0: none. */
    int64_t ignored_ms;            /* ... because an earlier launch was under way. */
    int64_t launched_ms;           /* When it was last launched, by the clock. */
    char *launched_op;             /* By which operation. */
    char *pending_op;              /* The operation of the last tick, while it is not over. */
    int64_t pending_ms, n_pending; /* Its tick, and how many operations were made for it. */
    UT_hash_handle hh;             /* By config->key_text. */
};

void cron_entry_free(struct cron_entry *entry);

/* Sets next_ms by the plan and last_ms. */
void cron_entry_set_next(struct cron_entry *entry);

/* "www:prod:report" of a key: the document's name; the caller's. */
char *cron_entry_name(const struct job_key *key);

/* Of a document.  ERR_CONFIG when not even its job can be read; a plan that cannot be read is the
 * entry's error. */
int cron_entry_decode(const json_t *doc, struct cron_entry **ret_entry, struct err *err);
json_t *cron_entry_encode(const struct cron_entry *entry);

/* As the API shows it, with the next n fire times after now_ms; the caller's. */
json_t *cron_entry_show(const struct cron_entry *entry, int64_t now_ms, size_t n);
