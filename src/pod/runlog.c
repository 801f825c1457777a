/* SPDX-License-Identifier: Apache-2.0 */

/* runlog: where the output of one run of a process goes.
 *
 * sandbox/.logs/<process>/<run>/stdout and stderr, which the process writes itself; or a pipe to
 * rotate.c, for a process whose logger asks for that.
 */
#include "pod/runlog.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

enum { LOG_MODE = 0644, DIR_MODE = 0755 };

static const char logs_dir[] = ".logs";
static const char *const streams[] = { "stdout", "stderr" };

/* The user of the processes owns the sandbox and may have put links in it. */
static int make_dir(const struct runlogs *logs, const char *path, struct err *err)
{
    const struct taskfile *task = logs->task;
    CLEANUP(fd_closep) int fd = -1;
    bool made = false;

    if (file_mkdir_beneath(logs->sandbox_fd, path, DIR_MODE, &fd, &made, err) < 0) {
        return err->code;
    }
    if (made && task->set_user && fchown(fd, task->uid, task->gid) < 0) {
        return err_set(err, ERR_IO, "chown %s: %s", path, strerror(errno));
    }
    return 0;
}

/* A log that is there already (the pod ran before in this home) is continued, but only a
 * plain file with one name: its directory belongs to the user of the processes. */
static int open_log(const struct runlogs *logs, const char *dir, const char *name, int *ret_fd,
                    struct err *err)
{
    const struct taskfile *task = logs->task;
    CLEANUP(mem_freep) char *path = str_printf("%s/%s", dir, name);
    const int flags = O_WRONLY | O_APPEND | O_NOFOLLOW | O_CLOEXEC;
    CLEANUP(fd_closep) int fd = -1;
    struct stat st;

    if (file_open_beneath(logs->sandbox_fd, path, flags | O_CREAT | O_EXCL, LOG_MODE, &fd, err) ==
        0) {
        if (task->set_user && fchown(fd, task->uid, task->gid) < 0) {
            return err_set(err, ERR_IO, "chown %s: %s", path, strerror(errno));
        }
        *ret_fd = TAKE_FD(fd);
        return 0;
    }
    if (err->code != ERR_EXISTS ||
        file_open_beneath(logs->sandbox_fd, path, flags | O_NONBLOCK, 0, &fd, err) < 0) {
        return err->code;
    }
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_nlink != 1) {
        return err_set(err, ERR_INVALID, "%s is no plain file", path);
    }
    *ret_fd = TAKE_FD(fd);
    return 0;
}

int runlog_prepare(const struct runlogs *logs, struct err *err)
{
    return make_dir(logs, logs_dir, err);
}

/* The file becomes one that is rotated, and *fd what the process writes into. */
static int interpose(struct runlogs *logs, const struct rotate_spec *spec, const char *dir, int *fd,
                     struct rotate_log **ret_log, struct err *err)
{
    const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    int dir_fd = -1;

    if (file_open_beneath(logs->sandbox_fd, dir, flags, 0, &dir_fd, err) < 0) {
        return err->code;
    }
    return rotate_start(&logs->rotate, spec, dir_fd, TAKE_FD(*fd), ret_log, fd, err);
}

int runlog_open(struct runlog *runlog, struct runlogs *logs, const struct graph_spec *spec,
                unsigned run, int ret_fds[RUNLOG_STREAMS], struct err *err)
{
    const struct taskfile *task = logs->task;
    CLEANUP(mem_freep) char *process_dir = str_printf("%s/%s", logs_dir, spec->name);
    CLEANUP(mem_freep) char *run_dir = str_printf("%s/%u", process_dir, run);

    *runlog = (struct runlog){ 0 };
    if (make_dir(logs, process_dir, err) < 0 || make_dir(logs, run_dir, err) < 0) {
        return err->code;
    }
    for (size_t i = 0; i < RUNLOG_STREAMS; i++) {
        const struct rotate_spec rotated = { streams[i],     spec->log_bytes, spec->log_backups,
                                             task->set_user, task->uid,       task->gid };

        if (open_log(logs, run_dir, streams[i], &ret_fds[i], err) < 0 ||
            (spec->log_bytes > 0 &&
             interpose(logs, &rotated, run_dir, &ret_fds[i], &runlog->logs[i], err) < 0)) {
            return err->code;
        }
    }
    return 0;
}

void runlog_drain(const struct runlog *runlog, struct runlogs *logs)
{
    for (size_t i = 0; i < RUNLOG_STREAMS; i++) {
        if (runlog->logs[i]) {
            rotate_drain(&logs->rotate, runlog->logs[i]);
        }
    }
}
