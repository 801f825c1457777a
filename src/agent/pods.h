/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "agent/announce.h"
#include "agent/intent.h"
#include "agent/node_hooks.h"
#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <uv.h>

/* All pods of this node. */
struct pods;

struct pods_options {
    uv_loop_t *loop;
    const char *root;          /* directory of the pods' homes; made when missing */
    const char *program;       /* davit-pod */
    const char *pod_hooks_dir; /* NULL: none */
    const char *ended_root;    /* where the homes of tasks that are over are kept */
    unsigned keep_ended;       /* how many of them */
    bool run_as_self;          /* pods run as the agent does, whatever their manifests say */
    const struct node_hooks *hooks;
    struct announcer *announcer; /* NULL: no task is announced */
    const struct rlimit *nofile; /* given to davit-pod instead of the agent's own */
    /* A pod's entry in reality changed; NULL: it has none any more.  news: a task moves by it. */
    void (*on_entry)(const char *pod, const char *entry, bool news, void *data);
    void *data;
};

/* Borrows the options' pointers for its life. */
int pods_new(const struct pods_options *options, struct pods **ret_pods, struct err *err);

/* Finds the homes that an earlier agent left, and takes their pods over. */
int pods_adopt(struct pods *pods, struct err *err);

/* The pod's intent is now this (taken over), or surely gone (NULL). */
void pods_intent(struct pods *pods, const char *name, struct intent *intent);

/* Its intent is of no use; only told to the people who look. */
void pods_bad_intent(struct pods *pods, const char *name, const struct err *err);

/* Whoever has() says no to has no intent. */
void pods_listed(struct pods *pods, bool (*has)(const char *name, void *data), void *data);

/* What the store had on a pod when the agent began. */
void pods_found(struct pods *pods, const char *name, const char *entry);

/* Ends all pods, each within its grace, and then calls back; they will be reported lost.
 * Nothing else is begun any more. */
void pods_stop_all(struct pods *pods, void (*cb)(void *data), void *data);

/* Leaves running pods to themselves, cancels what is under way, frees, then cb. */
void pods_close(struct pods *pods, void (*cb)(void *data), void *data);

/* For people: the caller's references; NULL when there is no such pod. */
json_t *pods_list(struct pods *pods);
json_t *pods_describe(struct pods *pods, const char *name);

/* Has it ended, or is it not known? */
bool pods_ended(struct pods *pods, const char *name);
size_t pods_count(const struct pods *pods);

/* Told, with the pod's name, when a pod ended and when it is forgotten. */
struct pods_listener {
    void *data;
    void (*cb)(struct pods_listener *listener, const char *name);
    /* Private to pods.c. */
    struct pods_listener *prev, *next;
};
void pods_listen(struct pods *pods, struct pods_listener *listener);
void pods_unlisten(struct pods *pods, struct pods_listener *listener);
