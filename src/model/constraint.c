/* SPDX-License-Identifier: Apache-2.0 */
/* constraint: what a job asks of the nodes it runs on, read from its configuration.
 *
 * Not whether a node satisfies it: that is the scheduler's.  Reading takes what is there,
 * because it also reads what the store holds; refusing is the check's.
 */
#include "model/constraint.h"

#include "base/str.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT_PREFIX "limit:"

static int compare_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int compare_name(const void *a, const void *b)
{
    return strcmp(((const struct constraint *)a)->name, ((const struct constraint *)b)->name);
}

static void read_one(struct constraint *constraint, const char *name, const char *text)
{
    struct err ignored = { 0 };
    int64_t limit = 0;

    constraint->name = mem_strdup(name);
    if (str_starts(text, LIMIT_PREFIX)) {
        constraint->is_limit = true;
        (void)str_to_int(text + strlen(LIMIT_PREFIX), 1, INT32_MAX, "limit", &limit, &ignored);
        constraint->limit = (int)limit;
        return;
    }
    constraint->negated = text[0] == '!';
    constraint->values = str_split(text + constraint->negated, ",");
    constraint->n_values = strv_len(constraint->values);
    qsort(constraint->values, constraint->n_values, sizeof(char *), compare_text);
}

void constraints_read(const json_t *doc, struct constraint **ret_list, size_t *ret_n)
{
    struct constraint *list;
    const char *name;
    json_t *value;
    size_t n = 0;

    *ret_list = NULL;
    *ret_n = 0;
    if (json_object_size(doc) == 0) {
        return;
    }
    list = mem_alloc(json_object_size(doc) * sizeof(*list));
    json_object_foreach((json_t *)doc, name, value)
    {
        if (json_is_string(value)) {
            read_one(&list[n++], name, json_string_value(value));
        }
    }
    if (n > 1) {
        qsort(list, n, sizeof(*list), compare_name);
    }
    *ret_list = list;
    *ret_n = n;
}

void constraints_free(struct constraint *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(list[i].name);
        strv_free(list[i].values);
    }
    free(list);
}

const char *constraints_dedicated(const struct constraint *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(list[i].name, CONSTRAINT_DEDICATED) == 0) {
            return list[i].n_values > 0 ? list[i].values[0] : NULL;
        }
    }
    return NULL;
}

static int check_dedicated(const struct constraint *constraint, const char *role, struct err *err)
{
    const char *value;
    size_t len;

    if (constraint->is_limit || constraint->negated) {
        return err_set(err, ERR_CONFIG, "A dedicated constraint must be of value type.");
    }
    if (constraint->n_values != 1 || constraint->values[0][0] == '\0') {
        return err_set(err, ERR_CONFIG, "A dedicated constraint must have exactly one value");
    }
    value = constraint->values[0];
    len = strcspn(value, "/");
    if (!(len == 1 && value[0] == '*') &&
        !(len == strlen(role) && strncmp(value, role, len) == 0)) {
        return err_set(err, ERR_CONFIG, "Only %.*s may use hosts dedicated for that role.",
                       len < 100 ? (int)len : 100, value);
    }
    return 0;
}

int constraints_check(const json_t *doc, const struct constraint *list, size_t n, const char *role,
                      struct err *err)
{
    if (doc != NULL && !json_is_null(doc) && !json_is_object(doc)) {
        return err_set(err, ERR_CONFIG, "constraints must be a map of texts");
    }
    if (json_object_size(doc) != n) {
        return err_set(err, ERR_CONFIG, "each constraint must be a text");
    }
    if (n > CONSTRAINTS_MAX) {
        return err_set(err, ERR_CONFIG, "A job may have at most %d constraints.", CONSTRAINTS_MAX);
    }
    for (size_t i = 0; i < n; i++) {
        if (list[i].name[0] == '\0') {
            return err_set(err, ERR_CONFIG, "a constraint needs the name of an attribute");
        }
        if (list[i].is_limit && list[i].limit < 1) {
            return err_set(err, ERR_CONFIG, "%.100s is not a valid limit value, must be integer",
                           json_string_value(json_object_get(doc, list[i].name)));
        }
        if (strcmp(list[i].name, CONSTRAINT_DEDICATED) == 0 &&
            check_dedicated(&list[i], role, err) < 0) {
            return err->code;
        }
    }
    return 0;
}
