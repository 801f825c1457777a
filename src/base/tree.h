/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/child.h"
#include "base/err.h"
#include "base/mem.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

/* A set of processes that can be listed and killed whole, whatever they fork. */
struct tree;

/* How: the best that this machine and user allow, or one forced (tests, and
 * DAVIT_KILL_RUNG=cgroup2|cgroup1|pidns|sweep for a whole program). */
enum tree_rung { TREE_AUTO, TREE_CGROUP2, TREE_CGROUP1, TREE_PIDNS, TREE_SWEEP };

/* 0 means no limit. */
struct tree_limits {
    uint64_t cpu_milli; /* Of one processor's time: 1500 is one and a half. */
    uint64_t mem_bytes;
    uint64_t pids;
};

enum tree_limit_bits { TREE_LIMIT_CPU = 1, TREE_LIMIT_MEM = 2, TREE_LIMIT_PIDS = 4 };

struct tree_options {
    /* Names the tree for tree_adopt(): letters, digits, '-', '_', at most 64.  Unique. */
    const char *token;
    enum tree_rung rung;
    bool shortlived; /* Uses a group again when it is empty: cheap, cannot be adopted by name. */
    /* This process has orphans of others, which are not its to end: on the sweep rung what wiped
     * its environment and lost its parent is then nobody's. */
    bool spare_orphans;
    struct tree_limits limits;
};

/* ERR_UNSUPPORTED when the forced rung does not work here. */
int tree_new(const struct tree_options *options, struct tree **ret_tree, struct err *err);

/* The tree of an earlier owner of the token.  Never fails: without a trace of it the
 * result is an empty tree. */
struct tree *tree_adopt(const char *token);

/* Forgets the tree and removes its group if it is empty; processes still in it run on. */
void tree_free(struct tree *tree);
DEFINE_FREEP(struct tree, tree_free)

/* Have the process to be started by options born inside the tree; options is borrowed
 * by the tree until the start, the tree by options.  Call tree_started() afterwards. */
void tree_join(struct tree *tree, struct child_options *options);
void tree_started(struct tree *tree, pid_t pid);

/* What marks members on the rungs without groups: "DAVIT_RUN=<token>"; and, of a tree that this
 * one's owner is in itself, the other name. */
#define TREE_ENV       "DAVIT_RUN="
#define TREE_ENV_OUTER "DAVIT_RUN_OF="

/* "DAVIT_RUN=<token>" if this tree needs it in each of its processes' environment, else
 * NULL.  Borrowed. */
const char *tree_env(const struct tree *tree);

/* Which rung is in use: of one tree, or the best one here.  "cgroup2", ... */
enum tree_rung tree_rung(const struct tree *tree);
enum tree_rung tree_best_rung(void);
const char *tree_rung_name(enum tree_rung rung);

/* TREE_LIMIT_* of those asked for that are in force. */
unsigned tree_limits_applied(const struct tree *tree);

/* Of a tree with a memory limit: how many members the kernel killed for want of memory, and the
 * most that they used at once; 0 when not known. */
uint64_t tree_oom_kills(const struct tree *tree);
uint64_t tree_mem_peak_bytes(const struct tree *tree);

/* Live members (no zombies).  *ret_pids is the caller's; NULL when there are none. */
size_t tree_pids(struct tree *tree, pid_t **ret_pids);
bool tree_is_empty(struct tree *tree);

/* Signal every member once; SIGKILL by the rung's own means.  Not a guarantee: see
 * tree_kill_start(). */
void tree_signal(struct tree *tree, int signum);

/* Empty the tree: TERM now, KILL after term_ms (at once when 0), and again until nothing
 * is left.  Fires once, later on the loop; kill->err.code is 0 (empty), ERR_TIMEOUT
 * (members left deadline_ms after the start; kill->left says how many) or ERR_CANCELED. */
struct tree_kill;
typedef void (*tree_kill_cb)(struct tree_kill *kill);

struct tree_kill {
    void *data;
    struct err err;
    size_t left;
    /* Private to tree.c. */
    struct tree *tree;
    uv_timer_t timer;
    uint64_t started_ms, term_ms, deadline_ms, next_ms;
    bool done;
    tree_kill_cb cb;
};

void tree_kill_start(struct tree_kill *kill, uv_loop_t *loop, struct tree *tree, uint64_t term_ms,
                     uint64_t deadline_ms, tree_kill_cb cb);
void tree_kill_cancel(struct tree_kill *kill);

/* Remove the groups that dead owners left: short-lived ones with what is still in them,
 * others when they are empty.  For a program that recovers after a crash. */
void tree_remove_stale(void);

/* Remove the empty groups kept for short-lived trees; at the end of a program. */
void tree_drop_spares(void);
