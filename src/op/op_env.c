/* SPDX-License-Identifier: Apache-2.0 */

/* op_env: the environment of operation hooks, in one place.
 *
 * Built from nothing, for hooks on the master and on nodes alike.  HOOK_TOKEN
 * and HOOK_OP_ID are not here: the hook engine adds them where a directory's
 * side file asks for them, because the contract says "exactly these".
 * Which variable stands where is contracts/ganeti.md 1.6, 2.2 and 2.9; the
 * table is repeated by test_op_env.c.
 */

#include "op/op_env.h"

#include "base/json.h"
#include "base/str.h"
#include "master/op_proto.h"

#include <inttypes.h>
#include <string.h>

/* As variables of an opcode these would be taken for the common ones. */
static bool is_reserved(const char *key)
{
    return str_eq(key, "STATUS") || str_eq(key, "JOB_ID") || str_eq(key, "IS_MASTER");
}

static void add_vars(json_t *env, const char *prefix, const json_t *vars)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)vars, key, value)
    {
        CLEANUP(mem_freep) char *name = str_printf("%s%s", prefix, key);

        if (json_is_string(value) && !is_reserved(key) && strchr(key, '=') == NULL) {
            (void)json_object_set(env, name, value);
        }
    }
}

static void add_global(json_t *out, const struct op_env *env)
{
    CLEANUP(mem_freep) char *number = str_printf("%" PRIu64, env->number);

    json_put_str(out, "GANETI_JOB_ID", number);
    json_put_str(out, "GANETI_IS_MASTER", env->on_master ? "master" : "not_master");
    json_put_str(out, "GANETI_OP_HOOKS_PATH", env->hooks_path);
    if (env->post) {
        json_put_str(out, "GANETI_POST_STATUS", env->status);
    }
}

json_t *op_env_build(const struct op_env *env)
{
    json_t *out = json_object();

    /* The opcode's first, so that it cannot replace a common one. */
    add_vars(out, "GANETI_", env->vars);
    if (env->post && str_eq(env->status, OP_STATUS_SUCCEEDED)) {
        add_vars(out, "GANETI_POST_", env->post_vars);
    }
    json_put_str(out, "PATH", "/sbin:/bin:/usr/sbin:/usr/bin");
    json_put_str(out, "GANETI_HOOKS_VERSION", "2");
    json_put_str(out, "GANETI_OP_CODE", env->op_code);
    json_put_str(out, "GANETI_DATA_DIR", env->data_dir);
    json_put_str(out, "GANETI_HOOKS_PHASE", env->post ? "post" : "pre");
    json_put_str(out, "GANETI_HOOKS_PATH", env->global ? "global" : env->hooks_path);
    json_put_str(out, "GANETI_OBJECT_TYPE", env->object_type);
    json_put_str(out, "GANETI_CLUSTER", env->cluster);
    json_put_str(out, "GANETI_MASTER", env->master);
    if (env->global) {
        add_global(out, env);
    }
    return out;
}

char *op_env_dir(const struct op_env *env)
{
    return str_printf("%s-%s.d", env->global ? "global" : env->hooks_path,
                      env->post ? "post" : "pre");
}

char **op_env_strv(const json_t *vars)
{
    char **strv = mem_alloc(sizeof *strv);
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)vars, key, value)
    {
        strv_addf(&strv, "%s=%s", key, json_string_value(value));
    }
    return strv;
}
