/* SPDX-License-Identifier: Apache-2.0 */
/* reality: what runs on this node, kept in POD_SHARDS nodes of the store.
 *
 * Knows nothing of pods but a name and a JSON text each; pods.c composes them.
 *
 *   READING --all shards read--> SERVING
 *   shard in SERVING: clean --reality_set()--> dirty --timer--> under way
 *   --written--> clean (or dirty again: another write, SPACING_MS after the last began)
 *
 * Happy path: the first change of a quiet shard is written in the same turn of the
 * loop, together with all others of that turn; later ones at most every SPACING_MS.
 * What is in no hurry (a pod is being installed) waits so long at once, so that the news
 * that follows it (the pod runs) need not.
 * Failure: a failed write leaves the shard dirty and is tried again after RETRY_MS;
 * the text that counts is always the latest.  After a new session all shards are
 * written again: the tree may be another one.
 * Invariants: at most one write of a shard is under way; nothing is written before
 * what the store had was read, so that an entry we do not know yet is not dropped.
 */
#include "agent/reality.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/json.h"
#include "base/log.h"
#include "base/str.h"
#include "model/pod.h"

#include <assert.h>
#include <uthash.h>

enum { SPACING_MS = 50, RETRY_MS = 1000 };

struct entry {
    char *text;
    size_t len;
    struct entry *next, *prev;
    UT_hash_handle hh;
    char pod[];
};

struct shard {
    struct reality *reality;
    char *path;
    struct entry *entries; /* uthash */
    struct zk_req req;
    uv_timer_t timer;
    uint64_t last_ms; /* when the last write began */
    bool dirty;
    bool under_way;
    bool create; /* the node is missing */
    bool warned;
};

struct reality {
    struct zk *zk;
    struct zk_listener listener;
    uint64_t generation;
    reality_found_cb on_found;
    reality_cb on_ready;
    void *data;
    struct shard shards[POD_SHARDS];
    unsigned unread;

    uv_timer_t flush_timer;
    reality_cb flush_cb;
    void *flush_data;

    bool closing;
    unsigned open_handles;
    void (*close_cb)(void *data);
    void *close_data;
};

static void schedule(struct shard *shard, uint64_t least_ms);

/* All of a shard; without processes and reasons when it would be too large. */
static void shard_text(const struct shard *shard, bool brief, struct buf *out)
{
    const char *separator = "";

    buf_add_text(out, "{\"pods\":{");
    for (const struct entry *entry = shard->entries; entry; entry = entry->hh.next) {
        buf_addf(out, "%s\"%s\":", separator, entry->pod);
        separator = ",";
        if (brief) {
            CLEANUP(json_freep) json_t *doc = json_loadb(entry->text, entry->len, 0, NULL);
            CLEANUP(mem_freep) char *text = NULL;

            json_object_del(doc, "processes");
            json_object_del(doc, "reason");
            text = json_text(doc);
            buf_add_text(out, text);
        } else {
            buf_add(out, entry->text, entry->len);
        }
    }
    buf_add_text(out, "},\"v\":1}");
}

bool reality_is_clean(const struct reality *reality)
{
    for (size_t i = 0; i < POD_SHARDS; i++) {
        if (reality->shards[i].dirty || reality->shards[i].under_way) {
            return false;
        }
    }
    return true;
}

static void maybe_flushed(struct reality *reality)
{
    reality_cb cb = reality->flush_cb;

    if (cb && reality_is_clean(reality)) {
        reality->flush_cb = NULL;
        (void)uv_timer_stop(&reality->flush_timer);
        cb(reality, reality->flush_data);
    }
}

static void on_flush_late(uv_timer_t *timer)
{
    struct reality *reality = timer->data;
    reality_cb cb = reality->flush_cb;

    reality->flush_cb = NULL;
    if (cb) {
        cb(reality, reality->flush_data);
    }
}

static void on_flush_soon(uv_timer_t *timer)
{
    maybe_flushed(timer->data);
}

void reality_flush(struct reality *reality, uint64_t timeout_ms, reality_cb cb, void *data)
{
    bool clean = reality_is_clean(reality);

    assert(!reality->flush_cb);
    reality->flush_cb = cb;
    reality->flush_data = data;
    (void)uv_timer_start(&reality->flush_timer, clean ? on_flush_soon : on_flush_late,
                         clean ? 0 : timeout_ms, 0);
}

static void on_written(struct zk_req *req)
{
    struct shard *shard = req->data;
    uint64_t wait_ms = 0;

    shard->under_way = false;
    CRASH_POINT("agent.reality_told");
    if (req->err.code == 0) {
        shard->create = false;
        shard->warned = false;
    } else if (req->err.code == ERR_NOTFOUND || req->err.code == ERR_EXISTS) {
        shard->create = req->err.code == ERR_NOTFOUND;
        shard->dirty = true;
    } else {
        if (!shard->warned) {
            log_warn("write %s: %s; trying again until it works", shard->path, req->err.msg);
            shard->warned = true;
        }
        shard->dirty = true;
        wait_ms = RETRY_MS;
    }
    if (shard->dirty) {
        schedule(shard, wait_ms);
    }
    maybe_flushed(shard->reality);
}

static void write_shard(struct shard *shard)
{
    struct zk *zk = shard->reality->zk;
    CLEANUP_BUF text = { 0 };

    shard->dirty = false;
    shard->under_way = true;
    shard->last_ms = clock_now_ms();
    shard_text(shard, false, &text);
    if (text.len > POD_REALITY_MAX_BYTES) {
        buf_clear(&text);
        shard_text(shard, true, &text);
    }
    CRASH_POINT("agent.reality");
    shard->req.data = shard;
    if (shard->create) {
        zk_create(zk, &shard->req, shard->path, text.data, text.len, ZK_MAKE_PARENTS, on_written);
    } else {
        zk_set(zk, &shard->req, shard->path, text.data, text.len, ZK_ANY_VERSION, on_written);
    }
}

static void on_due(uv_timer_t *timer)
{
    struct shard *shard = timer->data;

    if (shard->dirty && !shard->under_way && !shard->reality->closing) {
        write_shard(shard);
    }
}

static void schedule(struct shard *shard, uint64_t least_ms)
{
    uint64_t now_ms = clock_now_ms();
    uint64_t wait_ms = least_ms;

    if (shard->reality->closing || shard->reality->unread > 0 || shard->under_way) {
        return;
    }
    if (shard->last_ms > 0 && shard->last_ms + SPACING_MS > now_ms + wait_ms) {
        wait_ms = shard->last_ms + SPACING_MS - now_ms;
    }
    if (!uv_is_active((uv_handle_t *)&shard->timer) ||
        uv_timer_get_due_in(&shard->timer) > wait_ms) {
        (void)uv_timer_start(&shard->timer, on_due, wait_ms, 0);
    }
}

static void free_entry(struct shard *shard, struct entry *entry)
{
    /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): HASH_DEL moves the head. */
    HASH_DEL(shard->entries, entry);
    free(entry->text);
    free(entry);
}

void reality_set(struct reality *reality, const char *pod, const char *text,
                 enum reality_hurry hurry)
{
    struct shard *shard = &reality->shards[pod_shard(pod)];
    struct entry *entry = NULL;
    size_t len = text ? strlen(text) : 0;

    HASH_FIND_STR(shard->entries, pod, entry);
    if (entry ? text && len == entry->len && memcmp(text, entry->text, len) == 0 : !text) {
        return;
    }
    if (!text) {
        free_entry(shard, entry);
    } else {
        if (!entry) {
            size_t pod_len = strlen(pod);

            entry = mem_alloc(sizeof(*entry) + pod_len + 1);
            memcpy(entry->pod, pod, pod_len + 1);
            HASH_ADD_STR(shard->entries, pod, entry);
        }
        free(entry->text);
        entry->text = mem_dup(text, len);
        entry->len = len;
    }
    shard->dirty = true;
    schedule(shard, hurry == REALITY_NOW ? 0 : SPACING_MS);
}

static void read_shard(struct shard *shard);

static void on_retry(uv_timer_t *timer)
{
    read_shard(timer->data);
}

static void tell_found(struct reality *reality, const char *bytes, size_t len, const char *path)
{
    CLEANUP(json_freep) json_t *doc = NULL;
    const char *pod = NULL;
    json_t *entry = NULL;
    struct err err = { 0 };

    if (json_parse(bytes, len, POD_REALITY_MAX_BYTES + 1024, &doc, &err) < 0) {
        log_warn("%s is not ours: %s; writing it anew", path, err.msg);
        return;
    }
    json_object_foreach(json_object_get(doc, "pods"), pod, entry)
    {
        CLEANUP(mem_freep) char *text = json_text(entry);

        reality->on_found(pod, text, reality->data);
    }
}

static void on_read(struct zk_req *req)
{
    struct shard *shard = req->data;
    struct reality *reality = shard->reality;

    if (reality->closing) {
        return;
    }
    if (req->err.code == 0 && req->len > 0) {
        tell_found(reality, req->bytes, req->len, shard->path);
    } else if (req->err.code == ERR_NOTFOUND) {
        shard->create = true;
    } else if (req->err.code < 0) {
        log_debug("read %s: %s; again in %d ms", shard->path, req->err.msg, RETRY_MS);
        (void)uv_timer_start(&shard->timer, on_retry, RETRY_MS, 0);
        return;
    }
    if (--reality->unread > 0) {
        return;
    }
    reality->generation = zk_generation(reality->zk);
    reality->on_ready(reality, reality->data);
    /* Entries that nobody set again are of pods that are no more. */
    for (size_t i = 0; i < POD_SHARDS; i++) {
        reality->shards[i].dirty = true;
        schedule(&reality->shards[i], 0);
    }
}

static void read_shard(struct shard *shard)
{
    shard->req.data = shard;
    zk_get(shard->reality->zk, &shard->req, shard->path, on_read);
}

static void on_state(struct zk_listener *listener, enum zk_state state)
{
    struct reality *reality = listener->data;

    if (state != ZK_CONNECTED || reality->unread > 0 ||
        reality->generation == zk_generation(reality->zk)) {
        return;
    }
    reality->generation = zk_generation(reality->zk);
    for (size_t i = 0; i < POD_SHARDS; i++) {
        reality->shards[i].dirty = true;
        schedule(&reality->shards[i], 0);
    }
}

void reality_start(const struct reality_options *options, struct reality **ret_reality)
{
    struct reality *reality = mem_alloc(sizeof(*reality));
    uv_loop_t *loop = zk_loop(options->zk);

    reality->zk = options->zk;
    reality->on_found = options->on_found;
    reality->on_ready = options->on_ready;
    reality->data = options->data;
    reality->unread = POD_SHARDS;
    reality->open_handles = POD_SHARDS + 1;
    (void)uv_timer_init(loop, &reality->flush_timer);
    reality->flush_timer.data = reality;
    reality->listener.data = reality;
    zk_listen(options->zk, &reality->listener, on_state);
    *ret_reality = reality;
    for (size_t i = 0; i < POD_SHARDS; i++) {
        struct shard *shard = &reality->shards[i];

        shard->reality = reality;
        shard->path = str_printf("/davit/reality/%s/%zu", options->node, i);
        (void)uv_timer_init(loop, &shard->timer);
        shard->timer.data = shard;
        read_shard(shard);
    }
}

static void on_closed(uv_handle_t *handle)
{
    struct shard *shard = handle->data;
    struct reality *reality = shard->reality;
    void (*cb)(void *data) = reality->close_cb;
    void *data = reality->close_data;

    if (--reality->open_handles > 0) {
        return;
    }
    free(reality);
    if (cb) {
        cb(data);
    }
}

void reality_close(struct reality *reality, void (*cb)(void *data), void *data)
{
    reality->closing = true;
    reality->close_cb = cb;
    reality->close_data = data;
    zk_unlisten(&reality->listener);
    for (size_t i = 0; i < POD_SHARDS; i++) {
        struct shard *shard = &reality->shards[i];

        zk_forget(&shard->req);
        while (shard->entries) {
            /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): the head is another one each time. */
            free_entry(shard, shard->entries);
        }
        free(shard->path);
        uv_close((uv_handle_t *)&shard->timer, on_closed);
    }
    reality->flush_timer.data = &reality->shards[0];
    uv_close((uv_handle_t *)&reality->flush_timer, on_closed);
}
