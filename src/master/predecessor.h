/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "coord/zk.h"

#include <jansson.h>

/* Takes the candidacies of this master's earlier processes out of the election, so that nobody
 * waits for their sessions to expire.  The caller holds the lock of the master's directory: they
 * are dead. */
struct predecessor;

/* Once, from the loop, whatever came of it: a node that could not be removed only costs time. */
typedef void (*predecessor_cb)(void *data);

/* contact is what this master says of itself; the same socket and host with another pid is one of
 * ours.  Borrowed until cb. */
struct predecessor *predecessor_remove(struct zk *zk, const char *path, const json_t *contact,
                                       predecessor_cb cb, void *data);

/* Drops it without a callback; NULL is fine. */
void predecessor_cancel(struct predecessor *predecessor);
