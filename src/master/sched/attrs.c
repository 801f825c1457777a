/* SPDX-License-Identifier: Apache-2.0 */
/* attrs: constraints of jobs against attributes of nodes.
 *
 * Pure.  What the rules mean is Aurora's: a node without the attribute breaks a value rule and a
 * limit, and keeps a negated rule.  Texts once seen stay: they are few (names and values of
 * racks, hosts, kinds of machines).
 */
#include "master/sched/attrs.h"

#include "base/mem.h"
#include "base/str.h"
#include "master/sched/tally.h"

#include <string.h>
#include <uthash.h>

/* "rack" has a number as a name, "rack\na" as a pair. */
struct text {
    char *text;
    uint32_t number;
    UT_hash_handle hh;
};

struct attrs {
    struct text *texts;
    uint32_t n;
};

static const struct text *intern_take(struct attrs *attrs, char *text)
{
    struct text *found;

    HASH_FIND_STR(attrs->texts, text, found);
    if (found != NULL) {
        free(text);
        return found;
    }
    found = mem_alloc(sizeof(*found));
    found->text = text;
    found->number = ++attrs->n;
    HASH_ADD_KEYPTR(hh, attrs->texts, found->text, strlen(found->text), found);
    return found;
}

static uint32_t pair_of(struct attrs *attrs, const char *name, const char *value, size_t len)
{
    return intern_take(attrs, str_printf("%s\n%.*s", name, (int)len, value))->number;
}

struct attrs *attrs_new(void)
{
    return mem_alloc(sizeof(struct attrs));
}

void attrs_free(struct attrs *attrs)
{
    struct text *text;
    struct text *next;

    if (attrs == NULL) {
        return;
    }
    HASH_ITER(hh, attrs->texts, text, next)
    {
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it misses that HASH_DEL moves the head. */
        HASH_DEL(attrs->texts, text);
        free(text->text);
        free(text);
    }
    free(attrs);
}

/* ---- Nodes ---- */

static void add_values(struct attrs *attrs, struct attr_set *set, const char *name,
                       const char *values)
{
    uint32_t number = intern_take(attrs, mem_strdup(name))->number;

    for (const char *at = values; at != NULL;) {
        size_t len = strcspn(at, ",");

        set->of = mem_realloc(set->of, (set->n + 1) * sizeof(set->of[0]));
        set->of[set->n++] = (struct attr){ number, pair_of(attrs, name, at, len) };
        at = at[len] == ',' ? at + len + 1 : NULL;
    }
    set->dedicated |= strcmp(name, CONSTRAINT_DEDICATED) == 0;
}

void attrs_read(struct attrs *attrs, const json_t *doc, struct attr_set *ret_set)
{
    const char *name;
    json_t *value;

    attr_set_fini(ret_set);
    json_object_foreach((json_t *)doc, name, value)
    {
        if (json_is_string(value)) {
            add_values(attrs, ret_set, name, json_string_value(value));
        }
    }
}

void attr_set_fini(struct attr_set *set)
{
    free(set->of);
    *set = (struct attr_set){ 0 };
}

/* ---- Jobs ---- */

static void compile(struct attrs *attrs, const struct constraint *from, struct attr_rule *to)
{
    const struct text *name = intern_take(attrs, mem_strdup(from->name));

    *to = (struct attr_rule){ .name = name->number,
                              .text = name->text,
                              .is_limit = from->is_limit,
                              .negated = from->negated,
                              .limit = from->limit > 0 ? (uint32_t)from->limit : 0 };
    if (from->n_values > 0) {
        to->pairs = mem_alloc(from->n_values * sizeof(to->pairs[0]));
    }
    for (size_t i = 0; i < from->n_values; i++) {
        to->pairs[to->n_pairs++] =
            pair_of(attrs, from->name, from->values[i], strlen(from->values[i]));
    }
}

void attrs_compile(struct attrs *attrs, const struct constraint *constraints, size_t n,
                   struct attr_rules *ret_rules)
{
    *ret_rules = (struct attr_rules){ 0 };
    if (n == 0) {
        return;
    }
    ret_rules->of = mem_alloc(n * sizeof(ret_rules->of[0]));
    for (int limits = 0; limits <= 1; limits++) {
        for (size_t i = 0; i < n; i++) {
            if (constraints[i].is_limit == (limits == 1)) {
                compile(attrs, &constraints[i], &ret_rules->of[ret_rules->n++]);
                ret_rules->n_limits += (size_t)limits;
                ret_rules->dedicated |= strcmp(constraints[i].name, CONSTRAINT_DEDICATED) == 0;
            }
        }
    }
}

void attr_rules_fini(struct attr_rules *rules)
{
    for (size_t i = 0; i < rules->n; i++) {
        free(rules->of[i].pairs);
    }
    free(rules->of);
    *rules = (struct attr_rules){ 0 };
}

/* ---- Does it hold? ---- */

static bool has_pair(const struct attr_rule *rule, uint32_t pair)
{
    for (size_t i = 0; i < rule->n_pairs; i++) {
        if (rule->pairs[i] == pair) {
            return true;
        }
    }
    return false;
}

static bool value_holds(const struct attr_rule *rule, const struct attr_set *set)
{
    for (size_t i = 0; i < set->n; i++) {
        if (set->of[i].name == rule->name && has_pair(rule, set->of[i].pair)) {
            return !rule->negated;
        }
    }
    return rule->negated;
}

static bool limit_holds(const struct attr_rule *rule, const struct attr_set *set,
                        const struct tally *tasks)
{
    bool there = false;

    for (size_t i = 0; i < set->n; i++) {
        if (set->of[i].name == rule->name) {
            there = true;
            if (tally_of(tasks, set->of[i].pair) >= rule->limit) {
                return false;
            }
        }
    }
    return there;
}

const struct attr_rule *attr_rules_broken(const struct attr_rules *rules,
                                          const struct attr_set *set, const struct tally *tasks)
{
    for (size_t i = 0; i < rules->n; i++) {
        const struct attr_rule *rule = &rules->of[i];

        if (!(rule->is_limit ? limit_holds(rule, set, tasks) : value_holds(rule, set))) {
            return rule;
        }
    }
    return NULL;
}
