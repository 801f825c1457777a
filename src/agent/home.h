/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "agent/intent.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define HOME_MARK_FILE   "agent.json"
#define HOME_LOG_FILE    "pod.log"
#define HOME_MANIFEST    "current_manifest.yaml"
#define HOME_MEMBER_FILE "announced" /* the store node of its ServerSet member */

/* What the agent itself must know of a pod after a restart: HOME/agent.json.  Its being there
 * means that a launch had begun. */
struct home_mark {
    bool up;                        /* after_launch has run */
    bool leaving;                   /* stopped together with the agent */
    char digest[DIGEST_SHA256_HEX]; /* of the intent that was launched */
    int instance;
    uint64_t launched_ms; /* wall clock */
    /* NULL when not given. */
    char *job;
    char *op_id;
};

void home_mark_fini(struct home_mark *mark);
int home_write_mark(const char *home, const struct home_mark *mark, struct err *err);

/* ERR_NOTFOUND when the pod was never launched. */
int home_read_mark(const char *home, struct home_mark *ret_mark, struct err *err);

/* Who the pod's processes will be. */
struct home_user {
    bool change; /* false: who the agent is */
    uint32_t uid, gid;
    uint32_t groups[64];
    int n_groups;
};

/* ERR_NOTFOUND when there is no such user here.  Anybody but root cannot change and does not try.
 */
int home_find_user(const char *name, struct home_user *ret_user, struct err *err);

struct home_spec {
    const char *node;
    const char *cgroup; /* for davit-pod; NULL: none */
    const char *token;  /* DAVIT_RUN of the pod's processes */
    const struct home_user *user;
};

/* Make, or make again after a failed attempt, everything in home that davit-pod expects. */
int home_install(const char *home, const struct intent *intent, const struct home_spec *spec,
                 struct err *err);

/* p2's config/ and env/, of which a davit/task itself needs nothing: for hooks.  Cheap when they
 * are there. */
int home_write_config(const char *home, const struct intent *intent, struct err *err);

/* current_manifest.yaml, at launch. */
int home_write_manifest(const char *home, const struct intent *intent, struct err *err);

/* DAVIT_RUN of the pod, from task.json; "" when that cannot be read.  The caller's. */
char *home_token(const char *home);

/* "<home>/config/<id>_<digest>.yaml"; the caller's. */
char *home_config_path(const char *home, const char *pod, const char *digest);

/* Names of the pods that have a home below root, in no order; ERR_NOTFOUND without a root. */
int home_list(const char *root, char ***ret_names, struct err *err);
