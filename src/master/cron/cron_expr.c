/* SPDX-License-Identifier: Apache-2.0 */

/* cron_expr: crontab syntax as Aurora has it, read into sets of numbers.
 *
 * Pure.  What is accepted is Aurora's CrontabEntry to the letter, its oddities included
 * (A-B/S wants S < B); the messages are better, because people read them.
 */

#include "master/cron/cron_expr.h"

#include "base/buf.h"
#include "base/str.h"
#include "base/tz.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { MAX_DIGITS = 9 };

struct cron_field {
    const char *title;
    const char *allowed;
    int min, max;
    const char *const *names; /* Of min, min + 1, ...; NULL: none. */
    int n_names;
};

static const char *const month_names[] = { "JAN", "FEB", "MAR", "APR", "MAY", "JUN",
                                           "JUL", "AUG", "SEP", "OCT", "NOV", "DEC" };
static const char *const day_names[] = { "SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT" };

static const struct cron_field fields[] = {
    { "minute", "0-59", 0, 59, NULL, 0 },
    { "hour", "0-23", 0, 23, NULL, 0 },
    { "day of month", "1-31", 1, 31, NULL, 0 },
    { "month", "1-12 or JAN-DEC", 1, 12, month_names, 12 },
    { "day of week", "0-6 or SUN-SAT", 0, 6, day_names, 7 },
};

enum { N_FIELDS = sizeof(fields) / sizeof(fields[0]) };

/* One item of a field's list, while it is read. */
struct item {
    const struct cron_field *field;
    const char *text; /* The whole item, for messages. */
    const char *at;
};

static int bad(const struct item *item, struct err *err, const char *what)
{
    return err_set(err, ERR_CONFIG, "Invalid cron schedule: %s '%s': %s; %s is allowed",
                   item->field->title, item->text, what, item->field->allowed);
}

static int read_digits(struct item *item, int *ret_value, struct err *err)
{
    size_t n = strspn(item->at, "0123456789");

    if (n == 0 || n > MAX_DIGITS) {
        return bad(item, err, n == 0 ? "a number is missing" : "the number is too large");
    }
    *ret_value = (int)strtol(item->at, NULL, 10);
    item->at += n;
    return 0;
}

/* A number or a name. */
static int read_value(struct item *item, int *ret_value, struct err *err)
{
    const struct cron_field *field = item->field;

    for (int i = 0; i < field->n_names; i++) {
        if (strncasecmp(item->at, field->names[i], 3) == 0) {
            item->at += 3;
            *ret_value = field->min + i;
            return 0;
        }
    }
    if (strspn(item->at, "0123456789") == 0) {
        return bad(item, err, "this is not *, N, A-B, */S or A-B/S");
    }
    if (read_digits(item, ret_value, err) < 0) {
        return err_code(err);
    }
    if (*ret_value < field->min || *ret_value > field->max) {
        return bad(item, err,
                   field->names == day_names && *ret_value == 7
                       ? "Sunday is 0 here, 7 is out of range"
                       : "out of range");
    }
    return 0;
}

/* "/S" behind * or A-B; a step of 1 without. */
static int read_step(struct item *item, int last, int *ret_step, struct err *err)
{
    *ret_step = 1;
    if (*item->at != '/') {
        return 0;
    }
    item->at++;
    if (read_digits(item, ret_step, err) < 0) {
        return err_code(err);
    }
    if (*ret_step == 0) {
        return bad(item, err, "a step must be greater than 0");
    }
    if (last >= 0 && *ret_step >= last) {
        return bad(item, err, "the step of A-B/S must be smaller than B");
    }
    return 0;
}

static int read_item(struct item *item, uint64_t *set, struct err *err)
{
    int first = item->field->min;
    int last = item->field->max;
    int step = 1;

    if (*item->at == '*') {
        item->at++;
        if (read_step(item, -1, &step, err) < 0) {
            return err_code(err);
        }
    } else {
        if (read_value(item, &first, err) < 0) {
            return err_code(err);
        }
        last = first;
        if (*item->at == '-') {
            item->at++;
            if (read_value(item, &last, err) < 0 || read_step(item, last, &step, err) < 0) {
                return err_code(err);
            }
        } else if (*item->at == '/') {
            return bad(item, err, "a step needs a range, write A-B/S or */S");
        }
    }
    if (*item->at != '\0') {
        return bad(item, err, "this is not *, N, A-B, */S or A-B/S");
    }
    if (first > last) {
        return bad(item, err, "the range runs backwards");
    }
    for (int i = first; i <= last; i += step) {
        *set |= UINT64_C(1) << i;
    }
    return 0;
}

static int read_field(const struct cron_field *field, const char *text, uint64_t *ret_set,
                      struct err *err)
{
    CLEANUP(strv_freep) char **items = str_split(text, ",");
    uint64_t set = 0;

    for (char **one = items; *one != NULL; one++) {
        struct item item = { field, *one, *one };

        if (**one == '\0') {
            item.text = text;
            return bad(&item, err, "an item of the list is empty");
        }
        if (read_item(&item, &set, err) < 0) {
            return err_code(err);
        }
    }
    *ret_set = set;
    return 0;
}

static bool is_full(const struct cron_field *field, uint64_t set)
{
    uint64_t full = (UINT64_C(2) << field->max) - (UINT64_C(1) << field->min);

    return set == full;
}

/* Is there such a day in any year?  29 FEB is one. */
static bool has_day(const struct cron_expr *expr)
{
    for (unsigned month = 1; month <= 12; month++) {
        uint32_t days = (UINT32_C(2) << (tz_days_of_month(2000, month) - 1)) - 1;

        if ((expr->months >> month & 1) != 0 && (expr->days >> 1 & days) != 0) {
            return true;
        }
    }
    return false;
}

/* Words parted by blanks, fit to be shown: what needs escaping is refused in any case.  More than
 * N_FIELDS + 1 are not needed. */
static char **split_words(const char *text)
{
    char **words = mem_alloc(sizeof(*words));

    while (strv_len(words) <= N_FIELDS) {
        size_t blanks = strspn(text, " \t\r\n");
        size_t n = strcspn(text += blanks, " \t\r\n");

        if (n == 0) {
            break;
        }
        CLEANUP(mem_freep) char *word = mem_strndup(text, n);

        strv_add_take(&words, str_escape(word));
        text += n;
    }
    return words;
}

/* What people write who know another cron. */
static int refuse_nickname(const char *text, struct err *err)
{
    static const struct {
        const char *name, *meaning;
    } nicknames[] = {
        { "@hourly", "0 * * * *" },   { "@daily", "0 0 * * *" },   { "@midnight", "0 0 * * *" },
        { "@weekly", "0 0 * * 0" },   { "@monthly", "0 0 1 * *" }, { "@yearly", "0 0 1 1 *" },
        { "@annually", "0 0 1 1 *" },
    };

    for (size_t i = 0; i < sizeof(nicknames) / sizeof(nicknames[0]); i++) {
        if (strcasecmp(text, nicknames[i].name) == 0) {
            return err_set(err, ERR_CONFIG,
                           "Invalid cron schedule: '%s' is not supported, write '%s'", text,
                           nicknames[i].meaning);
        }
    }
    return err_set(err, ERR_CONFIG,
                   "Invalid cron schedule: '%s': words with @ are not supported, five fields are: "
                   "minute hour day-of-month month day-of-week",
                   text);
}

static int check_days(const struct cron_expr *expr, const char *text, struct err *err)
{
    if (!is_full(&fields[2], expr->days) && !is_full(&fields[4], expr->weekdays)) {
        return err_set(err, ERR_CONFIG,
                       "Invalid cron schedule: '%s': limiting both day of month and day of week is "
                       "not supported, one of them must be *",
                       text);
    }
    if (!has_day(expr)) {
        return err_set(err, ERR_CONFIG,
                       "Invalid cron schedule: '%s' never fires, there is no such day in any year",
                       text);
    }
    return 0;
}

int cron_expr_parse(const char *text, struct cron_expr *ret_expr, struct err *err)
{
    CLEANUP(mem_freep) char *shown = str_escape(text);
    CLEANUP(strv_freep) char **words = NULL;
    uint64_t sets[N_FIELDS];
    struct cron_expr expr;

    if (strlen(text) > CRON_EXPR_MAX) {
        return err_set(err, ERR_CONFIG, "Invalid cron schedule: it is longer than %d characters",
                       CRON_EXPR_MAX);
    }
    words = split_words(text);
    if (words[0] != NULL && words[0][0] == '@') {
        return refuse_nickname(words[0], err);
    }
    if (strv_len(words) != N_FIELDS) {
        return err_set(err, ERR_CONFIG,
                       "Invalid cron schedule: '%s' has %s than five fields: minute hour "
                       "day-of-month month day-of-week",
                       shown, strv_len(words) < N_FIELDS ? "fewer" : "more");
    }
    for (size_t i = 0; i < N_FIELDS; i++) {
        if (read_field(&fields[i], words[i], &sets[i], err) < 0) {
            return err_code(err);
        }
    }
    expr = (struct cron_expr){ .minutes = sets[0],
                               .hours = (uint32_t)sets[1],
                               .days = (uint32_t)sets[2],
                               .months = (uint32_t)sets[3],
                               .weekdays = (uint32_t)sets[4] };
    if (check_days(&expr, shown, err) < 0) {
        return err_code(err);
    }
    *ret_expr = expr;
    return 0;
}

bool cron_expr_is_hourly(const struct cron_expr *expr)
{
    return is_full(&fields[1], expr->hours);
}
