/* SPDX-License-Identifier: Apache-2.0 */

/* taskfile_health: reads what task.json says about health checks and the stop ladder.
 *
 * Both have the shape that the job's author gave them (HealthCheckConfig, LifecycleConfig), with
 * Aurora's defaults.  Each is in force only if there is something to talk to: a command, or
 * the port of that name.
 */
#include "pod/taskfile_priv.h"

#include "base/json.h"
#include "base/str.h"
#include "pod/field.h"
#include "pod/proto.h"

#include <string.h>

enum { SECONDS_MAX = 10 * 365 * 24 * 3600, TIMEOUT_MIN_MS = 10, TIMEOUT_MAX_S = 3600 };

static const char health_port[] = "health";

void taskfile_free_check(struct taskfile_check *check)
{
    if (check) {
        free(check->command);
        free(check->endpoint);
        free(check->expected);
        free(check);
    }
}
DEFINE_FREEP(struct taskfile_check, taskfile_free_check)

void taskfile_free_ladder(struct taskfile_ladder *ladder)
{
    if (ladder) {
        free(ladder->graceful_path);
        free(ladder->shutdown_path);
        free(ladder);
    }
}
DEFINE_FREEP(struct taskfile_ladder, taskfile_free_ladder)

/* 0 when no port is called so. */
static int port_of(const struct taskfile *task, const char *name)
{
    for (size_t i = 0; i < task->n_ports; i++) {
        if (strcmp(task->ports[i].name, name) == 0) {
            return task->ports[i].number;
        }
    }
    return 0;
}

/* A whole number that may come as 1.0 from a templated field. */
static int whole(const json_t *body, const char *key, unsigned fallback, double max,
                 unsigned *ret_number, struct err *err)
{
    uint64_t number = 0;

    if (field_scaled(body, key, fallback, 1, max, &number, err) < 0) {
        return err->code;
    }
    *ret_number = (unsigned)number;
    return 0;
}

static int read_times(const json_t *body, struct taskfile_check *check, struct err *err)
{
    struct health_config *health = &check->health;

    if (field_scaled(body, "initial_interval_secs", 15, 1000, SECONDS_MAX,
                     &health->initial_interval_ms, err) < 0 ||
        field_scaled(body, "interval_secs", 10, 1000, SECONDS_MAX, &health->interval_ms, err) < 0 ||
        whole(body, "max_consecutive_failures", 0, INT32_MAX, &health->max_consecutive_failures,
              err) < 0 ||
        whole(body, "min_consecutive_successes", 1, INT32_MAX, &health->min_consecutive_successes,
              err) < 0 ||
        field_scaled(body, "timeout_secs", 1, 1000, TIMEOUT_MAX_S, &check->timeout_ms, err) < 0) {
        return err->code;
    }
    if (check->timeout_ms < TIMEOUT_MIN_MS) {
        check->timeout_ms = TIMEOUT_MIN_MS;
    }
    return 0;
}

static int read_http(const json_t *http, struct taskfile_check *check, struct err *err)
{
    unsigned code = 0;

    if (field_text(http, "endpoint", "/health", &check->endpoint, err) < 0 ||
        field_text(http, "expected_response", "ok", &check->expected, err) < 0 ||
        whole(http, "expected_response_code", 0, 999, &code, err) < 0) {
        return err->code;
    }
    check->expected_code = (int)code;
    return 0;
}

static int read_checker(const json_t *body, const struct taskfile *task,
                        struct taskfile_check *check, struct err *err)
{
    const struct placeholder_values values = taskfile_values(task);
    const json_t *checker = NULL;
    const json_t *http = NULL;
    const json_t *shell = NULL;
    const char *command = NULL;

    if (field_object(body, "health_checker", &checker, err) < 0 ||
        field_object(checker, "http", &http, err) < 0 ||
        field_object(checker, "shell", &shell, err) < 0) {
        return err->code;
    }
    if (shell) {
        if (json_need_str(shell, "shell_command", &command, err) < 0) {
            return err->code;
        }
        check->command = placeholder_fill(command, &values);
        return 0;
    }
    check->port = port_of(task, health_port);
    return read_http(http, check, err);
}

int taskfile_read_check(const json_t *body, struct taskfile *task, struct err *err)
{
    CLEANUP(taskfile_free_checkp) struct taskfile_check *check = mem_alloc(sizeof(*check));
    const json_t *health = NULL;

    if (field_object(body, "health", &health, err) < 0) {
        return err->code;
    }
    if (!health) {
        return 0;
    }
    if (read_times(health, check, err) < 0 || read_checker(health, task, check, err) < 0) {
        return err_wrap(err, "health");
    }
    if (check->command || check->port > 0) {
        task->check = TAKE(check);
    }
    return 0;
}

int taskfile_read_ladder(const json_t *body, struct taskfile *task, struct err *err)
{
    CLEANUP(taskfile_free_ladderp) struct taskfile_ladder *ladder = mem_alloc(sizeof(*ladder));
    CLEANUP(mem_freep) char *port = NULL;
    const json_t *lifecycle = NULL;
    const json_t *http = NULL;

    if (field_object(body, "lifecycle", &lifecycle, err) < 0 ||
        field_object(lifecycle, "http", &http, err) < 0) {
        return err_wrap(err, "lifecycle");
    }
    if (!http) {
        return 0;
    }
    if (field_text(http, "port", health_port, &port, err) < 0 ||
        field_text(http, "graceful_shutdown_endpoint", "/quitquitquit", &ladder->graceful_path,
                   err) < 0 ||
        field_text(http, "shutdown_endpoint", "/abortabortabort", &ladder->shutdown_path, err) <
            0 ||
        field_scaled(http, "graceful_shutdown_wait_secs", 5, 1000, SECONDS_MAX,
                     &ladder->graceful_wait_ms, err) < 0 ||
        field_scaled(http, "shutdown_wait_secs", 5, 1000, SECONDS_MAX, &ladder->shutdown_wait_ms,
                     err) < 0) {
        return err_wrap(err, "lifecycle.http");
    }
    ladder->total_ms = proto_ladder_ms(lifecycle);
    ladder->port = port_of(task, port);
    if (ladder->port > 0) {
        task->ladder = TAKE(ladder);
    }
    return 0;
}
