/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"

#include <stdbool.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* program is the second word of "davit-x" and stands in each line; borrowed.
 * Level comes from DAVIT_LOG (error|warn|info|debug), default info; format from
 * DAVIT_LOG_FORMAT (text|json), default text. */
void log_init(const char *program);

/* ERR_INVALID for an unknown word. */
int log_set_level(const char *word, struct err *err);
bool log_enabled(enum log_level level);

/* One line on stderr:
 *   2026-01-02T03:04:05.678Z info master sched/score.c:88 placed job=www/prod/web node=n17
 * The message ends in its `key=value` fields.  Control characters are escaped.
 * The last 1,000 lines of any level stay in memory; see log_dump(). */
#define log_error(...) log_write(LOG_LEVEL_ERROR, __FILE__, __LINE__, __VA_ARGS__)
#define log_warn(...)  log_write(LOG_LEVEL_WARN, __FILE__, __LINE__, __VA_ARGS__)
#define log_info(...)  log_write(LOG_LEVEL_INFO, __FILE__, __LINE__, __VA_ARGS__)
#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __FILE__, __LINE__, __VA_ARGS__)

void log_write(enum log_level level, const char *file, int line, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Write the remembered lines to stderr; for a failed assert or SIGUSR1. */
void log_dump(void);
