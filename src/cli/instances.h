/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>

/* Instances as people read them.  ids: a sorted array of numbers.  The caller's. */

char *instances_list(const json_t *ids);   /* "[0, 1, 2]" */
char *instances_ranges(const json_t *ids); /* "[0], [2-4]"; "" for none */
