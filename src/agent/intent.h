/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/digest.h"
#include "base/err.h"
#include "base/mem.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One intent of /davit/intent/<node>, read and checked. */
struct intent {
    char *pod;
    char digest[DIGEST_SHA256_HEX]; /* Of its bytes. */
    bool stop;                      /* desired: stopped */
    bool is_task;                   /* Its launchable is davit/task, and no other is there. */
    bool readonly;
    char *run_as;
    int instance;
    uint64_t wait_ms; /* A stop's: the task's finalization_wait, and its stop ladder's. */
    /* NULL when not given. */
    char *job;
    char *op_id;
    char *stop_op_id;
    char *stop_reason;
    json_t *announce; /* {"announce", "ports", "hostname"} of config.davit, for its member */

    /* Needed until the pod is launched; intent_slim() frees them. */
    char *text;
    size_t len;
    json_t *doc;
    json_t *config; /* Borrowed from doc; an object. */
    json_t *davit;  /* config.davit, likewise; NULL when there is none. */
};

/* ERR_INVALID (malformed, or for another pod) and ERR_TOOBIG say what is wrong. */
int intent_parse(const char *pod, const char *text, size_t len, struct intent **ret_intent,
                 struct err *err);
void intent_free(struct intent *intent);
DEFINE_FREEP(struct intent, intent_free)

/* Keep only what a launched pod needs. */
void intent_slim(struct intent *intent);

/* May a pod be called so?  Its name is a directory's and a store node's name. */
bool intent_name_ok(const char *name);
