/* SPDX-License-Identifier: Apache-2.0 */

/* lifecycle: one pod from its first callback to its last state, and what it tells.
 *
 * It joins the room's parts: the process graph (supervise), what is looked after while it
 * runs (care), the stop ladder (ladder), the callback programs (callbacks), the agents
 * (channel) and their unfetched records (records), and how it is all written (status).
 *
 *   INITIALIZE --> CONFIGURE --> RUN --stop, failed checks--> TEARDOWN --> ASKING --> ENDING
 *   --graph done--> FINALIZE --> OVER --bye, nobody there, deadline--> CLOSING
 *   (RUN --graph done--> FINALIZE as well; the first two --failed, stop--> FINALIZE; ASKING only
 *   with a stop ladder, and time for it)
 *
 * Happy path: nothing to call, so RUN begins inside lifecycle_start(); each change of
 * the graph marks the status dirty, and before the loop sleeps it is written to state.json
 * once, then told to every agent.
 * Failures: initialize or configure that fails ends the pod as FAILED without a process
 * started; sanity_check counts; tear_down and finalize are recorded and trapped.  A
 * state.json that cannot be written is logged, told all the same, and ends in an exit
 * status that says so.
 * Invariants: state.json is written before anybody is told; one callback event at a time;
 * a final state is told only when nothing of the pod runs any more.
 */
#include "pod/lifecycle.h"

#include "base/clock.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/sm.h"
#include "base/str.h"
#include "pod/callbacks.h"
#include "pod/care.h"
#include "pod/channel.h"
#include "pod/ending.h"
#include "pod/graph.h"
#include "pod/ladder.h"
#include "pod/proto.h"
#include "pod/records.h"
#include "pod/status.h"
#include "pod/supervise.h"

#include <string.h>
#include <unistd.h>

enum phase { INITIALIZE, CONFIGURE, RUN, TEARDOWN, ASKING, ENDING, FINALIZE, OVER, CLOSING };

/* clang-format off */
static const struct sm_state phases[] = {
    [INITIALIZE] = { "initialize", SM_TO(CONFIGURE) | SM_TO(FINALIZE) },
    [CONFIGURE]  = { "configure",  SM_TO(RUN) | SM_TO(FINALIZE) },
    [RUN]        = { "run",        SM_TO(TEARDOWN) | SM_TO(ENDING) | SM_TO(FINALIZE) },
    [TEARDOWN]   = { "tear_down",  SM_TO(ASKING) | SM_TO(ENDING) },
    [ASKING]     = { "asking",     SM_TO(ENDING) },
    [ENDING]     = { "ending",     SM_TO(FINALIZE) },
    [FINALIZE]   = { "finalize",   SM_TO(OVER) },
    [OVER]       = { "over",       SM_TO(CLOSING) },
    [CLOSING]    = { "closing",    0 },
};
/* clang-format on */

enum { FINALIZE_AT_LEAST_MS = 1000, KILL_AFTER_TERM_MS = 2000 };

struct lifecycle {
    uv_loop_t *loop;
    char *home;
    struct taskfile *task;
    struct supervise *supervise;
    struct callbacks *callbacks;
    struct channel *channel;
    struct records *records;
    struct status *status;

    struct sm phase;
    bool calling;  /* a callback event runs */
    bool checking; /* and it is a sanity_check */
    unsigned failed_checks;

    struct care *care;     /* NULL before RUN */
    struct ladder *ladder; /* NULL: none, or not yet */
    uint64_t usage_every_ms;

    struct ending ending; /* stop, or failed checks */

    bool dirty;
    bool written;      /* the final state is in state.json */
    uint64_t ended_ms; /* wall clock; 0: not yet */

    uv_prepare_t before_sleep;
    uv_timer_t check_timer;
    uv_timer_t bye_timer;
    unsigned open_parts;
    lifecycle_cb over;
    void *data;
};

static void enter(struct lifecycle *life, enum phase phase);

/* --- The status, for the file and for agents. --- */

static enum proto_state state_now(const struct lifecycle *life)
{
    const struct graph *graph = life->task->graph;

    if (life->phase.state >= OVER) {
        return graph->result == GRAPH_SUCCESS   ? PROTO_FINISHED
               : graph->result == GRAPH_FAILURE ? PROTO_FAILED
                                                : PROTO_KILLED;
    }
    if (life->ending.begun || graph->stage > GRAPH_ACTIVE) {
        return PROTO_STOPPING;
    }
    return life->care && care_is_healthy(life->care) ? PROTO_RUNNING : PROTO_STARTING;
}

static const char *reason_now(const struct lifecycle *life)
{
    const struct graph *graph = life->task->graph;

    if (graph->result != GRAPH_UNDECIDED) {
        return graph->reason;
    }
    return life->ending.begun ? life->ending.reason : life->care ? care_reason(life->care) : NULL;
}

static void publish(struct lifecycle *life)
{
    CLEANUP_BUF line = { 0 };
    enum proto_state state = state_now(life);
    struct err err = { 0 };

    life->dirty = false;
    status_set(life->status, state, reason_now(life), life->ended_ms);
    CRASH_POINT("pod.before_state");
    if (status_write(life->status, &err) < 0) {
        log_error("cannot write the state, telling it all the same error=\"%s\" task=%s", err.msg,
                  life->task->id);
    } else {
        life->written = proto_state_terminal(state);
    }
    CRASH_POINT("pod.after_state");
    if (channel_connections(life->channel) > 0) {
        status_add_state(life->status, &line);
        channel_tell(life->channel, line.data, line.len);
    }
}

static void on_greet(void *ctx, struct buf *hello)
{
    struct lifecycle *life = ctx;

    status_add_hello(life->status, hello);
    if (!life->dirty) { /* else it hears it in a moment, once it is written */
        status_add_state(life->status, hello);
    }
    if (life->records) {
        records_lines(life->records, hello);
    }
}

/* --- Hook records. --- */

static void on_record(void *ctx, const json_t *record)
{
    struct lifecycle *life = ctx;
    const char *line = NULL;
    struct err err = { 0 };

    if (!life->records) {
        life->records = records_open(life->home);
    }
    if (records_add(life->records, record, &line, &err) < 0) {
        log_warn("a hook record is in memory only error=\"%s\"", err.msg);
    }
    CRASH_POINT("pod.recorded");
    channel_tell(life->channel, line, strlen(line));
}

/* --- The end. --- */

static void on_part_closed(void *data)
{
    struct lifecycle *life = data;

    if (--life->open_parts == 0) {
        life->over(life->data, life->written);
    }
}

static void on_handle_closed(uv_handle_t *handle)
{
    on_part_closed(handle->data);
}

static void close_all(struct lifecycle *life)
{
    if (life->phase.state == CLOSING) {
        return;
    }
    CRASH_POINT("pod.close");
    enter(life, CLOSING);
    life->open_parts = 6;
    uv_close((uv_handle_t *)&life->before_sleep, on_handle_closed);
    uv_close((uv_handle_t *)&life->check_timer, on_handle_closed);
    uv_close((uv_handle_t *)&life->bye_timer, on_handle_closed);
    channel_close(life->channel, on_part_closed, life);
    supervise_close(life->supervise, on_part_closed, life);
    callbacks_close(life->callbacks, on_part_closed, life);
    if (life->care) {
        life->open_parts++;
        care_close(life->care, on_part_closed, life);
    }
    if (life->ladder) {
        life->open_parts++;
        ladder_close(life->ladder, on_part_closed, life);
    }
}

static void on_bye_due(uv_timer_t *timer)
{
    close_all(timer->data);
}

/* --- Phases. --- */

/* True: the event runs, and its end comes to on_called(). */
static bool call(struct lifecycle *life, const char *event, uint64_t term_ms, uint64_t kill_ms)
{
    CLEANUP(json_freep) json_t *processes = supervise_processes(life->supervise);
    CLEANUP(strv_freep) char **env = supervise_env(life->supervise);

    CRASH_POINT("pod.callback");
    life->calling = callbacks_start(life->callbacks, event, processes,
                                    supervise_sandbox(life->supervise), env, term_ms, kill_ms);
    return life->calling;
}

static bool call_with_grace(struct lifecycle *life, const char *event)
{
    uint64_t grace_ms = life->task->hook_grace_ms;

    return call(life, event, grace_ms, grace_ms + KILL_AFTER_TERM_MS);
}

static uint64_t rest_ms(const struct lifecycle *life)
{
    return ending_rest_ms(&life->ending, clock_now_ms());
}

static uint64_t ladder_ms(const struct lifecycle *life)
{
    return life->task->ladder ? life->task->ladder->total_ms : 0;
}

/* A stop that nobody shortens. */
static uint64_t whole_stop_ms(const struct lifecycle *life)
{
    return proto_stop_total_ms(life->task->graph->finalization_wait_ms, ladder_ms(life));
}

static void on_check_due(uv_timer_t *timer)
{
    struct lifecycle *life = timer->data;
    uint64_t every_ms = life->task->check_every_ms;

    if (life->phase.state == RUN && life->task->graph->stage == GRAPH_ACTIVE && !life->calling) {
        life->checking = call(life, "sanity_check", every_ms, every_ms + KILL_AFTER_TERM_MS);
    }
}

static void end(struct lifecycle *life, bool failed, uint64_t grace_ms, const char *reason);

static void on_healthy(void *ctx)
{
    struct lifecycle *life = ctx;

    life->dirty = true;
}

static void on_unfit(void *ctx, const char *reason)
{
    struct lifecycle *life = ctx;

    if (life->phase.state == RUN && life->task->graph->stage == GRAPH_ACTIVE) {
        end(life, true, whole_stop_ms(life), reason);
    }
}

static void run_graph(struct lifecycle *life)
{
    const struct taskfile *task = life->task;
    const struct care_events events = { life, on_healthy, on_unfit };

    supervise_begin(life->supervise);
    if (task->check_every_ms > 0) {
        (void)uv_timer_start(&life->check_timer, on_check_due, task->check_every_ms,
                             task->check_every_ms);
    }
    life->care = care_new(life->loop, task, life->supervise, life->usage_every_ms, &events);
}

static void end_graph(struct lifecycle *life)
{
    if (life->ending.failed) {
        supervise_fail(life->supervise, life->ending.reason);
    }
    /* After a failure it only bounds the end that has begun. */
    supervise_stop(life->supervise, rest_ms(life), life->ending.reason);
}

/* --- The stop ladder. --- */

static void on_ladder(void *data)
{
    enter(data, ENDING);
}

/* As long as there is time before the processes have to get their TERM. */
static void leave_graph(struct lifecycle *life)
{
    uint64_t rest = rest_ms(life);
    uint64_t ask = ending_ask_ms(&life->ending, clock_now_ms());

    if (ask == 0) {
        end_graph(life);
    } else {
        supervise_leave(life->supervise, life->ending.failed, life->ending.reason, ask, rest - ask);
    }
}

static void ask(struct lifecycle *life)
{
    if (!life->ladder) {
        life->ladder = ladder_new(life->loop, life->task->ladder, on_ladder, life);
    }
    ladder_start(life->ladder);
    leave_graph(life);
}

static void torn_down(struct lifecycle *life)
{
    bool may_ask = life->task->ladder && ending_ask_ms(&life->ending, clock_now_ms()) > 0;

    enter(life, may_ask ? ASKING : ENDING);
}

static void on_tear_down_due(uv_timer_t *timer)
{
    struct lifecycle *life = timer->data;

    if (life->phase.state == TEARDOWN) {
        callbacks_cancel(life->callbacks);
    }
}

static void tear_down(struct lifecycle *life)
{
    uint64_t over_ms = 0;
    uint64_t term_ms = ending_tear_down_ms(&life->ending, clock_now_ms(), &over_ms);

    if (term_ms == 0 || !call(life, "tear_down", term_ms, over_ms)) {
        torn_down(life);
        return;
    }
    (void)uv_timer_start(&life->check_timer, on_tear_down_due, over_ms, 0);
}

static void finalize(struct lifecycle *life)
{
    uint64_t grace_ms = life->task->hook_grace_ms;

    (void)uv_timer_stop(&life->check_timer);
    if (life->calling) {
        callbacks_cancel(life->callbacks); /* on_called() comes back here */
        return;
    }
    if (life->ending.begun && !life->ending.failed) {
        grace_ms = rest_ms(life) > FINALIZE_AT_LEAST_MS ? rest_ms(life) : FINALIZE_AT_LEAST_MS;
    }
    if (!call(life, "finalize", grace_ms, grace_ms + KILL_AFTER_TERM_MS)) {
        enter(life, OVER);
    }
}

static void settle(struct lifecycle *life)
{
    CRASH_POINT("pod.over");
    life->ended_ms = clock_wall_ms();
    life->dirty = true;
    (void)uv_timer_start(&life->bye_timer, on_bye_due, PROTO_BYE_WAIT_MS, 0);
}

/* May go on to the next phase at once. */
static void enter(struct lifecycle *life, enum phase phase)
{
    sm_move(&life->phase, (int)phase);
    life->dirty = true;
    if (phase > RUN && life->care) {
        care_stop(life->care);
    }
    switch (phase) {
    case INITIALIZE:
        break;
    case CONFIGURE:
        if (!call_with_grace(life, "configure")) {
            enter(life, RUN);
        }
        break;
    case RUN:
        run_graph(life);
        break;
    case TEARDOWN:
        if (life->calling) {
            callbacks_cancel(life->callbacks); /* on_called() goes on */
        } else {
            tear_down(life);
        }
        break;
    case ASKING:
        ask(life);
        break;
    case ENDING:
        end_graph(life);
        break;
    case FINALIZE:
        finalize(life);
        break;
    case OVER:
        settle(life);
        break;
    case CLOSING:
        break;
    }
}

static void end_sooner(struct lifecycle *life, uint64_t deadline_ms)
{
    if (!ending_shorten(&life->ending, deadline_ms)) {
        return; /* An agent that came back says again what is under way. */
    }
    if (life->phase.state == TEARDOWN) {
        callbacks_cancel(life->callbacks);
    } else if (life->phase.state == ASKING) {
        leave_graph(life); /* on_before_sleep() sees whether the ladder is over. */
    } else {
        supervise_stop(life->supervise, rest_ms(life), NULL);
    }
}

/* Stop, or fail, what runs; the first call decides which. */
static void end(struct lifecycle *life, bool failed, uint64_t grace_ms, const char *reason)
{
    uint64_t deadline_ms = clock_now_ms() + grace_ms;

    if (life->phase.state >= FINALIZE) {
        return;
    }
    if (life->ending.begun) {
        end_sooner(life, deadline_ms);
        return;
    }
    ending_begin(&life->ending, failed, reason,
                 proto_stop_signals_ms(life->task->graph->finalization_wait_ms, ladder_ms(life)),
                 deadline_ms);
    life->dirty = true;
    if (life->phase.state == RUN && life->task->graph->stage == GRAPH_ACTIVE) {
        enter(life, TEARDOWN);
    } else {
        end_graph(life); /* Before its begin that makes it DONE at once. */
    }
    if (life->phase.state < RUN) {
        callbacks_cancel(life->callbacks);
    }
}

static uint64_t bounded_grace(const struct lifecycle *life, uint64_t grace_ms)
{
    uint64_t whole_ms = whole_stop_ms(life);

    return grace_ms < whole_ms ? grace_ms : whole_ms;
}

static void checked(struct lifecycle *life, const char *why)
{
    life->checking = false;
    if (!why) {
        life->failed_checks = 0;
    } else if (++life->failed_checks >= life->task->checks &&
               life->task->graph->stage == GRAPH_ACTIVE) {
        CLEANUP(mem_freep) char *reason = str_printf("Sanity check failed: %s", why);

        end(life, true, whole_stop_ms(life), reason);
    }
}

/* A callback event is over. */
static void on_called(void *ctx, const char *why)
{
    struct lifecycle *life = ctx;

    life->calling = false;
    switch ((enum phase)life->phase.state) {
    case INITIALIZE:
    case CONFIGURE:
        if (life->ending.begun) {
            break; /* The graph is done already; on_before_sleep() goes on. */
        }
        if (why) {
            CLEANUP(mem_freep) char *reason = str_printf("Task failed. %s", why);
            supervise_fail(life->supervise, reason);
        } else {
            enter(life, life->phase.state == INITIALIZE ? CONFIGURE : RUN);
        }
        break;
    case RUN:
        checked(life, why);
        break;
    case TEARDOWN:
        if (life->checking) {
            life->checking = false;
            tear_down(life);
        } else {
            torn_down(life);
        }
        break;
    case FINALIZE:
        if (life->checking) {
            life->checking = false;
            finalize(life);
        } else {
            enter(life, OVER);
        }
        break;
    case ASKING:
    case ENDING:
    case OVER:
    case CLOSING:
        break;
    }
}

/* Before the loop sleeps: follow the graph, then say once what changed. */
static void on_before_sleep(uv_prepare_t *prepare)
{
    struct lifecycle *life = prepare->data;
    const struct graph *graph = life->task->graph;

    if (life->care && graph->stage > GRAPH_ACTIVE) {
        care_stop(life->care); /* Its processes are not the task's. */
    }
    if (life->phase.state == ASKING && graph->stage != GRAPH_LEAVING) {
        ladder_cancel(life->ladder); /* on_ladder() goes on */
    } else if (graph->stage == GRAPH_DONE && life->phase.state < FINALIZE &&
               !(life->calling && life->phase.state < RUN)) {
        if (life->phase.state == TEARDOWN) {
            callbacks_cancel(life->callbacks);
        } else {
            enter(life, FINALIZE);
        }
    }
    if (life->dirty) {
        publish(life);
    }
    if (life->phase.state == OVER && channel_connections(life->channel) == 0) {
        close_all(life);
    }
}

static void on_changed(void *data)
{
    struct lifecycle *life = data;

    life->dirty = true;
}

/* --- What agents say. --- */

static void on_message(void *ctx, const struct proto_msg *msg)
{
    struct lifecycle *life = ctx;
    struct err err = { 0 };

    switch (msg->type) {
    case PROTO_STOP:
        log_info("stopping grace_ms=%llu reason=\"%s\" op=%s task=%s",
                 (unsigned long long)msg->grace_ms, msg->reason ? msg->reason : "",
                 msg->op_id ? msg->op_id : "-", life->task->id);
        CRASH_POINT("pod.stop");
        end(life, false, bounded_grace(life, msg->grace_ms), msg->reason);
        break;
    case PROTO_SIGNAL:
        if (supervise_signal(life->supervise, msg->process, msg->signum, &err) < 0) {
            log_warn("signal %d not sent error=\"%s\" task=%s", msg->signum, err.msg,
                     life->task->id);
        }
        break;
    case PROTO_HOOK_ACK:
        if (life->records) {
            records_ack(life->records, msg->seq);
        }
        break;
    case PROTO_BYE:
        if (life->phase.state == OVER && !life->dirty) {
            close_all(life);
        }
        break;
    case PROTO_UNKNOWN:
    case PROTO_HELLO:
    case PROTO_STATE:
    case PROTO_HOOK:
        break;
    }
}

static void on_alone(void *ctx)
{
    (void)ctx; /* on_before_sleep() looks. */
}

void lifecycle_stop(struct lifecycle *life, const char *reason)
{
    end(life, false, whole_stop_ms(life), reason);
}

/* --- The beginning. --- */

int lifecycle_start(uv_loop_t *loop, const struct lifecycle_options *options, lifecycle_cb over,
                    void *data, struct lifecycle **ret_life, struct err *err)
{
    struct lifecycle *life = mem_alloc(sizeof(*life));
    const struct channel_events events = { life, on_greet, on_message, on_alone };
    const struct callbacks_events called = { life, on_record, on_called };
    CLEANUP(mem_freep) char *hooks_file = file_join(options->home, PROTO_HOOKS_FILE);

    life->loop = loop;
    life->home = mem_strdup(options->home);
    life->task = options->task;
    life->usage_every_ms = options->usage_every_ms;
    life->over = over;
    life->data = data;
    sm_init(&life->phase, phases, INITIALIZE);
    if (file_exists(hooks_file)) {
        life->records = records_open(options->home);
    }
    life->supervise = supervise_new(loop, options->home, life->task, on_changed, life);
    life->status = status_new(options->home, life->task, life->supervise);
    life->callbacks = callbacks_new(loop, options->pod_hooks_dir, life->task, &called);
    life->channel = channel_new(loop, &events);
    life->before_sleep.data = life->check_timer.data = life->bye_timer.data = life;
    (void)uv_prepare_init(loop, &life->before_sleep);
    (void)uv_prepare_start(&life->before_sleep, on_before_sleep);
    (void)uv_timer_init(loop, &life->check_timer);
    (void)uv_timer_init(loop, &life->bye_timer);
    life->dirty = true;
    *ret_life = life;
    CRASH_POINT("pod.listen");
    if (channel_listen(life->channel, options->home, err) < 0 ||
        (options->agent_fd >= 0 && channel_adopt(life->channel, options->agent_fd, err) < 0)) {
        return err_wrap(err, "%s", options->home);
    }
    CRASH_POINT("pod.listening");
    if (!call_with_grace(life, "initialize")) {
        enter(life, CONFIGURE);
    }
    return 0;
}

void lifecycle_free(struct lifecycle *life)
{
    if (!life) {
        return;
    }
    records_free(life->records);
    ending_fini(&life->ending);
    status_free(life->status);
    free(life->home);
    free(life);
}
