/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"

#include <jansson.h>

/* A Job's health_check_config and lifecycle. */

/* ERR_CONFIG, in Aurora's words, for what davit-pod could not work with. */
int job_health_check(const json_t *doc, struct err *err);

/* Gives the config.davit of an intent, which has its ports already, what of both is in force there:
 * `health` with a command or a port called health, `lifecycle` with a port of its port's name. */
void job_health_add(const json_t *doc, json_t *config);
