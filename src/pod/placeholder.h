/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct placeholder_port {
    char *name;
    int number;
};

/* What is known once a task has its place. */
struct placeholder_values {
    int64_t instance;     /* {{mesos.instance}} */
    const char *hostname; /* {{mesos.hostname}} */
    const char *task_id;  /* {{thermos.task_id}} */
    const char *user;     /* {{thermos.user}} */
    const struct placeholder_port *ports;
    size_t n_ports; /* {{thermos.ports[NAME]}} */
};

/* text with these references filled in; any other one, also that of a port that was not
 * given, stays as it is.  What is filled in is not looked at again.  The caller's. */
char *placeholder_fill(const char *text, const struct placeholder_values *values);
