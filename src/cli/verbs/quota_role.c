/* SPDX-License-Identifier: Apache-2.0 */

/* What the quota verbs read from their operands. */

#include "cli/verbs/quota_role.h"

#include "base/mem.h"
#include "base/str.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const double MAX_BYTES = 1e18;

int quota_role_parse(const char *text, char **ret_cluster, const char **ret_role, struct err *err)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";
    const char *slash = strchr(text, '/');

    if (slash == NULL || slash == text || slash[1] == '\0' ||
        strspn(slash + 1, allowed) != strlen(slash + 1)) {
        return err_set(err, ERR_USAGE, "argument CLUSTER/ROLE: invalid value: '%.200s'", text);
    }
    *ret_cluster = mem_strndup(text, (size_t)(slash - text));
    *ret_role = slash + 1;
    return 0;
}

int quota_size_parse(const char *text, const char *what, int64_t *ret_bytes, struct err *err)
{
    static const char units[] = "kmgt";
    char *rest;
    double number = strtod(text, &rest);
    const char *unit = rest[0] != '\0' ? strchr(units, rest[0] | 0x20) : NULL;

    if (rest == text || strspn(text, "0123456789.") != (size_t)(rest - text) || unit == NULL ||
        (rest[1] != '\0' && strcasecmp(rest + 1, "b") != 0 && strcasecmp(rest + 1, "ib") != 0)) {
        return err_set(err, ERR_USAGE, "%s: '%.100s' is no size like 512M, 10m or 2G", what, text);
    }
    for (const char *at = units; at <= unit; at++) {
        number *= 1024;
    }
    if (!(number <= MAX_BYTES)) {
        return err_set(err, ERR_USAGE, "%s: %.100s is too much", what, text);
    }
    *ret_bytes = (int64_t)number;
    return 0;
}
