/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"
#include "base/mem.h"
#include "http/httpd.h"

/* The bearer tokens of a server, from its token file. */
struct bearer_tokens;

/* See httpd_new() for the file's form.  ERR_CONFIG names the line. */
int bearer_load(const char *path, struct bearer_tokens **ret_tokens, struct err *err);
void bearer_free(struct bearer_tokens *tokens);
DEFINE_FREEP(struct bearer_tokens, bearer_free)

/* Whose token is it?  False for nobody's.  Takes the same time whichever byte is wrong. */
bool bearer_identify(const struct bearer_tokens *tokens, const char *token,
                     struct httpd_identity *ret_identity);
