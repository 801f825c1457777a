/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

/* The request types of ZooKeeper 3.8. */
enum jute_op {
    JUTE_NOTIFY = 0,
    JUTE_CREATE = 1,
    JUTE_DELETE = 2,
    JUTE_EXISTS = 3,
    JUTE_GET_DATA = 4,
    JUTE_SET_DATA = 5,
    JUTE_GET_ACL = 6,
    JUTE_SET_ACL = 7,
    JUTE_GET_CHILDREN = 8,
    JUTE_SYNC = 9,
    JUTE_PING = 11,
    JUTE_GET_CHILDREN2 = 12,
    JUTE_CHECK = 13,
    JUTE_MULTI = 14,
    JUTE_CREATE2 = 15,
    JUTE_RECONFIG = 16,
    JUTE_CHECK_WATCHES = 17,
    JUTE_REMOVE_WATCHES = 18,
    JUTE_CREATE_CONTAINER = 19,
    JUTE_DELETE_CONTAINER = 20,
    JUTE_CREATE_TTL = 21,
    JUTE_MULTI_READ = 22,
    JUTE_AUTH = 100,
    JUTE_SET_WATCHES = 101,
    JUTE_SASL = 102,
    JUTE_GET_EPHEMERALS = 103,
    JUTE_GET_ALL_CHILDREN_NUMBER = 104,
    JUTE_SET_WATCHES2 = 105,
    JUTE_ADD_WATCH = 106,
    JUTE_CLOSE = -11,
    JUTE_ERROR = -1, /* only in the results of a multi */
};

/* The answers that the store gives; their numbers are ZooKeeper's. */
enum jute_code {
    Z_OK = 0,
    Z_RUNTIMEINCONSISTENCY = -2,
    Z_MARSHALLINGERROR = -5,
    Z_UNIMPLEMENTED = -6,
    Z_BADARGUMENTS = -8,
    Z_NONODE = -101,
    Z_NOAUTH = -102,
    Z_BADVERSION = -103,
    Z_NOCHILDRENFOREPHEMERALS = -108,
    Z_NODEEXISTS = -110,
    Z_NOTEMPTY = -111,
    Z_INVALIDACL = -114,
    Z_AUTHFAILED = -115,
    Z_NOWATCHER = -121,
};

enum jute_event {
    JUTE_NODE_CREATED = 1,
    JUTE_NODE_DELETED = 2,
    JUTE_NODE_DATA_CHANGED = 3,
    JUTE_NODE_CHILDREN_CHANGED = 4,
};

enum { JUTE_PASSWD_SIZE = 16, JUTE_XID_EVENT = -1 };

/* len -1 is ZooKeeper's null, which is not the same as no bytes. */
struct jute_bytes {
    char *data;
    int32_t len;
};

struct jute_acl {
    int32_t perms;
    char *scheme;
    char *id;
};

struct jute_strings {
    char **items;
    int32_t n;
};

struct jute_stat {
    int64_t czxid, mzxid, pzxid, ctime, mtime, owner;
    int32_t version, cversion, aversion, data_len, n_children;
};

/* One operation; which fields are set depends on type. */
struct jute_call {
    int32_t type;
    bool nul_text; /* A string holds a NUL byte, which C text cannot carry. */
    bool watch;
    int32_t version; /* also the watch type of CHECK_WATCHES and REMOVE_WATCHES */
    int32_t flags;
    char *path;
    struct jute_bytes data;
    struct jute_acl *acl;
    int32_t n_acl;
};

struct jute_request {
    int32_t xid;
    int32_t type;
    struct jute_call *calls; /* one, or those of a multi */
    size_t n_calls;
    int64_t relative_zxid;          /* SET_WATCHES */
    struct jute_strings watches[5]; /* data, exist, child, persistent, recursive */
    char *scheme;                   /* AUTH */
    struct jute_bytes auth;
};

struct jute_connect {
    int64_t last_zxid;
    int32_t timeout_ms;
    int64_t session;
    char passwd[JUTE_PASSWD_SIZE];
    bool has_passwd; /* it was JUTE_PASSWD_SIZE bytes long */
    bool has_readonly;
};

/* Result of one operation of a multi.  type JUTE_ERROR carries code. */
struct jute_result {
    int32_t type;
    int32_t code;
    char *path;
    struct jute_stat stat;
};

/* Read a frame (without its length).  ERR_INVALID when it is malformed: nothing
 * larger than the frame itself is ever allocated for it. */
int jute_decode_connect(const char *frame, size_t len, struct jute_connect *ret_connect,
                        struct err *err);

/* First the header alone, so that a malformed body can still be answered. */
int jute_decode_header(const char *frame, size_t len, int32_t *ret_xid, int32_t *ret_type,
                       struct err *err);

/* A whole request of a zeroed struct; ERR_UNSUPPORTED for a type without a known
 * layout.  On failure, too, request takes jute_request_fini(). */
int jute_decode(const char *frame, size_t len, struct jute_request *request, struct err *err);
void jute_request_fini(struct jute_request *request);

/* Append one frame, its length in front, to out. */
void jute_put_connect(struct buf *out, int32_t timeout_ms, int64_t session, const char *passwd,
                      bool with_readonly);
void jute_put_header(struct buf *out, int32_t xid, int64_t zxid, int32_t code);
void jute_put_event(struct buf *out, enum jute_event event, const char *path);
void jute_put_path(struct buf *out, int32_t xid, int64_t zxid, const char *path);
void jute_put_path_stat(struct buf *out, int32_t xid, int64_t zxid, const char *path,
                        const struct jute_stat *stat);
void jute_put_stat(struct buf *out, int32_t xid, int64_t zxid, const struct jute_stat *stat);
void jute_put_data(struct buf *out, int32_t xid, int64_t zxid, const struct jute_bytes *data,
                   const struct jute_stat *stat);
/* stat NULL: the short form, without it. */
void jute_put_children(struct buf *out, int32_t xid, int64_t zxid, const struct jute_strings *names,
                       const struct jute_stat *stat);
void jute_put_acl(struct buf *out, int32_t xid, int64_t zxid, const struct jute_acl *acl,
                  int32_t n_acl, const struct jute_stat *stat);
void jute_put_multi(struct buf *out, int32_t xid, int64_t zxid, const struct jute_result *results,
                    size_t n_results);

/* What a client sends; used by `davit-store copy` and by tests. */
void jute_put_connect_request(struct buf *out, const struct jute_connect *connect);
void jute_put_call(struct buf *out, int32_t xid, const struct jute_call *call);

/* What a client reads. */
struct jute_reply {
    int32_t xid;
    int64_t zxid;
    int32_t code;
    char *path;
    struct jute_bytes data;
    struct jute_stat stat;
    struct jute_strings names;
    struct jute_acl *acl;
    int32_t n_acl;
};

/* type is the request's: CREATE, GET_DATA, SET_DATA, GET_CHILDREN, GET_ACL or a
 * request whose reply has no body.  ERR_INVALID when malformed. */
int jute_decode_reply(const char *frame, size_t len, int32_t type, struct jute_reply *ret_reply,
                      struct err *err);
void jute_reply_fini(struct jute_reply *reply);
int jute_decode_connect_reply(const char *frame, size_t len, int32_t *ret_timeout_ms,
                              int64_t *ret_session, struct err *err);

/* Free n_acl entries and the array. */
void jute_acl_free(struct jute_acl *acl, int32_t n_acl);
