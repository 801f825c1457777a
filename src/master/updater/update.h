/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"
#include "base/mem.h"
#include "master/updater/update_settings.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A rolling update of one job, as data.  What it does next is updater.h's to say.  Statuses with
 * Aurora's numbers: contracts/aurora.md 4.5. */
/* clang-format off */
#define UPDATE_TABLE(X)                           \
    X(UPDATE_ROLLING_FORWARD,             0)      \
    X(UPDATE_ROLLING_BACK,                1)      \
    X(UPDATE_ROLL_FORWARD_PAUSED,         2)      \
    X(UPDATE_ROLL_BACK_PAUSED,            3)      \
    X(UPDATE_ROLLED_FORWARD,              4)      \
    X(UPDATE_ROLLED_BACK,                 5)      \
    X(UPDATE_ABORTED,                     6)      \
    X(UPDATE_ERROR,                       7)      \
    X(UPDATE_FAILED,                      8)      \
    X(UPDATE_ROLL_FORWARD_AWAITING_PULSE, 9)      \
    X(UPDATE_ROLL_BACK_AWAITING_PULSE,   10)
/* clang-format on */

enum update_status {
#define X(name, number) name,
    UPDATE_TABLE(X)
#undef X
        UPDATE_N_STATUS,
};

/* "ROLLING_FORWARD"; and back, false for an unknown word. */
const char *update_status_name(enum update_status status);
bool update_status_parse(const char *name, enum update_status *ret_status);
bool update_status_is_active(enum update_status status);
/* Is it in this group: active, all, blocked, failed, inactive, paused, succeeded?  False for an
 * unknown group. */
bool update_status_in_group(enum update_status status, const char *group);

/* Of one instance, in the present direction. */
enum update_phase {
    UPDATE_WAITING, /* Its turn has not come. */
    UPDATE_WORKING,
    UPDATE_DONE,
    UPDATE_INSTANCE_FAILED,
    UPDATE_N_PHASES,
};

enum update_action {
    UPDATE_INSTANCE_UPDATING,
    UPDATE_INSTANCE_UPDATED,
    UPDATE_INSTANCE_ROLLING_BACK,
    UPDATE_INSTANCE_ROLLED_BACK,
    UPDATE_INSTANCE_UPDATE_FAILED,
    UPDATE_INSTANCE_ROLLBACK_FAILED,
    UPDATE_N_ACTIONS,
};
const char *update_action_name(enum update_action action); /* "INSTANCE_UPDATING" */

enum {
    UPDATE_NO_CONFIG = -1,
    UPDATE_RUN_ID = 9, /* The end of a task's id that is remembered, with its NUL. */
    UPDATE_DOC_VERSION = 1,
    UPDATE_MAX_EVENTS = 100,           /* The first one and the newest. */
    UPDATE_MAX_INSTANCE_EVENTS = 1000, /* The newest. */
    UPDATE_MAX_TEXT = 500,             /* Of an event's message, as JSON. */
    UPDATE_MAX_METADATA = 16 * 1024,   /* As text. */
};

struct update_instance {
    int id;
    int from; /* What it had before: index in configs, or UPDATE_NO_CONFIG. */
    int to;   /* What it is to have: update.target, or UPDATE_NO_CONFIG. */
    enum update_phase phase;
    bool touched;                /* Was begun while rolling forward. */
    int failures;                /* Runs that ended, in the present direction. */
    char counted[UPDATE_RUN_ID]; /* The last of them: none is counted twice. */
    unsigned group;              /* Its batch. */

    /* Not stored: asking for an SLA-aware kill again; a run that is RUNNING since a time that
     * has not come (the clock was set back), and since when that is known. */
    uint64_t retry_ms, backoff_ms;
    uint64_t odd_since_ms, odd_seen_ms;
};

struct update_event {
    enum update_status status;
    uint64_t time_ms;
    char *message, *user; /* NULL for none. */
};

struct update_instance_event {
    int instance;
    enum update_action action;
    uint64_t time_ms;
};

struct update {
    char *id, *job, *user, *op_id, *start_message;
    enum update_status status;
    bool back; /* The direction. */
    uint64_t created_ms, modified_ms;
    uint64_t pulsed_ms; /* The last pulse; 0: none yet. */
    struct update_settings settings;
    char **configs; /* Hashes. */
    size_t n_configs;
    int target;     /* Index of the new one. */
    char *old_hash; /* What the job was before, NULL for a new job. */

    /* In the order of the update: added, changed, removed, each ascending. */
    struct update_instance *instances;
    size_t n_instances;
    int *by_id; /* Index + 1 in instances of each id, 0 for none. */
    size_t n_by_id;
    char *unchanged; /* Ranges; for display. */
    bool scoped;     /* Only the instances that were named. */
    char *only;      /* Those, as ranges; NULL for all. */

    unsigned released;    /* Batches up to this one need no resume. */
    unsigned auto_paused; /* The batch before which it paused by itself. */

    int failed_instance; /* The latest failure; -1: none. */
    uint64_t failed_ms;
    char *failed_reason;

    struct update_event *events;
    size_t n_events;
    struct update_instance_event *instance_events; /* A ring. */
    size_t n_instance_events, first_instance_event;
    uint64_t dropped_instance_events;
    json_t *metadata; /* Array of {key, value}. */

    bool changed; /* Differs from its document in the store. */
};

/* Empty, ROLLING_FORWARD, without instances. */
struct update *update_new(const char *id, const char *job, uint64_t now_ms);
void update_free(struct update *update);
DEFINE_FREEP(struct update, update_free)

/* Its index, added when it is not there. */
int update_add_config(struct update *update, const char *hash);
/* UPDATE_NO_CONFIG when it has none of this hash. */
int update_find_config(const struct update *update, const char *hash);

/* In the order of the update.  update_seal() when all are there: batches and the index. */
void update_add_instance(struct update *update, int id, int from, int to);
void update_seal(struct update *update);

/* NULL when the update is not about it. */
struct update_instance *update_find_instance(const struct update *update, int id);

/* Sets the status and keeps the event, message cut to UPDATE_MAX_TEXT. */
void update_set_status(struct update *update, enum update_status status, uint64_t now_ms,
                       const char *message, const char *user);
void update_add_instance_event(struct update *update, int id, enum update_action action,
                               uint64_t now_ms);
void update_set_failure(struct update *update, int id, const char *reason, uint64_t now_ms);

/* The document of the store, at most 256 KiB; the caller's. */
json_t *update_encode(const struct update *update);
/* ERR_UNSUPPORTED for a later version, ERR_INVALID for what no update can be. */
int update_decode(const json_t *doc, struct update **ret_update, struct err *err);

/* As the API tells it (docs/architecture.md); the caller's.  brief: for lists. */
json_t *update_view(const struct update *update, bool brief);
