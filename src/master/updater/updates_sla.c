/* SPDX-License-Identifier: Apache-2.0 */
/* updates_sla: the SLA as sla_aware updates ask for it.
 *
 * Not the policies (drain/sla_rule.c) and not the calls (drain/coordinator.c).  A coordinator's
 * answer comes later than the question: a yes is kept until the update asks again about that
 * very task.
 * Failures: no answer is a no; the update asks again after its pause.  Nothing is stored.
 */
#include "master/updater/updates_sla.h"

#include "base/clock.h"
#include "base/mem.h"
#include "master/drain/coordinator.h"
#include "master/drain/sla_rule.h"

#include <string.h>
#include <uthash.h>

enum {
    RETRY_MS = 30 * 1000, /* Below the pause of an update: each of its questions is a call. */
    TIMEOUT_MS = 60 * 1000,
};
/* An update forces nothing; what coordinators are told is the time that a drain would give. */
#define COUNTDOWN_MS (UINT64_C(7) * 24 * 60 * 60 * 1000)

struct grant {
    UT_hash_handle hh;
    char task_id[];
};

struct updates_sla {
    struct state *state;
    updates_sla_cb granted;
    void *data;
    struct grant *grants;
    struct coordinators *coordinators; /* NULL until one is needed. */
    updates_sla_closed_cb close_cb;
    void *close_data;
};

struct updates_sla *updates_sla_new(struct state *state, updates_sla_cb granted, void *data)
{
    struct updates_sla *sla = mem_alloc(sizeof(*sla));

    sla->state = state;
    sla->granted = granted;
    sla->data = data;
    return sla;
}

static void on_granted(const char *task_id, void *data)
{
    struct updates_sla *sla = data;
    struct state_task *task = state_task_find(sla->state, task_id);
    struct grant *grant = NULL;

    if (task == NULL) {
        return;
    }
    HASH_FIND_STR(sla->grants, task_id, grant);
    if (grant == NULL) {
        grant = mem_alloc(sizeof(*grant) + strlen(task_id) + 1);
        memcpy(grant->task_id, task_id, strlen(task_id) + 1);
        HASH_ADD_STR(sla->grants, task_id, grant);
    }
    sla->granted(task, sla->data);
}

static bool use_grant(struct updates_sla *sla, const char *task_id)
{
    struct grant *grant = NULL;

    HASH_FIND_STR(sla->grants, task_id, grant);
    if (grant == NULL) {
        return false;
    }
    HASH_DEL(sla->grants, grant);
    free(grant);
    return true;
}

bool updates_sla_may_end(struct updates_sla *sla, const struct state_task *task)
{
    uint64_t now = clock_wall_ms();

    switch (sla_task_may_go(task, NULL, now)) {
    case SLA_MAY:
        return true;
    case SLA_WAIT:
        return false;
    case SLA_ASK:
        break;
    }
    if (use_grant(sla, task->t.id)) {
        return true;
    }
    if (sla->coordinators == NULL) {
        struct coordinators_options options = { .state = sla->state,
                                                .retry_ms = RETRY_MS,
                                                .timeout_ms = TIMEOUT_MS };

        sla->coordinators = coordinators_new(&options, on_granted, sla);
    }
    coordinators_ask(sla->coordinators, task, now + COUNTDOWN_MS);
    return false;
}

static void on_closed(void *data)
{
    struct updates_sla *sla = data;
    updates_sla_closed_cb cb = sla->close_cb;
    void *cb_data = sla->close_data;
    struct grant *grant;
    struct grant *next;

    HASH_ITER(hh, sla->grants, grant, next)
    {
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): HASH_DEL moves the head. */
        HASH_DEL(sla->grants, grant);
        free(grant);
    }
    free(sla);
    cb(cb_data);
}

void updates_sla_close(struct updates_sla *sla, updates_sla_closed_cb cb, void *data)
{
    sla->close_cb = cb;
    sla->close_data = data;
    if (sla->coordinators != NULL) {
        coordinators_close(sla->coordinators, on_closed, sla);
    } else {
        on_closed(sla);
    }
}
