/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"
#include "base/mem.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* HOOK_OPEN: not finished (JSON null).  The others are what GET /v1/hook-runs says. */
enum hook_outcome {
    HOOK_OPEN,
    HOOK_OK,
    HOOK_FAILED,
    HOOK_REFUSED, /* Failed, and that stopped what it was asked about. */
    HOOK_TIMED_OUT,
    HOOK_SKIPPED, /* Listed, but not a program to run. */
    HOOK_UNSTARTABLE,
    HOOK_LOST, /* Its executor died or canceled it; how it would have ended is not known. */
};

/* One run of one hook, on any level.  A zeroed record is an empty one.  Strings are the
 * record's own, and NULL where nothing is known; numbers that are not known are -1 in
 * instance, opcode_index and exit_code, else 0. */
struct hook_record {
    char *run_id;
    char *level; /* client, operation, node, pod */
    char *event;
    char *phase; /* pre, post, err, ... or NULL */
    char *hook;  /* File name, or Class.method for a guest. */
    char *path;
    char *op_id;
    int64_t op_number;
    int64_t opcode_index;
    char *job; /* role/env/name, or what the level has instead */
    int64_t instance;
    char *task; /* Task or pod id. */
    char *node;
    char *token;
    int64_t attempt;
    uint64_t intent_ms, started_ms, finished_ms; /* Wall clock. */
    int64_t pid;
    int64_t exit_code;
    int64_t signal;
    bool timed_out;
    enum hook_outcome outcome;
    char *error;
    char *output_head, *output_tail; /* UTF-8; the tail is NULL when the head holds all. */
    int64_t output_bytes;
    int64_t left_behind; /* Processes still there when the program had ended. */
    bool leave;          /* They were declared. */
};

/* All unknown; a fresh run_id when with_id. */
void record_init(struct hook_record *record, bool with_id);
void record_fini(struct hook_record *record);

/* Sets a string member, freeing the old one: record_set(&r.error, "..."). */
void record_set(char **member, const char *value);
void record_copy(struct hook_record *to, const struct hook_record *from);

/* All members, null where nothing is known; or only those that are known, which
 * record_from_json() reads as well. */
json_t *record_to_json(const struct hook_record *record);
json_t *record_to_json_short(const struct hook_record *record);

/* Unknown members are ignored; run_id, level, event and hook must be there. */
int record_from_json(const json_t *json, struct hook_record *ret_record, struct err *err);

/* "ok", "failed", ...; NULL for HOOK_OPEN. */
const char *record_outcome_name(enum hook_outcome outcome);

/* failed, refused, timed_out, unstartable, lost. */
bool record_is_bad(const struct hook_record *record);

/* Where records go: a journal file, or davit-pod's channel to the agent.  Each is called
 * on the loop and borrows what it is given.  A failing `intents` means that nothing is
 * run; failures of the other two are logged by the engine, which goes on. */
struct hook_sink {
    void *ctx;
    int (*intents)(void *ctx, const struct hook_record *records, size_t n, struct err *err);
    int (*started)(void *ctx, const struct hook_record *record, struct err *err);
    int (*finished)(void *ctx, const struct hook_record *record, struct err *err);
};
