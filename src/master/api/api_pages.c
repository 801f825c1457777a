/* SPDX-License-Identifier: Apache-2.0 */
/* api_pages: what a browser finds at the addresses that verbs print.
 *
 * Those addresses are Aurora's ("/scheduler/ROLE/ENV/JOB"), and people keep them.  A page says
 * where to look; it shows nothing of the cluster but its name, because a browser sends no token.
 */
#include "master/api/master_api_priv.h"

#include "base/buf.h"
#include "base/str.h"

#include <string.h>

enum { KEY_PARTS = 3 }; /* Behind the cluster: role, env, name. */

/* "CLUSTER[/ROLE[/ENV[/NAME]]]" of the address, to be shown; how many parts there were. */
static size_t read_key(const char *cluster, const char *path, struct buf *key)
{
    CLEANUP(mem_freep) char *shown = str_escape(path);
    CLEANUP(strv_freep) char **parts = str_split(shown, "/"); /* "", "scheduler", role, ... */
    size_t n = 0;

    buf_add_text(key, cluster);
    for (size_t i = 2; parts[0] != NULL && parts[1] != NULL && parts[i] != NULL; i++) {
        if (n < KEY_PARTS && parts[i][0] != '\0') {
            buf_addf(key, "/%s", parts[i]);
            n++;
        }
    }
    return n;
}

void api_get_page(struct httpd_request *req)
{
    const struct master_api *api = httpd_ctx(req);
    CLEANUP_BUF key = { 0 };
    struct buf text = { 0 };

    size_t parts = read_key(api->options.cluster, httpd_path(req), &key);

    buf_addf(&text,
             "davit cluster %s\n\n"
             "This davit has no dashboard. What Aurora showed here is told by\n\n"
             "    davit job status '%s'\n",
             api->options.cluster, buf_text(&key));
    if (parts == KEY_PARTS) {
        buf_addf(&text,
                 "    davit op list --job '%s'\n"
                 "    davit hook log --job '%s'\n\n"
                 "and, with a token, by GET /v1/jobs/%s and GET /v1/tasks?job=%s\n",
                 buf_text(&key), buf_text(&key), buf_text(&key), buf_text(&key));
    } else {
        buf_addf(&text,
                 "    davit job list '%s'\n\n"
                 "and, with a token, by GET /v1/jobs and GET /v1/tasks\n",
                 buf_text(&key));
    }
    httpd_add_header(req, "X-Content-Type-Options", "nosniff");
    size_t len = text.len;
    httpd_reply_bytes_take(req, 200, "text/plain; charset=utf-8", buf_take(&text), len);
}
