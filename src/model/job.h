/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"
#include "base/mem.h"
#include "model/constraint.h"
#include "model/job_key.h"
#include "model/sla.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Who may have to make room for whom: a preferred job's tasks preempt those of the others. */
enum job_tier { JOB_TIER_PREFERRED, JOB_TIER_PREEMPTIBLE, JOB_TIER_REVOCABLE };

/* What becomes of a task whose node cannot be reached. */
struct job_partition {
    bool reschedule; /* false: its instance waits for the node, however long. */
    int64_t delay_secs;
};

/* An evaluated Aurora Job: the JSON that the guest made of an `.aurora` file,
 * with the members that the control plane works with read out and checked. */
struct job {
    struct job_key key;
    char *key_text; /* "cluster/role/env/name" */
    char hash[17];  /* Of everything that makes a task a different task. */
    json_t *doc;    /* The whole job, as given. */
    json_t *task;   /* Its Task; borrowed from doc. */
    int instances;
    bool service;
    int max_task_failures; /* -1: unlimited. */
    double cpu;
    int64_t ram_bytes, disk_bytes;
    char **ports; /* Names of the ports that each instance gets, sorted. */
    size_t n_ports;
    enum job_tier tier;
    bool is_production; /* Tier preferred: counts against the role's quota, and SLAs apply. */
    int priority;
    struct constraint *constraints; /* Sorted by name. */
    size_t n_constraints;
    const char *dedicated; /* "role/anything"; NULL for none.  Borrowed from constraints. */
    struct job_partition partition;
    struct sla_policy sla;
    const char *cron_schedule;         /* NULL: no cron job.  Borrowed from doc. */
    const char *cron_collision_policy; /* As given; "KILL_EXISTING" when not.  Borrowed. */
};

enum {
    JOB_MAX_INSTANCES = 4000,
    JOB_MAX_PORTS = 100,
    JOB_MAX_BYTES = 128 * 1024, /* Of doc as text: it must fit a store write. */
    JOB_MAX_PROCESSES = 100,
};
/* Of RAM, and of disk, a task: the sum of the largest job's still is a number. */
#define JOB_MAX_RESOURCE_BYTES (INT64_C(1) << 50)

void job_free(struct job *job);
DEFINE_FREEP(struct job, job_free)

/* "preferred"; and back, false for an unknown word. */
const char *job_tier_name(enum job_tier tier);
bool job_tier_parse(const char *name, enum job_tier *ret_tier);

/* Decodes and validates as Aurora's scheduler does, with its words (ERR_CONFIG).  A cron job is
 * one too: whether its schedule makes sense is the cron opcodes' to say. */
int job_decode(const json_t *doc, struct job **ret_job, struct err *err);

/* The words that reached the store once need no second check: a job whose rules
 * have become stricter still runs. */
int job_decode_trusted(const json_t *doc, struct job **ret_job, struct err *err);

/* For everything but cron opcodes: "Cron jobs may only be created/updated by calling
 * scheduleCronJob." */
int job_check_no_cron(const struct job *job, struct err *err);

/* Does the job's environment look like one? "Job environment X doesn't match: ..." */
int job_check_env(const char *env, struct err *err);
