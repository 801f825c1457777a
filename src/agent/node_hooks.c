/* SPDX-License-Identifier: Apache-2.0 */
/* node_hooks: one p2 hook event of one pod.
 *
 * Builds what p2 promises its hooks (12 variables, the manifest in a temporary
 * file) and leaves discovery, order, deadlines and journal to hook/.  When which event
 * happens is reconcile.c's.
 *
 * Failure: hooks cannot harm the agent: a set-up that fails is logged and the event
 * passes; only a hook named as required, failing in time, gives ERR_REFUSED.
 * Invariant: the temporary manifest is there from the first hook's start until the
 * event's end.
 */
#include "agent/node_hooks.h"

#include "agent/home.h"
#include "base/log.h"
#include "base/str.h"
#include "hook/point.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

bool node_hooks_any(const struct node_hooks *hooks, const char *event)
{
    struct hook_dir dir = { 0 };
    struct err err = { 0 };
    bool any = false;

    if (dir_read(HOOK_RULES_P2, hooks->dir, event, &dir, &err) < 0) {
        log_warn("%s: %s; going on without hooks", event, err.msg);
        return false;
    }
    any = dir.n > 0;
    dir_fini(&dir);
    return any;
}

static int write_manifest(const struct node_hooks_pod *pod, char **ret_path, struct err *err)
{
    const char *temp = getenv("TMPDIR");
    CLEANUP(mem_freep)
    char *path = str_printf("%s/%s-manifest.yamlXXXXXX", temp && *temp ? temp : "/tmp", pod->id);
    CLEANUP(fd_closep) int fd = mkostemp(path, O_CLOEXEC);

    if (fd < 0) {
        return err_set(err, ERR_IO, "write %s: %s", path, strerror(errno));
    }
    if (write(fd, pod->manifest, pod->manifest_len) != (ssize_t)pod->manifest_len) {
        (void)unlink(path);
        return err_set(err, ERR_IO, "write %s: %s", path, strerror(errno));
    }
    *ret_path = TAKE(path);
    return 0;
}

static char **build_env(const struct node_hooks *hooks, const char *event,
                        const struct node_hooks_pod *pod, const char *manifest_path)
{
    CLEANUP(mem_freep) char *config = home_config_path(pod->home, pod->id, pod->digest);
    const char *slash = strrchr(hooks->dir, '/');
    char **env = NULL;

    strv_addf(&env, "HOOK=%s", slash ? slash + 1 : hooks->dir);
    strv_addf(&env, "HOOK_EVENT=%s", event);
    strv_addf(&env, "HOOKED_NODE=%s", hooks->node);
    strv_addf(&env, "HOOKED_POD_ID=%s", pod->id);
    strv_addf(&env, "HOOKED_POD_HOME=%s", pod->home);
    strv_addf(&env, "HOOKED_POD_MANIFEST=%s", manifest_path);
    strv_addf(&env, "HOOKED_CONFIG_PATH=%s", config);
    strv_addf(&env, "HOOKED_ENV_PATH=%s/env", pod->home);
    strv_addf(&env, "HOOKED_CONFIG_DIR_PATH=%s/config", pod->home);
    strv_addf(&env, "HOOKED_SYSTEM_POD_ROOT=%s", hooks->pod_root);
    strv_add(&env, "HOOKED_POD_UNIQUE_KEY=");
    strv_addf(&env, "HOOKED_POD_READ_ONLY=%s", pod->readonly ? "true" : "false");
    return env;
}

static void on_chain(struct hook_chain *chain)
{
    struct node_hooks_run *run = chain->data;

    run->err = chain->err;
    if (run->err.code < 0 && run->err.code != ERR_REFUSED && run->err.code != ERR_CANCELED) {
        log_warn("%s; going on without hooks", run->err.msg);
        run->err = (struct err){ 0 };
    }
    chain_fini(&run->chain);
    if (run->manifest_path) {
        (void)unlink(run->manifest_path);
        free(TAKE(run->manifest_path));
    }
    run->cb(run); /* Last: the callback may start the next one. */
}

void node_hooks_start(struct node_hooks_run *run, const struct node_hooks *hooks, const char *event,
                      const struct node_hooks_pod *pod, node_hooks_cb cb)
{
    const struct hook_point *point = point_find(HOOK_NODE, event);
    CLEANUP(strv_freep) char **env = NULL;
    CLEANUP(mem_freep) char *token = str_printf("%s.%.16s", pod->id, pod->digest);
    struct hook_record context = { 0 };
    struct err err = { 0 };
    struct hook_chain_spec spec = {
        .rules = HOOK_RULES_P2,
        .base = hooks->dir,
        .event = event,
        .policy = hooks->required ? HOOK_POLICY_REQUIRED : HOOK_POLICY_LOG,
        .required = hooks->required,
        .context = &context,
        .token_base = token,
        .term_ms = point->term_ms,
        .kill_ms = point->kill_ms,
        .go_on_at_term = point->go_on_at_term,
    };

    run->cb = cb;
    run->err = (struct err){ 0 };
    if (write_manifest(pod, &run->manifest_path, &err) < 0) {
        log_warn("%s of pod %s: %s; its hooks get no manifest", event, pod->id, err.msg);
    }
    env = build_env(hooks, event, pod, run->manifest_path ? run->manifest_path : "");
    spec.env = (const char *const *)env;
    record_init(&context, false);
    record_set(&context.level, "node");
    record_set(&context.event, event);
    record_set(&context.op_id, pod->op_id);
    record_set(&context.job, pod->job);
    record_set(&context.task, pod->id);
    record_set(&context.node, hooks->node);
    context.instance = pod->instance;
    run->chain = (struct hook_chain){ .data = run };
    chain_start(&run->chain, hooks->engine, &spec, journal_sink(hooks->journal), on_chain);
    record_fini(&context);
}

void node_hooks_cancel(struct node_hooks_run *run)
{
    chain_cancel(&run->chain);
}
