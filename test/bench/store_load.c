/* SPDX-License-Identifier: Apache-2.0 */

/* store_load: creates per second at a ZooKeeper server, whichever it is.
 *
 *   store_load HOST PORT PARENT CLIENTS OUTSTANDING TOTAL
 *
 * CLIENTS connections keep OUTSTANDING create requests each (100 bytes of data)
 * under PARENT, until TOTAL are answered; prints the rate as one number.  Its own
 * frames, so that the same and as little client time as possible is in each
 * figure.  Any error answer ends it with status 1.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { DATA = 100, IN_BYTES = 1 << 16, MAX_CLIENTS = 1024, CREATE = 1 };

struct client {
    int fd;
    int outstanding;
    int xid;
    size_t in_len;
    char in[IN_BYTES];
};

struct run {
    const char *parent;
    int n_clients;
    int depth;
    long total;
    long sent;
    long answered;
    struct client *clients;
};

static void die(const char *what)
{
    fprintf(stderr, "store_load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static char *put32(char *at, uint32_t value)
{
    value = htonl(value);
    memcpy(at, &value, sizeof value);
    return at + sizeof value;
}

static char *put_text(char *at, const char *text, size_t len)
{
    at = put32(at, (uint32_t)len);
    memcpy(at, text, len);
    return at + len;
}

static uint32_t get32(const char *at)
{
    uint32_t value = 0;

    memcpy(&value, at, sizeof value);
    return ntohl(value);
}

static void send_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);

        if (n < 0) {
            die("send");
        }
        bytes += n;
        len -= (size_t)n;
    }
}

/* Returns the frame's length; reads until it is whole. */
static size_t read_first(struct client *client)
{
    while (client->in_len < 4 || client->in_len < 4 + get32(client->in)) {
        ssize_t n = recv(client->fd, client->in + client->in_len, IN_BYTES - client->in_len, 0);

        if (n <= 0) {
            die("receive");
        }
        client->in_len += (size_t)n;
    }
    return get32(client->in);
}

static size_t make_create(char *frame, int xid, const char *path)
{
    static const char filler[DATA] = "davit";
    char *at = frame + 4;

    at = put32(at, (uint32_t)xid);
    at = put32(at, CREATE);
    at = put_text(at, path, strlen(path));
    at = put_text(at, filler, DATA);
    at = put32(at, 1);
    at = put32(at, 31);
    at = put_text(at, "world", 5);
    at = put_text(at, "anyone", 6);
    at = put32(at, 0);
    (void)put32(frame, (uint32_t)(at - frame - 4));
    return (size_t)(at - frame);
}

static void dial(struct client *client, const char *host, int port)
{
    struct sockaddr_in addr = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    char hello[64] = { 0 };
    int one = 1;

    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (client->fd < 0 || inet_pton(AF_INET, host, &addr.sin_addr) != 1 ||
        connect(client->fd, (struct sockaddr *)&addr, sizeof addr) < 0) {
        die("connect");
    }
    (void)setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    (void)put32(hello, 45);         /* length: protocol, zxid, timeout, session, */
    (void)put32(hello + 16, 30000); /* password of 16 bytes, read-only flag */
    (void)put32(hello + 28, 16);
    send_all(client->fd, hello, 49);
    (void)read_first(client);
    client->in_len = 0;
}

static void fill(struct run *run, struct client *client)
{
    static char batch[1 << 20];
    size_t len = 0;
    char path[256];

    while (client->outstanding < run->depth && run->sent < run->total &&
           len + 1024 < sizeof batch) {
        (void)snprintf(path, sizeof path, "%s/n%09ld", run->parent, run->sent++);
        len += make_create(batch + len, ++client->xid, path);
        client->outstanding++;
    }
    send_all(client->fd, batch, len);
}

static void drain(struct run *run, struct client *client)
{
    ssize_t n = recv(client->fd, client->in + client->in_len, IN_BYTES - client->in_len, 0);
    size_t at = 0;

    if (n <= 0) {
        die("receive");
    }
    client->in_len += (size_t)n;
    while (client->in_len - at >= 4 && client->in_len - at >= 4 + get32(client->in + at)) {
        int code = (int)get32(client->in + at + 16);

        if (code != 0) {
            fprintf(stderr, "store_load: server answered %d\n", code);
            exit(1);
        }
        at += 4 + get32(client->in + at);
        client->outstanding--;
        run->answered++;
    }
    memmove(client->in, client->in + at, client->in_len - at);
    client->in_len -= at;
}

static double seconds(void)
{
    struct timespec now = { 0 };

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double go(struct run *run)
{
    struct pollfd *polls = calloc((size_t)run->n_clients, sizeof *polls);
    double start = seconds();

    if (polls == NULL) {
        die("memory");
    }
    for (int i = 0; i < run->n_clients; i++) {
        polls[i] = (struct pollfd){ .fd = run->clients[i].fd, .events = POLLIN };
        fill(run, &run->clients[i]);
    }
    while (run->answered < run->total) {
        if (poll(polls, (nfds_t)run->n_clients, 30000) <= 0) {
            die("no answer in 30 s");
        }
        for (int i = 0; i < run->n_clients; i++) {
            if (polls[i].revents != 0) {
                drain(run, &run->clients[i]);
                fill(run, &run->clients[i]);
            }
        }
    }
    free(polls);
    return (double)run->total / (seconds() - start);
}

int main(int argc, char **argv)
{
    if (argc != 7) {
        fprintf(stderr, "usage: store_load HOST PORT PARENT CLIENTS OUTSTANDING TOTAL\n");
        return 2;
    }
    struct run run = { .parent = argv[3],
                       .n_clients = (int)strtol(argv[4], NULL, 10),
                       .depth = (int)strtol(argv[5], NULL, 10),
                       .total = strtol(argv[6], NULL, 10) };
    char frame[1024];

    if (run.n_clients < 1 || run.n_clients > MAX_CLIENTS || strlen(run.parent) > 200) {
        fprintf(stderr, "store_load: bad arguments\n");
        return 2;
    }
    run.clients = calloc((size_t)run.n_clients, sizeof *run.clients);
    if (run.clients == NULL) {
        die("memory");
    }
    for (int i = 0; i < run.n_clients; i++) {
        dial(&run.clients[i], argv[1], (int)strtol(argv[2], NULL, 10));
    }
    struct client *first = &run.clients[0];

    send_all(first->fd, frame, make_create(frame, 0, run.parent));
    (void)read_first(first);
    first->in_len = 0;
    printf("%.0f\n", go(&run));
    for (int i = 0; i < run.n_clients; i++) {
        (void)close(run.clients[i].fd);
    }
    free(run.clients);
    return 0;
}
