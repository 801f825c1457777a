/* SPDX-License-Identifier: Apache-2.0 */
/* state_load: a new leader learns what is.
 *
 *   FOLDERS --> HASH FOLDERS --> WRITES --> LISTS --> DOCUMENTS --> link
 *
 * Each phase sends all its requests at once and ends when the last was answered.
 * Nothing but the leader writes what is read here, and our epoch is already bumped,
 * so what was read stays true.
 *
 * Failures: a request that fails ends the whole; the election decides whether it is
 * tried again.  A document that cannot be read is logged and left alone, except one of a
 * later version, which ends the load: we would destroy what we do not understand.
 */
#include "master/state/state_load.h"

#include "base/clock.h"
#include "base/id.h"
#include "base/json.h"
#include "base/log.h"
#include "base/str.h"
#include "coord/election.h"
#include "coord/zk.h"
#include "master/state/state_priv.h"
#include "master/state/task_state.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

enum { DOC_CAP = 1024 * 1024, JOB_DOC_VERSION = 1, FOLDERS = 256 };

static const char *const BASES[] = {
    "/davit/jobs",    "/davit/tasks",      "/davit/intent",  "/davit/reality",
    "/davit/nodes",   "/davit/operations", "/davit/archive", STATE_WRITES_PATH,
    "/davit/updates", "/davit/cron",       "/davit/quota",
};

struct fetch {
    struct state_load *load;
    struct zk_req req;
    char *path;
    void (*got)(struct fetch *fetch);
    struct fetch *prev, *next;
};

struct intent {
    char *node, *pod;
    struct intent *next;
};

struct state_load {
    struct state_options options;
    state_load_cb cb;
    void *data;
    struct state *state;
    struct zk_multi *multi;
    struct fetch *fetches;
    void (*next_phase)(struct state_load *load);
    struct task *tasks;
    size_t n_tasks;
    struct intent *intents;
    json_t *unread; /* Ids of tasks that are there and cannot be used. */
    bool failed;
    struct err err;
};

/* ---- Life ---- */

static void fetch_free(struct fetch *fetch)
{
    DL_DELETE(fetch->load->fetches, fetch);
    free(fetch->path);
    free(fetch);
}

static void load_free(struct state_load *load)
{
    struct fetch *fetch;
    struct fetch *next;
    struct intent *intent;

    DL_FOREACH_SAFE(load->fetches, fetch, next)
    {
        zk_forget(&fetch->req);
        fetch_free(fetch);
    }
    while ((intent = load->intents) != NULL) {
        load->intents = intent->next;
        free(intent->node);
        free(intent->pod);
        free(intent);
    }
    for (size_t i = 0; i < load->n_tasks; i++) {
        task_fini(&load->tasks[i]);
    }
    free(load->tasks);
    json_decref(load->unread);
    zk_multi_free(load->multi);
    if (load->state != NULL) {
        state_close(load->state, NULL, NULL);
    }
    free(load);
}

void state_load_cancel(struct state_load *load)
{
    if (load != NULL) {
        load_free(load);
    }
}

static void fail(struct state_load *load, const struct err *err)
{
    if (!load->failed) {
        load->failed = true;
        load->err = *err;
    }
}

static void finish(struct state_load *load)
{
    state_load_cb cb = load->cb;
    void *data = load->data;
    struct err err = load->err;
    struct state *state = load->failed ? NULL : TAKE(load->state);

    load_free(load);
    cb(state, &err, data);
}

static void on_fetched(struct zk_req *req)
{
    struct fetch *fetch = req->data;
    struct state_load *load = fetch->load;

    if (!load->failed) {
        fetch->got(fetch);
    }
    fetch_free(fetch);
    if (load->fetches != NULL) {
        return;
    }
    if (load->failed || load->next_phase == NULL) {
        finish(load);
    } else {
        load->next_phase(load);
    }
}

/* True when there is something; a node that vanished meanwhile is nothing. */
static bool usable(struct fetch *fetch)
{
    if (fetch->req.err.code == 0) {
        return true;
    }
    if (fetch->req.err.code != ERR_NOTFOUND) {
        fail(fetch->load, &fetch->req.err);
    }
    return false;
}

static struct fetch *fetch_new(struct state_load *load, char *path, void (*got)(struct fetch *))
{
    struct fetch *fetch = mem_alloc(sizeof(*fetch));

    fetch->load = load;
    fetch->path = path;
    fetch->got = got;
    fetch->req.data = fetch;
    DL_APPEND(load->fetches, fetch);
    return fetch;
}

static void fetch_data(struct state_load *load, char *path, void (*got)(struct fetch *))
{
    struct fetch *fetch = fetch_new(load, path, got);

    zk_get(load->options.zk, &fetch->req, path, on_fetched);
}

static void fetch_names(struct state_load *load, char *path, void (*got)(struct fetch *))
{
    struct fetch *fetch = fetch_new(load, path, got);

    zk_children(load->options.zk, &fetch->req, path, on_fetched);
}

/* ---- Documents ---- */

/* NULL when it cannot be used; then it was logged, or the load has failed. */
static json_t *parse(struct fetch *fetch, int max_version)
{
    CLEANUP(json_freep) json_t *doc = NULL;
    struct err err = { 0 };
    int64_t version;

    if (json_parse(fetch->req.bytes, fetch->req.len, DOC_CAP, &doc, &err) < 0) {
        log_error("cannot read a document, it is left alone: %s path=%s", err.msg, fetch->path);
        return NULL;
    }
    version = json_int_or(doc, "v", 1);
    if (version > max_version) {
        err_set(&err, ERR_UNSUPPORTED, "%s has version %d; this program reads up to %d",
                fetch->path, (int)version, max_version);
        fail(fetch->load, &err);
        return NULL;
    }
    return TAKE(doc);
}

static void got_task(struct fetch *fetch)
{
    bool there = usable(fetch);
    CLEANUP(json_freep) json_t *doc = there ? parse(fetch, TASK_DOC_VERSION) : NULL;
    struct state_load *load = fetch->load;
    struct err err = { 0 };

    if (doc == NULL) {
        if (there) {
            json_put_bool(load->unread, strrchr(fetch->path, '/') + 1, true);
        }
        return;
    }
    if ((load->n_tasks & (load->n_tasks - 1)) == 0) {
        size_t cap = load->n_tasks == 0 ? 1 : 2 * load->n_tasks;

        load->tasks = mem_realloc(load->tasks, cap * sizeof(load->tasks[0]));
    }
    if (task_decode(doc, &load->tasks[load->n_tasks], &err) < 0) {
        log_error("cannot read a task, it is left alone: %s path=%s", err.msg, fetch->path);
        json_put_bool(load->unread, strrchr(fetch->path, '/') + 1, true);
        return;
    }
    load->n_tasks++;
}

static void read_configs(struct state_job *job, const json_t *configs, const char *current)
{
    const char *hash;
    json_t *config;

    json_object_foreach((json_t *)configs, hash, config)
    {
        struct job *decoded = NULL;
        struct state_config *entry;
        struct err err = { 0 };

        if (job_decode_trusted(config, &decoded, &err) < 0) {
            log_error("cannot read a job configuration: %s job=%s", err.msg, job->key_text);
            continue;
        }
        /* Tasks refer to it by this name, whatever today's rule would make of it. */
        (void)snprintf(decoded->hash, sizeof(decoded->hash), "%s", hash);
        entry = state_config_add_take(job, decoded);
        if (current != NULL && strcmp(current, hash) == 0) {
            job->current = entry;
        }
    }
}

static void got_job(struct fetch *fetch)
{
    CLEANUP(json_freep) json_t *doc = usable(fetch) ? parse(fetch, JOB_DOC_VERSION) : NULL;
    struct job_key key = { 0 };
    struct state_job *job;
    struct err err = { 0 };

    if (doc == NULL) {
        return;
    }
    if (job_key_parse(json_str_or(doc, "key", ""), &key, &err) < 0) {
        log_error("cannot read a job, it is left alone: %s path=%s", err.msg, fetch->path);
        return;
    }
    job = state_job_add(fetch->load->state, &key);
    job_key_fini(&key);
    job->stored = true;
    job->user = mem_strdup_opt(json_str_or(doc, "user", NULL));
    job->op_id = mem_strdup_opt(json_str_or(doc, "op_id", NULL));
    job->created_ms = (uint64_t)json_int_or(doc, "created_ms", 0);
    job->creating = json_bool_or(doc, "creating", false);
    job->update_id = mem_strdup_opt(json_str_or(doc, "update", NULL));
    read_configs(job, json_object_get(doc, "configs"), json_str_or(doc, "current", NULL));
}

static void read_node(struct state_node *node, const json_t *doc)
{
    json_t *attributes = json_object_get(doc, "attributes");
    json_t *seen = json_object_get(doc, "seen");
    json_t *drain = json_object_get(doc, "drain");

    free(node->mode);
    node->mode = mem_strdup(json_str_or(doc, "mode", STATE_NODE_ACTIVE));
    if (json_is_object(attributes)) {
        json_decref(node->own_attributes);
        node->own_attributes = json_incref(attributes);
    }
    if (json_is_object(seen)) {
        json_decref(node->seen_attributes);
        node->seen_attributes = json_incref(seen);
    }
    if (json_is_object(drain)) {
        node->drain = json_incref(drain);
    }
    state_node_attributes_changed(node);
}

static void got_node(struct fetch *fetch)
{
    struct state_node *node;
    json_t *doc;

    if (!usable(fetch)) {
        return;
    }
    node = state_node_add(fetch->load->state, strrchr(fetch->path, '/') + 1);
    node->listed = true;
    if (fetch->req.len == 0) {
        return; /* The agent made it; ours is still to come. */
    }
    doc = parse(fetch, 1);
    if (doc != NULL) {
        node->stored = true;
        read_node(node, doc);
        json_decref(doc);
    }
}

static void got_doc(struct fetch *fetch)
{
    CLEANUP(json_freep)
    json_t *json = usable(fetch) ? parse(fetch, STATE_DOC_VERSION) : NULL;
    const char *slash = strrchr(fetch->path, '/');

    if (json == NULL) {
        return;
    }
    if (!json_is_object(json)) {
        log_error("a document is no object, it is left alone path=%s", fetch->path);
        return;
    }
    for (unsigned kind = 0; kind < STATE_DOC_N_KINDS; kind++) {
        const char *folder = state_doc_folder((enum state_doc_kind)kind);

        if (strlen(folder) == (size_t)(slash - fetch->path) && str_starts(fetch->path, folder)) {
            state_doc_add_take(fetch->load->state, (enum state_doc_kind)kind, slash + 1, TAKE(json))
                ->stored = true;
            return;
        }
    }
}

/* ---- Lists ---- */

static void each_child(struct fetch *fetch,
                       void (*fetch_fn)(struct state_load *, char *, void (*)(struct fetch *)),
                       void (*got)(struct fetch *))
{
    if (!usable(fetch)) {
        return;
    }
    for (size_t i = 0; i < fetch->req.n_children; i++) {
        fetch_fn(fetch->load, str_printf("%s/%s", fetch->path, fetch->req.children[i]), got);
    }
}

static void got_task_folder(struct fetch *fetch)
{
    each_child(fetch, fetch_data, got_task);
}

static void got_env(struct fetch *fetch)
{
    state_folder_add(fetch->load->state, fetch->path);
    each_child(fetch, fetch_data, got_job);
}

static void got_role(struct fetch *fetch)
{
    state_folder_add(fetch->load->state, fetch->path);
    each_child(fetch, fetch_names, got_env);
}

static void got_roles(struct fetch *fetch)
{
    each_child(fetch, fetch_names, got_role);
}

static void got_docs(struct fetch *fetch)
{
    each_child(fetch, fetch_data, got_doc);
}

static void got_nodes(struct fetch *fetch)
{
    each_child(fetch, fetch_data, got_node);
}

static void got_intents_of_node(struct fetch *fetch)
{
    struct state_load *load = fetch->load;

    if (!usable(fetch)) {
        return;
    }
    state_folder_add(load->state, fetch->path);
    for (size_t i = 0; i < fetch->req.n_children; i++) {
        struct intent *intent = mem_alloc(sizeof(*intent));

        intent->node = mem_strdup(strrchr(fetch->path, '/') + 1);
        intent->pod = mem_strdup(fetch->req.children[i]);
        LL_PREPEND(load->intents, intent);
    }
}

static void got_intents(struct fetch *fetch)
{
    each_child(fetch, fetch_names, got_intents_of_node);
}

/* ---- Linking what was read ---- */

/* Whoever wrote the event had another clock, maybe one that was ahead. */
static uint64_t since_ms(const struct task *task)
{
    uint64_t now = clock_wall_ms();
    uint64_t written = task->n_events > 0 ? task->events[task->n_events - 1].time_ms : 0;

    return written < now ? written : now;
}

static void link_task(struct state_load *load, struct task *doc)
{
    struct state *state = load->state;
    struct state_job *job = state_job_find(state, doc->job);
    struct state_config *config = job != NULL ? state_config_find(job, doc->config) : NULL;
    struct state_task *task;

    if (config == NULL) {
        log_error("task without its job's configuration, it is left alone task=%s job=%s", doc->id,
                  doc->job);
        json_put_bool(load->unread, doc->id, true);
        return;
    }
    task = state_task_add(state, job, config, doc->id, doc->instance);
    job->counts[task->t.status]--;
    task_fini(&task->t);
    /* The hash's key lies in the string that is replaced. */
    HASH_DEL(state->tasks, task);
    task->t = *doc;
    task_init(doc);
    HASH_ADD_KEYPTR(hh, state->tasks, task->t.id, strlen(task->t.id), task);
    job->counts[task->t.status]++;
    task->stored = true;
    task->since_ms = since_ms(&task->t);
    if (task->t.node != NULL && !task_is_terminal(task->t.status)) {
        state_task_place(state, task, state_node_add(state, task->t.node));
    }
}

/* A pod of a task that we do not know, by the form of its name. */
static bool looks_like_task(const char *pod)
{
    size_t len = strlen(pod);

    return len > ID_UUID_SIZE && id_is_uuid(pod + len - (ID_UUID_SIZE - 1));
}

static void link_intent(const struct state_load *load, const struct intent *intent)
{
    struct state *state = load->state;
    struct state_task *task = state_task_find(state, intent->pod);

    if (task != NULL && str_eq(task->t.node, intent->node)) {
        bool stop = task_is_terminal(task->t.status) || task->t.status == TASK_KILLING ||
                    task->t.status == TASK_RESTARTING || task->t.status == TASK_DRAINING ||
                    task->t.status == TASK_PREEMPTING;

        (void)state_node_add(state, intent->node);
        task->intent = stop ? STATE_INTENT_STOP : STATE_INTENT_RUN;
        task->stored_intent = task->intent;
    } else if (json_object_get(load->unread, intent->pod) != NULL) {
        /* Its pod may live: what cannot be read is no reason to end it. */
        log_error("intent of a task that cannot be read, it is left alone pod=%s node=%s",
                  intent->pod, intent->node);
    } else if (looks_like_task(intent->pod)) {
        CLEANUP(mem_freep)
        char *path = str_printf("/davit/intent/%s/%s", intent->node, intent->pod);
        struct state_change change = { STATE_DELETE, path, NULL };

        log_warn("removing the intent of a task that is not known pod=%s node=%s", intent->pod,
                 intent->node);
        state_write(state, &change, 1);
    }
}

/* Runs in a row that flapped before this one. */
static unsigned count_flaps(const struct state *state, const struct state_task *task)
{
    unsigned flaps = 0;

    while (task->t.ancestor != NULL && flaps < 16) {
        const struct state_task *before = state_task_find(state, task->t.ancestor);

        /* Another configuration began with a clean sheet. */
        if (before == NULL || before->config != task->config || !task_state_flapped(&before->t)) {
            break;
        }
        task = before;
        flaps++;
    }
    return flaps;
}

static int compare_tasks(const void *a, const void *b)
{
    const struct task *one = a;
    const struct task *two = b;
    uint64_t one_ms = one->n_events > 0 ? one->events[0].time_ms : 0;
    uint64_t two_ms = two->n_events > 0 ? two->events[0].time_ms : 0;

    if (one_ms != two_ms) {
        return one_ms < two_ms ? -1 : 1;
    }
    return one->instance != two->instance ? (one->instance < two->instance ? -1 : 1)
                                          : strcmp(one->id, two->id);
}

static void link_all(struct state_load *load)
{
    struct intent *intent;
    struct state_task *task;

    /* Oldest first, as they would stand had we made them. */
    if (load->n_tasks > 0) {
        qsort(load->tasks, load->n_tasks, sizeof(load->tasks[0]), compare_tasks);
    }
    for (size_t i = 0; i < load->n_tasks; i++) {
        link_task(load, &load->tasks[i]);
    }
    LL_FOREACH(load->intents, intent)
    {
        link_intent(load, intent);
    }
    for (task = load->state->tasks; task != NULL; task = task->hh.next) {
        task->flaps = count_flaps(load->state, task);
    }
    finish(load);
}

/* ---- Phases ---- */

static void load_documents(struct state_load *load)
{
    load->next_phase = link_all;
    fetch_names(load, mem_strdup("/davit/jobs"), got_roles);
    fetch_names(load, mem_strdup("/davit/nodes"), got_nodes);
    fetch_names(load, mem_strdup("/davit/intent"), got_intents);
    for (unsigned kind = 0; kind < STATE_DOC_N_KINDS; kind++) {
        fetch_names(load, mem_strdup(state_doc_folder((enum state_doc_kind)kind)), got_docs);
    }
    for (int i = 0; i < FOLDERS; i++) {
        fetch_names(load, str_printf("/davit/tasks/%02x", i), got_task_folder);
    }
}

static void got_writes(struct fetch *fetch)
{
    if (fetch->req.err.code != 0) {
        fail(fetch->load, &fetch->req.err);
        return;
    }
    fetch->load->options.writes = fetch->req.stat.version;
    fetch->load->state = state_new(&fetch->load->options);
}

static void load_writes(struct state_load *load)
{
    load->next_phase = load_documents;
    fetch_data(load, mem_strdup(STATE_WRITES_PATH), got_writes);
}

static void got_hash_folders_made(struct fetch *fetch)
{
    if (fetch->req.err.code != 0) {
        fail(fetch->load, &fetch->req.err);
    }
}

static void got_hash_folders(struct fetch *fetch)
{
    struct state_load *load = fetch->load;
    bool there[FOLDERS] = { false };
    struct fetch *make;

    if (!usable(fetch)) {
        return;
    }
    for (size_t i = 0; i < fetch->req.n_children; i++) {
        char *end;
        unsigned long nr = strtoul(fetch->req.children[i], &end, 16);

        if (*end == '\0' && nr < FOLDERS) {
            there[nr] = true;
        }
    }
    load->multi = zk_multi_new();
    election_fence(load->options.election, load->multi);
    for (int i = 0; i < FOLDERS; i++) {
        char path[32];

        if (!there[i]) {
            (void)snprintf(path, sizeof(path), "/davit/tasks/%02x", (unsigned)i);
            zk_multi_create(load->multi, path, "", 0, ZK_PERSISTENT);
        }
    }
    if (zk_multi_count(load->multi) > 1) {
        make = fetch_new(load, mem_strdup("/davit/tasks"), got_hash_folders_made);
        zk_commit(load->options.zk, &make->req, load->multi, on_fetched);
    }
}

static void load_hash_folders(struct state_load *load)
{
    load->next_phase = load_writes;
    fetch_names(load, mem_strdup("/davit/tasks"), got_hash_folders);
}

static void got_base(struct fetch *fetch)
{
    if (fetch->req.err.code != 0 && fetch->req.err.code != ERR_EXISTS) {
        fail(fetch->load, &fetch->req.err);
    }
}

struct state_load *state_load_start(const struct state_options *options, state_load_cb cb,
                                    void *data)
{
    struct state_load *load = mem_alloc(sizeof(*load));

    load->options = *options;
    load->unread = json_object();
    load->cb = cb;
    load->data = data;
    load->next_phase = load_hash_folders;
    for (size_t i = 0; i < sizeof(BASES) / sizeof(BASES[0]); i++) {
        struct fetch *fetch = fetch_new(load, mem_strdup(BASES[i]), got_base);

        zk_create(load->options.zk, &fetch->req, BASES[i], "", 0, ZK_MAKE_PARENTS, on_fetched);
    }
    return load;
}
