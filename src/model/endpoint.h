/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>

/* Where a task can be reached: its ports by all their names, and its ServerSet member as Aurora's
 * executor announced it. */

/* Every name that leads to a port number: the assigned ones ({name: number}), and those of the
 * portmap of announce (a Job's `announce`; NULL: none) that are numbers or lead to one.  What is
 * assigned wins over the portmap; a name that leads nowhere or in a circle is left out.  The
 * caller's. */
json_t *endpoint_ports(const json_t *announce, const json_t *assigned);

/* Is there an Announcer? */
bool endpoint_announced(const json_t *announce);

/* {"serviceEndpoint":{"host","port"},"additionalEndpoints":{name:{"host","port"}},"status":"ALIVE",
 * "shard":N} out of endpoint_ports(); port 0 when the primary port is none of them.  The caller's.
 */
json_t *endpoint_member(const json_t *announce, const json_t *ports, const char *host, int shard);
