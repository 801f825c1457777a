/* SPDX-License-Identifier: Apache-2.0 */

/* ending: how the time of a stop, or of a failure, is divided between those who want some.
 *
 *   now ... tear_down ... stop ladder ... TERM and final processes (wait_ms) ... deadline, KILL
 *
 * Pure.  tear_down has half of what is left and three quarters at most, whatever its directory's
 * own deadline says; the ladder what is left before the last wait_ms; TERM the rest.
 */
#include "pod/ending.h"

#include "base/mem.h"

void ending_fini(struct ending *ending)
{
    free(ending->reason);
    *ending = (struct ending){ 0 };
}

void ending_begin(struct ending *ending, bool failed, const char *reason, uint64_t wait_ms,
                  uint64_t deadline_ms)
{
    ending->begun = true;
    ending->failed = failed;
    ending->reason = mem_strdup_opt(reason);
    ending->wait_ms = wait_ms;
    ending->deadline_ms = deadline_ms;
}

bool ending_shorten(struct ending *ending, uint64_t deadline_ms)
{
    if (deadline_ms >= ending->deadline_ms) {
        return false;
    }
    ending->deadline_ms = deadline_ms;
    return true;
}

uint64_t ending_rest_ms(const struct ending *ending, uint64_t now_ms)
{
    return ending->deadline_ms > now_ms ? ending->deadline_ms - now_ms : 0;
}

uint64_t ending_ask_ms(const struct ending *ending, uint64_t now_ms)
{
    uint64_t rest = ending_rest_ms(ending, now_ms);

    return rest > ending->wait_ms ? rest - ending->wait_ms : 0;
}

uint64_t ending_tear_down_ms(const struct ending *ending, uint64_t now_ms, uint64_t *ret_over_ms)
{
    uint64_t rest = ending_rest_ms(ending, now_ms);

    *ret_over_ms = rest / 2 + rest / 4 + 2;
    return rest > 0 ? rest / 2 + 1 : 0;
}
