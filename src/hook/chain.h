/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "hook/dir.h"
#include "hook/point.h"
#include "hook/record.h"
#include "hook/run.h"

/* All hooks of one event in one directory, one after the other.  Borrowed until
 * chain_start() returns. */
struct hook_chain_spec {
    enum hook_rules rules;
    const char *base;  /* Directory, by the rules of dir.h. */
    const char *event; /* "global-pre", "before_install", "initialize" */
    enum hook_policy policy;
    const char *const *required; /* File names, with HOOK_POLICY_REQUIRED; ends with NULL. */

    /* Level, event, phase, op_id, op_number, opcode_index, job, instance, task, node and
     * attempt of each record.  record.event may differ from `event` above. */
    const struct hook_record *context;
    /* The base of each hook's HOOK_TOKEN, the same on each retry: "<op id>.<index>".  A
     * hook's own is <base>.<event>.<hook>, made of letters, digits and . _ - only. */
    const char *token_base;
    /* HOOK_TOKEN and HOOK_OP_ID are added to every hook's environment, not only where a
     * side file asks for them. */
    bool add_tokens;

    const char *const *env;
    const char *cwd;
    const void *input;
    size_t input_len;
    bool wants_answer;
    uint64_t term_ms, kill_ms;
    bool go_on_at_term;
    bool set_user;
    uid_t uid;
    gid_t gid;
    const gid_t *groups;
    size_t n_groups;
    bool set_umask;
    mode_t umask;
};

struct hook_chain;
typedef void (*hook_chain_cb)(struct hook_chain *chain);

/* Caller-owned; keep it alive and in place until the callback has fired. */
struct hook_chain {
    void *data;
    /* 0, ERR_REFUSED (by the policy; the message names hook and reason), ERR_CANCELED, or
     * why the directory or the sink failed (then nothing was run). */
    struct err err;
    /* One per listed entry, in order, skipped ones too; valid until chain_fini(). */
    struct hook_record *records;
    size_t n_records;
    const struct hook_record *culprit; /* The first bad one, whatever the policy. */
    char *answer;                      /* The last program's that answered anything. */
    size_t answer_len;

    /* Private to chain.c. */
    struct chain_state *state;
    hook_chain_cb cb;
};

/* cb fires once, later on the loop, also when there is nothing to run. */
void chain_start(struct hook_chain *chain, struct hook_engine *engine,
                 const struct hook_chain_spec *spec, const struct hook_sink *sink,
                 hook_chain_cb cb);

/* Cancels the hook that runs and starts no other. */
void chain_cancel(struct hook_chain *chain);
void chain_fini(struct hook_chain *chain);
