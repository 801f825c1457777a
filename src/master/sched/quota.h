/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* What a role may use, and does: sums of CPU, RAM and disk. */
struct quota {
    double cpu; /* Cores. */
    int64_t ram_bytes, disk_bytes;
};

struct job;

/* Of n instances of the job. */
struct quota quota_of(const struct job *job, size_t n);
struct quota quota_sum(struct quota a, struct quota b);
struct quota quota_less(struct quota a, struct quota b);
/* Per kind the larger one. */
struct quota quota_max(struct quota a, struct quota b);

/* Do tasks of such a job count?  Production (preferred tier) and not on dedicated nodes. */
bool quota_counts(const struct job *job);

/* ERR_CONFLICT "Insufficient resource quota: CPU quota exceeded by 1.00 core(s); RAM quota exceeded
 * by 64.00 MB" unless wanted is at most allowed in each kind. */
int quota_check(struct quota allowed, struct quota wanted, struct err *err);

/* {"cpu":2.0,"ram_bytes":N,"disk_bytes":N} */
json_t *quota_encode(struct quota quota);
struct quota quota_decode(const json_t *doc);
