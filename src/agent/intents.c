/* SPDX-License-Identifier: Apache-2.0 */
/* intents: every intent of this node, watched one by one.
 *
 * Not what follows from an intent (reconcile.c), nor its text (intent.c).
 *
 * Happy path: the list of names is watched, and each name's node; a name that is
 * new gets a watch, all reads of one list go out together; a name that
 * left the list is told as gone.
 * Failure: a list that cannot be read, or that is not there at all, changes nothing,
 * and neither does an intent that cannot be read or parsed (P9).  One line of log
 * for each text that is malformed.
 * Invariant: a pod is told as gone only when a list or its own node, read with
 * success, says so.  The path is exactly /davit/intent/<node>: node n1 never sees n10's.
 */
#include "agent/intents.h"

#include "base/fault.h"
#include "base/log.h"
#include "base/str.h"
#include "coord/zk_watch.h"

#include <string.h>
#include <uthash.h>

struct item {
    struct intents *intents;
    struct zk_watch watch;
    bool listed;
    bool exists; /* told as there */
    UT_hash_handle hh;
    char pod[];
};

struct intents {
    struct zk *zk;
    char *path;
    struct zk_watch list;
    struct item *items; /* uthash */
    bool warned;        /* that the list is not there */
    intents_cb on_intent;
    intents_bad_cb on_bad;
    void (*on_listed)(struct intents *intents, void *data);
    void *data;
};

bool intents_has(const struct intents *intents, const char *pod)
{
    struct item *item = NULL;

    HASH_FIND_STR(intents->items, pod, item);
    return item;
}

static void on_item(struct zk_watch *watch)
{
    struct item *item = watch->data;
    struct intents *intents = item->intents;
    CLEANUP(intent_freep) struct intent *intent = NULL;
    struct err err = { 0 };

    if (watch->err.code < 0) {
        log_warn("read the intent of pod %s: %s; leaving the pod alone", item->pod, watch->err.msg);
        intents->on_bad(item->pod, &watch->err, intents->data);
        return;
    }
    if (!watch->exists) {
        if (item->exists) {
            item->exists = false;
            intents->on_intent(item->pod, NULL, intents->data);
        }
        return;
    }
    item->exists = true;
    if (intent_parse(item->pod, watch->bytes, watch->len, &intent, &err) < 0) {
        log_warn("%s; leaving the pod alone", err.msg);
        intents->on_bad(item->pod, &err, intents->data);
        return;
    }
    CRASH_POINT("agent.intent");
    intents->on_intent(item->pod, TAKE(intent), intents->data);
}

static void free_item(struct intents *intents, struct item *item)
{
    /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): HASH_DEL moves the head. */
    HASH_DEL(intents->items, item);
    zk_watch_stop(&item->watch);
    free(item);
}

static void add_item(struct intents *intents, const char *pod)
{
    CLEANUP(mem_freep) char *path = str_printf("%s/%s", intents->path, pod);
    size_t len = strlen(pod);
    struct item *item = mem_alloc(sizeof(*item) + len + 1);

    memcpy(item->pod, pod, len + 1);
    item->intents = intents;
    item->listed = true;
    HASH_ADD_STR(intents->items, pod, item);
    item->watch.data = item;
    zk_watch_data(intents->zk, &item->watch, path, on_item);
}

static void take_names(struct intents *intents, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct item *item = NULL;

        HASH_FIND_STR(intents->items, names[i], item);
        if (item) {
            item->listed = true;
        } else if (intent_name_ok(names[i])) {
            add_item(intents, names[i]);
        } else {
            log_warn("ignoring the intent with the name '%s': no pod can be called so", names[i]);
        }
    }
}

static void on_list(struct zk_watch *watch)
{
    struct intents *intents = watch->data;
    struct item *item = NULL;
    struct item *next = NULL;

    if (watch->err.code < 0) {
        log_warn("list %s: %s; leaving all pods alone", intents->path, watch->err.msg);
        return;
    }
    if (!watch->exists) {
        if (intents->items && !intents->warned) {
            log_warn("%s is gone; leaving all pods alone until it is back", intents->path);
        }
        intents->warned = true;
        return;
    }
    intents->warned = false;
    HASH_ITER(hh, intents->items, item, next)
    {
        item->listed = false;
    }
    take_names(intents, watch->children, watch->n_children);
    HASH_ITER(hh, intents->items, item, next)
    {
        if (!item->listed) {
            CLEANUP(mem_freep) char *pod = mem_strdup(item->pod);

            free_item(intents, item);
            intents->on_intent(pod, NULL, intents->data);
        }
    }
    intents->on_listed(intents, intents->data);
}

void intents_start(const struct intents_options *options, struct intents **ret_intents)
{
    struct intents *intents = mem_alloc(sizeof(*intents));

    intents->zk = options->zk;
    intents->path = str_printf("/davit/intent/%s", options->node);
    intents->on_intent = options->on_intent;
    intents->on_bad = options->on_bad;
    intents->on_listed = options->on_listed;
    intents->data = options->data;
    intents->list.data = intents;
    *ret_intents = intents;
    zk_watch_children(intents->zk, &intents->list, intents->path, on_list);
}

void intents_free(struct intents *intents)
{
    struct item *item = NULL;
    struct item *next = NULL;

    if (!intents) {
        return;
    }
    zk_watch_stop(&intents->list);
    HASH_ITER(hh, intents->items, item, next)
    {
        free_item(intents, item);
    }
    free(intents->path);
    free(intents);
}
