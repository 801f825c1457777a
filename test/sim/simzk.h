/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "coord/zk.h"
#include "simloop.h"
#include "simtree.h"

/* coord/zk.h over a simulated network: what the simulation does to a client. */

enum { SIMZK_SESSION_MS = 10 * 1000, SIMZK_OP_MS = 15 * 1000 };

/* loop->data is the program that the client lives in.  Connects soon. */
struct zk *simzk_open(struct simtree *tree, uv_loop_t *loop);

/* One that answers each request at once, from simzk_pump(); for reading the store beside the
 * history.  No writes. */
struct zk *simzk_open_reader(struct simtree *tree, uv_loop_t *loop);
bool simzk_pump(struct zk *zk);

/* Told of each multi that any client sends, before it leaves; NULL ends it. */
typedef void (*simzk_sent_cb)(struct zk *zk, void *data);
void simzk_on_sent(simzk_sent_cb cb, void *data);

/* The connection breaks: what is under way was carried out up to some point, or not.  Back after
 * back_ms, perhaps too late for the session. */
void simzk_break(struct zk *zk, uint64_t back_ms);

/* The client's program was killed: what is under way was carried out up to some point.  Nothing
 * reaches its callbacks or the store any more. */
void simzk_crash(struct zk *zk);

/* ... whose program is being closed, and waits for this answer. */
bool simzk_answer_one(struct zk *zk);

/* The server expires the session although the client is fine. */
void simzk_expire(struct zk *zk);

/* Frees; after simzk_crash() or with nothing under way. */
void simzk_free(struct zk *zk);
