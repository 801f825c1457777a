/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"
#include "base/mem.h"
#include "model/job_key.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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
};

enum {
    JOB_MAX_INSTANCES = 4000,
    JOB_MAX_PORTS = 100,
    JOB_MAX_BYTES = 128 * 1024, /* Of doc as text: it must fit a store write. */
    JOB_MAX_PROCESSES = 100,
};

void job_free(struct job *job);
DEFINE_FREEP(struct job, job_free)

/* Decodes and validates as Aurora's scheduler does, with its words (ERR_CONFIG). */
int job_decode(const json_t *doc, struct job **ret_job, struct err *err);

/* The words that reached the store once need no second check: a job whose rules
 * have become stricter still runs. */
int job_decode_trusted(const json_t *doc, struct job **ret_job, struct err *err);

/* Does the job's environment look like one? "Job environment X doesn't match: ..." */
int job_check_env(const char *env, struct err *err);
