/* SPDX-License-Identifier: Apache-2.0 */

/* preview: the summary before an update, and the text of job diff.
 *
 * What makes a task a different task is the master's to say; here its answer is
 * worded.  Configurations are compared as JSON with sorted keys, a member a line,
 * without `instances` and `update_config`, which belong to no task.
 */

#include "cli/preview.h"

#include "base/json.h"
#include "base/str.h"
#include "cli/diffviewer.h"
#include "cli/instances.h"
#include "cli/operation.h"

#include <stdio.h>
#include <string.h>

int preview_ask(struct cli *cli, struct client *client, const json_t *job, const json_t *instances,
                json_t **ret_diff, struct err *err)
{
    CLEANUP(json_freep) json_t *body = json_object();

    json_put_take(body, "job", json_incref((json_t *)job));
    json_put_take(body, "instances",
                  instances != NULL ? json_incref((json_t *)instances) : json_null());
    return operation_request(cli, client, "POST", "/v1/job-diff", body, ret_diff, err);
}

static void print_set(const char *what, const json_t *ids)
{
    CLEANUP(mem_freep) char *ranges = instances_ranges(ids);

    if (json_array_size(ids) > 0) {
        (void)printf("%s instances: %s\n", what, ranges);
    }
}

/* Only ASCII that shows: a job is somebody else's text. */
static char *config_text(const json_t *job)
{
    CLEANUP(json_freep) json_t *config = json_copy((json_t *)job);
    CLEANUP(mem_freep) char *text = NULL;

    (void)json_object_del(config, "instances");
    (void)json_object_del(config, "update_config");
    text = json_dumps(config, JSON_INDENT(2) | JSON_SORT_KEYS | JSON_ENSURE_ASCII |
                                  JSON_REAL_PRECISION(15));
    for (char *c = strchr(text, '\x7f'); c != NULL; c = strchr(c, '\x7f')) {
        *c = '?'; /* The one control character that JSON leaves as it is. */
    }
    return str_printf("%s\n", text);
}

static void print_diffs(const json_t *from, const json_t *job)
{
    CLEANUP(mem_freep) char *new_text = config_text(job);
    size_t i;
    json_t *old;

    json_array_foreach(from, i, old)
    {
        CLEANUP(mem_freep) char *old_text = config_text(json_object_get(old, "job"));

        print_set("update", json_object_get(old, "instances"));
        (void)printf("with diff:\n\n");
        diffviewer_show(old_text, new_text);
        (void)printf("\n");
    }
}

void preview_print(const json_t *diff, const json_t *job)
{
    (void)printf("This job update will:\n");
    print_set("add", json_object_get(diff, "add"));
    print_set("remove", json_object_get(diff, "remove"));
    if (job != NULL) {
        print_diffs(json_object_get(diff, "from"), job);
    } else {
        print_set("update", json_object_get(diff, "update"));
    }
    print_set("not change", json_object_get(diff, "unchanged"));
}
