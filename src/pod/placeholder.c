/* SPDX-License-Identifier: Apache-2.0 */

/* placeholder: the references of a command line that only the node can fill in.
 *
 * All others were resolved when the job was read; this is no template language.
 */
#include "pod/placeholder.h"

#include "base/buf.h"
#include "base/str.h"

#include <string.h>

static bool same(const char *name, size_t len, const char *want)
{
    return strlen(want) == len && memcmp(name, want, len) == 0;
}

/* Adds the value of the reference, or says that it is not ours. */
static bool fill(struct buf *out, const char *name, size_t len,
                 const struct placeholder_values *values)
{
    static const char ports[] = "thermos.ports[";
    const size_t ports_len = sizeof(ports) - 1;

    if (same(name, len, "mesos.instance")) {
        buf_addf(out, "%lld", (long long)values->instance);
    } else if (same(name, len, "mesos.hostname")) {
        buf_add_text(out, values->hostname);
    } else if (same(name, len, "thermos.task_id")) {
        buf_add_text(out, values->task_id);
    } else if (same(name, len, "thermos.user")) {
        buf_add_text(out, values->user);
    } else if (len > ports_len && memcmp(name, ports, ports_len) == 0 && name[len - 1] == ']') {
        for (size_t i = 0; i < values->n_ports; i++) {
            if (same(name + ports_len, len - ports_len - 1, values->ports[i].name)) {
                buf_addf(out, "%d", values->ports[i].number);
                return true;
            }
        }
        return false;
    } else {
        return false;
    }
    return true;
}

char *placeholder_fill(const char *text, const struct placeholder_values *values)
{
    CLEANUP_BUF out = { 0 };

    for (;;) {
        const char *open = strstr(text, "{{");
        const char *name = open ? open + 2 : NULL;
        size_t len = name ? strcspn(name, "{}") : 0;

        if (!open) {
            buf_add_text(&out, text);
            return buf_take(&out);
        }
        buf_add(&out, text, (size_t)(open - text));
        if (len > 0 && strncmp(name + len, "}}", 2) == 0 && fill(&out, name, len, values)) {
            text = name + len + 2;
        } else {
            /* One brace only: "{{{x}}" has its reference one further on. */
            buf_add_text(&out, "{");
            text = open + 1;
        }
    }
}
