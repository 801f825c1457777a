/* SPDX-License-Identifier: Apache-2.0 */

/* record: one run of one hook as every program of davit tells it, and its JSON.
 *
 * Not where records are kept (journal.c) nor how they come about (run.c).
 * Failure: a record from outside with a member of the wrong type is refused whole.
 * Invariant: each member's name and place in the JSON stand once, in the tables below.
 */
#include "hook/record.h"

#include "base/id.h"
#include "base/json.h"
#include "base/str.h"

#include <string.h>

struct text_member {
    const char *name;
    size_t offset;
    bool needed;
};

struct number_member {
    const char *name;
    size_t offset;
    int64_t unknown; /* Stands in JSON as null. */
};

#define AT(member) offsetof(struct hook_record, member)

static const struct text_member texts[] = {
    { "run_id", AT(run_id), true },
    { "level", AT(level), true },
    { "event", AT(event), true },
    { "phase", AT(phase), false },
    { "hook", AT(hook), true },
    { "path", AT(path), false },
    { "op_id", AT(op_id), false },
    { "job", AT(job), false },
    { "task", AT(task), false },
    { "node", AT(node), false },
    { "token", AT(token), false },
    { "error", AT(error), false },
    { "output_head", AT(output_head), false },
    { "output_tail", AT(output_tail), false },
};

static const struct number_member numbers[] = {
    { "op_number", AT(op_number), 0 },
    { "opcode_index", AT(opcode_index), -1 },
    { "instance", AT(instance), -1 },
    { "attempt", AT(attempt), 0 },
    { "intent_ms", AT(intent_ms), 0 },
    { "started_ms", AT(started_ms), 0 },
    { "finished_ms", AT(finished_ms), 0 },
    { "pid", AT(pid), 0 },
    { "exit_code", AT(exit_code), -1 },
    { "signal", AT(signal), 0 },
    { "output_bytes", AT(output_bytes), INT64_MIN },
    { "left_behind", AT(left_behind), INT64_MIN },
};

static const char *const outcomes[] = {
    [HOOK_OPEN] = NULL,
    [HOOK_OK] = "ok",
    [HOOK_FAILED] = "failed",
    [HOOK_REFUSED] = "refused",
    [HOOK_TIMED_OUT] = "timed_out",
    [HOOK_SKIPPED] = "skipped",
    [HOOK_UNSTARTABLE] = "unstartable",
    [HOOK_LOST] = "lost",
};

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static char **text_at(const struct hook_record *record, size_t offset)
{
    return (char **)((char *)record + offset);
}

static int64_t *number_at(const struct hook_record *record, size_t offset)
{
    return (int64_t *)(void *)((char *)record + offset);
}

void record_init(struct hook_record *record, bool with_id)
{
    char id[ID_TOKEN_SIZE];

    *record = (struct hook_record){ .opcode_index = -1, .instance = -1, .exit_code = -1 };
    if (with_id) {
        id_token(id);
        record->run_id = mem_strdup(id);
    }
}

void record_fini(struct hook_record *record)
{
    for (size_t i = 0; i < COUNT(texts); i++) {
        free(*text_at(record, texts[i].offset));
    }
    *record = (struct hook_record){ 0 };
}

void record_set(char **member, const char *value)
{
    char *copy = value != NULL ? mem_strdup(value) : NULL;

    free(*member);
    *member = copy;
}

void record_copy(struct hook_record *to, const struct hook_record *from)
{
    *to = *from;
    for (size_t i = 0; i < COUNT(texts); i++) {
        char **text = text_at(to, texts[i].offset);
        *text = *text != NULL ? mem_strdup(*text) : NULL;
    }
}

/* known_only: leave out what is not known, for where space and time count. */
static json_t *to_json(const struct hook_record *record, bool known_only)
{
    json_t *json = json_object();
    const char *outcome = outcomes[record->outcome];

    for (size_t i = 0; i < COUNT(texts); i++) {
        const char *text = *text_at(record, texts[i].offset);
        if (text != NULL) {
            json_put_take(json, texts[i].name, json_str_repaired(text, strlen(text)));
        } else if (!known_only) {
            json_put_take(json, texts[i].name, json_null());
        }
    }
    for (size_t i = 0; i < COUNT(numbers); i++) {
        int64_t number = *number_at(record, numbers[i].offset);
        if (number != numbers[i].unknown) {
            json_put_take(json, numbers[i].name, json_integer(number));
        } else if (!known_only) {
            json_put_take(json, numbers[i].name, json_null());
        }
    }
    json_put_bool(json, "timed_out", record->timed_out);
    json_put_bool(json, "leave", record->leave);
    if (outcome != NULL || !known_only) {
        json_put_take(json, "outcome", outcome != NULL ? json_string(outcome) : json_null());
    }
    return json;
}

json_t *record_to_json(const struct hook_record *record)
{
    return to_json(record, false);
}

json_t *record_to_json_short(const struct hook_record *record)
{
    return to_json(record, true);
}

static int outcome_from(const json_t *json, enum hook_outcome *ret_outcome, struct err *err)
{
    const char *name = json_string_value(json);

    if (json == NULL || json_is_null(json)) {
        *ret_outcome = HOOK_OPEN;
        return 0;
    }
    for (int i = HOOK_OK; i <= HOOK_LOST; i++) {
        if (name != NULL && strcmp(name, outcomes[i]) == 0) {
            *ret_outcome = (enum hook_outcome)i;
            return 0;
        }
    }
    return err_set(err, ERR_INVALID, "hook record: unknown outcome");
}

static int fill(const json_t *json, struct hook_record *record, struct err *err)
{
    for (size_t i = 0; i < COUNT(texts); i++) {
        const json_t *member = json_object_get(json, texts[i].name);
        if (json_is_string(member)) {
            record_set(text_at(record, texts[i].offset), json_string_value(member));
        } else if (texts[i].needed || (member != NULL && !json_is_null(member))) {
            return err_set(err, ERR_INVALID, "hook record: %s must be a string", texts[i].name);
        }
    }
    for (size_t i = 0; i < COUNT(numbers); i++) {
        const json_t *member = json_object_get(json, numbers[i].name);
        if (json_is_integer(member)) {
            *number_at(record, numbers[i].offset) = json_integer_value(member);
        } else if (member != NULL && !json_is_null(member)) {
            return err_set(err, ERR_INVALID, "hook record: %s must be a number", numbers[i].name);
        }
    }
    record->timed_out = json_bool_or(json, "timed_out", false);
    record->leave = json_bool_or(json, "leave", false);
    return outcome_from(json_object_get(json, "outcome"), &record->outcome, err);
}

int record_from_json(const json_t *json, struct hook_record *ret_record, struct err *err)
{
    struct hook_record record;

    record_init(&record, false);
    if (!json_is_object(json)) {
        return err_set(err, ERR_INVALID, "hook record: not an object");
    }
    if (fill(json, &record, err) < 0) {
        record_fini(&record);
        return err_code(err);
    }
    *ret_record = record;
    return 0;
}

const char *record_outcome_name(enum hook_outcome outcome)
{
    return outcomes[outcome];
}

bool record_is_bad(const struct hook_record *record)
{
    return record->outcome != HOOK_OPEN && record->outcome != HOOK_OK &&
           record->outcome != HOOK_SKIPPED;
}
