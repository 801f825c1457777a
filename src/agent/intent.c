/* SPDX-License-Identifier: Apache-2.0 */
/* intent: the manifest of one pod, as the master or a user wrote it.
 *
 * Reads what the agent acts on; what a davit/task runs is passed on to davit-pod
 * unread.  Not the watch (intents.c) nor what follows from it (reconcile.c).
 *
 * Failure: whatever is not understood makes the whole intent malformed, and a
 * malformed intent changes nothing (P9): it must never look like a deleted one.
 */
#include "agent/intent.h"

#include "base/json.h"
#include "base/str.h"
#include "model/endpoint.h"
#include "model/pod.h"
#include "model/yaml.h"
#include "pod/proto.h"

#include <string.h>

enum { NAME_MAX_BYTES = 250, WAIT_DEFAULT_S = 30, WAIT_MAX_S = 24 * 3600 };

bool intent_name_ok(const char *name)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz"
                                  "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
    size_t len = strlen(name);

    return len > 0 && len <= NAME_MAX_BYTES && name[0] != '.' && strspn(name, allowed) == len;
}

void intent_slim(struct intent *intent)
{
    json_decref(intent->doc);
    intent->doc = NULL;
    intent->config = NULL;
    intent->davit = NULL;
    free(intent->text);
    intent->text = NULL;
    intent->len = 0;
}

void intent_free(struct intent *intent)
{
    if (!intent) {
        return;
    }
    intent_slim(intent);
    free(intent->pod);
    free(intent->run_as);
    free(intent->job);
    free(intent->op_id);
    free(intent->stop_op_id);
    free(intent->stop_reason);
    json_decref(intent->announce);
    free(intent);
}

static int read_launchables(struct intent *intent, struct err *err)
{
    json_t *all = NULL;
    json_t *one = NULL;
    const char *name = NULL;
    const char *type = NULL;

    if (!json_object_get(intent->doc, "launchables")) {
        return 0;
    }
    if (json_need_obj(intent->doc, "launchables", &all, err) < 0) {
        return err_code(err);
    }
    json_object_foreach(all, name, one)
    {
        if (json_need_str(one, "launchable_type", &type, err) < 0) {
            return err_wrap(err, "launchable '%s'", name);
        }
        intent->is_task = str_eq(type, "davit/task") && json_object_size(all) == 1;
    }
    return 0;
}

/* The launched pod's doc is freed; what its member says is not. */
static void read_announce(struct intent *intent)
{
    static const char *const members[] = { "announce", "ports", "hostname" };

    if (!intent->job || !endpoint_announced(json_object_get(intent->davit, "announce"))) {
        return;
    }
    intent->announce = json_object();
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        json_t *value = json_object_get(intent->davit, members[i]);

        if (value) {
            json_object_set(intent->announce, members[i], value);
        }
    }
}

static int read_davit(struct intent *intent, struct err *err)
{
    const char *desired = NULL;
    json_t *davit = NULL;
    json_t *task = NULL;
    int64_t instance = 0;
    int64_t wait_s = 0;

    if (!json_object_get(intent->config, "davit")) {
        return intent->is_task ? err_set(err, ERR_INVALID, "a davit/task without config.davit") : 0;
    }
    if (json_need_obj(intent->config, "davit", &davit, err) < 0) {
        return err_wrap(err, "config");
    }
    desired = json_str_or(davit, "desired", "running");
    if (!str_eq(desired, "running") && !str_eq(desired, "stopped")) {
        return err_set(err, ERR_INVALID, "config.davit.desired '%s' is neither running nor stopped",
                       desired);
    }
    if (json_object_get(davit, "instance") &&
        json_need_int(davit, "instance", 0, INT32_MAX, &instance, err) < 0) {
        return err_wrap(err, "config.davit");
    }
    if (intent->is_task && json_need_obj(davit, "task", &task, err) < 0) {
        return err_wrap(err, "config.davit");
    }
    wait_s = json_int_or(task, "finalization_wait", WAIT_DEFAULT_S);
    wait_s = wait_s < 0 ? 0 : wait_s;
    intent->wait_ms = 1000 * (uint64_t)(wait_s > WAIT_MAX_S ? WAIT_MAX_S : wait_s);
    intent->wait_ms =
        proto_stop_total_ms(intent->wait_ms, proto_ladder_ms(json_object_get(davit, "lifecycle")));
    intent->davit = davit;
    intent->stop = str_eq(desired, "stopped");
    intent->instance = (int)instance;
    intent->job = mem_strdup_opt(json_str_or(davit, "job", NULL));
    intent->op_id = mem_strdup_opt(json_str_or(davit, "op_id", NULL));
    intent->stop_op_id = mem_strdup_opt(json_str_or(davit, "stop_op_id", NULL));
    intent->stop_reason = mem_strdup_opt(json_str_or(davit, "stop_reason", NULL));
    read_announce(intent);
    return 0;
}

static int read_doc(struct intent *intent, struct err *err)
{
    const char *id = NULL;

    if (!json_is_object(intent->doc)) {
        return err_set(err, ERR_INVALID, "not a mapping");
    }
    if (json_need_str(intent->doc, "id", &id, err) < 0) {
        return err_code(err);
    }
    if (!str_eq(id, intent->pod)) {
        return err_set(err, ERR_INVALID, "its id is '%.200s'", id);
    }
    if (!json_object_get(intent->doc, "config")) {
        json_put_take(intent->doc, "config", json_object());
    }
    if (json_need_obj(intent->doc, "config", &intent->config, err) < 0) {
        return err_code(err);
    }
    intent->run_as = mem_strdup(json_str_or(intent->doc, "run_as", id));
    intent->readonly = json_bool_or(intent->doc, "readonly", false);
    if (read_launchables(intent, err) < 0) {
        return err_code(err);
    }
    return read_davit(intent, err);
}

int intent_parse(const char *pod, const char *text, size_t len, struct intent **ret_intent,
                 struct err *err)
{
    CLEANUP(intent_freep) struct intent *intent = mem_alloc(sizeof(*intent));

    intent->pod = mem_strdup(pod);
    if (yaml_parse(text, len, POD_INTENT_MAX_BYTES, &intent->doc, err) < 0 ||
        read_doc(intent, err) < 0) {
        return err_wrap(err, "intent of pod %s", pod);
    }
    digest_sha256_hex(text, len, intent->digest);
    intent->text = mem_strndup(text, len);
    intent->len = strlen(intent->text);
    *ret_intent = TAKE(intent);
    return 0;
}
