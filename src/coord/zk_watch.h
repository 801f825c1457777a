/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "coord/zk.h"

struct zk_watch;
struct zk_watch_entry;

/* Fires with the present value once it is known, and after each change (several quick changes
 * may come as one).  May stop or free any watch, this one too.  After a reconnect or a new
 * session it fires again only if something changed, or if that cannot be known. */
typedef void (*zk_watch_cb)(struct zk_watch *watch);

/* The caller owns and embeds it. */
struct zk_watch {
    void *data; /* The caller's. */

    /* Valid during the callback only. */
    struct err err; /* Not 0: the node cannot be read (ERR_DENIED); it is tried again later. */
    bool exists;
    struct zk_stat stat;
    const char *bytes; /* zk_watch_data: NUL-terminated beyond len. */
    size_t len;
    const char *const *children; /* zk_watch_children: names, unsorted. */
    size_t n_children;

    /* Private to zk_watch.c. */
    struct zk *zk;
    zk_watch_cb cb;
    struct zk_watch_entry *entry;
    struct zk_watch *prev, *next;
    bool owed; /* Not yet told the value that is being read. */
};

/* The node need not exist.  Thousands are fine; several on one path share its reads. */
void zk_watch_data(struct zk *zk, struct zk_watch *watch, const char *path, zk_watch_cb cb);
void zk_watch_children(struct zk *zk, struct zk_watch *watch, const char *path, zk_watch_cb cb);

/* No callback comes after this; nothing happens on a zeroed or stopped one. */
void zk_watch_stop(struct zk_watch *watch);
