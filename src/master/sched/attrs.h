/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "model/constraint.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tally;

/* Attributes of nodes and constraints of jobs as numbers: texts are compared once, when they
 * come, and not again for each pair of a node and a job. */
struct attrs;

struct attrs *attrs_new(void);
void attrs_free(struct attrs *attrs);

/* One value of one attribute. */
struct attr {
    uint32_t name;
    uint32_t pair; /* Of name and value: no two attributes share one. */
};

/* What a node has.  Zeroed: nothing. */
struct attr_set {
    struct attr *of;
    size_t n;
    bool dedicated; /* For those only that name it. */
};

/* Reads {name: text}; a text with commas is several values.  Replaces what ret_set held. */
void attrs_read(struct attrs *attrs, const json_t *doc, struct attr_set *ret_set);
void attr_set_fini(struct attr_set *set);

struct attr_rule {
    uint32_t name;
    const char *text; /* The name, for messages; lives as long as attrs. */
    bool is_limit, negated;
    uint32_t limit;
    uint32_t *pairs;
    size_t n_pairs;
};

/* What a job asks: value rules first, then limits, each in the order of their names. */
struct attr_rules {
    struct attr_rule *of;
    size_t n;
    size_t n_limits;
    bool dedicated; /* It names dedicated nodes. */
};

void attrs_compile(struct attrs *attrs, const struct constraint *constraints, size_t n,
                   struct attr_rules *ret_rules);
void attr_rules_fini(struct attr_rules *rules);

/* The first rule that this node breaks, NULL for none.  tasks: of the job, by pair. */
const struct attr_rule *attr_rules_broken(const struct attr_rules *rules,
                                          const struct attr_set *set, const struct tally *tasks);
