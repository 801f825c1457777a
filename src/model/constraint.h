/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* One rule of a job about the attributes of the nodes it may run on: `limit:N`, `a,b`, `!a,b`. */
struct constraint {
    char *name;    /* The attribute: "rack". */
    bool is_limit; /* At most `limit` active tasks of the job per value of the attribute. */
    int limit;     /* 0 for one that could not be read: it never holds. */
    bool negated;  /* None of values, otherwise one of them. */
    char **values; /* Sorted; n_values > 0 unless is_limit. */
    size_t n_values;
};

enum { CONSTRAINTS_MAX = 100 };

#define CONSTRAINT_DEDICATED "dedicated"

/* Reads a job's `constraints`, an object of texts, sorted by name; NULL and 0 when there are none.
 * What is no text is left out.  The caller's, for constraints_free(). */
void constraints_read(const json_t *doc, struct constraint **ret_list, size_t *ret_n);
void constraints_free(struct constraint *list, size_t n);

/* Are they what a user of this role may ask for?  ERR_CONFIG in the words of Aurora's scheduler. */
int constraints_check(const json_t *doc, const struct constraint *list, size_t n, const char *role,
                      struct err *err);

/* The value of the rule `dedicated`, "role/anything" or "*" "/anything"; NULL without one.
 * Borrowed. */
const char *constraints_dedicated(const struct constraint *list, size_t n);
