/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"
#include "base/mem.h"

#include <stdbool.h>
#include <stddef.h>

enum { ROUTE_MAX_SEGMENTS = 32 };

/* A request's path, decoded and checked. */
struct route_path {
    char *text;                        /* "/v1/jobs/web" */
    char *parts;                       /* The same bytes cut at the slashes. */
    size_t starts[ROUTE_MAX_SEGMENTS]; /* Offset of each segment, in text and in parts. */
    size_t n;
};

/* ERR_INVALID for a path that no file or job may be named by: bad percent-encoding, a NUL or
 * control character, bytes that are not UTF-8, an encoded slash, "." and ".." segments. */
int route_path_init(struct route_path *path, const char *raw, struct err *err);
void route_path_fini(struct route_path *path);

/* A pattern cut into segments: "/v1/jobs/{role}/{env}/{name}", "/ui/{file*}". */
struct route_pattern;
int route_pattern_new(const char *text, struct route_pattern **ret_pattern, struct err *err);
void route_pattern_free(struct route_pattern *pattern);
DEFINE_FREEP(struct route_pattern, route_pattern_free)

bool route_match(const struct route_pattern *pattern, const struct route_path *path);

/* The value of {name} in a path that matched; NULL when the pattern has no such name. */
const char *route_param(const struct route_pattern *pattern, const struct route_path *path,
                        const char *name);

/* Decodes percent-escapes in place; ERR_INVALID for bad ones, NULs and what is not UTF-8. */
int route_unescape(char *text, struct err *err);
