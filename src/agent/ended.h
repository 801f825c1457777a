/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"

/* Homes of tasks that are over: kept for a while, so that people can still read what they
 * wrote.  Blocking; for a worker thread. */

/* Move home into root under its name, then remove the oldest beyond keep.  keep 0 only
 * removes home.  An absent home is success. */
int ended_keep(const char *root, const char *home, const char *name, unsigned keep,
               struct err *err);
