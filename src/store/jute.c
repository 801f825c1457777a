/* SPDX-License-Identifier: Apache-2.0 */

/* jute: ZooKeeper's wire records, read and written by Apache's own codecs.
 *
 * Not a protocol: it knows what a record looks like, not what it means.
 *
 * Happy path: a frame is walked once by check(), against the layout of its
 * type, before the codecs see it; then they copy its fields out, and those
 * move into our own structs, so that no other file needs Apache's headers.
 * Failures: the codecs trust counts and allocate before they look (a vector of
 * 2^31 entries would be 16 GB), so whatever check() does not like is
 * ERR_INVALID and never reaches them.
 * Invariant: after check() every count is at most the frame's length.
 */

#include "store/jute.h"

#include <arpa/inet.h>
#include <string.h>
#include <zookeeper/recordio.h>
#include <zookeeper/zookeeper.jute.h>

/* Layout of a body: s string, b bytes, i int, l long, z bool, a ACL list,
 * v list of strings. */
static const struct layout {
    int32_t type;
    const char *fields;
} LAYOUTS[] = {
    { JUTE_CREATE, "sbai" },
    { JUTE_CREATE2, "sbai" },
    { JUTE_CREATE_CONTAINER, "sbai" },
    { JUTE_CREATE_TTL, "sbail" },
    { JUTE_DELETE, "si" },
    { JUTE_EXISTS, "sz" },
    { JUTE_GET_DATA, "sz" },
    { JUTE_SET_DATA, "sbi" },
    { JUTE_GET_ACL, "s" },
    { JUTE_SET_ACL, "sai" },
    { JUTE_GET_CHILDREN, "sz" },
    { JUTE_GET_CHILDREN2, "sz" },
    { JUTE_SYNC, "s" },
    { JUTE_CHECK, "si" },
    { JUTE_CHECK_WATCHES, "si" },
    { JUTE_REMOVE_WATCHES, "si" },
    { JUTE_AUTH, "isb" },
    { JUTE_SET_WATCHES, "lvvv" },
    { JUTE_SET_WATCHES2, "lvvvvv" },
    { JUTE_PING, "" },
    { JUTE_CLOSE, "" },
};

static const char *layout_of(int32_t type)
{
    for (size_t i = 0; i < sizeof LAYOUTS / sizeof LAYOUTS[0]; i++) {
        if (LAYOUTS[i].type == type) {
            return LAYOUTS[i].fields;
        }
    }
    return NULL;
}

struct cursor {
    const char *at;
    size_t left;
    bool nul_text;  /* met a string with a NUL byte in it */
    bool null_text; /* met a null string */
    bool fix;       /* at is our own copy: make null strings empty */
};

static bool take(struct cursor *cur, size_t n)
{
    if (cur->left < n) {
        return false;
    }
    cur->at += n;
    cur->left -= n;
    return true;
}

static bool take_int(struct cursor *cur, int32_t *ret_value)
{
    uint32_t raw = 0;

    if (cur->left < sizeof raw) {
        return false;
    }
    memcpy(&raw, cur->at, sizeof raw);
    *ret_value = (int32_t)ntohl(raw);
    return take(cur, sizeof raw);
}

/* Null strings, which kazoo sends for empty ones, are more than the codecs take. */
static bool take_string(struct cursor *cur)
{
    char *start = (char *)(uintptr_t)cur->at;
    int32_t len = 0;

    if (!take_int(cur, &len)) {
        return false;
    }
    if (len == -1) {
        cur->null_text = true;
        if (cur->fix) {
            memset(start, 0, sizeof len);
        }
        return true;
    }
    if (len < 0 || (size_t)len > cur->left) {
        return false;
    }
    if (memchr(cur->at, 0, (size_t)len) != NULL) {
        cur->nul_text = true;
    }
    return take(cur, (size_t)len);
}

static bool take_bytes(struct cursor *cur)
{
    int32_t len = 0;

    return take_int(cur, &len) && (len == -1 || (len >= 0 && take(cur, (size_t)len)));
}

static bool take_list(struct cursor *cur, bool acl)
{
    int32_t count = 0;

    if (!take_int(cur, &count) || count < 0) {
        return false;
    }
    for (int32_t i = 0; i < count; i++) {
        if (acl && !(take(cur, 4) && take_string(cur))) {
            return false;
        }
        if (!take_string(cur)) {
            return false;
        }
    }
    return true;
}

static bool check(struct cursor *cur, const char *fields)
{
    for (; *fields != 0; fields++) {
        bool ok = false;

        switch (*fields) {
        case 's':
            ok = take_string(cur);
            break;
        case 'b':
            ok = take_bytes(cur);
            break;
        case 'i':
            ok = take(cur, 4);
            break;
        case 'l':
            ok = take(cur, 8);
            break;
        case 'z':
            ok = take(cur, 1);
            break;
        case 'a':
        case 'v':
            ok = take_list(cur, *fields == 'a');
            break;
        default:
            break;
        }
        if (!ok) {
            return false;
        }
    }
    return true;
}

/* ---- reading ---------------------------------------------------------- */

static void acl_move(struct jute_acl **ret_acl, int32_t *ret_n, struct ACL_vector *from)
{
    *ret_n = from->count > 0 ? from->count : 0;
    *ret_acl = *ret_n > 0 ? mem_alloc((size_t)*ret_n * sizeof **ret_acl) : NULL;
    for (int32_t i = 0; i < *ret_n; i++) {
        (*ret_acl)[i] =
            (struct jute_acl){ from->data[i].perms, from->data[i].id.scheme, from->data[i].id.id };
    }
    free(from->data);
}

static void strings_move(struct jute_strings *ret, struct String_vector *from)
{
    *ret = (struct jute_strings){ from->data, from->count > 0 ? from->count : 0 };
}

/* The record was checked, so a codec that fails has run out of memory. */
static void must(int rv)
{
    assert(rv == 0);
}

static void read_create(struct iarchive *ia, struct jute_call *call)
{
    struct CreateRequest req = { 0 };

    must(deserialize_CreateRequest(ia, "req", &req));
    call->path = req.path;
    call->data = (struct jute_bytes){ req.data.buff, req.data.len };
    acl_move(&call->acl, &call->n_acl, &req.acl);
    call->flags = req.flags;
    if (call->type == JUTE_CREATE_TTL) {
        int64_t ttl = 0;

        must(ia->deserialize_Long(ia, "ttl", &ttl));
    }
}

static void read_set_data(struct iarchive *ia, struct jute_call *call)
{
    struct SetDataRequest req = { 0 };

    must(deserialize_SetDataRequest(ia, "req", &req));
    call->path = req.path;
    call->data = (struct jute_bytes){ req.data.buff, req.data.len };
    call->version = req.version;
}

static void read_set_acl(struct iarchive *ia, struct jute_call *call)
{
    struct SetACLRequest req = { 0 };

    must(deserialize_SetACLRequest(ia, "req", &req));
    call->path = req.path;
    acl_move(&call->acl, &call->n_acl, &req.acl);
    call->version = req.version;
}

/* DeleteRequest, CheckVersionRequest and the two watch requests: a path and an int. */
static void read_path_int(struct iarchive *ia, struct jute_call *call)
{
    struct DeleteRequest req = { 0 };

    must(deserialize_DeleteRequest(ia, "req", &req));
    call->path = req.path;
    call->version = req.version;
}

/* ExistsRequest, GetDataRequest and both GetChildrenRequests: a path and a bool. */
static void read_path_watch(struct iarchive *ia, struct jute_call *call)
{
    struct GetDataRequest req = { 0 };

    must(deserialize_GetDataRequest(ia, "req", &req));
    call->path = req.path;
    call->watch = req.watch != 0;
}

static void read_call(struct iarchive *ia, struct jute_call *call)
{
    struct SyncRequest path = { 0 };

    switch (call->type) {
    case JUTE_CREATE:
    case JUTE_CREATE2:
    case JUTE_CREATE_CONTAINER:
    case JUTE_CREATE_TTL:
        read_create(ia, call);
        break;
    case JUTE_SET_DATA:
        read_set_data(ia, call);
        break;
    case JUTE_SET_ACL:
        read_set_acl(ia, call);
        break;
    case JUTE_DELETE:
    case JUTE_CHECK:
    case JUTE_CHECK_WATCHES:
    case JUTE_REMOVE_WATCHES:
        read_path_int(ia, call);
        break;
    case JUTE_EXISTS:
    case JUTE_GET_DATA:
    case JUTE_GET_CHILDREN:
    case JUTE_GET_CHILDREN2:
        read_path_watch(ia, call);
        break;
    case JUTE_GET_ACL:
    case JUTE_SYNC:
        must(deserialize_SyncRequest(ia, "req", &path));
        call->path = path.path;
        break;
    default:
        break;
    }
}

static bool in_multi(int32_t type)
{
    return type == JUTE_CREATE || type == JUTE_CREATE2 || type == JUTE_CREATE_CONTAINER ||
           type == JUTE_CREATE_TTL || type == JUTE_DELETE || type == JUTE_SET_DATA ||
           type == JUTE_CHECK;
}

/* How many operations; -1 when malformed. */
static int64_t check_multi(struct cursor *cur)
{
    for (int64_t n = 0;; n++) {
        int32_t type = 0;

        if (!take_int(cur, &type) || cur->left < 5) {
            return -1;
        }
        bool done = *cur->at != 0;

        (void)take(cur, 5);
        if (done) {
            return n;
        }
        if (!in_multi(type) || !check(cur, layout_of(type))) {
            return -1;
        }
    }
}

static bool check_body(struct cursor *cur, int32_t type, int64_t *ret_calls)
{
    *ret_calls = 1;
    if (type == JUTE_MULTI) {
        *ret_calls = check_multi(cur);
        return *ret_calls >= 0;
    }
    return check(cur, layout_of(type));
}

static void read_multi(struct iarchive *ia, struct cursor cur, int64_t n,
                       struct jute_request *request)
{
    request->calls = mem_alloc(((size_t)n + 1) * sizeof *request->calls);
    request->n_calls = (size_t)n;
    for (size_t i = 0; i < request->n_calls; i++) {
        struct MultiHeader header = { 0 };

        must(deserialize_MultiHeader(ia, "multi", &header));
        request->calls[i].type = header.type;
        (void)take(&cur, 9);
        cur.nul_text = false;
        (void)check(&cur, layout_of(header.type));
        request->calls[i].nul_text = cur.nul_text;
        read_call(ia, &request->calls[i]);
    }
}

static void read_auth(struct iarchive *ia, struct jute_request *request)
{
    struct AuthPacket packet = { 0 };

    must(deserialize_AuthPacket(ia, "auth", &packet));
    request->scheme = packet.scheme;
    request->auth = (struct jute_bytes){ packet.auth.buff, packet.auth.len };
}

static void read_watches(struct iarchive *ia, struct jute_request *request)
{
    struct SetWatches2 req = { 0 };

    if (request->type == JUTE_SET_WATCHES) {
        struct SetWatches old = { 0 };

        must(deserialize_SetWatches(ia, "req", &old));
        req.relativeZxid = old.relativeZxid;
        req.dataWatches = old.dataWatches;
        req.existWatches = old.existWatches;
        req.childWatches = old.childWatches;
    } else {
        must(deserialize_SetWatches2(ia, "req", &req));
    }
    request->relative_zxid = req.relativeZxid;
    strings_move(&request->watches[0], &req.dataWatches);
    strings_move(&request->watches[1], &req.existWatches);
    strings_move(&request->watches[2], &req.childWatches);
    strings_move(&request->watches[3], &req.persistentWatches);
    strings_move(&request->watches[4], &req.persistentRecursiveWatches);
}

int jute_decode_header(const char *frame, size_t len, int32_t *ret_xid, int32_t *ret_type,
                       struct err *err)
{
    struct cursor cur = { .at = frame, .left = len };

    if (!take_int(&cur, ret_xid) || !take_int(&cur, ret_type)) {
        return err_set(err, ERR_INVALID, "frame of %zu bytes has no header", len);
    }
    return 0;
}

/* body was checked, and has n calls. */
static void read_body(struct cursor body, int64_t n, bool nul_text, struct jute_request *request)
{
    struct iarchive *ia = create_buffer_iarchive((char *)(uintptr_t)body.at, (int)body.left);

    assert(ia != NULL);
    if (request->type == JUTE_MULTI) {
        read_multi(ia, body, n, request);
    } else if (request->type == JUTE_AUTH) {
        read_auth(ia, request);
    } else if (request->type == JUTE_SET_WATCHES || request->type == JUTE_SET_WATCHES2) {
        read_watches(ia, request);
    } else {
        request->calls = mem_alloc(sizeof *request->calls);
        request->n_calls = 1;
        request->calls[0].type = request->type;
        request->calls[0].nul_text = nul_text;
        read_call(ia, &request->calls[0]);
    }
    close_buffer_iarchive(&ia);
}

int jute_decode(const char *frame, size_t len, struct jute_request *request, struct err *err)
{
    CLEANUP(mem_freep) char *copy = NULL;
    int64_t n = 0;

    if (jute_decode_header(frame, len, &request->xid, &request->type, err) < 0) {
        return err_code(err);
    }
    if (layout_of(request->type) == NULL && request->type != JUTE_MULTI) {
        return err_set(err, ERR_UNSUPPORTED, "request type %d", request->type);
    }
    struct cursor body = { .at = frame + 8, .left = len - 8 };
    struct cursor cur = body;

    if (!check_body(&cur, request->type, &n)) {
        return err_set(err, ERR_INVALID, "malformed request of type %d", request->type);
    }
    if (cur.null_text) {
        copy = mem_alloc(body.left);
        memcpy(copy, body.at, body.left);
        body.at = copy;
        cur = body;
        cur.fix = true;
        (void)check_body(&cur, request->type, &n);
    }
    read_body(body, n, cur.nul_text, request);
    return 0;
}

static void strings_fini(struct jute_strings *strings)
{
    for (int32_t i = 0; i < strings->n; i++) {
        free(strings->items[i]);
    }
    free(strings->items);
}

void jute_acl_free(struct jute_acl *acl, int32_t n_acl)
{
    for (int32_t i = 0; i < n_acl; i++) {
        free(acl[i].scheme);
        free(acl[i].id);
    }
    free(acl);
}

void jute_request_fini(struct jute_request *request)
{
    for (size_t i = 0; i < request->n_calls; i++) {
        free(request->calls[i].path);
        free(request->calls[i].data.data);
        jute_acl_free(request->calls[i].acl, request->calls[i].n_acl);
    }
    free(request->calls);
    for (size_t i = 0; i < sizeof request->watches / sizeof request->watches[0]; i++) {
        strings_fini(&request->watches[i]);
    }
    free(request->scheme);
    free(request->auth.data);
    *request = (struct jute_request){ 0 };
}

int jute_decode_connect(const char *frame, size_t len, struct jute_connect *ret_connect,
                        struct err *err)
{
    struct cursor cur = { .at = frame, .left = len };
    struct ConnectRequest req = { 0 };

    if (!check(&cur, "ililb")) {
        return err_set(err, ERR_INVALID, "malformed connect request");
    }
    struct iarchive *ia = create_buffer_iarchive((char *)(uintptr_t)frame, (int)len);

    assert(ia != NULL);
    must(deserialize_ConnectRequest(ia, "connect", &req));
    close_buffer_iarchive(&ia);
    *ret_connect = (struct jute_connect){ .last_zxid = req.lastZxidSeen,
                                          .timeout_ms = req.timeOut,
                                          .session = req.sessionId,
                                          .has_passwd = req.passwd.len == JUTE_PASSWD_SIZE,
                                          .has_readonly = cur.left > 0 };
    if (ret_connect->has_passwd) {
        memcpy(ret_connect->passwd, req.passwd.buff, JUTE_PASSWD_SIZE);
    }
    deallocate_ConnectRequest(&req);
    return 0;
}

/* ---- writing ---------------------------------------------------------- */

static struct oarchive *begin(void)
{
    struct oarchive *oa = create_buffer_oarchive();

    assert(oa != NULL);
    return oa;
}

static struct oarchive *begin_reply(int32_t xid, int64_t zxid, int32_t code)
{
    struct oarchive *oa = begin();
    struct ReplyHeader header = { xid, zxid, code };

    must(serialize_ReplyHeader(oa, "header", &header));
    return oa;
}

static void end(struct oarchive *oa, struct buf *out)
{
    size_t len = (size_t)get_buffer_len(oa);
    uint32_t prefix = htonl((uint32_t)len);

    buf_reserve(out, sizeof prefix + len);
    buf_add(out, &prefix, sizeof prefix);
    buf_add(out, get_buffer(oa), len);
    close_buffer_oarchive(&oa, 1);
}

static struct Stat stat_out(const struct jute_stat *stat)
{
    return (struct Stat){ .czxid = stat->czxid,
                          .mzxid = stat->mzxid,
                          .ctime = stat->ctime,
                          .mtime = stat->mtime,
                          .version = stat->version,
                          .cversion = stat->cversion,
                          .aversion = stat->aversion,
                          .ephemeralOwner = stat->owner,
                          .dataLength = stat->data_len,
                          .numChildren = stat->n_children,
                          .pzxid = stat->pzxid };
}

void jute_put_connect(struct buf *out, int32_t timeout_ms, int64_t session, const char *passwd,
                      bool with_readonly)
{
    struct oarchive *oa = begin();
    struct ConnectResponse res = { .timeOut = timeout_ms,
                                   .sessionId = session,
                                   .passwd = { JUTE_PASSWD_SIZE, (char *)(uintptr_t)passwd } };
    int32_t readonly = 0;

    must(serialize_ConnectResponse(oa, "connect", &res));
    if (with_readonly) {
        must(oa->serialize_Bool(oa, "readOnly", &readonly));
    }
    end(oa, out);
}

void jute_put_header(struct buf *out, int32_t xid, int64_t zxid, int32_t code)
{
    end(begin_reply(xid, zxid, code), out);
}

void jute_put_event(struct buf *out, enum jute_event event, const char *path)
{
    enum { SYNC_CONNECTED = 3 };
    struct oarchive *oa = begin_reply(JUTE_XID_EVENT, -1, Z_OK);
    struct WatcherEvent body = { (int32_t)event, SYNC_CONNECTED, (char *)(uintptr_t)path };

    must(serialize_WatcherEvent(oa, "event", &body));
    end(oa, out);
}

void jute_put_path(struct buf *out, int32_t xid, int64_t zxid, const char *path)
{
    struct oarchive *oa = begin_reply(xid, zxid, Z_OK);
    struct CreateResponse body = { (char *)(uintptr_t)path };

    must(serialize_CreateResponse(oa, "path", &body));
    end(oa, out);
}

void jute_put_path_stat(struct buf *out, int32_t xid, int64_t zxid, const char *path,
                        const struct jute_stat *stat)
{
    struct oarchive *oa = begin_reply(xid, zxid, Z_OK);
    struct Create2Response body = { (char *)(uintptr_t)path, stat_out(stat) };

    must(serialize_Create2Response(oa, "created", &body));
    end(oa, out);
}

void jute_put_stat(struct buf *out, int32_t xid, int64_t zxid, const struct jute_stat *stat)
{
    struct oarchive *oa = begin_reply(xid, zxid, Z_OK);
    struct Stat body = stat_out(stat);

    must(serialize_Stat(oa, "stat", &body));
    end(oa, out);
}

void jute_put_data(struct buf *out, int32_t xid, int64_t zxid, const struct jute_bytes *data,
                   const struct jute_stat *stat)
{
    struct oarchive *oa = begin_reply(xid, zxid, Z_OK);
    struct GetDataResponse body = { { data->len, data->data }, stat_out(stat) };

    must(serialize_GetDataResponse(oa, "data", &body));
    end(oa, out);
}

void jute_put_children(struct buf *out, int32_t xid, int64_t zxid, const struct jute_strings *names,
                       const struct jute_stat *stat)
{
    struct oarchive *oa = begin_reply(xid, zxid, Z_OK);
    struct String_vector body = { names->n, names->items };

    must(serialize_String_vector(oa, "children", &body));
    if (stat != NULL) {
        struct Stat extra = stat_out(stat);

        must(serialize_Stat(oa, "stat", &extra));
    }
    end(oa, out);
}

static void put_acl_list(struct oarchive *oa, const struct jute_acl *acl, int32_t n_acl)
{
    must(oa->start_vector(oa, "acl", &n_acl));
    for (int32_t i = 0; i < n_acl; i++) {
        struct ACL one = { acl[i].perms, { acl[i].scheme, acl[i].id } };

        must(serialize_ACL(oa, "acl", &one));
    }
    must(oa->end_vector(oa, "acl"));
}

void jute_put_acl(struct buf *out, int32_t xid, int64_t zxid, const struct jute_acl *acl,
                  int32_t n_acl, const struct jute_stat *stat)
{
    struct oarchive *oa = begin_reply(xid, zxid, Z_OK);
    struct Stat extra = stat_out(stat);

    put_acl_list(oa, acl, n_acl);
    must(serialize_Stat(oa, "stat", &extra));
    end(oa, out);
}

static void put_result(struct oarchive *oa, const struct jute_result *result)
{
    struct MultiHeader header = { result->type, 0, result->code };
    struct Stat stat = stat_out(&result->stat);

    must(serialize_MultiHeader(oa, "result", &header));
    switch (result->type) {
    case JUTE_CREATE:
    case JUTE_CREATE2:
        must(oa->serialize_String(oa, "path", (char **)(uintptr_t)&result->path));
        if (result->type == JUTE_CREATE2) {
            must(serialize_Stat(oa, "stat", &stat));
        }
        break;
    case JUTE_SET_DATA:
        must(serialize_Stat(oa, "stat", &stat));
        break;
    case JUTE_ERROR:
        must(oa->serialize_Int(oa, "err", &result->code));
        break;
    default:
        break;
    }
}

void jute_put_multi(struct buf *out, int32_t xid, int64_t zxid, const struct jute_result *results,
                    size_t n_results)
{
    struct oarchive *oa = begin_reply(xid, zxid, Z_OK);
    struct MultiHeader last = { -1, 1, -1 };

    for (size_t i = 0; i < n_results; i++) {
        put_result(oa, &results[i]);
    }
    must(serialize_MultiHeader(oa, "done", &last));
    end(oa, out);
}

/* ---- the client's side ------------------------------------------------ */

void jute_put_connect_request(struct buf *out, const struct jute_connect *connect)
{
    struct oarchive *oa = begin();
    struct ConnectRequest req = { .lastZxidSeen = connect->last_zxid,
                                  .timeOut = connect->timeout_ms,
                                  .sessionId = connect->session,
                                  .passwd = { JUTE_PASSWD_SIZE,
                                              (char *)(uintptr_t)connect->passwd } };
    int32_t readonly = 0;

    must(serialize_ConnectRequest(oa, "connect", &req));
    if (connect->has_readonly) {
        must(oa->serialize_Bool(oa, "readOnly", &readonly));
    }
    end(oa, out);
}

void jute_put_call(struct buf *out, int32_t xid, const struct jute_call *call)
{
    struct oarchive *oa = begin();
    struct RequestHeader header = { xid, call->type };
    const char *fields = layout_of(call->type);
    struct buffer data = { call->data.len, call->data.data };
    int32_t watch = call->watch;

    assert(fields != NULL);
    must(serialize_RequestHeader(oa, "header", &header));
    for (; *fields != 0; fields++) {
        switch (*fields) {
        case 's':
            must(oa->serialize_String(oa, "path", (char **)(uintptr_t)&call->path));
            break;
        case 'b':
            must(oa->serialize_Buffer(oa, "data", &data));
            break;
        case 'a':
            put_acl_list(oa, call->acl, call->n_acl);
            break;
        case 'i':
            must(oa->serialize_Int(
                oa, "int",
                fields[-1] == 'a' && call->type != JUTE_SET_ACL ? &call->flags : &call->version));
            break;
        case 'z':
            must(oa->serialize_Bool(oa, "watch", &watch));
            break;
        default:
            abort(); /* A request that no client of ours sends. */
        }
    }
    end(oa, out);
}

static struct jute_stat stat_in(const struct Stat *stat)
{
    return (struct jute_stat){ .czxid = stat->czxid,
                               .mzxid = stat->mzxid,
                               .pzxid = stat->pzxid,
                               .ctime = stat->ctime,
                               .mtime = stat->mtime,
                               .owner = stat->ephemeralOwner,
                               .version = stat->version,
                               .cversion = stat->cversion,
                               .aversion = stat->aversion,
                               .data_len = stat->dataLength,
                               .n_children = stat->numChildren };
}

static void read_reply(struct iarchive *ia, int32_t type, struct jute_reply *reply)
{
    struct CreateResponse path = { 0 };
    struct GetDataResponse data = { 0 };
    struct String_vector names = { 0 };
    struct ACL_vector acl = { 0 };
    struct Stat stat = { 0 };

    switch (type) {
    case JUTE_CREATE:
        must(deserialize_CreateResponse(ia, "reply", &path));
        reply->path = path.path;
        break;
    case JUTE_GET_DATA:
        must(deserialize_GetDataResponse(ia, "reply", &data));
        reply->data = (struct jute_bytes){ data.data.buff, data.data.len };
        reply->stat = stat_in(&data.stat);
        break;
    case JUTE_GET_CHILDREN:
        must(deserialize_String_vector(ia, "reply", &names));
        strings_move(&reply->names, &names);
        break;
    case JUTE_GET_ACL:
        must(deserialize_ACL_vector(ia, "reply", &acl));
        acl_move(&reply->acl, &reply->n_acl, &acl);
        must(deserialize_Stat(ia, "reply", &stat));
        reply->stat = stat_in(&stat);
        break;
    case JUTE_SET_DATA:
    case JUTE_EXISTS:
        must(deserialize_Stat(ia, "reply", &stat));
        reply->stat = stat_in(&stat);
        break;
    default:
        break;
    }
}

#define STAT_FIELDS "lllliiiliil"

static const char *reply_layout(int32_t type)
{
    switch (type) {
    case JUTE_CREATE:
        return "s";
    case JUTE_GET_DATA:
        return "b" STAT_FIELDS;
    case JUTE_GET_CHILDREN:
        return "v";
    case JUTE_GET_ACL:
        return "a" STAT_FIELDS;
    case JUTE_SET_DATA:
    case JUTE_EXISTS:
        return STAT_FIELDS;
    default:
        return "";
    }
}

int jute_decode_reply(const char *frame, size_t len, int32_t type, struct jute_reply *ret_reply,
                      struct err *err)
{
    struct cursor cur = { .at = frame, .left = len };
    struct ReplyHeader header = { 0 };

    if (len < 16) {
        return err_set(err, ERR_INVALID, "reply of %zu bytes", len);
    }
    struct iarchive *ia = create_buffer_iarchive((char *)(uintptr_t)frame, (int)len);
    int rv = 0;

    assert(ia != NULL);
    must(deserialize_ReplyHeader(ia, "header", &header));
    *ret_reply = (struct jute_reply){ .xid = header.xid, .zxid = header.zxid, .code = header.err };
    (void)take(&cur, 16);
    if (header.err == Z_OK && header.xid >= 0) {
        if (check(&cur, reply_layout(type)) && !cur.null_text) {
            read_reply(ia, type, ret_reply);
        } else {
            rv = err_set(err, ERR_INVALID, "malformed reply to a request of type %d", type);
        }
    }
    close_buffer_iarchive(&ia);
    return rv;
}

void jute_reply_fini(struct jute_reply *reply)
{
    free(reply->path);
    free(reply->data.data);
    strings_fini(&reply->names);
    jute_acl_free(reply->acl, reply->n_acl);
    *reply = (struct jute_reply){ 0 };
}

int jute_decode_connect_reply(const char *frame, size_t len, int32_t *ret_timeout_ms,
                              int64_t *ret_session, struct err *err)
{
    struct cursor cur = { .at = frame, .left = len };
    struct ConnectResponse res = { 0 };

    if (!check(&cur, "iilb")) {
        return err_set(err, ERR_INVALID, "malformed connect reply");
    }
    struct iarchive *ia = create_buffer_iarchive((char *)(uintptr_t)frame, (int)len);

    assert(ia != NULL);
    must(deserialize_ConnectResponse(ia, "connect", &res));
    close_buffer_iarchive(&ia);
    *ret_timeout_ms = res.timeOut;
    *ret_session = res.sessionId;
    deallocate_ConnectResponse(&res);
    return 0;
}
