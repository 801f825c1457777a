/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/buf.h"
#include "base/err.h"

#include <stddef.h>

/* Instance numbers as text, "0-3,5": how documents keep thousands of them. */
struct ranges {
    struct buf text;
    int first, last; /* Of the run not written yet; first -1: none. */
};

#define RANGES_EMPTY ((struct ranges){ .first = -1 })
void ranges_fini(struct ranges *ranges);
#define CLEANUP_RANGES CLEANUP(ranges_fini) struct ranges

/* In any order; numbers that follow each other share a range. */
void ranges_add(struct ranges *ranges, int number);
/* Borrowed until the next change. */
const char *ranges_text(struct ranges *ranges);

typedef void (*ranges_fn)(int number, void *data);
/* Calls fn with each number of text.  ERR_INVALID unless all of them are from 0 to max. */
int ranges_each(const char *text, int max, ranges_fn fn, void *data, struct err *err);
