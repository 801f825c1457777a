/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "coord/zk.h"

/* What zk_watch.c needs of zk.c. */

/* A node, or the children of one, changed: sent once for each read with a watch. */
typedef void (*zk_event_cb)(struct zk *zk, const char *path);

/* The table of zk_watch.c, kept for it; cb is told of events while a table is set. */
void *zk_watch_table(const struct zk *zk);
void zk_set_watch_table(struct zk *zk, void *table, zk_event_cb cb);

/* Reads that also leave a watch on the server: exists() on a missing node too, the others only
 * on one that is there. */
void zk_get_watched(struct zk *zk, struct zk_req *req, const char *path, zk_req_cb cb);
void zk_exists_watched(struct zk *zk, struct zk_req *req, const char *path, zk_req_cb cb);
void zk_children_watched(struct zk *zk, struct zk_req *req, const char *path, zk_req_cb cb);
