/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "coord/zk.h"

/* One candidate for leadership, by ephemeral sequential nodes under a path. */
struct election;

/* Leadership begins (epoch) or ends (why).  on_lost follows every on_leader at most once, and the
 * candidate stands again by itself after it. */
typedef void (*election_leader_cb)(struct election *election, int64_t epoch, void *data);
typedef void (*election_lost_cb)(struct election *election, const char *why, void *data);
typedef void (*election_cb)(void *data);

struct election_options {
    struct zk *zk;
    const char *path;  /* "/davit/master"; made when missing. */
    const char *bytes; /* What the candidate's node says, an address for instance. */
    size_t len;
    const char *epoch_path; /* "/davit/epoch", or NULL to lead without one (epoch 0). */
    /* Marks the node as the candidate's own; unique.  One who stands again later in the same
     * session under the same token finds a node that it could not delete.  NULL: a new one. */
    const char *token;
    election_leader_cb on_leader;
    /* At once on expiry; when the connection is lost, early enough that no other can lead
     * before: after a quarter of the session timeout without contact. */
    election_lost_cb on_lost;
    void *data;
};

/* Copies the options' strings. */
void election_start(const struct election_options *options, struct election **ret_election);

/* Withdraws: deletes its node (at most op_timeout_ms; with a token of the owner's only while there
 * is a connection), frees it, then cb (may be NULL).  No on_lost comes from this: the owner
 * knows. */
void election_close(struct election *election, election_cb cb, void *data);

bool election_is_leader(const struct election *election);

/* Adds the check that makes a leader's write fail once another has been elected.  The epoch is
 * the version of the epoch node.  The leader only. */
void election_fence(const struct election *election, struct zk_multi *multi);

/* Who leads now, watched: bytes of the leading candidate's node, "" when none does. */
struct election_observer;
typedef void (*election_observer_cb)(const char *bytes, size_t len, void *data);
void election_observe(struct zk *zk, const char *path, election_observer_cb cb, void *data,
                      struct election_observer **ret_observer);
/* Synchronous. */
void election_observer_free(struct election_observer *observer);
