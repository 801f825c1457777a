/* SPDX-License-Identifier: Apache-2.0 */

/* zserver: sockets, frames and turns around the engine.
 *
 * Not the rules (engine.c), not the disk (ledger.c).
 *
 * A turn is one round of the loop: every readable connection hands its whole
 * frames to the engine, then end_turn() commits what they changed, once for
 * all, and only then sends what the engine put into the out buffers.  The
 * slower the disk, the more requests share a commit.
 *
 * Failures: a frame that is too long, a peer that went away or does not read:
 * that connection is closed, its session lives on until it expires.  A commit
 * that fails ends the server: memory is ahead of the disk and must not answer.
 * Invariants: nothing is sent before it is durable; answers of one connection
 * keep the order of its requests; a connection is freed in its close callback only.
 */

#include "store/zserver.h"

#include "base/clock.h"
#include "base/fault.h"
#include "base/hostport.h"
#include "base/log.h"
#include "store/fourletter.h"
#include "store/ledger.h"

#include <arpa/inet.h>
#include <limits.h>
#include <string.h>
#include <sys/random.h>
#include <utlist.h>

enum {
    READ_BYTES = 65536,
    KEEP_BYTES = 65536,    /* An idle connection keeps no larger buffer. */
    PAUSE_BYTES = 1 << 20, /* unsent: no further request is read */
    DROP_BYTES = 64 << 20, /* unsent: the connection is given up */
    HELLO_MS = 10000,      /* for the connect request */
    BACKLOG = 511,
};

struct conn {
    struct engine_client client; /* first: the engine's touched list is ours */
    struct zserver *server;
    uv_tcp_t tcp;
    uv_write_t write;
    struct buf in;      /* an incomplete frame */
    struct buf sending; /* in the kernel's hands */
    bool greeted;
    bool writing;
    bool paused;
    bool held; /* in has whole frames, not taken because of what is unsent */
    bool closed;
    uint64_t since_ms;
    struct conn *prev, *next;
};

struct zserver {
    uv_loop_t *loop;
    struct zserver_options options;
    struct engine engine;
    struct ledger *ledger;
    uv_tcp_t listener;
    uv_check_t turn;
    uv_timer_t timer;
    struct conn *conns;
    size_t n_conns;
    uint64_t timer_due_ms;
    bool any_held;
    bool stopping;
    struct err failure;
    char read_buffer[READ_BYTES];
};

static struct engine_now now_is(const struct zserver *server)
{
    return (struct engine_now){ uv_now(server->loop), clock_wall_ms() };
}

/* ---- closing ---------------------------------------------------------- */

static void on_conn_closed(uv_handle_t *handle)
{
    struct conn *conn = handle->data;
    struct zserver *server = conn->server;

    assert(!conn->client.touched);
    DL_DELETE(server->conns, conn);
    server->n_conns--;
    engine_client_fini(&server->engine, &conn->client);
    buf_fini(&conn->in);
    buf_fini(&conn->sending);
    free(conn);
}

static void conn_close(struct conn *conn)
{
    if (!conn->closed) {
        conn->closed = true;
        uv_close((uv_handle_t *)&conn->tcp, on_conn_closed);
    }
}

/* ---- sending ---------------------------------------------------------- */

static void take_held(struct conn *conn);
static void on_alloc(uv_handle_t *handle, size_t hint, uv_buf_t *ret_buf);
static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);

static void trim(struct buf *buf)
{
    if (buf->cap > KEEP_BYTES) {
        buf_fini(buf);
    } else {
        buf_clear(buf);
    }
}

static void on_written(uv_write_t *write, int status)
{
    struct conn *conn = write->data;

    conn->writing = false;
    trim(&conn->sending);
    if (conn->closed) {
        return;
    }
    if (status < 0) {
        conn_close(conn);
    }
    /* Not flush(): out may hold answers of this turn, which is not committed yet. */
    engine_touch(&conn->server->engine, &conn->client);
}

static void send_rest(struct conn *conn)
{
    conn->sending = TAKE(conn->client.out);
    conn->writing = true;
    conn->write.data = conn;
    uv_buf_t rest = uv_buf_init(conn->sending.data, (unsigned)conn->sending.len);

    if (uv_write(&conn->write, (uv_stream_t *)&conn->tcp, &rest, 1, on_written) < 0) {
        conn->writing = false;
        conn_close(conn);
    }
}

/* A client that sends without reading gets no more read from it. */
static void pause_or_resume(struct conn *conn)
{
    bool full =
        conn->held || (conn->writing && conn->client.out.len + conn->sending.len > PAUSE_BYTES);

    if (full == conn->paused || conn->closed) {
        return;
    }
    conn->paused = full;
    if (full) {
        (void)uv_read_stop((uv_stream_t *)&conn->tcp);
    } else if (uv_read_start((uv_stream_t *)&conn->tcp, on_alloc, on_read) < 0) {
        conn_close(conn);
    }
}

static void flush(struct conn *conn)
{
    struct buf *out = &conn->client.out;

    if (conn->closed) {
        return;
    }
    if (!conn->writing && out->len > 0) {
        uv_buf_t all = uv_buf_init(out->data, (unsigned)out->len);
        int n = uv_try_write((uv_stream_t *)&conn->tcp, &all, 1);

        if (n < 0 && n != UV_EAGAIN) {
            conn_close(conn);
            return;
        }
        buf_drop(out, n > 0 ? (size_t)n : 0);
        if (out->len > 0) {
            send_rest(conn);
        } else {
            trim(out);
        }
    }
    if ((conn->client.closing && !conn->writing) || out->len > DROP_BYTES) {
        conn_close(conn);
    }
    pause_or_resume(conn);
}

/* ---- turns ------------------------------------------------------------ */

static void commit(struct zserver *server)
{
    if (server->ledger != NULL && server->failure.code == 0 && engine_changed(&server->engine) &&
        ledger_commit(server->ledger, &server->engine, &server->failure) < 0) {
        zserver_stop(server);
    }
}

static void flush_touched(struct zserver *server)
{
    struct engine_client *batch = TAKE(server->engine.touched);
    struct engine_client *next = NULL;

    for (struct engine_client *client = batch; client != NULL; client = next) {
        next = client->touched_next;
        client->touched = false;
        if (server->failure.code == 0) {
            flush((struct conn *)client);
        }
    }
    if (batch != NULL) {
        CRASH_POINT("store.answered");
    }
}

/* Requests that were held back and whose connection has room again. */
static void take_all_held(struct zserver *server)
{

    if (!server->any_held) {
        return;
    }
    server->any_held = false;
    for (struct conn *conn = server->conns; conn != NULL; conn = conn->next) {
        take_held(conn);
        server->any_held |= conn->held;
    }
}

static void end_turn(struct zserver *server)
{
    do {
        commit(server);
        flush_touched(server);
        take_all_held(server);
    } while (server->engine.touched != NULL);
}

void zserver_stop(struct zserver *server)
{

    if (server->stopping) {
        return;
    }
    server->stopping = true;
    end_turn(server); /* What was taken is answered; there is no further on_turn(). */
    uv_close((uv_handle_t *)&server->listener, NULL);
    uv_close((uv_handle_t *)&server->turn, NULL);
    uv_close((uv_handle_t *)&server->timer, NULL);
    for (struct conn *conn = server->conns; conn != NULL; conn = conn->next) {
        conn_close(conn);
    }
}

static void on_timer(uv_timer_t *timer);

/* While there is anybody: when the next session may expire, but every tick at
 * least, because a newer one may have less time. */
static void arm_timer(struct zserver *server, uint64_t next_ms)
{
    uint64_t now_ms = uv_now(server->loop);
    uint64_t wait_ms = next_ms > now_ms ? next_ms - now_ms : 1;

    if (wait_ms > (uint64_t)server->options.tick_ms) {
        wait_ms = (uint64_t)server->options.tick_ms;
    }
    if (!server->stopping && (server->conns != NULL || server->engine.sessions.all != NULL)) {
        server->timer_due_ms = now_ms + wait_ms;
        (void)uv_timer_start(&server->timer, on_timer, wait_ms, 0);
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct zserver *server = timer->data;
    uint64_t late_ms = uv_now(server->loop) - server->timer_due_ms;

    if (late_ms > (uint64_t)server->options.tick_ms) {
        log_warn("the store was away, sessions get that time back ms=%llu",
                 (unsigned long long)late_ms);
        engine_forgive(&server->engine, late_ms);
    }
    CRASH_POINT("store.tick");
    uint64_t next_ms = engine_expire(&server->engine, now_is(server));

    for (struct conn *conn = server->conns; conn != NULL; conn = conn->next) {
        if (!conn->greeted && conn->since_ms + HELLO_MS <= uv_now(server->loop)) {
            conn_close(conn);
        }
    }
    end_turn(server); /* The loop may wait long before it comes to on_turn(). */
    arm_timer(server, next_ms);
}

static void on_turn(uv_check_t *check)
{
    struct zserver *server = check->data;

    end_turn(server);
    if (!server->stopping && !uv_is_active((uv_handle_t *)&server->timer)) {
        arm_timer(server, UINT64_MAX);
    }
}

/* ---- receiving -------------------------------------------------------- */

static void say_goodbye(struct conn *conn)
{
    conn->client.closing = true;
    engine_touch(&conn->server->engine, &conn->client);
}

static void take_frame(struct conn *conn, const char *frame, size_t len)
{
    struct engine *engine = &conn->server->engine;
    char passwd[JUTE_PASSWD_SIZE] = { 0 };

    if (conn->greeted) {
        engine_request(engine, &conn->client, frame, len, now_is(conn->server));
        return;
    }
    conn->greeted = true;
    if (getrandom(passwd, sizeof passwd, 0) != (ssize_t)sizeof passwd) {
        say_goodbye(conn);
        return;
    }
    engine_connect(engine, &conn->client, frame, len, now_is(conn->server), passwd);
}

/* How many bytes were whole frames. */
static size_t take_frames(struct conn *conn, const char *bytes, size_t len)
{
    struct zserver *server = conn->server;
    size_t at = 0;

    conn->held = false;
    while (!conn->client.closing && len - at >= sizeof(uint32_t)) {
        uint32_t raw = 0;

        memcpy(&raw, bytes + at, sizeof raw);
        int32_t frame_len = (int32_t)ntohl(raw);

        if (!conn->greeted && fourletter_known(bytes + at)) {
            fourletter_answer(&server->engine, server->n_conns, bytes + at, &conn->client.out);
            say_goodbye(conn);
            break;
        }
        if (frame_len < 0 || frame_len > server->options.max_frame) {
            log_debug("close a connection: bad frame length bytes=%d", frame_len);
            say_goodbye(conn);
            break;
        }
        if (len - at - sizeof raw < (size_t)frame_len) {
            break;
        }
        if (conn->client.out.len > PAUSE_BYTES) {
            conn->held = true;
            server->any_held = true;
            break;
        }
        take_frame(conn, bytes + at + sizeof raw, (size_t)frame_len);
        at += sizeof raw + (size_t)frame_len;
    }
    return conn->client.closing ? len : at;
}

static void take_held(struct conn *conn)
{
    if (conn->held && !conn->closed && !conn->writing && conn->client.out.len == 0) {
        buf_drop(&conn->in, take_frames(conn, conn->in.data, conn->in.len));
    }
}

static void on_alloc(uv_handle_t *handle, size_t hint, uv_buf_t *ret_buf)
{
    struct conn *conn = handle->data;

    (void)hint;
    *ret_buf = uv_buf_init(conn->server->read_buffer, READ_BYTES);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct conn *conn = stream->data;

    if (n < 0) {
        conn_close(conn);
        return;
    }
    if (conn->client.closing) {
        return;
    }
    if (conn->in.len == 0) {
        size_t used = take_frames(conn, buf->base, (size_t)n);

        if (used < (size_t)n) {
            buf_add(&conn->in, buf->base + used, (size_t)n - used);
        }
        return;
    }
    buf_add(&conn->in, buf->base, (size_t)n);
    buf_drop(&conn->in, take_frames(conn, conn->in.data, conn->in.len));
    if (conn->in.len == 0) {
        trim(&conn->in);
    }
}

static void peer_address(const uv_tcp_t *tcp, char *ret, size_t size)
{
    struct sockaddr_storage addr = { 0 };
    int len = sizeof addr;

    if (uv_tcp_getpeername(tcp, (struct sockaddr *)&addr, &len) < 0 ||
        uv_ip_name((struct sockaddr *)&addr, ret, size) < 0) {
        ret[0] = 0;
    }
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct zserver *server = listener->data;
    char address[INET6_ADDRSTRLEN] = "";

    if (status < 0) {
        log_warn("accept a connection: %s", uv_strerror(status));
        return;
    }
    struct conn *conn = mem_alloc(sizeof *conn);

    conn->server = server;
    conn->since_ms = uv_now(server->loop);
    conn->tcp.data = conn;
    (void)uv_tcp_init(server->loop, &conn->tcp);
    bool ok = uv_accept(listener, (uv_stream_t *)&conn->tcp) == 0;

    peer_address(&conn->tcp, address, sizeof address);
    engine_client_init(&conn->client, address);
    DL_APPEND(server->conns, conn);
    server->n_conns++;
    if (!ok || (int64_t)server->n_conns > server->options.max_connections ||
        uv_tcp_nodelay(&conn->tcp, 1) < 0 ||
        uv_read_start((uv_stream_t *)&conn->tcp, on_alloc, on_read) < 0) {
        conn_close(conn);
    }
}

/* ---- opening ---------------------------------------------------------- */

static int listen_at(struct zserver *server, struct err *err)
{
    const char *text = server->options.listen;
    struct sockaddr_storage addr = { 0 };

    if (hostport_parse(text, &addr, err) < 0) {
        return err_wrap(err, "--listen");
    }
    int rv = uv_tcp_bind(&server->listener, (const struct sockaddr *)&addr, 0);

    if (rv == 0) {
        rv = uv_listen((uv_stream_t *)&server->listener, BACKLOG, on_connection);
    }
    if (rv < 0) {
        return err_set(err, rv == UV_EADDRINUSE ? ERR_CONFLICT : ERR_IO, "listen at %s: %s", text,
                       uv_strerror(rv));
    }
    return 0;
}

int zserver_open(uv_loop_t *loop, const struct zserver_options *options,
                 struct zserver **ret_server, struct err *err)
{
    struct zserver *server = mem_alloc(sizeof *server);
    uint64_t seed = 0;

    server->loop = loop;
    server->options = *options;
    server->listener.data = server->turn.data = server->timer.data = server;
    (void)uv_tcp_init(loop, &server->listener);
    (void)uv_check_init(loop, &server->turn);
    (void)uv_timer_init(loop, &server->timer);
    (void)uv_check_start(&server->turn, on_turn);
    (void)!getrandom(&seed, sizeof seed, 0);
    engine_init(&server->engine, &options->limits, seed);
    if (ledger_open(options->dir, &server->engine, uv_now(loop), &server->ledger, err) < 0 ||
        listen_at(server, err) < 0) {
        zserver_stop(server);
        (void)uv_run(loop, UV_RUN_DEFAULT);
        zserver_free(server);
        return err_code(err);
    }
    arm_timer(server, UINT64_MAX);
    *ret_server = server;
    return 0;
}

int zserver_port(const struct zserver *server)
{
    struct sockaddr_storage addr = { 0 };
    int len = sizeof addr;

    (void)uv_tcp_getsockname(&server->listener, (struct sockaddr *)&addr, &len);
    return ntohs(addr.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&addr)->sin6_port
                                            : ((struct sockaddr_in *)&addr)->sin_port);
}

const struct err *zserver_failure(const struct zserver *server)
{
    return &server->failure;
}

void zserver_free(struct zserver *server)
{
    if (server == NULL) {
        return;
    }
    ledger_close(server->ledger);
    engine_fini(&server->engine);
    free(server);
}
