/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"
#include "base/mem.h"

#include <stdbool.h>
#include <stddef.h>

/* CLUSTER/ROLE/ENV/NAME.  In a pattern each part may be a shell glob. */
struct job_key {
    char *cluster, *role, *env, *name;
};

enum { JOB_KEY_PART_MAX = 255 };

void job_key_fini(struct job_key *key);

/* Exactly four parts; role, env and name of [A-Za-z0-9_.-], neither "." nor "..".
 * key is zeroed or finished before; ERR_INVALID names the part. */
int job_key_parse(const char *text, struct job_key *key, struct err *err);

/* One to four parts; missing and empty ones become "*".  Parts may hold * ? [ ]. */
int job_key_parse_glob(const char *text, struct job_key *key, struct err *err);

void job_key_set(struct job_key *key, const char *cluster, const char *role, const char *env,
                 const char *name);

/* "cluster/role/env/name"; the caller's. */
char *job_key_text(const struct job_key *key);

/* Is s a role, environment or name that a key may have? */
bool job_key_part_ok(const char *s);

/* Every part of key by the glob in pattern's part. */
bool job_key_matches(const struct job_key *pattern, const struct job_key *key);
