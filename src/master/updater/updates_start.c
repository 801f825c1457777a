/* SPDX-License-Identifier: Apache-2.0 */
/* updates_start: how an update comes to be.
 *
 * From a job's new configuration and the tasks that run to an update that knows what each
 * instance has and is to have.  What happens then is updates.c's.
 */
#include "master/updater/updates_priv.h"

#include "base/clock.h"
#include "base/fault.h"
#include "base/id.h"
#include "base/json.h"
#include "base/log.h"
#include "base/str.h"
#include "master/updater/ranges.h"

#include <string.h>
#include <utlist.h>

enum { MAX_CONFIGS_BYTES = 400 * 1024 };

/* ---- Asked before ---- */

static const char *client_id(const json_t *metadata)
{
    json_t *item;
    size_t i;

    json_array_foreach((json_t *)metadata, i, item)
    {
        if (str_eq(json_str_or(item, "key", NULL), UPDATES_CLIENT_ID)) {
            return json_str_or(item, "value", NULL);
        }
    }
    return NULL;
}

static bool began(const struct update *update, const struct updates_request *request)
{
    return request->op_id != NULL && str_eq(update->op_id, request->op_id) &&
           strcmp(update->configs[update->target], request->config->hash) == 0;
}

/* The update that this very request began, should its answer have been lost. */
static const struct update *find_same(const struct updates *updates,
                                      const struct updates_request *request)
{
    const char *wanted = client_id(request->metadata);
    const struct updates_entry *entry;

    DL_FOREACH(updates->newest, entry)
    {
        const struct update *update = entry->update;

        if (strcmp(update->job, request->config->key_text) == 0 &&
            (began(update, request) ||
             (wanted != NULL && str_eq(client_id(update->metadata), wanted)))) {
            return update;
        }
    }
    return NULL;
}

/* ---- Checks ---- */

static int check_metadata(const json_t *metadata, struct err *err)
{
    CLEANUP(mem_freep) char *text = NULL;
    json_t *item;
    size_t i;

    if (metadata == NULL || json_is_null(metadata)) {
        return 0;
    }
    if (!json_is_array(metadata)) {
        return err_set(err, ERR_INVALID, "metadata must be an array of {key, value}");
    }
    json_array_foreach((json_t *)metadata, i, item)
    {
        if (json_str_or(item, "key", NULL) == NULL || json_str_or(item, "value", NULL) == NULL) {
            return err_set(err, ERR_INVALID, "metadata must be an array of {key, value}");
        }
    }
    text = json_text(metadata);
    if (strlen(text) > UPDATE_MAX_METADATA) {
        return err_set(err, ERR_TOOBIG, "the metadata of an update is larger than %d bytes",
                       UPDATE_MAX_METADATA);
    }
    return 0;
}

/* The job's document has to hold all configurations until the update is over. */
static int check_size(const struct state_job *job, const struct job *config, struct err *err)
{
    const struct state_config *other;
    size_t bytes = json_dumpb(config->doc, NULL, 0, JSON_COMPACT);

    for (other = job->configs; other != NULL; other = other->hh.next) {
        bytes += strcmp(other->job->hash, config->hash) != 0 ? other->bytes : 0;
    }
    if (bytes > MAX_CONFIGS_BYTES) {
        return err_set(err, ERR_TOOBIG,
                       "The job's instances have too many large configurations: with the new one "
                       "they have %zu bytes, more than %d. Update all instances to one of them "
                       "first.",
                       bytes, MAX_CONFIGS_BYTES);
    }
    return 0;
}

static int check_job(const struct updates *updates, const struct job *config, struct err *err)
{
    const struct state_job *job = state_job_find(updates->state, config->key_text);
    const struct update *active;

    if (strcmp(config->key.cluster, state_cluster(updates->state)) != 0) {
        return err_set(err, ERR_CONFIG, "this is cluster %s, not %s", state_cluster(updates->state),
                       config->key.cluster);
    }
    if (!config->service) {
        return err_set(err, ERR_CONFIG, "Updates are not supported for non-service tasks.");
    }
    if (job == NULL) {
        return 0;
    }
    if (job->current != NULL && job->current->job->cron_schedule != NULL) {
        return err_set(err, ERR_CONFIG,
                       "Cron jobs may only be created/updated by calling scheduleCronJob.");
    }
    if (job->creating) {
        return err_set(err, ERR_CONFLICT, "Job %s is still being created", config->key_text);
    }
    active = updates_find(updates, job->update_id);
    if (active != NULL) {
        return err_set(err, ERR_CONFLICT,
                       "An active update already exists for this job, please terminate it before "
                       "starting another. Active updates are those in states %s: %s is %s",
                       "ROLLING_FORWARD, ROLLING_BACK, ROLL_FORWARD_PAUSED, ROLL_BACK_PAUSED, "
                       "ROLL_FORWARD_AWAITING_PULSE, ROLL_BACK_AWAITING_PULSE",
                       active->id, update_status_name(active->status));
    }
    return check_size(job, config, err);
}

int updates_diff(const struct updates *updates, const struct job *config,
                 const struct diff_scope *only, struct diff *diff, struct err *err)
{
    const struct state_job *job = state_job_find(updates->state, config->key_text);
    CLEANUP(mem_freep) const char **present = NULL;
    size_t n = 0;

    if (job != NULL) {
        present = updates_present(job, &n);
    }
    return diff_make(present, n, (size_t)config->instances, config->hash, only, diff, err);
}

int updates_check(const struct updates *updates, const struct updates_request *request,
                  struct err *err)
{
    struct update_settings settings = { 0 };
    struct diff diff = { 0 };
    int code;

    if (find_same(updates, request) != NULL) {
        return 0;
    }
    if (check_metadata(request->metadata, err) < 0 ||
        check_job(updates, request->config, err) < 0 ||
        update_settings_read(request->config, &settings, err) < 0) {
        return err->code;
    }
    update_settings_fini(&settings);
    code = updates_diff(updates, request->config, request->only, &diff, err);
    diff_fini(&diff);
    return code;
}

/* ---- Making one ---- */

static void add_kind(struct update *update, const struct diff *diff, enum diff_kind kind)
{
    for (size_t i = 0; i < diff->n; i++) {
        const struct diff_instance *instance = &diff->instances[i];
        int from = instance->config != NULL ? update_add_config(update, instance->config)
                                            : UPDATE_NO_CONFIG;

        if (instance->kind == kind) {
            update_add_instance(update, instance->id, from,
                                kind == DIFF_REMOVE ? UPDATE_NO_CONFIG : update->target);
        }
    }
}

static char *ranges_of_kind(const struct diff *diff, enum diff_kind kind)
{
    CLEANUP_RANGES ranges = RANGES_EMPTY;

    for (size_t i = 0; i < diff->n; i++) {
        if (diff->instances[i].kind == kind) {
            ranges_add(&ranges, diff->instances[i].id);
        }
    }
    return mem_strdup(ranges_text(&ranges));
}

static char *ranges_of(const struct diff_scope *scope)
{
    CLEANUP_RANGES ranges = RANGES_EMPTY;

    for (size_t i = 0; i < scope->n; i++) {
        ranges_add(&ranges, scope->ids[i]);
    }
    return mem_strdup(ranges_text(&ranges));
}

static struct update *make(const struct updates *updates, const struct updates_request *request,
                           const struct diff *diff)
{
    const struct state_job *job = state_job_find(updates->state, request->config->key_text);
    char id[ID_UUID_SIZE];
    struct update *update;
    struct err err;

    /* The operation's own: so its hooks know the name before the update exists. */
    if (request->op_id != NULL && id_is_uuid(request->op_id) &&
        updates_find(updates, request->op_id) == NULL) {
        (void)snprintf(id, sizeof(id), "%s", request->op_id);
    } else {
        id_uuid(id);
    }
    update = update_new(id, request->config->key_text, clock_wall_ms());
    (void)update_settings_read(request->config, &update->settings, &err); /* Was checked. */
    update->user = mem_strdup_opt(request->user);
    update->op_id = mem_strdup_opt(request->op_id);
    update->start_message = mem_strdup_opt(request->message);
    update->target = update_add_config(update, request->config->hash);
    if (job != NULL && job->current != NULL && state_job_active(job) > 0) {
        update->old_hash = mem_strdup(job->current->job->hash);
    }
    if (json_is_array(request->metadata)) {
        json_decref(update->metadata);
        update->metadata = json_deep_copy(request->metadata);
    }
    add_kind(update, diff, DIFF_ADD);
    add_kind(update, diff, DIFF_UPDATE);
    add_kind(update, diff, DIFF_REMOVE);
    update->unchanged = ranges_of_kind(diff, DIFF_UNCHANGED);
    if (request->only != NULL) {
        update->scoped = true;
        update->only = ranges_of(request->only);
    }
    update_seal(update);
    updater_begin(update, update->created_ms);
    return update;
}

/* The job, made when there is none, with the new configuration. */
static struct state_job *prepare_job(struct updates *updates, const struct updates_request *request)
{
    struct state_job *job = state_job_add(updates->state, &request->config->key);
    struct job *config = NULL;
    struct state_config *entry;
    struct err err;

    if (job_decode_trusted(request->config->doc, &config, &err) < 0) {
        return job; /* It was decoded before. */
    }
    entry = state_config_add_take(job, config);
    if (job->current == NULL) {
        job->current = entry;
        job->user = mem_strdup_opt(request->user);
        job->op_id = mem_strdup_opt(request->op_id);
        job->created_ms = clock_wall_ms();
    }
    return job;
}

int updates_start(struct updates *updates, const struct updates_request *request,
                  const struct update **ret_update, struct err *err)
{
    const struct update *same = find_same(updates, request);
    struct diff diff = { 0 };
    struct updates_entry *entry;
    struct state_job *job;

    if (same != NULL) {
        *ret_update = same;
        return 0;
    }
    if (updates_check(updates, request, err) < 0 ||
        updates_diff(updates, request->config, request->only, &diff, err) < 0) {
        return err->code;
    }
    if (diff.n_changes == 0) {
        diff_fini(&diff);
        *ret_update = NULL;
        return 0;
    }
    entry = updates_entry_add_take(updates, make(updates, request, &diff));
    diff_fini(&diff);
    job = prepare_job(updates, request);
    job->update_id = mem_strdup(entry->update->id);
    updates_pin(entry, job);
    updates_put(entry);
    state_job_touch(updates->state, job);
    log_info("update begins: %s update=%s job=%s instances=%zu",
             update_status_name(entry->update->status), entry->update->id, entry->update->job,
             entry->update->n_instances);
    CRASH_POINT("master.update.start");
    *ret_update = entry->update;
    updates_look(entry);
    return 0;
}
