/* SPDX-License-Identifier: Apache-2.0 */

/* file: whole-file reads and writes, directories, lock files, and the one way
 * to open a path that came from a user.
 *
 * Blocking, on purpose: for small local files at moments when nothing waits.
 */

#include "base/file.h"

#include "base/fault.h"
#include "base/str.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static int map_errno(int code)
{
    switch (code) {
    case ENOENT:
    case ENOTDIR:
        return ERR_NOTFOUND;
    case EACCES:
    case EPERM:
    case EROFS:
        return ERR_DENIED;
    case EEXIST:
        return ERR_EXISTS;
    case EXDEV:
    case ELOOP:
        return ERR_INVALID;
    default:
        return ERR_IO;
    }
}

static int failed(struct err *err, const char *what, const char *path)
{
    int code = errno;

    return err_set(err, map_errno(code), "%s %s: %s", what, path, strerror(code));
}

int file_read(const char *path, size_t cap, struct buf *ret_buf, struct err *err)
{
    CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    CLEANUP_BUF buf = { 0 };
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0) {
        return failed(err, "read", path);
    }
    if (!S_ISREG(st.st_mode)) {
        return err_set(err, ERR_INVALID, "read %s: not a regular file", path);
    }
    for (;;) {
        buf_reserve(&buf, 4096);
        ssize_t n = read(fd, buf.data + buf.len, buf.cap - buf.len - 1);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return failed(err, "read", path);
        }
        buf.len += (size_t)n;
        buf.data[buf.len] = 0;
        if (buf.len > cap) {
            return err_set(err, ERR_TOOBIG, "read %s: larger than %zu bytes", path, cap);
        }
        if (n == 0) {
            *ret_buf = TAKE(buf);
            return 0;
        }
    }
}

static int write_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, bytes, len);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return -1;
        }
        bytes += n;
        len -= (size_t)n;
    }
    return 0;
}

static int sync_parent(const char *path, struct err *err)
{
    const char *slash = strrchr(path, '/');
    CLEANUP(mem_freep)
    char *dir = slash == NULL   ? mem_strdup(".")
                : slash == path ? mem_strdup("/")
                                : mem_strndup(path, (size_t)(slash - path));
    CLEANUP(fd_closep) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 || fsync(fd) < 0) {
        return failed(err, "sync", dir);
    }
    return 0;
}

int file_write(const char *path, const void *bytes, size_t len, mode_t mode, bool sync,
               struct err *err)
{
    CLEANUP(mem_freep) char *temp = str_printf("%s.XXXXXX", path);
    CLEANUP(fd_closep) int fd = mkostemp(temp, O_CLOEXEC);

    if (fd < 0) {
        return failed(err, "write", path);
    }
    if (write_all(fd, bytes, len) < 0 || fchmod(fd, mode) < 0 || (sync && fsync(fd) < 0) ||
        rename(temp, path) < 0) {
        (void)failed(err, "write", path);
        (void)unlink(temp);
        return err_code(err);
    }
    return sync ? sync_parent(path, err) : 0;
}

int file_mkdirs(const char *path, mode_t mode, struct err *err)
{
    CLEANUP(mem_freep) char *part = mem_strdup(path);
    struct stat st;

    for (char *p = part + 1;; p++) {
        if (*p != '/' && *p != 0) {
            continue;
        }
        char end = *p;

        *p = 0;
        if (mkdir(part, mode) < 0 && errno != EEXIST) {
            return failed(err, "make directory", part);
        }
        *p = end;
        if (end == 0) {
            break;
        }
    }
    if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode)) {
        errno = ENOTDIR;
        return failed(err, "make directory", path);
    }
    return 0;
}

static int remove_in(int dir_fd, const char *name)
{
    if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT) {
        return 0;
    }
    if (errno != EISDIR && errno != EPERM && errno != EBUSY) {
        return -1;
    }
    int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    int rv = 0;

    if (dir == NULL) {
        fd_closep(&fd);
        return -1;
    }
    for (struct dirent *entry; rv == 0 && (entry = readdir(dir)) != NULL;) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            rv = remove_in(dirfd(dir), entry->d_name);
            CRASH_POINT("agent.removing");
        }
    }
    int saved = errno;

    (void)closedir(dir);
    errno = saved;
    if (rv == 0 && unlinkat(dir_fd, name, AT_REMOVEDIR) < 0 && errno != ENOENT) {
        rv = -1;
    }
    return rv;
}

int file_remove_tree(const char *path, struct err *err)
{
    return remove_in(AT_FDCWD, path) < 0 ? failed(err, "remove", path) : 0;
}

bool file_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

int file_lock(const char *path, int *ret_fd, struct err *err)
{
    CLEANUP(fd_closep) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    char pid[24] = { 0 };

    if (fd < 0) {
        return failed(err, "lock", path);
    }
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK) {
            return failed(err, "lock", path);
        }
        (void)!pread(fd, pid, sizeof pid - 1, 0);
        pid[strcspn(pid, "\n")] = 0;
        return err_set(err, ERR_CONFLICT, "%s is held by process %s", path,
                       pid[0] != 0 ? pid : "(unknown)");
    }
    int n = snprintf(pid, sizeof pid, "%d\n", (int)getpid());

    if (ftruncate(fd, 0) < 0 || pwrite(fd, pid, (size_t)n, 0) < 0) {
        return failed(err, "lock", path);
    }
    *ret_fd = TAKE_FD(fd);
    return 0;
}

bool file_locked(const char *path)
{
    CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);

    /* A shared lock would make a racing file_lock() fail; the test is over at once. */
    return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

int file_open_beneath(int root_fd, const char *path, int flags, mode_t mode, int *ret_fd,
                      struct err *err)
{
    struct open_how how = {
        .flags = (unsigned long long)(unsigned)(flags | O_CLOEXEC),
        .mode = (flags & O_CREAT) != 0 ? mode : 0,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
    };
    long fd = syscall(SYS_openat2, root_fd, path, &how, sizeof how);

    if (fd < 0) {
        return failed(err, "open", path);
    }
    *ret_fd = (int)fd;
    return 0;
}

int file_mkdir_beneath(int root_fd, const char *path, mode_t mode, int *ret_fd, bool *ret_made,
                       struct err *err)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    CLEANUP(mem_freep)
    char *parent = slash != NULL ? mem_strndup(path, (size_t)(slash - path)) : mem_strdup(".");
    CLEANUP(fd_closep) int parent_fd = -1;

    if (name[0] == 0 || str_eq(name, ".") || str_eq(name, "..")) {
        return err_set(err, ERR_INVALID, "make directory %s: not a name", path);
    }
    if (file_open_beneath(root_fd, parent, O_PATH | O_DIRECTORY, 0, &parent_fd, err) < 0) {
        return err_wrap(err, "make directory %s", path);
    }
    bool made = mkdirat(parent_fd, name, mode) == 0;

    if (!made && errno != EEXIST) {
        return failed(err, "make directory", path);
    }
    int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0) {
        return failed(err, "make directory", path);
    }
    *ret_fd = fd;
    *ret_made = made;
    return 0;
}

char *file_join(const char *a, const char *b)
{
    return str_printf("%s%s%s", a, str_ends(a, "/") ? "" : "/", b);
}

char *file_absolute(const char *path)
{
    CLEANUP(mem_freep) char *cwd = NULL;

    if (path[0] == '/') {
        return mem_strdup(path);
    }
    cwd = getcwd(NULL, 0);
    return cwd != NULL ? file_join(cwd, path) : mem_strdup(path);
}
