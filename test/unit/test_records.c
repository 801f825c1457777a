/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/records.h"

#include "base/file.h"
#include "base/json.h"
#include "base/str.h"
#include "pod/proto.h"
#include "test.h"

#include <string.h>

struct fixture {
    char home[64];
    char *file;
    struct records *records;
};

static int set_up(void **state)
{
    struct fixture *fix = mem_alloc(sizeof(*fix));

    (void)strcpy(fix->home, "/tmp/davit-records-XXXXXX");
    assert_non_null(mkdtemp(fix->home));
    fix->file = file_join(fix->home, PROTO_HOOKS_FILE);
    fix->records = records_open(fix->home);
    *state = fix;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fix = *state;
    struct err err = { 0 };

    records_free(fix->records);
    assert_int_equal(file_remove_tree(fix->home, &err), 0);
    free(fix->file);
    free(fix);
    return 0;
}

static void add(struct fixture *fix, const char *run_id, const char *outcome)
{
    CLEANUP(json_freep) json_t *record = json_object();
    const char *line = NULL;
    struct err err = { 0 };

    json_put_str(record, "run_id", run_id);
    json_put_str(record, "outcome", outcome);
    assert_int_equal(records_add(fix->records, record, &line, &err), 0);
    assert_non_null(strstr(line, run_id));
    assert_int_equal(line[strlen(line) - 1], '\n');
}

/* "1:a 3:b": seq and run id of each line that waits, in memory and in the file alike. */
static void waiting(struct fixture *fix, const char *want)
{
    CLEANUP_BUF lines = { 0 };
    CLEANUP_BUF text = { 0 };
    CLEANUP_BUF got = { 0 };
    struct err err = { 0 };

    records_lines(fix->records, &lines);
    if (lines.len == 0) {
        assert_false(file_exists(fix->file));
    } else {
        assert_int_equal(file_read(fix->file, 1 << 20, &text, &err), 0);
        assert_string_equal(buf_text(&text), buf_text(&lines));
    }
    CLEANUP(strv_freep) char **all = str_split(buf_text(&lines), "\n");
    for (size_t i = 0; all[i] && all[i][0]; i++) {
        struct proto_msg msg = { 0 };

        assert_int_equal(proto_parse(all[i], strlen(all[i]), &msg, &err), 0);
        buf_addf(&got, "%s%llu:%s", got.len ? " " : "", (unsigned long long)msg.seq,
                 json_str_or(msg.record, "run_id", "?"));
        proto_msg_fini(&msg);
    }
    assert_string_equal(buf_text(&got), want);
}

static void a_later_record_of_a_run_takes_the_place_of_the_earlier(void **state)
{
    struct fixture *fix = *state;

    waiting(fix, "");
    add(fix, "a", NULL);
    add(fix, "b", NULL);
    waiting(fix, "1:a 2:b");
    add(fix, "a", "ok");
    waiting(fix, "2:b 3:a");
}

static void what_is_acknowledged_is_forgotten(void **state)
{
    struct fixture *fix = *state;

    add(fix, "a", "ok");
    add(fix, "b", "ok");
    add(fix, "c", "ok");
    records_ack(fix->records, 2);
    waiting(fix, "3:c");
    records_ack(fix->records, 99);
    waiting(fix, "");
}

static void the_next_process_goes_on_where_this_one_died(void **state)
{
    struct fixture *fix = *state;

    add(fix, "a", "ok");
    add(fix, "b", "ok");
    records_free(fix->records);
    fix->records = records_open(fix->home);
    waiting(fix, "1:a 2:b");
    add(fix, "c", "ok");
    waiting(fix, "1:a 2:b 3:c");
}

static void a_torn_last_line_is_left_out(void **state)
{
    struct fixture *fix = *state;
    static const char torn[] =
        "{\"type\":\"hook\",\"seq\":5,\"record\":{\"run_id\":\"a\"}}\n{\"type\":\"hook\",\"se";
    struct err err = { 0 };

    assert_int_equal(file_write(fix->file, torn, strlen(torn), 0600, false, &err), 0);
    records_free(fix->records);
    fix->records = records_open(fix->home);
    waiting(fix, "5:a");
    add(fix, "b", "ok");
    waiting(fix, "5:a 6:b");
}

static void the_oldest_go_when_there_are_too_many_and_are_counted(void **state)
{
    struct fixture *fix = *state;
    CLEANUP_BUF lines = { 0 };
    char run_id[20];

    for (int i = 0; i < RECORDS_MAX + 3; i++) {
        (void)snprintf(run_id, sizeof(run_id), "run-%d", i);
        add(fix, run_id, "ok");
    }
    records_lines(fix->records, &lines);
    assert_null(strstr(buf_text(&lines), "\"run-2\""));
    assert_non_null(strstr(buf_text(&lines), "\"run-3\""));
    assert_non_null(strstr(buf_text(&lines), "\"dropped\":3"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_later_record_of_a_run_takes_the_place_of_the_earlier),
        TEST(what_is_acknowledged_is_forgotten),
        TEST(the_next_process_goes_on_where_this_one_died),
        TEST(a_torn_last_line_is_left_out),
        TEST(the_oldest_go_when_there_are_too_many_and_are_counted),
    };
#undef TEST

    return cmocka_run_group_tests(tests, NULL, NULL);
}
