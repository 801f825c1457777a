/* SPDX-License-Identifier: Apache-2.0 */

/* instances: sets of instances as the Aurora client writes them. */

#include "cli/instances.h"

#include "base/buf.h"

char *instances_list(const json_t *ids)
{
    struct buf out = { 0 };
    size_t i;
    json_t *id;

    buf_add_text(&out, "[");
    json_array_foreach(ids, i, id)
    {
        buf_addf(&out, "%s%lld", i > 0 ? ", " : "", (long long)json_integer_value(id));
    }
    buf_add_text(&out, "]");
    return buf_take(&out);
}

char *instances_ranges(const json_t *ids)
{
    struct buf out = { 0 };
    size_t n = json_array_size(ids);

    for (size_t i = 0; i < n;) {
        long long first = json_integer_value(json_array_get(ids, i));
        long long last = first;

        for (i++; i < n && json_integer_value(json_array_get(ids, i)) == last + 1; i++) {
            last++;
        }
        buf_addf(&out, "%s[%lld", out.len > 0 ? ", " : "", first);
        if (last > first) {
            buf_addf(&out, "-%lld", last);
        }
        buf_add_text(&out, "]");
    }
    return buf_take(&out);
}
