/* SPDX-License-Identifier: Apache-2.0 */
/* support: what Aurora's schema can say and davit cannot do.
 *
 * It is refused, not left out: a task that was to run in an image must not run outside of it.
 * What has no effect on how a task runs (task_links, user) is taken.
 */
#include "model/support.h"

#include "base/json.h"
#include "base/str.h"

static const char EXECUTOR[] = "AuroraExecutor";

/* A Container{docker}, a Docker{image, parameters} or a Mesos{image, volumes}: a Choice, which its
 * members tell apart. */
static int check_container(const json_t *container, struct err *err)
{
    const json_t *docker = json_object_get(container, "docker");
    const json_t *image = json_object_get(container, "image");

    if (json_is_object(docker) || json_is_string(image)) {
        return err_set(err, ERR_CONFIG,
                       "This scheduler is not configured to allow the container type DOCKER");
    }
    if (json_array_size(json_object_get(container, "parameters")) > 0) {
        return err_set(err, ERR_CONFIG,
                       "This scheduler is configured to disallow Docker parameters.");
    }
    if (json_is_object(image)) {
        return err_set(err, ERR_CONFIG,
                       "This scheduler is not configured to allow images in the container type "
                       "MESOS");
    }
    if (json_array_size(json_object_get(container, "volumes")) > 0) {
        return err_set(err, ERR_CONFIG,
                       "This scheduler is configured to disallow container volumes.");
    }
    return 0;
}

int support_check(const json_t *job, struct err *err)
{
    const json_t *resources = json_object_get(json_object_get(job, "task"), "resources");
    const char *executor = json_str_or(json_object_get(job, "executor_config"), "name", EXECUTOR);

    if (check_container(json_object_get(job, "container"), err) < 0) {
        return err_code(err);
    }
    if (json_num_or(resources, "gpu", 0) > 0) {
        return err_set(err, ERR_CONFIG, "GPU resource support is disabled in this cluster.");
    }
    if (!str_eq(executor, EXECUTOR)) {
        return err_set(err, ERR_CONFIG, "Configuration for executor '%.200s' doesn't exist.",
                       executor);
    }
    return 0;
}
