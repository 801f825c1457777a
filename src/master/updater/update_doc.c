/* SPDX-License-Identifier: Apache-2.0 */
/* update_doc: an update as JSON: the store's document and the API's view.
 *
 * The document keeps instances as ranges ("0-3,5"), so that thousands of them stay
 * small; the view spells out what people and scripts look for.
 * Failures: a document that no update can be is refused as a whole.
 */
#include "master/updater/update.h"

#include "base/json.h"
#include "base/str.h"
#include "master/updater/ranges.h"
#include "model/job.h"

#include <stdlib.h>
#include <string.h>

/* Which of the instances a list has. */
typedef bool (*pick_fn)(const struct update *update, const struct update_instance *instance,
                        int arg);

static bool pick_from(const struct update *update, const struct update_instance *instance, int arg)
{
    (void)update;
    return instance->from == arg;
}

static bool pick_added(const struct update *update, const struct update_instance *instance, int arg)
{
    (void)update;
    (void)arg;
    return instance->from == UPDATE_NO_CONFIG;
}

static bool pick_changed(const struct update *update, const struct update_instance *instance,
                         int arg)
{
    (void)update;
    (void)arg;
    return instance->from != UPDATE_NO_CONFIG && instance->to != UPDATE_NO_CONFIG;
}

static bool pick_removed(const struct update *update, const struct update_instance *instance,
                         int arg)
{
    (void)update;
    (void)arg;
    return instance->to == UPDATE_NO_CONFIG;
}

static bool pick_phase(const struct update *update, const struct update_instance *instance, int arg)
{
    (void)update;
    return instance->phase == (enum update_phase)arg;
}

static bool pick_touched(const struct update *update, const struct update_instance *instance,
                         int arg)
{
    (void)arg;
    return update->back && instance->touched;
}

/* ---- The store's document: writing ---- */

static void put_ranges(json_t *doc, const char *name, const struct update *update, pick_fn pick,
                       int arg)
{
    CLEANUP_RANGES ranges = RANGES_EMPTY;
    const char *text;

    for (size_t i = 0; i < update->n_instances; i++) {
        if (pick(update, &update->instances[i], arg)) {
            ranges_add(&ranges, update->instances[i].id);
        }
    }
    text = ranges_text(&ranges);
    if (text[0] != '\0') {
        json_put_str(doc, name, text);
    }
}

static json_t *encode_from(const struct update *update)
{
    json_t *from = json_object();

    for (size_t i = 0; i < update->n_configs; i++) {
        put_ranges(from, update->configs[i], update, pick_from, (int)i);
    }
    return from;
}

static json_t *encode_runs(const struct update *update)
{
    json_t *runs = json_object();

    for (size_t i = 0; i < update->n_instances; i++) {
        const struct update_instance *instance = &update->instances[i];
        char id[16];

        if (instance->failures > 0) {
            json_t *run = json_array();

            (void)snprintf(id, sizeof(id), "%d", instance->id);
            json_array_append_new(run, json_integer(instance->failures));
            json_array_append_new(run,
                                  json_str_repaired(instance->counted, strlen(instance->counted)));
            json_put_take(runs, id, run);
        }
    }
    return runs;
}

static json_t *encode_events(const struct update *update)
{
    json_t *events = json_array();

    for (size_t i = 0; i < update->n_events; i++) {
        const struct update_event *event = &update->events[i];
        json_t *entry = json_object();

        json_put_str(entry, "status", update_status_name(event->status));
        json_put_int(entry, "time_ms", (int64_t)event->time_ms);
        json_put_str(entry, "message", event->message);
        json_put_str(entry, "user", event->user);
        json_array_append_new(events, entry);
    }
    return events;
}

static const struct update_instance_event *nth_event(const struct update *update, size_t n)
{
    return &update->instance_events[(update->first_instance_event + n) % update->n_instance_events];
}

static json_t *encode_instance_events(const struct update *update)
{
    json_t *events = json_array();

    for (size_t i = 0; i < update->n_instance_events; i++) {
        const struct update_instance_event *event = nth_event(update, i);
        json_t *entry = json_array();

        json_array_append_new(entry, json_integer(event->instance));
        json_array_append_new(entry,
                              json_integer((json_int_t)(event->time_ms - update->created_ms)));
        json_array_append_new(entry, json_integer(event->action));
        json_array_append_new(events, entry);
    }
    return events;
}

static json_t *encode_failure(const struct update *update)
{
    json_t *failure;

    if (update->failed_instance < 0) {
        return json_null();
    }
    failure = json_object();
    json_put_int(failure, "instance", update->failed_instance);
    json_put_str(failure, "reason", update->failed_reason);
    json_put_int(failure, "time_ms", (int64_t)update->failed_ms);
    return failure;
}

json_t *update_encode(const struct update *update)
{
    json_t *doc = json_object();

    json_put_int(doc, "v", UPDATE_DOC_VERSION);
    json_put_str(doc, "id", update->id);
    json_put_str(doc, "job", update->job);
    json_put_str(doc, "user", update->user);
    json_put_str(doc, "op_id", update->op_id);
    json_put_str(doc, "start_message", update->start_message);
    json_put_str(doc, "status", update_status_name(update->status));
    json_put_bool(doc, "back", update->back);
    json_put_int(doc, "created_ms", (int64_t)update->created_ms);
    json_put_int(doc, "modified_ms", (int64_t)update->modified_ms);
    json_put_int(doc, "pulsed_ms", (int64_t)update->pulsed_ms);
    json_put_take(doc, "settings", update_settings_encode(&update->settings));
    json_put_str(doc, "old", update->old_hash);
    json_put_str(doc, "new", update->configs[update->target]);
    json_put_take(doc, "from", encode_from(update));
    put_ranges(doc, "add", update, pick_added, 0);
    put_ranges(doc, "change", update, pick_changed, 0);
    put_ranges(doc, "remove", update, pick_removed, 0);
    json_put_str(doc, "unchanged", update->unchanged);
    json_put_str(doc, "only", update->only);
    put_ranges(doc, "working", update, pick_phase, UPDATE_WORKING);
    put_ranges(doc, "done", update, pick_phase, UPDATE_DONE);
    put_ranges(doc, "failed", update, pick_phase, UPDATE_INSTANCE_FAILED);
    put_ranges(doc, "touched", update, pick_touched, 0);
    json_put_take(doc, "runs", encode_runs(update));
    json_put_int(doc, "released", update->released);
    json_put_int(doc, "auto_paused", update->auto_paused);
    json_put_take(doc, "failure", encode_failure(update));
    json_put_take(doc, "events", encode_events(update));
    json_put_take(doc, "instance_events", encode_instance_events(update));
    json_put_int(doc, "instance_events_dropped", (int64_t)update->dropped_instance_events);
    json_put_take(doc, "metadata", json_incref(update->metadata));
    return doc;
}

/* ---- The store's document: reading ---- */

/* One pass over a list of instances. */
struct reader {
    struct update *update;
    int *from; /* Of each id, by index in configs; UPDATE_NO_CONFIG. */
    int value;
    void (*each)(struct reader *reader, int id);
};

static void on_number(int id, void *data)
{
    struct reader *reader = data;

    reader->each(reader, id);
}

static int read_list(struct reader *reader, const json_t *doc, const char *name, int value,
                     void (*each)(struct reader *, int), struct err *err)
{
    reader->value = value;
    reader->each = each;
    if (ranges_each(json_str_or(doc, name, ""), JOB_MAX_INSTANCES * 4, on_number, reader, err) <
        0) {
        return err_wrap(err, "%s", name);
    }
    return 0;
}

static void each_from(struct reader *reader, int id)
{
    reader->from[id] = reader->value;
}

static void each_instance(struct reader *reader, int id)
{
    /* A list that names one twice is not ours: the first counts. */
    if (reader->update->n_instances < (size_t)JOB_MAX_INSTANCES * 4) {
        update_add_instance(reader->update, id, reader->from[id], reader->value);
    }
}

static void each_phase(struct reader *reader, int id)
{
    struct update_instance *instance = update_find_instance(reader->update, id);

    if (instance != NULL) {
        instance->phase = (enum update_phase)reader->value;
    }
}

static void each_touched(struct reader *reader, int id)
{
    struct update_instance *instance = update_find_instance(reader->update, id);

    if (instance != NULL) {
        instance->touched = true;
    }
}

static int read_instances(struct update *update, const json_t *doc, struct err *err)
{
    enum { N = JOB_MAX_INSTANCES * 4 + 1 };
    CLEANUP(mem_freep) int *from = mem_alloc(N * sizeof(*from));
    struct reader reader = { .update = update, .from = from };
    const json_t *configs = json_object_get(doc, "from");
    const char *hash;
    json_t *ids;

    for (int i = 0; i < N; i++) {
        from[i] = UPDATE_NO_CONFIG;
    }
    json_object_foreach((json_t *)configs, hash, ids)
    {
        if (read_list(&reader, configs, hash, update_add_config(update, hash), each_from, err) <
            0) {
            return err->code;
        }
    }
    if (read_list(&reader, doc, "add", update->target, each_instance, err) < 0 ||
        read_list(&reader, doc, "change", update->target, each_instance, err) < 0 ||
        read_list(&reader, doc, "remove", UPDATE_NO_CONFIG, each_instance, err) < 0) {
        return err->code;
    }
    update_seal(update);
    if (read_list(&reader, doc, "working", UPDATE_WORKING, each_phase, err) < 0 ||
        read_list(&reader, doc, "done", UPDATE_DONE, each_phase, err) < 0 ||
        read_list(&reader, doc, "failed", UPDATE_INSTANCE_FAILED, each_phase, err) < 0 ||
        read_list(&reader, doc, "touched", 0, each_touched, err) < 0) {
        return err->code;
    }
    return 0;
}

static void read_runs(struct update *update, const json_t *runs)
{
    const char *id;
    json_t *run;

    json_object_foreach((json_t *)runs, id, run)
    {
        struct update_instance *instance = update_find_instance(update, atoi(id)); /* NOLINT */
        const char *counted = json_string_value(json_array_get(run, 1));

        if (instance != NULL) {
            instance->failures = (int)json_integer_value(json_array_get(run, 0));
            (void)snprintf(instance->counted, sizeof(instance->counted), "%s",
                           counted != NULL ? counted : "");
        }
    }
}

static void read_histories(struct update *update, const json_t *doc)
{
    json_t *entry;
    size_t i;

    json_array_foreach(json_object_get(doc, "events"), i, entry)
    {
        enum update_status status;

        if (update_status_parse(json_str_or(entry, "status", ""), &status)) {
            update_set_status(update, status, (uint64_t)json_int_or(entry, "time_ms", 0),
                              json_str_or(entry, "message", NULL),
                              json_str_or(entry, "user", NULL));
        }
    }
    json_array_foreach(json_object_get(doc, "instance_events"), i, entry)
    {
        json_int_t action = json_integer_value(json_array_get(entry, 2));

        if (action >= 0 && action < UPDATE_N_ACTIONS) {
            update_add_instance_event(update, (int)json_integer_value(json_array_get(entry, 0)),
                                      (enum update_action)action,
                                      update->created_ms +
                                          (uint64_t)json_integer_value(json_array_get(entry, 1)));
        }
    }
    update->dropped_instance_events = (uint64_t)json_int_or(doc, "instance_events_dropped", 0);
}

static void read_rest(struct update *update, const json_t *doc)
{
    const json_t *failure = json_object_get(doc, "failure");

    update->user = mem_strdup_opt(json_str_or(doc, "user", NULL));
    update->op_id = mem_strdup_opt(json_str_or(doc, "op_id", NULL));
    update->start_message = mem_strdup_opt(json_str_or(doc, "start_message", NULL));
    update->old_hash = mem_strdup_opt(json_str_or(doc, "old", NULL));
    update->unchanged = mem_strdup_opt(json_str_or(doc, "unchanged", NULL));
    update->only = mem_strdup_opt(json_str_or(doc, "only", NULL));
    update->scoped = update->only != NULL;
    update->back = json_bool_or(doc, "back", false);
    update->pulsed_ms = (uint64_t)json_int_or(doc, "pulsed_ms", 0);
    update->released = (unsigned)json_int_or(doc, "released", 0);
    update->auto_paused = (unsigned)json_int_or(doc, "auto_paused", 0);
    if (json_is_object(failure)) {
        update_set_failure(update, (int)json_int_or(failure, "instance", 0),
                           json_str_or(failure, "reason", ""),
                           (uint64_t)json_int_or(failure, "time_ms", 0));
    }
    if (json_is_array(json_object_get(doc, "metadata"))) {
        json_decref(update->metadata);
        update->metadata = json_incref(json_object_get(doc, "metadata"));
    }
}

int update_decode(const json_t *doc, struct update **ret_update, struct err *err)
{
    CLEANUP(update_freep) struct update *update = NULL;
    const char *id, *job, *status, *target;
    int64_t version;

    if (json_need_int(doc, "v", 1, INT64_MAX, &version, err) < 0) {
        return err->code;
    }
    if (version > UPDATE_DOC_VERSION) {
        return err_set(err, ERR_UNSUPPORTED, "an update has version %lld, not up to %d",
                       (long long)version, UPDATE_DOC_VERSION);
    }
    if (json_need_str(doc, "id", &id, err) < 0 || json_need_str(doc, "job", &job, err) < 0 ||
        json_need_str(doc, "status", &status, err) < 0 ||
        json_need_str(doc, "new", &target, err) < 0) {
        return err->code;
    }
    update = update_new(id, job, (uint64_t)json_int_or(doc, "created_ms", 0));
    update_settings_decode(json_object_get(doc, "settings"), &update->settings);
    update->target = update_add_config(update, target);
    if (read_instances(update, doc, err) < 0) {
        return err->code;
    }
    read_runs(update, json_object_get(doc, "runs"));
    read_histories(update, doc);
    read_rest(update, doc);
    if (!update_status_parse(status, &update->status)) {
        return err_set(err, ERR_INVALID, "update %s has the status %.40s", id, status);
    }
    update->modified_ms = (uint64_t)json_int_or(doc, "modified_ms", 0);
    update->changed = false;
    *ret_update = TAKE(update);
    return 0;
}

/* ---- The API's view ---- */

static json_t *numbers(const struct update *update, pick_fn pick, int arg)
{
    json_t *list = json_array();

    for (size_t i = 0; i < update->n_instances; i++) {
        if (pick(update, &update->instances[i], arg)) {
            json_array_append_new(list, json_integer(update->instances[i].id));
        }
    }
    return list;
}

static void append_number(int number, void *data)
{
    json_array_append_new(data, json_integer(number));
}

static json_t *numbers_of(const char *ranges)
{
    json_t *list = json_array();
    struct err err;

    (void)ranges_each(ranges != NULL ? ranges : "", JOB_MAX_INSTANCES * 4, append_number, list,
                      &err);
    return list;
}

static json_t *view_progress(const struct update *update)
{
    static const char *const names[UPDATE_N_PHASES] = { "waiting", "working", "done", "failed" };
    size_t counts[UPDATE_N_PHASES] = { 0 };
    json_t *view = json_object();

    for (size_t i = 0; i < update->n_instances; i++) {
        counts[update->instances[i].phase]++;
    }
    for (size_t i = 0; i < UPDATE_N_PHASES; i++) {
        json_put_int(view, names[i], (int64_t)counts[i]);
    }
    return view;
}

static json_t *view_instance_events(const struct update *update)
{
    json_t *events = json_array();

    for (size_t i = 0; i < update->n_instance_events; i++) {
        const struct update_instance_event *event = nth_event(update, i);
        json_t *entry = json_object();

        json_put_int(entry, "instance", event->instance);
        json_put_int(entry, "time_ms", (int64_t)event->time_ms);
        json_put_str(entry, "action", update_action_name(event->action));
        json_array_append_new(events, entry);
    }
    return events;
}

static void put_opt(json_t *view, const char *name, const char *value)
{
    if (value != NULL) {
        json_put_str(view, name, value);
    } else {
        json_put_take(view, name, json_null());
    }
}

static void view_whole(const struct update *update, json_t *view)
{
    json_t *settings = update_settings_encode(&update->settings);
    json_t *instances = json_object();

    json_put_take(settings, "only_instances",
                  update->only != NULL ? numbers_of(update->only) : json_null());
    json_put_take(instances, "add", numbers(update, pick_added, 0));
    json_put_take(instances, "update", numbers(update, pick_changed, 0));
    json_put_take(instances, "remove", numbers(update, pick_removed, 0));
    json_put_take(instances, "unchanged", numbers_of(update->unchanged));
    json_put_take(view, "settings", settings);
    json_put_take(view, "instances", instances);
    json_put_take(view, "instance_events", view_instance_events(update));
    json_put_int(view, "instance_events_dropped", (int64_t)update->dropped_instance_events);
    json_put_take(view, "metadata", json_incref(update->metadata));
}

json_t *update_view(const struct update *update, bool brief)
{
    const struct update_event *last =
        update->n_events > 0 ? &update->events[update->n_events - 1] : NULL;
    json_t *view = json_object();

    json_put_str(view, "id", update->id);
    json_put_str(view, "job", update->job);
    json_put_str(view, "user", update->user);
    json_put_str(view, "status", update_status_name(update->status));
    json_put_bool(view, "active", update_status_is_active(update->status));
    put_opt(view, "message", last != NULL ? last->message : NULL);
    put_opt(view, "start_message", update->start_message);
    json_put_int(view, "created_ms", (int64_t)update->created_ms);
    json_put_int(view, "modified_ms", (int64_t)update->modified_ms);
    json_put_int(view, "pulse_ms", (int64_t)update->pulsed_ms);
    put_opt(view, "op_id", update->op_id);
    put_opt(view, "old_config", update->old_hash);
    json_put_str(view, "new_config", update->configs[update->target]);
    json_put_take(view, "progress", view_progress(update));
    json_put_take(view, "failed_instances", numbers(update, pick_phase, UPDATE_INSTANCE_FAILED));
    json_put_take(view, "latest_failure", encode_failure(update));
    json_put_take(view, "events", encode_events(update));
    if (!brief) {
        view_whole(update, view);
    }
    return view;
}
