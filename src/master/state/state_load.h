/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "master/state/state.h"

/* Reads /davit into a new struct state, making the folders that a first start lacks. */
struct state_load;

/* Once, from the loop.  On success state is the caller's; err otherwise: ERR_UNREACHABLE and the
 * like, or ERR_UNSUPPORTED for documents of a later version. */
typedef void (*state_load_cb)(struct state *state, const struct err *err, void *data);

/* options->writes is filled in here; the rest is handed to state_new(). */
struct state_load *state_load_start(const struct state_options *options, state_load_cb cb,
                                    void *data);

/* Drops it without a callback. */
void state_load_cancel(struct state_load *load);
