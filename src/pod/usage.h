/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdint.h>
#include <uv.h>

/* Looks now and then whether a pod keeps within its disk. */
struct usage;

/* Called after each look, with the bytes in use. */
typedef void (*usage_cb)(void *data, uint64_t used_bytes);

/* The first look is every_ms from now, later ones so rarely that looking takes at most a
 * hundredth of the time. */
struct usage *usage_new(uv_loop_t *loop, const char *sandbox, uint64_t every_ms, usage_cb cb,
                        void *data);

/* cb fires later on the loop; it is freed then. */
void usage_close(struct usage *usage, void (*cb)(void *data), void *data);
