/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "agent/intent.h"
#include "coord/zk.h"

/* What should run here: a watch over /davit/intent/<node>. */
struct intents;

/* The pod's intent is now this (taken over), or surely gone (NULL). */
typedef void (*intents_cb)(const char *pod, struct intent *intent, void *data);

/* It cannot be read or understood: what was known before stays true. */
typedef void (*intents_bad_cb)(const char *pod, const struct err *err, void *data);

struct intents_options {
    struct zk *zk;
    const char *node;
    intents_cb on_intent;
    intents_bad_cb on_bad;
    /* The list was read: whoever is not on it has no intent.  Fires before the first on_intent and
     * on each change of the list. */
    void (*on_listed)(struct intents *intents, void *data);
    void *data;
};

void intents_start(const struct intents_options *options, struct intents **ret_intents);
void intents_free(struct intents *intents);

/* Is it on the list that was read last? */
bool intents_has(const struct intents *intents, const char *pod);
