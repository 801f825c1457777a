/* SPDX-License-Identifier: Apache-2.0 */

/* textdiff: a unified diff of two texts.
 *
 * Pure.  Between the lines that both begin and end with, the longest common
 * subsequence is looked for by the usual table; where that would be larger than
 * CELLS_MAX the middle counts as replaced, which is true too, only longer.
 */

#include "cli/textdiff.h"

#include "base/buf.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { CONTEXT = 3, CELLS_MAX = 4 * 1024 * 1024 };

struct text {
    char **lines;
    size_t n;
};

/* One line of the result. */
struct edit {
    char sign; /* ' ', '-' or '+' */
    const char *line;
};

struct diff {
    struct edit *edits;
    size_t n;
};

static struct text split(const char *source)
{
    struct text text = { str_split(source, "\n"), 0 };

    text.n = strv_len(text.lines);
    if (text.n > 0 && text.lines[text.n - 1][0] == 0) {
        text.n--; /* What follows the last newline is no line. */
    }
    return text;
}

static void add(struct diff *diff, char sign, const char *line)
{
    diff->edits[diff->n++] = (struct edit){ sign, line };
}

/* lengths[i][j] of the longest common subsequence of a's from i on and b's from j on. */
static void fill(uint32_t *lengths, char **a, size_t n, char **b, size_t m)
{
    size_t width = m + 1;

    for (size_t i = n; i-- > 0;) {
        for (size_t j = m; j-- > 0;) {
            uint32_t down = lengths[(i + 1) * width + j], right = lengths[i * width + j + 1];

            lengths[i * width + j] = strcmp(a[i], b[j]) == 0 ? lengths[(i + 1) * width + j + 1] + 1
                                                             : (down >= right ? down : right);
        }
    }
}

static void compare_middle(struct diff *diff, char **a, size_t n, char **b, size_t m)
{
    CLEANUP(mem_freep) uint32_t *lengths = NULL;
    size_t i = 0, j = 0, width = m + 1;

    if (n > 0 && m > 0 && (n + 1) <= CELLS_MAX / (m + 1)) {
        lengths = mem_alloc((n + 1) * (m + 1) * sizeof *lengths);
        fill(lengths, a, n, b, m);
    }
    while (i < n || j < m) {
        if (lengths != NULL && i < n && j < m && strcmp(a[i], b[j]) == 0) {
            add(diff, ' ', a[i]);
            i++;
            j++;
        } else if (i < n && (lengths == NULL || j == m ||
                             lengths[(i + 1) * width + j] >= lengths[i * width + j + 1])) {
            add(diff, '-', a[i++]);
        } else {
            add(diff, '+', b[j++]);
        }
    }
}

static void text_fini(struct text *text)
{
    strv_free(text->lines);
}

static void compare(struct diff *diff, const struct text *a, const struct text *b)
{
    size_t head = 0, tail = 0;

    while (head < a->n && head < b->n && strcmp(a->lines[head], b->lines[head]) == 0) {
        add(diff, ' ', a->lines[head++]);
    }
    while (tail < a->n - head && tail < b->n - head &&
           strcmp(a->lines[a->n - 1 - tail], b->lines[b->n - 1 - tail]) == 0) {
        tail++;
    }
    compare_middle(diff, a->lines + head, a->n - head - tail, b->lines + head, b->n - head - tail);
    for (size_t i = a->n - tail; i < a->n; i++) {
        add(diff, ' ', a->lines[i]);
    }
}

/* The end of the hunk that begins with the change at `first`: where more than two contexts of equal
 * lines follow. */
static size_t end_of_hunk(const struct diff *diff, size_t first)
{
    size_t equal = 0, i = first;

    for (; i < diff->n && equal <= 2 * (size_t)CONTEXT; i++) {
        equal = diff->edits[i].sign == ' ' ? equal + 1 : 0;
    }
    return equal > CONTEXT ? i - equal + CONTEXT : i;
}

/* "12,3", and "12" for one line, as diff has it; `before` lines stand before the hunk. */
static void add_range(struct buf *out, char sign, size_t before, size_t n)
{
    buf_addf(out, "%c%zu", sign, n > 0 ? before + 1 : before);
    if (n != 1) {
        buf_addf(out, ",%zu", n);
    }
}

static void count(const struct diff *diff, size_t from, size_t to, size_t *ret_old, size_t *ret_new)
{
    *ret_old = 0;
    *ret_new = 0;
    for (size_t i = from; i < to; i++) {
        *ret_old += diff->edits[i].sign != '+';
        *ret_new += diff->edits[i].sign != '-';
    }
}

static void print_hunk(struct buf *out, const struct diff *diff, size_t from, size_t to)
{
    size_t old_before, new_before, old_lines, new_lines;

    count(diff, 0, from, &old_before, &new_before);
    count(diff, from, to, &old_lines, &new_lines);
    buf_add_text(out, "@@ ");
    add_range(out, '-', old_before, old_lines);
    buf_add_text(out, " ");
    add_range(out, '+', new_before, new_lines);
    buf_add_text(out, " @@\n");
    for (size_t i = from; i < to; i++) {
        buf_addf(out, "%c%s\n", diff->edits[i].sign, diff->edits[i].line);
    }
}

char *textdiff_unified(const char *old_name, const char *old_text, const char *new_name,
                       const char *new_text)
{
    CLEANUP(text_fini) struct text a = split(old_text);
    CLEANUP(text_fini) struct text b = split(new_text);
    CLEANUP(mem_freep) struct edit *edits = mem_alloc((a.n + b.n + 1) * sizeof *edits);
    struct diff diff = { edits, 0 };
    struct buf out = { 0 };

    compare(&diff, &a, &b);
    for (size_t i = 0; i < diff.n;) {
        if (diff.edits[i].sign == ' ') {
            i++;
            continue;
        }
        size_t end = end_of_hunk(&diff, i);

        if (out.len == 0) {
            buf_addf(&out, "--- %s\n+++ %s\n", old_name, new_name);
        }
        print_hunk(&out, &diff, i > CONTEXT ? i - CONTEXT : 0, end);
        i = end;
    }
    return buf_take(&out);
}
