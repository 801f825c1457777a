/* SPDX-License-Identifier: Apache-2.0 */
/* state_write: from touched objects to durable multis.
 *
 * A queue of what was touched, in that order, each object once.  At the end of a
 * turn as many multis as may be under way are filled from its head; an object is
 * encoded at that moment, so several changes of it are one write.  While multis are
 * under way the queue grows and the next ones get fuller: the store's pace decides the
 * size of the batches.
 *
 * Each multi checks the epoch (another leader: it fails) and sets STATE_WRITES_PATH
 * from version n to n + 1.
 *
 * Happy path: turn -> send() -> on_committed() -> syncs behind it fire -> more of the queue.
 * Failures: the connection broke: the fate of what was under way is unknown.  Nothing
 * more is sent until all of it has been answered and the version of STATE_WRITES_PATH was
 * read; what it covers is done, the rest is sent again, safe because a late arrival of the first
 * copy makes the second fail.  Anything else: the term is over.
 * Invariant: multis are carried out in the order of their numbers, or not at all.
 */
#include "base/buf.h"
#include "base/fault.h"
#include "base/json.h"
#include "base/log.h"
#include "base/str.h"
#include "coord/election.h"
#include "coord/zk.h"
#include "master/state/state_priv.h"
#include "model/pod.h"

#include <inttypes.h>
#include <string.h>
#include <utlist.h>

enum {
    MAX_BATCHES = 4,        /* Under way at a time. */
    MAX_PUTS = 300,         /* In a multi. */
    MAX_BYTES = 480 * 1024, /* Of a multi: below ZK_MULTI_MAX_BYTES with room for our own. */
    MAX_ITEM_PUTS = 18,
    RESOLVE_RETRY_MS = 200,
};

struct puts {
    struct state_put put[MAX_ITEM_PUTS];
    size_t n;
};

struct state_batch {
    struct state *state;
    struct zk_req req;
    struct zk_multi *multi; /* NULL when not under way. */
    struct state_put *puts;
    size_t n, bytes;
    uint64_t number;
    unsigned kinds; /* Bits of enum state_kind. */
    bool settled;   /* Answered, with an unknown outcome. */
    struct state_batch *prev, *next;
};

/* Finding out what became of the multis that were under way. */
struct state_resolve {
    struct state *state;
    struct zk_req req;
    uv_timer_t retry;
};

static void on_turn(uv_idle_t *idle);
static void send_more(struct state *state);
static void send_batch(struct state_batch *batch);

/* ---- The queue ---- */

static const char *const before_points[] = {
    [STATE_KIND_JOB] = "master.job.before",   [STATE_KIND_TASK] = "master.task.before",
    [STATE_KIND_NODE] = "master.node.before", [STATE_KIND_PUTS] = "master.operation.before",
    [STATE_KIND_DOC] = "master.doc.before",   [STATE_KIND_SYNC] = "master.sync.before",
};
static const char *const after_points[] = {
    [STATE_KIND_JOB] = "master.job.after",   [STATE_KIND_TASK] = "master.task.after",
    [STATE_KIND_NODE] = "master.node.after", [STATE_KIND_PUTS] = "master.operation.after",
    [STATE_KIND_DOC] = "master.doc.after",   [STATE_KIND_SYNC] = "master.sync.after",
};

static void crash_points(const struct state_batch *batch, const char *const *points)
{
    for (unsigned kind = STATE_KIND_JOB; kind < STATE_KIND_SYNC; kind++) {
        if ((batch->kinds & (1U << kind)) != 0) {
            CRASH_POINT(points[kind]);
        }
    }
}

void state_want_turn(struct state *state)
{
    if (!state->dead && !uv_is_active((uv_handle_t *)&state->turn)) {
        uv_idle_start(&state->turn, on_turn);
    }
}

void state_bump(struct state *state)
{
    state->changed = true;
    state_want_turn(state);
}

void state_on_turn(struct state *state, state_turn_fn fn, void *data)
{
    state->on_turn = fn;
    state->turn_data = data;
}

static struct state_item *enqueue(struct state *state, enum state_kind kind)
{
    struct state_item *item = mem_alloc(sizeof(*item));

    item->kind = kind;
    DL_APPEND(state->queue, item);
    state_want_turn(state);
    return item;
}

void state_write_job(struct state *state, struct state_job *job)
{
    if (job->item == NULL) {
        job->item = enqueue(state, STATE_KIND_JOB);
        job->item->of.job = job;
    } else if (job->deleted) {
        /* Its tasks' deletions may have been queued after it. */
        DL_DELETE(state->queue, job->item);
        DL_APPEND(state->queue, job->item);
    }
}

void state_write_task(struct state *state, struct state_task *task)
{
    if (task->item == NULL) {
        task->item = enqueue(state, STATE_KIND_TASK);
        task->item->of.task = task;
    }
}

void state_write_node(struct state *state, struct state_node *node)
{
    if (node->item == NULL) {
        node->item = enqueue(state, STATE_KIND_NODE);
        node->item->of.node = node;
    }
}

void state_write_doc(struct state *state, struct state_doc *doc)
{
    if (doc->item == NULL) {
        doc->item = enqueue(state, STATE_KIND_DOC);
        doc->item->of.doc = doc;
    }
}

void state_write(struct state *state, const struct state_change *changes, size_t n)
{
    struct state_item *item;

    assert(n <= MAX_ITEM_PUTS - 2);
    item = enqueue(state, STATE_KIND_PUTS);
    item->of.puts.puts = mem_alloc(n * sizeof(struct state_put));
    item->of.puts.n = n;
    for (size_t i = 0; i < n; i++) {
        item->of.puts.puts[i] = (struct state_put){ changes[i].op, mem_strdup(changes[i].path),
                                                    mem_strdup_opt(changes[i].text) };
    }
}

/* ---- What an item asks of the store ---- */

static void add_put(struct puts *puts, enum state_op op, char *path, char *text)
{
    assert(puts->n < MAX_ITEM_PUTS);
    puts->put[puts->n].op = op;
    puts->put[puts->n].path = path;
    puts->put[puts->n].text = text;
    puts->n++;
}

struct folder {
    UT_hash_handle hh;
    char path[];
};

void state_folder_add(struct state *state, const char *path)
{
    struct folder *folder = NULL;

    HASH_FIND_STR(state->folders, path, folder);
    if (folder == NULL) {
        folder = mem_alloc(sizeof(*folder) + strlen(path) + 1);
        memcpy(folder->path, path, strlen(path) + 1);
        HASH_ADD_STR(state->folders, path, folder);
    }
}

/* Folders are never deleted: what lies in them comes and goes. */
static void add_folder(struct state *state, struct puts *puts, char *path)
{
    struct folder *folder = NULL;

    HASH_FIND_STR(state->folders, path, folder);
    if (folder != NULL) {
        free(path);
        return;
    }
    state_folder_add(state, path);
    add_put(puts, STATE_CREATE, path, mem_strdup(""));
}

static char *job_path(const struct state_job *job)
{
    return str_printf("/davit/jobs/%s/%s/%s", job->key.role, job->key.env, job->key.name);
}

static char *json_text_take(json_t *doc)
{
    char *text = json_text(doc);

    json_decref(doc);
    return text;
}

static void put_job(struct state *state, struct state_job *job, struct puts *puts)
{
    if (job->deleted) {
        if (job->stored) {
            add_put(puts, STATE_DELETE, job_path(job), NULL);
        }
        return;
    }
    if (!job->stored) {
        add_folder(state, puts, str_printf("/davit/jobs/%s", job->key.role));
        add_folder(state, puts, str_printf("/davit/jobs/%s/%s", job->key.role, job->key.env));
    }
    add_put(puts, job->stored ? STATE_SET : STATE_CREATE, job_path(job),
            json_text_take(state_job_encode(job)));
}

static char *manifest(const struct state_task *task, const struct state_node *node)
{
    struct pod_stop stop = { task->stop_op_id, task->stop_reason };

    return pod_manifest(task->config->job, &task->t, node->hostname,
                        task->intent == STATE_INTENT_STOP ? &stop : NULL);
}

static void put_intent(struct state *state, struct state_task *task, struct puts *puts)
{
    struct state_node *node = task->t.node != NULL ? state_node_find(state, task->t.node) : NULL;
    char *path;

    if (node == NULL || (!task->intent_dirty && !task->deleted)) {
        return;
    }
    if (task->stored_intent == STATE_INTENT_NONE &&
        (task->deleted || task->intent == STATE_INTENT_NONE)) {
        return;
    }
    path = str_printf("/davit/intent/%s/%s", task->t.node, task->t.id);
    if (task->deleted || task->intent == STATE_INTENT_NONE) {
        add_put(puts, STATE_DELETE, path, NULL);
    } else if (task->stored_intent != STATE_INTENT_NONE) {
        add_put(puts, STATE_SET, path, manifest(task, node));
    } else {
        add_folder(state, puts, str_printf("/davit/intent/%s", node->name));
        add_put(puts, STATE_CREATE, path, manifest(task, node));
    }
}

static void put_task(struct state *state, struct state_task *task, struct puts *puts)
{
    char folder[3];
    char *path;

    if (task->deleted && !task->stored) {
        return;
    }
    task_folder(task->t.id, folder);
    path = str_printf("/davit/tasks/%s/%s", folder, task->t.id);
    if (task->deleted) {
        add_put(puts, STATE_DELETE, path, NULL);
    } else {
        add_put(puts, task->stored ? STATE_SET : STATE_CREATE, path,
                json_text_take(task_encode(&task->t)));
    }
    put_intent(state, task, puts);
}

static void put_node(struct state_node *node, struct puts *puts)
{
    /* The agent made the node, by its `alive` below it. */
    add_put(puts, STATE_SET, str_printf("/davit/nodes/%s", node->name),
            json_text_take(state_node_encode(node)));
}

static void put_doc(const struct state_doc *doc, struct puts *puts)
{
    char *path;

    if (doc->deleted && !doc->stored) {
        return;
    }
    path = str_printf("%s/%s", state_doc_folder(doc->kind), doc->name);
    if (doc->deleted) {
        add_put(puts, STATE_DELETE, path, NULL);
    } else {
        add_put(puts, doc->stored ? STATE_SET : STATE_CREATE, path, json_text(doc->json));
    }
}

static void encode(struct state *state, const struct state_item *item, struct puts *puts)
{
    switch (item->kind) {
    case STATE_KIND_JOB:
        put_job(state, item->of.job, puts);
        break;
    case STATE_KIND_TASK:
        put_task(state, item->of.task, puts);
        break;
    case STATE_KIND_NODE:
        put_node(item->of.node, puts);
        break;
    case STATE_KIND_DOC:
        put_doc(item->of.doc, puts);
        break;
    case STATE_KIND_PUTS:
        for (size_t i = 0; i < item->of.puts.n; i++) {
            struct state_put *put = &item->of.puts.puts[i];

            add_put(puts, put->op, mem_strdup(put->path), mem_strdup_opt(put->text));
        }
        break;
    case STATE_KIND_SYNC:
        break;
    }
}

static void puts_free(struct state_put *puts, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(puts[i].path);
        free(puts[i].text);
    }
}

/* It is in a multi now: the object is clean, or gone. */
static void written(struct state *state, struct state_item *item)
{
    struct state_task *task;

    switch (item->kind) {
    case STATE_KIND_JOB:
        item->of.job->item = NULL;
        item->of.job->stored = true;
        if (item->of.job->deleted) {
            state_job_free(item->of.job);
        }
        break;
    case STATE_KIND_TASK:
        task = item->of.task;
        task->item = NULL;
        task->stored = true;
        if (task->deleted) {
            state_task_free(task);
            break;
        }
        if (task->intent_dirty) {
            task->stored_intent = task->intent;
            task->intent_dirty = false;
        }
        break;
    case STATE_KIND_NODE:
        item->of.node->item = NULL;
        item->of.node->stored = true;
        break;
    case STATE_KIND_DOC:
        item->of.doc->item = NULL;
        item->of.doc->stored = true;
        if (item->of.doc->deleted) {
            state_doc_free(item->of.doc);
        }
        break;
    case STATE_KIND_PUTS:
        puts_free(item->of.puts.puts, item->of.puts.n);
        free(item->of.puts.puts);
        break;
    case STATE_KIND_SYNC:
        break;
    }
    DL_DELETE(state->queue, item);
    free(item);
}

/* ---- Syncs ---- */

void state_sync_start(struct state *state, struct state_sync *sync, state_sync_cb cb)
{
    struct state_item *item;

    sync->state = state;
    sync->cb = cb;
    sync->err.code = 0;
    if (state->dead) {
        /* No turn will come; state_write_fini() tells it. */
        sync->after = UINT64_MAX;
        DL_APPEND(state->waiting, sync);
        return;
    }
    item = enqueue(state, STATE_KIND_SYNC);
    item->of.sync = sync;
}

void state_sync_forget(struct state_sync *sync)
{
    struct state *state = sync->state;
    struct state_item *item;
    struct state_sync *other;

    if (state == NULL) {
        return;
    }
    DL_FOREACH(state->queue, item)
    {
        if (item->kind == STATE_KIND_SYNC && item->of.sync == sync) {
            DL_DELETE(state->queue, item);
            free(item);
            break;
        }
    }
    DL_FOREACH(state->waiting, other)
    {
        if (other == sync) {
            DL_DELETE(state->waiting, sync);
            break;
        }
    }
    sync->state = NULL;
}

static void fire(struct state *state, struct state_sync *sync)
{
    DL_DELETE(state->waiting, sync);
    sync->state = NULL;
    sync->cb(sync); /* Last: may free or restart it. */
}

static void fire_syncs(struct state *state)
{
    while (state->waiting != NULL && state->waiting->after <= state->acked) {
        fire(state, state->waiting);
    }
}

/* ---- Multis ---- */

static void lose(struct state *state, const char *why)
{
    if (state->dead) {
        return;
    }
    state->dead = true;
    uv_idle_stop(&state->turn);
    log_warn("the store refused a write, this term of leadership ends: %s", why);
    state->options.on_lost(state, why, state->options.data);
}

static void batch_free(struct state_batch *batch)
{
    if (batch == NULL) {
        return;
    }
    puts_free(batch->puts, batch->n);
    free(batch->puts);
    zk_multi_free(batch->multi);
    free(batch);
}

static void batch_done(struct state *state, struct state_batch *batch)
{
    state->acked = batch->number;
    DL_DELETE(state->batches, batch);
    state->n_batches--;
    batch_free(batch);
}

static void on_retry(uv_timer_t *timer);

static void on_resolved(struct zk_req *req)
{
    struct state_resolve *resolve = req->data;
    struct state *state = resolve->state;
    struct state_batch *batch;
    struct state_batch *next;
    uint64_t done;

    if (state->dead) {
        return; /* The term ended meanwhile; what is not known to be written never will be. */
    }
    if (req->err.code == ERR_UNREACHABLE || req->err.code == ERR_TIMEOUT) {
        /* Election decides how long this may go on. */
        uv_timer_start(&resolve->retry, on_retry, RESOLVE_RETRY_MS, 0);
        return;
    }
    if (req->err.code != 0) {
        lose(state, req->err.msg);
        return;
    }
    done = (uint64_t)(req->stat.version - state->options.writes);
    if (req->stat.version < state->options.writes || done < state->acked || done > state->sent) {
        lose(state, "somebody else writes " STATE_WRITES_PATH);
        return;
    }
    log_info("connection to the store is back, %" PRIu64 " of %" PRIu64
             " writes under way were carried out",
             done - state->acked, state->sent - state->acked);
    state->broken = false;
    DL_FOREACH_SAFE(state->batches, batch, next)
    {
        if (batch->number <= done) {
            batch_done(state, batch);
        }
    }
    DL_FOREACH(state->batches, batch)
    {
        send_batch(batch);
    }
    send_more(state);
    fire_syncs(state);
}

static void on_synced(struct zk_req *req)
{
    struct state_resolve *resolve = req->data;

    if (req->err.code == 0) {
        zk_get(resolve->state->options.zk, req, STATE_WRITES_PATH, on_resolved);
    } else {
        on_resolved(req);
    }
}

static void on_retry(uv_timer_t *timer)
{
    struct state_resolve *resolve = timer->data;

    if (!resolve->state->dead) {
        zk_sync(resolve->state->options.zk, &resolve->req, STATE_WRITES_PATH, on_synced);
    }
}

static void resolve_if_settled(struct state *state)
{
    struct state_batch *batch;

    DL_FOREACH(state->batches, batch)
    {
        if (!batch->settled) {
            return;
        }
    }
    on_retry(&state->resolve->retry);
}

static void on_committed(struct zk_req *req)
{
    struct state_batch *batch = req->data;
    struct state *state = batch->state;

    zk_multi_free(batch->multi);
    batch->multi = NULL;
    if (state->dead) {
        return; /* state_write_fini() frees it. */
    }
    if (req->err.code == 0 && !state->broken) {
        crash_points(batch, after_points);
        batch_done(state, batch);
        send_more(state);
        fire_syncs(state);
        return;
    }
    if (req->err.code == ERR_UNREACHABLE || req->err.code == ERR_TIMEOUT || state->broken) {
        /* Also when it says success behind a break: the node's version will tell. */
        state->broken = true;
        batch->settled = true;
        resolve_if_settled(state);
        return;
    }
    lose(state, req->err.msg);
}

static void send_batch(struct state_batch *batch)
{
    struct state *state = batch->state;

    batch->multi = zk_multi_new();
    batch->settled = false;
    election_fence(state->options.election, batch->multi);
    zk_multi_set(batch->multi, STATE_WRITES_PATH, "", 0,
                 state->options.writes + (int32_t)(batch->number - 1));
    for (size_t i = 0; i < batch->n; i++) {
        const struct state_put *put = &batch->puts[i];

        switch (put->op) {
        case STATE_CREATE:
            zk_multi_create(batch->multi, put->path, put->text, strlen(put->text), 0);
            break;
        case STATE_SET:
            zk_multi_set(batch->multi, put->path, put->text, strlen(put->text), ZK_ANY_VERSION);
            break;
        case STATE_DELETE:
            zk_multi_delete(batch->multi, put->path, ZK_ANY_VERSION);
            break;
        }
    }
    crash_points(batch, before_points);
    batch->req.data = batch;
    zk_commit(state->options.zk, &batch->req, batch->multi, on_committed);
}

static size_t puts_bytes(const struct puts *puts)
{
    size_t bytes = 0;

    for (size_t i = 0; i < puts->n; i++) {
        bytes += strlen(puts->put[i].path) + 64;
        bytes += puts->put[i].text != NULL ? strlen(puts->put[i].text) : 0;
    }
    return bytes;
}

/* What was encoded is not written now: its new folders are still to be made. */
static void puts_undo(struct state *state, struct puts *puts)
{
    for (size_t i = 0; i < puts->n; i++) {
        struct folder *folder = NULL;

        HASH_FIND_STR(state->folders, puts->put[i].path, folder);
        if (folder != NULL) {
            HASH_DEL(state->folders, folder);
            free(folder);
        }
    }
    puts_free(puts->put, puts->n);
}

/* Moves the head of the queue into the batch; false when it is full. */
static bool fill_one(struct state *state, struct state_batch *batch)
{
    struct state_item *item = state->queue;
    struct puts puts = { .n = 0 };
    size_t bytes;

    if (item->kind == STATE_KIND_SYNC) {
        item->of.sync->after = batch->n > 0 ? state->sent + 1 : state->sent;
        DL_APPEND(state->waiting, item->of.sync);
        written(state, item);
        return true;
    }
    encode(state, item, &puts);
    bytes = puts_bytes(&puts);
    if (batch->n > 0 && (batch->n + puts.n > MAX_PUTS || batch->bytes + bytes > MAX_BYTES)) {
        puts_undo(state, &puts);
        return false;
    }
    batch->puts = mem_realloc(batch->puts, (batch->n + puts.n + 1) * sizeof(batch->puts[0]));
    memcpy(&batch->puts[batch->n], puts.put, puts.n * sizeof(puts.put[0]));
    batch->n += puts.n;
    batch->bytes += bytes;
    batch->kinds |= puts.n > 0 ? 1U << item->kind : 0;
    written(state, item);
    return true;
}

static void send_more(struct state *state)
{
    while (state->queue != NULL && state->n_batches < MAX_BATCHES && !state->broken &&
           !state->dead) {
        struct state_batch *batch = mem_alloc(sizeof(*batch));

        batch->state = state;
        while (state->queue != NULL && fill_one(state, batch)) {
        }
        if (batch->n == 0) {
            batch_free(batch);
            break;
        }
        batch->number = ++state->sent;
        DL_APPEND(state->batches, batch);
        state->n_batches++;
        send_batch(batch);
    }
}

/* ---- Turns and listeners ---- */

void state_listen(struct state *state, struct state_listener *listener, state_listener_cb cb)
{
    listener->state = state;
    listener->cb = cb;
    DL_APPEND(state->listeners, listener);
}

void state_unlisten(struct state_listener *listener)
{
    struct state *state = listener->state;

    if (state == NULL) {
        return;
    }
    if (state->next_listener == listener) {
        state->next_listener = listener->next;
    }
    DL_DELETE(state->listeners, listener);
    listener->state = NULL;
}

static void tell_listeners(struct state *state)
{
    struct state_listener *listener = state->listeners;

    while (listener != NULL) {
        state->next_listener = listener->next;
        listener->cb(listener);
        listener = state->next_listener;
    }
    state->next_listener = NULL;
}

static void on_turn(uv_idle_t *idle)
{
    struct state *state = idle->data;

    uv_idle_stop(&state->turn); /* First: on_turn may want another one. */
    if (state->on_turn != NULL) {
        state->on_turn(state, state->turn_data);
    }
    send_more(state);
    fire_syncs(state);
    if (state->changed && !state->dead) {
        state->changed = false;
        state->revision++;
        tell_listeners(state);
    }
}

/* ---- Life ---- */

void state_write_init(struct state *state)
{
    state->resolve = mem_alloc(sizeof(*state->resolve));
    state->resolve->state = state;
    state->resolve->req.data = state->resolve;
    uv_timer_init(state->options.loop, &state->resolve->retry);
    state->resolve->retry.data = state->resolve;
    uv_idle_init(state->options.loop, &state->turn);
    state->turn.data = state;
}

static void on_resolve_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void state_write_fini(struct state *state)
{
    struct state_item *item;
    struct state_item *next_item;
    struct state_batch *batch;
    struct state_batch *next_batch;
    struct folder *folder;
    struct folder *next_folder;

    zk_forget(&state->resolve->req);
    uv_close((uv_handle_t *)&state->resolve->retry, on_resolve_closed);
    DL_FOREACH_SAFE(state->batches, batch, next_batch)
    {
        zk_forget(&batch->req);
        DL_DELETE(state->batches, batch);
        batch_free(batch);
    }
    DL_FOREACH_SAFE(state->queue, item, next_item)
    {
        if (item->kind == STATE_KIND_SYNC) {
            DL_APPEND(state->waiting, item->of.sync);
        }
        written(state, item);
    }
    while (state->waiting != NULL) {
        err_set(&state->waiting->err, ERR_NOTLEADER, "this master does not lead any more");
        fire(state, state->waiting);
    }
    while (state->listeners != NULL) {
        state_unlisten(state->listeners);
    }
    HASH_ITER(hh, state->folders, folder, next_folder)
    {
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): HASH_DEL moves the head. */
        HASH_DEL(state->folders, folder);
        free(folder);
    }
}
