/* SPDX-License-Identifier: Apache-2.0 */

/* ladder: asks a task's HTTP server to leave, twice, before anything is signalled.
 *
 *   IDLE --start--> GRACEFUL (POST) --accepted--> its wait --> SHUTDOWN (POST) --accepted-->
 *   its wait --> IDLE; a POST that was not accepted has no wait.
 *
 * Happy path: the first POST is accepted and the processes leave during its wait: then the owner
 * cancels the rest.  Who still runs, and how long all of it may take, is the owner's to know.
 * Failures: a server that does not answer or refuses is logged, and the next step is taken.
 * Invariant: the callback fires once per start, later on the loop.
 */
#include "pod/ladder.h"

#include "base/fault.h"
#include "base/log.h"
#include "base/sm.h"
#include "pod/health/probe_http.h"
#include "pod/proto.h"

enum step { IDLE, GRACEFUL, GRACEFUL_WAIT, SHUTDOWN, SHUTDOWN_WAIT, CANCELED };

/* clang-format off */
static const struct sm_state steps[] = {
    [IDLE]          = { "idle",          SM_TO(GRACEFUL) },
    [GRACEFUL]      = { "graceful",      SM_TO(GRACEFUL_WAIT) | SM_TO(SHUTDOWN) | SM_TO(CANCELED) },
    [GRACEFUL_WAIT] = { "graceful wait", SM_TO(SHUTDOWN) | SM_TO(CANCELED) },
    [SHUTDOWN]      = { "shutdown",      SM_TO(SHUTDOWN_WAIT) | SM_TO(IDLE) | SM_TO(CANCELED) },
    [SHUTDOWN_WAIT] = { "shutdown wait", SM_TO(IDLE) | SM_TO(CANCELED) },
    [CANCELED]      = { "canceled",      SM_TO(IDLE) },
};
/* clang-format on */

enum { ACCEPTED_BELOW = 400 };

struct ladder {
    uv_loop_t *loop;
    const struct taskfile_ladder *spec;
    struct sm step;
    struct probe_http http;
    uv_timer_t timer;
    ladder_cb cb;
    void *data;
    void (*on_closed)(void *data);
    void *closed_data;
};

static void over(struct ladder *ladder)
{
    sm_move(&ladder->step, IDLE);
    ladder->cb(ladder->data);
}

static void on_posted(struct probe_http *probe);

static void post(struct ladder *ladder, enum step step)
{
    const struct taskfile_ladder *spec = ladder->spec;
    const struct probe_http_spec request = { "POST", spec->port,
                                             step == GRACEFUL ? spec->graceful_path
                                                              : spec->shutdown_path,
                                             PROTO_LADDER_POST_MS };

    CRASH_POINT("pod.ladder");
    sm_move(&ladder->step, (int)step);
    probe_http_start(&ladder->http, ladder->loop, &request, on_posted);
}

static void next(struct ladder *ladder)
{
    if (ladder->step.state == GRACEFUL || ladder->step.state == GRACEFUL_WAIT) {
        post(ladder, SHUTDOWN);
    } else {
        over(ladder);
    }
}

static void on_waited(uv_timer_t *timer)
{
    next(timer->data);
}

static void on_posted(struct probe_http *probe)
{
    struct ladder *ladder = probe->data;
    const struct taskfile_ladder *spec = ladder->spec;
    bool first = ladder->step.state == GRACEFUL;
    bool accepted = probe->err.code == 0 && probe->answer.status < ACCEPTED_BELOW;
    uint64_t wait_ms = first ? spec->graceful_wait_ms : spec->shutdown_wait_ms;

    if (!accepted) {
        log_info("not accepted, going on path=%s status=%d error=\"%s\"",
                 first ? spec->graceful_path : spec->shutdown_path, probe->answer.status,
                 probe->err.msg);
    }
    probe_http_fini(probe);
    if (ladder->step.state == CANCELED) {
        over(ladder);
    } else if (accepted) {
        sm_move(&ladder->step, first ? GRACEFUL_WAIT : SHUTDOWN_WAIT);
        uv_update_time(ladder->loop);
        (void)uv_timer_start(&ladder->timer, on_waited, wait_ms, 0);
    } else {
        next(ladder);
    }
}

struct ladder *ladder_new(uv_loop_t *loop, const struct taskfile_ladder *spec, ladder_cb cb,
                          void *data)
{
    struct ladder *ladder = mem_alloc(sizeof(*ladder));

    ladder->loop = loop;
    ladder->spec = spec;
    ladder->cb = cb;
    ladder->data = data;
    ladder->http.data = ladder->timer.data = ladder;
    sm_init(&ladder->step, steps, IDLE);
    (void)uv_timer_init(loop, &ladder->timer);
    return ladder;
}

void ladder_start(struct ladder *ladder)
{
    post(ladder, GRACEFUL);
}

static void on_canceled(uv_timer_t *timer)
{
    over(timer->data);
}

void ladder_cancel(struct ladder *ladder)
{
    switch ((enum step)ladder->step.state) {
    case IDLE:
    case CANCELED:
        return;
    case GRACEFUL:
    case SHUTDOWN:
        sm_move(&ladder->step, CANCELED);
        probe_http_cancel(&ladder->http); /* on_posted() goes on */
        break;
    case GRACEFUL_WAIT:
    case SHUTDOWN_WAIT:
        sm_move(&ladder->step, CANCELED);
        (void)uv_timer_start(&ladder->timer, on_canceled, 0, 0);
        break;
    }
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct ladder *ladder = handle->data;
    void (*cb)(void *data) = ladder->on_closed;
    void *data = ladder->closed_data;

    free(ladder);
    cb(data);
}

void ladder_close(struct ladder *ladder, void (*cb)(void *data), void *data)
{
    ladder->on_closed = cb;
    ladder->closed_data = data;
    uv_close((uv_handle_t *)&ladder->timer, on_timer_closed);
}
