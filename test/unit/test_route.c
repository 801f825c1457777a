/* SPDX-License-Identifier: Apache-2.0 */
#include "http/route.h"

#include "test.h"

#include <stdio.h>
#include <string.h>

static const char *matched(const char *pattern_text, const char *raw, const char *name)
{
    static char value[256];
    CLEANUP(route_pattern_freep) struct route_pattern *pattern = NULL;
    struct route_path path;
    struct err err = { 0 };

    assert_int_equal(route_pattern_new(pattern_text, &pattern, &err), 0);
    assert_int_equal(route_path_init(&path, raw, &err), 0);
    const char *found = NULL;
    if (route_match(pattern, &path)) {
        found = name != NULL ? route_param(pattern, &path, name) : "";
        assert_non_null(found);
        snprintf(value, sizeof value, "%s", found);
        found = value;
    }
    route_path_fini(&path);
    return found;
}

static void takes_parameters_by_name(void **ctx)
{
    (void)ctx;
    const char *pattern = "/v1/jobs/{role}/{env}/{name}";

    assert_string_equal(matched(pattern, "/v1/jobs/www/prod/web", "role"), "www");
    assert_string_equal(matched(pattern, "/v1/jobs/www/prod/web", "name"), "web");
    assert_string_equal(matched(pattern, "/v1/jobs/w%20w/prod/w%c3%a9b", "name"), "w\xc3\xa9"
                                                                                  "b");
    assert_null(matched(pattern, "/v1/jobs/www/prod", NULL));
    assert_null(matched(pattern, "/v1/jobs/www/prod/web/", NULL));
    assert_null(matched(pattern, "/v1/jobs/www//web", NULL));
    assert_null(matched(pattern, "/v1/tasks/www/prod/web", NULL));
    assert_string_equal(matched("/", "/", NULL), "");
}

static void a_rest_parameter_takes_slashes(void **ctx)
{
    (void)ctx;
    assert_string_equal(matched("/ui/{file*}", "/ui/js/app.js", "file"), "js/app.js");
    assert_string_equal(matched("/ui/{file*}", "/ui/", "file"), "");
    assert_null(matched("/ui/{file*}", "/ui", NULL));
}

static void refuses_ambiguous_paths(void **ctx)
{
    (void)ctx;
    static const char *const bad[] = { "",       "a",          "/a/../b", "/a/%2e%2E/b",
                                       "/./a",   "/a%2fb",     "/a%00",   "/%",
                                       "/%4",    "/%zz",       "/%ff",    "/%c0%af",
                                       "/a%0ab", "/%ed%a0%80", "/..",     "/%f5%80%80%80" };

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct route_path path;
        struct err err = { 0 };
        assert_int_equal(route_path_init(&path, bad[i], &err), ERR_INVALID);
        route_path_fini(&path);
    }
}

static void caps_segments(void **ctx)
{
    (void)ctx;
    char raw[2 * (ROUTE_MAX_SEGMENTS + 1) + 1] = { 0 };
    struct route_path path;
    struct err err = { 0 };

    for (size_t i = 0; i <= ROUTE_MAX_SEGMENTS; i++) {
        strcat(raw, "/a");
    }
    assert_int_equal(route_path_init(&path, raw, &err), ERR_INVALID);
    route_path_fini(&path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_parameters_by_name),
        cmocka_unit_test(a_rest_parameter_takes_slashes),
        cmocka_unit_test(refuses_ambiguous_paths),
        cmocka_unit_test(caps_segments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
