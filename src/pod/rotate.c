/* SPDX-License-Identifier: Apache-2.0 */

/* rotate: logs that begin a new file when one is full.
 *
 * Only for processes whose logger asks for it: all others write into their file themselves, and
 * davit-pod never sees their output.
 *
 *   pipe --readable--> file --full--> NAME.1, a fresh NAME ... --end of the pipe--> closed
 *
 * Happy path: what was read goes into the file up to the last newline that fits; then the files
 * change names and the rest goes into the fresh one.
 * Failures: a fresh file that cannot be made leaves the old one growing, which is logged once, and
 * is tried again when as much more has come; what cannot be written (a full disk) is dropped, so
 * that no process ever waits for its log.  A NAME that was removed is made anew.
 * Invariants: NAME exists at every moment (the fresh file takes its place by an exchange, where the
 * file system can), so that a reader who notices the change finds the next file; names are changed
 * inside the run's directory only, whatever its owner makes of them; one read changes files
 * CHANGES_A_READ times at most, however small they are to be.
 */
#include "pod/rotate.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <utlist.h>

enum { READ_BYTES = 64 * 1024, READS_A_TURN = 4, READS_TO_DRAIN = 64, LOG_MODE = 0644 };
enum { CHANGES_A_READ = 16 };

struct rotate_log {
    struct rotate *rotate;
    struct rotate_spec spec;
    int dir_fd, file_fd, pipe_fd;
    uint64_t bytes;  /* in the file, as far as they count */
    bool complained; /* the last change of files failed, which was logged */
    uv_poll_t poll;
    struct rotate_log *prev, *next;
};

static void on_closed(uv_handle_t *handle)
{
    struct rotate_log *log = handle->data;
    struct rotate *rotate = log->rotate;

    DL_DELETE(rotate->logs, log);
    fd_closep(&log->pipe_fd);
    fd_closep(&log->file_fd);
    fd_closep(&log->dir_fd);
    free(log);
    if (!rotate->logs && rotate->on_idle) {
        rotate->on_idle(rotate->data);
    }
}

static void end(struct rotate_log *log)
{
    if (!uv_is_closing((uv_handle_t *)&log->poll)) {
        uv_close((uv_handle_t *)&log->poll, on_closed);
    }
}

/* --- Names. --- */

static char *backup_name(const struct rotate_log *log, unsigned number)
{
    return str_printf("%s.%u", log->spec.name, number);
}

static void shift_backups(const struct rotate_log *log)
{
    for (unsigned number = log->spec.backups; number > 1; number--) {
        CLEANUP(mem_freep) char *from = backup_name(log, number - 1);
        CLEANUP(mem_freep) char *to = backup_name(log, number);

        (void)renameat(log->dir_fd, from, log->dir_fd, to);
    }
}

/* The full file, whatever it is called now, becomes NAME.1. */
static void keep_full(const struct rotate_log *log, const char *full)
{
    CLEANUP(mem_freep) char *first = backup_name(log, 1);

    shift_backups(log);
    if (log->spec.backups == 0 || renameat(log->dir_fd, full, log->dir_fd, first) < 0) {
        (void)unlinkat(log->dir_fd, full, 0);
    }
}

static int change_names(const struct rotate_log *log, const char *fresh)
{
    const char *name = log->spec.name;

    if (renameat2(log->dir_fd, fresh, log->dir_fd, name, RENAME_EXCHANGE) == 0) {
        keep_full(log, fresh);
        return 0;
    }
    if (errno == EINVAL) {
        keep_full(log, name); /* This file system exchanges nothing. */
    } else if (errno != ENOENT) {
        return -1;
    } /* else its owner took it away */
    return renameat(log->dir_fd, fresh, log->dir_fd, name);
}

/* The file that is full becomes NAME.1, and a fresh one NAME. */
static int change_files(struct rotate_log *log)
{
    CLEANUP(mem_freep) char *fresh = str_printf(".%s.new", log->spec.name);

    (void)unlinkat(log->dir_fd, fresh, 0);
    CLEANUP(fd_closep)
    int fd = openat(log->dir_fd, fresh,
                    O_WRONLY | O_APPEND | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, LOG_MODE);
    if (fd < 0 || (log->spec.set_owner && fchown(fd, log->spec.uid, log->spec.gid) < 0) ||
        change_names(log, fresh) < 0) {
        return -1;
    }
    fd_closep(&log->file_fd);
    log->file_fd = TAKE_FD(fd);
    return 0;
}

static void next_file(struct rotate_log *log)
{
    bool changed = change_files(log) == 0;

    if (!changed && !log->complained) {
        log_warn("cannot begin a new log, the old one grows error=\"%s\" log=%s", strerror(errno),
                 log->spec.name);
    }
    log->complained = !changed;
    log->bytes = 0;
}

/* --- Bytes. --- */

static void put(struct rotate_log *log, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = write(log->file_fd, bytes, len);

        if (n <= 0) {
            return; /* Dropped: its process must not wait for a disk that is full. */
        }
        bytes += n;
        len -= (size_t)n;
        log->bytes += (uint64_t)n;
    }
}

/* How much of it goes into the present file: whole lines if any fits. */
static size_t fitting(const struct rotate_log *log, const char *bytes, size_t len)
{
    uint64_t room = log->spec.max_bytes > log->bytes ? log->spec.max_bytes - log->bytes : 0;

    if (len <= room) {
        return len;
    }
    const char *newline = memrchr(bytes, '\n', (size_t)room);
    if (newline) {
        return (size_t)(newline - bytes) + 1;
    }
    return log->bytes > 0 ? 0 : (size_t)room; /* A line longer than a file is cut. */
}

static void add(struct rotate_log *log, const char *bytes, size_t len)
{
    for (int changes = 0; changes < CHANGES_A_READ; changes++) {
        size_t now = fitting(log, bytes, len);

        put(log, bytes, now);
        bytes += now;
        len -= now;
        if (len == 0) {
            return;
        }
        next_file(log);
    }
    put(log, bytes, len);
}

/* Ends the log at the end of the pipe. */
static void take_in(struct rotate_log *log, int reads)
{
    char bytes[READ_BYTES];

    for (; reads > 0; reads--) {
        ssize_t n = read(log->pipe_fd, bytes, sizeof(bytes));

        if (n > 0) {
            add(log, bytes, (size_t)n);
        } else {
            if (n == 0 || errno != EAGAIN) {
                end(log);
            }
            return;
        }
    }
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    take_in(poll->data, READS_A_TURN);
}

/* --- From outside. --- */

int rotate_start(struct rotate *rotate, const struct rotate_spec *spec, int dir_fd, int file_fd,
                 struct rotate_log **ret_log, int *ret_fd, struct err *err)
{
    struct rotate_log *log = mem_alloc(sizeof(*log));
    struct stat st;
    int ends[2] = { -1, -1 };

    if (pipe2(ends, O_CLOEXEC) < 0 || fcntl(ends[0], F_SETFL, O_NONBLOCK) < 0 ||
        uv_poll_init(rotate->loop, &log->poll, ends[0]) < 0) {
        err_setf(err, ERR_IO, "make a pipe: %s", strerror(errno));
        fd_closep(&ends[0]);
        fd_closep(&ends[1]);
        fd_closep(&dir_fd);
        fd_closep(&file_fd);
        free(log);
        return err_code(err);
    }
    log->rotate = rotate;
    log->spec = *spec;
    log->dir_fd = dir_fd;
    log->file_fd = file_fd;
    log->pipe_fd = ends[0];
    log->bytes = fstat(file_fd, &st) == 0 ? (uint64_t)st.st_size : 0;
    log->poll.data = log;
    (void)uv_poll_start(&log->poll, UV_READABLE, on_readable);
    DL_APPEND(rotate->logs, log);
    *ret_log = log;
    *ret_fd = ends[1];
    return 0;
}

void rotate_drain(struct rotate *rotate, const struct rotate_log *log)
{
    struct rotate_log *at;

    DL_FOREACH(rotate->logs, at)
    {
        if (at == log && !uv_is_closing((uv_handle_t *)&at->poll)) {
            take_in(at, READS_TO_DRAIN);
            return;
        }
    }
}

void rotate_close(struct rotate *rotate)
{
    struct rotate_log *log;

    if (!rotate->logs) {
        rotate->on_idle(rotate->data);
        return;
    }
    DL_FOREACH(rotate->logs, log)
    {
        if (!uv_is_closing((uv_handle_t *)&log->poll)) {
            take_in(log, READS_TO_DRAIN);
            end(log);
        }
    }
}
