/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator: asks others whether a task may go.
 *
 *   url: IDLE --ask--> BUSY --answered, failed, timed out--> the next in line, or IDLE
 *
 * Happy path: a POST, a yes, the callback.  Who is refused stands at the end of the line again.
 * Failures: whatever is no yes is a no; the task may be asked about again after retry_ms.
 * Nothing is stored: another leader asks again.
 * Invariant: at most one call per URL is under way; what was refused is remembered for
 * retry_ms only.
 */
#include "master/drain/coordinator.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/str.h"
#include "http/httpc.h"
#include "master/state/task_state.h"

#include <inttypes.h>
#include <string.h>
#include <uthash.h>
#include <utlist.h>

enum { MAX_ANSWER_BYTES = 64 * 1024, SWEEP_AT = 256 };

/* A task that waits until its URL is free. */
struct waiter {
    char *task_id;
    uint64_t deadline_ms;
    struct waiter *prev, *next;
};

struct place_asked {
    struct coordinators *owner;
    struct httpc_call call;
    struct waiter *line; /* utlist, the first is next. */
    bool busy;
    char *task_id, *status_key, *body, *target;
    UT_hash_handle hh;
    char url[];
};

struct refusal {
    uint64_t until_ms;
    UT_hash_handle hh;
    char task_id[];
};

struct coordinators {
    struct coordinators_options options;
    coordinators_cb granted;
    void *data;
    struct httpc *httpc;
    struct place_asked *places;
    struct refusal *refusals;
    bool closing;
    coordinators_closed_cb close_cb;
    void *close_data;
};

struct coordinators *coordinators_new(const struct coordinators_options *options,
                                      coordinators_cb granted, void *data)
{
    struct coordinators *coordinators = mem_alloc(sizeof(*coordinators));

    coordinators->options = *options;
    coordinators->granted = granted;
    coordinators->data = data;
    httpc_new(state_loop(options->state), &coordinators->httpc);
    return coordinators;
}

/* ---- Refusals ---- */

static void sweep(struct coordinators *coordinators, uint64_t now, bool all)
{
    struct refusal *refusal;
    struct refusal *next;

    HASH_ITER(hh, coordinators->refusals, refusal, next)
    {
        if (all || refusal->until_ms <= now) {
            /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): HASH_DEL moves the head. */
            HASH_DEL(coordinators->refusals, refusal);
            free(refusal);
        }
    }
}

static bool refused_lately(struct coordinators *coordinators, const char *task_id)
{
    struct refusal *refusal;

    HASH_FIND_STR(coordinators->refusals, task_id, refusal);
    return refusal != NULL && clock_now_ms() < refusal->until_ms;
}

static void refuse(struct coordinators *coordinators, const char *task_id)
{
    uint64_t now = clock_now_ms();
    struct refusal *refusal;

    if (HASH_COUNT(coordinators->refusals) >= SWEEP_AT) {
        sweep(coordinators, now, false);
    }
    HASH_FIND_STR(coordinators->refusals, task_id, refusal);
    if (refusal == NULL) {
        refusal = mem_alloc(sizeof(*refusal) + strlen(task_id) + 1);
        memcpy(refusal->task_id, task_id, strlen(task_id) + 1);
        HASH_ADD_STR(coordinators->refusals, task_id, refusal);
    }
    refusal->until_ms = now + coordinators->options.retry_ms;
}

/* ---- Calls ---- */

static void place_clear(struct place_asked *place)
{
    httpc_call_fini(&place->call);
    free(place->task_id);
    free(place->status_key);
    free(place->body);
    free(place->target);
    place->task_id = place->status_key = place->body = place->target = NULL;
    place->busy = false;
}

/* 0 is a yes; otherwise err says what was no yes. */
static int verdict(const struct place_asked *place, struct err *err)
{
    CLEANUP(json_freep) json_t *doc = NULL;

    if (place->call.err.code != 0) {
        *err = place->call.err;
        return err->code;
    }
    if (place->call.status != 200) {
        return err_set(err, ERR_REFUSED, "status %d", place->call.status);
    }
    if (httpc_json(&place->call, &doc, err) < 0) {
        return err->code;
    }
    if (!json_is_true(json_object_get(doc, place->status_key))) {
        return err_set(err, ERR_REFUSED, "%s is not true", place->status_key);
    }
    return 0;
}

static void ask_next(struct place_asked *place);

static void on_answer(struct httpc_call *call)
{
    struct place_asked *place = call->data;
    struct coordinators *owner = place->owner;
    CLEANUP(mem_freep) char *task_id = mem_strdup(place->task_id);
    struct err why = { 0 };
    bool yes = verdict(place, &why) == 0;

    place_clear(place);
    if (owner->closing) {
        return;
    }
    if (yes) {
        log_info("the coordinator lets a task go task=%s url=%s", task_id, place->url);
        owner->granted(task_id, owner->data);
        ask_next(place);
        return;
    }
    log_info("the coordinator does not let a task go, asking again in %" PRIu64
             " ms: %s task=%s url=%s",
             owner->options.retry_ms, why.msg, task_id, place->url);
    refuse(owner, task_id);
    ask_next(place);
}

static void waiter_free(struct place_asked *place, struct waiter *waiter)
{
    DL_DELETE(place->line, waiter);
    free(waiter->task_id);
    free(waiter);
}

static struct place_asked *place_of(struct coordinators *coordinators, const char *url)
{
    struct place_asked *place;

    HASH_FIND_STR(coordinators->places, url, place);
    if (place == NULL) {
        place = mem_alloc(sizeof(*place) + strlen(url) + 1);
        place->owner = coordinators;
        memcpy(place->url, url, strlen(url) + 1);
        HASH_ADD_STR(coordinators->places, url, place);
    }
    return place;
}

static char *body_of(const struct state_task *task, uint64_t deadline_ms)
{
    uint64_t now = clock_wall_ms();
    CLEANUP(json_freep) json_t *doc = json_object();
    CLEANUP(mem_freep)
    char *countdown = str_printf("%" PRIu64, deadline_ms > now ? deadline_ms - now : 0);

    json_put_take(doc, "taskConfig", json_incref(task->config->job->doc));
    json_put_take(doc, "task", task_encode(&task->t));
    json_put_str(doc, "forceMaintenanceCountdownMs", countdown);
    return json_text(doc);
}

static void ask(struct place_asked *place, const struct state_task *task, uint64_t deadline_ms)
{
    const struct sla_policy *policy = &task->config->job->sla;

    place->busy = true;
    place->task_id = mem_strdup(task->t.id);
    place->status_key = mem_strdup(policy->status_key);
    place->body = body_of(task, deadline_ms);
    /* Parts of a job key need no escaping in a query. */
    place->target =
        str_printf("%s%stask=%s/%d", policy->url, strchr(policy->url, '?') != NULL ? "&" : "?",
                   task->job->key_text, task->t.instance);
    place->call = (struct httpc_call){ .data = place,
                                       .method = "POST",
                                       .url = place->target,
                                       .body = place->body,
                                       .body_len = strlen(place->body),
                                       .timeout_ms = place->owner->options.timeout_ms,
                                       .max_bytes = MAX_ANSWER_BYTES };
    httpc_start(place->owner->httpc, &place->call, on_answer);
}

/* Those that have gone meanwhile are passed over. */
static void ask_next(struct place_asked *place)
{
    while (place->line != NULL && !place->busy) {
        struct waiter *waiter = place->line;
        const struct state_task *task =
            state_task_find(place->owner->options.state, waiter->task_id);
        bool still = task != NULL && task_state_allows(task->t.status, TASK_DRAINING) &&
                     str_eq(task->config->job->sla.url, place->url);

        if (still) {
            ask(place, task, waiter->deadline_ms);
        }
        waiter_free(place, waiter);
    }
}

void coordinators_ask(struct coordinators *coordinators, const struct state_task *task,
                      uint64_t deadline_ms)
{
    struct place_asked *place = place_of(coordinators, task->config->job->sla.url);
    struct waiter *waiter;

    if (coordinators->closing || str_eq(place->task_id, task->t.id) ||
        refused_lately(coordinators, task->t.id)) {
        return;
    }
    DL_FOREACH(place->line, waiter)
    {
        if (strcmp(waiter->task_id, task->t.id) == 0) {
            return;
        }
    }
    waiter = mem_alloc(sizeof(*waiter));
    waiter->task_id = mem_strdup(task->t.id);
    waiter->deadline_ms = deadline_ms;
    DL_APPEND(place->line, waiter);
    ask_next(place);
}

/* ---- Life ---- */

static void on_closed(void *data)
{
    struct coordinators *coordinators = data;
    coordinators_closed_cb cb = coordinators->close_cb;
    void *close_data = coordinators->close_data;
    struct place_asked *place;
    struct place_asked *next;

    HASH_ITER(hh, coordinators->places, place, next)
    {
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): HASH_DEL moves the head. */
        HASH_DEL(coordinators->places, place);
        while (place->line != NULL) {
            waiter_free(place, place->line);
        }
        place_clear(place);
        free(place);
    }
    sweep(coordinators, 0, true);
    free(coordinators);
    if (cb != NULL) {
        cb(close_data);
    }
}

void coordinators_close(struct coordinators *coordinators, coordinators_closed_cb cb, void *data)
{
    coordinators->closing = true;
    coordinators->close_cb = cb;
    coordinators->close_data = data;
    httpc_close(coordinators->httpc, on_closed, coordinators);
}
