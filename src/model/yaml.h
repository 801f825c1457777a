/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"

#include <jansson.h>
#include <stddef.h>

/* The YAML that davit reads and writes: mappings with text keys, sequences,
 * text, integers, floats, true, false, null (or ~, or nothing).  `yes` and `no`
 * are text.  No anchors, aliases, tags, merge keys or second document. */

enum { YAML_MAX_DEPTH = 64 };

/* len at most cap (ERR_TOOBIG); depth at most YAML_MAX_DEPTH; duplicate keys
 * refused.  ERR_INVALID says where: "line 3 column 5: ...".  An empty document is
 * null.  Keys keep their order.  The caller's. */
int yaml_parse(const char *text, size_t len, size_t cap, json_t **ret_json, struct err *err);

/* Block style, keys in the object's order; equal values in equal order have
 * equal text, and yaml_parse() gives the value back.  The caller's. */
char *yaml_text(const json_t *json);
