/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "master/updater/updates.h"
#include "master/updater/updates_sla.h"

/* Between updates.c (life, being told), updates_start.c (how one comes to be), updates_look.c (what
 * goes on) and updates_job.c (what the job keeps). */

struct updates_entry {
    struct updates *updates;
    struct update *update;
    struct state_config **pins; /* By index in update->configs, while active; NULL: gone. */
    uint64_t seen_changes;      /* Of its job, when it was last looked at. */
    uint64_t wake_ms;
    bool look; /* Whatever the job says. */
    struct updates_entry *prev, *next;
    struct updates_entry *active_prev, *active_next; /* While active. */
    UT_hash_handle hh;
};

struct updates {
    struct state *state;
    struct steer *steer;
    struct updates_entry *by_id;
    struct updates_entry *newest; /* utlist. */
    struct updates_entry *active; /* utlist by active_next. */
    struct updates_sla *sla;
    struct state_listener listener;
    uv_timer_t timer;
    uint64_t armed_ms; /* 0: the timer does not run. */
    updates_cb close_cb;
    void *close_data;
};

struct updates_entry *updates_entry_find(const struct updates *updates, const char *id);

/* Adds it, the newest; takes update. */
struct updates_entry *updates_entry_add_take(struct updates *updates, struct update *update);

/* Its configurations stay in the job's document while it is active. */
void updates_pin(struct updates_entry *entry, struct state_job *job);
void updates_unpin(struct updates_entry *entry);

/* The job after an update: unlocked, and what it is now is what its tasks are. */
void updates_settle(struct updates *updates, struct state_job *job);

/* Its document, written with the turn. */
void updates_put(struct updates_entry *entry);

/* It is over: its job is settled, what is too old forgotten.  entry stays. */
void updates_finish(struct updates_entry *entry);

/* Have a look at when_ms (wall clock; 0: never). */
void updates_arm(struct updates *updates, uint64_t when_ms);

/* Looks at it now, and does what follows. */
void updates_look(struct updates_entry *entry);

/* The instances' present configurations by id (hashes, NULL for none); *ret_n ids.  The caller's,
 * the hashes borrowed. */
const char **updates_present(const struct state_job *job, size_t *ret_n);
