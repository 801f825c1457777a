/* SPDX-License-Identifier: Apache-2.0 */

/* httpd_request: what a handler reads of its request, and the forms its answer can take.
 *
 * Not the sending: every answer ends in one of the functions of httpd.c.
 */

#include "base/json.h"
#include "base/mem.h"
#include "http/httpd_priv.h"
#include "http/problem.h"

#include <string.h>
#include <utlist.h>

enum { HTTP_UNSUPPORTED_MEDIA_TYPE = 415 };

/* ---- Reading ---- */

const char *httpd_method(const struct httpd_request *req)
{
    return req->method;
}

const char *httpd_path(const struct httpd_request *req)
{
    return req->path.text;
}

const char *httpd_id(const struct httpd_request *req)
{
    return req->id;
}

void *httpd_ctx(const struct httpd_request *req)
{
    return req->route->ctx != NULL ? req->route->ctx : req->httpd->options.ctx;
}

struct httpd *httpd_server(const struct httpd_request *req)
{
    return req->httpd;
}

const struct httpd_identity *httpd_identity(const struct httpd_request *req)
{
    return &req->identity;
}

const char *httpd_param(const struct httpd_request *req, const char *name)
{
    const char *value = route_param(req->pattern, &req->path, name);

    assert(value != NULL);
    return value;
}

const char *httpd_query_nth(const struct httpd_request *req, const char *key, size_t nth)
{
    for (size_t i = 0; i < req->n_args; i++) {
        if (strcmp(req->args[i].key, key) == 0 && nth-- == 0) {
            return req->args[i].value;
        }
    }
    return NULL;
}

const char *httpd_query(const struct httpd_request *req, const char *key)
{
    return httpd_query_nth(req, key, 0);
}

const char *httpd_body(const struct httpd_request *req, size_t *ret_len)
{
    *ret_len = req->body.len;
    return buf_text(&req->body);
}

static bool is_json_type(const char *type)
{
    size_t len = type != NULL ? strcspn(type, "; \t") : 0;

    return len == strlen("application/json") && strncasecmp(type, "application/json", len) == 0;
}

int httpd_json(struct httpd_request *req, json_t **ret_doc, struct err *err)
{
    const char *type = httpd_header(req, "Content-Type");

    if (!is_json_type(type)) {
        req->json_status = HTTP_UNSUPPORTED_MEDIA_TYPE;
        return err_set(err, ERR_INVALID, "the body's content type is %s, not application/json",
                       type != NULL ? type : "missing");
    }
    if (json_parse(buf_text(&req->body), req->body.len, req->httpd->options.max_body_bytes, ret_doc,
                   err) < 0) {
        return err_wrap(err, "the body");
    }
    return 0;
}

void httpd_set_data(struct httpd_request *req, void *data)
{
    req->data = data;
}

void *httpd_data(const struct httpd_request *req)
{
    return req->data;
}

bool httpd_is_gone(const struct httpd_request *req)
{
    return req->gone;
}

/* ---- Answering ---- */

void httpd_add_header(struct httpd_request *req, const char *name, const char *value)
{
    struct httpd_header *header = mem_alloc(sizeof *header);

    assert(strpbrk(value, "\r\n") == NULL);
    header->name = mem_strdup(name);
    header->value = mem_strdup(value);
    LL_APPEND(req->headers, header);
}

void httpd_reply_text(struct httpd_request *req, int status, const char *content_type,
                      const void *bytes, size_t len)
{
    char *copy = mem_alloc(len + 1);

    memcpy(copy, bytes, len);
    httpd_reply_bytes_take(req, status, content_type, copy, len);
}

void httpd_reply_json_take(struct httpd_request *req, int status, json_t *doc)
{
    char *text = json_text_ordered(doc);

    json_decref(doc);
    httpd_reply_bytes_take(req, status, "application/json", text, strlen(text));
}

void httpd_reply_problem(struct httpd_request *req, int status, const struct err *err)
{
    CLEANUP(json_freep) json_t *doc = problem_encode(err, status, req->path.text, req->id);
    char *text = json_text_ordered(doc);

    httpd_reply_bytes_take(req, status, "application/problem+json", text, strlen(text));
}

void httpd_reply_err(struct httpd_request *req, const struct err *err)
{
    int status = req->json_status != 0 ? req->json_status : err_http_status(err->code);

    httpd_reply_problem(req, status, err);
}

void httpd_refuse(struct httpd_request *req, int code, const char *why)
{
    struct err err = { 0 };

    err_setf(&err, code, "%s", why);
    httpd_reply_err(req, &err);
}
