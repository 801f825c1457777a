/* SPDX-License-Identifier: Apache-2.0 */

/* child: start one process, and learn once how it ended.
 *
 * All programs of davit start and reap children here and nowhere else.  Groups of
 * processes are tree.c's.
 *
 *   child_start(): clone (vfork-like) --> RUNNING --pidfd readable, cancel--> CLOSING
 *   --handles closed--> the callback fires.
 *
 * Happy path: the child borrows our memory on a stack of its own while this thread
 * waits, so starting costs the same from a 3 MB and from a 3 GB process; it sets itself
 * up, executes, and we go on.  Its pidfd is polled; when it is readable waitid(P_PIDFD)
 * reaps this one process.
 * Failure: a step that fails in the child leaves its number and errno in the memory
 * both share, so child_start() reports it exactly and reaps the attempt at once.
 * Invariants: nobody waits for "any child"; between clone and execve the child makes raw
 * system calls only, as it runs with our memory (glibc's setuid would change *our* threads)
 * and with all signals blocked until every handler is back to its default.  One thread,
 * the loop's, starts and watches children.
 */
#include "base/child.h"

#include "base/fault.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <utlist.h>

enum { STACK_BYTES = 64 * 1024, FDS_MAX = 64 };

/* The child's part runs on a foreign stack that the sanitizers know nothing about. */
#define IN_CHILD __attribute__((no_sanitize("address", "undefined"), noinline))

enum step {
    STEP_NONE,
    STEP_CGROUP,
    STEP_GROUP,
    STEP_RLIMIT,
    STEP_FDS,
    STEP_USER,
    STEP_CWD,
    STEP_PRIVS,
    STEP_PARENT,
    STEP_EXEC,
};

static const char *const step_names[] = {
    [STEP_NONE] = "clone",       [STEP_CGROUP] = "join cgroup",
    [STEP_GROUP] = "set group",  [STEP_RLIMIT] = "set resource limit",
    [STEP_FDS] = "set up files", [STEP_USER] = "change user",
    [STEP_CWD] = "change to",    [STEP_PRIVS] = "drop privileges",
    [STEP_PARENT] = "parent",    [STEP_EXEC] = "execute",
};

/* What parent and child share while the child sets itself up. */
struct setup {
    const struct child_options *options;
    const char *path;
    struct child_fd fds[FDS_MAX + 3]; /* Sorted by `to`, with 0, 1, 2 always there. */
    size_t n_fds;
    pid_t parent;
    sigset_t mask;
    volatile enum step step;
    volatile int error;
};

static struct child *running;

/* --- The child's side: raw system calls, no library state. --- */

static IN_CHILD int child_fail(struct setup *setup, enum step step)
{
    setup->error = errno != 0 ? errno : EINVAL;
    setup->step = step;
    return -1;
}

static IN_CHILD int child_files(struct setup *setup)
{
    struct child_fd *fds = setup->fds;
    size_t n = setup->n_fds;
    int top = fds[n - 1].to + 1;

    /* A source that lies below the highest target could be overwritten by an earlier
     * dup: move all such out of the way first. */
    for (size_t i = 0; i < n; i++) {
        if (fds[i].from < 0) {
            fds[i].from = (int)syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDWR | O_CLOEXEC, 0);
        }
        if (fds[i].from >= 0 && fds[i].from < top) {
            fds[i].from = (int)syscall(SYS_fcntl, fds[i].from, F_DUPFD_CLOEXEC, top);
        }
        if (fds[i].from < 0) {
            return -1;
        }
    }
    int next = 0;
    for (size_t i = 0; i < n; i++) {
        if (fds[i].to > next) {
            (void)syscall(SYS_close_range, next, fds[i].to - 1, 0);
        }
        if (syscall(SYS_dup3, fds[i].from, fds[i].to, 0) < 0) {
            return -1;
        }
        next = fds[i].to + 1;
    }
    (void)syscall(SYS_close_range, next, ~0U, 0);
    return 0;
}

static IN_CHILD int child_user(const struct child_options *options)
{
    if (!options->set_user) {
        return 0;
    }
    /* Without the right to change groups (an unprivileged caller that "becomes" itself)
     * the groups are what they are. */
    if (syscall(SYS_setgroups, options->n_groups, options->groups) < 0 &&
        (errno != EPERM || syscall(SYS_geteuid) == 0)) {
        return -1;
    }
    if (syscall(SYS_setresgid, options->gid, options->gid, options->gid) < 0 ||
        syscall(SYS_setresuid, options->uid, options->uid, options->uid) < 0) {
        return -1;
    }
    return 0;
}

static IN_CHILD void child_signals(const struct setup *setup)
{
    struct sigaction dfl;

    dfl.sa_handler = SIG_DFL;
    dfl.sa_flags = 0;
    for (size_t i = 0; i < sizeof dfl.sa_mask / sizeof(unsigned long); i++) {
        ((unsigned long *)&dfl.sa_mask)[i] = 0;
    }
    for (int i = 1; i < _NSIG; i++) {
        if (i != SIGKILL && i != SIGSTOP) {
            /* SIG_DFL, no flags, empty mask: all zeros in the kernel's layout too. */
            (void)syscall(SYS_rt_sigaction, i, &dfl, NULL, _NSIG / 8);
        }
    }
    (void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, &setup->mask, NULL, _NSIG / 8);
}

static IN_CHILD int child_main(void *arg)
{
    struct setup *setup = arg;
    const struct child_options *o = setup->options;

    for (size_t i = 0; i < o->n_cgroup1_procs_fds; i++) {
        if (syscall(SYS_write, o->cgroup1_procs_fds[i], "0", 1) < 0) {
            return child_fail(setup, STEP_CGROUP);
        }
    }
    if ((o->group == CHILD_GROUP_OWN && syscall(SYS_setpgid, 0, 0) < 0) ||
        (o->group == CHILD_GROUP_SESSION && syscall(SYS_setsid) < 0)) {
        return child_fail(setup, STEP_GROUP);
    }
    for (size_t i = 0; i < o->n_rlimits; i++) {
        if (syscall(SYS_prlimit64, 0, o->rlimits[i].resource, &o->rlimits[i].limit, NULL) < 0) {
            return child_fail(setup, STEP_RLIMIT);
        }
    }
    if (child_files(setup) < 0) {
        return child_fail(setup, STEP_FDS);
    }
    if (o->set_umask) {
        (void)syscall(SYS_umask, o->umask);
    }
    /* As we are, because a user may work in a directory whose parents are closed to it; and
     * again as the user, for one that only the user may enter. */
    bool there = o->cwd == NULL || syscall(SYS_chdir, o->cwd) == 0;

    if (child_user(o) < 0) {
        return child_fail(setup, STEP_USER);
    }
    if (!there && syscall(SYS_chdir, o->cwd) < 0) {
        return child_fail(setup, STEP_CWD);
    }
    if (o->no_new_privs && syscall(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
        return child_fail(setup, STEP_PRIVS);
    }
    if (o->death_signal != 0) {
        /* Our parent may have died before this took effect; then nobody would tell us. */
        if (syscall(SYS_prctl, PR_SET_PDEATHSIG, o->death_signal, 0, 0, 0) < 0) {
            return child_fail(setup, STEP_PRIVS);
        }
        if (!o->pid_namespace && syscall(SYS_getppid) != setup->parent) {
            errno = ESRCH;
            return child_fail(setup, STEP_PARENT);
        }
    }
    child_signals(setup);
    static const char *const no_env[] = { NULL };
    (void)syscall(SYS_execve, setup->path, o->argv, o->envp != NULL ? o->envp : no_env);
    return child_fail(setup, STEP_EXEC);
}

/* --- The parent's side. --- */

#if defined(__x86_64__)
/* clone3(2) has no C wrapper, and only it can start a process inside a cgroup; joining
 * after the start costs 300 us instead of 10.  The child gets `fn(arg)` on its own stack
 * and never comes back here. */
static __attribute__((no_sanitize("address", "undefined"))) long
clone_run(struct clone_args *args, int (*fn)(void *), void *arg)
{
    long ret = SYS_clone3;

    __asm__ volatile("syscall\n\t"
                     "test %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "mov %[arg], %%rdi\n\t"
                     "call *%[fn]\n\t"
                     "mov $127, %%edi\n\t"
                     "mov $60, %%eax\n\t" /* exit */
                     "syscall\n\t"
                     "hlt\n"
                     "1:\n\t"
                     : "+a"(ret)
                     : "D"(args), "S"(sizeof *args), [fn] "r"(fn), [arg] "r"(arg)
                     : "rcx", "r11", "memory", "cc");
    return ret;
}
#elif defined(__aarch64__)
static __attribute__((no_sanitize("address", "undefined"))) long
clone_run(struct clone_args *args, int (*fn)(void *), void *arg)
{
    register long x0 __asm__("x0") = (long)args;
    register long x1 __asm__("x1") = (long)sizeof *args;
    register long x8 __asm__("x8") = SYS_clone3;

    __asm__ volatile("svc #0\n\t"
                     "cbnz x0, 1f\n\t"
                     "mov x0, %[arg]\n\t"
                     "blr %[fn]\n\t"
                     "mov x0, #127\n\t"
                     "mov x8, #93\n\t" /* exit */
                     "svc #0\n"
                     "1:\n\t"
                     : "+r"(x0)
                     : "r"(x1), "r"(x8), [fn] "r"(fn), [arg] "r"(arg)
                     : "memory", "cc");
    return x0;
}
#else
#error "child.c: write clone_run() for this architecture"
#endif

/* One stack is enough: a clone is over before the next one of the same thread begins. */
static void *child_stack(void)
{
    static __thread void *stack;

    if (stack == NULL) {
        stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (stack == MAP_FAILED) {
            stack = mem_alloc(STACK_BYTES);
        }
    }
    return stack;
}

static int by_target(const void *a, const void *b)
{
    return ((const struct child_fd *)a)->to - ((const struct child_fd *)b)->to;
}

static int prepare_fds(struct setup *setup, const struct child_options *options, struct err *err)
{
    if (options->n_fds > FDS_MAX) {
        return err_set(err, ERR_TOOBIG, "more than %d descriptors for one process", FDS_MAX);
    }
    for (size_t i = 0; i < options->n_fds; i++) {
        if (options->fds[i].from < 0 || options->fds[i].to < 0) {
            return err_set(err, ERR_INVALID, "descriptor map %d <- %d", options->fds[i].to,
                           options->fds[i].from);
        }
        setup->fds[setup->n_fds++] = options->fds[i];
    }
    for (int std = 0; std <= 2; std++) {
        bool given = false;

        for (size_t i = 0; i < options->n_fds; i++) {
            given = given || options->fds[i].to == std;
        }
        if (!given) {
            setup->fds[setup->n_fds++] = (struct child_fd){ .from = -1, .to = std };
        }
    }
    qsort(setup->fds, setup->n_fds, sizeof setup->fds[0], by_target);
    return 0;
}

static int spawn_code(enum step step, int error)
{
    if (error == ENOENT || error == ENOTDIR) {
        return ERR_NOTFOUND;
    }
    if (error == EACCES || error == EPERM) {
        return ERR_DENIED;
    }
    if (step == STEP_EXEC && (error == ENOEXEC || error == EISDIR || error == E2BIG)) {
        return ERR_INVALID;
    }
    return ERR_IO;
}

static long wait_pidfd(int pidfd, siginfo_t *info, int flags, struct rusage *rusage)
{
    long ret;

    do {
        ret = syscall(SYS_waitid, P_PIDFD, pidfd, info, flags, rusage);
    } while (ret < 0 && errno == EINTR);
    return ret;
}

static int spawn(struct child *child, const struct child_options *options, struct err *err)
{
    struct setup setup = {
        .options = options,
        .path = options->path != NULL ? options->path : options->argv[0],
        .parent = getpid(),
    };
    int pidfd = -1;

    if (prepare_fds(&setup, options, err) < 0) {
        return err_code(err);
    }
    struct clone_args args = {
        .flags = CLONE_VM | CLONE_VFORK | CLONE_PIDFD,
        .pidfd = (uintptr_t)&pidfd,
        .exit_signal = SIGCHLD,
        .stack = (uintptr_t)child_stack(),
        .stack_size = STACK_BYTES,
    };
    if (options->pid_namespace) {
        args.flags |= CLONE_NEWPID;
    }
    if (options->cgroup2_dir_fd > 0) {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = (unsigned)options->cgroup2_dir_fd;
    }
    if (FAULT("child.clone") != 0) {
        return err_set(err, ERR_IO, "start %s: clone: injected", setup.path);
    }
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    sigemptyset(&setup.mask);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    long pid = clone_run(&args, child_main, &setup);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (pid < 0) {
        return err_set(err, spawn_code(STEP_NONE, (int)-pid), "start %s: clone: %s", setup.path,
                       strerror((int)-pid));
    }
    if (setup.step != STEP_NONE) {
        siginfo_t info;

        (void)wait_pidfd(pidfd, &info, WEXITED, NULL);
        fd_closep(&pidfd);
        return err_set(err, spawn_code(setup.step, setup.error), "%s %s: %s",
                       step_names[setup.step], setup.step == STEP_CWD ? options->cwd : setup.path,
                       strerror(setup.error));
    }
    child->pid = (pid_t)pid;
    child->pidfd = pidfd;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct child *child = handle->data;

    if (--child->open_handles > 0) {
        return;
    }
    fd_closep(&child->pidfd);
    child->pidfd = -1;
    child->cb(child); /* Last: the callback may free the child. */
}

static void finish(struct child *child)
{
    if (child->done) {
        return; /* The first outcome won. */
    }
    child->done = true;
    if (!child->foreign) {
        DL_DELETE(running, child);
    }
    uv_close((uv_handle_t *)&child->poll, on_closed);
}

static void on_ended(uv_poll_t *poll, int status, int events)
{
    struct child *child = poll->data;
    siginfo_t info = { 0 };

    (void)status;
    (void)events;
    if (child->foreign) {
        finish(child);
        return;
    }
    if (wait_pidfd(child->pidfd, &info, WEXITED | WNOHANG, &child->rusage) == 0) {
        if (info.si_pid == 0) {
            return; /* A wakeup before its time. */
        }
        child->status_known = true;
        if (info.si_code == CLD_EXITED) {
            child->exit_code = info.si_status;
        } else {
            child->term_signal = info.si_status;
        }
    }
    finish(child);
}

/* Ready to be polled; a failure of libuv here is a lack of memory or descriptors. */
static int watch(struct child *child, uv_loop_t *loop, child_cb cb, struct err *err)
{
    child->cb = cb;
    child->exit_code = -1;
    int ret = uv_poll_init(loop, &child->poll, child->pidfd);
    if (ret < 0) {
        return err_set(err, ERR_IO, "watch process %d: %s", (int)child->pid, uv_strerror(ret));
    }
    child->poll.data = child;
    child->open_handles = 1;
    (void)uv_poll_start(&child->poll, UV_READABLE, on_ended);
    return 0;
}

static uint64_t wall_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

int child_start(struct child *child, uv_loop_t *loop, const struct child_options *options,
                child_cb cb, struct err *err)
{
    void *data = child->data;

    *child = (struct child){ .data = data, .pidfd = -1, .started_ms = wall_ms() };
    if (spawn(child, options, err) < 0) {
        return err_code(err);
    }
    if (watch(child, loop, cb, err) < 0) {
        siginfo_t info;

        (void)kill(child->pid, SIGKILL);
        (void)waitid(P_PID, (id_t)child->pid, &info, WEXITED);
        fd_closep(&child->pidfd);
        child->pidfd = -1;
        return err_code(err);
    }
    DL_APPEND(running, child);
    return 0;
}

int child_start_time(pid_t pid, uint64_t *ret_ticks, struct err *err)
{
    char path[32];
    char stat[1024];

    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, stat, sizeof stat - 1);
    if (n <= 0) {
        return err_set(err, ERR_NOTFOUND, "no process %d", (int)pid);
    }
    stat[n] = '\0';
    /* The name may hold anything, blanks and parentheses too: count fields after its
     * last ')'.  The start time is field 22, the state after the name is field 3. */
    char *at = strrchr(stat, ')');
    for (int field = 2; at != NULL && field < 22; field++) {
        at = strchr(at + 1, ' ');
    }
    if (at == NULL) {
        return err_set(err, ERR_INTERNAL, "cannot read %s", path);
    }
    *ret_ticks = strtoull(at + 1, NULL, 10);
    return 0;
}

static int check_same(pid_t pid, uint64_t start_time, struct err *err)
{
    uint64_t ticks = 0;

    if (child_start_time(pid, &ticks, err) < 0) {
        return err_code(err);
    }
    if (ticks != start_time) {
        return err_set(err, ERR_NOTFOUND, "pid %d is another process now", (int)pid);
    }
    return 0;
}

int child_watch(struct child *child, uv_loop_t *loop, pid_t pid, uint64_t start_time, child_cb cb,
                struct err *err)
{
    void *data = child->data;

    *child = (struct child){ .data = data, .pid = pid, .foreign = true };
    child->pidfd = pid > 0 ? pidfd_open(pid, 0) : -1;
    if (child->pidfd < 0) {
        return err_set(err, ERR_NOTFOUND, "no process %d", (int)pid);
    }
    /* Checked after the pidfd is open: from here on the pid cannot change its owner
     * without the pidfd telling. */
    if (check_same(pid, start_time, err) < 0 || watch(child, loop, cb, err) < 0) {
        fd_closep(&child->pidfd);
        child->pidfd = -1;
        return err_code(err);
    }
    return 0;
}

void child_signal(struct child *child, int signum)
{
    if (!child->done && child->pidfd >= 0) {
        (void)pidfd_send_signal(child->pidfd, signum, NULL, 0);
    }
}

void child_signal_group(struct child *child, int signum)
{
    /* While we have not reaped its leader, the group's number cannot be given away. */
    if (!child->done && !child->foreign && child->pid > 0) {
        (void)kill(-child->pid, signum);
    }
}

void child_cancel(struct child *child)
{
    if (!child->done && child->cb != NULL) {
        err_setf(&child->err, ERR_CANCELED, "process %d is no longer watched", (int)child->pid);
        finish(child);
    }
}

bool child_is_known(pid_t pid)
{
    const struct child *child;

    DL_FOREACH(running, child)
    {
        if (child->pid == pid) {
            return true;
        }
    }
    return false;
}
