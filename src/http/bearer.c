/* SPDX-License-Identifier: Apache-2.0 */

/* bearer: who may call a server over TCP, as its token file says.
 *
 * Not the decision what a caller may do: routes name the role they ask for, and handlers of one
 * Aurora role's objects look at the identity themselves.
 *
 * Failures: a file that others can read or a line that is not understood is refused as a whole; a
 * server never starts with half of its tokens.
 */

#include "http/bearer.h"

#include "base/file.h"
#include "base/str.h"

#include <string.h>
#include <sys/stat.h>

enum { MAX_FILE_BYTES = 1024 * 1024, MIN_TOKEN_LEN = 16 };

struct token {
    char *secret;
    char *name;
    char *role_name;
    enum httpd_role role;
};

struct bearer_tokens {
    struct token *all;
    size_t n;
};

static int parse_role(const char *word, struct token *token, struct err *err)
{
    if (word == NULL || str_eq(word, "admin")) {
        token->role = HTTPD_ADMIN;
    } else if (str_eq(word, "operator")) {
        token->role = HTTPD_OPERATOR;
    } else if (str_eq(word, "viewer")) {
        token->role = HTTPD_VIEWER;
    } else if (str_starts(word, "role:") && word[strlen("role:")] != '\0') {
        token->role = HTTPD_ROLE;
        token->role_name = mem_strdup(word + strlen("role:"));
    } else {
        return err_set(err, ERR_CONFIG, "unknown role '%s'", word);
    }
    return 0;
}

static int parse_line(struct bearer_tokens *tokens, char *line, struct err *err)
{
    char *rest = line;

    line[strcspn(line, "#")] = '\0';
    const char *secret = strtok_r(line, " \t\r", &rest);
    const char *name = secret != NULL ? strtok_r(NULL, " \t\r", &rest) : NULL;
    const char *role = name != NULL ? strtok_r(NULL, " \t\r", &rest) : NULL;
    if (secret == NULL) {
        return 0;
    }
    if (role != NULL && strtok_r(NULL, " \t\r", &rest) != NULL) {
        return err_set(err, ERR_CONFIG, "more than a token, a name and a role");
    }
    if (strlen(secret) < MIN_TOKEN_LEN) {
        return err_set(err, ERR_CONFIG, "a token has at least %d characters", MIN_TOKEN_LEN);
    }
    tokens->all = realloc(tokens->all, (tokens->n + 1) * sizeof *tokens->all);
    if (tokens->all == NULL) {
        abort();
    }
    struct token *token = &tokens->all[tokens->n++];
    *token = (struct token){ .secret = mem_strdup(secret),
                             .name = mem_strdup(name != NULL ? name : "token") };
    return parse_role(role, token, err);
}

static int check_mode(const char *path, struct err *err)
{
    struct stat st;

    if (stat(path, &st) == 0 && (st.st_mode & (S_IRWXO | S_IWGRP)) != 0) {
        return err_set(err, ERR_CONFIG, "others can read or write it (mode %03o)",
                       (unsigned)st.st_mode & 0777u);
    }
    return 0;
}

int bearer_load(const char *path, struct bearer_tokens **ret_tokens, struct err *err)
{
    CLEANUP(bearer_freep) struct bearer_tokens *tokens = mem_alloc(sizeof *tokens);
    CLEANUP_BUF text = { 0 };

    if (check_mode(path, err) < 0 || file_read(path, MAX_FILE_BYTES, &text, err) < 0) {
        return err_wrap(err, "token file %s", path);
    }
    CLEANUP(strv_freep) char **lines = str_split(buf_text(&text), "\n");
    for (size_t i = 0; lines[i] != NULL; i++) {
        if (parse_line(tokens, lines[i], err) < 0) {
            return err_wrap(err, "token file %s, line %zu", path, i + 1);
        }
    }
    if (tokens->n == 0) {
        return err_set(err, ERR_CONFIG, "token file %s: no token in it", path);
    }
    *ret_tokens = TAKE(tokens);
    return 0;
}

void bearer_free(struct bearer_tokens *tokens)
{
    if (tokens == NULL) {
        return;
    }
    for (size_t i = 0; i < tokens->n; i++) {
        explicit_bzero(tokens->all[i].secret, strlen(tokens->all[i].secret));
        free(tokens->all[i].secret);
        free(tokens->all[i].name);
        free(tokens->all[i].role_name);
    }
    free(tokens->all);
    free(tokens);
}

static bool same_secret(const char *a, const char *b)
{
    size_t len = strlen(a);
    volatile unsigned char differ = 0;

    if (len != strlen(b)) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        differ |= (unsigned char)(a[i] ^ b[i]);
    }
    return differ == 0;
}

bool bearer_identify(const struct bearer_tokens *tokens, const char *token,
                     struct httpd_identity *ret_identity)
{
    const struct token *found = NULL;

    for (size_t i = 0; i < tokens->n; i++) {
        if (same_secret(tokens->all[i].secret, token)) {
            found = &tokens->all[i];
        }
    }
    if (found == NULL) {
        return false;
    }
    *ret_identity = (struct httpd_identity){ .name = found->name,
                                             .role = found->role,
                                             .role_name = found->role_name };
    return true;
}
