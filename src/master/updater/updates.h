/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"
#include "master/state/state.h"
#include "master/state/steer.h"
#include "master/updater/diff.h"
#include "master/updater/update.h"
#include "master/updater/updater.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The rolling updates of one term: carries out what updater.h says. */
struct updates;

/* Takes up what the store says: active updates go on.  Both outlive it. */
struct updates *updates_new(struct state *state, struct steer *steer);

typedef void (*updates_cb)(void *data);
void updates_close(struct updates *updates, updates_cb cb, void *data);

/* ---- Asking ---- */

/* NULL when there is none.  Borrowed for the turn. */
const struct update *updates_find(const struct updates *updates, const char *id);
/* The one that holds the job. */
const struct update *updates_active(const struct updates *updates, const char *job);

/* Newest first: NULL at the end; before NULL begins. */
const struct update *updates_next(const struct updates *updates, const struct update *before);

/* ---- Changing ---- */

struct updates_request {
    const struct job *config;
    const struct diff_scope *only; /* NULL for all. */
    const char *user, *message, *op_id;
    const json_t *metadata; /* Array of {key, value}, or NULL. */
};

/* Would updates_start() take it?  In Aurora's words. */
int updates_check(const struct updates *updates, const struct updates_request *request,
                  struct err *err);

/* Begins one; *ret_update is NULL when there is nothing to do.  The same operation again, or the
 * same client's update id, answers the update that it began.  Durable with the turn. */
int updates_start(struct updates *updates, const struct updates_request *request,
                  const struct update **ret_update, struct err *err);

/* Adds what a request would do to each instance: of the running tasks.  diff is zeroed. */
int updates_diff(const struct updates *updates, const struct job *config,
                 const struct diff_scope *only, struct diff *diff, struct err *err);

/* id NULL: the active one of the job.  ERR_NOTFOUND, ERR_CONFLICT. */
int updates_check_command(const struct updates *updates, const char *job, const char *id,
                          enum updater_command command, const struct update **ret_update,
                          struct err *err);
int updates_command(struct updates *updates, const char *job, const char *id,
                    enum updater_command command, const char *message, const char *user,
                    struct err *err);

/* *ret_active: false when it is over.  ERR_NOTFOUND. */
int updates_pulse(struct updates *updates, const char *id, bool *ret_active, struct err *err);

/* The metadata key by which a client names its own update. */
#define UPDATES_CLIENT_ID "org.apache.aurora.client.update_id"
