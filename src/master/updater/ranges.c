/* SPDX-License-Identifier: Apache-2.0 */
/* ranges: sets of instance numbers as short text.
 *
 * Not a set: nothing is sorted and nothing looked up; whoever reads it knows what for.
 */
#include "master/updater/ranges.h"

#include "base/str.h"

#include <string.h>

void ranges_fini(struct ranges *ranges)
{
    buf_fini(&ranges->text);
}

static void flush(struct ranges *ranges)
{
    const char *comma = ranges->text.len > 0 ? "," : "";

    if (ranges->first < 0) {
        return;
    }
    if (ranges->first == ranges->last) {
        buf_addf(&ranges->text, "%s%d", comma, ranges->first);
    } else {
        buf_addf(&ranges->text, "%s%d-%d", comma, ranges->first, ranges->last);
    }
    ranges->first = -1;
}

void ranges_add(struct ranges *ranges, int number)
{
    if (ranges->first >= 0 && number == ranges->last + 1) {
        ranges->last = number;
        return;
    }
    flush(ranges);
    ranges->first = ranges->last = number;
}

const char *ranges_text(struct ranges *ranges)
{
    flush(ranges);
    return buf_text(&ranges->text);
}

int ranges_each(const char *text, int max, ranges_fn fn, void *data, struct err *err)
{
    CLEANUP(strv_freep) char **parts = NULL;

    if (text[0] == '\0') {
        return 0;
    }
    parts = str_split(text, ",");
    for (char **part = parts; *part != NULL; part++) {
        char *dash = strchr(*part, '-');
        int64_t first, last;

        if (dash != NULL) {
            *dash = '\0';
        }
        if (str_to_int(*part, 0, max, "an instance", &first, err) < 0) {
            return err->code;
        }
        last = first;
        if (dash != NULL && str_to_int(dash + 1, first, max, "an instance", &last, err) < 0) {
            return err->code;
        }
        for (int64_t i = first; i <= last; i++) {
            fn((int)i, data);
        }
    }
    return 0;
}
