/* SPDX-License-Identifier: Apache-2.0 */

/* operations: the durable queue of operations of the leading master.
 *
 * What a record may become is op_record.c's, whose turn it is op_queue.c's, what
 * davit-op asks op_serve.c's, its process op_supervisor.c's, an operation's course
 * op_run.c's.  Here records are read when we begin to lead, requests become
 * records, and the API is answered.
 *
 *   new -> [lead -> loading -> ready -> unlead]* -> closing -> closed
 *
 * Happy path: a submitted operation is written and, without waiting for that,
 * handed to the davit-op that is kept ready: all writes are ordered, so nothing
 * that it records can be durable before the operation itself is.
 * Failures: a write that fails ends the term (state.h), and unlead() forgets
 * everything; the next term reads it again.
 * Invariant: callbacks of requests come from on_tick(), never from inside a call.
 */

#include "base/clock.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/id.h"
#include "base/json.h"
#include "base/log.h"
#include "base/str.h"
#include "hook/upkeep.h"
#include "master/operations/op_load.h"
#include "master/operations/operations_priv.h"

#include <fnmatch.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

enum {
    MAX_QUEUED = 10000,
    LOAD_RETRY_MS = 1000,
    MAX_WAIT_MS = 60000,
    MAX_USER = 128,
    MAX_STORED = 1024 * 1024,
    PATH_SIZE = OP_RUN_PATH_SIZE,
    KEEP_HOOK_RUNS = 200 * 1000,
};

static const uint64_t keep_hook_runs_ms = UINT64_C(30) * 24 * 3600 * 1000;

/* A request of the API that waits. */
struct op_wait {
    struct operations_request *request;
    struct operations *ops;
    struct op_run *run; /* NULL once it has an outcome, or waits for a read. */
    struct state_sync sync;
    struct zk_req read;
    bool settled; /* request->err or doc is set; on_tick() tells. */
    uint64_t deadline_ms;
    struct op_wait *prev, *next;
};

static void start_load(struct operations *ops);

/* --- the one timer --------------------------------------------------------- */

static void on_tick(uv_timer_t *timer);

/* Have on_tick() run at that time at the latest. */
void operations_want_tick(struct operations *ops, uint64_t at_ms)
{
    uint64_t now_ms = clock_now_ms();

    if (ops->closed || at_ms >= ops->armed_ms) {
        return;
    }
    ops->armed_ms = at_ms;
    (void)uv_timer_start(&ops->timer, on_tick, at_ms > now_ms ? at_ms - now_ms : 0, 0);
}

/* --- the API's requests ------------------------------------------------------ */

static struct op_wait *add_wait(struct operations *ops, struct operations_request *request,
                                operations_request_cb cb)
{
    struct op_wait *wait = mem_alloc(sizeof *wait);

    *wait = (struct op_wait){ .ops = ops, .request = request };
    wait->sync.data = wait->read.data = wait;
    request->err.code = 0;
    request->doc = NULL;
    request->replayed = false;
    request->cb = cb;
    request->wait = wait;
    DL_APPEND(ops->waits, wait);
    return wait;
}

static void free_wait(struct op_wait *wait)
{
    DL_DELETE(wait->ops->waits, wait);
    state_sync_forget(&wait->sync);
    zk_forget(&wait->read);
    free(wait);
}

/* Gives it its outcome; the callback comes with the next tick. */
static void settle(struct op_wait *wait, const struct err *err, const json_t *doc)
{
    if (wait->settled) {
        return;
    }
    wait->settled = true;
    wait->run = NULL;
    if (err != NULL) {
        wait->request->err = *err;
    } else {
        wait->request->doc = json_incref((json_t *)doc);
    }
    operations_want_tick(wait->ops, 0);
}

static void settle_err(struct op_wait *wait, int code, const char *text)
{
    struct err err = { 0 };

    (void)err_set(&err, code, "%s", text);
    settle(wait, &err, NULL);
}

static void tell(struct op_wait *wait)
{
    struct operations_request *request = wait->request;
    json_t *doc = request->doc;

    free_wait(wait);
    request->wait = NULL;
    request->cb(request);
    json_decref(doc); /* The request may be gone. */
}

void operations_forget(struct operations_request *request)
{
    if (request->wait != NULL) {
        json_decref(request->doc);
        free_wait(TAKE(request->wait));
    }
}

/* Its end is durable: whoever waits for it learns it. */
void operations_wake(struct op_run *run)
{
    struct op_wait *wait;

    DL_FOREACH(run->ops->waits, wait)
    {
        if (wait->run == run) {
            settle(wait, NULL, run->record);
        }
    }
}

static void on_tick(uv_timer_t *timer)
{
    struct operations *ops = timer->data;
    uint64_t now_ms = clock_now_ms(), next_ms = UINT64_MAX;
    struct op_run *run, *next_run;
    struct op_wait *wait;

    ops->armed_ms = UINT64_MAX;
    DL_FOREACH_SAFE(ops->runs, run, next_run)
    {
        if (run->resume_ms != 0 && run->resume_ms <= now_ms) {
            op_run_look_again(run, now_ms);
        }
    }
    if (ops->spare_ms != 0 && ops->spare_ms <= now_ms) {
        ops->spare_ms = 0;
        if (ops->ready && ops->spare == NULL) {
            ops->spare = op_run_supervisor(ops);
        } else if (ops->state != NULL && !ops->ready && ops->load == NULL) {
            start_load(ops);
        }
    }
    DL_FOREACH(ops->waits, wait)
    {
        if (!wait->settled && wait->run != NULL && wait->deadline_ms <= now_ms) {
            settle(wait, NULL, wait->run->record);
        }
    }
    /* A callback may add, end or forget any wait: look from the start each time. */
    do {
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): tell() takes it out of the list. */
        DL_SEARCH_SCALAR(ops->waits, wait, settled, true);
        if (wait != NULL) {
            tell(wait);
        }
    } while (wait != NULL);
    DL_FOREACH(ops->waits, wait)
    {
        next_ms = wait->run != NULL && wait->deadline_ms < next_ms ? wait->deadline_ms : next_ms;
    }
    DL_FOREACH(ops->runs, run)
    {
        next_ms = run->resume_ms != 0 && run->resume_ms < next_ms ? run->resume_ms : next_ms;
    }
    if (ops->spare_ms != 0 && ops->spare_ms < next_ms) {
        next_ms = ops->spare_ms;
    }
    if (next_ms != UINT64_MAX) {
        operations_want_tick(ops, next_ms);
    }
    operations_maybe_closed(ops);
}

/* --- leading ------------------------------------------------------------------ */

static void on_record(void *data, const json_t *record, bool archived)
{
    struct operations *ops = data;
    uint64_t number = op_record_number(record);
    struct op_run *run;
    bool known;

    if (number >= ops->next_number) {
        ops->next_number = number + 1;
    }
    HASH_FIND_STR(ops->by_id, json_str_or(record, "id", ""), run);
    known = run != NULL;
    if (archived) {
        op_run_add_done(ops, record);
        return;
    }
    if (known) {
        log_error("two operations of one id, one left alone op=%s number=%" PRIu64, run->id,
                  number);
        return;
    }
    run = op_run_add(ops, json_incref((json_t *)record));
    if (str_eq(op_record_state(record), OP_STATUS_QUEUED)) {
        op_queue_add(&ops->queue, &run->item);
        return;
    }
    op_queue_add_running(&ops->queue, &run->item);
    run->turn = true;
    run->wait_gone = true;
    run->resume_ms = 1; /* At the first tick. */
}

static void forget_records(struct operations *ops)
{
    struct op_run *run, *next_run;
    struct op_done *done, *next_done;

    DL_FOREACH_SAFE(ops->runs, run, next_run)
    {
        op_serve_abandon(run, true);
        op_run_free(run);
    }
    DL_FOREACH_SAFE(ops->done, done, next_done)
    {
        op_run_free_done(ops, done);
    }
    ops->queue = (struct op_queue){ 0 };
    ops->next_number = 1;
}

static void on_loaded(void *data, const struct err *err)
{
    struct operations *ops = data;

    ops->load = NULL;
    if (err != NULL) {
        log_warn("cannot read the operations: %s, retrying in 1 s", err->msg);
        forget_records(ops);
        ops->spare_ms = clock_now_ms() + LOAD_RETRY_MS;
        operations_want_tick(ops, ops->spare_ms);
        return;
    }
    log_info("operations read live=%zu archived=%zu", ops->queue.n_waiting + ops->queue.n_running,
             ops->n_done);
    ops->ready = true;
    ops->spare_ms = clock_now_ms();
    operations_want_tick(ops, 0);
    op_run_kick(ops);
    if (ops->ready_cb != NULL) {
        operations_cb cb = TAKE(ops->ready_cb);

        cb(ops->ready_data);
    }
}

static void start_load(struct operations *ops)
{
    ops->load = op_load_start(state_zk(ops->state), OP_RUN_KEEP_DONE, on_record, on_loaded, ops);
}

void operations_lead(struct operations *ops, struct state *state, operations_cb ready, void *data)
{
    ops->state = state;
    ops->ready_cb = ready;
    ops->ready_data = data;
    ops->led_ms = clock_now_ms();
    start_load(ops);
}

void operations_unlead(struct operations *ops)
{
    struct op_run *run;
    struct op_wait *wait;

    if (ops->state == NULL) {
        return;
    }
    DL_FOREACH(ops->runs, run)
    {
        if (run->supervisor != NULL) {
            op_supervisor_kill(run->supervisor);
            op_supervisor_detach(TAKE(run->supervisor));
        }
    }
    if (ops->spare != NULL) {
        op_supervisor_kill(TAKE(ops->spare));
    }
    DL_FOREACH(ops->waits, wait)
    {
        state_sync_forget(&wait->sync);
        zk_forget(&wait->read);
        settle_err(wait, ERR_NOTLEADER, "this master does not lead any more");
    }
    if (ops->load != NULL) {
        op_load_drop(TAKE(ops->load));
    }
    ops->ready = false;
    ops->ready_cb = NULL;
    ops->spare_ms = 0;
    forget_records(ops);
    ops->state = NULL;
}

/* --- life ---------------------------------------------------------------------- */

/* The first line of a small file, without its end; "" when there is none. */
static void read_line(const char *path, char *ret, size_t size)
{
    CLEANUP_BUF text = { 0 };
    struct err err;

    ret[0] = 0;
    if (file_read(path, size - 1, &text, &err) == 0) {
        (void)snprintf(ret, size, "%.*s", (int)strcspn(buf_text(&text), "\r\n"), buf_text(&text));
    }
}

/* The token of the agents' interface: the first word of the file. */
static char *read_token(const char *path)
{
    char line[512];

    if (path == NULL) {
        return NULL;
    }
    read_line(path, line, sizeof line);
    line[strcspn(line, " \t")] = 0;
    return mem_strdup(line);
}

void operations_new(const struct operations_options *options, struct operations **ret_operations)
{
    struct operations *ops = mem_alloc(sizeof *ops);
    struct err err = { 0 };

    ops->options = *options;
    /* davit-op works in "/". */
    ops->options.dir = ops->dir = file_absolute(options->dir);
    ops->options.hooks_dir = ops->hooks_dir = file_absolute(options->hooks_dir);
    CLEANUP(mem_freep) char *locks = file_join(ops->dir, "op");
    ops->next_number = 1;
    ops->armed_ms = UINT64_MAX;
    ops->journal = file_join(ops->dir, "hooks.db");
    ops->token = read_token(options->token_file);
    /* /proc gives no size, so not file_read(). */
    FILE *boot = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (boot != NULL) {
        if (fgets(ops->boot_id, sizeof ops->boot_id, boot) != NULL) {
            ops->boot_id[strcspn(ops->boot_id, "\n")] = 0;
        }
        (void)fclose(boot);
    }
    (void)gethostname(ops->host, sizeof ops->host - 1);
    if (file_mkdirs(locks, 0700, &err) < 0) {
        log_error("cannot make the directory of operations' locks: %s", err.msg);
    }
    httpc_new(options->loop, &ops->httpc);
    upkeep_start(
        &(struct upkeep_options){
            .loop = options->loop,
            .journal = ops->journal,
            .max_age_ms = keep_hook_runs_ms,
            .max_runs = options->keep_hook_runs != 0 ? options->keep_hook_runs : KEEP_HOOK_RUNS,
        },
        &ops->upkeep);
    upkeep_recover(ops->upkeep); /* Those of an earlier master's davit-ops. */
    (void)uv_timer_init(options->loop, &ops->timer);
    ops->timer.data = ops;
    *ret_operations = ops;
}

static void on_upkeep_closed(void *arg)
{
    struct operations *ops = arg;
    operations_cb cb = ops->close_cb;
    void *data = ops->close_data;

    free(ops->dir);
    free(ops->hooks_dir);
    free(ops->journal);
    free(ops->token);
    free(ops);
    if (cb != NULL) {
        cb(data);
    }
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct operations *ops = handle->data;

    upkeep_close(ops->upkeep, on_upkeep_closed, ops);
}

void operations_maybe_closed(struct operations *ops)
{
    if (!ops->closing || ops->closed || ops->n_supervisors > 0 || ops->orphans != NULL ||
        ops->waits != NULL) {
        return;
    }
    ops->closed = true;
    httpc_close(ops->httpc, NULL, NULL);
    uv_close((uv_handle_t *)&ops->timer, on_timer_closed);
}

void operations_close(struct operations *ops, operations_cb cb, void *data)
{
    operations_unlead(ops);
    ops->closing = true;
    ops->close_cb = cb;
    ops->close_data = data;
    operations_maybe_closed(ops);
}

/* --- submit ---------------------------------------------------------------------- */

static int check_opcode(struct operations *ops, const json_t *input, const char *id,
                        const char *user, size_t index, struct err *err)
{
    const char *name;

    if (!json_is_object(input)) {
        return err_set(err, ERR_INVALID, "it is not an object");
    }
    if (json_need_str(input, "op", &name, err) < 0) {
        return err_code(err);
    }
    const struct opcode *opcode = opcodes_find(ops->options.opcodes, name);
    struct opcode_ref ref = {
        .env = ops->options.env, .op_id = id, .index = index, .user = user, .input = input
    };

    if (opcode == NULL) {
        return err_set(err, ERR_INVALID, "there is no opcode %s", name);
    }
    return opcode->validate != NULL ? opcode->validate(&ref, err) : 0;
}

static int check_opcodes(struct operations *ops, const json_t *opcodes, const char *id,
                         const char *user, struct err *err)
{
    CLEANUP(mem_freep) char *text = json_text(opcodes);
    size_t i;
    json_t *input;

    if (json_array_size(opcodes) == 0 || json_array_size(opcodes) > OP_RECORD_MAX_OPCODES) {
        return err_set(err, ERR_INVALID, "an operation has 1 to %d opcodes", OP_RECORD_MAX_OPCODES);
    }
    if (strlen(text) > OP_RECORD_MAX_INPUT) {
        return err_set(err, ERR_TOOBIG, "the opcodes are larger than %d KiB",
                       OP_RECORD_MAX_INPUT / 1024);
    }
    json_array_foreach((json_t *)opcodes, i, input)
    {
        if (check_opcode(ops, input, id, user, i, err) < 0) {
            return json_array_size(opcodes) > 1 ? err_wrap(err, "opcode %zu", i) : err_code(err);
        }
    }
    return 0;
}

/* What must be right about the request itself. */
static int check_body(const json_t *body, const char *given_user, const char **ret_id,
                      const char **ret_user, json_t **ret_opcodes, struct err *err)
{
    int64_t priority;

    if (!json_is_object(body)) {
        return err_set(err, ERR_INVALID, "the body is not a JSON object");
    }
    if (json_need_str(body, "id", ret_id, err) < 0 ||
        json_need_array(body, "opcodes", ret_opcodes, err) < 0) {
        return err_code(err);
    }
    if (!id_is_uuid(*ret_id)) {
        return err_set(err, ERR_INVALID, "member 'id' is not a UUID");
    }
    *ret_user = given_user;
    if (given_user == NULL && json_need_str(body, "user", ret_user, err) < 0) {
        return err_code(err);
    }
    if ((*ret_user)[0] == 0 || strlen(*ret_user) > MAX_USER) {
        return err_set(err, ERR_INVALID, "a user has 1 to %d characters", MAX_USER);
    }
    if (json_object_get(body, "priority") != NULL) {
        return json_need_int(body, "priority", -20, 19, &priority, err);
    }
    return 0;
}

/* Was this id accepted before?  1: yes, and the same request. */
static int find_replay(struct operations *ops, const char *id, const char *digest,
                       struct op_run **ret_run, struct op_done **ret_done, struct err *err)
{
    const char *known = NULL;

    HASH_FIND_STR(ops->by_id, id, *ret_run);
    HASH_FIND_STR(ops->done_by_id, id, *ret_done);
    if (*ret_run != NULL) {
        known = json_str_or((*ret_run)->record, "digest", "");
    } else if (*ret_done != NULL) {
        known = (*ret_done)->digest;
    }
    if (known == NULL) {
        return 0;
    }
    return str_eq(known, digest)
               ? 1
               : err_set(err, ERR_CONFIG, "the id %s was used for another request", id);
}

static struct op_run *accept_request(struct operations *ops, const json_t *body, const char *id,
                                     const char *user, const char *digest)
{
    json_t *record = op_record_new(&(struct op_record_request){
        .id = id,
        .number = ops->next_number++,
        .user = user,
        .priority = json_int_or(body, "priority", 0),
        .digest = digest,
        .now_ms = clock_wall_ms(),
    });
    size_t i;
    json_t *input;
    char path[PATH_SIZE];

    json_array_foreach(json_object_get(body, "opcodes"), i, input)
    {
        const struct opcode *opcode =
            opcodes_find(ops->options.opcodes, json_str_or(input, "op", ""));
        CLEANUP(mem_freep) char *job = opcode->job != NULL ? opcode->job(input) : NULL;

        op_record_add(record, &(struct op_record_opcode){
                                  .input = input,
                                  .object_type = opcode->object_type,
                                  .hooks_path = opcode->hooks_path,
                                  .job = job,
                              });
    }
    CLEANUP(mem_freep) char *text = op_record_text(record);
    op_run_path(path, OP_LOAD_LIVE, op_record_number(record));
    CRASH_POINT("master.op.accept");
    state_write(ops->state, &(struct state_change){ STATE_CREATE, path, text }, 1);
    state_bump(ops->state);
    CRASH_POINT("master.op.accepted");
    return op_run_add(ops, record);
}

static void on_archived_read(struct zk_req *req)
{
    struct op_wait *wait = req->data;
    struct err err = { 0 };
    CLEANUP(json_freep) json_t *record = NULL;

    if (req->err.code < 0) {
        settle(wait, &req->err, NULL);
    } else if (json_parse(req->bytes, req->len, MAX_STORED, &record, &err) < 0) {
        settle(wait, &err, NULL);
    } else {
        settle(wait, NULL, record);
    }
}

static void read_archived(struct op_wait *wait, const struct op_done *done)
{
    char path[PATH_SIZE];

    op_run_path(path, OP_LOAD_ARCHIVE, done->number);
    zk_get(state_zk(wait->ops->state), &wait->read, path, on_archived_read);
}

static void on_submitted(struct state_sync *sync)
{
    struct op_wait *wait = sync->data;

    if (wait->settled) {
        return; /* It was over before that. */
    }
    if (sync->err.code < 0) {
        settle(wait, &sync->err, NULL);
        return;
    }
    CRASH_POINT("master.op.durable");
    settle(wait, NULL, wait->run->record);
}

/* Answers with run when all that was written so far is durable. */
static void settle_when_durable(struct op_wait *wait, struct op_run *run)
{
    wait->run = run;
    wait->deadline_ms = UINT64_MAX;
    state_sync_start(wait->ops->state, &wait->sync, on_submitted);
}

static int submit(struct op_wait *wait, const json_t *body, const char *given_user, struct err *err)
{
    struct operations *ops = wait->ops;
    size_t max = ops->options.max_queued != 0 ? ops->options.max_queued : MAX_QUEUED;
    const char *id, *user;
    char digest[DIGEST_SHA256_HEX];
    json_t *opcodes;
    struct op_run *run;
    struct op_done *done;
    int replay;

    if (!ops->ready) {
        return err_set(err, ERR_NOTLEADER, "this master does not lead");
    }
    if (check_body(body, given_user, &id, &user, &opcodes, err) < 0) {
        return err_code(err);
    }
    op_record_digest(body, user, digest);
    replay = find_replay(ops, id, digest, &run, &done, err);
    if (replay < 0) {
        return replay;
    }
    wait->request->replayed = replay == 1;
    if (run != NULL) {
        settle_when_durable(wait, run);
        return 0;
    }
    if (done != NULL) {
        read_archived(wait, done);
        return 0;
    }
    if (check_opcodes(ops, opcodes, id, user, err) < 0) {
        return err_code(err);
    }
    if (ops->queue.n_waiting >= max) {
        return err_set(err, ERR_CONFLICT, "%zu operations are waiting; try again later", max);
    }
    run = accept_request(ops, body, id, user, digest);
    settle_when_durable(wait, run);
    op_queue_add(&ops->queue, &run->item);
    op_run_kick(ops);
    return 0;
}

void operations_submit(struct operations *ops, struct operations_request *request,
                       const json_t *body, const char *user, operations_request_cb cb)
{
    struct op_wait *wait = add_wait(ops, request, cb);
    struct err err = { 0 };

    if (submit(wait, body, user, &err) < 0) {
        settle(wait, &err, NULL);
    }
}

/* --- what the master's own parts ask for ------------------------------------------ */

int operations_ask(struct operations *ops, const char *id, const char *user, const json_t *opcodes,
                   struct err *err)
{
    size_t max = ops->options.max_queued != 0 ? ops->options.max_queued : MAX_QUEUED;
    CLEANUP(json_freep) json_t *body = json_object();
    char digest[DIGEST_SHA256_HEX];
    struct op_run *run;
    struct op_done *done;

    if (!ops->ready) {
        return err_set(err, ERR_NOTLEADER, "this master does not lead");
    }
    HASH_FIND_STR(ops->by_id, id, run);
    HASH_FIND_STR(ops->done_by_id, id, done);
    if (run != NULL || done != NULL) {
        return 0;
    }
    if (ops->queue.n_waiting >= max) {
        return err_set(err, ERR_CONFLICT, "%zu operations are waiting; try again later", max);
    }
    json_put_str(body, "id", id);
    json_put_str(body, "user", user);
    json_put_take(body, "opcodes", json_incref((json_t *)opcodes));
    op_record_digest(body, user, digest);
    run = accept_request(ops, body, id, user, digest);
    op_queue_add(&ops->queue, &run->item);
    op_run_kick(ops);
    return 0;
}

enum operations_fate operations_fate(struct operations *ops, const char *id)
{
    CLEANUP(json_freep) json_t *summary = NULL;
    struct op_run *run;
    struct op_done *done;
    struct err err;
    const char *word;

    HASH_FIND_STR(ops->done_by_id, id, done);
    if (done == NULL) {
        HASH_FIND_STR(ops->by_id, id, run);
        return run != NULL ? OPERATIONS_UNDER_WAY : OPERATIONS_UNKNOWN;
    }
    if (json_parse(done->summary, strlen(done->summary), MAX_STORED, &summary, &err) < 0) {
        return OPERATIONS_UNKNOWN; /* We wrote it. */
    }
    word = json_str_or(summary, "state", "");
    if (str_eq(word, OP_STATUS_SUCCEEDED)) {
        return OPERATIONS_SUCCEEDED;
    }
    return str_eq(word, OP_STATUS_FAILED) ? OPERATIONS_FAILED : OPERATIONS_LOST;
}

/* --- reading ----------------------------------------------------------------------- */

static void find_by_key(struct operations *ops, const char *key, struct op_run **ret_run,
                        struct op_done **ret_done)
{
    struct err err;
    int64_t number;

    HASH_FIND_STR(ops->by_id, key, *ret_run);
    HASH_FIND_STR(ops->done_by_id, key, *ret_done);
    if (*ret_run != NULL || *ret_done != NULL ||
        str_to_int(key, 0, INT64_MAX, "operation", &number, &err) < 0) {
        return;
    }
    DL_SEARCH_SCALAR(ops->runs, *ret_run, item.number, (uint64_t)number);
    DL_SEARCH_SCALAR(ops->done, *ret_done, number, (uint64_t)number);
}

const char *operations_id(struct operations *ops, const char *key)
{
    struct op_run *run;
    struct op_done *done;

    find_by_key(ops, key, &run, &done);
    return run != NULL ? run->id : done != NULL ? done->id : NULL;
}

void operations_get(struct operations *ops, struct operations_request *request, const char *key,
                    uint64_t wait_ms, operations_request_cb cb)
{
    struct op_wait *wait = add_wait(ops, request, cb);
    struct op_run *run;
    struct op_done *done;

    if (!ops->ready) {
        settle_err(wait, ERR_NOTLEADER, "this master does not lead");
        return;
    }
    find_by_key(ops, key, &run, &done);
    if (run != NULL && run->durable) {
        settle(wait, NULL, run->record);
    } else if (run != NULL) {
        wait->run = run;
        wait->deadline_ms = clock_now_ms() + (wait_ms < MAX_WAIT_MS ? wait_ms : MAX_WAIT_MS);
        operations_want_tick(ops, wait->deadline_ms);
    } else if (done != NULL) {
        read_archived(wait, done);
    } else {
        settle_err(wait, ERR_NOTFOUND, "there is no such operation");
    }
}

static bool matches(const json_t *summary, const char *job, const char *state)
{
    size_t i;
    json_t *opcode;

    if (state != NULL && !str_eq(op_record_state(summary), state)) {
        return false;
    }
    json_array_foreach(json_object_get(summary, "opcodes"), i, opcode)
    {
        const char *key = json_str_or(opcode, "job", NULL);

        if (job == NULL || (key != NULL && fnmatch(job, key, 0) == 0)) {
            return true;
        }
    }
    return false;
}

/* The newer of both lists' ends, which moves on; NULL when both are through.  The caller's. */
static json_t *newest(const struct operations *ops, struct op_run **run, struct op_done **done,
                      uint64_t *ret_number)
{
    json_t *summary;

    if (*run == NULL && *done == NULL) {
        return NULL;
    }
    if (*done == NULL || (*run != NULL && (*run)->item.number > (*done)->number)) {
        *ret_number = (*run)->item.number;
        summary = op_record_summary((*run)->record);
        *run = *run == ops->runs ? NULL : (*run)->prev;
        return summary;
    }
    *ret_number = (*done)->number;
    summary = json_loads((*done)->summary, 0, NULL);
    *done = *done == ops->done ? NULL : (*done)->prev;
    return summary != NULL ? summary : json_object();
}

json_t *operations_list(struct operations *ops, const char *job, const char *state, uint64_t before,
                        size_t limit)
{
    json_t *items = json_array();
    json_t *next = json_null();
    struct op_run *run = ops->runs != NULL ? ops->runs->prev : NULL;
    struct op_done *done = ops->done != NULL ? ops->done->prev : NULL;
    uint64_t last = 0, number;
    json_t *summary;

    while ((summary = newest(ops, &run, &done, &number)) != NULL) {
        bool wanted = (before == 0 || number < before) && matches(summary, job, state);

        if (wanted && json_array_size(items) < limit) {
            last = number;
            (void)json_array_append_new(items, summary);
            continue;
        }
        json_decref(summary);
        if (wanted) {
            CLEANUP(mem_freep) char *cursor = str_printf("%" PRIu64, last);

            next = json_string(cursor);
            break;
        }
    }
    return json_pack("{s:o, s:o}", "items", items, "next", next);
}

size_t operations_count_running(const struct operations *ops)
{
    return ops->queue.n_running;
}

static bool has_opcode(const struct op_run *run, const char *name)
{
    size_t i;
    json_t *opcode;

    json_array_foreach(json_object_get(run->record, "opcodes"), i, opcode)
    {
        if (str_eq(json_str_or(opcode, "op", NULL), name)) {
            return true;
        }
    }
    return false;
}

uint64_t operations_waiting(const struct operations *ops, const char *job, const char *opcode)
{
    const struct op_queue_item *item;

    DL_FOREACH(ops->queue.waiting, item)
    {
        for (char **key = item->jobs; key != NULL && *key != NULL; key++) {
            if (str_eq(*key, job) && has_opcode(item->data, opcode)) {
                return item->number;
            }
        }
    }
    return 0;
}

size_t operations_count_queued(const struct operations *ops)
{
    return ops->queue.n_waiting;
}
