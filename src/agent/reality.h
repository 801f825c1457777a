/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "coord/zk.h"

/* /davit/reality/<node>: what runs here, as the master reads it. */
struct reality;

typedef void (*reality_cb)(struct reality *reality, void *data);

/* What a pod's entry said when we began.  entry is JSON text. */
typedef void (*reality_found_cb)(const char *pod, const char *entry, void *data);

struct reality_options {
    struct zk *zk;
    const char *node;
    reality_found_cb on_found; /* For each entry that an earlier agent left. */
    reality_cb on_ready;       /* All of it was told; nothing is written before. */
    void *data;
};

/* Reads what is there, for as long as it takes, and from then on keeps it as told. */
void reality_start(const struct reality_options *options, struct reality **ret_reality);

/* How soon the master should hear of it: what moves a task, or only what is good to know. */
enum reality_hurry { REALITY_LATER, REALITY_NOW };

/* A pod's entry is now this JSON text, or gone (NULL).  Cheap when nothing changed. */
void reality_set(struct reality *reality, const char *pod, const char *text,
                 enum reality_hurry hurry);

/* Is everything that was told in the store? */
bool reality_is_clean(const struct reality *reality);

/* Fires once when it is clean, or after timeout_ms; not from within.  One at a time. */
void reality_flush(struct reality *reality, uint64_t timeout_ms, reality_cb cb, void *data);

/* Writes no more and frees; a flush that waits fires never.  Then cb. */
void reality_close(struct reality *reality, void (*cb)(void *data), void *data);
