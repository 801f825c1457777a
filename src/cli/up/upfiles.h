/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"
#include "client/clusters.h"

#include <jansson.h>

/* The files by which a `davit up` finds its last self again, and others find it. */

/* A secret that stays the same over restarts: prefix and a random token, in dir/name. */
int upfiles_need_secret(const char *dir, const char *name, const char *prefix, struct err *err);

/* {"store": port, "master": ...} of the last time; the caller's.  NULL when there was none. */
json_t *upfiles_ports(const char *dir);

/* clusters.json for the command line, and up.json with the ports and the store's address.
 * Takes ports. */
int upfiles_write(const char *dir, const struct cluster *cluster, json_t *ports, const char *zk,
                  struct err *err);
