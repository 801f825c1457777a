/* SPDX-License-Identifier: Apache-2.0 */

/* op_record: what can happen to one operation's record, decided apart from doing it.
 *
 * Pure: operations.c writes what comes out of here, and only then acts on it.
 *
 *   opcode:    none -> pre_intent -> pre_done -> post_intent -> post_done
 *              none -> post_intent when the prerequisites said no
 *              pre_intent -> post_intent when davit-op died during pre hooks
 *   operation: queued -> running -> succeeded | failed | disappeared
 *
 * Invariants: a step is never taken twice, except post_intent, whose status is fixed by the first
 * one: hooks that are run again after a crash are told the same.  An operation's state is the
 * status of its first opcode that did not succeed; what stood behind that never began and is
 * canceled.
 */

#include "master/operations/op_record.h"

#include "base/digest.h"
#include "base/json.h"
#include "base/str.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

enum { MAX_LOG = 200, MAX_RESULT_BYTES = 8 * 1024, MAX_ERROR_BYTES = 2048 };

#define STEP_NONE        "none"
#define STEP_PRE_INTENT  "pre_intent"
#define STEP_PRE_DONE    "pre_done"
#define STEP_POST_INTENT "post_intent"
#define STEP_POST_DONE   "post_done"

json_t *op_record_new(const struct op_record_request *request)
{
    json_t *record = json_object();

    json_put_int(record, "v", OP_RECORD_VERSION);
    json_put_str(record, "id", request->id);
    json_put_int(record, "number", (int64_t)request->number);
    json_put_str(record, "user", request->user);
    json_put_int(record, "priority", request->priority);
    json_put_str(record, "state", OP_STATUS_QUEUED);
    json_put_int(record, "created_ms", (int64_t)request->now_ms);
    json_put_str(record, "digest", request->digest);
    json_put_int(record, "attempt", 0);
    json_put_take(record, "opcodes", json_array());
    return record;
}

void op_record_add(json_t *record, const struct op_record_opcode *opcode)
{
    json_t *list = json_object_get(record, "opcodes");
    json_t *item = json_object();
    CLEANUP(mem_freep)
    char *token = str_printf("%s.%zu", json_str_or(record, "id", ""), json_array_size(list));

    json_put_str(item, "op", json_str_or(opcode->input, "op", ""));
    (void)json_object_set(item, "input", (json_t *)opcode->input);
    json_put_str(item, "object_type", opcode->object_type);
    json_put_str(item, "hooks_path", opcode->hooks_path);
    json_put_str(item, "job", opcode->job);
    json_put_str(item, "status", OP_STATUS_QUEUED);
    json_put_str(item, "step", STEP_NONE);
    json_put_str(item, "token", token);
    (void)json_array_append_new(list, item);
}

int op_record_check(const json_t *record, struct err *err)
{
    int64_t version, number;
    json_t *opcodes;
    const char *text;

    if (json_need_int(record, "v", 1, INT64_MAX, &version, err) < 0) {
        return err_code(err);
    }
    if (version > OP_RECORD_VERSION) {
        return err_set(err, ERR_UNSUPPORTED,
                       "operation record has version %" PRId64 "; this davit reads up to %d",
                       version, OP_RECORD_VERSION);
    }
    if (json_need_int(record, "number", 0, INT64_MAX, &number, err) < 0 ||
        json_need_str(record, "id", &text, err) < 0 ||
        json_need_str(record, "state", &text, err) < 0 ||
        json_need_array(record, "opcodes", &opcodes, err) < 0) {
        return err_code(err);
    }
    return json_array_size(opcodes) > 0 ? 0 : err_set(err, ERR_INVALID, "no opcode in it");
}

json_t *op_record_copy(const json_t *record)
{
    json_t *copy = json_copy((json_t *)record);
    json_t *opcodes = json_array();
    size_t i;
    json_t *item;

    /* Members of an opcode are only ever replaced, never changed in place: one level is enough. */
    json_array_foreach(json_object_get(record, "opcodes"), i, item)
    {
        (void)json_array_append_new(opcodes, json_copy(item));
    }
    json_put_take(copy, "opcodes", opcodes);
    return copy;
}

uint64_t op_record_number(const json_t *record)
{
    return (uint64_t)json_int_or(record, "number", 0);
}

int64_t op_record_attempt(const json_t *record)
{
    return json_int_or(record, "attempt", 0);
}

const char *op_record_state(const json_t *record)
{
    return json_str_or(record, "state", "");
}

size_t op_record_count(const json_t *record)
{
    return json_array_size(json_object_get(record, "opcodes"));
}

json_t *op_record_opcode(const json_t *record, size_t index)
{
    json_t *opcode = json_array_get(json_object_get(record, "opcodes"), index);

    assert(opcode != NULL);
    return opcode;
}

static bool has_step(const json_t *opcode, const char *step)
{
    return str_eq(json_str_or(opcode, "step", ""), step);
}

static int wrong_step(const json_t *opcode, const char *wanted, struct err *err)
{
    return err_set(err, ERR_CONFLICT, "the opcode is at step %s, not ready for %s",
                   json_str_or(opcode, "step", "?"), wanted);
}

void op_record_start(json_t *record, const char *boot_id, const char *host, const char *lock,
                     uint64_t now_ms)
{
    json_put_str(record, "state", OP_STATUS_RUNNING);
    json_put_int(record, "attempt", op_record_attempt(record) + 1);
    json_put_str(record, "boot_id", boot_id);
    json_put_str(record, "host", host);
    json_put_str(record, "lock", lock);
    if (json_object_get(record, "started_ms") == NULL) {
        json_put_int(record, "started_ms", (int64_t)now_ms);
    }
}

/* The first opcode that is not done; the count when all are. */
static size_t current(const json_t *record)
{
    size_t n = op_record_count(record);
    size_t i = 0;

    while (i < n && has_step(op_record_opcode(record, i), STEP_POST_DONE)) {
        i++;
    }
    return i;
}

int op_record_expect(const json_t *record, int64_t index, int64_t attempt, struct err *err)
{
    if (attempt != op_record_attempt(record)) {
        return err_set(err, ERR_CONFLICT, "attempt %" PRId64 " is stale, it is now %" PRId64,
                       attempt, op_record_attempt(record));
    }
    if (op_record_is_over(record)) {
        return err_set(err, ERR_CONFLICT, "the operation is over");
    }
    if (index < 0 || (size_t)index != current(record)) {
        return err_set(err, ERR_CONFLICT, "opcode %" PRId64 " is not the current one", index);
    }
    return 0;
}

int op_record_begin(json_t *record, size_t index, json_t *vars, json_t *nodes, bool pre_done,
                    struct err *err)
{
    json_t *opcode = op_record_opcode(record, index);

    if (!has_step(opcode, STEP_NONE)) {
        return wrong_step(opcode, STEP_PRE_INTENT, err);
    }
    json_put_str(opcode, "status", OP_STATUS_RUNNING);
    json_put_str(opcode, "step", pre_done ? STEP_PRE_DONE : STEP_PRE_INTENT);
    (void)json_object_set(opcode, "pre_vars", vars);
    (void)json_object_set(opcode, "pre_nodes", nodes);
    return 0;
}

static void put_error(json_t *opcode, const char *error)
{
    CLEANUP(mem_freep) char *cut = mem_strndup(error, MAX_ERROR_BYTES);

    json_put_str(opcode, "error", cut);
}

int op_record_reject(json_t *record, size_t index, const char *message, struct err *err)
{
    json_t *opcode = op_record_opcode(record, index);

    if (!has_step(opcode, STEP_NONE)) {
        return wrong_step(opcode, STEP_POST_INTENT, err);
    }
    json_put_str(opcode, "status", OP_STATUS_RUNNING);
    json_put_str(opcode, "step", STEP_POST_INTENT);
    json_put_str(opcode, "post_status", OP_STATUS_FAILED);
    put_error(opcode, message);
    return 0;
}

int op_record_pre_done(json_t *record, size_t index, bool refused, const char *error,
                       const char *hook, struct err *err)
{
    json_t *opcode = op_record_opcode(record, index);

    if (!has_step(opcode, STEP_PRE_INTENT)) {
        return wrong_step(opcode, STEP_PRE_DONE, err);
    }
    json_put_str(opcode, "step", STEP_PRE_DONE);
    if (refused) {
        put_error(opcode, error != NULL ? error : "refused by a hook");
        json_put_str(opcode, "hook", hook);
    }
    return 0;
}

/* Appends copies: the old array may belong to an older record too. */
static void add_log(json_t *opcode, const json_t *entries)
{
    const json_t *old = json_object_get(opcode, "log");
    json_t *log = json_array();
    size_t i;
    json_t *entry;

    if (json_array_size(entries) == 0) {
        json_decref(log);
        return;
    }
    json_array_foreach(old, i, entry)
    {
        (void)json_array_append(log, entry);
    }
    json_array_foreach((json_t *)entries, i, entry)
    {
        if (json_array_size(log) < MAX_LOG) {
            (void)json_array_append(log, entry);
        }
    }
    json_put_take(opcode, "log", log);
}

static void put_result(json_t *opcode, const json_t *result)
{
    CLEANUP(mem_freep) char *text = result != NULL ? json_text(result) : NULL;

    if (text == NULL) {
        return;
    }
    if (strlen(text) > MAX_RESULT_BYTES) {
        json_put_take(opcode, "result", json_pack("{s:b}", "truncated", 1));
        return;
    }
    (void)json_object_set(opcode, "result", (json_t *)result);
}

int op_record_post_intent(json_t *record, size_t index, const struct op_record_outcome *outcome,
                          struct err *err)
{
    json_t *opcode = op_record_opcode(record, index);

    if (has_step(opcode, STEP_POST_INTENT)) {
        return 0;
    }
    if (!has_step(opcode, STEP_PRE_INTENT) && !has_step(opcode, STEP_PRE_DONE)) {
        return wrong_step(opcode, STEP_POST_INTENT, err);
    }
    json_put_str(opcode, "step", STEP_POST_INTENT);
    json_put_str(opcode, "post_status", outcome->status);
    (void)json_object_set(opcode, "post_vars", outcome->vars);
    (void)json_object_set(opcode, "post_nodes", outcome->nodes);
    put_result(opcode, outcome->result);
    if (outcome->error != NULL && json_object_get(opcode, "error") == NULL) {
        put_error(opcode, outcome->error);
    }
    add_log(opcode, outcome->log);
    return 0;
}

static void cancel_after(json_t *record, size_t first, const char *why)
{
    for (size_t i = first; i < op_record_count(record); i++) {
        json_t *opcode = op_record_opcode(record, i);

        json_put_str(opcode, "status", OP_STATUS_CANCELED);
        put_error(opcode, why);
    }
}

static void end(json_t *record, const char *state, uint64_t now_ms)
{
    json_put_str(record, "state", state);
    json_put_int(record, "ended_ms", (int64_t)now_ms);
}

void op_record_log(json_t *record, size_t index, const char *message, uint64_t now_ms)
{
    CLEANUP(json_freep)
    json_t *entries = json_pack("[{s:I, s:s}]", "time_ms", (json_int_t)now_ms, "message", message);

    add_log(op_record_opcode(record, index), entries);
}

int op_record_finish(json_t *record, size_t index, const json_t *log, bool last, uint64_t now_ms,
                     struct err *err)
{
    json_t *opcode = op_record_opcode(record, index);
    const char *status = json_str_or(opcode, "post_status", OP_STATUS_FAILED);
    bool more = index + 1 < op_record_count(record);

    if (!has_step(opcode, STEP_POST_INTENT)) {
        return wrong_step(opcode, STEP_POST_DONE, err);
    }
    json_put_str(opcode, "step", STEP_POST_DONE);
    json_put_str(opcode, "status", status);
    add_log(opcode, log);
    if (!str_eq(status, OP_STATUS_SUCCEEDED)) {
        CLEANUP(mem_freep) char *why = str_printf("preceding opcode %s", status);

        cancel_after(record, index + 1, why);
        end(record, status, now_ms);
    } else if (last && more) {
        cancel_after(record, index + 1, "the process of the operation disappeared");
        end(record, OP_STATUS_DISAPPEARED, now_ms);
    } else if (!more) {
        end(record, OP_STATUS_SUCCEEDED, now_ms);
    }
    return 0;
}

void op_record_close(json_t *record, const char *why, uint64_t now_ms)
{
    size_t at = current(record);

    if (at < op_record_count(record)) {
        json_t *opcode = op_record_opcode(record, at);

        if (!has_step(opcode, STEP_NONE)) {
            json_put_str(opcode, "status",
                         json_str_or(opcode, "post_status", OP_STATUS_DISAPPEARED));
            put_error(opcode, why);
            at++;
        }
        cancel_after(record, at, why);
    }
    end(record, OP_STATUS_DISAPPEARED, now_ms);
}

bool op_record_is_over(const json_t *record)
{
    const char *state = op_record_state(record);

    return !str_eq(state, OP_STATUS_QUEUED) && !str_eq(state, OP_STATUS_RUNNING);
}

enum op_resume op_record_resume(const json_t *record, size_t *ret_index)
{
    size_t at = current(record);

    *ret_index = at;
    if (op_record_is_over(record)) {
        return OP_RESUME_ARCHIVE;
    }
    if (at == op_record_count(record) || op_record_attempt(record) >= OP_RECORD_MAX_ATTEMPTS) {
        return OP_RESUME_CLOSE;
    }
    if (!has_step(op_record_opcode(record, at), STEP_NONE)) {
        return OP_RESUME_DISAPPEARED;
    }
    return at == 0 ? OP_RESUME_RUN : OP_RESUME_CLOSE;
}

json_t *op_record_summary(const json_t *record)
{
    json_t *summary = op_record_copy(record);
    size_t i;
    json_t *opcode;

    json_array_foreach(json_object_get(summary, "opcodes"), i, opcode)
    {
        (void)json_object_del(opcode, "input");
        (void)json_object_del(opcode, "pre_vars");
        (void)json_object_del(opcode, "post_vars");
        (void)json_object_del(opcode, "log");
    }
    return summary;
}

char *op_record_text(json_t *record)
{
    char *text = json_text(record);
    size_t i;
    json_t *opcode;

    if (strlen(text) <= OP_RECORD_MAX_BYTES) {
        return text;
    }
    free(text);
    json_array_foreach(json_object_get(record, "opcodes"), i, opcode)
    {
        (void)json_object_del(opcode, "log");
        (void)json_object_del(opcode, "result");
        (void)json_object_del(opcode, "post_vars");
        if (has_step(opcode, STEP_POST_DONE)) {
            (void)json_object_del(opcode, "pre_vars"); /* No hook will be told them any more. */
        }
    }
    return json_text(record);
}

void op_record_digest(const json_t *body, const char *user, char *ret)
{
    CLEANUP(json_freep)
    json_t *essence =
        json_pack("{s:O?, s:O?, s:O?}", "id", json_object_get(body, "id"), "opcodes",
                  json_object_get(body, "opcodes"), "priority", json_object_get(body, "priority"));

    json_put_str(essence, "user", user);
    CLEANUP(mem_freep) char *text = json_text(essence);
    digest_sha256_hex(text, strlen(text), ret);
}
