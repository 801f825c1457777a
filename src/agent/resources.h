/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"

#include <stdint.h>

/* What this node offers to tasks. */
struct resources {
    double cpus;
    int64_t ram_bytes;
    int64_t disk_bytes;
    int port_first, port_last;
};

/* What the machine, or the control group we are in, has; disk is what is free below path. */
void resources_detect(const char *path, struct resources *ret_resources);

/* "31000-32000"; both within 1..65535, in order. */
int resources_parse_ports(const char *text, struct resources *resources, struct err *err);
