/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* NULL when the member is missing or null; borrowed. */
const json_t *field_find(const json_t *obj, const char *key);

/* Each gives the fallback (false, NULL) for a missing member and ERR_INVALID, which names
 * the member, for one of another type or out of its range. */

/* The caller's. */
int field_text(const json_t *obj, const char *key, const char *fallback, char **ret_text,
               struct err *err);
int field_number(const json_t *obj, const char *key, int64_t min, int64_t max, int64_t fallback,
                 int64_t *ret_number, struct err *err);
int field_count(const json_t *obj, const char *key, unsigned fallback, unsigned *ret_count,
                struct err *err);
int field_flag(const json_t *obj, const char *key, bool *ret_flag, struct err *err);

/* A number from 0 to max that may have a fraction, scaled to a whole one. */
int field_scaled(const json_t *obj, const char *key, double fallback, double scale, double max,
                 uint64_t *ret_number, struct err *err);

/* Borrowed. */
int field_object(const json_t *obj, const char *key, const json_t **ret_object, struct err *err);
int field_array(const json_t *obj, const char *key, const json_t **ret_array, struct err *err);
