/* SPDX-License-Identifier: Apache-2.0 */

/* netrc: one look into ~/.netrc.
 *
 * Words between white space, as ftp(1) reads them; a macdef goes to the next empty line.  No
 * quoting, and nothing is written.
 */

#include "client/netrc.h"

#include "base/buf.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

#include <string.h>
#include <sys/stat.h>

enum { FILE_CAP = 1 << 20 };

static const char BLANK[] = " \t\r\n";

/* The next word of *at, ended in place; NULL at the end. */
static char *next_word(char **at)
{
    char *word = *at + strspn(*at, BLANK);

    if (word[0] == 0) {
        return NULL;
    }
    *at = word + strcspn(word, BLANK);
    if (**at != 0) {
        *(*at)++ = 0;
    }
    return word;
}

static char *password_in(char *text, const char *host)
{
    char *at = text, *word = NULL;
    bool ours = false;

    while ((word = next_word(&at)) != NULL) {
        if (strcmp(word, "default") == 0) {
            ours = true;
            continue;
        }
        if (strcmp(word, "macdef") == 0) {
            char *end = strstr(at, "\n\n");

            at = end != NULL ? end : at + strlen(at);
            continue;
        }
        char *value = next_word(&at); /* Of machine, login, password, account. */

        if (value != NULL && strcmp(word, "machine") == 0) {
            ours = strcmp(value, host) == 0;
        } else if (value != NULL && ours && strcmp(word, "password") == 0) {
            return mem_strdup(value);
        }
    }
    return NULL;
}

char *netrc_password(const char *host)
{
    CLEANUP_BUF text = { 0 };
    const char *home = getenv("HOME");
    CLEANUP(mem_freep) char *path = home != NULL ? file_join(home, ".netrc") : NULL;
    struct stat st;
    struct err err = { 0 };

    if (path == NULL || stat(path, &st) < 0) {
        return NULL;
    }
    if ((st.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
        log_warn("%s is not used: others may read it", path);
        return NULL;
    }
    if (file_read(path, FILE_CAP, &text, &err) < 0) {
        log_warn("%s is not used: %s", path, err.msg);
        return NULL;
    }
    CLEANUP(mem_freep) char *copy = mem_strdup(buf_text(&text));

    return password_in(copy, host);
}
