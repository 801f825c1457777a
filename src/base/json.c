/* SPDX-License-Identifier: Apache-2.0 */

/* json: one strict way in and one canonical way out, on top of jansson. */

#include "base/json.h"

#include "base/str.h"

#include "base/buf.h"

#include <assert.h>
#include <string.h>

enum { DEPTH_MAX = 64 };

/* jansson's own limit is 2048 levels, compiled in; ours is counted on the text,
 * before anything is allocated for it. */
static bool too_deep(const char *text, size_t len)
{
    unsigned depth = 0;
    bool in_string = false;

    for (size_t i = 0; i < len; i++) {
        if (in_string) {
            if (text[i] == '\\') {
                i++;
            } else if (text[i] == '"') {
                in_string = false;
            }
        } else if (text[i] == '"') {
            in_string = true;
        } else if (text[i] == '{' || text[i] == '[') {
            if (++depth > DEPTH_MAX) {
                return true;
            }
        } else if ((text[i] == '}' || text[i] == ']') && depth > 0) {
            depth--;
        }
    }
    return false;
}

int json_parse(const char *text, size_t len, size_t cap, json_t **ret_json, struct err *err)
{
    json_error_t where;

    if (len > cap) {
        return err_set(err, ERR_TOOBIG, "JSON of %zu bytes is larger than the %zu allowed", len,
                       cap);
    }
    if (too_deep(text, len)) {
        return err_set(err, ERR_INVALID, "JSON is nested deeper than %d levels", DEPTH_MAX);
    }
    json_t *json = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &where);
    if (json == NULL) {
        return err_set(err, ERR_INVALID, "not JSON: %s at line %d column %d", where.text,
                       where.line, where.column);
    }
    *ret_json = json;
    return 0;
}

static char *dump(const json_t *json, size_t flags)
{
    char *text = json_dumps(json, flags | JSON_COMPACT | JSON_ENCODE_ANY);

    assert(text != NULL);
    return text;
}

char *json_text(const json_t *json)
{
    return dump(json, JSON_SORT_KEYS);
}

char *json_text_ordered(const json_t *json)
{
    return dump(json, JSON_PRESERVE_ORDER);
}

static int wrong(const json_t *value, const char *key, const char *want, struct err *err)
{
    if (value == NULL) {
        return err_set(err, ERR_INVALID, "member '%s' is missing", key);
    }
    return err_set(err, ERR_INVALID, "member '%s' is not %s", key, want);
}

int json_need_str(const json_t *obj, const char *key, const char **ret_value, struct err *err)
{
    const json_t *value = json_object_get(obj, key);

    if (!json_is_string(value)) {
        return wrong(value, key, "a string", err);
    }
    *ret_value = json_string_value(value);
    return 0;
}

int json_need_int(const json_t *obj, const char *key, int64_t min, int64_t max, int64_t *ret_value,
                  struct err *err)
{
    const json_t *value = json_object_get(obj, key);

    if (!json_is_integer(value)) {
        return wrong(value, key, "a whole number", err);
    }
    if (json_integer_value(value) < min || json_integer_value(value) > max) {
        return err_set(err, ERR_INVALID, "member '%s': %lld is not between %lld and %lld", key,
                       (long long)json_integer_value(value), (long long)min, (long long)max);
    }
    *ret_value = json_integer_value(value);
    return 0;
}

int json_need_obj(const json_t *obj, const char *key, json_t **ret_value, struct err *err)
{
    json_t *value = json_object_get(obj, key);

    if (!json_is_object(value)) {
        return wrong(value, key, "an object", err);
    }
    *ret_value = value;
    return 0;
}

int json_need_array(const json_t *obj, const char *key, json_t **ret_value, struct err *err)
{
    json_t *value = json_object_get(obj, key);

    if (!json_is_array(value)) {
        return wrong(value, key, "an array", err);
    }
    *ret_value = value;
    return 0;
}

const char *json_str_or(const json_t *obj, const char *key, const char *fallback)
{
    const json_t *value = json_object_get(obj, key);

    return json_is_string(value) ? json_string_value(value) : fallback;
}

int64_t json_int_or(const json_t *obj, const char *key, int64_t fallback)
{
    const json_t *value = json_object_get(obj, key);

    return json_is_integer(value) ? json_integer_value(value) : fallback;
}

double json_num_or(const json_t *obj, const char *key, double fallback)
{
    const json_t *value = json_object_get(obj, key);

    return json_is_number(value) ? json_number_value(value) : fallback;
}

bool json_bool_or(const json_t *obj, const char *key, bool fallback)
{
    const json_t *value = json_object_get(obj, key);

    return json_is_boolean(value) ? json_is_true(value) : fallback;
}

json_t *json_str_repaired(const char *bytes, size_t len)
{
    json_t *whole = json_stringn(bytes, len);
    CLEANUP_BUF buf = { 0 };

    if (whole != NULL) {
        return whole;
    }
    for (size_t i = 0; i < len;) {
        uint32_t code = 0;
        size_t n = str_character(bytes + i, len - i, &code);

        if (n == 0) {
            buf_add_text(&buf, "\xef\xbf\xbd");
            i++;
        } else {
            buf_add(&buf, bytes + i, n);
            i += n;
        }
    }
    json_t *repaired = json_stringn(buf_text(&buf), buf.len);

    assert(repaired != NULL);
    return repaired;
}

void json_put_take(json_t *obj, const char *key, json_t *value)
{
    int rv = json_object_set_new(obj, key, value);

    assert(rv == 0);
    (void)rv;
}

void json_put_str(json_t *obj, const char *key, const char *value)
{
    if (value != NULL) {
        json_put_take(obj, key, json_str_repaired(value, strlen(value)));
    }
}

void json_put_int(json_t *obj, const char *key, int64_t value)
{
    json_put_take(obj, key, json_integer(value));
}

void json_put_num(json_t *obj, const char *key, double value)
{
    json_put_take(obj, key, json_real(value));
}

void json_put_bool(json_t *obj, const char *key, bool value)
{
    json_put_take(obj, key, json_boolean(value));
}
