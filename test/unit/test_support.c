/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"
#include "model/support.h"

#include "test.h"

#include <string.h>

static void check(const char *text, const char *message)
{
    CLEANUP(json_freep) json_t *job = NULL;
    struct err err = { 0 };

    assert_int_equal(json_parse(text, strlen(text), 4096, &job, &err), 0);
    if (message == NULL) {
        assert_int_equal(support_check(job, &err), 0);
    } else {
        assert_int_equal(support_check(job, &err), ERR_CONFIG);
        assert_string_equal(err.msg, message);
    }
}

static void what_davit_has_is_taken(void **state)
{
    (void)state;
    check("{}", NULL);
    check("{\"container\":null,\"executor_config\":{\"name\":\"AuroraExecutor\",\"data\":\"\"}}",
          NULL);
    check("{\"container\":{}}", NULL);               /* Container() */
    check("{\"container\":{\"volumes\":[]}}", NULL); /* Mesos() */
    check("{\"task\":{\"resources\":{\"gpu\":0}}}", NULL);
}

static void what_it_lacks_is_refused(void **state)
{
    static const char docker[] =
        "This scheduler is not configured to allow the container type DOCKER";

    (void)state;
    check("{\"container\":{\"docker\":{\"image\":\"x\",\"parameters\":[]}}}", docker);
    check("{\"container\":{\"image\":\"x\",\"parameters\":[]}}", docker);
    check("{\"container\":{\"parameters\":[{\"name\":\"a\",\"value\":\"b\"}]}}",
          "This scheduler is configured to disallow Docker parameters.");
    check("{\"container\":{\"image\":{\"name\":\"a\",\"tag\":\"b\"},\"volumes\":[]}}",
          "This scheduler is not configured to allow images in the container type MESOS");
    check("{\"container\":{\"volumes\":[{\"mode\":\"RO\"}]}}",
          "This scheduler is configured to disallow container volumes.");
    check("{\"task\":{\"resources\":{\"gpu\":1}}}",
          "GPU resource support is disabled in this cluster.");
    check("{\"executor_config\":{\"name\":\"x\"}}",
          "Configuration for executor 'x' doesn't exist.");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_davit_has_is_taken),
        cmocka_unit_test(what_it_lacks_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
