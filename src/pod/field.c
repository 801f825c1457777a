/* SPDX-License-Identifier: Apache-2.0 */

/* field: members of task.json that may be missing or null, but not of a wrong type.
 *
 * Not for members that must be there: base/json.h's json_need_*() are.
 */
#include "pod/field.h"

#include "base/json.h"

const json_t *field_find(const json_t *obj, const char *key)
{
    const json_t *value = json_object_get(obj, key);

    return value && !json_is_null(value) ? value : NULL;
}

int field_text(const json_t *obj, const char *key, const char *fallback, char **ret_text,
               struct err *err)
{
    const char *value = fallback;

    if (field_find(obj, key) && json_need_str(obj, key, &value, err) < 0) {
        return err->code;
    }
    *ret_text = mem_strdup_opt(value);
    return 0;
}

int field_number(const json_t *obj, const char *key, int64_t min, int64_t max, int64_t fallback,
                 int64_t *ret_number, struct err *err)
{
    if (!field_find(obj, key)) {
        *ret_number = fallback;
        return 0;
    }
    return json_need_int(obj, key, min, max, ret_number, err);
}

int field_count(const json_t *obj, const char *key, unsigned fallback, unsigned *ret_count,
                struct err *err)
{
    int64_t value = 0;

    if (field_number(obj, key, 0, INT32_MAX, fallback, &value, err) < 0) {
        return err->code;
    }
    *ret_count = (unsigned)value;
    return 0;
}

int field_flag(const json_t *obj, const char *key, bool *ret_flag, struct err *err)
{
    const json_t *value = field_find(obj, key);

    if (value && !json_is_boolean(value)) {
        return err_set(err, ERR_INVALID, "member '%s' is neither true nor false", key);
    }
    *ret_flag = json_is_true(value);
    return 0;
}

/* A number that may have a fraction, scaled to a whole one. */
int field_scaled(const json_t *obj, const char *key, double fallback, double scale, double max,
                 uint64_t *ret_number, struct err *err)
{
    const json_t *value = field_find(obj, key);
    double given = value ? json_number_value(value) : fallback;

    if (value && !json_is_number(value)) {
        return err_set(err, ERR_INVALID, "member '%s' is not a number", key);
    }
    if (!(given >= 0 && given <= max)) {
        return err_set(err, ERR_INVALID, "member '%s' is not between 0 and %.0f", key, max);
    }
    *ret_number = (uint64_t)(given * scale + 0.5);
    return 0;
}

int field_object(const json_t *obj, const char *key, const json_t **ret_object, struct err *err)
{
    const json_t *value = field_find(obj, key);

    if (value && !json_is_object(value)) {
        return err_set(err, ERR_INVALID, "member '%s' is not an object", key);
    }
    *ret_object = value;
    return 0;
}

int field_array(const json_t *obj, const char *key, const json_t **ret_array, struct err *err)
{
    const json_t *value = field_find(obj, key);

    if (value && !json_is_array(value)) {
        return err_set(err, ERR_INVALID, "member '%s' is not an array", key);
    }
    *ret_array = value;
    return 0;
}
