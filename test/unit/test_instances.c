/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/instances.h"

#include "base/json.h"

#include "test.h"

static void check(const char *ids, const char *list, const char *ranges)
{
    CLEANUP(json_freep) json_t *array = json_loads(ids, 0, NULL);
    CLEANUP(mem_freep) char *as_list = instances_list(array);
    CLEANUP(mem_freep) char *as_ranges = instances_ranges(array);

    assert_string_equal(as_list, list);
    assert_string_equal(as_ranges, ranges);
}

static void sets_are_written_as_users_know_them(void **state)
{
    (void)state;
    check("[]", "[]", "");
    check("[7]", "[7]", "[7]");
    check("[0, 1]", "[0, 1]", "[0-1]");
    check("[10, 12, 13, 14]", "[10, 12, 13, 14]", "[10], [12-14]");
    check("[0, 1, 2, 5, 9, 10]", "[0, 1, 2, 5, 9, 10]", "[0-2], [5], [9-10]");
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(sets_are_written_as_users_know_them) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
