/* SPDX-License-Identifier: Apache-2.0 */
/* opcode_quota: OP_QUOTA_SET {"role", "cpu", "ram_bytes", "disk_bytes"}: what a role may use for
 * production.  A member that is missing leaves that part as it is.
 */
#include "base/json.h"
#include "base/str.h"
#include "master/operations/opcode_common.h"
#include "master/operations/opcode_env.h"
#include "master/operations/opcode_step.h"
#include "master/operations/opcodes.h"
#include "master/operations/quotas.h"
#include "model/job_key.h"

#include <stdio.h>

static const double MAX_CPU = 1e9;
static const int64_t MAX_BYTES = INT64_C(1) << 60;
static const int64_t MIB = INT64_C(1024) * 1024;

static const char *role_of(const struct opcode_ref *ref)
{
    return json_str_or(ref->input, "role", "");
}

static int check_number(const json_t *input, const char *name, double max, struct err *err)
{
    const json_t *value = json_object_get(input, name);
    double number = json_number_value(value);

    if (value != NULL && !(json_is_number(value) && number >= 0 && number <= max)) {
        return err_set(err, ERR_INVALID, "member '%s' is no number from 0 to %g", name, max);
    }
    return 0;
}

static int validate(const struct opcode_ref *ref, struct err *err)
{
    if (!job_key_part_ok(role_of(ref))) {
        return err_set(err, ERR_INVALID, "Invalid role '%.100s'", role_of(ref));
    }
    if (check_number(ref->input, "cpu", MAX_CPU, err) < 0 ||
        check_number(ref->input, "ram_bytes", (double)MAX_BYTES, err) < 0) {
        return err->code;
    }
    return check_number(ref->input, "disk_bytes", (double)MAX_BYTES, err);
}

/* What it is to be. */
static struct quota wanted(const struct opcode_ref *ref)
{
    bool set;
    struct quota old = quotas_allowed(ref->env, role_of(ref), &set);

    return (struct quota){ json_num_or(ref->input, "cpu", old.cpu),
                           (int64_t)json_num_or(ref->input, "ram_bytes", (double)old.ram_bytes),
                           (int64_t)json_num_or(ref->input, "disk_bytes", (double)old.disk_bytes) };
}

static int check(const struct opcode_ref *ref, struct err *err)
{
    if (validate(ref, err) < 0) {
        return err->code;
    }
    return quotas_check_set(ref->env, role_of(ref), wanted(ref), err);
}

static void put_quota(json_t *vars, const char *when, struct quota quota)
{
    char name[32];
    char cpu[32];

    (void)snprintf(cpu, sizeof(cpu), "%.10g", quota.cpu);
    (void)snprintf(name, sizeof(name), "%s_CPU", when);
    json_put_str(vars, name, cpu);
    (void)snprintf(name, sizeof(name), "%s_MEMORY", when);
    opcode_common_put_int(vars, name, quota.ram_bytes / MIB);
    (void)snprintf(name, sizeof(name), "%s_DISK", when);
    opcode_common_put_int(vars, name, quota.disk_bytes / MIB);
}

/* OLD_ is what was before the work, in the post phase too. */
static void vars(const struct opcode_ref *ref, enum opcode_phase phase, json_t *vars)
{
    const json_t *old = json_object_get(ref->result, "old");
    bool set;

    json_put_str(vars, "OP_TARGET", role_of(ref));
    json_put_str(vars, "QUOTA_OWNER", role_of(ref));
    put_quota(vars, "OLD",
              phase == OPCODE_POST && old != NULL ? quota_decode(old)
                                                  : quotas_allowed(ref->env, role_of(ref), &set));
    put_quota(vars, "NEW", wanted(ref));
}

static void work(struct opcode_work *work)
{
    const struct opcode_ref *ref = &work->ref;
    struct opcode_step *step;
    struct quota quota;
    struct err err;
    bool set;

    if (check(ref, &err) < 0) { /* Hooks took their time. */
        opcode_work_done(work, NULL, &err);
        return;
    }
    quota = wanted(ref);
    step = opcode_step_new(work, role_of(ref));
    json_put_str(step->result, "role", role_of(ref));
    json_put_take(step->result, "old", quota_encode(quotas_allowed(ref->env, role_of(ref), &set)));
    json_put_take(step->result, "quota", quota_encode(quota));
    quotas_set(ref->env, role_of(ref), quota);
    opcode_step_wait(step, NULL);
}

const struct opcode opcode_quota_set = {
    .name = "OP_QUOTA_SET",
    .hooks_path = "quota-modify",
    .object_type = "QUOTA",
    .operators_only = true,
    .validate = validate,
    .check = check,
    .vars = vars,
    .work = work,
    .cancel = opcode_step_cancel,
};
