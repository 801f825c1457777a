/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"
#include "model/job.h"
#include "model/task.h"

#include <jansson.h>
#include <stdbool.h>

/* What master and agents say to each other through the store about a pod. */

enum { POD_SHARDS = 16, POD_INTENT_MAX_BYTES = 512 * 1024, POD_REALITY_MAX_BYTES = 1000 * 1000 };

/* The states of a pod in /davit/reality. */
enum pod_state {
    POD_INSTALLING,
    POD_STARTING,
    POD_RUNNING,
    POD_STOPPING,
    POD_FINISHED,
    POD_FAILED,
    POD_KILLED,
    POD_LOST,
    POD_N_STATES,
};

const char *pod_state_name(enum pod_state state);
bool pod_state_parse(const char *name, enum pod_state *ret_state);
bool pod_state_is_terminal(enum pod_state state);

/* FNV-1a 32 of the pod's name mod POD_SHARDS: its place in /davit/reality/<node>. */
unsigned pod_shard(const char *name);

/* Why and for whom a task is to end; NULL members are left out. */
struct pod_stop {
    const char *op_id;
    const char *reason;
};

/* The manifest that asks for a task (stop NULL) or for its end, as docs/architecture.md
 * has it.  hostname is what {{mesos.hostname}} becomes.  YAML; the caller's. */
char *pod_manifest(const struct job *job, const struct task *task, const char *hostname,
                   const struct pod_stop *stop);
