/* SPDX-License-Identifier: Apache-2.0 */
/* agent_call: how an agent's interface is addressed.
 *
 * Not the calls themselves: each caller has its own httpc_call.
 */
#include "master/api/agent_call.h"

#include "base/file.h"
#include "base/str.h"

#include <ctype.h>
#include <string.h>

enum { TOKEN_FILE_MAX = 64 * 1024 };

void agent_call_url(struct buf *url, const char *address, const char *const *segments)
{
    buf_clear(url);
    buf_addf(url, "http://%s/v1", address);
    for (; *segments != NULL; segments++) {
        buf_add_text(url, "/");
        buf_add_uri(url, *segments);
    }
}

void agent_call_query(struct buf *url, const char *key, const char *value)
{
    if (value != NULL) {
        buf_addf(url, "%c%s=", strchr(buf_text(url), '?') == NULL ? '?' : '&', key);
        buf_add_uri(url, value);
    }
}

int agent_call_token(const char *path, char **ret_token, struct err *err)
{
    CLEANUP_BUF text = { 0 };
    const char *line;

    if (path == NULL) {
        *ret_token = NULL;
        return 0;
    }
    if (file_read(path, TOKEN_FILE_MAX, &text, err) < 0) {
        return err_wrap(err, "read the token");
    }
    line = buf_text(&text);
    while (*line == '#' || isspace((unsigned char)*line)) {
        line += *line == '#' ? strcspn(line, "\n") : 1;
    }
    if (*line == '\0') {
        return err_set(err, ERR_CONFIG, "%s has no token", path);
    }
    *ret_token = mem_strndup(line, strcspn(line, " \t\r\n"));
    return 0;
}
