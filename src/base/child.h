/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <uv.h>

struct child;

/* Fires exactly once per successful child_start() or child_watch(), later on the
 * loop.  child->err.code is 0 (the process has ended; the fields below are set) or
 * ERR_CANCELED (child_cancel).  The callback may free or reuse the child. */
typedef void (*child_cb)(struct child *child);

/* In the child, descriptor `to` is a copy of the caller's `from`. */
struct child_fd {
    int from;
    int to;
};

struct child_rlimit {
    int resource; /* RLIMIT_* */
    struct rlimit limit;
};

enum child_group {
    CHILD_GROUP_OWN,     /* setpgid: a killable group, same session. */
    CHILD_GROUP_SESSION, /* setsid: no controlling terminal. */
    CHILD_GROUP_SAME,    /* The caller's group: may use the terminal. */
};

/* All borrowed for the call only.  Zero means the default of each field. */
struct child_options {
    const char *path;        /* Program file, no PATH search; NULL: argv[0]. */
    const char *const *argv; /* Ends with NULL; argv[0] is given on as it is. */
    const char *const *envp; /* Exactly the environment; NULL: an empty one. */
    const char *cwd;         /* NULL: the caller's. */

    /* Every descriptor not named here is closed; 0, 1, 2 not named are /dev/null. */
    const struct child_fd *fds;
    size_t n_fds;

    enum child_group group;
    int death_signal; /* Sent to the child when the calling thread dies; 0: none. */
    bool no_new_privs;
    bool pid_namespace; /* The child is process 1 of its own PID namespace. */

    bool set_user; /* Becomes uid, gid and exactly these groups. */
    uid_t uid;
    gid_t gid;
    const gid_t *groups;
    size_t n_groups;

    bool set_umask;
    mode_t umask;

    const struct child_rlimit *rlimits;
    size_t n_rlimits;

    /* Groups that the child is a member of from its first instruction.  A value of 0
     * in cgroup2_dir_fd means none; the v1 ones are open `cgroup.procs` files. */
    int cgroup2_dir_fd;
    const int *cgroup1_procs_fds;
    size_t n_cgroup1_procs_fds;
};

/* Caller-owned; keep it alive and in place until the callback has fired. */
struct child {
    void *data; /* The caller's; never touched here. */
    struct err err;
    pid_t pid;            /* Set by child_start(). */
    uint64_t started_ms;  /* Wall clock. */
    bool status_known;    /* False only for a child_watch()ed process of another parent. */
    int exit_code;        /* -1 when a signal ended it, or not known. */
    int term_signal;      /* 0 when it exited. */
    struct rusage rusage; /* Its own and its waited-for children's. */

    /* Private to child.c. */
    int pidfd;
    bool foreign;
    bool done;
    uv_poll_t poll;
    unsigned open_handles;
    child_cb cb;
    struct child *prev, *next;
};

/* Start one process and watch it.  Returns after the program was executed: a failure
 * of any step, execve(2) included, is reported here with the step's name and errno
 * text (ERR_NOTFOUND, ERR_DENIED, ERR_INVALID for a file that is no program, else
 * ERR_IO), and then no process is left and cb never fires. */
int child_start(struct child *child, uv_loop_t *loop, const struct child_options *options,
                child_cb cb, struct err *err);

/* Watch a process that somebody else started, by pid and the start time that
 * child_start_time() gave for it.  ERR_NOTFOUND when it is gone, or the pid belongs to
 * another process by now. */
int child_watch(struct child *child, uv_loop_t *loop, pid_t pid, uint64_t start_time, child_cb cb,
                struct err *err);

/* Signal the process alone, or its whole process group (only for one started with
 * CHILD_GROUP_OWN or _SESSION).  Safe against reuse of the pid; does nothing once
 * the process has ended. */
void child_signal(struct child *child, int signum);
void child_signal_group(struct child *child, int signum);

/* Watch no longer: the callback fires with ERR_CANCELED, the process runs on.  Does nothing once an
 * outcome is known. */
void child_cancel(struct child *child);

/* When the process was started, in clock ticks since boot: with the pid (and the boot
 * id) it names a process for ever.  ERR_NOTFOUND when there is none. */
int child_start_time(pid_t pid, uint64_t *ret_ticks, struct err *err);

/* Is this pid a live child that child_start() started and still watches? */
bool child_is_known(pid_t pid);
