/* SPDX-License-Identifier: Apache-2.0 */
/* update_settings: what an UpdateConfig means, and which ones are refused.
 *
 * Pure.  Three ways to say a strategy lead to one: `update_strategy`, `wait_for_batch_completion`
 * with `batch_size`, and `batch_size` alone.  Which struct an `update_strategy` was is told by
 * its members: `batch_sizes` is a VariableBatch, `autopause_after_batch` a Batch, else a Queue.
 */
#include "master/updater/update_settings.h"

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "model/job.h"

#include <stdlib.h>

static const char *const names[UPDATE_N_STRATEGIES] = {
    [UPDATE_QUEUE] = "queue",
    [UPDATE_BATCH] = "batch",
    [UPDATE_VARIABLE] = "variable",
};

enum { MAX_SECS = 1000000, MS = 1000 };

void update_settings_fini(struct update_settings *settings)
{
    free(settings->sizes);
    settings->sizes = NULL;
    settings->n_sizes = 0;
}

static void add_size(struct update_settings *settings, int size)
{
    settings->sizes =
        mem_realloc(settings->sizes, (settings->n_sizes + 1) * sizeof(settings->sizes[0]));
    settings->sizes[settings->n_sizes++] = size;
}

/* Templated fields come as 1.0, or as text. */
static int read_int(const json_t *doc, const char *name, int64_t fallback, int64_t min, int64_t max,
                    int64_t *ret_value, struct err *err)
{
    const json_t *value = json_object_get(doc, name);
    double number = (double)fallback;

    if (value != NULL && !json_is_null(value)) {
        if (!json_is_number(value)) {
            return err_set(err, ERR_CONFIG, "%s in update_config is not a number", name);
        }
        number = json_number_value(value);
    }
    if (!(number >= (double)min && number <= (double)max)) {
        return err_set(err, ERR_CONFIG,
                       "Invalid value (%g) specified for %s. Value must be from %lld to %lld.",
                       number, name, (long long)min, (long long)max);
    }
    *ret_value = (int64_t)number;
    return 0;
}

/* Out of range it stays as it is: the checks have their own words. */
static int read_size(const json_t *value, struct update_settings *settings, struct err *err)
{
    double number = json_number_value(value);

    if (!json_is_number(value) || !(number >= 1)) {
        return err_set(err, ERR_CONFIG, "Batch size should be greater than 0");
    }
    if (settings->n_sizes >= UPDATE_MAX_SIZES) {
        return err_set(err, ERR_CONFIG, "More than %d batch sizes", UPDATE_MAX_SIZES);
    }
    add_size(settings, number > JOB_MAX_INSTANCES ? JOB_MAX_INSTANCES : (int)number);
    return 0;
}

static int read_sizes(const json_t *sizes, struct update_settings *settings, struct err *err)
{
    json_t *size;
    size_t i;

    json_array_foreach(sizes, i, size)
    {
        if (read_size(size, settings, err) < 0) {
            return err->code;
        }
    }
    if (settings->n_sizes == 0) {
        return err_set(err, ERR_CONFIG, "Batch size should be greater than 0");
    }
    return 0;
}

static bool is_set(const json_t *doc, const char *name)
{
    const json_t *value = json_object_get(doc, name);

    return value != NULL && !json_is_null(value);
}

static int read_strategy(const json_t *config, struct update_settings *settings, struct err *err)
{
    const json_t *strategy = json_object_get(config, "update_strategy");
    CLEANUP(json_freep) json_t *one = json_integer(1);
    bool wait = json_bool_or(config, "wait_for_batch_completion", false);

    if (!json_is_object(strategy)) {
        settings->strategy = wait ? UPDATE_BATCH : UPDATE_QUEUE;
        if (is_set(config, "batch_size")) {
            return read_size(json_object_get(config, "batch_size"), settings, err);
        }
        add_size(settings, 1);
        return 0;
    }
    if (json_num_or(config, "batch_size", 1) != 1) {
        return err_set(err, ERR_CONFIG,
                       "Ambiguous update configuration. Cannot combine update strategy with batch "
                       "size. Please set batch size inside of update strategy instead.");
    }
    if (wait) {
        return err_set(err, ERR_CONFIG,
                       "Ambiguous update configuration. Cannot combine wait_for_batch_completion "
                       "with an explicit update strategy.");
    }
    settings->autopause = json_bool_or(strategy, "autopause_after_batch", false);
    if (is_set(strategy, "batch_sizes")) {
        settings->strategy = UPDATE_VARIABLE;
        return read_sizes(json_object_get(strategy, "batch_sizes"), settings, err);
    }
    settings->strategy = is_set(strategy, "autopause_after_batch") ? UPDATE_BATCH : UPDATE_QUEUE;
    return read_size(is_set(strategy, "batch_size") ? json_object_get(strategy, "batch_size") : one,
                     settings, err);
}

static int read_pulse(const json_t *config, struct update_settings *settings, struct err *err)
{
    int64_t secs;

    if (!is_set(config, "pulse_interval_secs")) {
        return 0;
    }
    if (read_int(config, "pulse_interval_secs", 0, -MAX_SECS, MAX_SECS, &secs, err) < 0) {
        return err->code;
    }
    if (secs < UPDATE_MIN_PULSE_SECS) {
        return err_set(err, ERR_CONFIG, "Pulse interval seconds must be at least 60 seconds.");
    }
    settings->pulse_ms = (uint64_t)secs * MS;
    return 0;
}

static int read_watch(const json_t *config, struct update_settings *settings, struct err *err)
{
    int64_t secs;

    if (json_num_or(config, "watch_secs", 0) < 0) {
        return err_set(err, ERR_CONFIG,
                       "Invalid value (%g) specified for watch_secs. Value cannot be less than 0.",
                       json_num_or(config, "watch_secs", 0));
    }
    if (read_int(config, "watch_secs", 45, 0, MAX_SECS, &secs, err) < 0) {
        return err->code;
    }
    settings->watch_ms = (uint64_t)secs * MS;
    return 0;
}

static int read_all(const struct job *job, struct update_settings *settings, struct err *err)
{
    const json_t *config = json_object_get(job->doc, "update_config");
    int64_t per_instance, total;

    if (read_strategy(config, settings, err) < 0 || read_watch(config, settings, err) < 0 ||
        read_pulse(config, settings, err) < 0 ||
        read_int(config, "max_per_shard_failures", 0, 0, INT32_MAX, &per_instance, err) < 0 ||
        read_int(config, "max_total_failures", 0, 0, INT32_MAX, &total, err) < 0) {
        return err->code;
    }
    if (per_instance * job->instances > UPDATE_MAX_FAILURES) {
        return err_set(err, ERR_CONFIG,
                       "Your update allows too many failures to occur, consider decreasing the "
                       "per-instance failures: %lld for each of %d instances are more than %d",
                       (long long)per_instance, job->instances, UPDATE_MAX_FAILURES);
    }
    settings->per_instance = (int)per_instance;
    settings->total = (int)total;
    settings->rollback = json_bool_or(config, "rollback_on_failure", true);
    settings->sla_aware = json_bool_or(config, "sla_aware", false);
    if (settings->sla_aware && !is_set(job->doc, "sla_policy")) {
        return err_set(err, ERR_CONFIG, "slaAware is true, but no task slaPolicy is specified.");
    }
    return 0;
}

int update_settings_read(const struct job *job, struct update_settings *settings, struct err *err)
{
    if (read_all(job, settings, err) < 0) {
        update_settings_fini(settings);
        return err->code;
    }
    return 0;
}

json_t *update_settings_encode(const struct update_settings *settings)
{
    json_t *doc = json_object();
    json_t *sizes = json_array();

    for (size_t i = 0; i < settings->n_sizes; i++) {
        json_array_append_new(sizes, json_integer(settings->sizes[i]));
    }
    json_put_str(doc, "strategy", names[settings->strategy]);
    json_put_take(doc, "batch_sizes", sizes);
    json_put_bool(doc, "autopause_after_batch", settings->autopause);
    json_put_int(doc, "watch_secs", (int64_t)(settings->watch_ms / MS));
    json_put_int(doc, "max_per_shard_failures", settings->per_instance);
    json_put_int(doc, "max_total_failures", settings->total);
    json_put_bool(doc, "rollback_on_failure", settings->rollback);
    json_put_int(doc, "pulse_interval_secs", (int64_t)(settings->pulse_ms / MS));
    json_put_bool(doc, "sla_aware", settings->sla_aware);
    return doc;
}

void update_settings_decode(const json_t *doc, struct update_settings *settings)
{
    const char *name = json_str_or(doc, "strategy", "queue");
    json_t *size;
    size_t i;

    settings->strategy = UPDATE_QUEUE;
    for (unsigned nr = 0; nr < UPDATE_N_STRATEGIES; nr++) {
        if (str_eq(names[nr], name)) {
            settings->strategy = (enum update_strategy)nr;
        }
    }
    json_array_foreach(json_object_get(doc, "batch_sizes"), i, size)
    {
        add_size(settings, json_integer_value(size) > 0 ? (int)json_integer_value(size) : 1);
    }
    if (settings->n_sizes == 0) {
        add_size(settings, 1);
    }
    settings->autopause = json_bool_or(doc, "autopause_after_batch", false);
    settings->watch_ms = (uint64_t)json_int_or(doc, "watch_secs", 45) * MS;
    settings->per_instance = (int)json_int_or(doc, "max_per_shard_failures", 0);
    settings->total = (int)json_int_or(doc, "max_total_failures", 0);
    settings->rollback = json_bool_or(doc, "rollback_on_failure", true);
    settings->pulse_ms = (uint64_t)json_int_or(doc, "pulse_interval_secs", 0) * MS;
    settings->sla_aware = json_bool_or(doc, "sla_aware", false);
}

void update_settings_groups(const struct update_settings *settings, unsigned *groups, size_t n)
{
    unsigned group = 0;
    int left = settings->sizes[0];

    for (size_t i = 0; i < n; i++) {
        if (left == 0) {
            group++;
            left = settings->sizes[group < settings->n_sizes ? group : settings->n_sizes - 1];
        }
        groups[i] = group;
        left--;
    }
}
