/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/child.h"
#include "base/err.h"
#include "guest/rpc.h"

#include <uv.h>

/* A process that stays and answers calls: started with one end of a socketpair
 * as its descriptor COPROC_FD (coproc.h), named to it by DAVIT_GUEST_FD in its environment. */
struct guest;

typedef void (*guest_close_cb)(void *data);

/* Borrowed for the call, but for rpc, whose texts and methods must outlive the guest. */
struct guest_options {
    const char *const *argv; /* NULL: davit's evaluator of `.aurora` files. */
    const char *const *envp; /* NULL: this process's environment. */
    const char *cwd;         /* NULL: this process's. */
    const int *stdio;        /* Three descriptors for its 0, 1, 2; NULL: our own. */
    enum child_group group;  /* CHILD_GROUP_SAME for one that may ask the user. */
    int death_signal;        /* Sent to it when our thread dies; 0: none. */
    uint64_t kill_after_ms;  /* How long guest_close() waits for it; 0 is 500. */
    struct rpc_config rpc;
};

/* Start it.  SIGPIPE must be ignored by the program, or a dying guest takes it along. */
int guest_start(uv_loop_t *loop, const struct guest_options *options, struct guest **ret_guest,
                struct err *err);

/* The channel to it; the guest's, closed with it. */
struct rpc *guest_rpc(struct guest *guest);

pid_t guest_pid(const struct guest *guest);
bool guest_has_ended(const struct guest *guest);

/* "exited with status 3", "was killed by signal 9", "runs"; borrowed. */
const char *guest_status_text(const struct guest *guest);

/* Signal the process alone; nothing once it has ended. */
void guest_signal(struct guest *guest, int signum);

/* Close the channel, which asks it to end; kill it when it has not within
 * kill_after_ms; then call cb (may be NULL) from the loop, and it is gone. */
void guest_close(struct guest *guest, guest_close_cb cb, void *data);
