/* SPDX-License-Identifier: Apache-2.0 */

/* tree_groups: process trees as cgroups, where this user may make any.
 *
 * Version 2 ends a group at one stroke; of version 1 the freezer holds it still (or pids lists
 * it) while each member is killed.  Groups are made below our own, named by the tree, and locked
 * for their owner's life, so that what dead owners left can be told and removed.
 *
 * Failures: what cannot be made or limited is not used; the rung below serves.
 */
#include "base/tree_priv.h"

#include "base/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { DEPTH_MAX = 8, NEW_S = 5 };

static const char *const v1_names[TREE_V1_COUNT] = { "freezer", "pids", "memory", "cpu" };

enum answer { UNKNOWN, YES, NO };

/* What this machine offers this user; each found out once, when it is first asked for: a
 * davit-pod that has a group of version 2 need not know the rest. */
static struct {
    bool known;
    int v2_base; /* Our own cgroup's directory; -1: none. */
    int v1_base[TREE_V1_COUNT];
    enum answer v2_works, v1_works, pidns_works, v2_limits;
} host = { .v2_base = -1 };

static int write_small(int dir_fd, const char *name, const char *text)
{
    CLEANUP(fd_closep) int fd = openat(dir_fd, name, O_WRONLY | O_CLOEXEC);

    if (fd < 0) {
        return -1;
    }
    return write(fd, text, strlen(text)) < 0 ? -1 : 0;
}

/* --- Groups. --- */

static int make_group(int base_fd, const char *name)
{
    if (base_fd < 0 || (mkdirat(base_fd, name, 0755) < 0 && errno != EEXIST)) {
        return -1;
    }
    return openat(base_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* Call fn for the group and all groups below it, the deepest first. */
static void walk_groups(int dir_fd, int depth, void (*fn)(int dir_fd, void *arg), void *arg)
{
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;

    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        if (entry->d_type != DT_DIR || entry->d_name[0] == '.' || depth >= DEPTH_MAX) {
            continue;
        }
        CLEANUP(fd_closep) int sub = openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (sub >= 0) {
            walk_groups(sub, depth + 1, fn, arg);
        }
    }
    if (dir != NULL) {
        closedir(dir);
    }
    fn(dir_fd, arg);
}

static void list_group(int dir_fd, void *arg)
{
    struct tree_pids *list = arg;
    CLEANUP_BUF procs = { 0 };

    if (tree_read_small(dir_fd, "cgroup.procs", &procs) < 0) {
        return;
    }
    for (char *at = procs.data, *end; at != NULL && *at != '\0'; at = end + 1) {
        tree_add_pid(list, (pid_t)strtol(at, &end, 10));
        if (*end == '\0') {
            break;
        }
    }
}

static bool group_is_empty(int dir_fd)
{
    struct tree_pids list = { 0 };

    walk_groups(dir_fd, 0, list_group, &list);
    free(list.pids);
    return list.n == 0;
}

/* The group and those below it, if there is no process in any: an empty one inside may
 * belong to a pod that lives in the outer one. */
static void remove_group(int base_fd, const char *name, int depth)
{
    if (unlinkat(base_fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT || depth >= DEPTH_MAX) {
        return;
    }
    int fd = openat(base_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    bool empty = fd >= 0 && (depth > 0 || group_is_empty(fd));
    for (struct dirent *entry; empty && dir != NULL && (entry = readdir(dir)) != NULL;) {
        if (entry->d_type == DT_DIR && entry->d_name[0] != '.') {
            remove_group(fd, entry->d_name, depth + 1);
        }
    }
    if (dir != NULL) {
        closedir(dir);
    }
    (void)unlinkat(base_fd, name, AT_REMOVEDIR);
}

/* Frozen processes fork no more, so the list is whole; they die when thawed. */
static void kill_v1(int dir_fd)
{
    struct tree_pids list = { 0 };

    (void)write_small(dir_fd, "freezer.state", "FROZEN");
    walk_groups(dir_fd, 0, list_group, &list);
    tree_signal_pids(&list, SIGKILL);
    (void)write_small(dir_fd, "freezer.state", "THAWED");
    free(list.pids);
}

/* --- What is there. --- */

static bool has_word(const char *list, const char *word, const char *separators)
{
    size_t len = strlen(word);

    for (const char *at = list; (at = strstr(at, word)) != NULL; at += len) {
        /* The string's own end counts as a separator to strchr(). */
        if ((at == list || strchr(separators, at[-1])) && strchr(separators, at[len])) {
            return true;
        }
    }
    return false;
}

/* Our path in the hierarchy with this controller (NULL: the v2 one), from
 * /proc/self/cgroup ("6:freezer:/a/b"). */
static bool own_path(const char *cgroups, const char *controller, char *ret, size_t size)
{
    CLEANUP(strv_freep) char **lines = str_split(cgroups, "\n");

    for (size_t i = 0; lines[i] != NULL; i++) {
        char *list = strchr(lines[i], ':');
        char *path = list != NULL ? strchr(list + 1, ':') : NULL;
        if (path == NULL) {
            continue;
        }
        *path++ = '\0';
        list++;
        if (controller == NULL ? *list == '\0' : has_word(list, controller, ",")) {
            return snprintf(ret, size, "%s", path) < (int)size;
        }
    }
    return false;
}

/* Open our own directory below a mount whose root (4th field of mountinfo) is shown. */
static int open_own(const char *mount, const char *root, const char *own)
{
    char path[4096];
    size_t skip = strcmp(root, "/") == 0 ? 0 : strlen(root);

    if (skip > 0 && strncmp(own, root, skip) != 0) {
        own = "/"; /* The mount shows another part of the hierarchy: use its top. */
        skip = 0;
    }
    (void)snprintf(path, sizeof path, "%s%s", mount, own + skip);
    return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void find_mount(char *line, const char *cgroups)
{
    char own[2048];
    char *save = NULL;
    char *fields[6] = { NULL };
    char *tail = strstr(line, " - ");

    if (tail == NULL) {
        return;
    }
    *tail = '\0';
    tail += 3;
    fields[0] = strtok_r(line, " ", &save);
    for (int i = 1; i < 6 && fields[i - 1] != NULL; i++) {
        fields[i] = strtok_r(NULL, " ", &save);
    }
    char *type = strtok_r(tail, " ", &save);
    (void)strtok_r(NULL, " ", &save);
    char *options = strtok_r(NULL, " ", &save);
    if (fields[4] == NULL || type == NULL || options == NULL) {
        return;
    }
    if (strcmp(type, "cgroup2") == 0 && host.v2_base < 0 &&
        own_path(cgroups, NULL, own, sizeof own)) {
        host.v2_base = open_own(fields[4], fields[3], own);
    }
    for (int use = 0; strcmp(type, "cgroup") == 0 && use < TREE_V1_COUNT; use++) {
        if (has_word(options, v1_names[use], ",") && host.v1_base[use] < 0 &&
            own_path(cgroups, v1_names[use], own, sizeof own)) {
            host.v1_base[use] = open_own(fields[4], fields[3], own);
        }
    }
}

static bool can_group(int base_fd, const char *file)
{
    char name[64];
    char path[128];

    (void)snprintf(name, sizeof name, "davit-probe-%d", (int)getpid());
    if (base_fd < 0 || mkdirat(base_fd, name, 0755) < 0) {
        return false;
    }
    (void)snprintf(path, sizeof path, "%s/%s", name, file);
    bool works = faccessat(base_fd, path, W_OK, AT_EACCESS) == 0;
    (void)unlinkat(base_fd, name, AT_REMOVEDIR);
    /* A child may be born in a group only by whoever may write our own group's list. */
    return works && faccessat(base_fd, "cgroup.procs", W_OK, AT_EACCESS) == 0;
}

static bool may_write(int dir_fd, const char *name)
{
    return faccessat(dir_fd, name, W_OK, AT_EACCESS) == 0;
}

/* Below the root our own group shows what one of ours would have; no need to make one. */
static bool can_group2(void)
{
    if (host.v2_base >= 0 && may_write(host.v2_base, ".") &&
        may_write(host.v2_base, "cgroup.kill")) {
        return may_write(host.v2_base, "cgroup.procs");
    }
    return can_group(host.v2_base, "cgroup.kill");
}

static bool can_group1(void)
{
    return can_group(host.v1_base[TREE_V1_FREEZER], "freezer.state") ||
           can_group(host.v1_base[TREE_V1_PIDS], "cgroup.procs");
}

static bool can_namespace(void)
{
    CLEANUP_BUF status = { 0 };
    const char *caps = tree_read_small(AT_FDCWD, "/proc/self/status", &status) == 0
                           ? strstr(buf_text(&status), "CapEff:")
                           : NULL;

    return caps != NULL && (strtoull(caps + 7, NULL, 16) >> 21 & 1) != 0; /* CAP_SYS_ADMIN */
}

/* Is nobody holding the group any more?  Its owner locks it for life, from a moment after it
 * made it; the pid in a short-lived one's name alone could be another PID namespace's. */
static bool is_stale(int group, const char *name)
{
    long pid = str_starts(name, "davit-s") ? strtol(name + 7, NULL, 10) : 0;
    struct stat st;

    if (pid == 0 && (fstat(group, &st) < 0 || time(NULL) - st.st_ctime < NEW_S)) {
        return false;
    }

    if (pid > 0 && (kill((pid_t)pid, 0) == 0 || errno != ESRCH)) {
        return false;
    }
    return flock(group, LOCK_EX | LOCK_NB) == 0;
}

static void remove_stale(int base_fd, bool v2)
{
    int fd = base_fd >= 0 ? openat(base_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;

    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        if (!str_starts(entry->d_name, "davit-")) {
            continue;
        }
        CLEANUP(fd_closep)
        int group = openat(base_fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (group < 0 || !is_stale(group, entry->d_name)) {
            continue;
        }
        /* What is still in a short-lived one was started by a hook that nobody waits for;
         * a named one may have an owner to come, and is removed only when empty. */
        if (str_starts(entry->d_name, "davit-s")) {
            if (v2) {
                (void)write_small(group, "cgroup.kill", "1");
            } else {
                kill_v1(group);
            }
        }
        remove_group(base_fd, entry->d_name, 0);
    }
    if (dir != NULL) {
        closedir(dir);
    }
}

void tree_groups_know(void)
{
    CLEANUP_BUF mounts = { 0 };
    CLEANUP_BUF cgroups = { 0 };

    if (host.known) {
        return;
    }
    host.known = true;
    for (int use = 0; use < TREE_V1_COUNT; use++) {
        host.v1_base[use] = -1;
    }
    if (tree_read_small(AT_FDCWD, "/proc/self/mountinfo", &mounts) == 0 &&
        tree_read_small(AT_FDCWD, "/proc/self/cgroup", &cgroups) == 0) {
        CLEANUP(strv_freep) char **lines = str_split(buf_text(&mounts), "\n");
        for (size_t i = 0; lines[i] != NULL; i++) {
            find_mount(lines[i], buf_text(&cgroups));
        }
    }
}

void tree_remove_stale(void)
{
    tree_groups_know();
    remove_stale(host.v2_base, true);
    for (int use = 0; use < TREE_V1_COUNT; use++) {
        remove_stale(host.v1_base[use], false);
    }
}

static bool once(enum answer *known, bool (*find_out)(void))
{
    if (*known == UNKNOWN) {
        *known = find_out() ? YES : NO;
    }
    return *known == YES;
}

bool tree_groups_work(enum tree_rung rung)
{
    switch (rung) {
    case TREE_CGROUP2:
        return once(&host.v2_works, can_group2);
    case TREE_CGROUP1:
        return once(&host.v1_works, can_group1);
    case TREE_PIDNS:
        return once(&host.pidns_works, can_namespace);
    case TREE_AUTO:
    case TREE_SWEEP:
        break;
    }
    return true;
}

/* --- A tree's groups. --- */

static int join_v1(struct tree *tree, enum tree_v1 use)
{
    if (tree->v1_fds[use] >= 0) {
        return 0;
    }
    int dir_fd = make_group(host.v1_base[use], tree->name);
    if (dir_fd >= 0) {
        (void)flock(dir_fd, LOCK_EX | LOCK_NB);
    }
    int procs = dir_fd >= 0 ? openat(dir_fd, "cgroup.procs", O_WRONLY | O_CLOEXEC) : -1;
    if (procs < 0) {
        fd_closep(&dir_fd);
        return -1;
    }
    tree->v1_fds[use] = dir_fd;
    tree->procs[tree->n_procs++] = procs;
    return 0;
}

/* Where version 1 has the controllers, version 2 has none of them to hand down. */
static bool has_controllers(void)
{
    static const char *const wanted[] = { "cpu", "memory", "pids" };
    CLEANUP_BUF text = { 0 };

    if (tree_read_small(host.v2_base, "cgroup.controllers", &text) < 0) {
        return false;
    }
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        if (has_word(buf_text(&text), wanted[i], " \n")) {
            return true;
        }
    }
    return false;
}

/* One limit: the v2 file where the kernel offers it, else the v1 hierarchy's. */
static bool set_limit(struct tree *tree, const char *v2_file, const char *v2_text, enum tree_v1 use,
                      const char *v1_file, const char *v1_text)
{
    if (tree->v2_fd >= 0 && once(&host.v2_limits, has_controllers) &&
        write_small(tree->v2_fd, v2_file, v2_text) == 0) {
        return true;
    }
    return join_v1(tree, use) == 0 && write_small(tree->v1_fds[use], v1_file, v1_text) == 0;
}

void tree_groups_limit(struct tree *tree, const struct tree_limits *limits)
{
    char v1[32];
    char v2[64];

    if (limits->cpu_milli == 0 && limits->mem_bytes == 0 && limits->pids == 0) {
        return;
    }
    if (tree->v2_fd >= 0 && once(&host.v2_limits, has_controllers)) {
        /* Best effort: refused below the root while our group has processes of its own. */
        (void)write_small(host.v2_base, "cgroup.subtree_control", "+cpu +memory +pids");
    }
    if (limits->cpu_milli > 0) {
        (void)snprintf(v1, sizeof v1, "%llu", (unsigned long long)limits->cpu_milli * 100);
        (void)snprintf(v2, sizeof v2, "%s 100000", v1);
        if (set_limit(tree, "cpu.max", v2, TREE_V1_CPU, "cpu.cfs_quota_us", v1)) {
            tree->limits_applied |= TREE_LIMIT_CPU;
        }
    }
    if (limits->mem_bytes > 0) {
        (void)snprintf(v1, sizeof v1, "%llu", (unsigned long long)limits->mem_bytes);
        if (set_limit(tree, "memory.max", v1, TREE_V1_MEMORY, "memory.limit_in_bytes", v1)) {
            tree->limits_applied |= TREE_LIMIT_MEM;
        }
    }
    if (limits->pids > 0) {
        (void)snprintf(v1, sizeof v1, "%llu", (unsigned long long)limits->pids);
        if (set_limit(tree, "pids.max", v1, TREE_V1_PIDS, "pids.max", v1)) {
            tree->limits_applied |= TREE_LIMIT_PIDS;
        }
    }
}

int tree_groups_open(struct tree *tree)
{
    if (tree->rung == TREE_CGROUP2) {
        /* An empty one of an earlier owner could be spent: begin with a fresh one. */
        remove_group(host.v2_base, tree->name, 0);
        tree->v2_fd = make_group(host.v2_base, tree->name);
        if (tree->v2_fd >= 0) {
            (void)flock(tree->v2_fd, LOCK_EX | LOCK_NB);
        }
        return tree->v2_fd < 0 ? -1 : 0;
    }
    if (tree->rung == TREE_CGROUP1) {
        tree->kill_use = TREE_V1_FREEZER;
        if (join_v1(tree, TREE_V1_FREEZER) < 0) {
            tree->kill_use = TREE_V1_PIDS;
            return join_v1(tree, TREE_V1_PIDS);
        }
    }
    return 0;
}

void tree_groups_adopt(struct tree *tree)
{
    if (host.v2_base >= 0) {
        tree->v2_fd = openat(host.v2_base, tree->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    for (int use = 0; use < TREE_V1_COUNT; use++) {
        if (host.v1_base[use] >= 0) {
            tree->v1_fds[use] =
                openat(host.v1_base[use], tree->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        }
    }
    if (tree->v2_fd >= 0) {
        tree->rung = TREE_CGROUP2;
    } else if (tree->v1_fds[TREE_V1_FREEZER] >= 0 || tree->v1_fds[TREE_V1_PIDS] >= 0) {
        tree->rung = TREE_CGROUP1;
        tree->kill_use = tree->v1_fds[TREE_V1_FREEZER] >= 0 ? TREE_V1_FREEZER : TREE_V1_PIDS;
    }
}

void tree_groups_close(struct tree *tree)
{
    if (tree->v2_fd >= 0) {
        fd_closep(&tree->v2_fd);
        remove_group(host.v2_base, tree->name, 0);
    }
    for (int use = 0; use < TREE_V1_COUNT; use++) {
        if (tree->v1_fds[use] >= 0) {
            fd_closep(&tree->v1_fds[use]);
            remove_group(host.v1_base[use], tree->name, 0);
        }
    }
    for (size_t i = 0; i < tree->n_procs; i++) {
        fd_closep(&tree->procs[i]);
    }
}

void tree_groups_list(const struct tree *tree, struct tree_pids *list)
{
    int dir_fd = tree->rung == TREE_CGROUP2 ? tree->v2_fd : tree->v1_fds[tree->kill_use];

    walk_groups(dir_fd, 0, list_group, list);
}

void tree_groups_kill(struct tree *tree)
{
    if (tree->rung == TREE_CGROUP1) {
        kill_v1(tree->v1_fds[tree->kill_use]);
        return;
    }
    /* Kernels up to 6.18 at least kill whatever is cloned into a group that was ever
     * killed from outside, so such a group is not used again. */
    tree->spent = true;
    (void)write_small(tree->v2_fd, "cgroup.kill", "1");
}

/* --- What a memory limit did. --- */

/* The number after the word, or of a file that is nothing else (word NULL). */
static uint64_t number_in(int dir_fd, const char *file, const char *word)
{
    CLEANUP_BUF text = { 0 };
    const char *at = NULL;

    if (dir_fd >= 0 && tree_read_small(dir_fd, file, &text) == 0) {
        at = word != NULL ? strstr(buf_text(&text), word) : buf_text(&text);
    }
    return at != NULL ? strtoull(at + (word != NULL ? strlen(word) : 0), NULL, 10) : 0;
}

uint64_t tree_oom_kills(const struct tree *tree)
{
    if ((tree->limits_applied & TREE_LIMIT_MEM) == 0) {
        return 0;
    }
    return tree->v1_fds[TREE_V1_MEMORY] >= 0
               ? number_in(tree->v1_fds[TREE_V1_MEMORY], "memory.oom_control", "\noom_kill ")
               : number_in(tree->v2_fd, "memory.events", "\noom_kill ");
}

uint64_t tree_mem_peak_bytes(const struct tree *tree)
{
    return tree->v1_fds[TREE_V1_MEMORY] >= 0
               ? number_in(tree->v1_fds[TREE_V1_MEMORY], "memory.max_usage_in_bytes", NULL)
               : number_in(tree->v2_fd, "memory.peak", NULL);
}
