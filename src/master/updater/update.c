/* SPDX-License-Identifier: Apache-2.0 */
/* update: one rolling update as data: its parts, its names, its histories.
 *
 * Not its rules (updater.c) and not its forms as JSON (update_doc.c).  Whatever grows with time
 * is bounded here, so that the document always fits a store write.
 */
#include "master/updater/update.h"

#include "base/str.h"
#include "model/job.h"

#include <string.h>

/* ---- Names ---- */

static const char *const status_names[UPDATE_N_STATUS] = {
#define X(name, number) [name] = &(#name)[sizeof("UPDATE_") - 1],
    UPDATE_TABLE(X)
#undef X
};

static const char *const action_names[UPDATE_N_ACTIONS] = {
    [UPDATE_INSTANCE_UPDATING] = "INSTANCE_UPDATING",
    [UPDATE_INSTANCE_UPDATED] = "INSTANCE_UPDATED",
    [UPDATE_INSTANCE_ROLLING_BACK] = "INSTANCE_ROLLING_BACK",
    [UPDATE_INSTANCE_ROLLED_BACK] = "INSTANCE_ROLLED_BACK",
    [UPDATE_INSTANCE_UPDATE_FAILED] = "INSTANCE_UPDATE_FAILED",
    [UPDATE_INSTANCE_ROLLBACK_FAILED] = "INSTANCE_ROLLBACK_FAILED",
};

#define BIT(status) (1U << (status))

enum {
    BLOCKED = BIT(UPDATE_ROLL_FORWARD_AWAITING_PULSE) | BIT(UPDATE_ROLL_BACK_AWAITING_PULSE),
    PAUSED = BIT(UPDATE_ROLL_FORWARD_PAUSED) | BIT(UPDATE_ROLL_BACK_PAUSED),
    ACTIVE = BIT(UPDATE_ROLLING_FORWARD) | BIT(UPDATE_ROLLING_BACK) | PAUSED | BLOCKED,
    ALL = BIT(UPDATE_N_STATUS) - 1,
    FAILED = BIT(UPDATE_ERROR) | BIT(UPDATE_FAILED) | BIT(UPDATE_ROLLED_BACK),
};

static const struct {
    const char *name;
    unsigned statuses;
} groups[] = {
    { "active", ACTIVE },          { "all", ALL },
    { "blocked", BLOCKED },        { "failed", FAILED },
    { "paused", PAUSED },          { "succeeded", BIT(UPDATE_ROLLED_FORWARD) },
    { "inactive", ALL & ~ACTIVE },
};

const char *update_status_name(enum update_status status)
{
    return status_names[status];
}

const char *update_action_name(enum update_action action)
{
    return action_names[action];
}

bool update_status_parse(const char *name, enum update_status *ret_status)
{
    for (unsigned i = 0; i < UPDATE_N_STATUS; i++) {
        if (strcmp(status_names[i], name) == 0) {
            *ret_status = (enum update_status)i;
            return true;
        }
    }
    return false;
}

bool update_status_is_active(enum update_status status)
{
    return (ACTIVE & BIT(status)) != 0;
}

bool update_status_in_group(enum update_status status, const char *group)
{
    for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
        if (strcmp(groups[i].name, group) == 0) {
            return (groups[i].statuses & BIT(status)) != 0;
        }
    }
    return false;
}

/* ---- Life ---- */

struct update *update_new(const char *id, const char *job, uint64_t now_ms)
{
    struct update *update = mem_alloc(sizeof(*update));

    update->id = mem_strdup(id);
    update->job = mem_strdup(job);
    update->created_ms = update->modified_ms = now_ms;
    update->failed_instance = -1;
    update->metadata = json_array();
    update->changed = true;
    return update;
}

static void event_fini(struct update_event *event)
{
    free(event->message);
    free(event->user);
}

void update_free(struct update *update)
{
    if (update == NULL) {
        return;
    }
    for (size_t i = 0; i < update->n_configs; i++) {
        free(update->configs[i]);
    }
    for (size_t i = 0; i < update->n_events; i++) {
        event_fini(&update->events[i]);
    }
    update_settings_fini(&update->settings);
    free(update->configs);
    free(update->events);
    free(update->instance_events);
    free(update->instances);
    free(update->by_id);
    free(update->id);
    free(update->job);
    free(update->user);
    free(update->op_id);
    free(update->start_message);
    free(update->old_hash);
    free(update->unchanged);
    free(update->only);
    free(update->failed_reason);
    json_decref(update->metadata);
    free(update);
}

/* ---- Configurations and instances ---- */

int update_find_config(const struct update *update, const char *hash)
{
    for (size_t i = 0; i < update->n_configs; i++) {
        if (strcmp(update->configs[i], hash) == 0) {
            return (int)i;
        }
    }
    return UPDATE_NO_CONFIG;
}

int update_add_config(struct update *update, const char *hash)
{
    int index = update_find_config(update, hash);

    if (index == UPDATE_NO_CONFIG) {
        update->configs =
            mem_realloc(update->configs, (update->n_configs + 1) * sizeof(update->configs[0]));
        index = (int)update->n_configs++;
        update->configs[index] = mem_strdup(hash);
    }
    return index;
}

void update_add_instance(struct update *update, int id, int from, int to)
{
    if ((update->n_instances & (update->n_instances - 1)) == 0) {
        size_t cap = update->n_instances == 0 ? 1 : 2 * update->n_instances;

        update->instances = mem_realloc(update->instances, cap * sizeof(update->instances[0]));
    }
    update->instances[update->n_instances++] =
        (struct update_instance){ .id = id, .from = from, .to = to };
}

void update_seal(struct update *update)
{
    CLEANUP(mem_freep)
    unsigned *batches = mem_alloc((update->n_instances + 1) * sizeof(*batches));
    int max = 0;

    update_settings_groups(&update->settings, batches, update->n_instances);
    for (size_t i = 0; i < update->n_instances; i++) {
        update->instances[i].group = batches[i];
        max = update->instances[i].id > max ? update->instances[i].id : max;
    }
    free(update->by_id);
    update->n_by_id = (size_t)max + 1;
    update->by_id = mem_alloc(update->n_by_id * sizeof(update->by_id[0]));
    for (size_t i = 0; i < update->n_instances; i++) {
        update->by_id[update->instances[i].id] = (int)i + 1;
    }
}

struct update_instance *update_find_instance(const struct update *update, int id)
{
    if (id < 0 || (size_t)id >= update->n_by_id || update->by_id[id] == 0) {
        return NULL;
    }
    return &update->instances[update->by_id[id] - 1];
}

/* ---- Histories ---- */

/* Bytes as JSON. */
static size_t written_size(char c)
{
    if ((unsigned char)c < ' ') {
        return sizeof("\\u0001") - 1;
    }
    return c == '"' || c == '\\' ? 2 : 1;
}

/* As long as it may be written, and not within a character; the caller's. */
static char *cut(const char *text)
{
    size_t size = 0;
    int kept = 0; /* Bytes that leave room for the dots. */

    if (text == NULL) {
        return NULL;
    }
    for (int i = 0; text[i] != '\0' && size <= UPDATE_MAX_TEXT; i++) {
        if (((unsigned char)text[i] & 0xc0) != 0x80 && size <= UPDATE_MAX_TEXT - 3) {
            kept = i;
        }
        size += written_size(text[i]);
    }
    return size <= UPDATE_MAX_TEXT ? mem_strdup(text) : str_printf("%.*s...", kept, text);
}

void update_set_status(struct update *update, enum update_status status, uint64_t now_ms,
                       const char *message, const char *user)
{
    if (update->n_events == UPDATE_MAX_EVENTS) {
        /* How it began stays known. */
        event_fini(&update->events[1]);
        memmove(&update->events[1], &update->events[2],
                (update->n_events - 2) * sizeof(update->events[0]));
        update->n_events--;
    }
    update->events =
        mem_realloc(update->events, (update->n_events + 1) * sizeof(update->events[0]));
    update->events[update->n_events++] = (struct update_event){
        .status = status, .time_ms = now_ms, .message = cut(message), .user = cut(user)
    };
    update->status = status;
    update->modified_ms = now_ms;
    update->changed = true;
}

void update_add_instance_event(struct update *update, int id, enum update_action action,
                               uint64_t now_ms)
{
    struct update_instance_event event = { id, action, now_ms };

    update->modified_ms = now_ms;
    update->changed = true;
    if (update->n_instance_events == UPDATE_MAX_INSTANCE_EVENTS) {
        update->instance_events[update->first_instance_event] = event;
        update->first_instance_event =
            (update->first_instance_event + 1) % UPDATE_MAX_INSTANCE_EVENTS;
        update->dropped_instance_events++;
        return;
    }
    if ((update->n_instance_events & (update->n_instance_events - 1)) == 0) {
        size_t cap = update->n_instance_events == 0 ? 1 : 2 * update->n_instance_events;

        update->instance_events =
            mem_realloc(update->instance_events, cap * sizeof(update->instance_events[0]));
    }
    update->instance_events[update->n_instance_events++] = event;
}

void update_set_failure(struct update *update, int id, const char *reason, uint64_t now_ms)
{
    free(update->failed_reason);
    update->failed_reason = cut(reason);
    update->failed_instance = id;
    update->failed_ms = now_ms;
    update->changed = true;
}
