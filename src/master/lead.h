/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"
#include "coord/zk.h"
#include "master/operations/opcode_env.h"
#include "master/operations/operations.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

/* This master among the others: stands for election, and while it leads keeps the state,
 * the nodes and the operations. */
struct crons;
struct lead;

/* The term that began to be served, or ended. */
typedef void (*lead_cb)(struct lead *lead, void *data);

struct lead_options {
    uv_loop_t *loop;
    struct zk *zk;
    const char *cluster;
    uint64_t node_lost_ms, history_ms, preempt_delay_ms, preempt_every_ms;
    uint64_t coordinator_retry_ms;
    uint64_t cron_catch_up_ms;
    struct operations *operations;
    struct opcode_env *env; /* Filled while we lead. */
    json_t *contact;        /* Borrowed: "address", "socket", "pid", "host" of this master. */
    lead_cb on_begin;       /* State is there and operations are accepted. */
    lead_cb on_end;         /* Before the state goes: nothing may use it afterwards. */
    void *data;
};

void lead_start(const struct lead_options *options, struct lead **ret_lead);
typedef void (*lead_closed_cb)(void *data);
void lead_close(struct lead *lead, lead_closed_cb cb, void *data);

/* NULL unless we lead and everything is loaded. */
struct state *lead_state(const struct lead *lead);

/* The same for the updates. */
struct updates *lead_updates(const struct lead *lead);

/* What opcodes see; its members are NULL together with lead_state(). */
const struct opcode_env *lead_env(const struct lead *lead);

/* NULL together with lead_state(). */
struct crons *lead_crons(const struct lead *lead);

/* What the leading master says of itself; NULL while there is none.  Borrowed. */
const json_t *lead_leader(const struct lead *lead);
