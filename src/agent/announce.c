/* SPDX-License-Identifier: Apache-2.0 */
/* announce: keeps the ServerSet member of each running task in the store.
 *
 * When a task is to be announced is pods.c's; what a member says is model/endpoint.c's.
 *
 *   step() -> SEEKING --what there is of ours--> step()
 *          -> JOINING --made--> MEMBER --gone: expiry, removed--> step()
 *          -> REMOVING --deleted--> GONE
 *   any failure -> WAITING --1 s--> step()
 *
 * Happy path: a sequential ephemeral node is made, its name noted in the pod's home, and the
 * node is watched.  After a restart of the agent the old session's node, found by the
 * note or else by its text, is deleted in the same multi that makes the new one: readers see one
 * member at any time.
 * Failure: it is tried again for ever; a task that runs is never ended because it
 * cannot be announced (P10).  A create whose outcome is uncertain is looked for before another one
 * is made.
 * Invariants: one request is under way in SEEKING, JOINING and REMOVING, none in the other
 * states; what was made is known (node), or looked for (must_look), before the announce is GONE.
 */
#include "agent/announce.h"

#include "base/buf.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/sm.h"
#include "base/str.h"
#include "coord/zk_watch.h"
#include "model/endpoint.h"

#include <assert.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

enum {
    RETRY_MS = 1000,
    PATIENCE_MS = 2000, /* An end waits so long for its member to be out, */
    AWAY_MS = 500,      /* and so long when there is no connection. */
    NOTE_MOST = 4096,
    MEMBER_FLAGS = ZK_EPHEMERAL | ZK_SEQUENCE | ZK_WORLD_READ,
};

static const char PREFIX[] = "member_";

enum announce_state { BEGUN, SEEKING, JOINING, MEMBER, REMOVING, WAITING, GONE };

static const struct sm_state states[] = {
    [BEGUN] = { "begun", SM_TO(SEEKING) | SM_TO(JOINING) },
    [SEEKING] = { "seeking", SM_TO(SEEKING) | SM_TO(JOINING) | SM_TO(MEMBER) | SM_TO(REMOVING) |
                                 SM_TO(WAITING) | SM_TO(GONE) },
    [JOINING] = { "joining", SM_TO(SEEKING) | SM_TO(MEMBER) | SM_TO(REMOVING) | SM_TO(WAITING) },
    [MEMBER] = { "member", SM_TO(SEEKING) | SM_TO(JOINING) | SM_TO(REMOVING) },
    [REMOVING] = { "removing", SM_TO(SEEKING) | SM_TO(WAITING) | SM_TO(GONE) },
    [WAITING] = { "waiting",
                  SM_TO(SEEKING) | SM_TO(JOINING) | SM_TO(MEMBER) | SM_TO(REMOVING) | SM_TO(GONE) },
    [GONE] = { "gone", 0 },
};

struct announce {
    struct announcer *all;
    struct sm sm;
    char *pod;
    char *folder;
    char *text;
    char *note_file;
    char *node;     /* our member; NULL: none that we know of */
    char **others;  /* strv: what an earlier session left of ours */
    bool must_look; /* there may be one that we do not know of */
    char *problem;

    /* SEEKING: names in folder yet to be read. */
    char *noted; /* the name that the note says, to be tried alone first */
    char **names;
    size_t next_name;

    struct zk_req req;
    struct zk_multi *multi;
    struct zk_watch watch;
    uv_timer_t retry;

    bool leaving;
    bool in_background; /* the one who waited was told already */
    uv_timer_t patience;
    announce_cb cb;
    void *data;

    unsigned open_handles;
    struct announce *prev, *next;
};

struct announcer {
    struct announcer_options options;
    struct announce *list;
    bool closing;
    void (*cb)(void *data);
    void *data;
};

static void step(struct announce *announce);

/* ---- Outcomes ---- */

static void maybe_closed(struct announcer *all)
{
    void (*cb)(void *data) = all->cb;
    void *data = all->data;

    if (!all->closing || all->list) {
        return;
    }
    free(all);
    if (cb) {
        cb(data);
    }
}

static void on_closed(uv_handle_t *handle)
{
    struct announce *announce = handle->data;
    struct announcer *all = announce->all;

    if (--announce->open_handles > 0) {
        return;
    }
    DL_DELETE(all->list, announce);
    zk_multi_free(announce->multi);
    strv_free(announce->others);
    strv_free(announce->names);
    free(announce->pod);
    free(announce->folder);
    free(announce->text);
    free(announce->note_file);
    free(announce->node);
    free(announce->problem);
    free(announce->noted);
    free(announce);
    maybe_closed(all);
}

static void close_handles(struct announce *announce)
{
    uv_close((uv_handle_t *)&announce->retry, on_closed);
    uv_close((uv_handle_t *)&announce->patience, on_closed);
}

/* Whoever waits for the end of leaving is told once. */
static void tell(struct announce *announce)
{
    announce_cb cb = announce->cb;
    void *data = announce->data;

    announce->in_background = true;
    announce->cb = NULL;
    (void)uv_timer_stop(&announce->patience);
    if (cb) {
        cb(data);
    }
}

static void on_patience(uv_timer_t *timer)
{
    struct announce *announce = timer->data;

    log_warn("the member of a task that ends is still announced: %s pod=%s",
             announce->problem ? announce->problem : "no answer from the store", announce->pod);
    tell(announce);
}

static void gone(struct announce *announce)
{
    sm_move(&announce->sm, GONE);
    (void)unlink(announce->note_file);
    close_handles(announce);
    tell(announce);
}

static void on_retry(uv_timer_t *timer)
{
    step(timer->data);
}

static void fail(struct announce *announce, const struct err *err)
{
    if (!str_eq(announce->problem, err->msg)) {
        log_warn("announce: %s, trying again pod=%s", err->msg, announce->pod);
        free(announce->problem);
        announce->problem = mem_strdup(err->msg);
    }
    sm_move(&announce->sm, WAITING);
    (void)uv_timer_start(&announce->retry, on_retry, RETRY_MS, 0);
}

/* A write failed: what is in the store is to be found out. */
static void fail_write(struct announce *announce)
{
    struct err err = announce->req.err;

    if (announce->req.uncertain || err.code == ERR_NOTFOUND) {
        announce->must_look = true;
        free(TAKE(announce->node));
        strv_free(TAKE(announce->others));
    }
    if (err.code == ERR_NOTFOUND) {
        step(announce); /* Only its time had come, or somebody else's hand. */
    } else {
        fail(announce, &err);
    }
}

/* ---- The note in the pod's home ---- */

static void write_note(const struct announce *announce)
{
    struct err err = { 0 };

    if (file_write(announce->note_file, announce->node, strlen(announce->node), 0644, false, &err) <
        0) {
        log_warn("%s pod=%s", err.msg, announce->pod);
    }
}

/* Its node's name, when it is in the folder. */
static void read_note(struct announce *announce)
{
    CLEANUP_BUF text = { 0 };
    size_t len = strlen(announce->folder);
    struct err ignored = { 0 };

    if (file_read(announce->note_file, NOTE_MOST, &text, &ignored) == 0 &&
        str_starts(buf_text(&text), announce->folder) && buf_text(&text)[len] == '/' &&
        str_starts(buf_text(&text) + len + 1, PREFIX)) {
        announce->noted = mem_strdup(buf_text(&text) + len + 1);
    }
}

/* ---- Looking for what is there ---- */

static void look_on(struct announce *announce);

static void on_children(struct zk_req *req)
{
    struct announce *announce = req->data;

    if (req->err.code < 0 && req->err.code != ERR_NOTFOUND) {
        fail(announce, &announce->req.err);
        return;
    }
    for (size_t i = 0; req->err.code == 0 && i < req->n_children; i++) {
        if (str_starts(req->children[i], PREFIX)) {
            strv_add(&announce->names, req->children[i]);
        }
    }
    if (!announce->names) {
        announce->must_look = false;
        step(announce);
        return;
    }
    look_on(announce);
}

static bool is_of_another(const struct announce *announce, const char *path)
{
    struct announce *other = NULL;

    DL_FOREACH(announce->all->list, other)
    {
        if (other != announce && str_eq(other->node, path)) {
            return true;
        }
    }
    return false;
}

static void on_looked(struct zk_req *req)
{
    struct announce *announce = req->data;
    CLEANUP(mem_freep)
    char *path = file_join(announce->folder, announce->names[announce->next_name]);

    if (req->err.code < 0 && req->err.code != ERR_NOTFOUND) {
        fail(announce, &announce->req.err);
        return;
    }
    /* The same words can only be ours, or those of an agent that has our task. */
    if (req->err.code == 0 && req->stat.ephemeral_owner != 0 &&
        str_eq(req->bytes, announce->text) && !is_of_another(announce, path)) {
        if (!announce->node &&
            req->stat.ephemeral_owner == zk_session_id(announce->all->options.zk)) {
            announce->node = TAKE(path);
        } else {
            strv_add_take(&announce->others, TAKE(path));
        }
    }
    announce->next_name++;
    look_on(announce);
}

static void look_on(struct announce *announce)
{
    struct zk *zk = announce->all->options.zk;

    if (announce->names && announce->names[announce->next_name]) {
        CLEANUP(mem_freep)
        char *path = file_join(announce->folder, announce->names[announce->next_name]);

        zk_get(zk, &announce->req, path, on_looked);
        return;
    }
    strv_free(TAKE(announce->names));
    announce->next_name = 0;
    if (announce->noted && !announce->node && !announce->others) {
        free(TAKE(announce->noted));
        zk_children(zk, &announce->req, announce->folder, on_children);
        return;
    }
    free(TAKE(announce->noted));
    announce->must_look = false;
    step(announce);
}

static void seek(struct announce *announce)
{
    sm_move(&announce->sm, SEEKING);
    strv_free(TAKE(announce->names));
    strv_free(TAKE(announce->others));
    free(TAKE(announce->node));
    announce->next_name = 0;
    if (announce->noted) {
        strv_add(&announce->names, announce->noted);
        look_on(announce);
    } else {
        zk_children(announce->all->options.zk, &announce->req, announce->folder, on_children);
    }
}

/* ---- Joining, being in, leaving ---- */

static void joined(struct announce *announce, const char *path)
{
    announce->node = mem_strdup(path);
    CRASH_POINT("agent.announced");
    write_note(announce);
    free(TAKE(announce->problem));
    log_info("announced node=%s pod=%s", path, announce->pod);
    step(announce);
}

static void on_created(struct zk_req *req)
{
    struct announce *announce = req->data;

    if (req->err.code < 0) {
        fail_write(announce);
    } else {
        joined(announce, req->path);
    }
}

static void on_committed(struct zk_req *req)
{
    struct announce *announce = req->data;
    struct zk_multi *multi = TAKE(announce->multi);
    const char *made = NULL;

    if (req->err.code < 0) {
        zk_multi_free(multi);
        fail_write(announce);
        return;
    }
    strv_free(TAKE(announce->others));
    if (announce->sm.state == REMOVING) {
        free(TAKE(announce->node));
    } else if (!announce->node) {
        made = zk_multi_created(multi, zk_multi_count(multi) - 1);
    }
    if (made) {
        joined(announce, made);
    } else {
        step(announce);
    }
    zk_multi_free(multi);
}

/* Everything that is not to be there goes, and what is to be there comes, at once. */
static void commit(struct announce *announce)
{
    announce->multi = zk_multi_new();
    for (char **other = announce->others; other && *other; other++) {
        zk_multi_delete(announce->multi, *other, ZK_ANY_VERSION);
    }
    if (announce->leaving && announce->node) {
        zk_multi_delete(announce->multi, announce->node, ZK_ANY_VERSION);
    } else if (!announce->leaving && !announce->node) {
        CLEANUP(mem_freep) char *path = file_join(announce->folder, PREFIX);

        zk_multi_create(announce->multi, path, announce->text, strlen(announce->text),
                        MEMBER_FLAGS);
    }
    sm_move(&announce->sm, announce->leaving ? REMOVING : JOINING);
    CRASH_POINT("agent.announce");
    zk_commit(announce->all->options.zk, &announce->req, announce->multi, on_committed);
}

static void join(struct announce *announce)
{
    CLEANUP(mem_freep) char *path = file_join(announce->folder, PREFIX);

    sm_move(&announce->sm, JOINING);
    CRASH_POINT("agent.announce");
    zk_create(announce->all->options.zk, &announce->req, path, announce->text,
              strlen(announce->text), MEMBER_FLAGS | ZK_MAKE_PARENTS, on_created);
}

static void on_watched(struct zk_watch *watch)
{
    struct announce *announce = watch->data;
    bool is_ours =
        watch->exists && watch->stat.ephemeral_owner == zk_session_id(announce->all->options.zk);

    if (watch->err.code < 0 || is_ours) {
        return;
    }
    announce->must_look = watch->exists;
    zk_watch_stop(watch);
    free(TAKE(announce->node));
    step(announce);
}

static void stay(struct announce *announce)
{
    sm_move(&announce->sm, MEMBER);
    announce->watch.data = announce;
    zk_watch_data(announce->all->options.zk, &announce->watch, announce->node, on_watched);
}

static void step(struct announce *announce)
{
    if (announce->must_look) {
        seek(announce);
    } else if (announce->others || (announce->leaving && announce->node)) {
        commit(announce);
    } else if (announce->leaving) {
        gone(announce);
    } else if (!announce->node) {
        join(announce);
    } else {
        stay(announce);
    }
}

/* ---- One announce's beginning and end ---- */

/* A job's words must not come between davit's own nodes, nor the store's. */
static bool is_reserved(const char *path)
{
    static const char *const roots[] = { "/davit", "/zookeeper" };

    for (size_t i = 0; i < sizeof(roots) / sizeof(roots[0]); i++) {
        size_t len = strlen(roots[i]);

        if (str_starts(path, roots[i]) && (path[len] == '/' || path[len] == '\0')) {
            return true;
        }
    }
    return false;
}

bool announce_path_ok(const char *path)
{
    size_t len = strlen(path);

    for (const char *at = path; *at; at++) {
        if ((unsigned char)*at < ' ' || (unsigned char)*at == 0x7f) {
            return false;
        }
    }
    return len > 1 && path[0] == '/' && path[len - 1] != '/' && !strstr(path, "//") &&
           !strstr(path, "/./") && !strstr(path, "/../") && !str_ends(path, "/.") &&
           !str_ends(path, "/..") && !is_reserved(path);
}

static char *folder_of(const struct announcer *all, const struct intent *intent,
                       const json_t *announce)
{
    const char *custom = json_str_or(announce, "zk_path", NULL);
    const char *key = intent->job ? strchr(intent->job, '/') : NULL; /* behind the cluster */

    if (custom && *custom && all->options.custom_path && announce_path_ok(custom)) {
        return mem_strdup(custom);
    }
    if (custom && *custom) {
        log_warn("announce.zk_path %.200s is %s pod=%s", custom,
                 all->options.custom_path ? "no path for that, not used"
                                          : "not allowed on this node, not used",
                 intent->pod);
    }
    return str_printf("%s%s", all->options.root, key ? key : "");
}

void announce_start(struct announcer *all, const struct intent *intent, const char *note_file,
                    bool look, struct announce **ret_announce)
{
    const json_t *config = json_object_get(intent->announce, "announce");
    const json_t *ports = json_object_get(intent->announce, "ports");
    const char *host = json_str_or(intent->announce, "hostname", "localhost");
    CLEANUP(json_freep)
    json_t *member = endpoint_member(config, ports, all->options.host ?: host, intent->instance);
    struct announce *announce = mem_alloc(sizeof(*announce));

    assert(intent->announce);
    announce->all = all;
    announce->pod = mem_strdup(intent->pod);
    announce->folder = folder_of(all, intent, config);
    announce->text = json_text(member);
    announce->note_file = mem_strdup(note_file);
    announce->must_look = look;
    announce->req.data = announce;
    sm_init(&announce->sm, states, BEGUN);
    if (look) {
        read_note(announce);
    }
    (void)uv_timer_init(zk_loop(all->options.zk), &announce->retry);
    (void)uv_timer_init(zk_loop(all->options.zk), &announce->patience);
    announce->retry.data = announce;
    announce->patience.data = announce;
    announce->open_handles = 2;
    DL_APPEND(all->list, announce);
    *ret_announce = announce;
    step(announce);
}

void announce_leave(struct announce *announce, announce_cb cb, void *data)
{
    struct zk *zk = announce->all->options.zk;

    announce->cb = cb;
    announce->data = data;
    if (announce->leaving) {
        return;
    }
    announce->leaving = true;
    (void)uv_timer_start(&announce->patience, on_patience,
                         zk_state(zk) == ZK_CONNECTED ? PATIENCE_MS : AWAY_MS, 0);
    if (announce->sm.state == MEMBER) {
        zk_watch_stop(&announce->watch);
        step(announce);
    } else if (announce->sm.state == WAITING) {
        (void)uv_timer_start(&announce->retry, on_retry, 0, 0); /* No callback from in here. */
    } /* Else the request under way ends in step(). */
}

void announce_drop(struct announce *announce)
{
    if (announce->sm.state == GONE) {
        announce->cb = NULL;
        return;
    }
    zk_forget(&announce->req);
    zk_watch_stop(&announce->watch);
    sm_init(&announce->sm, states, GONE);
    announce->cb = NULL;
    close_handles(announce);
}

const char *announce_node(const struct announce *announce)
{
    return announce->node;
}

const char *announce_problem(const struct announce *announce)
{
    return announce->problem;
}

/* ---- The whole ---- */

void announcer_new(const struct announcer_options *options, struct announcer **ret_all)
{
    struct announcer *all = mem_alloc(sizeof(*all));

    all->options = *options;
    *ret_all = all;
}

bool announcer_any(const struct announcer *all)
{
    const struct announce *announce = NULL;

    DL_FOREACH(all->list, announce)
    {
        if (announce->node && !announce->leaving) {
            return true;
        }
    }
    return false;
}

void announcer_close(struct announcer *all, void (*cb)(void *data), void *data)
{
    struct announce *announce = NULL;

    all->closing = true;
    all->cb = cb;
    all->data = data;
    DL_FOREACH(all->list, announce)
    {
        announce_drop(announce);
    }
    maybe_closed(all);
}
