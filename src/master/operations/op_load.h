/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"
#include "coord/zk.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#define OP_LOAD_LIVE    "/davit/operations"
#define OP_LOAD_ARCHIVE "/davit/archive"

/* Reads the records of all operations from the store, when a master begins to lead. */
struct op_load;

/* One record; borrowed.  Live ones come first, each kind by number. */
typedef void (*op_load_record_fn)(void *data, const json_t *record, bool archived);
/* All are told, or err says why not.  The load is gone afterwards. */
typedef void (*op_load_cb)(void *data, const struct err *err);

/* Of the archive only the newest `keep`.  Records that cannot be read are logged and left alone. */
struct op_load *op_load_start(struct zk *zk, size_t keep, op_load_record_fn record, op_load_cb done,
                              void *data);

/* Without a callback. */
void op_load_drop(struct op_load *load);
