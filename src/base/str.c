/* SPDX-License-Identifier: Apache-2.0 */

/* str: the few string helpers that C lacks.  Not a string type; see buf. */

#include "base/str.h"

#include "base/buf.h"

#include <stdio.h>
#include <string.h>

char *str_vprintf(const char *fmt, va_list ap)
{
    struct buf buf = { 0 };

    buf_vaddf(&buf, fmt, ap);
    return buf_take(&buf);
}

char *str_printf(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    char *s = str_vprintf(fmt, ap);
    va_end(ap);
    return s;
}

bool str_eq(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

bool str_starts(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool str_ends(const char *s, const char *suffix)
{
    size_t n = strlen(s), m = strlen(suffix);

    return n >= m && memcmp(s + n - m, suffix, m) == 0;
}

int str_to_int(const char *s, int64_t min, int64_t max, const char *what, int64_t *ret_value,
               struct err *err)
{
    const char *digits = min < 0 && s[0] == '-' ? s + 1 : s;
    char *end = NULL;

    if (digits[0] < '0' || digits[0] > '9') {
        return err_set(err, ERR_INVALID, "%s: '%s' is not a whole number", what, s);
    }
    errno = 0;
    long long value = strtoll(s, &end, 10);
    if (*end != 0) {
        return err_set(err, ERR_INVALID, "%s: '%s' is not a whole number", what, s);
    }
    if (errno == ERANGE || value < min || value > max) {
        return err_set(err, ERR_INVALID, "%s: %s is not between %lld and %lld", what, s,
                       (long long)min, (long long)max);
    }
    *ret_value = value;
    return 0;
}

void strv_free(char **strv)
{
    if (strv != NULL) {
        for (char **s = strv; *s != NULL; s++) {
            free(*s);
        }
        free(strv);
    }
}

size_t strv_len(char *const *strv)
{
    size_t n = 0;

    while (strv != NULL && strv[n] != NULL) {
        n++;
    }
    return n;
}

char **strv_dup(char *const *strv)
{
    size_t n = strv_len(strv);
    char **copy = mem_alloc((n + 1) * sizeof *copy);

    for (size_t i = 0; i < n; i++) {
        copy[i] = mem_strdup(strv[i]);
    }
    return copy;
}

void strv_add_take(char ***strv, char *s)
{
    size_t n = strv_len(*strv);

    *strv = mem_realloc(*strv, (n + 2) * sizeof **strv);
    (*strv)[n] = s;
    (*strv)[n + 1] = NULL;
}

void strv_add(char ***strv, const char *s)
{
    strv_add_take(strv, mem_strdup(s));
}

void strv_addf(char ***strv, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    strv_add_take(strv, str_vprintf(fmt, ap));
    va_end(ap);
}

char **str_split(const char *s, const char *sep)
{
    char **parts = mem_alloc(sizeof *parts);

    for (;;) {
        size_t n = strcspn(s, sep);

        strv_add_take(&parts, mem_strndup(s, n));
        if (s[n] == 0) {
            return parts;
        }
        s += n + 1;
    }
}

char *str_escape(const char *s)
{
    struct buf buf = { 0 };

    for (; *s != 0; s++) {
        unsigned char c = (unsigned char)*s;

        if (c == '\n') {
            buf_add_text(&buf, "\\n");
        } else if (c == '\t') {
            buf_add_text(&buf, "\\t");
        } else if (c == '\\') {
            buf_add_text(&buf, "\\\\");
        } else if (c < 0x20 || c == 0x7f) {
            buf_addf(&buf, "\\x%02x", c);
        } else {
            buf_add(&buf, s, 1);
        }
    }
    return buf_take(&buf);
}

void str_hex(const void *bytes, size_t len, char *ret)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *in = bytes;

    for (size_t i = 0; i < len; i++) {
        ret[2 * i] = digits[in[i] >> 4];
        ret[2 * i + 1] = digits[in[i] & 15];
    }
    ret[2 * len] = 0;
}
