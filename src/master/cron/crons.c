/* SPDX-License-Identifier: Apache-2.0 */

/* crons: scheduled jobs, and their ticks.
 *
 * When a job is due says cron_tick.c.  A launch is an operation like any other, OP_CRON_START by
 * the user `cron`, so that it has its hooks and its place in the job's queue; what it does is
 * opcode_cron.c's.
 *
 *   idle --tick--> pending (its operation is queued or runs) --over--> idle
 *                     `--over without a launch: its davit-op or master died--> pending again
 *
 * One launch per tick, whoever dies: the operation's id is made of the job and the tick, and is
 * written before the document that says that the tick is done with; both usually in one multi.
 * A master that finds the first without the second asks for the same id again, which changes
 * nothing.  An operation that died with its master is followed by another one for the same
 * tick only when the job's own document does not say that the first had launched it.
 *
 * Failures: a queue that is full is asked again while the tick is young enough.  A document that
 * cannot be read never fires, and says so.
 * Invariant: last_ms only grows, but for a clock that had been wrong (cron_tick.h).
 */

#include "master/cron/crons.h"

#include "base/clock.h"
#include "base/digest.h"
#include "base/fault.h"
#include "base/id.h"
#include "base/json.h"
#include "base/log.h"
#include "base/str.h"
#include "master/cron/cron_tick.h"
#include "master/operations/operations.h"
#include "master/state/state_doc.h"

#include <inttypes.h>
#include <string.h>

enum {
    MAX_SLEEP_MS = 1000,    /* The wall clock may be set at any time. */
    MAX_PER_TICK = 5,       /* Operations for one tick: each died with its master. */
    AGAIN_MS = 3600 * 1000, /* A launch that died is not made again later than this. */
};

#define CRON_USER "cron"

struct crons {
    struct crons_options options;
    struct cron_entry *entries;
    uv_timer_t timer;
    struct state_listener listener;
    struct state_sync sync; /* Of launches: when durable they are no longer half made. */
    bool syncing, sync_again, begun;
    crons_cb close_cb;
    void *close_data;
};

/* ---- Documents ---- */

static void save(struct crons *crons, const struct cron_entry *entry)
{
    CLEANUP(mem_freep) char *name = cron_entry_name(&entry->config->key);

    state_doc_put_take(crons->options.state, STATE_DOC_CRON, name, cron_entry_encode(entry));
}

static void add_entry(struct crons *crons, struct cron_entry *entry)
{
    const char *key = entry->config->key_text;

    HASH_ADD_KEYPTR(hh, crons->entries, key, strlen(key), entry);
}

static void load(struct crons *crons, const struct state_doc *doc)
{
    struct cron_entry *entry = NULL;
    struct err err;

    if (cron_entry_decode(doc->json, &entry, &err) < 0) {
        log_error("a cron job cannot be read, it is left alone doc=%s: %s", doc->name, err.msg);
        return;
    }
    if (entry->error != NULL) {
        log_error("a cron job never fires job=%s: %s", entry->config->key_text, entry->error);
    }
    add_entry(crons, entry);
}

/* ---- Ticks ---- */

/* The same for the same tick of the same job, so that asking twice is asking once. */
static void make_id(const struct cron_entry *entry, int64_t tick_ms, int64_t nth, char *ret)
{
    CLEANUP(mem_freep)
    char *text = str_printf("cron %s %" PRId64 " %" PRId64 " %" PRId64, entry->config->key_text,
                            entry->created_ms, tick_ms, nth);
    char hex[DIGEST_SHA256_HEX];

    digest_sha256_hex(text, strlen(text), hex);
    (void)snprintf(ret, ID_UUID_SIZE, "%.8s-%.4s-4%.3s-8%.3s-%.12s", hex, hex + 8, hex + 12,
                   hex + 15, hex + 18);
}

static int ask(struct crons *crons, struct cron_entry *entry, int64_t tick_ms, int64_t nth,
               struct err *err)
{
    CLEANUP(json_freep) json_t *opcodes = json_array();
    json_t *opcode = json_object();
    char id[ID_UUID_SIZE];

    json_put_str(opcode, "op", "OP_CRON_START");
    json_put_str(opcode, "key", entry->config->key_text);
    json_put_str(opcode, "trigger", "timer");
    json_put_int(opcode, "scheduled_ms", tick_ms);
    json_array_append_new(opcodes, opcode);
    make_id(entry, tick_ms, nth, id);
    CRASH_POINT("master.cron.tick");
    if (operations_ask(crons->options.operations, id, CRON_USER, opcodes, err) < 0) {
        return err_code(err);
    }
    CRASH_POINT("master.cron.asked");
    free(entry->pending_op);
    entry->pending_op = mem_strdup(id);
    entry->pending_ms = tick_ms;
    entry->n_pending = nth;
    log_info("cron job is due job=%s op=%s scheduled=%" PRId64, entry->config->key_text, id,
             tick_ms);
    return 0;
}

/* False: not now, look again. */
static bool launch_tick(struct crons *crons, struct cron_entry *entry, int64_t tick_ms)
{
    struct err err;

    if (entry->pending_op != NULL) {
        log_info("cron tick is ignored, an earlier launch is under way job=%s op=%s",
                 entry->config->key_text, entry->pending_op);
        entry->ignored_ms = tick_ms;
        return true;
    }
    if (ask(crons, entry, tick_ms, 1, &err) < 0) {
        log_warn("cron job is due, but cannot be started, trying again job=%s: %s",
                 entry->config->key_text, err.msg);
        return false;
    }
    return true;
}

static void look(struct crons *crons, struct cron_entry *entry, int64_t now_ms)
{
    struct cron_tick tick;

    if (entry->error != NULL) {
        return;
    }
    cron_tick(&entry->plan.expr, entry->plan.tz, entry->last_ms, now_ms, crons->options.catch_up_ms,
              &tick);
    switch (tick.kind) {
    case CRON_TICK_NONE:
        entry->next_ms = tick.next_ms;
        return;
    case CRON_TICK_LAUNCH:
        if (!launch_tick(crons, entry, tick.tick_ms)) {
            return;
        }
        break;
    case CRON_TICK_MISSED:
        log_warn("cron tick was missed job=%s late_ms=%" PRId64, entry->config->key_text,
                 now_ms - tick.tick_ms);
        entry->missed_ms = tick.tick_ms;
        break;
    case CRON_TICK_CLOCK:
        log_warn("the clock was far ahead at the last tick, counting anew job=%s last=%" PRId64,
                 entry->config->key_text, entry->last_ms);
        break;
    }
    entry->last_ms = tick.tick_ms;
    entry->next_ms = tick.next_ms;
    save(crons, entry);
    CRASH_POINT("master.cron.ticked");
}

static void on_timer(uv_timer_t *timer);

static void arm(struct crons *crons)
{
    int64_t now_ms = (int64_t)clock_wall_ms();
    int64_t delay_ms = MAX_SLEEP_MS;
    struct cron_entry *entry;

    if (!crons->begun || crons->entries == NULL) {
        (void)uv_timer_stop(&crons->timer);
        return;
    }
    for (entry = crons->entries; entry != NULL; entry = entry->hh.next) {
        if (entry->next_ms > now_ms && entry->next_ms - now_ms < delay_ms) {
            delay_ms = entry->next_ms - now_ms;
        }
    }
    (void)uv_timer_start(&crons->timer, on_timer, (uint64_t)delay_ms, 0);
}

static void on_timer(uv_timer_t *timer)
{
    struct crons *crons = timer->data;
    int64_t now_ms = (int64_t)clock_wall_ms();
    struct cron_entry *entry;

    for (entry = crons->entries; entry != NULL; entry = entry->hh.next) {
        if (entry->next_ms <= now_ms || entry->last_ms > now_ms) {
            look(crons, entry, now_ms);
        }
    }
    arm(crons);
}

/* ---- Operations of ticks ---- */

bool crons_launched_by(const struct crons *crons, const struct cron_entry *entry, const char *op_id)
{
    const struct state_job *job = state_job_find(crons->options.state, entry->config->key_text);

    return str_eq(entry->launched_op, op_id) || (job != NULL && str_eq(job->op_id, op_id));
}

/* Its operation is over: was that the launch? */
static void settle(struct crons *crons, struct cron_entry *entry, enum operations_fate fate)
{
    int64_t late_ms = (int64_t)clock_wall_ms() - entry->pending_ms;
    struct err err;

    if (fate == OPERATIONS_LOST && !crons_launched_by(crons, entry, entry->pending_op) &&
        entry->n_pending < MAX_PER_TICK && late_ms <= AGAIN_MS) {
        log_warn("the launch of a cron job died before it was made, it is made again job=%s op=%s",
                 entry->config->key_text, entry->pending_op);
        if (ask(crons, entry, entry->pending_ms, entry->n_pending + 1, &err) == 0) {
            save(crons, entry);
            return;
        }
        log_warn("it cannot be made again job=%s: %s", entry->config->key_text, err.msg);
    }
    free(TAKE(entry->pending_op));
    save(crons, entry);
}

static void on_changed(struct state_listener *listener)
{
    struct crons *crons = listener->data;
    struct cron_entry *entry;

    for (entry = crons->entries; entry != NULL; entry = entry->hh.next) {
        if (entry->pending_op != NULL) {
            enum operations_fate fate =
                operations_fate(crons->options.operations, entry->pending_op);

            if (fate != OPERATIONS_UNDER_WAY) {
                settle(crons, entry, fate);
            }
        }
    }
}

/* ---- Launching ---- */

static void on_launches_durable(struct state_sync *sync)
{
    struct crons *crons = sync->data;
    struct cron_entry *entry;

    crons->syncing = false;
    if (sync->err.code != 0) {
        return;
    }
    if (crons->sync_again) {
        crons->sync_again = false;
        crons->syncing = true;
        state_sync_start(crons->options.state, sync, on_launches_durable);
        return;
    }
    CRASH_POINT("master.cron.durable");
    for (entry = crons->entries; entry != NULL; entry = entry->hh.next) {
        struct state_job *job = state_job_find(crons->options.state, entry->config->key_text);

        if (job != NULL && job->creating) {
            steer_created(crons->options.steer, job);
        }
    }
}

struct state_job *crons_launch(struct crons *crons, struct cron_entry *entry, const char *op_id)
{
    struct job *config = NULL;
    struct state_job *job;
    struct err err;

    if (job_decode_trusted(entry->config->doc, &config, &err) < 0) {
        log_error("a scheduled job became unreadable job=%s: %s", entry->config->key_text, err.msg);
        return NULL; /* Cannot be: the same document was decoded before. */
    }
    CRASH_POINT("master.cron.launch");
    /* The job's own document, which names op_id, goes first: it alone says whether a launch was
     * made, and what is missing of it is made by the next master. */
    job = steer_create_take(crons->options.steer, config, entry->user, op_id);
    free(entry->launched_op);
    entry->launched_op = mem_strdup(op_id);
    entry->launched_ms = (int64_t)clock_wall_ms();
    save(crons, entry);
    if (crons->syncing) {
        crons->sync_again = true;
    } else {
        crons->syncing = true;
        state_sync_start(crons->options.state, &crons->sync, on_launches_durable);
    }
    CRASH_POINT("master.cron.launched");
    return job;
}

/* ---- What opcodes ask ---- */

struct cron_entry *crons_find(const struct crons *crons, const char *key)
{
    struct cron_entry *entry;

    HASH_FIND_STR(crons->entries, key, entry);
    return entry;
}

struct cron_entry *crons_entries(const struct crons *crons)
{
    return crons->entries;
}

int crons_check_free(const struct crons *crons, const struct job *job, struct err *err)
{
    if (crons_find(crons, job->key_text) != NULL) {
        return err_set(err, ERR_EXISTS, "Job %s/%s/%s already exists", job->key.role, job->key.env,
                       job->key.name);
    }
    return 0;
}

void crons_put_take(struct crons *crons, struct job *config, struct cron_plan *plan,
                    const char *user, const char *op_id)
{
    struct cron_entry *entry = crons_find(crons, config->key_text);
    int64_t now_ms = (int64_t)clock_wall_ms();

    if (entry == NULL) {
        entry = mem_alloc(sizeof(*entry));
        entry->created_ms = now_ms;
    } else {
        HASH_DEL(crons->entries, entry); /* Its key is the old config's. */
        job_free(entry->config);
        cron_plan_fini(&entry->plan);
        free(TAKE(entry->error));
        free(entry->user);
        free(entry->op_id);
    }
    entry->config = config;
    entry->plan = TAKE(*plan);
    entry->user = mem_strdup(user);
    entry->op_id = mem_strdup(op_id);
    if (entry->last_ms < now_ms) {
        entry->last_ms = now_ms; /* Ticks before this are not the new schedule's. */
    }
    cron_entry_set_next(entry);
    add_entry(crons, entry);
    save(crons, entry);
    arm(crons);
}

bool crons_remove(struct crons *crons, const char *key)
{
    struct cron_entry *entry = crons_find(crons, key);

    if (entry == NULL) {
        return false;
    }
    CLEANUP(mem_freep) char *name = cron_entry_name(&entry->config->key);

    state_doc_delete(crons->options.state, STATE_DOC_CRON, name);
    HASH_DEL(crons->entries, entry);
    cron_entry_free(entry);
    arm(crons);
    return true;
}

json_t *crons_encode(const struct crons *crons, const struct cron_entry *entry, size_t n)
{
    const struct state_job *job = state_job_find(crons->options.state, entry->config->key_text);
    json_t *doc = cron_entry_show(entry, (int64_t)clock_wall_ms(), n);

    json_put_int(doc, "active", job != NULL ? (int64_t)state_job_active(job) : 0);
    return doc;
}

/* ---- Life ---- */

struct crons *crons_new(const struct crons_options *options)
{
    struct crons *crons = mem_alloc(sizeof(*crons));
    struct state_doc *doc;

    crons->options = *options;
    crons->sync.data = crons;
    crons->listener.data = crons;
    (void)uv_timer_init(state_loop(options->state), &crons->timer);
    crons->timer.data = crons;
    for (doc = state_docs(options->state, STATE_DOC_CRON); doc != NULL; doc = doc->hh.next) {
        load(crons, doc);
    }
    return crons;
}

void crons_begin(struct crons *crons)
{
    crons->begun = true;
    state_listen(crons->options.state, &crons->listener, on_changed);
    on_changed(&crons->listener);
    arm(crons);
    /* What fell due before is looked at now. */
    if (crons->entries != NULL) {
        (void)uv_timer_start(&crons->timer, on_timer, 0, 0);
    }
}

static void on_closed(uv_handle_t *handle)
{
    struct crons *crons = handle->data;
    crons_cb cb = crons->close_cb;
    void *data = crons->close_data;

    free(crons);
    if (cb != NULL) {
        cb(data);
    }
}

void crons_close(struct crons *crons, crons_cb cb, void *data)
{
    struct cron_entry *entry;
    struct cron_entry *next;

    crons->close_cb = cb;
    crons->close_data = data;
    state_unlisten(&crons->listener);
    state_sync_forget(&crons->sync);
    HASH_ITER(hh, crons->entries, entry, next)
    {
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): HASH_DEL moves the head. */
        HASH_DEL(crons->entries, entry);
        cron_entry_free(entry);
    }
    uv_close((uv_handle_t *)&crons->timer, on_closed);
}
