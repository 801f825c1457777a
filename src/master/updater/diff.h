/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* What an update would do to each instance.  Pure. */

enum diff_kind { DIFF_NONE, DIFF_ADD, DIFF_UPDATE, DIFF_REMOVE, DIFF_UNCHANGED };

struct diff_instance {
    int id;
    const char *config; /* Hash of what it has, NULL: it is not there.  Borrowed. */
    enum diff_kind kind;
};

struct diff {
    struct diff_instance *instances; /* Ascending: all that are, or are to be. */
    size_t n;
    size_t n_changes; /* Added, updated or removed ones. */
};

void diff_fini(struct diff *diff);

/* The instances that an update is about; ascending. */
struct diff_scope {
    const int *ids;
    size_t n;
};

/* The instances that are: `now`, hash by id (NULL: none), n_now of them; what is wanted: ids 0 to
 * n_wanted - 1 with config `wanted`.  only: the ids that it is about (ascending), NULL for all;
 * what lies outside is DIFF_NONE.  ERR_INVALID when one of them neither is nor is wanted. diff is
 * zeroed; it borrows the hashes. */
int diff_make(const char *const *now, size_t n_now, size_t n_wanted, const char *wanted,
              const struct diff_scope *only, struct diff *diff, struct err *err);

/* Fields that differ between two evaluated jobs, for people: {"task.resources.ram": [old, new]},
 * without what makes no other task (instances, update_config).  A missing one is null.  The
 * caller's. */
json_t *diff_fields(const json_t *old_job, const json_t *new_job);
