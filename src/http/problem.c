/* SPDX-License-Identifier: Apache-2.0 */

/* problem: an error as an RFC 9457 document, and back, so that what a server found wrong reaches
 * the user's terminal in the server's own words.  Pure.
 *
 * Invariant: a code of base/err.h survives the way there and back; a document of a stranger's, or
 * none at all, still yields a code, from the HTTP status.
 */

#include "http/problem.h"

#include "base/json.h"
#include "base/str.h"

#include <ctype.h>
#include <string.h>

enum { MAX_PROBLEM_BYTES = 1024 * 1024 };

static const struct code_row {
    int code, status;
    const char *symbol;
} codes[] = {
#define X(name, value, http, cli, text) { name, http, #name },
    ERR_TABLE(X)
#undef X
};

/* The published name of a code: its symbol without ERR_, in lower case. */
static void code_name(const struct code_row *row, char *ret_name)
{
    size_t i = 0;

    for (const char *c = row->symbol + strlen("ERR_"); *c != '\0' && i < PROBLEM_NAME_SIZE - 1;
         c++) {
        ret_name[i++] = (char)tolower((unsigned char)*c);
    }
    ret_name[i] = '\0';
}

void problem_code_name(int code, char *ret_name)
{
    ret_name[0] = '\0';
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        if (codes[i].code == code) {
            code_name(&codes[i], ret_name);
        }
    }
}

json_t *problem_encode(const struct err *problem, int status, const char *instance,
                       const char *request_id)
{
    json_t *doc = json_object();
    char name[PROBLEM_NAME_SIZE];

    problem_code_name(problem->code, name);
    CLEANUP(mem_freep) char *type = str_printf("urn:davit:error:%s", name);
    json_put_str(doc, "type", type);
    json_put_str(doc, "title", err_text(problem->code));
    json_put_int(doc, "status", status);
    json_put_str(doc, "detail", problem->msg);
    json_put_str(doc, "instance", instance);
    json_put_str(doc, "code", name);
    json_put_str(doc, "request_id", request_id);
    return doc;
}

static int code_of_status(int status)
{
    /* Where several codes share a status, the plainest of them. */
    static const int plain[] = { ERR_INVALID,  ERR_CONFLICT, ERR_UNREACHABLE,
                                 ERR_INTERNAL, ERR_CONFIG,   ERR_NOTLEADER };

    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++) {
        if (err_http_status(plain[i]) == status) {
            return plain[i];
        }
    }
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        if (codes[i].status == status) {
            return codes[i].code;
        }
    }
    return status >= 400 && status < 500 ? ERR_INVALID : ERR_INTERNAL;
}

static int code_of_name(const char *name)
{
    char known[PROBLEM_NAME_SIZE];

    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        code_name(&codes[i], known);
        if (str_eq(known, name)) {
            return codes[i].code;
        }
    }
    return 0;
}

void problem_decode(const char *body, size_t len, int status, struct err *ret_problem)
{
    CLEANUP(json_freep) json_t *doc = NULL;
    struct err ignored = { 0 };

    if (json_parse(body, len, MAX_PROBLEM_BYTES, &doc, &ignored) < 0 || !json_is_object(doc)) {
        err_setf(ret_problem, code_of_status(status), "the server answered HTTP status %d", status);
        return;
    }
    int code = code_of_name(json_str_or(doc, "code", ""));
    const char *text = json_str_or(doc, "detail", json_str_or(doc, "title", NULL));
    if (code == 0) {
        code = code_of_status(status);
    }
    if (text == NULL) {
        err_setf(ret_problem, code, "the server answered HTTP status %d", status);
    } else {
        err_setf(ret_problem, code, "%s", text);
    }
}
