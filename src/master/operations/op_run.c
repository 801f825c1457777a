/* SPDX-License-Identifier: Apache-2.0 */

/* op_run: one operation from its acceptance until its end is durable.
 *
 * operations.c accepts, leads and answers the API; op_serve.c decides the steps. Here a record is
 * written, its davit-op is started in its turn, and after a davit-op's death the next one is
 * started for what is owed.
 *
 *   waiting -> (turn) started -> over -> durable: an op_done
 *   started --davit-op died--> [pause] -> started for the post hooks | closed
 *   read from the store as running --its davit-op is surely gone--> as after a death
 *
 * Failures: a davit-op that died is followed by one for the post hooks that are owed, later ones
 * after a growing pause; after OP_RECORD_MAX_ATTEMPTS the operation is closed without.
 * Invariants: a run is in `runs` and `by_id` until its end is durable; then it is an op_done.  A
 * run that is over has left the queue.  No second davit-op is started while a step of the first
 * one's work is under way.
 */

#include "base/clock.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/str.h"
#include "hook/upkeep.h"
#include "master/operations/op_load.h"
#include "master/operations/operations_priv.h"

#include <inttypes.h>
#include <string.h>
#include <utlist.h>

enum {
    MAX_RUNNING = 20,
    PRUNE_AT_ONCE = 2, /* Of the archive's oldest, with each that ends. */
    GONE_POLL_MS = 20, /* Is the earlier master's davit-op gone? */
    SPARE_PAUSE_MS = 200,
    SPARE_RETRY_MS = 5000,
    RESUME_MAX_MS = 10000,
    WORK_MS = 3600 * 1000,
    PATH_SIZE = OP_RUN_PATH_SIZE,
};

static void resume_run(struct op_run *run);

/* --- runs and what is over ------------------------------------------------- */

void op_run_path(char *ret, const char *folder, uint64_t number)
{
    (void)snprintf(ret, PATH_SIZE, "%s/%010" PRIu64, folder, number);
}

static char **jobs_of(const json_t *record)
{
    char **jobs = mem_alloc(sizeof *jobs);

    for (size_t i = 0; i < op_record_count(record); i++) {
        const char *job = json_str_or(op_record_opcode(record, i), "job", NULL);

        if (job != NULL) {
            strv_add(&jobs, job);
        }
    }
    return jobs;
}

struct op_run *op_run_add(struct operations *ops, json_t *record)
{
    struct op_run *run = mem_alloc(sizeof *run);

    *run = (struct op_run){ .ops = ops, .record = record };
    run->id = mem_strdup(json_str_or(record, "id", ""));
    run->jobs = jobs_of(record);
    run->item = (struct op_queue_item){
        .data = run,
        .number = op_record_number(record),
        .priority = json_int_or(record, "priority", 0),
        .jobs = run->jobs,
    };
    DL_APPEND(ops->runs, run);
    HASH_ADD_KEYPTR(hh, ops->by_id, run->id, strlen(run->id), run);
    return run;
}

/* Frees it; its pending requests are gone, its davit-op detached. */
void op_run_free(struct op_run *run)
{
    struct operations *ops = run->ops;

    DL_DELETE(ops->runs, run);
    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): what is freed is in the table. */
    HASH_DELETE(hh, ops->by_id, run);
    free(run->id);
    strv_free(run->jobs);
    json_decref(run->record);
    free(run);
}

static int by_number(const struct op_done *a, const struct op_done *b)
{
    return a->number < b->number ? -1 : a->number > b->number;
}

void op_run_free_done(struct operations *ops, struct op_done *done)
{
    DL_DELETE(ops->done, done);
    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): what is freed is in the table. */
    HASH_DELETE(hh, ops->done_by_id, done);
    ops->n_done--;
    free(done->id);
    free(done->summary);
    free(done);
}

void op_run_add_done(struct operations *ops, const json_t *record)
{
    struct op_done *done = mem_alloc(sizeof *done);
    CLEANUP(json_freep) json_t *summary = op_record_summary(record);

    done->number = op_record_number(record);
    done->id = mem_strdup(json_str_or(record, "id", ""));
    (void)snprintf(done->digest, sizeof done->digest, "%s", json_str_or(record, "digest", ""));
    done->summary = json_text(summary);
    if (ops->done == NULL || by_number(ops->done->prev, done) <= 0) {
        DL_APPEND(ops->done, done);
    } else {
        DL_INSERT_INORDER(ops->done, done, by_number);
    }
    HASH_ADD_KEYPTR(hh, ops->done_by_id, done->id, strlen(done->id), done);
    ops->n_done++;
}

/* Moves it to the archive, and forgets the oldest there. */
static void write_archive(struct op_run *run, const char *text)
{
    struct operations *ops = run->ops;
    char paths[2 + PRUNE_AT_ONCE][PATH_SIZE];
    struct state_change changes[2 + PRUNE_AT_ONCE] = {
        { STATE_CREATE, paths[0], text },
        { STATE_DELETE, paths[1], NULL },
    };
    size_t n = 2;

    op_run_path(paths[0], OP_LOAD_ARCHIVE, op_record_number(run->record));
    op_run_path(paths[1], OP_LOAD_LIVE, op_record_number(run->record));
    while (n < 2 + PRUNE_AT_ONCE && ops->done != NULL && ops->n_done >= OP_RUN_KEEP_DONE) {
        op_run_path(paths[n], OP_LOAD_ARCHIVE, ops->done->number);
        changes[n] = (struct state_change){ STATE_DELETE, paths[n], NULL };
        op_run_free_done(ops, ops->done);
        n++;
    }
    state_write(ops->state, changes, n);
}

void op_run_write(struct op_run *run)
{
    CLEANUP(mem_freep) char *text = op_record_text(run->record);
    char path[PATH_SIZE];

    state_bump(run->ops->state);
    if (op_record_is_over(run->record)) {
        write_archive(run, text);
        return;
    }
    op_run_path(path, OP_LOAD_LIVE, op_record_number(run->record));
    state_write(run->ops->state, &(struct state_change){ STATE_SET, path, text }, 1);
}

/* --- answers to davit-op ---------------------------------------------------- */

void op_pending_free(struct op_pending *pending)
{
    if (pending->run != NULL) {
        DL_DELETE(pending->run->pending, pending);
    } else {
        DL_DELETE(pending->ops->orphans, pending);
    }
    json_decref(pending->answer);
    json_decref(pending->params);
    struct operations *ops = pending->ops;
    free(pending);
    operations_maybe_closed(ops);
}

static void on_durable(struct state_sync *sync)
{
    struct op_pending *pending = sync->data;
    struct op_run *run = pending->run;
    struct err err = sync->err;

    if (pending->request != NULL) {
        if (err.code < 0) {
            rpc_reply_error(pending->request, &err, NULL);
        } else {
            rpc_reply(pending->request, pending->answer);
        }
    }
    bool ends = pending->ends;
    op_pending_free(pending);
    if (err.code == 0) {
        op_run_settled(run, ends);
    }
}

void op_run_answer(struct op_run *run, struct rpc_request *request, json_t *answer)
{
    struct op_pending *pending = mem_alloc(sizeof *pending);

    *pending = (struct op_pending){
        .ops = run->ops,
        .run = run,
        .request = request,
        .answer = answer,
        .ends = op_record_is_over(run->record),
    };
    DL_APPEND(run->pending, pending);
    pending->sync.data = pending;
    state_sync_start(run->ops->state, &pending->sync, on_durable);
}

static void maybe_free(struct op_run *run)
{
    if (run->over && run->pending == NULL && run->supervisor == NULL) {
        op_run_free(run);
    }
}

void op_run_settled(struct op_run *run, bool durable)
{
    struct operations *ops = run->ops;

    if (durable) {
        CRASH_POINT("master.op.archived");
        run->durable = true;
        operations_wake(run);
        op_run_add_done(ops, run->record);
        log_info("operation is over op=%s number=%" PRIu64 " state=%s", run->id,
                 op_record_number(run->record), op_record_state(run->record));
        state_bump(ops->state);
        if (run->supervisor != NULL) {
            op_supervisor_detach(TAKE(run->supervisor)); /* It ends by itself. */
        }
    } else if (!run->over && run->supervisor == NULL && run->pending == NULL) {
        resume_run(run); /* The work of a dead davit-op has ended. */
        return;
    }
    maybe_free(run);
}

/* Is the node's hooks directory the very one that the master runs itself? */
static bool is_own(const struct operations *ops, const struct state_node *node)
{
    CLEANUP(mem_freep) char *own = file_absolute(ops->options.hooks_dir);

    return node != NULL && str_eq(json_str_or(node->doc, "boot_id", NULL), ops->boot_id) &&
           str_eq(json_str_or(node->doc, "hooks_dir", NULL), own);
}

void op_run_drop_own(struct operations *ops, json_t *nodes)
{
    size_t i = 0;

    while (i < json_array_size(nodes)) {
        const char *name = json_string_value(json_array_get(nodes, i));

        if (name != NULL && is_own(ops, state_node_find(ops->state, name))) {
            (void)json_array_remove(nodes, i);
        } else {
            i++;
        }
    }
}

void op_run_over(struct op_run *run)
{
    run->over = true;
    run->resume_ms = 0;
    op_queue_remove(&run->ops->queue, &run->item);
    op_run_kick(run->ops);
}

/* --- starting and resuming --------------------------------------------------- */

static void on_supervisor_end(struct op_supervisor *supervisor, const char *why)
{
    struct operations *ops = op_supervisor_owner(supervisor);
    struct op_run *run = op_supervisor_data(supervisor);

    ops->n_supervisors--;
    if (op_supervisor_died(supervisor)) {
        upkeep_recover(ops->upkeep);
    }
    if (supervisor == ops->spare) {
        ops->spare = NULL;
        ops->spare_ms = clock_now_ms() + SPARE_RETRY_MS;
        operations_want_tick(ops, ops->spare_ms);
    }
    if (run != NULL) {
        run->supervisor = NULL;
        if (!run->over) {
            log_warn("davit-op died before its operation was over op=%s: %s", run->id, why);
            op_serve_abandon(run, false);
        }
        op_run_settled(run, false);
    }
    operations_maybe_closed(ops);
}

struct op_supervisor *op_run_supervisor(struct operations *ops)
{
    ops->n_supervisors++;
    return op_supervisor_start(&(struct op_supervisor_options){
        .loop = ops->options.loop,
        .methods = op_serve_methods,
        .ended = on_supervisor_end,
        .owner = ops,
    });
}

static struct op_supervisor *take_supervisor(struct operations *ops)
{
    if (ops->spare == NULL || !op_supervisor_is_up(ops->spare)) {
        return op_run_supervisor(ops);
    }
    ops->spare_ms = clock_now_ms() + SPARE_PAUSE_MS;
    operations_want_tick(ops, ops->spare_ms);
    return TAKE(ops->spare);
}

static char *lock_path(const struct operations *ops, uint64_t number)
{
    return str_printf("%s/op/%" PRIu64 ".lock", ops->options.dir, number);
}

/* Hands the record to a davit-op: to run it from its start, or to run the post hooks that opcode
 * `index` is owed. */
static void start_run(struct op_run *run, bool disappeared, size_t index)
{
    struct operations *ops = run->ops;
    const struct operations_options *o = &ops->options;
    json_t *next = op_record_copy(run->record);
    CLEANUP(mem_freep) char *lock = lock_path(ops, op_record_number(next));

    op_record_start(next, ops->boot_id, ops->host, lock, clock_wall_ms());
    json_decref(run->record);
    run->record = next;
    run->last = disappeared;
    if (disappeared) {
        op_run_write(run); /* A new run is written by its first step: op.begin. */
    }
    state_bump(ops->state);
    CLEANUP(json_freep)
    json_t *hello = json_pack(
        "{s:i, s:I, s:s, s:I, s:O, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I}", "version",
        OP_PROTO_VERSION, "attempt", (json_int_t)op_record_attempt(next), "mode",
        disappeared ? OP_MODE_DISAPPEARED : OP_MODE_RUN, "index", (json_int_t)index, "operation",
        next, "hooks_dir", o->hooks_dir, "journal", ops->journal, "lock", lock, "data_dir", o->dir,
        "cluster", o->cluster, "node", o->node, "term_ms", (json_int_t)o->op_term_ms, "work_ms",
        (json_int_t)(o->op_work_ms != 0 ? o->op_work_ms : WORK_MS));

    CRASH_POINT("master.op.start");
    run->supervisor = take_supervisor(ops);
    op_supervisor_assign(run->supervisor, hello, run);
    log_info("operation %s op=%s number=%" PRIu64 " attempt=%" PRId64,
             disappeared ? "gets its post hooks" : "starts", run->id, op_record_number(next),
             op_record_attempt(next));
}

/* Starts those whose turn has come. */
void op_run_kick(struct operations *ops)
{
    size_t max = ops->options.max_running != 0 ? ops->options.max_running : MAX_RUNNING;
    struct op_queue_item *item;

    while (ops->ready && (item = op_queue_next(&ops->queue, max)) != NULL) {
        struct op_run *run = item->data;

        run->turn = true;
        start_run(run, false, 0);
    }
}

/* No davit-op works on it: what is owed? */
static void resume_run(struct op_run *run)
{
    size_t index;
    int64_t attempt = op_record_attempt(run->record);
    enum op_resume what = op_record_resume(run->record, &index);

    run->resume_ms = 0;
    switch (what) {
    case OP_RESUME_RUN:
    case OP_RESUME_DISAPPEARED:
        if (attempt > 1) { /* It died more than once: not at once again. */
            uint64_t pause_ms = UINT64_C(50) << (attempt < 10 ? attempt : 10);

            run->resume_ms = clock_now_ms() + (pause_ms < RESUME_MAX_MS ? pause_ms : RESUME_MAX_MS);
            operations_want_tick(run->ops, run->resume_ms);
            return;
        }
        start_run(run, what == OP_RESUME_DISAPPEARED, index);
        return;
    case OP_RESUME_CLOSE: {
        json_t *next = op_record_copy(run->record);

        op_record_close(next, "davit-op died, and nothing more is owed", clock_wall_ms());
        json_decref(run->record);
        run->record = next;
        break;
    }
    case OP_RESUME_ARCHIVE:
        break;
    }
    op_run_write(run);
    op_run_answer(run, NULL, json_object());
    op_run_over(run);
}

/* After a pause, or while an earlier master's davit-op may live. */
void op_run_look_again(struct op_run *run, uint64_t now_ms)
{
    struct operations *ops = run->ops;
    size_t index;

    if (!run->wait_gone) {
        enum op_resume what = op_record_resume(run->record, &index);

        run->resume_ms = 0;
        start_run(run, what == OP_RESUME_DISAPPEARED, index);
        return;
    }
    const char *lock = json_str_or(run->record, "lock", "");
    bool same_host = str_eq(json_str_or(run->record, "host", ""), ops->host);
    bool same_boot = str_eq(json_str_or(run->record, "boot_id", ""), ops->boot_id);
    bool maybe_alive = same_host ? same_boot && file_locked(lock)
                                 : now_ms < ops->led_ms + ops->options.other_master_ms;

    if (maybe_alive) {
        run->resume_ms = now_ms + GONE_POLL_MS;
        operations_want_tick(ops, run->resume_ms);
        return;
    }
    run->wait_gone = false;
    resume_run(run);
}
