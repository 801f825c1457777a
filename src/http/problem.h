/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"

#include <jansson.h>
#include <stddef.h>

/* application/problem+json (RFC 9457) of an error: type, title, status, detail,
 * instance, code, request_id.  instance and request_id may be NULL. */
json_t *problem_encode(const struct err *problem, int status, const char *instance,
                       const char *request_id);

/* What a problem document says: its code (by status when the code is unknown or absent) and
 * detail.  Anything else than a problem document yields the status alone. */
void problem_decode(const char *body, size_t len, int status, struct err *ret_problem);

/* "notfound" for ERR_NOTFOUND, "" for no code of ours; ret_name holds PROBLEM_NAME_SIZE. */
enum { PROBLEM_NAME_SIZE = 32 };
void problem_code_name(int code, char *ret_name);
