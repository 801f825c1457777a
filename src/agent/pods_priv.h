/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "agent/home.h"
#include "agent/link.h"
#include "agent/node_hooks.h"
#include "agent/pods.h"
#include "agent/reconcile.h"
#include "base/child.h"
#include "base/tree.h"

#include <uthash.h>

/* What pods.c (the set, whose turn it is, what is reported) and pod_step.c (carrying
 * out one action) share. */

enum pods_slot { SLOT_LAUNCH, SLOT_HOOKS, SLOT_COUNT, SLOT_NONE = SLOT_COUNT };

/* Whose turn comes first: what is ready or runs, so that a thousand new pods delay no news. */
enum pods_queue { QUEUE_BEGUN, QUEUE_NEW, QUEUE_COUNT, QUEUE_NONE = QUEUE_COUNT };

struct pod {
    struct pods *pods;
    char *name;
    char *home;
    struct reconcile rec;
    struct intent *intent; /* The latest good one; NULL before. */
    struct home_mark mark; /* Of a launched pod. */
    char *token;           /* DAVIT_RUN of its processes; NULL before it is installed. */
    char *problem;         /* Why the last step failed, or the intent is bad. */

    /* What davit-pod told last. */
    char *reason;
    json_t *processes; /* name -> {state, runs, exit} */
    uint64_t started_ms, ended_ms;

    /* davit-pod itself. */
    struct link link;
    struct child child;
    bool watched;     /* child is under watch */
    bool greeted;     /* this link's hello was good */
    uv_timer_t again; /* next attempt to reach it */

    /* Its ServerSet member, while it is announced or being taken out. */
    struct announce *announce;
    bool announce_left;   /* being taken out */
    bool maybe_announced; /* by an earlier agent */

    /* The step under way. */
    enum pods_slot slot;
    uv_timer_t deadline;
    struct node_hooks_run hook;
    bool hooking;
    struct tree *tree;
    struct tree_kill kill;
    bool killing;
    uv_work_t work;
    struct err work_err;
    bool working;

    enum pods_queue queue; /* which of ready it is in */
    bool parked;           /* in waiting[slot], its action not begun */
    bool ended_told;
    bool closing;
    unsigned open_handles;
    struct pod *prev, *next; /* of ready or waiting */
    UT_hash_handle hh;
};

struct pods {
    struct pods_options options;
    uv_loop_t *loop;
    char *boot_id;
    enum tree_rung rung;
    struct pod *all; /* uthash by name */
    struct pod *ready[QUEUE_COUNT];
    uv_idle_t idle;
    uv_timer_t wake; /* the earliest retry */
    uint64_t wake_ms;
    unsigned used[SLOT_COUNT];
    struct pod *waiting[SLOT_COUNT];
    struct pods_listener *listeners;

    bool leaving;
    void (*left_cb)(void *data);
    void *left_data;

    bool closing;
    unsigned open_handles; /* own ones, and one for each pod that is not freed yet */
    void (*close_cb)(void *data);
    void *close_data;
};

enum step_result {
    STEP_OK,
    STEP_FAILED,
    STEP_PENDING,
    STEP_HOPELESS, /* The pod has failed for good; pod->reason says why. */
};

/* ---- pods.c ---- */

/* Have the pod looked at soon. */
void pods_touch(struct pod *pod);

/* The pending step of the pod is over. */
void pods_step_over(struct pod *pod, bool ok);

/* Why something did not work: for reality, people, and the log. */
void pods_problem(struct pod *pod, const struct err *err);

/* ---- pod_step.c ---- */

/* Begin what reconcile_next() gave. */
enum step_result step_begin(struct pod *pod, enum reconcile_action action);

/* Does this step have hooks to run, or a process to start? */
enum pods_slot step_slot(const struct pod *pod, enum reconcile_action action);

/* Look for the davit-pod of an earlier agent: fills found, and watches the living. */
void step_adopt(struct pod *pod, struct reconcile_found *ret_found);

/* The pod's member has to be there, or to go, by what it is now. */
void step_announce(struct pod *pod, const char *state);

/* Let go of davit-pod and cancel what is under way. */
void step_cancel(struct pod *pod);
