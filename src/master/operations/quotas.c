/* SPDX-License-Identifier: Apache-2.0 */
/* quotas: what roles use, counted from the state when somebody asks.
 *
 * Not the sums themselves (sched/quota.c).  Nothing is kept beside the state, so nothing can
 * disagree with it: a check looks at the jobs of one role.
 */
#include "master/operations/quotas.h"

#include "base/json.h"
#include "base/str.h"
#include "master/state/state_doc.h"

#include <string.h>
#include <utlist.h>

/* ---- One job ---- */

static void count(struct quotas_use *use, const struct job *config, size_t n)
{
    bool dedicated = config->dedicated != NULL;
    enum quotas_class class =
        config->is_production ? (dedicated ? QUOTAS_PRODUCTION_DEDICATED : QUOTAS_PRODUCTION_SHARED)
                              : (dedicated ? QUOTAS_OTHER_DEDICATED : QUOTAS_OTHER_SHARED);

    use->of[class] = quota_sum(use->of[class], quota_of(config, n));
}

static void use_add(struct quotas_use *use, const struct quotas_use *more)
{
    for (int i = 0; i < QUOTAS_N_CLASSES; i++) {
        use->of[i] = quota_sum(use->of[i], more->of[i]);
    }
}

static void use_max(struct quotas_use *use, const struct quotas_use *other)
{
    for (int i = 0; i < QUOTAS_N_CLASSES; i++) {
        use->of[i] = quota_max(use->of[i], other->of[i]);
    }
}

/* With its instances that the update leaves alone, what it was and what it is to be. */
static void count_update(const struct state_job *job, const struct update *update,
                         struct quotas_use *use)
{
    struct quotas_use before = { 0 };
    struct quotas_use after = { 0 };
    const struct state_task *task;

    DL_FOREACH2(job->tasks, task, job_next)
    {
        size_t id = (size_t)task->t.instance;

        if (task_is_active(task->t.status) && (id >= update->n_by_id || update->by_id[id] == 0)) {
            count(&before, task->config->job, 1);
            count(&after, task->config->job, 1);
        }
    }
    for (size_t i = 0; i < update->n_instances; i++) {
        const struct update_instance *instance = &update->instances[i];
        const int ends[] = { instance->from, instance->to };

        for (int k = 0; k < 2; k++) {
            const struct state_config *config =
                ends[k] != UPDATE_NO_CONFIG ? state_config_find(job, update->configs[ends[k]])
                                            : NULL;

            if (config != NULL) {
                count(k == 0 ? &before : &after, config->job, 1);
            }
        }
    }
    use_max(use, &before);
    use_max(use, &after);
}

static struct quotas_use job_use(const struct opcode_env *env, const struct state_job *job)
{
    struct quotas_use use = { 0 };
    const struct update *update = updates_active(env->updates, job->key_text);
    const struct state_task *task;

    DL_FOREACH2(job->tasks, task, job_next)
    {
        if (task_is_active(task->t.status)) {
            count(&use, task->config->job, 1);
        }
    }
    if (update != NULL) {
        count_update(job, update, &use);
    }
    return use;
}

/* ---- Cron templates ---- */

/* /davit/cron/<role>:<env>:<name> */
static bool is_of_role(const struct state_doc *doc, const char *role)
{
    size_t len = strlen(role);

    return strncmp(doc->name, role, len) == 0 && doc->name[len] == ':';
}

static bool template_use(const struct state_doc *doc, const char *key, struct quotas_use *ret_use)
{
    CLEANUP(job_freep) struct job *config = NULL;
    struct err err;

    if (job_decode_trusted(json_object_get(doc->json, "job"), &config, &err) < 0 ||
        config == NULL || (key != NULL && strcmp(config->key_text, key) != 0)) {
        return false;
    }
    *ret_use = (struct quotas_use){ 0 };
    count(ret_use, config, (size_t)config->instances);
    return true;
}

static char *doc_name(const struct job_key *key)
{
    return str_printf("%s:%s:%s", key->role, key->env, key->name);
}

/* With its template, should it have one. */
static struct quotas_use whole_use(const struct opcode_env *env, const struct state_job *job)
{
    CLEANUP(mem_freep) char *name = doc_name(&job->key);
    const struct state_doc *doc = state_doc_find(env->state, STATE_DOC_CRON, name);
    struct quotas_use use = job_use(env, job);
    struct quotas_use template;

    if (doc != NULL && template_use(doc, job->key_text, &template)) {
        use_max(&use, &template);
    }
    return use;
}

/* ---- A role ---- */

static bool has_job(const struct opcode_env *env, const struct state_doc *doc)
{
    const char *key = json_str_or(doc->json, "key", NULL);

    return key != NULL && state_job_find(env->state, key) != NULL;
}

struct quotas_use quotas_use(const struct opcode_env *env, const char *role)
{
    struct quotas_use sum = { 0 };
    const struct state_job *job;
    const struct state_doc *doc;

    for (job = state_jobs(env->state); job != NULL; job = job->hh.next) {
        if (strcmp(job->key.role, role) == 0) {
            struct quotas_use use = whole_use(env, job);

            use_add(&sum, &use);
        }
    }
    for (doc = state_docs(env->state, STATE_DOC_CRON); doc != NULL; doc = doc->hh.next) {
        struct quotas_use use;

        if (is_of_role(doc, role) && !has_job(env, doc) && template_use(doc, NULL, &use)) {
            use_add(&sum, &use);
        }
    }
    return sum;
}

struct quota quotas_allowed(const struct opcode_env *env, const char *role, bool *ret_set)
{
    const struct state_doc *doc = state_doc_find(env->state, STATE_DOC_QUOTA, role);

    *ret_set = doc != NULL;
    return doc != NULL ? quota_decode(doc->json) : (struct quota){ 0 };
}

/* ---- Checks ---- */

static bool within(struct quota a, struct quota b)
{
    struct err err;

    return quota_check(b, a, &err) == 0;
}

/* What the job uses of the limited class now. */
static struct quota present(const struct opcode_env *env, const struct job *config)
{
    const struct state_job *job = state_job_find(env->state, config->key_text);
    CLEANUP(mem_freep) char *name = doc_name(&config->key);
    const struct state_doc *doc = state_doc_find(env->state, STATE_DOC_CRON, name);
    struct quotas_use use = { 0 };

    if (job != NULL) {
        use = whole_use(env, job);
    } else if (doc != NULL) {
        (void)template_use(doc, config->key_text, &use);
    }
    return use.of[QUOTAS_PRODUCTION_SHARED];
}

/* The job is to come to `wanted`, at its largest. */
static int check(const struct opcode_env *env, const struct job *config, struct quota wanted,
                 struct err *err)
{
    struct quota now = present(env, config);
    struct quota others;
    bool set;

    if (within(wanted, now)) {
        return 0;
    }
    others = quota_less(quotas_use(env, config->key.role).of[QUOTAS_PRODUCTION_SHARED], now);
    return quota_check(quotas_allowed(env, config->key.role, &set),
                       quota_sum(others, quota_max(now, wanted)), err);
}

int quotas_check_job(const struct opcode_env *env, const struct job *config, size_t instances,
                     struct err *err)
{
    return quota_counts(config) ? check(env, config, quota_of(config, instances), err) : 0;
}

int quotas_check_add(const struct opcode_env *env, const struct job *config, size_t n,
                     struct err *err)
{
    return quota_counts(config)
               ? check(env, config, quota_sum(present(env, config), quota_of(config, n)), err)
               : 0;
}

int quotas_check_update(const struct opcode_env *env, const struct job *config,
                        const struct diff_scope *only, struct err *err)
{
    const struct state_job *job = state_job_find(env->state, config->key_text);
    struct diff diff = { 0 };
    struct quota wanted = { 0 };

    if (updates_diff(env->updates, config, only, &diff, err) < 0) {
        diff_fini(&diff);
        return err->code;
    }
    for (size_t i = 0; i < diff.n; i++) {
        const struct diff_instance *instance = &diff.instances[i];
        const struct state_config *old = job != NULL && instance->config != NULL
                                             ? state_config_find(job, instance->config)
                                             : NULL;
        bool to_new = instance->kind == DIFF_ADD || instance->kind == DIFF_UPDATE;
        const struct job *becomes = to_new ? config : old != NULL ? old->job : NULL;

        if (becomes != NULL && instance->kind != DIFF_REMOVE && quota_counts(becomes)) {
            wanted = quota_sum(wanted, quota_of(becomes, 1));
        }
    }
    diff_fini(&diff);
    return check(env, config, wanted, err);
}

/* ---- Setting ---- */

int quotas_check_set(const struct opcode_env *env, const char *role, struct quota quota,
                     struct err *err)
{
    struct quota used = quotas_use(env, role).of[QUOTAS_PRODUCTION_SHARED];

    if (!within(used, quota)) {
        return err_set(err, ERR_CONFLICT,
                       "Quota: %.2f core(s), %.2f MB RAM, %.2f MB disk is less than current prod "
                       "reservation: %.2f core(s), %.2f MB RAM, %.2f MB disk",
                       quota.cpu, (double)quota.ram_bytes / (1 << 20),
                       (double)quota.disk_bytes / (1 << 20), used.cpu,
                       (double)used.ram_bytes / (1 << 20), (double)used.disk_bytes / (1 << 20));
    }
    return 0;
}

void quotas_set(const struct opcode_env *env, const char *role, struct quota quota)
{
    json_t *doc = quota_encode(quota);

    json_put_int(doc, "v", STATE_DOC_VERSION);
    json_put_str(doc, "role", role);
    (void)state_doc_put_take(env->state, STATE_DOC_QUOTA, role, doc);
}
