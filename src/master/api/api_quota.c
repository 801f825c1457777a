/* SPDX-License-Identifier: Apache-2.0 */
/* api_quota: what a role may use and does. */
#include "master/api/master_api_priv.h"

#include "base/json.h"
#include "master/operations/quotas.h"
#include "model/job_key.h"

void api_get_quota(struct httpd_request *req)
{
    static const char *const names[QUOTAS_N_CLASSES] = {
        [QUOTAS_PRODUCTION_SHARED] = "production_shared",
        [QUOTAS_PRODUCTION_DEDICATED] = "production_dedicated",
        [QUOTAS_OTHER_SHARED] = "non_production_shared",
        [QUOTAS_OTHER_DEDICATED] = "non_production_dedicated",
    };
    const struct master_api *api = httpd_ctx(req);
    const char *role = httpd_param(req, "role");
    const struct opcode_env *env;
    struct quotas_use use;
    json_t *doc;
    json_t *used;
    bool set;

    if (master_api_need_state(req) == NULL) {
        return;
    }
    if (!job_key_part_ok(role)) {
        struct err err;

        err_setf(&err, ERR_INVALID, "Invalid role '%.100s'", role);
        httpd_reply_err(req, &err);
        return;
    }
    env = lead_env(api->lead);
    use = quotas_use(env, role);
    doc = json_object();
    used = json_object();
    json_put_str(doc, "role", role);
    json_put_take(doc, "quota", quota_encode(quotas_allowed(env, role, &set)));
    json_put_bool(doc, "set", set);
    for (int i = 0; i < QUOTAS_N_CLASSES; i++) {
        json_put_take(used, names[i], quota_encode(use.of[i]));
    }
    json_put_take(doc, "used", used);
    httpd_reply_json_take(req, 200, doc);
}
