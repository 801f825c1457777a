/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the files of process trees share:
 *
 *   tree.c         trees: made, adopted, signalled, emptied; the best rung
 *   tree_groups.c  the rungs with cgroups, of both versions, and limits
 *   tree_sweep.c   the rungs without: looking through /proc
 */

#include "base/buf.h"
#include "base/tree.h"

enum { TREE_TOKEN_MAX = 64 };

/* The v1 hierarchies that we may use. */
enum tree_v1 { TREE_V1_FREEZER, TREE_V1_PIDS, TREE_V1_MEMORY, TREE_V1_CPU, TREE_V1_COUNT };

struct tree {
    char token[TREE_TOKEN_MAX + 1];
    char env[TREE_TOKEN_MAX + 16]; /* "DAVIT_RUN=<token>" */
    char name[TREE_TOKEN_MAX + 16];
    enum tree_rung rung;
    bool shortlived;
    bool adopted;
    bool spare_orphans;
    bool spent;                /* Was killed by cgroup.kill. */
    bool empty;                /* Seen empty after its start: nobody can join any more. */
    struct tree_limits limits; /* Asked for. */
    unsigned limits_applied;
    int v2_fd;                 /* Group directory; -1: none. */
    int v1_fds[TREE_V1_COUNT]; /* Group directories in hierarchies; -1: not in it. */
    int procs[TREE_V1_COUNT];  /* Open cgroup.procs of those, for the child to join. */
    size_t n_procs;
    int kill_use; /* The v1 hierarchy that is listed and killed. */
    pid_t root;   /* First process; 0: not started. */
    uint64_t root_ticks;
    uint64_t since_ticks; /* No member is older. */
    struct tree *prev, *next;
};

struct tree_pids {
    pid_t *pids;
    size_t n, cap;
};

/* ---- tree.c ---- */

/* The text of a small file of /proc or a cgroup. */
int tree_read_small(int dir_fd, const char *name, struct buf *ret);

void tree_add_pid(struct tree_pids *list, pid_t pid);
void tree_signal_pids(const struct tree_pids *list, int signum);

/* Is this the only tree that can have lost a process to us? */
bool tree_is_only_sweep(const struct tree *tree);

/* ---- tree_groups.c ---- */

/* Looks once what this machine offers this user; before everything else here. */
void tree_groups_know(void);
bool tree_groups_work(enum tree_rung rung);

/* Makes the group of the tree's rung, or finds those that an earlier owner made and
 * sets the rung by them. */
int tree_groups_open(struct tree *tree);
void tree_groups_adopt(struct tree *tree);
void tree_groups_close(struct tree *tree);

/* As far as the machine lets us: limits_applied says how far. */
void tree_groups_limit(struct tree *tree, const struct tree_limits *limits);

void tree_groups_list(const struct tree *tree, struct tree_pids *list);
void tree_groups_kill(struct tree *tree);

/* ---- tree_sweep.c ---- */

void tree_sweep_list(struct tree *tree, struct tree_pids *list);

/* Can there be any process of a dead one's?  One read. */
bool tree_sweep_may_have_orphans(void);
