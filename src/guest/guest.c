/* SPDX-License-Identifier: Apache-2.0 */

/* guest: a co-process with a JSON-RPC channel, from start to reaped.
 *
 * It joins coproc.c (the process) and rpc.c (the channel) and says nothing
 * about what is called over it: that is config.c's, or the pod's.
 *
 *   RUNNING --guest_close--> CLOSING --channel closed, process ended, timer
 *   closed--> freed
 *
 * Happy path: closing the channel is end of file for the guest, which exits.
 * Failure: a guest that ended by itself shows as ERR_EOF on its calls; one that
 * does not end after closing is killed when the timer fires.
 * Invariant: the struct lives until all three of channel, process and timer are
 * done, in whatever order they are.
 */

#include "guest/guest.h"

#include "base/mem.h"
#include "base/selfpath.h"
#include "base/str.h"
#include "guest/coproc.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>

enum { KILL_AFTER_MS = 500 };

struct guest {
    struct rpc *rpc;
    struct child child;
    uv_timer_t timer;
    uint64_t kill_after_ms;
    bool closing, rpc_closed, ended, timer_closed;
    char status[64];
    guest_close_cb close_cb;
    void *close_data;
};

static void maybe_closed(struct guest *guest)
{
    if (!guest->closing || !guest->rpc_closed || !guest->ended || !guest->timer_closed) {
        return;
    }
    guest_close_cb cb = guest->close_cb;
    void *data = guest->close_data;

    free(guest);
    if (cb != NULL) {
        cb(data);
    }
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct guest *guest = handle->data;

    guest->timer_closed = true;
    maybe_closed(guest);
}

static void on_rpc_closed(void *data)
{
    struct guest *guest = data;

    guest->rpc_closed = true;
    maybe_closed(guest);
}

static void on_ended(struct child *child)
{
    struct guest *guest = child->data;

    if (child->term_signal != 0) {
        (void)snprintf(guest->status, sizeof guest->status, "was killed by signal %d",
                       child->term_signal);
    } else {
        (void)snprintf(guest->status, sizeof guest->status, "exited with status %d",
                       child->exit_code);
    }
    guest->ended = true;
    if (guest->closing) {
        uv_close((uv_handle_t *)&guest->timer, on_timer_closed);
    }
    maybe_closed(guest);
}

static void on_kill(uv_timer_t *timer)
{
    struct guest *guest = timer->data;

    child_signal(&guest->child, SIGKILL);
}

/* -I -S: neither the user's Python settings nor site packages slow the start; the
 * guest adds what user code may want to import. */
static char **evaluator(void)
{
    CLEANUP(mem_freep) char *python = selfpath_python();
    char **argv = NULL;

    strv_add(&argv, selfpath_interpreter());
    strv_add(&argv, "-I");
    strv_add(&argv, "-S");
    strv_addf(&argv, "%s/davit_guest/__main__.py", python);
    return argv;
}

int guest_start(uv_loop_t *loop, const struct guest_options *options, struct guest **ret_guest,
                struct err *err)
{
    static const int own_stdio[] = { 0, 1, 2 };
    const int *stdio = options->stdio != NULL ? options->stdio : own_stdio;
    CLEANUP(strv_freep) char **own_argv = options->argv == NULL ? evaluator() : NULL;
    const struct coproc_options how = {
        .argv = own_argv != NULL ? (const char *const *)own_argv : options->argv,
        .envp = options->envp,
        .fd_variable = "DAVIT_GUEST_FD",
        .cwd = options->cwd,
        .stdio = { stdio[0], stdio[1], stdio[2] },
        .group = options->group,
        .death_signal = options->death_signal,
    };
    struct guest *guest = mem_alloc(sizeof *guest);
    CLEANUP(fd_closep) int channel = -1;

    guest->child.data = guest->timer.data = guest;
    guest->kill_after_ms = options->kill_after_ms > 0 ? options->kill_after_ms : KILL_AFTER_MS;
    if (coproc_start(&guest->child, loop, &how, on_ended, &channel, err) < 0) {
        free(guest);
        return err_wrap(err, "start %s", options->rpc.peer);
    }
    int rv = uv_timer_init(loop, &guest->timer);
    assert(rv == 0);
    guest->rpc = rpc_new(loop, TAKE_FD(channel), &options->rpc);
    *ret_guest = guest;
    return 0;
}

struct rpc *guest_rpc(struct guest *guest)
{
    return guest->rpc;
}

pid_t guest_pid(const struct guest *guest)
{
    return guest->child.pid;
}

bool guest_has_ended(const struct guest *guest)
{
    return guest->ended;
}

const char *guest_status_text(const struct guest *guest)
{
    return guest->ended ? guest->status : "runs";
}

void guest_signal(struct guest *guest, int signum)
{
    if (!guest->ended) {
        child_signal(&guest->child, signum);
    }
}

void guest_close(struct guest *guest, guest_close_cb cb, void *data)
{
    assert(!guest->closing);
    guest->closing = true;
    guest->close_cb = cb;
    guest->close_data = data;
    if (guest->ended) {
        uv_close((uv_handle_t *)&guest->timer, on_timer_closed);
    } else {
        int rv = uv_timer_start(&guest->timer, on_kill, guest->kill_after_ms, 0);
        assert(rv == 0);
    }
    rpc_close(guest->rpc, on_rpc_closed, guest);
}
