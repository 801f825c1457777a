/* SPDX-License-Identifier: Apache-2.0 */
/* quota: sums of resources, and whether they are within what is allowed.
 *
 * Pure; who uses what is counted by master/state/quotas.c.
 */
#include "master/sched/quota.h"

#include "base/json.h"
#include "model/job.h"

#include <stdio.h>
#include <string.h>

static const double MIB = 1024.0 * 1024;

/* Sums of fractions: ten times 0.1 is within 1.0. */
static const double CPU_SLACK = 1e-6;

/* Bytes stop at the largest number: a sum that wrapped would be within every quota. */
static int64_t times(int64_t bytes, size_t n)
{
    int64_t product;

    return __builtin_mul_overflow(bytes, n, &product) ? INT64_MAX : product;
}

static int64_t plus(int64_t a, int64_t b)
{
    int64_t sum;

    return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

struct quota quota_of(const struct job *job, size_t n)
{
    return (struct quota){ job->cpu * (double)n, times(job->ram_bytes, n),
                           times(job->disk_bytes, n) };
}

struct quota quota_sum(struct quota a, struct quota b)
{
    return (struct quota){ a.cpu + b.cpu, plus(a.ram_bytes, b.ram_bytes),
                           plus(a.disk_bytes, b.disk_bytes) };
}

struct quota quota_less(struct quota a, struct quota b)
{
    return (struct quota){ a.cpu - b.cpu, a.ram_bytes - b.ram_bytes, a.disk_bytes - b.disk_bytes };
}

struct quota quota_max(struct quota a, struct quota b)
{
    return (struct quota){ a.cpu > b.cpu ? a.cpu : b.cpu,
                           a.ram_bytes > b.ram_bytes ? a.ram_bytes : b.ram_bytes,
                           a.disk_bytes > b.disk_bytes ? a.disk_bytes : b.disk_bytes };
}

bool quota_counts(const struct job *job)
{
    return job->is_production && job->dedicated == NULL;
}

static void exceeded(char *text, size_t size, const char *kind, double by, const char *unit)
{
    size_t len = strlen(text);

    (void)snprintf(text + len, size - len, "%s%s quota exceeded by %.2f %s", len > 0 ? "; " : "",
                   kind, by, unit);
}

int quota_check(struct quota allowed, struct quota wanted, struct err *err)
{
    char text[256] = "";

    if (wanted.cpu > allowed.cpu + CPU_SLACK) {
        exceeded(text, sizeof(text), "CPU", wanted.cpu - allowed.cpu, "core(s)");
    }
    if (wanted.ram_bytes > allowed.ram_bytes) {
        exceeded(text, sizeof(text), "RAM", (double)(wanted.ram_bytes - allowed.ram_bytes) / MIB,
                 "MB");
    }
    if (wanted.disk_bytes > allowed.disk_bytes) {
        exceeded(text, sizeof(text), "disk", (double)(wanted.disk_bytes - allowed.disk_bytes) / MIB,
                 "MB");
    }
    if (text[0] != '\0') {
        return err_set(err, ERR_CONFLICT, "Insufficient resource quota: %s", text);
    }
    return 0;
}

json_t *quota_encode(struct quota quota)
{
    json_t *doc = json_object();

    json_put_num(doc, "cpu", quota.cpu);
    json_put_int(doc, "ram_bytes", quota.ram_bytes);
    json_put_int(doc, "disk_bytes", quota.disk_bytes);
    return doc;
}

struct quota quota_decode(const json_t *doc)
{
    return (struct quota){ json_num_or(doc, "cpu", 0), json_int_or(doc, "ram_bytes", 0),
                           json_int_or(doc, "disk_bytes", 0) };
}
