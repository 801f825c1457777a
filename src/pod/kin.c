/* SPDX-License-Identifier: Apache-2.0 */

/* kin: who descends from us, found, signalled and reaped.
 *
 * The kernel keeps the list (/proc/PID/task/TID/children); it costs what there is below
 * us, not what the machine runs.  Kernels built without it are searched by parent.
 * Not a limit on resources and no help after our own death: base/tree.h is.
 * Invariants: a pid is signalled through a pidfd whose parent was checked after it was
 * opened, so never a stranger that got the number; children started by
 * base/child.h are never reaped here.
 */
#include "pod/kin.h"

#include "base/child.h"
#include "base/mem.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>

struct list {
    struct kin_process *items;
    size_t n, cap;
};

static void add(struct list *list, pid_t pid, pid_t parent)
{
    if (list->n == list->cap) {
        list->cap = list->cap ? list->cap * 2 : 16;
        list->items = mem_realloc(list->items, list->cap * sizeof(*list->items));
    }
    list->items[list->n++] = (struct kin_process){ pid, parent };
}

/* The parent of pid, or 0 when it is gone. */
static pid_t parent_of(pid_t pid)
{
    char path[32];
    char stat[512];

    (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, stat, sizeof(stat) - 1);
    if (n <= 0) {
        return 0;
    }
    stat[n] = '\0';
    const char *after_name = strrchr(stat, ')'); /* ") S 123 ...": state, parent */
    return after_name && strlen(after_name) > 4 ? (pid_t)strtol(after_name + 4, NULL, 10) : 0;
}

/* One task's own children.  False: this kernel does not tell. */
static bool children_of_task(struct list *list, pid_t pid, const char *tid)
{
    char path[64];
    char text[4096];
    size_t have = 0;

    (void)snprintf(path, sizeof(path), "/proc/%d/task/%.16s/children", (int)pid, tid);
    CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    for (;;) {
        ssize_t n = read(fd, text + have, sizeof(text) - 1 - have);

        have += n > 0 ? (size_t)n : 0;
        text[have] = '\0';
        char *at = text;
        for (char *blank = strchr(at, ' '); blank; blank = strchr(at, ' ')) {
            add(list, (pid_t)strtol(at, NULL, 10), pid);
            at = blank + 1;
        }
        have = strlen(at);
        memmove(text, at, have);
        if (n <= 0) {
            return true;
        }
    }
}

static bool children_of(struct list *list, pid_t pid)
{
    char path[32];
    bool told = false;

    (void)snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    DIR *dir = opendir(path);
    for (struct dirent *entry = dir ? readdir(dir) : NULL; entry; entry = readdir(dir)) {
        if (isdigit((unsigned char)entry->d_name[0])) {
            told = children_of_task(list, pid, entry->d_name) || told;
        }
    }
    if (dir) {
        (void)closedir(dir);
    }
    return told;
}

static bool among(const struct list *list, pid_t pid)
{
    for (size_t i = 0; i < list->n; i++) {
        if (list->items[i].pid == pid) {
            return true;
        }
    }
    return false;
}

/* For kernels without the children files: all processes, until no more are found. */
static void search(struct list *list)
{
    size_t before;

    do {
        DIR *dir = opendir("/proc");

        before = list->n;
        for (struct dirent *entry = dir ? readdir(dir) : NULL; entry; entry = readdir(dir)) {
            pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
            pid_t parent = pid > 0 ? parent_of(pid) : 0;

            if (parent > 0 && (parent == getpid() || among(list, parent)) && !among(list, pid)) {
                add(list, pid, parent);
            }
        }
        if (dir) {
            (void)closedir(dir);
        }
    } while (list->n > before);
}

size_t kin_list(struct kin_process **ret_list)
{
    struct list list = { 0 };

    if (!children_of(&list, getpid())) {
        search(&list);
    } else {
        for (size_t i = 0; i < list.n; i++) {
            (void)children_of(&list, list.items[i].pid);
        }
    }
    *ret_list = list.items;
    return list.n;
}

bool kin_signal(const struct kin_process *process, int signum)
{
    CLEANUP(fd_closep) int pidfd = pidfd_open(process->pid, 0);

    if (pidfd < 0) {
        return false;
    }
    pid_t parent = parent_of(process->pid);
    /* Its parent may have died since, which made it ours. */
    if (parent != process->parent && parent != getpid()) {
        return false;
    }
    return pidfd_send_signal(pidfd, signum, NULL, 0) == 0;
}

bool kin_none(void)
{
    siginfo_t info = { 0 };

    return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 && errno == ECHILD;
}

bool kin_reap_adopted(void)
{
    for (;;) {
        siginfo_t info = { 0 };

        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == 0) {
            return true;
        }
        if (child_is_known(info.si_pid)) {
            return false;
        }
        (void)waitid(P_PID, (id_t)info.si_pid, &info, WEXITED | WNOHANG);
    }
}
