/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* That a pod is to end, why, and how its time is divided.  Zeroed: not yet. */
struct ending {
    bool begun;
    bool failed;          /* it ends FAILED, not KILLED */
    char *reason;         /* NULL: the graph's default */
    uint64_t deadline_ms; /* of KILL */
    uint64_t wait_ms;     /* for TERM and final processes */
};

void ending_fini(struct ending *ending);

/* The first one decides how it ends; a later one can only make the end sooner (false: it does
 * not). */
void ending_begin(struct ending *ending, bool failed, const char *reason, uint64_t wait_ms,
                  uint64_t deadline_ms);
bool ending_shorten(struct ending *ending, uint64_t deadline_ms);

uint64_t ending_rest_ms(const struct ending *ending, uint64_t now_ms);

/* How much of the rest the processes may be asked to leave, before they are told by signals. */
uint64_t ending_ask_ms(const struct ending *ending, uint64_t now_ms);

/* When the tear_down event gets TERM, and by when it must be over, both from now: so that the
 * processes still get their TERM. 0: there is no time for it. */
uint64_t ending_tear_down_ms(const struct ending *ending, uint64_t now_ms, uint64_t *ret_over_ms);
