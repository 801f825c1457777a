/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"
#include "pod/taskfile.h"

#include <jansson.h>
#include <stdbool.h>
#include <uv.h>

/* The pod's callback programs: DIR/<event>, or the entries of DIR/<event>.d, of the
 * events initialize, configure, sanity_check, tear_down and finalize. */
struct callbacks;

struct callbacks_events {
    void *ctx;
    /* A record is new or has changed; borrowed. */
    void (*record)(void *ctx, const json_t *record);
    /* The event is over.  why is NULL, or names the first program that failed and how.
     * Fires once per callbacks_start() that returned true, later on the loop. */
    void (*done)(void *ctx, const char *why);
};

/* dir NULL, or without anything for an event: costs nothing. */
struct callbacks *callbacks_new(uv_loop_t *loop, const char *dir, const struct taskfile *task,
                                const struct callbacks_events *events);

/* Run what is there for the event, one at a time (no other may be running), in sandbox with
 * env; false: nothing is.  Each program has term_ms, then TERM, then KILL at kill_ms.
 * processes is borrowed. */
bool callbacks_start(struct callbacks *callbacks, const char *event, const json_t *processes,
                     const char *sandbox, char *const *env, uint64_t term_ms, uint64_t kill_ms);

/* Ends the running event early; done fires. */
void callbacks_cancel(struct callbacks *callbacks);

/* Only while no event runs; what programs left running is killed. cb fires later on
 * the loop; it is freed then. */
void callbacks_close(struct callbacks *callbacks, void (*cb)(void *data), void *data);
