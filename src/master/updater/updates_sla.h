/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "master/state/state.h"

#include <stdbool.h>
#include <stdint.h>

/* May a task be ended for an sla_aware update?  By its job's policy, or its coordinator's word. */
struct updates_sla;

/* A coordinator said yes, from the loop: ask again about this task, which may have gone. */
typedef void (*updates_sla_cb)(struct state_task *task, void *data);

struct updates_sla *updates_sla_new(struct state *state, updates_sla_cb granted, void *data);

/* A coordinator's yes holds for one answer. */
bool updates_sla_may_end(struct updates_sla *sla, const struct state_task *task);

typedef void (*updates_sla_closed_cb)(void *data);
void updates_sla_close(struct updates_sla *sla, updates_sla_closed_cb cb, void *data);
