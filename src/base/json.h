/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"
#include "base/mem.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* Helpers on jansson, so that every room reads and writes JSON the same way. */

static inline void json_freep(json_t **json)
{
    json_decref(*json);
}

/* Strict: UTF-8, no duplicate keys, depth at most 64, nothing behind the value,
 * len at most cap (ERR_TOOBIG).  ERR_INVALID says where.  The caller's. */
int json_parse(const char *text, size_t len, size_t cap, json_t **ret_json, struct err *err);

/* Compact text; keys sorted, so that equal values have equal text.  The caller's. */
char *json_text(const json_t *json);

/* Compact text with keys in the order of insertion, for people.  The caller's. */
char *json_text_ordered(const json_t *json);

/* Members of an object.  The name says which type is asked for; a member of
 * another type, or a missing one, is ERR_INVALID "member 'x' ...".  Borrowed. */
int json_need_str(const json_t *obj, const char *key, const char **ret_value, struct err *err);
int json_need_int(const json_t *obj, const char *key, int64_t min, int64_t max, int64_t *ret_value,
                  struct err *err);
int json_need_obj(const json_t *obj, const char *key, json_t **ret_value, struct err *err);
int json_need_array(const json_t *obj, const char *key, json_t **ret_value, struct err *err);

/* The same with a default where the member is missing, null or of another
 * type: for reading what we wrote ourselves. */
const char *json_str_or(const json_t *obj, const char *key, const char *fallback);
int64_t json_int_or(const json_t *obj, const char *key, int64_t fallback);
double json_num_or(const json_t *obj, const char *key, double fallback);
bool json_bool_or(const json_t *obj, const char *key, bool fallback);

/* Set a member; a NULL string leaves the member out.  Text that is not UTF-8
 * is repaired (U+FFFD), never lost. */
void json_put_str(json_t *obj, const char *key, const char *value);
void json_put_int(json_t *obj, const char *key, int64_t value);
void json_put_num(json_t *obj, const char *key, double value);
void json_put_bool(json_t *obj, const char *key, bool value);
void json_put_take(json_t *obj, const char *key, json_t *value); /* takes value */

/* A JSON string of any bytes; what is not UTF-8 becomes U+FFFD. */
json_t *json_str_repaired(const char *bytes, size_t len);
