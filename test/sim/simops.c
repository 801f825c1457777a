/* SPDX-License-Identifier: Apache-2.0 */
/* simops: operations, without their hooks.
 *
 *   QUEUED --its turn, check--> BEGUN --work--> DONE or FAILED
 *      '--validate, check--> REJECTED  '--its master is no leader any more--> DISAPPEARED
 *
 * Happy path: asked for, validated by the leader, in the order of its job's others: check, a pause
 * in which pre hooks would run, work, and its end after another one.
 * Failures: one that had not begun is run by the next leader; one that had has disappeared, and
 * what it did stays done: as davit-op's death ends it (master/operations/op_record.h).  Now and
 * then its worker alone dies, and the work is asked for again.
 */
#include "simops.h"

#include "base/clock.h"
#include "base/id.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "master/operations/operations.h"
#include "master/updater/updates.h"
#include "simloop.h"
#include "simmaster.h"

#include <stdio.h>
#include <string.h>
#include <uthash.h>
#include <utlist.h>

/* How an operation of a master's own ended. */
struct simops_fate {
    char id[37];
    enum operations_fate fate;
    UT_hash_handle hh;
};

struct simops {
    struct simop *list; /* In the order of asking. */
    struct simop *gone; /* Have disappeared: what they wrote last may yet arrive. */
    struct simops_fate *fates;
    simops_cb ended;
    void *data;
    struct operations *leader;
};

struct operations {
    struct simops *ops;
    struct simmaster *master;
    struct state *state;
    operations_cb ready;
    void *data;
    struct sim_event *event;
};

static void kick(struct simops *ops);

static void drop_op(struct simop *op)
{
    sim_cancel(&op->event);
    json_decref(op->input);
    json_decref(op->result);
    json_decref(op->params);
    free(op->job);
    free(op);
}

static void free_op(struct simop *op)
{
    DL_DELETE(op->ops->list, op);
    sim_cancel(&op->event);
    if (op->status == SIMOP_DISAPPEARED) {
        DL_APPEND(op->ops->gone, op);
    } else {
        drop_op(op);
    }
}

static void remember(struct simop *op, enum simop_status status)
{
    struct simops_fate *fate = mem_alloc(sizeof(*fate));

    memcpy(fate->id, op->id, sizeof(fate->id));
    fate->fate = status == SIMOP_DONE          ? OPERATIONS_SUCCEEDED
                 : status == SIMOP_DISAPPEARED ? OPERATIONS_LOST
                                               : OPERATIONS_FAILED;
    HASH_ADD_STR(op->ops->fates, id, fate);
}

static void end(struct simop *op, enum simop_status status)
{
    struct simops *ops = op->ops;

    if (op->own) {
        remember(op, status);
    }

    op->status = status;
    op->master = NULL;
    sim_trace("op %.8s %s: %s %s", op->id, op->opcode->name,
              status == SIMOP_DONE       ? "done"
              : status == SIMOP_REJECTED ? "rejected"
              : status == SIMOP_FAILED   ? "failed"
                                         : "disappeared",
              op->err.msg);
    ops->ended(op, ops->data);
    free_op(op);
    kick(ops);
}

static struct opcode_ref ref_of(struct simop *op)
{
    return (struct opcode_ref){ .env = simmaster_env(op->master),
                                .op_id = op->id,
                                .number = 1,
                                .user = op->own ? "cron" : "user",
                                .asked_ms = op->asked_ms,
                                .input = op->input,
                                .result = op->result };
}

/* ---- Work ---- */

static void on_over(void *arg)
{
    struct simop *op = arg;

    op->event = NULL;
    end(op, op->err.code != 0 ? SIMOP_FAILED : SIMOP_DONE);
}

void opcode_work_done(struct opcode_work *work, json_t *result, const struct err *err)
{
    work->done(work, result, err);
}

/* No deadline runs here, and nobody reads the log. */
void opcode_work_progress(struct opcode_work *work)
{
    (void)work;
}

void opcode_work_log(struct opcode_work *work, const char *message)
{
    (void)work;
    (void)message;
}

static void on_work_done(struct opcode_work *work, json_t *result, const struct err *err)
{
    struct simop *op = work->owner;

    SIM_CHECK(op->working, "the work of %s ends twice", op->opcode->name);
    op->working = false;
    json_decref(op->result);
    op->result = result;
    if (op->dropping) {
        return;
    }
    if (err != NULL) {
        op->err = *err;
    }
    sim_cancel(&op->event); /* Its worker need not die any more. */
    op->event = sim_after(sim_between(0, 200), simmaster_proc(op->master), on_over, op, "op over");
}

static void run_step(struct simop *op)
{
    json_decref(op->params);
    op->params = json_pack("{s:s}", "step", "run");
    op->work = (struct opcode_work){
        .ref = ref_of(op), .params = op->params, .step = "run", .owner = op, .done = on_work_done
    };
    op->working = true;
    op->opcode->work(&op->work);
}

static void drop_work(struct simop *op)
{
    if (op->working) {
        op->dropping = true;
        SIM_CHECK(op->opcode->cancel != NULL, "%s cannot be canceled", op->opcode->name);
        op->opcode->cancel(&op->work);
        SIM_CHECK(!op->working, "%s does not end when it is canceled", op->opcode->name);
        op->dropping = false;
    }
}

static void on_worker_died(void *arg)
{
    struct simop *op = arg;

    op->event = NULL;
    if (op->working) {
        sim_trace("op %.8s: its worker dies", op->id);
        drop_work(op);
        run_step(op);
    }
}

static void on_work(void *arg)
{
    struct simop *op = arg;

    op->event = NULL;
    run_step(op);
    if (op->working && sim_chance(100)) {
        op->event = sim_after(sim_between(0, 2000), simmaster_proc(op->master), on_worker_died, op,
                              "worker dies");
    }
}

/* ---- Turns ---- */

static void on_begin(void *arg)
{
    struct simop *op = arg;
    struct opcode_ref ref = ref_of(op);
    uint64_t hooks_ms = sim_chance(700) ? 1 : sim_between(1, 3000);

    op->event = NULL;
    if (op->opcode->check != NULL && op->opcode->check(&ref, &op->err) < 0) {
        end(op, SIMOP_REJECTED);
        return;
    }
    sim_trace("op %.8s %s begins", op->id, op->opcode->name);
    op->status = SIMOP_BEGUN;
    op->begun_ms = sim_now();
    op->event = sim_after(hooks_ms, simmaster_proc(op->master), on_work, op, "work");
}

static bool is_blocked(const struct simop *op)
{
    const struct simop *other;

    for (other = op->ops->list; other != op; other = other->next) {
        if (op->job != NULL && str_eq(op->job, other->job)) {
            return true;
        }
    }
    return false;
}

static void kick(struct simops *ops)
{
    struct simop *op;
    bool again = true;

    while (again && ops->leader != NULL && ops->leader->state != NULL) {
        again = false;
        DL_FOREACH(ops->list, op)
        {
            struct opcode_ref ref;

            if (op->master != NULL) {
                continue;
            }
            op->master = ops->leader->master;
            ref = ref_of(op);
            if (!op->valid && op->opcode->validate(&ref, &op->err) < 0) {
                end(op, SIMOP_REJECTED); /* Kicks again by itself. */
                return;
            }
            op->valid = true;
            if (op->job == NULL && op->opcode->job != NULL) {
                op->job = op->opcode->job(op->input);
            }
            if (is_blocked(op)) {
                op->master = NULL;
                continue;
            }
            op->event = sim_after(sim_between(1, 50), simmaster_proc(op->master), on_begin, op,
                                  "op begins");
        }
    }
}

static void add_take(struct simops *ops, const char *id, json_t *input, bool own)
{
    struct simop *op = mem_alloc(sizeof(*op));

    op->ops = ops;
    (void)snprintf(op->id, sizeof(op->id), "%s", id);
    op->input = input;
    op->asked_ms = (int64_t)clock_wall_ms();
    op->own = op->valid = own;
    op->opcode = opcodes_find(opcodes_table, json_str_or(input, "op", ""));
    SIM_CHECK(op->opcode != NULL, "there is no opcode %s", json_str_or(input, "op", ""));
    if (sim_tracing()) {
        CLEANUP(mem_freep) char *text = json_dumps(input, JSON_COMPACT);

        sim_trace("op %.8s is asked for: %s", op->id, text);
    }
    DL_APPEND(ops->list, op);
}

void simops_ask_take(struct simops *ops, json_t *input)
{
    char id[ID_UUID_SIZE];

    id_uuid(id);
    add_take(ops, id, input, false);
    kick(ops);
}

size_t simops_pending(const struct simops *ops)
{
    const struct simop *op;
    size_t n = 0;

    DL_COUNT(ops->list, op, n);
    return n;
}

bool simops_is_pending(const struct simops *ops, const char *job)
{
    const struct simop *op;

    DL_FOREACH(ops->list, op)
    {
        if (job == NULL || op->job == NULL || str_eq(job, op->job)) {
            return true;
        }
    }
    return false;
}

bool simops_is_asked(const struct simops *ops, const char *opcode)
{
    const struct simop *op;

    DL_FOREACH(ops->list, op)
    {
        if (str_eq(op->opcode->name, opcode)) {
            return true;
        }
    }
    return false;
}

const struct simop *simops_find(const struct simops *ops, const char *id)
{
    const struct simop *op;

    DL_FOREACH(ops->list, op)
    {
        if (str_eq(op->id, id)) {
            return op;
        }
    }
    DL_FOREACH(ops->gone, op)
    {
        if (str_eq(op->id, id)) {
            return op;
        }
    }
    return NULL;
}

void simops_pulse(struct simops *ops, const char *update)
{
    struct err err = { 0 };
    bool active;

    if (ops->leader != NULL && ops->leader->state != NULL && update != NULL &&
        !simmaster_proc(ops->leader->master)->frozen) {
        sim_trace("a pulse of update %.8s", update);
        (void)updates_pulse(simmaster_env(ops->leader->master)->updates, update, &active, &err);
    }
}

struct simops *simops_make(simops_cb ended, void *data)
{
    struct simops *ops = mem_alloc(sizeof(*ops));

    ops->ended = ended;
    ops->data = data;
    return ops;
}

void simops_destroy(struct simops *ops)
{
    struct simops_fate *fate;
    struct simops_fate *next;

    while (ops->gone != NULL) {
        struct simop *op = ops->gone;

        DL_DELETE(ops->gone, op);
        drop_op(op);
    }
    while (ops->list != NULL) {
        free_op(ops->list);
    }
    HASH_ITER(hh, ops->fates, fate, next)
    {
        HASH_DEL(ops->fates, fate);
        free(fate);
    }
    free(ops);
}

/* ---- What the master's own parts ask for ---- */

static void on_kick(void *arg)
{
    kick(arg);
}

int operations_ask(struct operations *operations, const char *id, const char *user,
                   const json_t *opcodes, struct err *err)
{
    struct simops *ops = operations->ops;

    (void)user;
    (void)err;
    if (operations_fate(operations, id) == OPERATIONS_UNKNOWN) {
        add_take(ops, id, json_incref(json_array_get(opcodes, 0)), true);
        (void)sim_after(0, simmaster_proc(operations->master), on_kick, ops, "asked");
    }
    return 0;
}

enum operations_fate operations_fate(struct operations *operations, const char *id)
{
    struct simops_fate *fate;
    const struct simop *op;

    HASH_FIND_STR(operations->ops->fates, id, fate);
    if (fate != NULL) {
        return fate->fate;
    }
    DL_FOREACH(operations->ops->list, op)
    {
        if (str_eq(op->id, id)) {
            return OPERATIONS_UNDER_WAY;
        }
    }
    return OPERATIONS_UNKNOWN;
}

uint64_t operations_waiting(const struct operations *operations, const char *job,
                            const char *opcode)
{
    const struct simop *op;

    DL_FOREACH(operations->ops->list, op)
    {
        if (op->status == SIMOP_QUEUED && str_eq(op->job, job) &&
            str_eq(op->opcode->name, opcode)) {
            return 1;
        }
    }
    return 0;
}

/* ---- What lead.c calls ---- */

static void on_ready(void *arg)
{
    struct operations *operations = arg;

    operations->event = NULL;
    operations->ready(operations->data);
    if (simmaster_leads(operations->master)) {
        operations->ops->leader = operations; /* Users find the newest leader. */
    }
    kick(operations->ops);
}

void operations_lead(struct operations *operations, struct state *state, operations_cb ready,
                     void *data)
{
    operations->state = state;
    operations->ready = ready;
    operations->data = data;
    operations->event = sim_after(sim_between(0, 20), simmaster_proc(operations->master), on_ready,
                                  operations, "operations ready");
}

void operations_unlead(struct operations *operations)
{
    struct simops *ops = operations->ops;
    struct simop *op;
    bool again = true;

    if (operations->state == NULL) {
        return;
    }
    operations->state = NULL;
    sim_cancel(&operations->event);
    if (ops->leader == operations) {
        ops->leader = NULL;
    }
    DL_FOREACH(ops->list, op)
    {
        if (op->master == operations->master) {
            sim_cancel(&op->event);
            drop_work(op);
            if (op->status == SIMOP_QUEUED) {
                op->master = NULL;
            }
        }
    }
    while (again) {
        again = false;
        DL_FOREACH(ops->list, op)
        {
            if (op->master == operations->master) {
                end(op, SIMOP_DISAPPEARED);
                again = true;
                break;
            }
        }
    }
    kick(ops); /* Another may lead already. */
}

struct operations *simops_new(struct simops *ops, struct simmaster *master)
{
    struct operations *operations = mem_alloc(sizeof(*operations));

    operations->ops = ops;
    operations->master = master;
    return operations;
}

void simops_free(struct operations *operations)
{
    SIM_CHECK(operations->state == NULL, "operations are freed while they lead");
    free(operations);
}
