/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"
#include "base/mem.h"
#include "hook/record.h"

#include <jansson.h>

/* The hook runs of one machine, in a SQLite file that several processes may share. */
struct hook_journal;

int journal_open(const char *path, struct hook_journal **ret_journal, struct err *err);
void journal_close(struct hook_journal *journal);
DEFINE_FREEP(struct hook_journal, journal_close)

/* For run.h and chain.h; valid as long as the journal. */
const struct hook_sink *journal_sink(struct hook_journal *journal);

/* Take over records made elsewhere (POST /v1/hook-runs, a pod's), all or none.  A run_id
 * that is known is replaced only while it is open. */
int journal_insert(struct hook_journal *journal, const struct hook_record *records, size_t n,
                   struct err *err);

/* NULL and zero members do not filter. */
struct journal_query {
    const char *op_id; /* The id, or the operation's number in decimal. */
    const char *job;
    const char *level;
    const char *node;
    const char *event;
    const char *token; /* The exact token, or all that begin with token and '.'. */
    bool newest;       /* The newest that fit the limit, instead of the oldest; no cursor. */
    bool failed;       /* Only failed, refused, timed_out, unstartable, lost. */
    int64_t after;     /* A cursor that an earlier query gave. */
    int limit;         /* Default 100, at most 1,000. */
};

/* In the order in which they were journalled.  *ret_items is an array of records (the caller's);
 * *ret_next the cursor for the rest, 0 when this is all. */
int journal_query(struct hook_journal *journal, const struct journal_query *query,
                  json_t **ret_items, int64_t *ret_next, struct err *err);

/* Close the runs that an executor left open by its death: those whose executor is no
 * longer there become `lost`.  *ret_lost (may be NULL) gets their records, the caller's,
 * so that a chain can be run again under the same token.  Safe beside live executors. */
int journal_recover(struct hook_journal *journal, json_t **ret_lost, struct err *err);

/* Forget finished runs older than max_age_ms, and the oldest beyond max_runs; open ones only if
 * they were made elsewhere.  Blocking: see upkeep.h. */
int journal_trim(struct hook_journal *journal, uint64_t max_age_ms, int64_t max_runs,
                 struct err *err);
