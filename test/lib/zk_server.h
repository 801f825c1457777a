/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A real store for a test: davit-store, or Apache ZooKeeper from Debian's package; with ticks of
 * 100 ms, so that sessions may be as short as 200 ms. */

#include "base/file.h"
#include "base/str.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

struct zk_server {
    bool apache;
    char dir[32];
    char address[32];
    int port;
    pid_t pid;
};

static inline int zk_server_free_port(void)
{
    struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof addr;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&addr, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
    close(fd);
    return ntohs(addr.sin_port);
}

static inline bool zk_server_answers(const struct zk_server *server)
{
    struct sockaddr_in addr = { .sin_family = AF_INET,
                                .sin_port = htons((uint16_t)server->port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    CLEANUP(fd_closep) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    return connect(fd, (struct sockaddr *)&addr, sizeof addr) == 0;
}

static inline void zk_server_spawn(struct zk_server *server)
{
    extern char **environ;
    CLEANUP(strv_freep) char **argv = NULL;
    posix_spawn_file_actions_t actions;

    if (server->apache) {
        strv_add(&argv, "java");
        strv_add(&argv, "-XX:TieredStopAtLevel=1");
        strv_add(&argv, "-Dzookeeper.admin.enableServer=false");
        strv_add(&argv, "-cp");
        strv_add(&argv, "/usr/share/java/zookeeper.jar:/usr/share/java/slf4j-nop.jar");
        strv_add(&argv, "org.apache.zookeeper.server.quorum.QuorumPeerMain");
        strv_addf(&argv, "%s/zoo.cfg", server->dir);
    } else {
        strv_add(&argv, getenv("DAVIT_STORE"));
        strv_add(&argv, "--dir");
        strv_addf(&argv, "%s/data", server->dir);
        strv_add(&argv, "--listen");
        strv_add(&argv, server->address);
        strv_add(&argv, "--tick");
        strv_add(&argv, "100");
    }
    CLEANUP(mem_freep) char *log = str_printf("%s/log", server->dir);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    posix_spawn_file_actions_adddup2(&actions, 1, 2);
    assert_int_equal(posix_spawnp(&server->pid, argv[0], &actions, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    for (int i = 0; i < 1500 && !zk_server_answers(server); i++) {
        usleep(10 * 1000); /* No event tells; the loop of the deadline is here. */
    }
    assert_true(zk_server_answers(server));
}

static inline void zk_server_kill(struct zk_server *server)
{
    kill(server->pid, SIGKILL);
    waitpid(server->pid, NULL, 0);
    server->pid = 0;
}

static inline void zk_server_start(struct zk_server *server, bool apache)
{
    struct err err = { 0 };

    server->apache = apache;
    snprintf(server->dir, sizeof server->dir, "/tmp/davit-zk-XXXXXX");
    assert_non_null(mkdtemp(server->dir));
    server->port = zk_server_free_port();
    snprintf(server->address, sizeof server->address, "127.0.0.1:%d", server->port);
    CLEANUP(mem_freep)
    char *config =
        str_printf("tickTime=100\ndataDir=%s/data\nclientPort=%d\nclientPortAddress=127.0.0.1\n",
                   server->dir, server->port);
    CLEANUP(mem_freep) char *path = file_join(server->dir, "zoo.cfg");
    assert_int_equal(file_write(path, config, strlen(config), 0600, false, &err), 0);
    zk_server_spawn(server);
}

static inline void zk_server_stop(struct zk_server *server)
{
    struct err err = { 0 };

    zk_server_kill(server);
    assert_int_equal(file_remove_tree(server->dir, &err), 0);
}
