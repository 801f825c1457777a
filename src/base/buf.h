/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/mem.h"

#include <stdarg.h>
#include <stddef.h>

/* Growable bytes, always followed by a NUL that does not count.  A zeroed
 * struct is an empty buffer; embed it and buf_fini() it. */
struct buf {
    char *data; /* NULL while nothing was ever added; use buf_text() for a string. */
    size_t len;
    size_t cap;
};

void buf_fini(struct buf *buf);
#define CLEANUP_BUF CLEANUP(buf_fini) struct buf

/* Make room for extra more bytes after len. */
void buf_reserve(struct buf *buf, size_t extra);

/* Append a copy.  No cap here: what comes from outside is checked by the caller before. */
void buf_add(struct buf *buf, const void *bytes, size_t len);
void buf_add_text(struct buf *buf, const char *text);
void buf_addf(struct buf *buf, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_vaddf(struct buf *buf, const char *fmt, va_list ap)
    __attribute__((format(printf, 2, 0), nonnull(2)));

/* Percent-encoded, so that it is one segment of a URL's path, or one value of its query. */
void buf_add_uri(struct buf *buf, const char *text);

/* Drop the first n bytes. */
void buf_drop(struct buf *buf, size_t n);

/* Forget the content, keep the memory. */
void buf_clear(struct buf *buf);

/* The content as a string; "" when empty.  Borrowed until the next change. */
const char *buf_text(const struct buf *buf);

/* The content becomes the caller's (never NULL); the buffer is empty afterwards. */
char *buf_take(struct buf *buf);
