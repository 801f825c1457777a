/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "store/engine.h"

/* The store's durable half: a SQLite file. */
struct ledger;

/* Open or create the file in dir and load it into the new engine.  Sessions count
 * as heard at now_ms.  ERR_IO, ERR_DENIED; ERR_INVALID when it is damaged. */
int ledger_open(const char *dir, struct engine *engine, uint64_t now_ms, struct ledger **ret_ledger,
                struct err *err);
void ledger_close(struct ledger *ledger);
DEFINE_FREEP(struct ledger, ledger_close)

/* Make everything in the engine's logs durable in one transaction and clear them.
 * On failure memory is ahead of the disk: the caller must not go on serving. */
int ledger_commit(struct ledger *ledger, struct engine *engine, struct err *err);
