/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"

#include <jansson.h>
#include <stdint.h>

/* How much of a job must go on while its tasks are moved: contracts/aurora.md 4.9. */
enum sla_kind {
    SLA_NONE,        /* The operator's default applies. */
    SLA_PERCENTAGE,  /* value percent of its active instances ... */
    SLA_COUNT,       /* ... or value of them are RUNNING for duration_secs. */
    SLA_COORDINATOR, /* Somebody is asked: POST url, whose answer has status_key true. */
};

struct sla_policy {
    enum sla_kind kind;
    double value;
    int64_t duration_secs;
    char *url, *status_key; /* SLA_COORDINATOR */
};

enum {
    SLA_MIN_INSTANCES = 20, /* Smaller jobs have no percentage and no count. */
    SLA_MAX_DURATION_SECS = 7200,
};

/* Reads a job's `sla_policy`; what is no policy is SLA_NONE.  For sla_policy_fini(). */
void sla_policy_read(const json_t *doc, struct sla_policy *ret_policy);
void sla_policy_fini(struct sla_policy *policy);

/* May a job of this tier and so many instances have it?  ERR_CONFIG in Aurora's words. */
int sla_policy_check(const json_t *doc, const struct sla_policy *policy, const char *tier,
                     int instances, struct err *err);
