/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "store/znode.h"
#include "store/zwatch.h"

/* One connection, embedded by whoever holds its socket. */
struct engine_client {
    struct zwatch_client watch;
    struct acl_who who;
    struct zsession *session; /* NULL before connect and after the session's end */
    struct buf out;           /* frames for it, to be sent after the commit */
    bool closing;             /* Send what is in out, then hang up. */
    bool touched;             /* It is in engine->touched. */
    struct engine_client *touched_next;
};

struct engine_limits {
    int32_t min_timeout_ms;
    int32_t max_timeout_ms;
};

struct engine_now {
    uint64_t mono_ms;
    uint64_t wall_ms;
};

struct engine_effect;

struct engine {
    struct znode_tree tree;
    struct zsession_table sessions;
    struct zwatch_table watches;
    struct engine_limits limits;
    struct engine_client *touched; /* those with something in out, or closing */
    uint64_t n_received;
    uint64_t n_sent;

    /* Private to zchange.c. */
    struct engine_effect *effects; /* of the request at hand */
    size_t n_effects, cap_effects;
    unsigned long rounds;
};

void engine_init(struct engine *engine, const struct engine_limits *limits, uint64_t seed);
void engine_fini(struct engine *engine);

/* address is the peer's, for ip ACLs. */
void engine_client_init(struct engine_client *client, const char *address);

/* Its connection is gone: watches end, the session goes on until it expires.
 * It must not be in engine->touched. */
void engine_client_fini(struct engine *engine, struct engine_client *client);

/* Put it into engine->touched, once: something is to be done with it when the turn ends. */
void engine_touch(struct engine *engine, struct engine_client *client);

/* The first frame of a connection.  passwd is for a new session. */
void engine_connect(struct engine *engine, struct engine_client *client, const char *frame,
                    size_t len, struct engine_now now, const char *passwd);

/* Each further frame.  The answers, here and to those who watch, are in out. */
void engine_request(struct engine *engine, struct engine_client *client, const char *frame,
                    size_t len, struct engine_now now);

/* End the sessions that were not heard in time.  Gives back when to look again. */
uint64_t engine_expire(struct engine *engine, struct engine_now now);

/* The server itself was away so long (a disk that hung, SIGSTOP): that is not the clients'
 * silence, and their requests may be waiting. */
void engine_forgive(struct engine *engine, uint64_t away_ms);

/* Is there anything that the ledger has to write? */
bool engine_changed(const struct engine *engine);
