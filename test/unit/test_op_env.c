/* SPDX-License-Identifier: Apache-2.0 */
#include "op/op_env.h"

#include "base/json.h"
#include "base/str.h"

#include "test.h"

static struct op_env sample(const json_t *vars, const json_t *post_vars)
{
    return (struct op_env){
        .op_code = "OP_JOB_KILL",
        .hooks_path = "job-kill",
        .object_type = "JOB",
        .data_dir = "/d/master",
        .cluster = "devcluster",
        .master = "m1",
        .number = 17,
        .on_master = true,
        .vars = vars,
        .post_vars = post_vars,
    };
}

static json_t *vars_before(void)
{
    return json_pack("{s:s, s:s}", "OP_TARGET", "devcluster/www/devel/hello", "JOB_NAME", "hello");
}

static void expect(const struct op_env *env, const char *json)
{
    json_t *want = json_loads(json, 0, NULL);
    json_t *got = op_env_build(env);
    CLEANUP(mem_freep) char *want_text = json_text(want);
    CLEANUP(mem_freep) char *got_text = json_text(got);

    assert_non_null(want);
    assert_string_equal(got_text, want_text);
    json_decref(want);
    json_decref(got);
}

#define COMMON(phase, path)                                                      \
    "\"PATH\":\"/sbin:/bin:/usr/sbin:/usr/bin\",\"GANETI_HOOKS_VERSION\":\"2\"," \
    "\"GANETI_OP_CODE\":\"OP_JOB_KILL\",\"GANETI_DATA_DIR\":\"/d/master\","      \
    "\"GANETI_HOOKS_PHASE\":\"" phase "\",\"GANETI_HOOKS_PATH\":\"" path "\","   \
    "\"GANETI_OBJECT_TYPE\":\"JOB\",\"GANETI_CLUSTER\":\"devcluster\",\"GANETI_MASTER\":\"m1\""
#define VARS  ",\"GANETI_OP_TARGET\":\"devcluster/www/devel/hello\",\"GANETI_JOB_NAME\":\"hello\""
#define AFTER ",\"GANETI_POST_JOB_NAME\":\"hello2\",\"GANETI_POST_NEW\":\"1\""

static void each_directory_has_exactly_its_variables(void **state)
{
    json_t *vars = vars_before();
    json_t *after = json_pack("{s:s, s:s}", "JOB_NAME", "hello2", "NEW", "1");
    struct op_env env = sample(vars, after);

    (void)state;
    expect(&env, "{" COMMON("pre", "job-kill") VARS "}");
    env.global = true;
    expect(&env, "{" COMMON("pre", "global") VARS
           ",\"GANETI_JOB_ID\":\"17\",\"GANETI_IS_MASTER\":\"master\","
           "\"GANETI_OP_HOOKS_PATH\":\"job-kill\"}");
    env.on_master = false;
    env.post = true;
    env.status = "succeeded";
    expect(&env, "{" COMMON("post", "global") VARS AFTER
           ",\"GANETI_JOB_ID\":\"17\",\"GANETI_IS_MASTER\":\"not_master\","
           "\"GANETI_OP_HOOKS_PATH\":\"job-kill\",\"GANETI_POST_STATUS\":\"succeeded\"}");
    env.status = "disappeared";
    expect(&env, "{" COMMON("post", "global") VARS
           ",\"GANETI_JOB_ID\":\"17\",\"GANETI_IS_MASTER\":\"not_master\","
           "\"GANETI_OP_HOOKS_PATH\":\"job-kill\",\"GANETI_POST_STATUS\":\"disappeared\"}");
    env.global = false;
    env.status = "succeeded";
    expect(&env, "{" COMMON("post", "job-kill") VARS AFTER "}");
    json_decref(vars);
    json_decref(after);
}

static void without_own_hooks_the_type_is_not_applicable(void **state)
{
    json_t *none = json_object();
    struct op_env env = sample(none, none);
    CLEANUP(json_freep) json_t *built = NULL;

    (void)state;
    env.hooks_path = NULL;
    env.object_type = "NOT_APPLICABLE";
    env.global = true;
    built = op_env_build(&env);
    assert_string_equal(json_str_or(built, "GANETI_OBJECT_TYPE", ""), "NOT_APPLICABLE");
    assert_string_equal(json_str_or(built, "GANETI_HOOKS_PATH", ""), "global");
    assert_null(json_object_get(built, "GANETI_OP_HOOKS_PATH"));
    json_decref(none);
}

/* An opcode's variable called STATUS would become GANETI_POST_STATUS. */
static void common_variables_cannot_be_replaced(void **state)
{
    json_t *vars = json_pack("{s:s, s:s, s:s, s:i}", "STATUS", "x", "CLUSTER", "evil", "JOB_ID",
                             "0", "NUMBER", 1);
    struct op_env env = sample(vars, vars);
    CLEANUP(json_freep) json_t *built = NULL;

    (void)state;
    env.post = true;
    env.global = true;
    env.status = "succeeded";
    built = op_env_build(&env);
    assert_string_equal(json_str_or(built, "GANETI_POST_STATUS", ""), "succeeded");
    assert_string_equal(json_str_or(built, "GANETI_CLUSTER", ""), "devcluster");
    assert_string_equal(json_str_or(built, "GANETI_JOB_ID", ""), "17");
    assert_null(json_object_get(built, "GANETI_NUMBER"));
    json_decref(vars);
}

static void directories_and_strv(void **state)
{
    json_t *vars = json_pack("{s:s}", "A", "b=c");
    struct op_env env = sample(vars, NULL);
    CLEANUP(mem_freep) char *own = op_env_dir(&env);
    CLEANUP(strv_freep) char **strv = op_env_strv(vars);

    (void)state;
    env.global = true;
    env.post = true;
    CLEANUP(mem_freep) char *global = op_env_dir(&env);
    assert_string_equal(own, "job-kill-pre.d");
    assert_string_equal(global, "global-post.d");
    assert_string_equal(strv[0], "A=b=c");
    assert_null(strv[1]);
    json_decref(vars);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_directory_has_exactly_its_variables),
        cmocka_unit_test(without_own_hooks_the_type_is_not_applicable),
        cmocka_unit_test(common_variables_cannot_be_replaced),
        cmocka_unit_test(directories_and_strv),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
