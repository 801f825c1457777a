/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "pod/taskfile.h"

#include <uv.h>

/* The HTTP steps of a stop: the task's own server is asked to leave before any signal. */
struct ladder;

/* The last wait is over, or it was canceled: signals are next.  Fires once per start. */
typedef void (*ladder_cb)(void *data);

/* spec is borrowed. */
struct ladder *ladder_new(uv_loop_t *loop, const struct taskfile_ladder *spec, ladder_cb cb,
                          void *data);
void ladder_start(struct ladder *ladder);

/* Ends it early, a request under way included; nothing when it does not run. */
void ladder_cancel(struct ladder *ladder);

/* Only while it does not run.  cb fires later on the loop; it is freed then. */
void ladder_close(struct ladder *ladder, void (*cb)(void *data), void *data);
