/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"
#include "cli/cli.h"

/* Updates as the verbs find, follow and show them. */

/* The active update of the job; ERR_INVALID with `missing` when there is none.  The caller's. */
int update_view_active(struct cli *cli, struct client *client, const char *key, const char *missing,
                       json_t **ret_update, struct err *err);

/* The update of that id, which is one of the job: ERR_INVALID with `missing` when there is none. */
int update_view_get(struct cli *cli, struct client *client, const char *key, const char *id,
                    const char *missing, json_t **ret_update, struct err *err);

/* Waits until it is not active any more, and prints "Current state S" at each change (not with
 * --json).  *ret_update is its last version; the caller's. */
int update_view_follow(struct cli *cli, struct client *client, const char *key, const char *id,
                       json_t **ret_update, struct err *err);

/* How a verb that waited ends: 0 when the update ended as `good`, 4 as `bad`, 20 otherwise; tells
 * why on stderr. */
int update_view_verdict(const struct cli *cli, const json_t *update, const char *good,
                        const char *bad);

/* Does a task of the job wait for a node?  "instance 3 is PENDING: Insufficient: CPU, and 2 more";
 * NULL when none does, or nobody answers.  The caller's. */
char *update_view_pending(struct cli *cli, struct client *client, const char *key);

/* The update with --json: as the Aurora client shows one. */
json_t *update_view_json(const json_t *update);

/* "<base>/scheduler/<role>/<env>/<name>/update/<id>"; the caller's. */
char *update_view_url(const struct cli *cli, const struct cli_key *key, const char *id);

/* "2017-07-14T02:40:00"; ret holds UPDATE_VIEW_TIME_SIZE. */
enum { UPDATE_VIEW_TIME_SIZE = 20 };
void update_view_time(int64_t wall_ms, char *ret);
