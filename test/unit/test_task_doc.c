/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"
#include "model/pod.h"
#include "model/task.h"

#include "test.h"

#include <string.h>

static void a_task_survives_its_document(void **state)
{
    (void)state;
    CLEANUP(json_freep) json_t *doc = NULL;
    CLEANUP(json_freep) json_t *again = NULL;
    struct err err = { 0 };
    struct task task;
    struct task back;

    task_init(&task);
    task.id = task_make_id("www", "devel", "hel.lo", 3);
    assert_null(strchr(task.id, '.'));
    task.job = mem_strdup("c/www/devel/hel.lo");
    task.config = mem_strdup("0123456789abcdef");
    task.instance = 3;
    task.failures = 2;
    task.node = mem_strdup("node1");
    task.ancestor = mem_strdup("old");
    task.not_before_ms = 17;
    task_add_port(&task, "http", 31001);
    task_add_event(&task, 5, TASK_PENDING, NULL);
    task_add_event(&task, 6, TASK_ASSIGNED, "m");
    doc = task_encode(&task);
    assert_int_equal(task_decode(doc, &back, &err), 0);
    again = task_encode(&back);
    assert_true(json_equal(doc, again));
    assert_int_equal(back.status, TASK_ASSIGNED);
    assert_int_equal(task_port(&back, "http"), 31001);
    assert_int_equal(task_port(&back, "x"), -1);
    task_fini(&back);

    json_put_int(doc, "v", TASK_DOC_VERSION + 1);
    assert_int_equal(task_decode(doc, &back, &err), ERR_UNSUPPORTED);
    json_put_int(doc, "v", 1);
    json_put_str(doc, "state", "SLEEPING");
    assert_int_equal(task_decode(doc, &back, &err), ERR_INVALID);
    task_fini(&task);
}

static void events_are_bounded_and_the_first_is_kept(void **state)
{
    (void)state;
    struct task task;

    task_init(&task);
    for (uint64_t i = 0; i < 200; i++) {
        task_add_event(&task, i, TASK_PENDING, "x");
    }
    assert_int_equal(task.n_events, TASK_MAX_EVENTS);
    assert_int_equal(task.events[0].time_ms, 0);
    assert_int_equal(task.events[TASK_MAX_EVENTS - 1].time_ms, 199);
    task_fini(&task);
}

static void states_have_auroras_names_and_numbers(void **state)
{
    (void)state;
    enum task_status status;

    assert_string_equal(task_status_name(TASK_PARTITIONED), "PARTITIONED");
    assert_int_equal(task_status_number(TASK_THROTTLED), 16);
    assert_true(task_status_parse("KILLING", &status));
    assert_int_equal(status, TASK_KILLING);
    assert_false(task_status_parse("killing", &status));
    assert_false(task_is_active(TASK_INIT));
    assert_true(task_is_active(TASK_THROTTLED));
    assert_false(task_is_live(TASK_STARTING));
}

static void pods_are_sharded_by_fnv1a(void **state)
{
    (void)state;

    /* FNV-1a 32 of "" is 0x811c9dc5, of "a" 0xe40c292c, of "foobar" 0xbf9cf968. */
    assert_int_equal(pod_shard(""), 5);
    assert_int_equal(pod_shard("a"), 0xc);
    assert_int_equal(pod_shard("foobar"), 8);
}

static void folders_are_two_hex_digits(void **state)
{
    (void)state;
    char folder[3];

    task_folder("abc", folder); /* SHA-256("abc") = ba7816bf... */
    assert_string_equal(folder, "ba");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_task_survives_its_document),
        cmocka_unit_test(events_are_bounded_and_the_first_is_kept),
        cmocka_unit_test(states_have_auroras_names_and_numbers),
        cmocka_unit_test(pods_are_sharded_by_fnv1a),
        cmocka_unit_test(folders_are_two_hex_digits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
