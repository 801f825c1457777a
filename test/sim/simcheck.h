/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "model/task.h"
#include "simtree.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <uthash.h>

/* The independent judge: reads the store as anybody could, keeps its own picture of it, and checks
 * after every transaction what has to hold at all times. */
struct simcheck;

/* A job's configuration. */
struct simcheck_config {
    char *hash;
    json_t *doc;
    double cpu;
    int64_t ram_bytes, disk_bytes;
    bool service;
    int max_failures;
    UT_hash_handle hh;
};

struct simcheck_job {
    char *key;
    char *current;
    json_t *doc;
    struct simcheck_config *configs;
    UT_hash_handle hh;
};

struct simcheck_task {
    char *id, *job, *config, *node, *ancestor;
    int instance, failures;
    enum task_status status;
    int ports[8];
    size_t n_ports;
    json_t *events; /* Borrowed from doc. */
    json_t *doc;
    uint64_t order; /* Of first sight. */
    bool active;
    bool placed;    /* By this transaction. */
    uint32_t moved; /* Bits of the states that a transaction gave it: see simcheck_moved(). */
    uint64_t moved_write;
    struct simcheck_task *prev, *next; /* Of the active ones. */
    UT_hash_handle hh;
};

struct simcheck_node {
    char *name;
    bool alive;
    char *mode;
    uint64_t mode_write; /* The transaction that set it: what it also holds may be older. */
    json_t *attributes;
    json_t *drain; /* How it is being drained; NULL. */
    double cpu;
    int64_t ram_bytes, disk_bytes;
    int port_lo, port_hi;
    UT_hash_handle hh;
};

struct simcheck *simcheck_new(struct simtree *tree);
void simcheck_free(struct simcheck *check);

struct simcheck_job *simcheck_jobs(const struct simcheck *check);
struct simcheck_task *simcheck_tasks(const struct simcheck *check); /* All, a hash. */
struct simcheck_task *simcheck_active(const struct simcheck *check);
struct simcheck_node *simcheck_nodes(const struct simcheck *check);
struct simcheck_job *simcheck_job(const struct simcheck *check, const char *key);
struct simcheck_node *simcheck_node(const struct simcheck *check, const char *name);
const struct simcheck_config *simcheck_config(const struct simcheck *check,
                                              const struct simcheck_task *task);
/* By the transaction that was carried out last. */
bool simcheck_moved(const struct simcheck *check, const struct simcheck_task *task,
                    enum task_status status);
/* NULL when there is none. */
struct simcheck_task *simcheck_task(const struct simcheck *check, const char *id);
/* The one active task of an instance; NULL when there is none. */
struct simcheck_task *simcheck_instance(const struct simcheck *check, const char *job,
                                        int instance);
/* Its newest run, ended or not. */
struct simcheck_task *simcheck_newest(const struct simcheck *check, const char *job, int instance);
/* May `more` further tasks of this job and configuration be on the node, by its constraints? */
bool simcheck_allows(const struct simcheck *check, const char *job,
                     const struct simcheck_config *config, const struct simcheck_node *node,
                     unsigned more);

/* Its text in the intent of the task; NULL when there is none. */
const char *simcheck_intent(const struct simcheck *check, const struct simcheck_task *task);

/* The transactions of leaders so far. */
uint64_t simcheck_writes(const struct simcheck *check);
/* How many of them moved a task there. */
uint64_t simcheck_moves(const struct simcheck *check, enum task_status status);

/* simsla.c: this task has just been asked to leave its node. */
void simsla_check(const struct simcheck *check, const struct simcheck_task *task);
