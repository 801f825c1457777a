/* SPDX-License-Identifier: Apache-2.0 */

/* tree_sweep: the members of a process tree that has no group, from the process table.
 *
 * Members are the first process and its group, whoever carries the tree's DAVIT_RUN, and all
 * descendants of those.  Under PID namespaces the first process alone, with its descendants.
 *
 * Failures: a process that ends while we look is not there; one whose environment cannot be
 * read counts as carrying none.
 */
#include "base/tree_priv.h"

#include "base/str.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

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
    if (tree_read_small(proc_fd, path, buf) < 0) {
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
static enum env_answer ask_environ(pid_t pid, const struct tree *tree, struct buf *buf)
{
    char path[64];

    (void)snprintf(path, sizeof path, "/proc/%d/environ", (int)pid);
    if (tree_read_small(AT_FDCWD, path, buf) < 0) {
        return ENV_UNREADABLE;
    }
    enum env_answer answer = ENV_NONE;
    for (size_t at = 0; at < buf->len; at += strlen(buf->data + at) + 1) {
        const char *var = buf->data + at;

        if (str_eq(var, tree->env) || (str_starts(var, TREE_ENV_OUTER) &&
                                       str_eq(var + strlen(TREE_ENV_OUTER), tree->token))) {
            return ENV_OURS;
        }
        if (str_starts(var, TREE_ENV)) {
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
    return !tree->adopted && !tree->spare_orphans && proc->ppid == getpid() &&
           !child_is_known(proc->pid) && tree_is_only_sweep(tree);
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
    switch (ask_environ(proc->pid, tree, buf)) {
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

void tree_sweep_list(struct tree *tree, struct tree_pids *list)
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
            tree_add_pid(list, table.procs[i].pid);
        }
        if (tree->rung == TREE_SWEEP) {
            reap_stray(&table.procs[i]);
        }
    }
    free(table.procs);
}

/* With us as subreaper all that a dead program leaves behind hangs below children of ours
 * that we did not start; one read tells whether there are any. */
bool tree_sweep_may_have_orphans(void)
{
    CLEANUP_BUF children = { 0 };
    char path[64];

    (void)snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    if (tree_read_small(AT_FDCWD, path, &children) < 0) {
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
