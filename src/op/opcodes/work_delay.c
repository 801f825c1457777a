/* SPDX-License-Identifier: Apache-2.0 */

/* work_delay: OP_TEST_DELAY, {"duration": seconds}: takes that long, does nothing. */

#include "base/json.h"
#include "base/mem.h"
#include "op/worker.h"

static void on_closed(uv_handle_t *handle)
{
    struct work *work = handle->data;

    free(handle);
    work_done(work, NULL, NULL);
}

static void on_time(uv_timer_t *timer)
{
    uv_close((uv_handle_t *)timer, on_closed);
}

void work_delay(struct work *work)
{
    double seconds = json_num_or(work->input, "duration", 0);
    uv_timer_t *timer = mem_alloc(sizeof *timer);

    (void)uv_timer_init(work->loop, timer);
    timer->data = work;
    work_log(work, "Waiting");
    (void)uv_timer_start(timer, on_time, (uint64_t)(seconds * 1000), 0);
}
