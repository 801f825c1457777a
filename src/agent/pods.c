/* SPDX-License-Identifier: Apache-2.0 */
/* pods: all pods of the node, whose turn it is, and what is reported of them.
 *
 * reconcile.c decides, pod_step.c carries out; here the two meet.
 *
 *   something happened to a pod -> pods_touch() -> ready -> advance(): decide, begin,
 *   decide again until a step is pending or nothing is to be done -> report
 *
 * Happy path: an intent comes, its pod is made ready, and goes from step to step;
 * steps that wait end in pods_step_over(), which makes it ready again.
 * Failure: a step that failed is begun again by the wake timer when its back-off is over.
 * Invariants: at most one step of a pod is under way; at most LAUNCHES_MOST
 * launches and HOOKS_MOST hook chains are, the rest wait in line, so that a thousand new
 * pods do not freeze the loop; nothing polls.
 */
#include "agent/pods.h"

#include "agent/pods_priv.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/str.h"
#include "model/pod.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <utlist.h>

enum { LAUNCHES_MOST = 16, HOOKS_MOST = 64, PODS_A_TURN = 8, BOOT_ID_MAX = 64 };

static const unsigned slot_limits[SLOT_COUNT] = {
    [SLOT_LAUNCH] = LAUNCHES_MOST,
    [SLOT_HOOKS] = HOOKS_MOST,
};

static void on_idle(uv_idle_t *idle);

/* ---- What is told about a pod. ---- */

static const char *pod_job(const struct pod *pod)
{
    return pod->intent && pod->intent->job ? pod->intent->job : pod->mark.job;
}

static const char *pod_digest(const struct pod *pod)
{
    return pod->intent ? pod->intent->digest : pod->mark.digest;
}

static const char *pod_reason(const struct pod *pod)
{
    if (pod->rec.stage < RECONCILE_LAUNCHED) {
        return pod->problem;
    }
    if (pod->reason) {
        return pod->reason;
    }
    if (pod->rec.end == RECONCILE_END_KILLED && pod->intent && pod->intent->stop_reason) {
        return pod->intent->stop_reason;
    }
    return pod->problem;
}

static json_t *pod_entry(const struct pod *pod, const char *state)
{
    json_t *entry = json_object();

    json_put_str(entry, "state", state);
    json_put_str(entry, "reason", pod_reason(pod));
    json_put_str(entry, "intent", pod_digest(pod));
    if (pod->started_ms > 0) {
        json_put_int(entry, "started_ms", (int64_t)pod->started_ms);
    }
    if (pod->ended_ms > 0) {
        json_put_int(entry, "ended_ms", (int64_t)pod->ended_ms);
    }
    if (pod->processes) {
        json_object_set(entry, "processes", pod->processes);
    }
    return entry;
}

static void tell_listeners(struct pods *pods, const char *name)
{
    struct pods_listener *listener = NULL;
    struct pods_listener *next = NULL;

    DL_FOREACH_SAFE(pods->listeners, listener, next)
    {
        listener->cb(listener, name);
    }
}

/* What moves the task at the master; the rest is mostly overtaken before anybody reads it. */
static bool is_news(const char *state)
{
    return !str_eq(state, "installing") && !str_eq(state, "starting") && !str_eq(state, "stopping");
}

static void report(struct pod *pod)
{
    struct pods *pods = pod->pods;
    const char *state = reconcile_state(&pod->rec);

    step_announce(pod, state);
    if (state) {
        CLEANUP(json_freep) json_t *entry = pod_entry(pod, state);
        CLEANUP(mem_freep) char *text = json_text(entry);

        pods->options.on_entry(pod->name, text, is_news(state), pods->options.data);
    } else {
        pods->options.on_entry(pod->name, NULL, false, pods->options.data);
    }
    if (pod->rec.stage >= RECONCILE_ENDED && !pod->ended_told) {
        pod->ended_told = true;
        log_info("pod ended pod=%s state=%s reason=%s", pod->name, reconcile_end_name(pod->rec.end),
                 pod_reason(pod) ? pod_reason(pod) : "-");
        tell_listeners(pods, pod->name);
    }
}

void pods_problem(struct pod *pod, const struct err *err)
{
    free(pod->problem);
    pod->problem = mem_strdup(err->msg);
}

static json_t *describe(const struct pod *pod)
{
    const char *state = reconcile_state(&pod->rec);
    json_t *doc = pod_entry(pod, state ? state : "unknown");

    json_put_str(doc, "pod", pod->name);
    json_put_str(doc, "home", pod->home);
    json_put_str(doc, "job", pod_job(pod));
    json_put_int(doc, "instance", pod->intent ? pod->intent->instance : pod->mark.instance);
    json_put_str(doc, "busy", pod->rec.busy ? reconcile_action_name(pod->rec.busy) : NULL);
    json_put_int(doc, "failures", pod->rec.failures);
    if (pod->announce) {
        json_put_str(doc, "announced", announce_node(pod->announce));
        json_put_str(doc, "announce_problem", announce_problem(pod->announce));
    }
    if (pod->watched) {
        json_put_int(doc, "pid", pod->child.pid);
    }
    return doc;
}

json_t *pods_list(struct pods *pods)
{
    json_t *items = json_array();

    for (struct pod *pod = pods->all; pod; pod = pod->hh.next) {
        json_array_append_new(items, describe(pod));
    }
    return items;
}

static struct pod *find(struct pods *pods, const char *name)
{
    struct pod *pod = NULL;

    HASH_FIND_STR(pods->all, name, pod);
    return pod;
}

json_t *pods_describe(struct pods *pods, const char *name)
{
    struct pod *pod = find(pods, name);

    return pod ? describe(pod) : NULL;
}

bool pods_ended(struct pods *pods, const char *name)
{
    struct pod *pod = find(pods, name);

    return !pod || pod->rec.stage >= RECONCILE_ENDED;
}

size_t pods_count(const struct pods *pods)
{
    return HASH_COUNT(pods->all);
}

void pods_listen(struct pods *pods, struct pods_listener *listener)
{
    DL_APPEND(pods->listeners, listener);
}

void pods_unlisten(struct pods *pods, struct pods_listener *listener)
{
    DL_DELETE(pods->listeners, listener);
}

/* ---- One pod's beginning and end. ---- */

static void maybe_closed(struct pods *pods)
{
    void (*cb)(void *data) = pods->close_cb;
    void *data = pods->close_data;

    if (!pods->closing || pods->open_handles > 0) {
        return;
    }
    free(pods->boot_id);
    free(pods);
    if (cb) {
        cb(data);
    }
}

static void pod_free(struct pod *pod)
{
    struct pods *pods = pod->pods;

    intent_free(pod->intent);
    home_mark_fini(&pod->mark);
    json_decref(pod->processes);
    free(pod->token);
    free(pod->problem);
    free(pod->reason);
    free(pod->name);
    free(pod->home);
    free(pod);
    pods->open_handles--;
    maybe_closed(pods);
}

static void on_pod_handle_closed(struct pod *pod)
{
    if (--pod->open_handles == 0) {
        pod_free(pod);
    }
}

static void on_timer_closed(uv_handle_t *handle)
{
    on_pod_handle_closed(handle->data);
}

static void on_link_closed(struct link *link)
{
    on_pod_handle_closed(link->data);
}

static struct pod *pod_new(struct pods *pods, const char *name)
{
    struct pod *pod = mem_alloc(sizeof(*pod));

    pod->pods = pods;
    pod->name = mem_strdup(name);
    pod->home = file_join(pods->options.root, name);
    pod->slot = SLOT_NONE;
    pod->queue = QUEUE_NONE;
    pod->link.data = pod;
    (void)uv_timer_init(pods->loop, &pod->again);
    (void)uv_timer_init(pods->loop, &pod->deadline);
    pod->again.data = pod;
    pod->deadline.data = pod;
    pod->open_handles = 3; /* two timers and the link */
    pods->open_handles++;
    HASH_ADD_KEYPTR(hh, pods->all, pod->name, strlen(pod->name), pod);
    return pod;
}

static void leave_queue(struct pod *pod)
{
    if (pod->queue != QUEUE_NONE) {
        /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): only a lone one has no next. */
        DL_DELETE(pod->pods->ready[pod->queue], pod);
        pod->queue = QUEUE_NONE;
    }
}

static void leave_lists(struct pod *pod)
{
    leave_queue(pod);
    if (pod->parked) {
        /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): only a lone one has no next. */
        DL_DELETE(pod->pods->waiting[pod->slot], pod);
        pod->parked = false;
        pod->slot = SLOT_NONE;
    }
}

/* A child, a tree_kill, a chain or a piece of work that is still under way holds the pod;
 * each calls this again when it is over. */
static void maybe_release(struct pod *pod)
{
    if (!pod->closing || pod->watched || pod->killing || pod->hooking || pod->working) {
        return;
    }
    if (uv_is_closing((uv_handle_t *)&pod->again)) {
        return;
    }
    uv_close((uv_handle_t *)&pod->again, on_timer_closed);
    uv_close((uv_handle_t *)&pod->deadline, on_timer_closed);
    link_close(&pod->link, on_link_closed);
}

static void pod_release(struct pod *pod)
{
    leave_lists(pod);
    HASH_DEL(pod->pods->all, pod);
    pod->closing = true;
    step_cancel(pod);
    maybe_release(pod);
}

static void forget(struct pod *pod)
{
    struct pods *pods = pod->pods;
    CLEANUP(mem_freep) char *name = mem_strdup(pod->name);

    log_debug("forgetting pod=%s", name);
    pods->options.on_entry(name, NULL, false, pods->options.data);
    pod_release(pod);
    tell_listeners(pods, name);
}

/* ---- Whose turn it is. ---- */

static void release_slot(struct pod *pod)
{
    if (pod->slot != SLOT_NONE) {
        pod->pods->used[pod->slot]--;
        pod->slot = SLOT_NONE;
    }
}

/* The first in each line may go on.  One is enough: its own turn calls the next one. */
static void call_waiting(struct pods *pods)
{
    for (enum pods_slot slot = 0; slot < SLOT_COUNT; slot++) {
        if (pods->waiting[slot] && pods->used[slot] < slot_limits[slot]) {
            pods_touch(pods->waiting[slot]);
        }
    }
}

void pods_touch(struct pod *pod)
{
    struct pods *pods = pod->pods;

    if (pod->closing) {
        maybe_release(pod);
        return;
    }
    if (pod->parked) {
        leave_lists(pod);
        reconcile_abandon(&pod->rec); /* Decide afresh: the wish may be another one. */
    }
    if (pod->queue == QUEUE_NONE) {
        pod->queue = pod->rec.stage >= RECONCILE_READY ? QUEUE_BEGUN : QUEUE_NEW;
        DL_APPEND(pods->ready[pod->queue], pod);
    }
    if (!uv_is_active((uv_handle_t *)&pods->idle)) {
        (void)uv_idle_start(&pods->idle, on_idle);
    }
}

static void maybe_left(struct pods *pods)
{
    void (*cb)(void *data) = pods->left_cb;

    if (!cb) {
        return;
    }
    for (struct pod *pod = pods->all; pod; pod = pod->hh.next) {
        if (reconcile_lives(&pod->rec)) {
            return;
        }
    }
    pods->left_cb = NULL;
    cb(pods->left_data);
}

static void on_wake(uv_timer_t *timer)
{
    struct pods *pods = timer->data;
    uint64_t now_ms = clock_now_ms();
    uint64_t next_ms = 0;

    for (struct pod *pod = pods->all; pod; pod = pod->hh.next) {
        uint64_t at_ms = pod->rec.retry_at_ms;

        if (at_ms == 0 || pod->rec.busy) {
            continue;
        }
        if (at_ms <= now_ms) {
            pods_touch(pod);
        } else if (next_ms == 0 || at_ms < next_ms) {
            next_ms = at_ms;
        }
    }
    pods->wake_ms = next_ms;
    if (next_ms > 0) {
        (void)uv_timer_start(&pods->wake, on_wake, next_ms - now_ms, 0);
    }
}

static void wake_for(struct pod *pod)
{
    struct pods *pods = pod->pods;
    uint64_t now_ms = clock_now_ms();
    uint64_t at_ms = pod->rec.retry_at_ms;

    if (at_ms <= now_ms || (pods->wake_ms > now_ms && pods->wake_ms <= at_ms)) {
        return;
    }
    pods->wake_ms = at_ms;
    (void)uv_timer_start(&pods->wake, on_wake, at_ms - now_ms, 0);
}

static void over(struct pod *pod, bool ok)
{
    enum reconcile_action action = pod->rec.busy;

    release_slot(pod);
    (void)uv_timer_stop(&pod->deadline);
    reconcile_done(&pod->rec, ok, clock_now_ms());
    if (!ok) {
        log_warn("%s failed, again in %llu ms: %s pod=%s", reconcile_action_name(action),
                 (unsigned long long)(pod->rec.retry_at_ms - clock_now_ms()),
                 pod->problem ? pod->problem : "?", pod->name);
    } else if (pod->rec.stage >= RECONCILE_LAUNCHED && action <= RECONCILE_LAUNCH) {
        free(TAKE(pod->problem));
    }
}

void pods_step_over(struct pod *pod, bool ok)
{
    if (pod->closing) {
        maybe_release(pod);
        return;
    }
    over(pod, ok);
    pods_touch(pod);
}

/* Decide and begin until something is pending. */
static void advance(struct pod *pod)
{
    struct pods *pods = pod->pods;

    while (!pods->leaving || pod->rec.leaving) {
        enum reconcile_action action = reconcile_next(&pod->rec, clock_now_ms());
        enum step_result result = STEP_PENDING;

        if (action == RECONCILE_NOTHING) {
            break;
        }
        if (action == RECONCILE_FORGET) {
            forget(pod);
            call_waiting(pods);
            maybe_left(pods);
            return;
        }
        pod->slot = step_slot(pod, action);
        if (pod->slot != SLOT_NONE) {
            if (pods->used[pod->slot] >= slot_limits[pod->slot]) {
                pod->parked = true;
                DL_APPEND(pods->waiting[pod->slot], pod);
                break;
            }
            pods->used[pod->slot]++;
        }
        log_debug("%s begins pod=%s", reconcile_action_name(action), pod->name);
        result = step_begin(pod, action);
        if (result == STEP_PENDING) {
            break;
        }
        over(pod, result == STEP_OK);
        if (result == STEP_HOPELESS) {
            reconcile_ended(&pod->rec, RECONCILE_END_FAILED);
        }
    }
    if (pod->rec.stage >= RECONCILE_UP && pod->intent) {
        intent_slim(pod->intent);
    }
    wake_for(pod);
    report(pod);
    call_waiting(pods);
    maybe_left(pods);
}

static struct pod *first_ready(const struct pods *pods)
{
    return pods->ready[QUEUE_BEGUN] ? pods->ready[QUEUE_BEGUN] : pods->ready[QUEUE_NEW];
}

static void on_idle(uv_idle_t *idle)
{
    struct pods *pods = idle->data;

    struct pod *pod = first_ready(pods);

    for (unsigned i = 0; i < PODS_A_TURN && pod; i++) {
        leave_queue(pod);
        advance(pod);
        pod = first_ready(pods);
    }
    if (!pod) {
        (void)uv_idle_stop(idle);
    }
}

/* ---- What comes from outside. ---- */

void pods_intent(struct pods *pods, const char *name, struct intent *intent)
{
    struct pod *pod = find(pods, name);
    bool changed = false;

    if (!intent) {
        if (pod) {
            reconcile_intent(&pod->rec, RECONCILE_ABSENT, false);
            pods_touch(pod);
        }
        return;
    }
    if (!pod) {
        pod = pod_new(pods, name);
    }
    changed = !pod->intent || !str_eq(pod->intent->digest, intent->digest);
    intent_free(pod->intent);
    pod->intent = intent;
    if (pod->rec.stage < RECONCILE_LAUNCHED) {
        free(TAKE(pod->problem));
    }
    reconcile_intent(&pod->rec, intent->stop ? RECONCILE_STOP : RECONCILE_RUN, changed);
    pods_touch(pod);
}

void pods_bad_intent(struct pods *pods, const char *name, const struct err *err)
{
    struct pod *pod = find(pods, name);

    if (!pod) {
        pod = pod_new(pods, name);
    }
    pods_problem(pod, err);
}

void pods_listed(struct pods *pods, bool (*has)(const char *name, void *data), void *data)
{
    for (struct pod *pod = pods->all; pod; pod = pod->hh.next) {
        if (!has(pod->name, data)) {
            reconcile_intent(&pod->rec, RECONCILE_ABSENT, false);
            pods_touch(pod);
        }
    }
}

void pods_found(struct pods *pods, const char *name, const char *entry)
{
    CLEANUP(json_freep) json_t *doc = json_loads(entry, 0, NULL);
    enum reconcile_life life = RECONCILE_LIFE_NONE;
    enum reconcile_end end = RECONCILE_END_LOST;
    struct pod *pod = find(pods, name);
    const char *state = json_str_or(doc, "state", "");

    if ((pod && pod->rec.has_home) || !intent_name_ok(name) || str_eq(state, "installing")) {
        return;
    }
    if (!pod) {
        pod = pod_new(pods, name);
    }
    life = reconcile_life_parse(state);
    if (reconcile_life_ended(life)) {
        end = life == RECONCILE_LIFE_FINISHED ? RECONCILE_END_FINISHED
              : life == RECONCILE_LIFE_FAILED ? RECONCILE_END_FAILED
                                              : RECONCILE_END_KILLED;
    }
    reconcile_ended(&pod->rec, end);
    free(pod->reason);
    pod->reason = mem_strdup(json_str_or(
        doc, "reason", end == RECONCILE_END_LOST ? "The pod's home is gone from the node." : ""));
    pod->started_ms = (uint64_t)json_int_or(doc, "started_ms", 0);
    pod->ended_ms = (uint64_t)json_int_or(doc, "ended_ms", 0);
    pod->processes = json_incref(json_object_get(doc, "processes"));
    pods_touch(pod);
}

int pods_adopt(struct pods *pods, struct err *err)
{
    CLEANUP(strv_freep) char **names = NULL;

    if (home_list(pods->options.root, &names, err) < 0) {
        return err_wrap(err, "look for pods");
    }
    for (char **name = names; name && *name; name++) {
        struct pod *pod = pod_new(pods, *name);
        struct reconcile_found found = { 0 };

        pod->maybe_announced = true;
        step_adopt(pod, &found);
        reconcile_adopt(&pod->rec, &found);
        if (found.alive) {
            log_info("adopted a running pod pod=%s", pod->name);
        }
        pods_touch(pod);
    }
    return 0;
}

/* ---- The whole. ---- */

int pods_new(const struct pods_options *options, struct pods **ret_pods, struct err *err)
{
    struct pods *pods = NULL;
    CLEANUP_BUF boot_id = { 0 };

    if (file_mkdirs(options->root, 0755, err) < 0 ||
        file_read("/proc/sys/kernel/random/boot_id", BOOT_ID_MAX, &boot_id, err) < 0) {
        return err_code(err);
    }
    pods = mem_alloc(sizeof(*pods));
    pods->options = *options;
    pods->loop = options->loop;
    pods->boot_id = mem_strndup(buf_text(&boot_id), strcspn(buf_text(&boot_id), "\n"));
    /* davit-pod looks at /proc by itself, so it must live in our PID namespace. */
    pods->rung = tree_best_rung() == TREE_PIDNS ? TREE_SWEEP : TREE_AUTO;
    (void)uv_idle_init(pods->loop, &pods->idle);
    (void)uv_timer_init(pods->loop, &pods->wake);
    pods->idle.data = pods;
    pods->wake.data = pods;
    pods->open_handles = 2;
    *ret_pods = pods;
    return 0;
}

void pods_stop_all(struct pods *pods, void (*cb)(void *data), void *data)
{
    pods->leaving = true;
    pods->left_cb = cb;
    pods->left_data = data;
    for (struct pod *pod = pods->all; pod; pod = pod->hh.next) {
        if (pod->parked) {
            leave_lists(pod);
            reconcile_abandon(&pod->rec);
        }
        if (reconcile_lives(&pod->rec)) {
            reconcile_leave(&pod->rec);
            pods_touch(pod);
        }
    }
    maybe_left(pods);
}

static void on_own_closed(uv_handle_t *handle)
{
    struct pods *pods = handle->data;

    pods->open_handles--;
    maybe_closed(pods);
}

void pods_close(struct pods *pods, void (*cb)(void *data), void *data)
{
    struct pod *pod = NULL;
    struct pod *next = NULL;

    pods->closing = true;
    pods->close_cb = cb;
    pods->close_data = data;
    HASH_ITER(hh, pods->all, pod, next)
    {
        pod_release(pod);
    }
    uv_close((uv_handle_t *)&pods->idle, on_own_closed);
    uv_close((uv_handle_t *)&pods->wake, on_own_closed);
}
