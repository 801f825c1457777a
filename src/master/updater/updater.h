/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"
#include "master/updater/update.h"
#include "model/task.h"

#include <stdbool.h>
#include <stdint.h>

/* The rules of rolling updates: contracts/aurora.md 4.5.  Pure: what is observed, and the time,
 * are handed in; what is to be done comes out as orders.  now_ms is the wall clock throughout. */

/* What an instance looks like. */
struct updater_seen {
    bool there; /* It has an active task; otherwise nothing else counts. */
    int config; /* Index in update->configs; UPDATE_NO_CONFIG: one it does not know. */
    enum task_status status;
    uint64_t since_ms; /* Since when it is in that state. */
};

enum updater_order_kind {
    UPDATER_ADD,     /* A first task, of the configuration. */
    UPDATER_REPLACE, /* End the task; when it has ended, one of the configuration follows. */
    UPDATER_REMOVE,  /* End the task; none follows. */
};

struct updater_order {
    enum updater_order_kind kind;
    int instance;
    int config; /* Index; UPDATE_NO_CONFIG with UPDATER_REMOVE. */
};

/* What the rules ask of the world.  None of them calls back into the updater. */
struct updater_world {
    void (*look)(void *data, int instance, struct updater_seen *ret_seen);
    /* Would its end keep the job's SLA, with all that was ordered so far?  Asked for sla_aware
     * updates only. */
    bool (*may_end)(void *data, int instance);
    /* At once visible to look(). */
    void (*order)(void *data, const struct updater_order *order);
    void *data;
};

enum updater_command { UPDATER_PAUSE, UPDATER_RESUME, UPDATER_ABORT, UPDATER_ROLLBACK };

enum { UPDATER_SLA_RETRY_MS = 60 * 1000, UPDATER_SLA_RETRY_MAX_MS = 5 * 60 * 1000 };

/* May an update go from one status to the other?  The contract's table. */
bool updater_allows(enum update_status from, enum update_status to);

/* Gives a sealed update its first status. */
void updater_begin(struct update *update, uint64_t now_ms);

/* Carries everything forward that can be: to be called after each change of what is observed, each
 * command and pulse, and at *ret_wake_ms (0: nothing to wait for but changes).  Doing it once more
 * changes nothing. */
void updater_step(struct update *update, const struct updater_world *world, uint64_t now_ms,
                  uint64_t *ret_wake_ms);

/* A task of instance `id` ended by itself or as ordered.  config: its index or UPDATE_NO_CONFIG;
 * run: its id; asked: somebody wanted its end, it is nobody's failure; reason: for people.  Before
 * the next run is made, so that updater_next_config() knows. */
void updater_ended(struct update *update, int id, int config, const char *run, bool asked,
                   const char *reason, uint64_t now_ms);

/* The configuration for the next run of an instance whose last run had `config`. */
int updater_next_config(const struct update *update, int id, int config);

/* "Cannot transition update from A to B" (ERR_CONFLICT). */
int updater_check(const struct update *update, enum updater_command command, uint64_t now_ms,
                  struct err *err);
int updater_command(struct update *update, enum updater_command command, uint64_t now_ms,
                    const char *message, const char *user, struct err *err);

/* False when the update is over. */
bool updater_pulse(struct update *update, uint64_t now_ms);

/* An answer about the end of instance `id` has changed: do not wait before asking again. */
void updater_ask_again(struct update *update, int id);

/* It cannot go on. */
void updater_give_up(struct update *update, const char *why, uint64_t now_ms);
