/* SPDX-License-Identifier: Apache-2.0 */

/* buf: growable bytes with a NUL behind them.
 *
 * Not a string library: formatting and appending only.  Capacity doubles, so
 * appending is linear; sizes from outside are capped by whoever reads them.
 */

#include "base/buf.h"

#include <assert.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

void buf_fini(struct buf *buf)
{
    free(buf->data);
    *buf = (struct buf){ 0 };
}

void buf_reserve(struct buf *buf, size_t extra)
{
    if (buf->cap > buf->len && buf->cap - buf->len > extra) {
        return;
    }
    size_t cap = buf->cap < 64 ? 64 : buf->cap;

    while (cap - buf->len <= extra) {
        cap *= 2;
    }
    buf->data = mem_realloc(buf->data, cap);
    buf->cap = cap;
}

void buf_add(struct buf *buf, const void *bytes, size_t len)
{
    buf_reserve(buf, len);
    if (len > 0) {
        memcpy(buf->data + buf->len, bytes, len);
    }
    buf->len += len;
    buf->data[buf->len] = 0;
}

void buf_add_text(struct buf *buf, const char *text)
{
    buf_add(buf, text, strlen(text));
}

void buf_vaddf(struct buf *buf, const char *fmt, va_list ap)
{
    va_list again;

    buf_reserve(buf, 0);
    va_copy(again, ap);
    int n = vsnprintf(buf->data + buf->len, buf->cap - buf->len, fmt, again);
    va_end(again);
    assert(n >= 0);
    if ((size_t)n >= buf->cap - buf->len) {
        buf_reserve(buf, (size_t)n);
        (void)vsnprintf(buf->data + buf->len, (size_t)n + 1, fmt, ap);
    }
    buf->len += (size_t)n;
}

void buf_addf(struct buf *buf, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    buf_vaddf(buf, fmt, ap);
    va_end(ap);
}

static bool is_unreserved(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           strchr("-._~", c) != NULL;
}

void buf_add_uri(struct buf *buf, const char *text)
{
    for (; *text != '\0'; text++) {
        if (is_unreserved(*text)) {
            buf_add(buf, text, 1);
        } else {
            buf_addf(buf, "%%%02X", (unsigned char)*text);
        }
    }
}

void buf_drop(struct buf *buf, size_t n)
{
    assert(n <= buf->len);
    if (n == 0) {
        return;
    }
    memmove(buf->data, buf->data + n, buf->len - n);
    buf->len -= n;
    buf->data[buf->len] = 0;
}

void buf_clear(struct buf *buf)
{
    buf->len = 0;
    if (buf->data != NULL) {
        buf->data[0] = 0;
    }
}

const char *buf_text(const struct buf *buf)
{
    return buf->data != NULL ? buf->data : "";
}

char *buf_take(struct buf *buf)
{
    char *text = buf->data != NULL ? buf->data : mem_strdup("");

    *buf = (struct buf){ 0 };
    return text;
}
