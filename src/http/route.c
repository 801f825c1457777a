/* SPDX-License-Identifier: Apache-2.0 */

/* route: which pattern of a table does a request's path match, and with which parameters?
 *
 * Pure.  It knows nothing of methods, roles or connections; httpd.c does.
 *
 * Happy path: a raw path is decoded once and cut at its slashes; a pattern, cut likewise when the
 * server started, is compared segment by segment.
 * Failures: a path that could mean something else to a file system or a terminal is refused as a
 * whole, so that no handler has to think of it.
 * Invariant: a decoded segment has no slash, no control character and is valid UTF-8.
 */

#include "http/route.h"

#include "base/str.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>

enum { MAX_PATH_BYTES = 8192 };

enum segment_kind { LITERAL, PARAM, REST };

struct segment {
    enum segment_kind kind;
    char *text; /* The literal, or the parameter's name. */
};

struct route_pattern {
    struct segment segments[ROUTE_MAX_SEGMENTS];
    size_t n;
};

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)tolower((unsigned char)c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Length of the UTF-8 sequence at s, 0 when it is none (overlong, surrogate, too large). */
static size_t utf8_len(const unsigned char *s)
{
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    size_t len = s[0] < 0x80             ? 1
                 : (s[0] & 0xe0) == 0xc0 ? 2
                 : (s[0] & 0xf0) == 0xe0 ? 3
                 : (s[0] & 0xf8) == 0xf0 ? 4
                                         : 0;

    if (len < 2) {
        return len;
    }
    uint32_t rune = s[0] & (0xffu >> (len + 1));
    for (size_t i = 1; i < len; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }
        rune = rune << 6 | (s[i] & 0x3fu);
    }
    bool bad = rune < least[len] || rune > 0x10ffff || (rune >= 0xd800 && rune <= 0xdfff);
    return bad ? 0 : len;
}

static bool is_utf8(const char *text)
{
    const unsigned char *s = (const unsigned char *)text;

    while (*s != '\0') {
        size_t len = utf8_len(s);
        if (len == 0) {
            return false;
        }
        s += len;
    }
    return true;
}

int route_unescape(char *text, struct err *err)
{
    char *to = text;

    for (const char *from = text; *from != '\0'; from++) {
        if (*from != '%') {
            *to++ = *from;
            continue;
        }
        int high = hex_value(from[1]);
        int low = high < 0 ? -1 : hex_value(from[2]);
        if (low < 0) {
            return err_set(err, ERR_INVALID, "the URL has a broken %%-escape");
        }
        if (high == 0 && low == 0) {
            return err_set(err, ERR_INVALID, "the URL has a NUL byte");
        }
        *to++ = (char)(high << 4 | low);
        from += 2;
    }
    *to = '\0';
    if (!is_utf8(text)) {
        return err_set(err, ERR_INVALID, "the URL is not UTF-8");
    }
    return 0;
}

static int check_segment(const char *segment, struct err *err)
{
    if (str_eq(segment, ".") || str_eq(segment, "..")) {
        return err_set(err, ERR_INVALID, "the path has a '%s' segment", segment);
    }
    for (const char *c = segment; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f) {
            return err_set(err, ERR_INVALID, "the path has a control character");
        }
        if (*c == '/') {
            return err_set(err, ERR_INVALID, "the path has an encoded slash");
        }
    }
    return 0;
}

int route_path_init(struct route_path *path, const char *raw, struct err *err)
{
    size_t len = strlen(raw);

    *path = (struct route_path){ 0 };
    if (len > MAX_PATH_BYTES) {
        return err_set(err, ERR_TOOBIG, "the path is longer than %d bytes", MAX_PATH_BYTES);
    }
    if (raw[0] != '/') {
        return err_set(err, ERR_INVALID, "the path does not begin with a slash");
    }
    path->text = mem_alloc(len + 1);
    path->parts = mem_alloc(len + 1);

    /* Each segment is decoded where it will stay; decoding only ever shortens. */
    size_t at = 0;
    for (const char *from = raw; *from == '/';) {
        size_t raw_len = strcspn(from + 1, "/");
        if (path->n == ROUTE_MAX_SEGMENTS) {
            return err_set(err, ERR_INVALID, "the path has more than %d segments",
                           ROUTE_MAX_SEGMENTS);
        }
        path->text[at] = '/';
        path->parts[at] = '\0';
        at++;
        char *segment = path->parts + at;
        memcpy(segment, from + 1, raw_len);
        segment[raw_len] = '\0';
        if (route_unescape(segment, err) < 0 || check_segment(segment, err) < 0) {
            return err->code;
        }
        size_t segment_len = strlen(segment);
        memcpy(path->text + at, segment, segment_len + 1);
        path->starts[path->n++] = at;
        at += segment_len;
        from += 1 + raw_len;
    }
    return 0;
}

void route_path_fini(struct route_path *path)
{
    free(path->text);
    free(path->parts);
    *path = (struct route_path){ 0 };
}

static int add_segment(struct route_pattern *pattern, const char *text, size_t len, struct err *err)
{
    struct segment segment = { .kind = LITERAL };

    if (pattern->n == ROUTE_MAX_SEGMENTS ||
        (pattern->n > 0 && pattern->segments[pattern->n - 1].kind == REST)) {
        return err_set(err, ERR_INVALID, "segments behind the last one possible");
    }
    if (len > 2 && text[0] == '{' && text[len - 1] == '}') {
        text += 1;
        len -= 2;
        segment.kind = PARAM;
        if (text[len - 1] == '*') {
            len -= 1;
            segment.kind = REST;
        }
    }
    segment.text = str_printf("%.*s", (int)len, text);
    pattern->segments[pattern->n++] = segment;
    return 0;
}

int route_pattern_new(const char *text, struct route_pattern **ret_pattern, struct err *err)
{
    CLEANUP(route_pattern_freep) struct route_pattern *pattern = mem_alloc(sizeof *pattern);

    if (text[0] != '/') {
        return err_set(err, ERR_INVALID, "route '%s' does not begin with a slash", text);
    }
    for (const char *from = text; *from == '/';) {
        size_t len = strcspn(from + 1, "/");
        if (add_segment(pattern, from + 1, len, err) < 0) {
            return err_wrap(err, "route '%s'", text);
        }
        from += 1 + len;
    }
    *ret_pattern = TAKE(pattern);
    return 0;
}

void route_pattern_free(struct route_pattern *pattern)
{
    if (pattern == NULL) {
        return;
    }
    for (size_t i = 0; i < pattern->n; i++) {
        free(pattern->segments[i].text);
    }
    free(pattern);
}

bool route_match(const struct route_pattern *pattern, const struct route_path *path)
{
    for (size_t i = 0; i < pattern->n; i++) {
        const struct segment *segment = &pattern->segments[i];
        if (i >= path->n) {
            return false;
        }
        if (segment->kind == REST) {
            return true;
        }
        const char *part = path->parts + path->starts[i];
        if (segment->kind == LITERAL ? strcmp(segment->text, part) != 0 : *part == '\0') {
            return false;
        }
    }
    return pattern->n == path->n;
}

const char *route_param(const struct route_pattern *pattern, const struct route_path *path,
                        const char *name)
{
    for (size_t i = 0; i < pattern->n; i++) {
        const struct segment *segment = &pattern->segments[i];
        if (segment->kind != LITERAL && strcmp(segment->text, name) == 0) {
            return (segment->kind == REST ? path->text : path->parts) + path->starts[i];
        }
    }
    return NULL;
}
