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

size_t str_character(const char *s, size_t left, uint32_t *ret_code)
{
    static const uint32_t lowest[] = { 0, 0, 0x80, 0x800, 0x10000 };
    unsigned char lead = left > 0 ? (unsigned char)s[0] : 0xff;
    size_t n = lead < 0x80    ? 1
               : lead >= 0xf8 ? 0
               : lead >= 0xf0 ? 4
               : lead >= 0xe0 ? 3
               : lead >= 0xc0 ? 2
                              : 0;

    if (n == 0 || n > left) {
        return 0;
    }
    uint32_t code = n == 1 ? lead : lead & (0x7fU >> n);

    for (size_t i = 1; i < n; i++) {
        if (((unsigned char)s[i] & 0xc0) != 0x80) {
            return 0;
        }
        code = code << 6 | ((unsigned char)s[i] & 0x3fU);
    }
    if (code < lowest[n] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) {
        return 0;
    }
    *ret_code = code;
    return n;
}

/* What moves the cursor, changes colours, or makes text read otherwise than it is. */
static bool is_deceptive(uint32_t code)
{
    return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x061c ||
           (code >= 0x200e && code <= 0x200f) || (code >= 0x2028 && code <= 0x202e) ||
           (code >= 0x2066 && code <= 0x2069);
}

char *str_escape(const char *s)
{
    struct buf buf = { 0 };
    size_t left = strlen(s);

    while (left > 0) {
        uint32_t code = 0;
        size_t n = str_character(s, left, &code);

        if (n == 0) {
            buf_addf(&buf, "\\x%02x", (unsigned char)*s);
            n = 1;
        } else if (code == '\n') {
            buf_add_text(&buf, "\\n");
        } else if (code == '\t') {
            buf_add_text(&buf, "\\t");
        } else if (code == '\\') {
            buf_add_text(&buf, "\\\\");
        } else if (is_deceptive(code)) {
            buf_addf(&buf, code < 0x80 ? "\\x%02x" : "\\u%04x", (unsigned)code);
        } else {
            buf_add(&buf, s, n);
        }
        s += n;
        left -= n;
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
