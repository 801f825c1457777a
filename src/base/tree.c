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
 *            look through /proc for DAVIT_RUN=<token> in environments (DAVIT_RUN_OF=<token> in a
 *            tree inside of it), for the process group and for all descendants of those.  An
 *            orphan that wiped its environment is still ours when no other tree can have lost it.
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

#include "base/clock.h"
#include "base/tree_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>
#include <utlist.h>

enum { SPARES_MAX = 8, TICK_MAX_MS = 20 };

static const char *const rung_names[] = { "auto", "cgroup2", "cgroup1", "pidns", "sweep" };

static struct tree *spares;
static struct tree *open_sweeps; /* Live trees on the sweep rung. */

/* --- Shared with the rungs. --- */

int tree_read_small(int dir_fd, const char *name, struct buf *ret)
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

void tree_add_pid(struct tree_pids *list, pid_t pid)
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

void tree_signal_pids(const struct tree_pids *list, int signum)
{
    for (size_t i = 0; i < list->n; i++) {
        if (list->pids[i] > 1) {
            (void)kill(list->pids[i], signum);
        }
    }
}

bool tree_is_only_sweep(const struct tree *tree)
{
    return open_sweeps == tree && tree->next == NULL;
}

/* --- The rung. --- */

enum tree_rung tree_best_rung(void)
{
    const char *forced = getenv("DAVIT_KILL_RUNG");

    tree_groups_know();
    for (int rung = TREE_CGROUP2; forced != NULL && rung <= TREE_SWEEP; rung++) {
        if (strcmp(forced, rung_names[rung]) == 0) {
            return (enum tree_rung)rung;
        }
    }
    for (int rung = TREE_CGROUP2; rung < TREE_SWEEP; rung++) {
        if (tree_groups_work((enum tree_rung)rung)) {
            return (enum tree_rung)rung;
        }
    }
    return TREE_SWEEP;
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

/* --- Trees. --- */

static struct tree *new_tree(const char *token, enum tree_rung rung)
{
    struct tree *tree = mem_alloc(sizeof *tree);

    (void)snprintf(tree->token, sizeof tree->token, "%s", token);
    (void)snprintf(tree->env, sizeof tree->env, TREE_ENV "%s", token);
    (void)snprintf(tree->name, sizeof tree->name, "davit-%s", token);
    tree->rung = rung;
    tree->v2_fd = -1;
    for (int use = 0; use < TREE_V1_COUNT; use++) {
        tree->v1_fds[use] = -1;
    }
    return tree;
}

static bool same_limits(const struct tree_limits *a, const struct tree_limits *b)
{
    return a->cpu_milli == b->cpu_milli && a->mem_bytes == b->mem_bytes && a->pids == b->pids;
}

static struct tree *take_spare(enum tree_rung rung, const struct tree_options *options)
{
    struct tree *tree;

    DL_FOREACH(spares, tree)
    {
        if (tree->rung == rung && same_limits(&tree->limits, &options->limits)) {
            DL_DELETE(spares, tree);
            (void)snprintf(tree->token, sizeof tree->token, "%s", options->token);
            tree->root = 0;
            tree->empty = false;
            return tree;
        }
    }
    return NULL;
}

int tree_new(const struct tree_options *options, struct tree **ret_tree, struct err *err)
{
    static unsigned n_groups;
    size_t len = strlen(options->token);

    tree_groups_know();
    enum tree_rung rung = options->rung != TREE_AUTO ? options->rung : tree_best_rung();
    if (len == 0 || len > TREE_TOKEN_MAX ||
        strspn(options->token, "abcdefghijklmnopqrstuvwxyz"
                               "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                               "0123456789-_") != len) {
        return err_set(err, ERR_INVALID, "token of a process tree: '%s'", options->token);
    }
    if (!tree_groups_work(rung)) {
        return err_set(err, ERR_UNSUPPORTED, "process trees by %s do not work here",
                       rung_names[rung]);
    }
    struct tree *spare = options->shortlived ? take_spare(rung, options) : NULL;
    if (spare != NULL) {
        *ret_tree = spare;
        return 0;
    }
    CLEANUP(tree_freep) struct tree *tree = new_tree(options->token, rung);
    tree->shortlived = options->shortlived;
    tree->limits = options->limits;
    tree->spare_orphans = options->spare_orphans;
    if (tree->shortlived) {
        (void)snprintf(tree->name, sizeof tree->name, "davit-s%d-%u", (int)getpid(), n_groups++);
    }
    if (tree_groups_open(tree) < 0) {
        return err_set(err, ERR_IO, "make cgroup %s: %s", tree->name, strerror(errno));
    }
    tree_groups_limit(tree, &options->limits);
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
    tree_groups_know();
    CLEANUP(tree_freep) struct tree *tree = new_tree(token, TREE_SWEEP);
    tree->adopted = true;
    tree_groups_adopt(tree);
    return TAKE(tree);
}

static void drop_tree(struct tree *tree)
{
    tree_groups_close(tree);
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
    bool group = tree->rung < TREE_PIDNS;
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
    struct tree_pids list = { 0 };

    if (tree->rung < TREE_PIDNS) {
        tree_groups_list(tree, &list);
    } else if (tree->adopted || tree->root != 0) {
        tree_sweep_list(tree, &list);
    }
    *ret_pids = list.pids;
    return list.n;
}

static bool look_empty(struct tree *tree)
{
    CLEANUP_BUF text = { 0 };
    pid_t *pids = NULL;

    if (tree->rung == TREE_CGROUP2 && tree_read_small(tree->v2_fd, "cgroup.events", &text) == 0 &&
        strstr(buf_text(&text), "populated 0") != NULL) {
        return true;
    }
    if (tree->rung >= TREE_PIDNS && !tree->adopted && !child_is_known(tree->root) &&
        (tree->rung == TREE_PIDNS || !tree_sweep_may_have_orphans())) {
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
    struct tree_pids list = { 0 };

    list.n = tree_pids(tree, &list.pids);
    tree_signal_pids(&list, signum);
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
    case TREE_CGROUP1:
        tree_groups_kill(tree);
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
