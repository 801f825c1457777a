/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"

#include <jansson.h>
#include <stdint.h>

/* Hook records that no agent has acknowledged yet, in memory and in home/hooks.jsonl. */
struct records;

enum { RECORDS_MAX = 256, RECORDS_BYTES_MAX = 512 * 1024 };

/* With what an earlier davit-pod of this home left in the file. */
struct records *records_open(const char *home);
void records_free(struct records *records);
DEFINE_FREEP(struct records, records_free)

/* Keep record (borrowed); a later record of the same run_id takes the earlier one's place.
 * The oldest ones are dropped, and counted, when there are too many.  *ret_line, with
 * its newline, is borrowed until the next call.  ERR_IO: it is kept in memory only. */
int records_add(struct records *records, const json_t *record, const char **ret_line,
                struct err *err);

/* Forget all up to seq. */
void records_ack(struct records *records, uint64_t seq);

/* Append all lines, oldest first. */
void records_lines(const struct records *records, struct buf *out);
