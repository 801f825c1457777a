/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"
#include "client/clusters.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct election_observer;
struct locate;
struct zk;

/* Once per start, from the loop. */
typedef void (*locate_cb)(struct locate *locate);

/* One question: which master leads a cluster that is known by its ZooKeeper?  Caller-owned; keep
 * it in place until its callback has fired. */
struct locate {
    void *data;          /* The caller's. */
    uint64_t timeout_ms; /* Set before start; 0 is 10,000. */

    /* The outcome. */
    struct err err; /* ERR_TIMEOUT: nobody was found to lead.  ERR_CONFIG: the entry is wrong. */
    char *address;  /* "host:port", the caller's; NULL after a failure. */

    /* Private to locate.c. */
    const struct cluster *cluster;
    locate_cb cb;
    struct zk *zk;
    struct election_observer *observer;
    uv_timer_t timer;
    bool over;
};

/* cluster->zk is set; borrowed until the callback. */
void locate_start(struct locate *locate, uv_loop_t *loop, const struct cluster *cluster,
                  locate_cb cb);
