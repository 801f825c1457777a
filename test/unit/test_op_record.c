/* SPDX-License-Identifier: Apache-2.0 */
#include "master/operations/op_record.h"

#include "base/digest.h"
#include "base/json.h"
#include "base/str.h"

#include "test.h"

#include <string.h>

static json_t *make(size_t n)
{
    json_t *record = op_record_new(&(struct op_record_request){
        .id = "u1", .number = 17, .user = "www", .digest = "d", .now_ms = 1000 });
    json_t *input = json_pack("{s:s, s:i}", "op", "OP_TEST_DELAY", "duration", 1);

    for (size_t i = 0; i < n; i++) {
        op_record_add(
            record, &(struct op_record_opcode){ .input = input, .object_type = "NOT_APPLICABLE" });
    }
    json_decref(input);
    return record;
}

static json_t *started(size_t n)
{
    json_t *record = make(n);

    op_record_start(record, "boot", "host", "/l", 2000);
    return record;
}

static void begin(json_t *record, size_t index)
{
    struct err err = { 0 };
    json_t *vars = json_pack("{s:s}", "OP_TARGET", "t");
    json_t *nodes = json_array();

    assert_int_equal(op_record_begin(record, index, vars, nodes, false, &err), 0);
    json_decref(vars);
    json_decref(nodes);
}

static void post(json_t *record, size_t index, const char *status)
{
    struct err err = { 0 };
    json_t *none = json_object();
    json_t *nodes = json_array();
    struct op_record_outcome outcome = { .status = status, .vars = none, .nodes = nodes };

    assert_int_equal(op_record_post_intent(record, index, &outcome, &err), 0);
    json_decref(none);
    json_decref(nodes);
}

static void finish(json_t *record, size_t index, bool last)
{
    struct err err = { 0 };

    assert_int_equal(op_record_finish(record, index, NULL, last, 3000, &err), 0);
}

static const char *of(const json_t *record, size_t index, const char *member)
{
    return json_str_or(op_record_opcode(record, index), member, "");
}

static void pre_done(json_t *record, size_t index)
{
    struct err err = { 0 };

    assert_int_equal(op_record_pre_done(record, index, false, NULL, NULL, &err), 0);
}

static void run_well(json_t *record, size_t index)
{
    begin(record, index);
    pre_done(record, index);
    post(record, index, OP_STATUS_SUCCEEDED);
    finish(record, index, false);
}

static void two_opcodes_succeed(void **state)
{
    json_t *record = started(2);

    (void)state;
    assert_string_equal(op_record_state(record), "running");
    assert_string_equal(of(record, 1, "token"), "u1.1");
    run_well(record, 0);
    assert_false(op_record_is_over(record));
    run_well(record, 1);
    assert_string_equal(op_record_state(record), "succeeded");
    assert_int_equal(json_int_or(record, "ended_ms", 0), 3000);
    json_decref(record);
}

static void steps_come_in_their_order_only(void **state)
{
    struct err err = { 0 };
    json_t *record = started(1);
    json_t *none = json_object();
    struct op_record_outcome outcome = { .status = OP_STATUS_FAILED, .vars = none, .nodes = none };

    (void)state;
    assert_int_equal(op_record_pre_done(record, 0, false, NULL, NULL, &err), ERR_CONFLICT);
    assert_int_equal(op_record_post_intent(record, 0, &outcome, &err), ERR_CONFLICT);
    assert_int_equal(op_record_finish(record, 0, NULL, false, 1, &err), ERR_CONFLICT);
    begin(record, 0);
    assert_int_equal(op_record_begin(record, 0, none, none, false, &err), ERR_CONFLICT);
    assert_int_equal(op_record_reject(record, 0, "no", &err), ERR_CONFLICT);
    assert_int_equal(op_record_finish(record, 0, NULL, false, 1, &err), ERR_CONFLICT);
    post(record, 0, OP_STATUS_DISAPPEARED); /* Died during the pre hooks. */
    assert_int_equal(op_record_pre_done(record, 0, false, NULL, NULL, &err), ERR_CONFLICT);
    finish(record, 0, true);
    assert_int_equal(op_record_post_intent(record, 0, &outcome, &err), ERR_CONFLICT);
    json_decref(none);
    json_decref(record);
}

static void the_first_post_status_stands(void **state)
{
    json_t *record = started(1);

    (void)state;
    begin(record, 0);
    pre_done(record, 0);
    post(record, 0, OP_STATUS_SUCCEEDED);
    post(record, 0, OP_STATUS_DISAPPEARED);
    finish(record, 0, true);
    assert_string_equal(of(record, 0, "status"), "succeeded");
    assert_string_equal(op_record_state(record), "succeeded");
    json_decref(record);
}

static void what_stands_behind_a_failure_is_canceled(void **state)
{
    static const char *const statuses[] = { OP_STATUS_FAILED, OP_STATUS_DISAPPEARED };

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        json_t *record = started(3);

        run_well(record, 0);
        begin(record, 1);
        post(record, 1, statuses[i]);
        finish(record, 1, false);
        assert_string_equal(op_record_state(record), statuses[i]);
        assert_string_equal(of(record, 0, "status"), "succeeded");
        assert_string_equal(of(record, 1, "status"), statuses[i]);
        assert_string_equal(of(record, 2, "status"), "canceled");
        assert_string_equal(of(record, 2, "step"), "none");
        json_decref(record);
    }
}

/* davit-op died during the post hooks of the first of two. */
static void nothing_runs_after_a_death(void **state)
{
    json_t *record = started(2);

    (void)state;
    begin(record, 0);
    pre_done(record, 0);
    post(record, 0, OP_STATUS_SUCCEEDED);
    finish(record, 0, true);
    assert_string_equal(of(record, 0, "status"), "succeeded");
    assert_string_equal(of(record, 1, "status"), "canceled");
    assert_string_equal(op_record_state(record), "disappeared");
    json_decref(record);
}

static void a_rejected_one_owes_a_failed_post(void **state)
{
    struct err err = { 0 };
    json_t *record = started(1);
    size_t index;

    (void)state;
    assert_int_equal(op_record_reject(record, 0, "duration must be positive", &err), 0);
    assert_int_equal(op_record_resume(record, &index), OP_RESUME_DISAPPEARED);
    post(record, 0, OP_STATUS_DISAPPEARED);
    finish(record, 0, false);
    assert_string_equal(op_record_state(record), "failed");
    assert_string_equal(of(record, 0, "error"), "duration must be positive");
    json_decref(record);
}

static void stale_requests_are_refused(void **state)
{
    struct err err = { 0 };
    json_t *record = started(2);

    (void)state;
    assert_int_equal(op_record_expect(record, 0, 1, &err), 0);
    assert_int_equal(op_record_expect(record, 1, 1, &err), ERR_CONFLICT);
    assert_int_equal(op_record_expect(record, -1, 1, &err), ERR_CONFLICT);
    assert_int_equal(op_record_expect(record, 0, 0, &err), ERR_CONFLICT);
    op_record_start(record, "boot", "host", "/l", 2000);
    assert_int_equal(op_record_expect(record, 0, 1, &err), ERR_CONFLICT);
    assert_int_equal(op_record_expect(record, 0, 2, &err), 0);
    run_well(record, 0);
    assert_int_equal(op_record_expect(record, 0, 2, &err), ERR_CONFLICT);
    run_well(record, 1);
    assert_int_equal(op_record_expect(record, 1, 2, &err), ERR_CONFLICT);
    json_decref(record);
}

static void resume_owes_what_began(void **state)
{
    json_t *record = make(2);
    size_t index;

    (void)state;
    assert_int_equal(op_record_resume(record, &index), OP_RESUME_RUN);
    op_record_start(record, "boot", "host", "/l", 1);
    assert_int_equal(op_record_resume(record, &index), OP_RESUME_RUN);
    begin(record, 0);
    assert_int_equal(op_record_resume(record, &index), OP_RESUME_DISAPPEARED);
    assert_int_equal(index, 0);
    pre_done(record, 0);
    assert_int_equal(op_record_resume(record, &index), OP_RESUME_DISAPPEARED);
    post(record, 0, OP_STATUS_SUCCEEDED);
    assert_int_equal(op_record_resume(record, &index), OP_RESUME_DISAPPEARED);
    finish(record, 0, false);
    assert_int_equal(op_record_resume(record, &index), OP_RESUME_CLOSE);
    op_record_close(record, "gone", 5);
    assert_string_equal(op_record_state(record), "disappeared");
    assert_string_equal(of(record, 0, "status"), "succeeded");
    assert_string_equal(of(record, 1, "status"), "canceled");
    assert_int_equal(op_record_resume(record, &index), OP_RESUME_ARCHIVE);
    json_decref(record);
}

static void attempts_end_some_day(void **state)
{
    json_t *record = make(1);
    size_t index;
    int n = 0;

    (void)state;
    begin(record, 0);
    while (op_record_resume(record, &index) == OP_RESUME_DISAPPEARED) {
        op_record_start(record, "boot", "host", "/l", 1);
        n++;
    }
    assert_int_equal(n, OP_RECORD_MAX_ATTEMPTS);
    op_record_close(record, "davit-op died too often", 5);
    assert_string_equal(of(record, 0, "status"), "disappeared");
    json_decref(record);
}

/* What is being written must not change when the next step is prepared, and vice versa. */
static void a_copy_is_independent(void **state)
{
    json_t *record = started(1);
    json_t *log = json_pack("[{s:i, s:s}]", "time_ms", 1, "message", "one");
    struct err err = { 0 };

    (void)state;
    begin(record, 0);
    post(record, 0, OP_STATUS_SUCCEEDED);
    CLEANUP(mem_freep) char *before = json_text(record);
    json_t *copy = op_record_copy(record);
    assert_int_equal(op_record_finish(copy, 0, log, false, 9, &err), 0);
    CLEANUP(mem_freep) char *after = json_text(record);
    assert_string_equal(before, after);
    assert_int_equal(json_array_size(json_object_get(op_record_opcode(copy, 0), "log")), 1);
    json_decref(log);
    json_decref(copy);
    json_decref(record);
}

static void a_line_of_work_under_way_is_kept(void **state)
{
    (void)state;
    CLEANUP(json_freep) json_t *record = started(1);
    CLEANUP(json_freep) json_t *copy = NULL;
    const json_t *log;

    begin(record, 0);
    pre_done(record, 0);
    copy = op_record_copy(record);
    op_record_log(copy, 0, "half of it", 7);
    assert_null(json_object_get(op_record_opcode(record, 0), "log"));
    post(copy, 0, OP_STATUS_SUCCEEDED);
    finish(copy, 0, false);
    log = json_object_get(op_record_opcode(copy, 0), "log");
    assert_string_equal(json_str_or(json_array_get(log, 0), "message", ""), "half of it");
    assert_int_equal(json_int_or(json_array_get(log, 0), "time_ms", 0), 7);
}

static void large_records_give_up_their_logs(void **state)
{
    json_t *record = started(1);
    json_t *big = json_array();
    char text[4096];
    struct err err = { 0 };
    struct op_record_outcome outcome = { .status = OP_STATUS_FAILED, .log = big, .error = text };

    (void)state;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    for (int i = 0; i < 300; i++) {
        (void)json_array_append_new(big, json_pack("{s:i, s:s}", "time_ms", i, "message", text));
    }
    begin(record, 0);
    outcome.vars = outcome.nodes = json_object();
    assert_int_equal(op_record_post_intent(record, 0, &outcome, &err), 0);
    CLEANUP(mem_freep) char *stored = op_record_text(record);
    assert_true(strlen(stored) < 10000);
    assert_true(strlen(of(record, 0, "error")) == 2048);
    json_decref(outcome.vars);
    json_decref(big);
    json_decref(record);
}

/* Each kill of a large job has a long list of instances. */
static void many_large_variables_stay_below_the_cap(void **state)
{
    struct err err = { 0 };
    json_t *record = make(20);
    json_t *nodes = json_array();
    static char list[30000];

    (void)state;
    memset(list, '1', sizeof list - 1);
    for (size_t i = 0; i < 20; i++) {
        json_t *vars = json_object();
        struct op_record_outcome outcome = { .status = "succeeded", .vars = vars, .nodes = nodes };

        json_put_str(vars, "INSTANCES", list);
        assert_int_equal(op_record_begin(record, i, vars, nodes, true, &err), 0);
        assert_int_equal(op_record_post_intent(record, i, &outcome, &err), 0);
        assert_int_equal(op_record_finish(record, i, NULL, false, 1, &err), 0);
        json_decref(vars);
        CLEANUP(mem_freep) char *stored = op_record_text(record);
        assert_true(strlen(stored) < OP_RECORD_MAX_BYTES);
    }
    json_decref(nodes);
    json_decref(record);
}

static void a_newer_record_is_refused_by_name(void **state)
{
    struct err err = { 0 };
    json_t *record = make(1);

    (void)state;
    assert_int_equal(op_record_check(record, &err), 0);
    json_put_int(record, "v", 2);
    assert_int_equal(op_record_check(record, &err), ERR_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "version 2"));
    json_put_int(record, "v", 1);
    json_put_take(record, "opcodes", json_array());
    assert_int_equal(op_record_check(record, &err), ERR_INVALID);
    json_decref(record);
}

static void the_digest_is_of_the_request_alone(void **state)
{
    json_t *a = json_loads("{\"id\":\"i\",\"opcodes\":[{\"op\":\"X\",\"n\":1}],\"hook_runs\":[1]}",
                           0, NULL);
    json_t *b = json_loads("{\"opcodes\":[{\"n\":1,\"op\":\"X\"}],\"id\":\"i\"}", 0, NULL);
    char one[DIGEST_SHA256_HEX], two[DIGEST_SHA256_HEX];

    (void)state;
    op_record_digest(a, "u", one);
    op_record_digest(b, "u", two);
    assert_string_equal(one, two);
    op_record_digest(b, "v", two);
    assert_string_not_equal(one, two);
    json_put_int(b, "priority", 1);
    op_record_digest(b, "u", two);
    assert_string_not_equal(one, two);
    json_decref(a);
    json_decref(b);
}

static void a_summary_has_no_inputs(void **state)
{
    json_t *record = started(1);
    json_t *summary = op_record_summary(record);

    (void)state;
    assert_null(json_object_get(op_record_opcode(summary, 0), "input"));
    assert_string_equal(of(summary, 0, "op"), "OP_TEST_DELAY");
    assert_non_null(json_object_get(op_record_opcode(record, 0), "input"));
    json_decref(summary);
    json_decref(record);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_opcodes_succeed),
        cmocka_unit_test(steps_come_in_their_order_only),
        cmocka_unit_test(the_first_post_status_stands),
        cmocka_unit_test(what_stands_behind_a_failure_is_canceled),
        cmocka_unit_test(nothing_runs_after_a_death),
        cmocka_unit_test(a_rejected_one_owes_a_failed_post),
        cmocka_unit_test(stale_requests_are_refused),
        cmocka_unit_test(resume_owes_what_began),
        cmocka_unit_test(attempts_end_some_day),
        cmocka_unit_test(a_copy_is_independent),
        cmocka_unit_test(a_line_of_work_under_way_is_kept),
        cmocka_unit_test(large_records_give_up_their_logs),
        cmocka_unit_test(many_large_variables_stay_below_the_cap),
        cmocka_unit_test(a_newer_record_is_refused_by_name),
        cmocka_unit_test(the_digest_is_of_the_request_alone),
        cmocka_unit_test(a_summary_has_no_inputs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
