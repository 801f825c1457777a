/* SPDX-License-Identifier: Apache-2.0 */
/* logs: the output files of a pod's processes, read out over HTTP and followed.
 *
 * Not their writing, nor their layout (sandbox/.logs/<process>/<run>/<stream>, pod/proto.h).
 *
 *   reading --end of file--> waiting (inotify of file and directory, end of the pod)
 *   --something changed--> reading ... --nothing more can come--> closing
 *   reading --reader too slow--> blocked --on_writable--> reading
 *
 * Failure: what is not there is ERR_NOTFOUND before the stream begins; later a failed
 * read ends the stream.  A file that became shorter is read from its beginning.
 * A task that changes its files faster than they are read is followed some files a turn only.
 * Invariants: a path given by a user is opened below the pod's own sandbox only, whatever
 * links the pod's processes made there; whether the pod has ended is asked before the
 * file is read to its end, so that no last line is lost.
 */
#include "agent/logs.h"

#include "base/buf.h"
#include "base/file.h"
#include "base/json.h"
#include "base/str.h"
#include "pod/proto.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <utlist.h>

enum { PIECE_BYTES = 64 * 1024, RUN_NONE = -1, DEPTH_PROCESS = 2 };
enum { FILES_A_TURN = 16, AGAIN_MS = 20 };

struct reader {
    struct logs *logs;
    struct httpd_request *req; /* NULL once answered */
    char *pod;
    char *process;
    const char *stream;
    bool follow;
    bool one_run; /* the caller named it */
    long run;     /* being read, RUN_NONE before */
    int sandbox;  /* fd */
    int file;     /* fd, -1 while there is none */
    off_t offset;
    int depth; /* of the watched directory: 0 sandbox, 1 .logs, 2 the process's; -1 none */
    uv_fs_event_t dir_event;
    uv_fs_event_t file_event;
    uv_timer_t again; /* there may be more to read */
    struct pods_listener listener;
    unsigned open_handles;
    bool closing;
    struct reader *prev, *next;
};

struct logs {
    uv_loop_t *loop;
    struct pods *pods;
    char *root;
    char *ended_root;
    struct reader *readers;
    bool closing;
    void (*close_cb)(void *data);
    void *close_data;
};

static void pump(struct reader *reader);

/* ---- Files. ---- */

static int open_sandbox(const struct logs *logs, const char *pod, int *ret_home, int *ret_sandbox,
                        struct err *err)
{
    const char *const roots[] = { logs->root, logs->ended_root };
    CLEANUP(fd_closep) int home = -1;
    CLEANUP(fd_closep) int sandbox = -1;

    if (!intent_name_ok(pod)) {
        return err_set(err, ERR_NOTFOUND, "there is no task '%.100s' here", pod);
    }
    for (size_t i = 0; i < sizeof(roots) / sizeof(roots[0]) && home < 0; i++) {
        CLEANUP(mem_freep) char *path = file_join(roots[i], pod);

        home = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    }
    if (home >= 0) {
        sandbox = openat(home, PROTO_SANDBOX, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    }
    if (sandbox < 0) {
        return err_set(err, ERR_NOTFOUND, "there is no task '%.100s' here", pod);
    }
    *ret_home = TAKE_FD(home);
    *ret_sandbox = TAKE_FD(sandbox);
    return 0;
}

/* The process's directory if depth is DEPTH_PROCESS, or one above. */
static int open_dir(const struct reader *reader, int depth)
{
    CLEANUP(mem_freep) char *path = str_printf(".logs/%s", reader->process);
    struct err ignored = { 0 };
    int fd = -1;

    (void)file_open_beneath(reader->sandbox,
                            depth == 0   ? "."
                            : depth == 1 ? ".logs"
                                         : path,
                            O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0, &fd, &ignored);
    return fd;
}

/* The run after `after`, or the newest one; RUN_NONE when there is none. */
static long find_run(const struct reader *reader, long after, bool newest)
{
    int fd = open_dir(reader, DEPTH_PROCESS);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *entry = NULL;
    long best = RUN_NONE;

    if (!dir) {
        (void)fd_closep(&fd);
        return RUN_NONE;
    }
    while ((entry = readdir(dir))) {
        char *end = NULL;
        long run = strtol(entry->d_name, &end, 10);

        if (!isdigit((unsigned char)entry->d_name[0]) || *end || run <= after) {
            continue;
        }
        if (best == RUN_NONE || (newest ? run > best : run < best)) {
            best = run;
        }
    }
    (void)closedir(dir);
    return best;
}

static int open_run(struct reader *reader, long run, struct err *err)
{
    CLEANUP(mem_freep)
    char *path = str_printf(".logs/%s/%ld/%s", reader->process, run, reader->stream);
    CLEANUP(fd_closep) int fd = -1;
    struct stat st;

    if (file_open_beneath(reader->sandbox, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0, &fd, err) <
        0) {
        return err_code(err);
    }
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        return err_set(err, ERR_INVALID, "%s is not a regular file", path);
    }
    fd_closep(&reader->file);
    reader->file = TAKE_FD(fd);
    reader->run = run;
    reader->offset = 0;
    return 0;
}

/* The last process of the task that has logs; else its last one. */
static int choose_process(struct reader *reader, int home, struct err *err)
{
    CLEANUP(mem_freep) char *path = str_printf("/proc/self/fd/%d/" PROTO_TASK_FILE, home);
    CLEANUP(json_freep) json_t *doc = NULL;
    CLEANUP_BUF text = { 0 };
    json_t *processes = NULL;
    bool found = false;

    if (file_read(path, PROTO_TASK_MAX, &text, err) < 0 ||
        json_parse(buf_text(&text), text.len, PROTO_TASK_MAX, &doc, err) < 0) {
        return err_code(err);
    }
    processes = json_object_get(json_object_get(doc, "task"), "processes");
    for (size_t i = json_array_size(processes); i > 0 && !found; i--) {
        const char *name = json_str_or(json_array_get(processes, i - 1), "name", NULL);
        CLEANUP(mem_freep) char *before = NULL;

        if (!name) {
            continue;
        }
        before = reader->process;
        reader->process = mem_strdup(name);
        found = find_run(reader, RUN_NONE, true) != RUN_NONE;
        if (!found && before) {
            free(reader->process);
            reader->process = TAKE(before);
        }
    }
    return reader->process ? 0 : err_set(err, ERR_NOTFOUND, "the task has no process");
}

/* ---- One reader. ---- */

static void maybe_closed(struct logs *logs)
{
    void (*cb)(void *data) = logs->close_cb;
    void *data = logs->close_data;

    if (!logs->closing || logs->readers) {
        return;
    }
    free(logs->root);
    free(logs->ended_root);
    free(logs);
    if (cb) {
        cb(data);
    }
}

static void reader_free(struct reader *reader)
{
    struct logs *logs = reader->logs;

    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): only a lone element has no next. */
    DL_DELETE(logs->readers, reader);
    fd_closep(&reader->file);
    fd_closep(&reader->sandbox);
    free(reader->pod);
    free(reader->process);
    free(reader);
    maybe_closed(logs);
}

static void on_event_closed(uv_handle_t *handle)
{
    struct reader *reader = handle->data;

    if (--reader->open_handles == 0) {
        reader_free(reader);
    }
}

static void finish(struct reader *reader)
{
    if (reader->closing) {
        return;
    }
    reader->closing = true;
    pods_unlisten(reader->logs->pods, &reader->listener);
    httpd_stream_end(TAKE(reader->req));
    uv_close((uv_handle_t *)&reader->dir_event, on_event_closed);
    uv_close((uv_handle_t *)&reader->file_event, on_event_closed);
    uv_close((uv_handle_t *)&reader->again, on_event_closed);
}

static void on_gone(struct httpd_request *req)
{
    finish(httpd_data(req));
}

static void on_writable(struct httpd_request *req)
{
    pump(httpd_data(req));
}

static void on_event(uv_fs_event_t *event, const char *name, int events, int status)
{
    (void)name;
    (void)events;
    (void)status;
    pump(event->data);
}

static void on_again(uv_timer_t *timer)
{
    pump(timer->data);
}

static void on_pod(struct pods_listener *listener, const char *name)
{
    struct reader *reader = listener->data;

    if (str_eq(name, reader->pod)) {
        pump(reader);
    }
}

static bool watch_fd(uv_fs_event_t *event, int fd)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    (void)uv_fs_event_stop(event);
    return uv_fs_event_start(event, on_event, path, 0) == 0;
}

/* Watch the deepest directory on the way to the logs; true when it became a deeper one, so that
 * what happened meanwhile must be looked for again. */
static bool watch_dirs(struct reader *reader)
{
    for (int depth = DEPTH_PROCESS; depth > reader->depth; depth--) {
        CLEANUP(fd_closep) int fd = open_dir(reader, depth);

        if (fd >= 0 && watch_fd(&reader->dir_event, fd)) {
            reader->depth = depth;
            return true;
        }
    }
    return false;
}

/* Sends what the file has; false when the reader must wait for its client, or is finished. */
static bool send_rest(struct reader *reader)
{
    char piece[PIECE_BYTES];
    struct stat st;

    while (reader->file >= 0) {
        ssize_t n = pread(reader->file, piece, sizeof(piece), reader->offset);

        if (n < 0) {
            finish(reader);
            return false;
        }
        if (n == 0) {
            if (fstat(reader->file, &st) == 0 && st.st_size < reader->offset) {
                reader->offset = 0; /* Truncated. */
                continue;
            }
            return true;
        }
        if (!httpd_stream_write(reader->req, piece, (size_t)n)) {
            return false;
        }
        reader->offset += n;
    }
    return true;
}

/* The directory of a run is a moment older than its files: wait in it for them. */
static void watch_run(struct reader *reader, long run)
{
    CLEANUP(mem_freep) char *path = str_printf(".logs/%s/%ld", reader->process, run);
    CLEANUP(fd_closep) int fd = -1;
    struct err ignored = { 0 };

    if (file_open_beneath(reader->sandbox, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0, &fd,
                          &ignored) == 0) {
        (void)watch_fd(&reader->file_event, fd);
    }
}

/* On to the next run, if there is one. */
static bool next_run(struct reader *reader)
{
    struct err err = { 0 };
    long run = find_run(reader, reader->run, reader->run == RUN_NONE);

    if (run == RUN_NONE) {
        return false;
    }
    if (open_run(reader, run, &err) < 0) {
        if (!reader->follow) {
            return false;
        }
        watch_run(reader, run);
        if (open_run(reader, run, &err) < 0) {
            return false;
        }
    }
    if (reader->follow) {
        (void)watch_fd(&reader->file_event, reader->file);
    }
    return true;
}

/* Has a fresh file taken the place of the one we read?  (pod/rotate.c) */
static bool was_rotated(const struct reader *reader)
{
    CLEANUP(mem_freep)
    char *path = str_printf(".logs/%s/%ld/%s", reader->process, reader->run, reader->stream);
    CLEANUP(fd_closep) int fd = -1;
    struct err ignored = { 0 };
    struct stat ours;
    struct stat theirs;

    return reader->file >= 0 && reader->run != RUN_NONE &&
           file_open_beneath(reader->sandbox, path, O_PATH | O_CLOEXEC | O_NOFOLLOW, 0, &fd,
                             &ignored) == 0 &&
           fstat(fd, &theirs) == 0 && S_ISREG(theirs.st_mode) && fstat(reader->file, &ours) == 0 &&
           (ours.st_ino != theirs.st_ino || ours.st_dev != theirs.st_dev);
}

static void pump(struct reader *reader)
{
    bool more = true;

    for (int files = 0; more && !reader->closing; files++) {
        if (files == FILES_A_TURN) {
            (void)uv_timer_start(&reader->again, on_again, AGAIN_MS, 0);
            return;
        }
        bool ended = pods_ended(reader->logs->pods, reader->pod);

        if (!send_rest(reader)) {
            return;
        }
        if (reader->follow && was_rotated(reader)) {
            struct err ignored = { 0 };

            more = send_rest(reader) && open_run(reader, reader->run, &ignored) == 0;
            more = more && watch_fd(&reader->file_event, reader->file);
            continue;
        }
        if (reader->one_run) {
            more = false;
            ended = ended || find_run(reader, reader->run, false) != RUN_NONE;
        } else {
            more = reader->follow || reader->run == RUN_NONE ? next_run(reader) : false;
        }
        if (!more && (ended || !reader->follow)) {
            finish(reader);
        } else if (!more) {
            more = watch_dirs(reader);
        }
    }
}

static int read_query(struct reader *reader, struct httpd_request *req, struct err *err)
{
    const char *stream = httpd_query(req, "stream");
    const char *process = httpd_query(req, "process");
    const char *run = httpd_query(req, "run");
    const char *follow = httpd_query(req, "follow");
    int64_t number = 0;

    reader->stream = stream && *stream ? stream : "stdout";
    if (str_eq(reader->stream, "stdout")) {
        reader->stream = "stdout"; /* Not the request's own text, which goes with it. */
    } else if (str_eq(reader->stream, "stderr")) {
        reader->stream = "stderr";
    } else {
        return err_set(err, ERR_INVALID, "stream is neither stdout nor stderr");
    }
    if (process && (strchr(process, '/') || process[0] == '.')) {
        return err_set(err, ERR_INVALID, "no process can be called '%.100s'", process);
    }
    if (process && *process) {
        reader->process = mem_strdup(process);
    }
    if (run && *run) {
        if (str_to_int(run, 0, INT32_MAX, "run", &number, err) < 0) {
            return err_code(err);
        }
        reader->one_run = true;
        reader->run = (long)number;
    }
    reader->follow = str_eq(follow, "true") || str_eq(follow, "1");
    return 0;
}

static int reader_open(struct reader *reader, struct httpd_request *req, struct err *err)
{
    CLEANUP(fd_closep) int home = -1;

    if (read_query(reader, req, err) < 0 ||
        open_sandbox(reader->logs, reader->pod, &home, &reader->sandbox, err) < 0) {
        return err_code(err);
    }
    if (!reader->process && choose_process(reader, home, err) < 0) {
        return err_code(err);
    }
    if (reader->one_run && open_run(reader, reader->run, err) < 0) {
        return err_set(err, ERR_NOTFOUND, "process %s has no run %ld", reader->process,
                       reader->run);
    }
    if (!reader->follow && !reader->one_run && find_run(reader, RUN_NONE, true) == RUN_NONE) {
        return err_set(err, ERR_NOTFOUND, "process '%.100s' has written no log", reader->process);
    }
    return 0;
}

void logs_serve(struct logs *logs, struct httpd_request *req)
{
    struct reader *reader = mem_alloc(sizeof(*reader));
    struct err err = { 0 };

    reader->logs = logs;
    reader->pod = mem_strdup(httpd_param(req, "id"));
    reader->run = RUN_NONE;
    reader->sandbox = -1;
    reader->file = -1;
    reader->depth = -1;
    DL_APPEND(logs->readers, reader);
    if (reader_open(reader, req, &err) < 0) {
        reader_free(reader);
        httpd_reply_err(req, &err);
        return;
    }
    reader->req = req;
    (void)uv_fs_event_init(logs->loop, &reader->dir_event);
    (void)uv_fs_event_init(logs->loop, &reader->file_event);
    reader->dir_event.data = reader;
    reader->file_event.data = reader;
    (void)uv_timer_init(logs->loop, &reader->again);
    reader->again.data = reader;
    reader->open_handles = 3;
    reader->listener.data = reader;
    reader->listener.cb = on_pod;
    pods_listen(logs->pods, &reader->listener);
    if (reader->file >= 0 && reader->follow) {
        (void)watch_fd(&reader->file_event, reader->file);
    }
    httpd_set_data(req, reader);
    httpd_on_gone(req, on_gone);
    httpd_stream_begin(req, 200, "text/plain; charset=utf-8", on_writable);
    pump(reader);
}

void logs_new(uv_loop_t *loop, struct pods *pods, const char *root, const char *ended_root,
              struct logs **ret_logs)
{
    struct logs *logs = mem_alloc(sizeof(*logs));

    logs->loop = loop;
    logs->pods = pods;
    logs->root = mem_strdup(root);
    logs->ended_root = mem_strdup(ended_root);
    *ret_logs = logs;
}

void logs_close(struct logs *logs, void (*cb)(void *data), void *data)
{
    struct reader *reader = NULL;
    struct reader *next = NULL;

    logs->closing = true;
    logs->close_cb = cb;
    logs->close_data = data;
    DL_FOREACH_SAFE(logs->readers, reader, next)
    {
        finish(reader);
    }
    maybe_closed(logs);
}
