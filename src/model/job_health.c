/* SPDX-License-Identifier: Apache-2.0 */
/* job_health: what a job says about health checks and its stop ladder, checked and passed on.
 *
 * The rules themselves are davit-pod's (pod/health/health.c, pod/ladder.c).
 */
#include "model/job_health.h"

#include "base/json.h"

#include <stdint.h>

enum { SECONDS_MAX = 10 * 365 * 24 * 3600, TIMEOUT_MAX = 3600, CODE_MAX = 999 };

static bool given(const json_t *value)
{
    return value != NULL && !json_is_null(value);
}

static int check_object(const json_t *value, const char *name, struct err *err)
{
    if (given(value) && !json_is_object(value)) {
        return err_set(err, ERR_CONFIG, "%s must be an object", name);
    }
    return 0;
}

static int check_number(const json_t *obj, const char *name, double max, struct err *err)
{
    const json_t *value = json_object_get(obj, name);
    double number = json_number_value(value);

    if (!given(value)) {
        return 0;
    }
    if (!json_is_number(value)) {
        return err_set(err, ERR_CONFIG, "%s must be a number", name);
    }
    if (!(number >= 0)) {
        return err_set(err, ERR_CONFIG,
                       "Invalid value (%g) specified for %s. Value cannot be less than 0.", number,
                       name);
    }
    if (number > max) {
        return err_set(err, ERR_CONFIG,
                       "Invalid value (%g) specified for %s. Value cannot be more than %.0f.",
                       number, name, max);
    }
    return 0;
}

static int check_text(const json_t *obj, const char *name, struct err *err)
{
    const json_t *value = json_object_get(obj, name);

    if (given(value) && !json_is_string(value)) {
        return err_set(err, ERR_CONFIG, "%s must be a text", name);
    }
    return 0;
}

static int check_checker(const json_t *checker, struct err *err)
{
    const json_t *http = json_object_get(checker, "http");
    const json_t *shell = json_object_get(checker, "shell");

    if (check_object(checker, "health_checker", err) < 0 ||
        check_object(http, "http health checker", err) < 0 ||
        check_object(shell, "shell health checker", err) < 0 ||
        check_text(http, "endpoint", err) < 0 || check_text(http, "expected_response", err) < 0 ||
        check_number(http, "expected_response_code", CODE_MAX, err) < 0) {
        return err->code;
    }
    if (given(shell) && json_string_length(json_object_get(shell, "shell_command")) == 0) {
        return err_set(err, ERR_CONFIG, "ShellHealthChecker[shell_command] is required.");
    }
    return 0;
}

int job_health_check(const json_t *doc, struct err *err)
{
    const json_t *health = json_object_get(doc, "health_check_config");
    const json_t *lifecycle = json_object_get(doc, "lifecycle");
    const json_t *http = json_object_get(lifecycle, "http");

    if (check_object(health, "health_check_config", err) < 0 ||
        check_number(health, "max_consecutive_failures", INT32_MAX, err) < 0 ||
        check_number(health, "min_consecutive_successes", INT32_MAX, err) < 0 ||
        check_number(health, "initial_interval_secs", SECONDS_MAX, err) < 0 ||
        check_number(health, "interval_secs", SECONDS_MAX, err) < 0 ||
        check_number(health, "timeout_secs", TIMEOUT_MAX, err) < 0 ||
        check_checker(json_object_get(health, "health_checker"), err) < 0) {
        return err->code;
    }
    if (check_object(lifecycle, "lifecycle", err) < 0 ||
        check_object(http, "http lifecycle", err) < 0 || check_text(http, "port", err) < 0 ||
        check_text(http, "graceful_shutdown_endpoint", err) < 0 ||
        check_text(http, "shutdown_endpoint", err) < 0 ||
        check_number(http, "graceful_shutdown_wait_secs", SECONDS_MAX, err) < 0 ||
        check_number(http, "shutdown_wait_secs", SECONDS_MAX, err) < 0) {
        return err->code;
    }
    return 0;
}

void job_health_add(const json_t *doc, json_t *config)
{
    const json_t *ports = json_object_get(config, "ports");
    json_t *health = json_object_get(doc, "health_check_config");
    json_t *lifecycle = json_object_get(doc, "lifecycle");
    const json_t *checker = json_object_get(health, "health_checker");
    const json_t *http = json_object_get(lifecycle, "http");

    /* Most tasks have neither, and the store keeps every intent. */
    if (json_is_object(json_object_get(checker, "shell")) ||
        (json_is_object(health) && json_object_get(ports, "health") != NULL)) {
        json_put_take(config, "health", json_incref(health));
    }
    if (json_is_object(http) &&
        json_object_get(ports, json_str_or(http, "port", "health")) != NULL) {
        json_put_take(config, "lifecycle", json_incref(lifecycle));
    }
}
