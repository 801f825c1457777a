/* SPDX-License-Identifier: Apache-2.0 */

/* upkeep: the housekeeping of a machine's hook journal, on a worker thread.
 *
 * What is old and what is lost is journal.c's to say; here is only when it is asked.  The thread
 * opens the journal anew each time: connections are not shared between threads.
 *
 *   IDLE --hour, death--> WORKING --done--> IDLE (or WORKING, when there was another death)
 *
 * Failures are logged and tried again with the next occasion.
 * Invariant: one work at a time; what was asked for while it ran is done after it.
 */

#include "hook/upkeep.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/tree.h"
#include "hook/journal.h"

#include <jansson.h>
#include <signal.h>

enum { EVERY_MS = 3600 * 1000, SOON_MS = 1000 };

struct hook_upkeep {
    struct upkeep_options options;
    uv_timer_t timer;
    uv_work_t work;
    bool want_recover, want_trim;
    bool working, closing;
    /* The thread's, while working. */
    bool recover, trim;
    size_t n_lost;
    struct err err;
    void (*close_cb)(void *data);
    void *close_data;
};

static void on_worked(uv_work_t *work, int status);

/* On the rungs without groups a lost run's processes are known by its token only. */
static void kill_left(const json_t *lost)
{
    size_t i;
    json_t *item;

    json_array_foreach((json_t *)lost, i, item)
    {
        const char *run_id = json_string_value(json_object_get(item, "run_id"));

        if (run_id != NULL) {
            CLEANUP(tree_freep) struct tree *tree = tree_adopt(run_id);

            tree_signal(tree, SIGKILL);
        }
    }
}

static int tidy(struct hook_upkeep *upkeep, struct err *err)
{
    CLEANUP(journal_closep) struct hook_journal *journal = NULL;
    json_t *lost = NULL;

    if (journal_open(upkeep->options.journal, &journal, err) < 0) {
        return err_code(err);
    }
    if (upkeep->recover) {
        if (journal_recover(journal, &lost, err) < 0) {
            return err_code(err);
        }
        kill_left(lost);
        upkeep->n_lost = json_array_size(lost);
        json_decref(lost);
    }
    return upkeep->trim
               ? journal_trim(journal, upkeep->options.max_age_ms, upkeep->options.max_runs, err)
               : 0;
}

static void on_work(uv_work_t *work)
{
    struct hook_upkeep *upkeep = work->data;

    (void)tidy(upkeep, &upkeep->err);
}

static void begin(struct hook_upkeep *upkeep)
{
    if (upkeep->closing) {
        upkeep->want_trim = false; /* But nobody else ends what lives on. */
    }
    if (upkeep->working || !(upkeep->want_recover || upkeep->want_trim)) {
        return;
    }
    upkeep->working = true;
    upkeep->recover = upkeep->want_recover;
    upkeep->trim = upkeep->want_trim;
    upkeep->want_recover = upkeep->want_trim = false;
    upkeep->n_lost = 0;
    upkeep->err = (struct err){ 0 };
    upkeep->work.data = upkeep;
    (void)uv_queue_work(upkeep->options.loop, &upkeep->work, on_work, on_worked);
}

static void on_timer(uv_timer_t *timer)
{
    struct hook_upkeep *upkeep = timer->data;

    upkeep->want_trim = true;
    begin(upkeep);
}

static void on_closed(uv_handle_t *handle)
{
    struct hook_upkeep *upkeep = handle->data;
    void (*cb)(void *data) = upkeep->close_cb;
    void *data = upkeep->close_data;

    free((char *)upkeep->options.journal);
    free(upkeep);
    if (cb != NULL) {
        cb(data);
    }
}

static void maybe_closed(struct hook_upkeep *upkeep)
{
    if (upkeep->closing && !upkeep->working) {
        uv_close((uv_handle_t *)&upkeep->timer, on_closed);
    }
}

static void on_worked(uv_work_t *work, int status)
{
    struct hook_upkeep *upkeep = work->data;

    (void)status;
    upkeep->working = false;
    if (upkeep->err.code != 0) {
        log_warn("the journal of hook runs is not tidy, trying again later: %s", upkeep->err.msg);
    }
    if (upkeep->n_lost > 0) {
        log_info("hook runs were lost with their executor runs=%zu", upkeep->n_lost);
    }
    begin(upkeep);
    maybe_closed(upkeep);
}

void upkeep_start(const struct upkeep_options *options, struct hook_upkeep **ret_upkeep)
{
    struct hook_upkeep *upkeep = mem_alloc(sizeof *upkeep);

    upkeep->options = *options;
    upkeep->options.journal = mem_strdup(options->journal);
    (void)tree_best_rung(); /* What the thread will need is found out before it runs. */
    (void)uv_timer_init(options->loop, &upkeep->timer);
    upkeep->timer.data = upkeep;
    (void)uv_timer_start(&upkeep->timer, on_timer, SOON_MS, EVERY_MS);
    uv_unref((uv_handle_t *)&upkeep->timer);
    *ret_upkeep = upkeep;
}

void upkeep_recover(struct hook_upkeep *upkeep)
{
    upkeep->want_recover = true;
    begin(upkeep);
}

void upkeep_close(struct hook_upkeep *upkeep, void (*cb)(void *data), void *data)
{
    upkeep->closing = true;
    upkeep->close_cb = cb;
    upkeep->close_data = data;
    maybe_closed(upkeep);
}
