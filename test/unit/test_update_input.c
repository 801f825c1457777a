/* SPDX-License-Identifier: Apache-2.0 */

/* What an update would do to each instance, ranges as text, and what an UpdateConfig may say. */
#include "base/json.h"
#include "master/updater/diff.h"
#include "master/updater/ranges.h"
#include "master/updater/update_settings.h"
#include "model/job.h"

#include "test.h"

#include <stdlib.h>
#include <string.h>

/* "A" added, "U" updated, "R" removed, "=" unchanged, "." out of scope, " " not there. */
static void expect(const struct diff *diff, const char *wanted)
{
    char got[32];

    memset(got, ' ', sizeof(got));
    got[strlen(wanted)] = '\0';
    for (size_t i = 0; i < diff->n; i++) {
        got[diff->instances[i].id] = ".AUR="[diff->instances[i].kind];
    }
    assert_string_equal(got, wanted);
}

static void each_instance_gets_its_kind(void **state)
{
    const char *now[] = { "old", "new", NULL, "old", NULL, "new" };
    static const int some[] = { 0, 2, 5 }, bad[] = { 0, 4, 7, 8 };
    const struct diff_scope only = { some, 3 }, wrong = { bad, 4 }, one = { some, 1 };
    struct diff diff = { 0 };
    struct err err;

    (void)state;
    assert_int_equal(diff_make(now, 6, 4, "new", NULL, &diff, &err), 0);
    expect(&diff, "U=AU R");
    assert_int_equal(diff.n_changes, 4);
    diff_fini(&diff);
    assert_int_equal(diff_make(now, 6, 4, "new", &only, &diff, &err), 0);
    expect(&diff, "U.A. R");
    assert_int_equal(diff.n_changes, 3);
    diff_fini(&diff);
    assert_int_equal(diff_make(now, 6, 4, "new", &wrong, &diff, &err), ERR_INVALID);
    assert_non_null(strstr(err.msg, "some are irrelevant to the update and current job state: "
                                    "[4,7-8]"));
    assert_int_equal(diff_make(NULL, 0, 2, "new", NULL, &diff, &err), 0);
    expect(&diff, "AA");
    diff_fini(&diff);
    assert_int_equal(diff_make(now, 2, 2, "old", &one, &diff, &err), 0);
    assert_int_equal(diff.n_changes, 0);
    diff_fini(&diff);
}

static json_t *parse(const char *text)
{
    struct err err;
    json_t *json = NULL;

    assert_int_equal(json_parse(text, strlen(text), 100000, &json, &err), 0);
    return json;
}

static void fields_that_differ_are_named(void **state)
{
    json_t *one = parse("{\"a\":1,\"instances\":3,\"task\":{\"p\":[{\"c\":\"x\"}],\"gone\":2},"
                        "\"null\":null,\"list\":[1]}");
    json_t *two = parse("{\"a\":1,\"instances\":9,\"task\":{\"p\":[{\"c\":\"y\"}],\"came\":{}},"
                        "\"update_config\":{},\"list\":[1,2]}");
    json_t *changes = diff_fields(one, two);
    char *text = json_text(changes);

    (void)state;
    assert_string_equal(text, "{\"list\":[[1],[1,2]],\"task.came\":[null,{}],"
                              "\"task.gone\":[2,null],\"task.p[0].c\":[\"x\",\"y\"]}");
    free(text);
    json_decref(changes);
    json_decref(one);
    json_decref(two);
}

static void collect(int number, void *data)
{
    ranges_add(data, number);
}

static void ranges_go_there_and_back(void **state)
{
    static const char *const good[] = { "", "0", "0-3,5", "7-9,0-1", "0-3999" };
    static const char *const bad[] = { "x", "3-1", "-1", "1-", "1,,2", "0-4001", "99999999999" };
    struct err err;

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        CLEANUP_RANGES ranges = RANGES_EMPTY;

        assert_int_equal(ranges_each(good[i], 4000, collect, &ranges, &err), 0);
        assert_string_equal(ranges_text(&ranges), good[i]);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        CLEANUP_RANGES ranges = RANGES_EMPTY;

        assert_int_equal(ranges_each(bad[i], 4000, collect, &ranges, &err), ERR_INVALID);
    }
}

/* ---- Settings ---- */

static int read_settings(const char *config, const char *more, int instances,
                         struct update_settings *settings, struct err *err)
{
    char text[2000];
    struct job *job = NULL;
    json_t *doc;
    int code;

    (void)snprintf(text, sizeof(text),
                   "{\"cluster\":\"c\",\"role\":\"r\",\"environment\":\"devel\",\"name\":\"n\","
                   "\"service\":true,\"instances\":%d,\"task\":{},\"update_config\":%s%s}",
                   instances, config, more);
    doc = parse(text);
    assert_int_equal(job_decode_trusted(doc, &job, err), 0);
    code = update_settings_read(job, settings, err);
    job_free(job);
    json_decref(doc);
    return code;
}

static void settings_mean_what_the_contract_says(void **state)
{
    static const struct {
        const char *config;
        enum update_strategy strategy;
        int first, last;
        bool autopause;
    } rows[] = {
        { "null", UPDATE_QUEUE, 1, 1, false },
        { "{\"batch_size\":3}", UPDATE_QUEUE, 3, 3, false },
        { "{\"batch_size\":3,\"wait_for_batch_completion\":true}", UPDATE_BATCH, 3, 3, false },
        { "{\"update_strategy\":{\"batch_size\":2}}", UPDATE_QUEUE, 2, 2, false },
        { "{\"update_strategy\":{\"batch_size\":2,\"autopause_after_batch\":false}}", UPDATE_BATCH,
          2, 2, false },
        { "{\"update_strategy\":{\"batch_sizes\":[1,5],\"autopause_after_batch\":true}}",
          UPDATE_VARIABLE, 1, 5, true },
    };
    struct err err;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct update_settings settings = { 0 };

        assert_int_equal(read_settings(rows[i].config, "", 5, &settings, &err), 0);
        assert_int_equal(settings.strategy, rows[i].strategy);
        assert_int_equal(settings.sizes[0], rows[i].first);
        assert_int_equal(settings.sizes[settings.n_sizes - 1], rows[i].last);
        assert_int_equal(settings.autopause, rows[i].autopause);
        assert_int_equal(settings.watch_ms, 45000);
        assert_true(settings.rollback);
        update_settings_fini(&settings);
    }
}

static void bad_settings_are_refused_in_the_known_words(void **state)
{
    static const struct {
        const char *config, *more, *words;
        int instances;
    } rows[] = {
        { "{\"batch_size\":0}", "", "Batch size should be greater than 0", 1 },
        { "{\"update_strategy\":{\"batch_sizes\":[1,0]}}", "", "Batch size should be greater", 1 },
        { "{\"update_strategy\":{\"batch_sizes\":[]}}", "", "Batch size should be greater", 1 },
        { "{\"pulse_interval_secs\":59}", "", "Pulse interval seconds must be at least 60 seconds.",
          1 },
        { "{\"batch_size\":2,\"update_strategy\":{\"batch_size\":2}}", "",
          "Ambiguous update configuration. Cannot combine ", 1 },
        { "{\"wait_for_batch_completion\":true,\"update_strategy\":{\"batch_size\":2}}", "",
          "Ambiguous update configuration. Cannot combine ", 1 },
        { "{\"max_per_shard_failures\":201}", "", "Your update allows too many failures to occur",
          100 },
        { "{\"sla_aware\":true}", "", "slaAware is true, but no task slaPolicy is specified.", 1 },
        { "{\"watch_secs\":-1}", "",
          "Invalid value (-1) specified for watch_secs. Value cannot be less than 0.", 1 },
        { "{\"max_total_failures\":-1}", "", "max_total_failures", 1 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct update_settings settings = { 0 };
        struct err err;

        assert_int_equal(
            read_settings(rows[i].config, rows[i].more, rows[i].instances, &settings, &err),
            ERR_CONFIG);
        if (strstr(err.msg, rows[i].words) == NULL) {
            fail_msg("%s: %s", rows[i].config, err.msg);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_instance_gets_its_kind),
        cmocka_unit_test(fields_that_differ_are_named),
        cmocka_unit_test(ranges_go_there_and_back),
        cmocka_unit_test(settings_mean_what_the_contract_says),
        cmocka_unit_test(bad_settings_are_refused_in_the_known_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
