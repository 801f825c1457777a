/* SPDX-License-Identifier: Apache-2.0 */

/* tree: processes that are listed and killed as one, by the best means at hand.
 *
 * Used for hook runs (short-lived) and for pods (which outlive their owner and are found
 * again by token).  Starting a process is child.c's.
 *
 * The rungs, best first; tests force each:
 *   cgroup2  a group below our own; `cgroup.kill` ends it at one stroke.
 *   cgroup1  the same in the freezer hierarchy (or pids): freeze, SIGKILL each, thaw.
 *   pidns    the first process is number 1 of its own PID namespace: its end is the end of
 *            all.  As number 1 it gets only the signals that it handles, so TERM often does
 *            nothing and KILL comes at its time.
 *   sweep    no kernel object.  We become the subreaper, so nothing escapes to init, and
 *            look through /proc for DAVIT_RUN=<token> in environments, for the process group
 *            and for all descendants of those.  An orphan that wiped its environment is still
 *            ours when no other tree can have lost it.
 *
 * Happy path of a short-lived tree: take a spare group, the child is born in it, it ends, one
 * read says that the group is empty, the group is spare again.
 * Failure: a group that cannot be emptied is reported by tree_kill's ERR_TIMEOUT and its
 * directory left to the next owner of the token.
 * Invariants: group directories are named davit-<token>, short-lived ones davit-s<pid>-<n>
 * (removed at exit, or by tree_remove_stale() when their owner is dead); limits are set in v2
 * files where the kernel offers them, else in the v1 hierarchy that has the controller.
 */
#include "base/tree.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/str.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <utlist.h>

enum { SPARES_MAX = 8, TOKEN_MAX = 64, DEPTH_MAX = 8, TICK_MAX_MS = 20 };

/* The v1 hierarchies that we may use. */
enum v1_use { V1_FREEZER, V1_PIDS, V1_MEMORY, V1_CPU, V1_COUNT };

static const char *const v1_names[V1_COUNT] = { "freezer", "pids", "memory", "cpu" };
static const char *const rung_names[] = { "auto", "cgroup2", "cgroup1", "pidns", "sweep" };

struct tree {
    char token[TOKEN_MAX + 1];
    char env[TOKEN_MAX + 16]; /* "DAVIT_RUN=<token>" */
    char name[TOKEN_MAX + 16];
    enum tree_rung rung;
    bool shortlived;
    bool adopted;
    bool spent; /* Was killed by cgroup.kill. */
    bool empty; /* Seen empty after its start: nobody can join any more. */
    unsigned limits_applied;
    int v2_fd;            /* Group directory; -1: none. */
    int v1_fds[V1_COUNT]; /* Group directories in hierarchies; -1: not in it. */
    int procs[V1_COUNT];  /* Open cgroup.procs of those, for the child to join. */
    size_t n_procs;
    int kill_use; /* The v1 hierarchy that is listed and killed. */
    pid_t root;   /* First process; 0: not started. */
    uint64_t root_ticks;
    uint64_t since_ticks; /* No member is older. */
    struct tree *prev, *next;
};

/* What this machine offers this user; found out once. */
static struct {
    bool known;
    int v2_base; /* Our own cgroup's directory; -1: none. */
    int v1_base[V1_COUNT];
    bool v2_works, v1_works, pidns_works;
} host = { .v2_base = -1 };

static struct tree *spares;
static struct tree *open_sweeps; /* Live trees on the sweep rung. */

static void kill_v1(int dir_fd);
static void remove_group(int base_fd, const char *name, int depth);
static bool group_is_empty(int dir_fd);

/* --- What is there. --- */

/* The text of a small file of /proc or a cgroup. */
static int read_small(int dir_fd, const char *name, struct buf *ret)
{
    CLEANUP(fd_closep) int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);

    buf_clear(ret);
    if (fd < 0) {
        return -1;
    }
    for (;;) {
        buf_reserve(ret, 4096);
        ret->data[ret->len] = '\0';
        ssize_t n = read(fd, ret->data + ret->len, 4096);
        if (n <= 0) {
            break;
        }
        ret->len += (size_t)n;
    }
    return 0;
}

static int write_small(int dir_fd, const char *name, const char *text)
{
    CLEANUP(fd_closep) int fd = openat(dir_fd, name, O_WRONLY | O_CLOEXEC);

    if (fd < 0) {
        return -1;
    }
    return write(fd, text, strlen(text)) < 0 ? -1 : 0;
}

static bool has_word(const char *list, const char *word)
{
    size_t len = strlen(word);

    for (const char *at = list; (at = strstr(at, word)) != NULL; at += len) {
        if ((at == list || at[-1] == ',') && (at[len] == '\0' || at[len] == ',')) {
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
        if (controller == NULL ? *list == '\0' : has_word(list, controller)) {
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
    for (int use = 0; strcmp(type, "cgroup") == 0 && use < V1_COUNT; use++) {
        if (has_word(options, v1_names[use]) && host.v1_base[use] < 0 &&
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

static bool can_namespace(void)
{
    CLEANUP_BUF status = { 0 };
    const char *caps = read_small(AT_FDCWD, "/proc/self/status", &status) == 0
                           ? strstr(buf_text(&status), "CapEff:")
                           : NULL;

    return caps != NULL && (strtoull(caps + 7, NULL, 16) >> 21 & 1) != 0; /* CAP_SYS_ADMIN */
}

/* Is nobody holding the group any more?  Its owner locks it for life; the pid in a
 * short-lived one's name alone could be another PID namespace's. */
static bool is_stale(int group, const char *name)
{
    long pid = str_starts(name, "davit-s") ? strtol(name + 7, NULL, 10) : 0;

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

static void know_host(void)
{
    CLEANUP_BUF mounts = { 0 };
    CLEANUP_BUF cgroups = { 0 };

    if (host.known) {
        return;
    }
    host.known = true;
    for (int use = 0; use < V1_COUNT; use++) {
        host.v1_base[use] = -1;
    }
    if (read_small(AT_FDCWD, "/proc/self/mountinfo", &mounts) == 0 &&
        read_small(AT_FDCWD, "/proc/self/cgroup", &cgroups) == 0) {
        CLEANUP(strv_freep) char **lines = str_split(buf_text(&mounts), "\n");
        for (size_t i = 0; lines[i] != NULL; i++) {
            find_mount(lines[i], buf_text(&cgroups));
        }
    }
    host.v2_works = can_group(host.v2_base, "cgroup.kill");
    host.v1_works = can_group(host.v1_base[V1_FREEZER], "freezer.state") ||
                    can_group(host.v1_base[V1_PIDS], "cgroup.procs");
    host.pidns_works = can_namespace();
}

void tree_remove_stale(void)
{
    know_host();
    remove_stale(host.v2_base, true);
    for (int use = 0; use < V1_COUNT; use++) {
        remove_stale(host.v1_base[use], false);
    }
}

enum tree_rung tree_best_rung(void)
{
    const char *forced = getenv("DAVIT_KILL_RUNG");

    know_host();
    for (int rung = TREE_CGROUP2; forced != NULL && rung <= TREE_SWEEP; rung++) {
        if (strcmp(forced, rung_names[rung]) == 0) {
            return (enum tree_rung)rung;
        }
    }
    if (host.v2_works) {
        return TREE_CGROUP2;
    }
    if (host.v1_works) {
        return TREE_CGROUP1;
    }
    return host.pidns_works ? TREE_PIDNS : TREE_SWEEP;
}

const char *tree_rung_name(enum tree_rung rung)
{
    return rung_names[rung];
}

enum tree_rung tree_rung(const struct tree *tree)
{
    return tree->rung;
}

unsigned tree_limits_applied(const struct tree *tree)
{
    return tree->limits_applied;
}

/* --- Groups (both versions). --- */

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

static int join_v1(struct tree *tree, enum v1_use use)
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

/* One limit: the v2 file where the kernel offers it, else the v1 hierarchy's. */
static bool set_limit(struct tree *tree, const char *v2_file, const char *v2_text, enum v1_use use,
                      const char *v1_file, const char *v1_text)
{
    if (tree->v2_fd >= 0 && write_small(tree->v2_fd, v2_file, v2_text) == 0) {
        return true;
    }
    return join_v1(tree, use) == 0 && write_small(tree->v1_fds[use], v1_file, v1_text) == 0;
}

static void set_limits(struct tree *tree, const struct tree_limits *limits)
{
    char v1[32];
    char v2[64];

    if (limits->cpu_milli == 0 && limits->mem_bytes == 0 && limits->pids == 0) {
        return;
    }
    if (tree->v2_fd >= 0) {
        /* Best effort: refused below the root while our group has processes of its own. */
        (void)write_small(host.v2_base, "cgroup.subtree_control", "+cpu +memory +pids");
    }
    if (limits->cpu_milli > 0) {
        (void)snprintf(v1, sizeof v1, "%llu", (unsigned long long)limits->cpu_milli * 100);
        (void)snprintf(v2, sizeof v2, "%s 100000", v1);
        if (set_limit(tree, "cpu.max", v2, V1_CPU, "cpu.cfs_quota_us", v1)) {
            tree->limits_applied |= TREE_LIMIT_CPU;
        }
    }
    if (limits->mem_bytes > 0) {
        (void)snprintf(v1, sizeof v1, "%llu", (unsigned long long)limits->mem_bytes);
        if (set_limit(tree, "memory.max", v1, V1_MEMORY, "memory.limit_in_bytes", v1)) {
            tree->limits_applied |= TREE_LIMIT_MEM;
        }
    }
    if (limits->pids > 0) {
        (void)snprintf(v1, sizeof v1, "%llu", (unsigned long long)limits->pids);
        if (set_limit(tree, "pids.max", v1, V1_PIDS, "pids.max", v1)) {
            tree->limits_applied |= TREE_LIMIT_PIDS;
        }
    }
}

struct pid_list {
    pid_t *pids;
    size_t n, cap;
};

static void list_add(struct pid_list *list, pid_t pid)
{
    if (list->n == list->cap) {
        list->cap = list->cap == 0 ? 64 : list->cap * 2;
        pid_t *grown = mem_alloc(list->cap * sizeof *grown);
        if (list->n > 0) {
            memcpy(grown, list->pids, list->n * sizeof *grown);
        }
        free(list->pids);
        list->pids = grown;
    }
    list->pids[list->n++] = pid;
}

static void list_group(int dir_fd, void *arg)
{
    struct pid_list *list = arg;
    CLEANUP_BUF procs = { 0 };

    if (read_small(dir_fd, "cgroup.procs", &procs) < 0) {
        return;
    }
    for (char *at = procs.data, *end; at != NULL && *at != '\0'; at = end + 1) {
        list_add(list, (pid_t)strtol(at, &end, 10));
        if (*end == '\0') {
            break;
        }
    }
}

static bool group_is_empty(int dir_fd)
{
    struct pid_list list = { 0 };

    walk_groups(dir_fd, 0, list_group, &list);
    free(list.pids);
    return list.n == 0;
}

static void signal_list(const struct pid_list *list, int signum)
{
    for (size_t i = 0; i < list->n; i++) {
        if (list->pids[i] > 1) {
            (void)kill(list->pids[i], signum);
        }
    }
}

/* Frozen processes fork no more, so the list is whole; they die when thawed. */
static void kill_v1(int dir_fd)
{
    struct pid_list list = { 0 };

    (void)write_small(dir_fd, "freezer.state", "FROZEN");
    walk_groups(dir_fd, 0, list_group, &list);
    signal_list(&list, SIGKILL);
    (void)write_small(dir_fd, "freezer.state", "THAWED");
    free(list.pids);
}

/* --- The process table, for the rungs without groups. --- */

struct proc {
    pid_t pid, ppid, pgrp, sid;
    char state;
    uint64_t ticks;
    bool member;
};

struct proc_table {
    struct proc *procs;
    size_t n, cap;
};

static int read_proc(int proc_fd, const char *name, struct buf *buf, struct proc *ret)
{
    char path[300];
    char state = '?';
    int ppid = 0;
    int pgrp = 0;
    int sid = 0;
    unsigned long long ticks = 0;

    (void)snprintf(path, sizeof path, "%s/stat", name);
    if (read_small(proc_fd, path, buf) < 0) {
        return -1;
    }
    char *at = strrchr(buf_text(buf), ')');
    if (at == NULL ||
        sscanf(at + 1, /* NOLINT(cert-err34-c): the kernel wrote it. */
               " %c %d %d %d %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu",
               &state, &ppid, &pgrp, &sid, &ticks) != 5) {
        return -1;
    }
    *ret = (struct proc){ .pid = (pid_t)strtol(name, NULL, 10),
                          .ppid = ppid,
                          .pgrp = pgrp,
                          .sid = sid,
                          .state = state,
                          .ticks = ticks };
    return 0;
}

static bool is_dead(const struct proc *proc)
{
    return proc->state == 'Z' || proc->state == 'X';
}

static void read_table(struct proc_table *table)
{
    CLEANUP_BUF buf = { 0 };
    DIR *dir = opendir("/proc");

    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        struct proc proc;
        if (!isdigit((unsigned char)entry->d_name[0]) ||
            read_proc(dirfd(dir), entry->d_name, &buf, &proc) < 0) {
            continue;
        }
        if (table->n == table->cap) {
            table->cap = table->cap == 0 ? 256 : table->cap * 2;
            struct proc *grown = mem_alloc(table->cap * sizeof *grown);
            if (table->n > 0) {
                memcpy(grown, table->procs, table->n * sizeof *grown);
            }
            free(table->procs);
            table->procs = grown;
        }
        table->procs[table->n++] = proc;
    }
    if (dir != NULL) {
        closedir(dir);
    }
}

enum env_answer { ENV_OURS, ENV_OTHERS, ENV_NONE, ENV_UNREADABLE };

/* Whose DAVIT_RUN does this process carry? */
static enum env_answer ask_environ(pid_t pid, const char *env, struct buf *buf)
{
    char path[64];

    (void)snprintf(path, sizeof path, "/proc/%d/environ", (int)pid);
    if (read_small(AT_FDCWD, path, buf) < 0) {
        return ENV_UNREADABLE;
    }
    enum env_answer answer = ENV_NONE;
    for (size_t at = 0; at < buf->len; at += strlen(buf->data + at) + 1) {
        if (strcmp(buf->data + at, env) == 0) {
            return ENV_OURS;
        }
        if (str_starts(buf->data + at, "DAVIT_RUN=")) {
            answer = ENV_OTHERS;
        }
    }
    return answer;
}

static int by_pid(const void *a, const void *b)
{
    return ((const struct proc *)a)->pid - ((const struct proc *)b)->pid;
}

static const struct proc *find_proc(const struct proc_table *table, pid_t pid)
{
    struct proc key = { .pid = pid };

    return bsearch(&key, table->procs, table->n, sizeof key, by_pid);
}

static bool is_lost_orphan(const struct tree *tree, const struct proc *proc)
{
    return !tree->adopted && proc->ppid == getpid() && !child_is_known(proc->pid) &&
           open_sweeps == tree && tree->next == NULL;
}

static bool is_seed(struct tree *tree, const struct proc *proc, struct buf *buf)
{
    if (proc->ticks < tree->since_ticks || proc->pid == getpid()) {
        return false;
    }
    if (tree->root != 0 && proc->ticks >= tree->root_ticks &&
        ((proc->pid == tree->root && proc->ticks == tree->root_ticks) ||
         (tree->rung == TREE_SWEEP && proc->pgrp == tree->root))) {
        return true;
    }
    if (tree->rung != TREE_SWEEP || is_dead(proc)) {
        return false;
    }
    switch (ask_environ(proc->pid, tree->env, buf)) {
    case ENV_OURS:
        return true;
    case ENV_OTHERS:
        return false;
    case ENV_NONE:
    case ENV_UNREADABLE:
        break;
    }
    return is_lost_orphan(tree, proc);
}

/* Zombies that init would have reaped, had we not become the subreaper. */
static void reap_stray(const struct proc *proc)
{
    siginfo_t info;

    if (proc->state == 'Z' && proc->ppid == getpid() && !child_is_known(proc->pid)) {
        (void)waitid(P_PID, (id_t)proc->pid, &info, WEXITED | WNOHANG);
    }
}

static void list_sweep(struct tree *tree, struct pid_list *list)
{
    CLEANUP_BUF buf = { 0 };
    struct proc_table table = { 0 };
    bool changed = true;

    read_table(&table);
    if (table.n > 0) {
        qsort(table.procs, table.n, sizeof table.procs[0], by_pid);
    }
    for (size_t i = 0; i < table.n; i++) {
        table.procs[i].member = is_seed(tree, &table.procs[i], &buf);
    }
    while (changed) {
        changed = false;
        for (size_t i = 0; i < table.n; i++) {
            const struct proc *parent =
                table.procs[i].member ? NULL : find_proc(&table, table.procs[i].ppid);
            if (parent != NULL && parent->member) {
                table.procs[i].member = changed = true;
            }
        }
    }
    for (size_t i = 0; i < table.n; i++) {
        if (table.procs[i].member && !is_dead(&table.procs[i])) {
            list_add(list, table.procs[i].pid);
        }
        if (tree->rung == TREE_SWEEP) {
            reap_stray(&table.procs[i]);
        }
    }
    free(table.procs);
}

/* With us as subreaper all that a dead program leaves behind hangs below children of ours
 * that we did not start; one read tells whether there are any. */
static bool may_have_orphans(void)
{
    CLEANUP_BUF children = { 0 };
    char path[64];

    (void)snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    if (read_small(AT_FDCWD, path, &children) < 0) {
        return true; /* A kernel without that file. */
    }
    for (char *at = children.data, *end; at != NULL && isdigit((unsigned char)*at); at = end) {
        if (!child_is_known((pid_t)strtol(at, &end, 10))) {
            return true;
        }
        end += *end == ' ';
    }
    return false;
}

/* --- Trees. --- */

static bool works(enum tree_rung rung)
{
    switch (rung) {
    case TREE_CGROUP2:
        return host.v2_works;
    case TREE_CGROUP1:
        return host.v1_works;
    case TREE_PIDNS:
        return host.pidns_works;
    case TREE_AUTO:
    case TREE_SWEEP:
        break;
    }
    return true;
}

static struct tree *new_tree(const char *token, enum tree_rung rung)
{
    struct tree *tree = mem_alloc(sizeof *tree);

    (void)snprintf(tree->token, sizeof tree->token, "%s", token);
    (void)snprintf(tree->env, sizeof tree->env, "DAVIT_RUN=%s", token);
    (void)snprintf(tree->name, sizeof tree->name, "davit-%s", token);
    tree->rung = rung;
    tree->v2_fd = -1;
    for (int use = 0; use < V1_COUNT; use++) {
        tree->v1_fds[use] = -1;
    }
    return tree;
}

static struct tree *take_spare(enum tree_rung rung, const char *token)
{
    struct tree *tree;

    DL_FOREACH(spares, tree)
    {
        if (tree->rung == rung) {
            DL_DELETE(spares, tree);
            (void)snprintf(tree->token, sizeof tree->token, "%s", token);
            tree->root = 0;
            tree->empty = false;
            return tree;
        }
    }
    return NULL;
}

static int open_groups(struct tree *tree)
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
        tree->kill_use = V1_FREEZER;
        if (join_v1(tree, V1_FREEZER) < 0) {
            tree->kill_use = V1_PIDS;
            return join_v1(tree, V1_PIDS);
        }
    }
    return 0;
}

int tree_new(const struct tree_options *options, struct tree **ret_tree, struct err *err)
{
    static unsigned n_groups;
    const struct tree_limits *limits = &options->limits;
    bool plain = limits->cpu_milli == 0 && limits->mem_bytes == 0 && limits->pids == 0;
    size_t len = strlen(options->token);

    know_host();
    enum tree_rung rung = options->rung != TREE_AUTO ? options->rung : tree_best_rung();
    if (len == 0 || len > TOKEN_MAX ||
        strspn(options->token, "abcdefghijklmnopqrstuvwxyz"
                               "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                               "0123456789-_") != len) {
        return err_set(err, ERR_INVALID, "token of a process tree: '%s'", options->token);
    }
    if (!works(rung)) {
        return err_set(err, ERR_UNSUPPORTED, "process trees by %s do not work here",
                       rung_names[rung]);
    }
    struct tree *spare = options->shortlived && plain ? take_spare(rung, options->token) : NULL;
    if (spare != NULL) {
        *ret_tree = spare;
        return 0;
    }
    CLEANUP(tree_freep) struct tree *tree = new_tree(options->token, rung);
    tree->shortlived = options->shortlived && plain;
    if (tree->shortlived) {
        (void)snprintf(tree->name, sizeof tree->name, "davit-s%d-%u", (int)getpid(), n_groups++);
    }
    if (open_groups(tree) < 0) {
        return err_set(err, ERR_IO, "make cgroup %s: %s", tree->name, strerror(errno));
    }
    set_limits(tree, limits);
    if (rung == TREE_SWEEP) {
        struct err ignored;
        (void)prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
        (void)child_start_time(getpid(), &tree->since_ticks, &ignored);
        DL_APPEND(open_sweeps, tree);
    }
    *ret_tree = TAKE(tree);
    return 0;
}

struct tree *tree_adopt(const char *token)
{
    know_host();
    CLEANUP(tree_freep) struct tree *tree = new_tree(token, TREE_SWEEP);
    tree->adopted = true;
    if (host.v2_base >= 0) {
        tree->v2_fd = openat(host.v2_base, tree->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    for (int use = 0; use < V1_COUNT; use++) {
        if (host.v1_base[use] >= 0) {
            tree->v1_fds[use] =
                openat(host.v1_base[use], tree->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        }
    }
    if (tree->v2_fd >= 0) {
        tree->rung = TREE_CGROUP2;
    } else if (tree->v1_fds[V1_FREEZER] >= 0 || tree->v1_fds[V1_PIDS] >= 0) {
        tree->rung = TREE_CGROUP1;
        tree->kill_use = tree->v1_fds[V1_FREEZER] >= 0 ? V1_FREEZER : V1_PIDS;
    }
    return TAKE(tree);
}

static void drop_tree(struct tree *tree)
{
    if (tree->v2_fd >= 0) {
        fd_closep(&tree->v2_fd);
        remove_group(host.v2_base, tree->name, 0);
    }
    for (int use = 0; use < V1_COUNT; use++) {
        if (tree->v1_fds[use] >= 0) {
            fd_closep(&tree->v1_fds[use]);
            remove_group(host.v1_base[use], tree->name, 0);
        }
    }
    for (size_t i = 0; i < tree->n_procs; i++) {
        fd_closep(&tree->procs[i]);
    }
    free(tree);
}

void tree_free(struct tree *tree)
{
    struct tree *at;
    int n = 0;

    if (tree == NULL) {
        return;
    }
    if (tree->rung == TREE_SWEEP && !tree->adopted && tree->since_ticks != 0) {
        DL_DELETE(open_sweeps, tree);
    }
    DL_COUNT(spares, at, n);
    bool group = tree->v2_fd >= 0 || tree->n_procs > 0;
    if (tree->shortlived && group && !tree->spent && n < SPARES_MAX && tree_is_empty(tree)) {
        DL_PREPEND(spares, tree);
        return;
    }
    drop_tree(tree);
}

void tree_drop_spares(void)
{
    struct tree *tree;
    struct tree *tmp;

    DL_FOREACH_SAFE(spares, tree, tmp)
    {
        DL_DELETE(spares, tree);
        drop_tree(tree);
    }
}

void tree_join(struct tree *tree, struct child_options *options)
{
    options->cgroup2_dir_fd = tree->v2_fd >= 0 ? tree->v2_fd : 0;
    options->cgroup1_procs_fds = tree->procs;
    options->n_cgroup1_procs_fds = tree->n_procs;
    options->pid_namespace = tree->rung == TREE_PIDNS;
}

void tree_started(struct tree *tree, pid_t pid)
{
    struct err err;

    tree->empty = false;
    if (tree->root == 0) {
        tree->root = pid;
        if (tree->rung >= TREE_PIDNS) {
            (void)child_start_time(pid, &tree->root_ticks, &err);
        }
    }
}

const char *tree_env(const struct tree *tree)
{
    return tree->rung >= TREE_PIDNS ? tree->env : NULL;
}

size_t tree_pids(struct tree *tree, pid_t **ret_pids)
{
    struct pid_list list = { 0 };

    if (tree->rung == TREE_CGROUP2) {
        walk_groups(tree->v2_fd, 0, list_group, &list);
    } else if (tree->rung == TREE_CGROUP1) {
        walk_groups(tree->v1_fds[tree->kill_use], 0, list_group, &list);
    } else if (tree->adopted || tree->root != 0) {
        list_sweep(tree, &list);
    }
    *ret_pids = list.pids;
    return list.n;
}

static bool look_empty(struct tree *tree)
{
    CLEANUP_BUF text = { 0 };
    pid_t *pids = NULL;

    if (tree->rung == TREE_CGROUP2 && read_small(tree->v2_fd, "cgroup.events", &text) == 0 &&
        strstr(buf_text(&text), "populated 0") != NULL) {
        return true;
    }
    if (tree->rung >= TREE_PIDNS && !tree->adopted && !child_is_known(tree->root) &&
        (tree->rung == TREE_PIDNS || !may_have_orphans())) {
        return true;
    }
    size_t n = tree_pids(tree, &pids);
    free(pids);
    return n == 0;
}

bool tree_is_empty(struct tree *tree)
{
    if (!tree->empty) {
        bool empty = look_empty(tree);
        tree->empty = empty && tree->root != 0;
        return empty;
    }
    return true;
}

static void signal_each(struct tree *tree, int signum)
{
    struct pid_list list = { 0 };

    list.n = tree_pids(tree, &list.pids);
    signal_list(&list, signum);
    free(list.pids);
}

void tree_signal(struct tree *tree, int signum)
{
    if (signum != SIGKILL) {
        signal_each(tree, signum);
        return;
    }
    switch (tree->rung) {
    case TREE_CGROUP2:
        /* Kernels up to 6.18 at least kill whatever is cloned into a group that was ever
         * killed from outside, so such a group is not used again. */
        tree->spent = true;
        (void)write_small(tree->v2_fd, "cgroup.kill", "1");
        break;
    case TREE_CGROUP1:
        kill_v1(tree->v1_fds[tree->kill_use]);
        break;
    case TREE_PIDNS:
    case TREE_SWEEP:
    case TREE_AUTO:
        /* Stopped processes fork no more: the second list holds what the first missed. */
        signal_each(tree, SIGSTOP);
        signal_each(tree, SIGKILL);
        break;
    }
}

/* --- Emptying one. --- */

static void on_kill_closed(uv_handle_t *handle)
{
    struct tree_kill *kill = handle->data;

    kill->cb(kill); /* Last: the callback may free the request. */
}

static void kill_finish(struct tree_kill *kill, int code, const char *why)
{
    if (kill->done) {
        return;
    }
    kill->done = true;
    if (code != 0) {
        err_setf(&kill->err, code, "end process tree %s: %s", kill->tree->token, why);
    }
    uv_close((uv_handle_t *)&kill->timer, on_kill_closed);
}

static void on_tick(uv_timer_t *timer)
{
    struct tree_kill *kill = timer->data;
    uint64_t passed_ms = clock_now_ms() - kill->started_ms;

    if (tree_is_empty(kill->tree)) {
        kill_finish(kill, 0, NULL);
        return;
    }
    if (passed_ms >= kill->deadline_ms) {
        CLEANUP(mem_freep) pid_t *pids = NULL;
        kill->left = tree_pids(kill->tree, &pids);
        kill_finish(kill, ERR_TIMEOUT, "some processes cannot be killed");
        return;
    }
    if (passed_ms >= kill->term_ms) {
        tree_signal(kill->tree, SIGKILL);
    }
    kill->next_ms = kill->next_ms * 2 > TICK_MAX_MS ? TICK_MAX_MS : kill->next_ms * 2;
    (void)uv_timer_start(&kill->timer, on_tick, kill->next_ms, 0);
}

void tree_kill_start(struct tree_kill *kill, uv_loop_t *loop, struct tree *tree, uint64_t term_ms,
                     uint64_t deadline_ms, tree_kill_cb cb)
{
    *kill = (struct tree_kill){ .data = kill->data,
                                .tree = tree,
                                .started_ms = clock_now_ms(),
                                .term_ms = term_ms,
                                .deadline_ms = deadline_ms,
                                .next_ms = 1,
                                .cb = cb };
    (void)uv_timer_init(loop, &kill->timer);
    kill->timer.data = kill;
    if (term_ms > 0) {
        tree_signal(tree, SIGTERM);
    }
    (void)uv_timer_start(&kill->timer, on_tick, 0, 0);
}

void tree_kill_cancel(struct tree_kill *kill)
{
    kill_finish(kill, ERR_CANCELED, "canceled");
}
