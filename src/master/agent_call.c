/* SPDX-License-Identifier: Apache-2.0 */
/* agent_call: how an agent's interface is addressed.
 *
 * Not the calls themselves: each caller has its own httpc_call.
 */
#include "master/agent_call.h"

#include "base/file.h"
#include "base/str.h"

#include <ctype.h>
#include <string.h>

enum { TOKEN_FILE_MAX = 64 * 1024 };

static void add_encoded(struct buf *url, const char *text)
{
    for (const char *p = text; *p != '\0'; p++) {
        if (isalnum((unsigned char)*p) || strchr("-_.~", *p) != NULL) {
            buf_add(url, p, 1);
        } else {
            buf_addf(url, "%%%02X", (unsigned char)*p);
        }
    }
}

void agent_call_url(struct buf *url, const char *address, const char *const *segments)
{
    buf_clear(url);
    buf_addf(url, "http://%s/v1", address);
    for (; *segments != NULL; segments++) {
        buf_add_text(url, "/");
        add_encoded(url, *segments);
    }
}

void agent_call_query(struct buf *url, const char *key, const char *value)
{
    if (value != NULL) {
        buf_addf(url, "%c%s=", strchr(buf_text(url), '?') == NULL ? '?' : '&', key);
        add_encoded(url, value);
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
