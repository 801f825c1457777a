/* SPDX-License-Identifier: Apache-2.0 */
/* diff: what is, beside what is wanted.
 *
 * Pure: which instances are there is the caller's to know, and so is what happens then.
 */
#include "master/updater/diff.h"

#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "master/updater/ranges.h"

#include <stdlib.h>

void diff_fini(struct diff *diff)
{
    free(diff->instances);
    *diff = (struct diff){ 0 };
}

static enum diff_kind kind_of(const char *now, bool is_wanted, const char *wanted)
{
    if (now == NULL) {
        return DIFF_ADD;
    }
    if (!is_wanted) {
        return DIFF_REMOVE;
    }
    return str_eq(now, wanted) ? DIFF_UNCHANGED : DIFF_UPDATE;
}

/* Ids of `only` that are nowhere. */
static int check_scope(const struct diff_scope *only, const char *const *now, size_t n_now,
                       size_t n_wanted, struct err *err)
{
    CLEANUP_RANGES irrelevant = RANGES_EMPTY;

    for (size_t i = 0; i < only->n; i++) {
        size_t id = (size_t)only->ids[i];

        if (id >= n_wanted && (id >= n_now || now[id] == NULL)) {
            ranges_add(&irrelevant, only->ids[i]);
        }
    }
    if (ranges_text(&irrelevant)[0] != '\0') {
        return err_set(err, ERR_INVALID,
                       "The update request attempted to update specific instances, but some are "
                       "irrelevant to the update and current job state: [%s]",
                       ranges_text(&irrelevant));
    }
    return 0;
}

int diff_make(const char *const *now, size_t n_now, size_t n_wanted, const char *wanted,
              const struct diff_scope *only, struct diff *diff, struct err *err)
{
    size_t n = n_now > n_wanted ? n_now : n_wanted;
    CLEANUP(mem_freep) bool *in_scope = mem_alloc(n + 1);

    if (only != NULL && check_scope(only, now, n_now, n_wanted, err) < 0) {
        return err->code;
    }
    for (size_t i = 0; only != NULL && i < only->n; i++) {
        in_scope[only->ids[i]] = true;
    }
    diff->instances = mem_alloc((n + 1) * sizeof(diff->instances[0]));
    for (size_t id = 0; id < n; id++) {
        const char *config = id < n_now ? now[id] : NULL;
        struct diff_instance *instance = &diff->instances[diff->n];

        if (config == NULL && id >= n_wanted) {
            continue;
        }
        instance->id = (int)id;
        instance->config = config;
        if (only == NULL || in_scope[id]) {
            instance->kind = kind_of(config, id < n_wanted, wanted);
        }
        diff->n++;
        diff->n_changes += instance->kind != DIFF_NONE && instance->kind != DIFF_UNCHANGED;
    }
    return 0;
}

/* ---- Fields ---- */

enum { MAX_FIELDS = 200 };

static void add_change(json_t *changes, const char *path, json_t *one, json_t *two)
{
    json_t *pair = json_array();

    if (json_object_size(changes) >= MAX_FIELDS) {
        json_decref(pair);
        return;
    }
    json_array_append_new(pair, one != NULL ? json_incref(one) : json_null());
    json_array_append_new(pair, two != NULL ? json_incref(two) : json_null());
    json_put_take(changes, path, pair);
}

static void compare(json_t *changes, const char *path, json_t *one, json_t *two);

static void compare_objects(json_t *changes, const char *path, json_t *one, json_t *two)
{
    const char *name;
    json_t *value;

    json_object_foreach(one, name, value)
    {
        CLEANUP(mem_freep) char *below = str_printf("%s%s%s", path, *path ? "." : "", name);

        compare(changes, below, value, json_object_get(two, name));
    }
    json_object_foreach(two, name, value)
    {
        if (json_object_get(one, name) == NULL) {
            CLEANUP(mem_freep) char *below = str_printf("%s%s%s", path, *path ? "." : "", name);

            compare(changes, below, NULL, value);
        }
    }
}

static bool is_nothing(const json_t *value)
{
    return value == NULL || json_is_null(value);
}

static void compare(json_t *changes, const char *path, json_t *one, json_t *two)
{
    if (is_nothing(one) && is_nothing(two)) {
        return;
    }
    if (json_is_object(one) && json_is_object(two)) {
        compare_objects(changes, path, one, two);
        return;
    }
    if (json_is_array(one) && json_is_array(two) && json_array_size(one) == json_array_size(two)) {
        for (size_t i = 0; i < json_array_size(one); i++) {
            CLEANUP(mem_freep) char *below = str_printf("%s[%zu]", path, i);

            compare(changes, below, json_array_get(one, i), json_array_get(two, i));
        }
        return;
    }
    if (one == NULL || two == NULL || !json_equal(one, two)) {
        add_change(changes, path, one, two);
    }
}

json_t *diff_fields(const json_t *old_job, const json_t *new_job)
{
    CLEANUP(json_freep) json_t *one = json_copy((json_t *)old_job);
    CLEANUP(json_freep) json_t *two = json_copy((json_t *)new_job);
    json_t *changes = json_object();

    json_object_del(one, "instances");
    json_object_del(one, "update_config");
    json_object_del(two, "instances");
    json_object_del(two, "update_config");
    compare_objects(changes, "", one, two);
    return changes;
}
