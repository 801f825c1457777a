/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"
#include "master/op_proto.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The record of one operation and what may happen to it, as pure functions on its JSON document
 * (docs/architecture.md, "Operation record").  A step is taken on a copy, which is written to the
 * store; only then it becomes the record. */

enum {
    OP_RECORD_VERSION = 1,
    OP_RECORD_MAX_OPCODES = 100,
    OP_RECORD_MAX_INPUT = 192 * 1024, /* Bytes of a request's opcodes as text. */
    OP_RECORD_MAX_BYTES = 250 * 1024, /* Of a record as text; logs and results give way. */
    OP_RECORD_MAX_ATTEMPTS = 10,      /* davit-ops tried before an operation is given up. */
};

/* What is known of an opcode before it is queued. */
struct op_record_opcode {
    const json_t *input;
    const char *object_type;
    const char *hooks_path; /* NULL: none. */
    const char *job;        /* NULL: none. */
};

struct op_record_request {
    const char *id;
    uint64_t number;
    const char *user;
    int64_t priority;
    const char *digest;
    uint64_t now_ms;
};

/* Queued, with no opcode in it yet. */
json_t *op_record_new(const struct op_record_request *request);
void op_record_add(json_t *record, const struct op_record_opcode *opcode);

/* Of a stored record: is it one, and of a version that we can read? */
int op_record_check(const json_t *record, struct err *err);

/* Independent in everything that the functions below change. */
json_t *op_record_copy(const json_t *record);

/* A davit-op is about to be started for it. */
void op_record_start(json_t *record, const char *boot_id, const char *host, const char *lock,
                     uint64_t now_ms);

/* May a request of this attempt about this opcode be served?  ERR_CONFLICT when it comes from an
 * earlier davit-op or speaks of another opcode than the current one. */
int op_record_expect(const json_t *record, int64_t index, int64_t attempt, struct err *err);

/* none -> pre_intent, or pre_done at once. */
int op_record_begin(json_t *record, size_t index, json_t *vars, json_t *nodes, bool pre_done,
                    struct err *err);

/* none -> post_intent with status failed: the prerequisite check said no. */
int op_record_reject(json_t *record, size_t index, const char *message, struct err *err);

/* pre_intent -> pre_done.  A refusal is kept as the opcode's error. */
int op_record_pre_done(json_t *record, size_t index, bool refused, const char *error,
                       const char *hook, struct err *err);

/* One line of its log, while it is under way. */
void op_record_log(json_t *record, size_t index, const char *message, uint64_t now_ms);

struct op_record_outcome {
    const char *status;   /* succeeded, failed, disappeared */
    const json_t *result; /* NULL, or what the worker answered. */
    const char *error;    /* NULL, or why not. */
    const json_t *log;    /* NULL, or entries to add. */
    json_t *vars, *nodes; /* After the work. */
};

/* pre_intent or pre_done -> post_intent.  At post_intent already: nothing changes, the recorded
 * status stands. */
int op_record_post_intent(json_t *record, size_t index, const struct op_record_outcome *outcome,
                          struct err *err);

/* post_intent -> post_done, with the recorded status.  When that is not success, or `last` (its
 * davit-op had died: nothing after it runs), the rest is canceled and the operation is over. */
int op_record_finish(json_t *record, size_t index, const json_t *log, bool last, uint64_t now_ms,
                     struct err *err);

/* Ends what is left of it without hooks. */
void op_record_close(json_t *record, const char *why, uint64_t now_ms);

bool op_record_is_over(const json_t *record);

/* What is owed to a record whose davit-op is gone, or that none was started for. */
enum op_resume {
    OP_RESUME_RUN,         /* Nothing of it began: run it. */
    OP_RESUME_DISAPPEARED, /* The opcode at *ret_index began: run its post hooks. */
    OP_RESUME_CLOSE,       /* Nothing is owed: op_record_close(). */
    OP_RESUME_ARCHIVE,     /* It is over. */
};
enum op_resume op_record_resume(const json_t *record, size_t *ret_index);

/* Members that callers ask for. */
uint64_t op_record_number(const json_t *record);
int64_t op_record_attempt(const json_t *record);
const char *op_record_state(const json_t *record);
size_t op_record_count(const json_t *record);
json_t *op_record_opcode(const json_t *record, size_t index); /* Borrowed; never NULL in range. */

/* The record without inputs, variables and logs: for lists.  The caller's. */
json_t *op_record_summary(const json_t *record);

/* Its text for the store, at most OP_RECORD_MAX_BYTES: shortens it when it has grown too large.
 * The caller's. */
char *op_record_text(json_t *record);

/* SHA-256 of what makes a request the same request; ret holds DIGEST_SHA256_HEX. */
void op_record_digest(const json_t *body, const char *user, char *ret);
