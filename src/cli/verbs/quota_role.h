/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"

#include <stdint.h>

/* What the quota verbs read from their operands. */

/* "CLUSTER/ROLE": *ret_cluster is the caller's, *ret_role points into text.  ERR_USAGE. */
int quota_role_parse(const char *text, char **ret_cluster, const char **ret_role, struct err *err);

/* "512M", "2g", "1.5GB", "10MiB": bytes, by powers of 1024.  A number without a unit is
 * ERR_USAGE: nobody means bytes, and guessing is worse. */
int quota_size_parse(const char *text, const char *what, int64_t *ret_bytes, struct err *err);
