/* SPDX-License-Identifier: Apache-2.0 */
/* pod: the words that master and agents share about pods, and the intent of a task.
 *
 * Not the agent's reading of a manifest, nor davit-pod's of its task.
 */
#include "model/pod.h"

#include "base/json.h"
#include "model/endpoint.h"
#include "model/job_health.h"
#include "model/yaml.h"

#include <string.h>

static const char *const names[POD_N_STATES] = {
    [POD_INSTALLING] = "installing", [POD_STARTING] = "starting", [POD_RUNNING] = "running",
    [POD_STOPPING] = "stopping",     [POD_FINISHED] = "finished", [POD_FAILED] = "failed",
    [POD_KILLED] = "killed",         [POD_LOST] = "lost",
};

const char *pod_state_name(enum pod_state state)
{
    return names[state];
}

bool pod_state_parse(const char *name, enum pod_state *ret_state)
{
    for (int i = 0; i < POD_N_STATES; i++) {
        if (strcmp(names[i], name) == 0) {
            *ret_state = (enum pod_state)i;
            return true;
        }
    }
    return false;
}

bool pod_state_is_terminal(enum pod_state state)
{
    return state >= POD_FINISHED;
}

unsigned pod_shard(const char *name)
{
    uint32_t hash = 2166136261U;

    for (const char *p = name; *p != '\0'; p++) {
        hash = (hash ^ (unsigned char)*p) * 16777619U;
    }
    return hash % POD_SHARDS;
}

static json_t *davit_config(const struct job *job, const struct task *task, const char *hostname,
                            const struct pod_stop *stop)
{
    const json_t *announce = json_object_get(job->doc, "announce");
    CLEANUP(json_freep) json_t *assigned = json_object();
    json_t *config = json_object();
    json_t *resources = json_object();

    for (size_t i = 0; i < task->n_ports; i++) {
        json_put_int(assigned, task->ports[i].name, task->ports[i].port);
    }
    json_put_num(resources, "cpu", job->cpu);
    json_put_int(resources, "ram_bytes", job->ram_bytes);
    json_put_int(resources, "disk_bytes", job->disk_bytes);
    json_put_str(config, "job", task->job);
    json_put_int(config, "instance", task->instance);
    json_put_str(config, "op_id", task->op_id);
    json_put_str(config, "desired", stop != NULL ? "stopped" : "running");
    if (stop != NULL) {
        json_put_str(config, "stop_op_id", stop->op_id);
        json_put_str(config, "stop_reason", stop->reason);
    }
    json_put_take(config, "ports", endpoint_ports(announce, assigned));
    if (endpoint_announced(announce)) {
        json_put_take(config, "announce", json_incref((json_t *)announce));
    }
    job_health_add(job->doc, config);
    json_put_str(config, "hostname", hostname);
    json_put_take(config, "resources", resources);
    json_put_take(config, "task", json_incref(job->task));
    return config;
}

char *pod_manifest(const struct job *job, const struct task *task, const char *hostname,
                   const struct pod_stop *stop)
{
    CLEANUP(json_freep) json_t *doc = json_object();
    json_t *launchable = json_object();
    json_t *launchables = json_object();
    json_t *config = json_object();

    json_put_str(launchable, "launchable_type", "davit/task");
    json_put_take(launchables, "task", launchable);
    json_put_take(config, "davit", davit_config(job, task, hostname, stop));
    json_put_str(doc, "id", task->id);
    json_put_str(doc, "run_as", job->key.role);
    json_put_take(doc, "launchables", launchables);
    json_put_take(doc, "config", config);
    return yaml_text(doc);
}
