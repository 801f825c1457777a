/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"
#include "base/mem.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

/* The result is the caller's. */
char *str_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
char *str_vprintf(const char *fmt, va_list ap) __attribute__((format(printf, 1, 0)));

bool str_eq(const char *a, const char *b); /* NULL equals only NULL. */
bool str_starts(const char *s, const char *prefix);
bool str_ends(const char *s, const char *suffix);

/* A whole decimal number within [min, max]; no sign, blanks or rest allowed
 * (a leading '-' is allowed when min is negative).  ERR_INVALID names what. */
int str_to_int(const char *s, int64_t min, int64_t max, const char *what, int64_t *ret_value,
               struct err *err);

/* NULL-terminated array of strings, as argv and envp are. */
void strv_free(char **strv);
DEFINE_FREEP(char *, strv_free)
size_t strv_len(char *const *strv);
char **strv_dup(char *const *strv);
void strv_add(char ***strv, const char *s); /* copies s */
void strv_add_take(char ***strv, char *s);  /* keeps s */
void strv_addf(char ***strv, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Parts of s between any separator of sep; empty parts are kept.  The caller's. */
char **str_split(const char *s, const char *sep);

/* s with control characters and backslashes escaped, so that it stays on one
 * line and cannot move a terminal's cursor.  UTF-8 passes.  The caller's. */
char *str_escape(const char *s);

/* Lower-case hex of bytes; ret holds 2 * len + 1. */
void str_hex(const void *bytes, size_t len, char *ret);
