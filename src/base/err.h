/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <assert.h>

/* One code per thing a caller can act on.  Each row also fixes the HTTP
 * status, the CLI exit status (the Aurora client's published ones where they
 * exist, davit's own from 11 on) and the default text, so no room re-maps it. */
/* clang-format off */
#define ERR_TABLE(X)                                                            \
    X(ERR_INVALID,     -1, 400, 6, "invalid request")                           \
    X(ERR_NOTFOUND,    -2, 404, 14, "no such object")                           \
    X(ERR_CONFLICT,    -3, 409, 13, "conflicts with the present state")         \
    X(ERR_NOTLEADER,   -4, 503, 7, "this master is not the leader")             \
    X(ERR_UNREACHABLE, -5, 502, 7, "peer cannot be reached")                    \
    X(ERR_TIMEOUT,     -6, 504, 9, "deadline passed")                           \
    X(ERR_CANCELED,    -7, 503, 130, "canceled")                                \
    X(ERR_TOOBIG,      -8, 413, 6, "larger than the configured cap")            \
    X(ERR_IO,          -9, 500, 20, "I/O error")                                \
    X(ERR_INTERNAL,   -10, 500, 20, "internal error")                           \
    X(ERR_CONFIG,     -11, 422, 3, "invalid configuration")                     \
    X(ERR_REFUSED,    -12, 422, 12, "refused by a hook")                        \
    X(ERR_DENIED,     -13, 403, 30, "not allowed")                              \
    X(ERR_UNAUTH,     -14, 401, 30, "not authenticated")                        \
    X(ERR_EXISTS,     -15, 409, 13, "exists already")                           \
    X(ERR_EOF,        -16, 502, 7, "peer closed the connection")                \
    X(ERR_UNSUPPORTED,-17, 501, 6, "not supported")                             \
    X(ERR_FAILED,     -18, 500, 4, "the command failed")                        \
    X(ERR_USAGE,      -19, 400, 2, "bad usage")                                 \
    X(ERR_METHOD,     -20, 405, 6, "method not allowed")
/* clang-format on */

enum err_code {
#define X(name, value, http, cli, text) name = (value),
    ERR_TABLE(X)
#undef X
};

struct err {
    int code;
    char msg[512];
};

/* Both give back err->code, so that `return err_set(...)` is one line.  They are
 * macros so that the analyzer sees err_code() and knows the result is negative. */
#define err_set(err, code, ...) (err_setf((err), (code), __VA_ARGS__), err_code(err))
#define err_wrap(err, ...)      (err_wrapf((err), __VA_ARGS__), err_code(err))

/* Fill err. */
void err_setf(struct err *err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4), nonnull(1)));

/* Put what the caller was doing in front: "load job web: disk full". */
void err_wrapf(struct err *err, const char *fmt, ...)
    __attribute__((format(printf, 2, 3), nonnull(1)));

static inline int err_code(const struct err *err)
{
    assert(err->code < 0);
    return err->code;
}

const char *err_text(int code);
int err_http_status(int code);
int err_exit_status(int code);
