/* SPDX-License-Identifier: Apache-2.0 */
#include "master/operations/op_queue.h"

#include "test.h"

static char *web[] = { "c/www/prod/web", NULL };
static char *db[] = { "c/www/prod/db", NULL };
static char *both[] = { "c/www/prod/db", "c/www/prod/web", NULL };

static uint64_t next(struct op_queue *queue, size_t max)
{
    struct op_queue_item *item = op_queue_next(queue, max);

    return item != NULL ? item->number : 0;
}

static void one_job_is_serial_and_others_pass(void **state)
{
    struct op_queue queue = { 0 };
    struct op_queue_item items[] = {
        { .number = 1, .jobs = web },  { .number = 2, .jobs = web },  { .number = 3, .jobs = db },
        { .number = 4, .jobs = NULL }, { .number = 5, .jobs = NULL },
    };

    (void)state;
    for (size_t i = 0; i < 5; i++) {
        op_queue_add(&queue, &items[i]);
    }
    assert_int_equal(next(&queue, 20), 1);
    assert_int_equal(next(&queue, 20), 3);
    assert_int_equal(next(&queue, 20), 4);
    assert_int_equal(next(&queue, 20), 5);
    assert_int_equal(next(&queue, 20), 0);
    op_queue_remove(&queue, &items[0]);
    assert_int_equal(next(&queue, 20), 2);
    assert_int_equal(queue.n_waiting, 0);
    assert_int_equal(queue.n_running, 4);
}

/* 3 must not slip past 2, which waits for 1. */
static void a_waiting_one_blocks_later_ones_of_its_jobs(void **state)
{
    struct op_queue queue = { 0 };
    struct op_queue_item items[] = {
        { .number = 1, .jobs = web },
        { .number = 2, .jobs = both },
        { .number = 3, .jobs = db },
    };

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        op_queue_add(&queue, &items[i]);
    }
    assert_int_equal(next(&queue, 20), 1);
    assert_int_equal(next(&queue, 20), 0);
    op_queue_remove(&queue, &items[0]);
    assert_int_equal(next(&queue, 20), 2);
    assert_int_equal(next(&queue, 20), 0);
    op_queue_remove(&queue, &items[1]);
    assert_int_equal(next(&queue, 20), 3);
}

static void priority_then_number_and_never_too_many(void **state)
{
    struct op_queue queue = { 0 };
    struct op_queue_item items[] = {
        { .number = 1 }, { .number = 2, .priority = -10 }, { .number = 3, .priority = 5 },
        { .number = 4 }, { .number = 5, .priority = -10 },
    };

    (void)state;
    for (size_t i = 0; i < 5; i++) {
        op_queue_add(&queue, &items[i]);
    }
    assert_int_equal(next(&queue, 3), 2);
    assert_int_equal(next(&queue, 3), 5);
    assert_int_equal(next(&queue, 3), 1);
    assert_int_equal(next(&queue, 3), 0);
    op_queue_remove(&queue, &items[1]);
    assert_int_equal(next(&queue, 3), 4);
    op_queue_remove(&queue, &items[2]); /* A waiting one may leave too. */
    assert_int_equal(queue.n_waiting, 0);
}

static void a_resumed_one_blocks_its_job(void **state)
{
    struct op_queue queue = { 0 };
    struct op_queue_item resumed = { .number = 7, .jobs = web };
    struct op_queue_item waiting = { .number = 9, .jobs = web };

    (void)state;
    op_queue_add_running(&queue, &resumed);
    op_queue_add(&queue, &waiting);
    assert_int_equal(next(&queue, 20), 0);
    op_queue_remove(&queue, &resumed);
    assert_int_equal(next(&queue, 20), 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_job_is_serial_and_others_pass),
        cmocka_unit_test(a_waiting_one_blocks_later_ones_of_its_jobs),
        cmocka_unit_test(priority_then_number_and_never_too_many),
        cmocka_unit_test(a_resumed_one_blocks_its_job),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
