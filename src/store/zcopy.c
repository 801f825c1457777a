/* SPDX-License-Identifier: Apache-2.0 */

/* zcopy: move a tree from one ZooKeeper server to another.
 *
 * A small client of its own, one request at a time, blocking: rooms below
 * coord/ cannot use coord's, and a copy needs no watches.
 *
 * Happy path: walk FROM depth first; create each node at TO with its data and
 * ACL, or set them when it is there.  Ephemeral nodes belong to their sessions
 * and are left out, as is /zookeeper.
 * Failures: the first one ends it, naming the path; running it again goes on,
 * because what is there already is only set anew.
 */

#include "store/zcopy.h"

#include "base/args.h"
#include "base/daemon.h"
#include "base/hostport.h"
#include "base/str.h"
#include "store/jute.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

enum { TIMEOUT_MS = 30000, MAX_REPLY = 64 << 20 };

struct peer {
    int fd;
    int32_t xid;
    char *root; /* "" or "/chroot" */
};

struct tally {
    size_t copied;
    size_t skipped;
};

static void peer_fini(const struct peer *peer)
{
    fd_closep(&peer->fd);
    free(peer->root);
}

static int send_all(const struct peer *peer, const struct buf *out, struct err *err)
{
    for (size_t at = 0; at < out->len;) {
        ssize_t n = send(peer->fd, out->data + at, out->len - at, MSG_NOSIGNAL);

        if (n < 0) {
            return err_set(err, ERR_UNREACHABLE, "send: %s", strerror(errno));
        }
        at += (size_t)n;
    }
    return 0;
}

static int recv_exactly(const struct peer *peer, char *bytes, size_t len, struct err *err)
{
    for (size_t at = 0; at < len;) {
        ssize_t n = recv(peer->fd, bytes + at, len - at, 0);

        if (n < 0) {
            return err_set(err, ERR_UNREACHABLE, "receive: %s", strerror(errno));
        }
        if (n == 0) {
            return err_set(err, ERR_EOF, "the server closed the connection");
        }
        at += (size_t)n;
    }
    return 0;
}

static int recv_frame(const struct peer *peer, struct buf *ret_frame, struct err *err)
{
    uint32_t raw = 0;

    if (recv_exactly(peer, (char *)&raw, sizeof raw, err) < 0) {
        return err_code(err);
    }
    size_t len = ntohl(raw);

    if (len > MAX_REPLY) {
        return err_set(err, ERR_TOOBIG, "reply of %zu bytes", len);
    }
    buf_clear(ret_frame);
    buf_reserve(ret_frame, len);
    ret_frame->len = len;
    ret_frame->data[len] = 0;
    return recv_exactly(peer, ret_frame->data, len, err);
}

/* The descriptor is the peer's from the start, whatever happens. */
static int dial(struct peer *peer, const char *address, struct err *err)
{
    struct timeval patience = { .tv_sec = TIMEOUT_MS / 1000 };
    struct sockaddr_storage addr = { 0 };

    if (hostport_parse(address, &addr, err) < 0) {
        return err_code(err);
    }
    int fd = socket(addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t len =
        addr.ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);

    peer->fd = fd;
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) < 0 ||
        connect(fd, (struct sockaddr *)&addr, len) < 0) {
        return err_set(err, ERR_UNREACHABLE, "connect: %s", strerror(errno));
    }
    return 0;
}

static int greet(struct peer *peer, struct err *err)
{
    CLEANUP_BUF frame = { 0 };
    struct jute_connect hello = { .timeout_ms = TIMEOUT_MS, .has_readonly = true };
    int32_t timeout_ms = 0;
    int64_t session = 0;

    jute_put_connect_request(&frame, &hello);
    if (send_all(peer, &frame, err) < 0 || recv_frame(peer, &frame, err) < 0 ||
        jute_decode_connect_reply(frame.data, frame.len, &timeout_ms, &session, err) < 0) {
        return err_code(err);
    }
    return session != 0 ? 0 : err_set(err, ERR_UNREACHABLE, "the server refused a session");
}

/* text is HOST:PORT[/chroot] */
static int peer_open(struct peer *peer, const char *text, struct err *err)
{
    size_t len = strcspn(text, "/");
    CLEANUP(mem_freep) char *address = str_printf("%.*s", (int)len, text);

    peer->root = mem_strdup(text[len] != 0 && text[len + 1] != 0 ? text + len : "");
    if (dial(peer, address, err) < 0 || greet(peer, err) < 0) {
        return err_wrap(err, "%s", text);
    }
    return 0;
}

/* One request and its answer; *ret_code is the server's. */
static int ask(struct peer *peer, const struct jute_call *call, struct jute_reply *ret_reply,
               struct err *err)
{
    CLEANUP_BUF frame = { 0 };

    jute_put_call(&frame, ++peer->xid, call);
    if (send_all(peer, &frame, err) < 0) {
        return err_code(err);
    }
    do {
        jute_reply_fini(ret_reply);
        if (recv_frame(peer, &frame, err) < 0 ||
            jute_decode_reply(frame.data, frame.len, call->type, ret_reply, err) < 0) {
            return err_wrap(err, "%s", call->path);
        }
    } while (ret_reply->xid != peer->xid);
    return 0;
}

static int complain(const char *what, const char *path, int32_t code, struct err *err)
{
    return err_set(err, ERR_FAILED, "%s %s: ZooKeeper error %d", what, path, code);
}

/* Create path at TO, or set data and ACL of what is there. */
static int put(struct peer *to, const char *path, const struct jute_bytes *data,
               const struct jute_reply *acl, struct err *err)
{
    CLEANUP(mem_freep) char *full = str_printf("%s%s", to->root, path);
    CLEANUP(jute_reply_fini) struct jute_reply reply = { 0 };
    struct jute_call call = { .type = JUTE_CREATE,
                              .path = full[0] != 0 ? full : "/",
                              .data = *data,
                              .acl = acl->acl,
                              .n_acl = acl->n_acl,
                              .version = -1 };

    if (ask(to, &call, &reply, err) < 0) {
        return err_code(err);
    }
    if (reply.code == Z_NODEEXISTS) {
        call.type = JUTE_SET_DATA;
        if (ask(to, &call, &reply, err) < 0) {
            return err_code(err);
        }
        call.type = JUTE_SET_ACL;
        if (reply.code == Z_OK && ask(to, &call, &reply, err) < 0) {
            return err_code(err);
        }
    }
    return reply.code == Z_OK ? 0 : complain("write", call.path, reply.code, err);
}

static int fetch(struct peer *from, int32_t type, const char *path, struct jute_reply *ret_reply,
                 struct err *err)
{
    CLEANUP(mem_freep) char *full = str_printf("%s%s", from->root, path);
    struct jute_call call = { .type = type, .path = full[0] != 0 ? full : "/" };

    return ask(from, &call, ret_reply, err);
}

/* The paths still to be copied: a stack, so that a deep tree needs no deep recursion. */
static int copy_one(struct peer *from, struct peer *to, const char *path, char ***todo,
                    struct tally *tally, struct err *err)
{
    CLEANUP(jute_reply_fini) struct jute_reply data = { 0 };
    CLEANUP(jute_reply_fini) struct jute_reply acl = { 0 };
    CLEANUP(jute_reply_fini) struct jute_reply children = { 0 };

    if (fetch(from, JUTE_GET_DATA, path, &data, err) < 0 ||
        fetch(from, JUTE_GET_ACL, path, &acl, err) < 0 ||
        fetch(from, JUTE_GET_CHILDREN, path, &children, err) < 0) {
        return err_code(err);
    }
    if (data.code == Z_NONODE || data.stat.owner != 0) {
        tally->skipped++;
        return 0;
    }
    if (data.code != Z_OK || acl.code != Z_OK || children.code != Z_OK) {
        return complain("read", path, data.code != Z_OK ? data.code : children.code, err);
    }
    if (put(to, path, &data.data, &acl, err) < 0) {
        return err_code(err);
    }
    tally->copied++;
    for (int32_t i = 0; i < children.names.n; i++) {
        CLEANUP(mem_freep) char *child = str_printf("%s/%s", path, children.names.items[i]);

        if (!(from->root[0] == 0 && str_eq(child, "/zookeeper"))) {
            strv_add_take(todo, TAKE(child));
        }
    }
    return 0;
}

static int copy_tree(struct peer *from, struct peer *to, struct tally *tally, struct err *err)
{
    CLEANUP(strv_freep) char **todo = NULL;

    strv_add(&todo, "");
    for (size_t n = 1; n > 0; n = strv_len(todo)) {
        CLEANUP(mem_freep) char *path = TAKE(todo[n - 1]);

        if (copy_one(from, to, path, &todo, tally, err) < 0) {
            return err_code(err);
        }
    }
    return 0;
}

int zcopy_main(int argc, char **argv)
{
    const struct args_spec spec = {
        .program = "davit-store copy",
        .usage = "FROM TO",
        .summary = "Copy a tree between two servers; FROM and TO are HOST:PORT[/chroot].",
        .epilog = "Ephemeral nodes and /zookeeper are left out.  TO's chroot is made\nwhen only "
                  "its last part is missing.\n",
    };
    CLEANUP(peer_fini) struct peer from = { .fd = -1 };
    CLEANUP(peer_fini) struct peer to = { .fd = -1 };
    struct tally tally = { 0 };
    struct err err = { 0 };
    int rest = 0;
    int rv = args_parse(&spec, argc, argv, &rest, &err);

    if (rv > 0) {
        return 0;
    }
    if (rv == 0 && argc - rest != 2) {
        rv = err_set(&err, ERR_USAGE, "FROM and TO are needed");
    }
    if (rv < 0) {
        return args_complain(&spec, &err);
    }
    if (peer_open(&from, argv[rest], &err) < 0 || peer_open(&to, argv[rest + 1], &err) < 0 ||
        copy_tree(&from, &to, &tally, &err) < 0) {
        return daemon_fail(spec.program, &err);
    }
    printf("copied %zu nodes, left out %zu ephemeral ones\n", tally.copied, tally.skipped);
    return 0;
}
