/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/buf.h"
#include "base/err.h"

/* URLs of agents' HTTP interfaces. */

/* url becomes "http://ADDRESS/v1" and one "/segment" for each, percent-encoded; NULL ends them. */
void agent_call_url(struct buf *url, const char *address, const char *const *segments);

/* Adds "?key=value" or "&key=value", percent-encoded; nothing when value is NULL. */
void agent_call_query(struct buf *url, const char *key, const char *value);

/* The bearer token for agents: the first one of a token file.  NULL path gives NULL.  The
 * caller's. */
int agent_call_token(const char *path, char **ret_token, struct err *err);
