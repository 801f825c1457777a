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

/* How many bytes the character at s has, of the `left` that may be read, and its code point; 0
 * when it is not UTF-8 as RFC 3629 has it (too long a form, a surrogate, cut off). */
size_t str_character(const char *s, size_t left, uint32_t *ret_code);

/* s as one line of valid UTF-8 that a terminal only shows: backslashes, control characters (C1 in
 * UTF-8 too), marks that turn the direction of text and bytes that are not UTF-8 are escaped.  For
 * everything that somebody else may have written.  The caller's. */
char *str_escape(const char *s);

/* Lower-case hex of bytes; ret holds 2 * len + 1. */
void str_hex(const void *bytes, size_t len, char *ret);
