/* SPDX-License-Identifier: Apache-2.0 */

/* usage: how much a sandbox holds, found out by walking through it now and then.
 *
 * Not a quota: a task may go past its disk between two looks.  What follows from the number is the
 * owner's.
 *
 *   RESTING --timer--> WALKING, some entries a turn of the loop --all seen--> RESTING
 *
 * Failures: what cannot be read counts as nothing; the walk never leaves the sandbox's file system,
 * follows no link, and goes DEPTH_MAX deep.
 * Invariants: blocks are counted, not lengths; a file with several names counts once in
 * total when all of them are in the sandbox.
 */
#include "pod/usage.h"

#include "base/mem.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

enum { DEPTH_MAX = 64, ENTRIES_A_TURN = 400, SHARE_OF_TIME = 100, BLOCK_BYTES = 512 };

struct usage {
    uv_timer_t timer;
    char *sandbox;
    uint64_t every_ms;
    usage_cb cb;
    void *data;

    DIR *open[DEPTH_MAX]; /* while WALKING: from the sandbox to where we are */
    size_t depth;
    dev_t device;
    uint64_t used_bytes;
    uint64_t spent_us; /* on this walk */

    void (*on_closed)(void *data);
    void *closed_data;
};

static void on_due(uv_timer_t *timer);

static void rest(struct usage *usage)
{
    uint64_t wait_ms = usage->spent_us * SHARE_OF_TIME / 1000;

    (void)uv_timer_start(&usage->timer, on_due,
                         wait_ms > usage->every_ms ? wait_ms : usage->every_ms, 0);
}

static uint64_t size_of(const struct stat *st)
{
    uint64_t bytes = (uint64_t)st->st_blocks * BLOCK_BYTES;

    return S_ISDIR(st->st_mode) || st->st_nlink < 2 ? bytes : bytes / st->st_nlink;
}

static void descend(struct usage *usage, int parent_fd, const char *name)
{
    int fd = usage->depth < DEPTH_MAX
                 ? openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
                 : -1;
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;

    if (dir) {
        usage->open[usage->depth++] = dir;
    } else {
        fd_closep(&fd);
    }
}

/* One entry of the innermost directory, or its end. */
static void step(struct usage *usage)
{
    DIR *dir = usage->open[usage->depth - 1];
    struct dirent *entry = readdir(dir);
    struct stat st;

    if (!entry) {
        (void)closedir(dir);
        usage->depth--;
        return;
    }
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
        fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
        st.st_dev != usage->device) {
        return;
    }
    usage->used_bytes += size_of(&st);
    if (S_ISDIR(st.st_mode)) {
        descend(usage, dirfd(dir), entry->d_name);
    }
}

static void on_turn(uv_timer_t *timer)
{
    struct usage *usage = timer->data;
    uint64_t began = uv_hrtime();

    for (int n = 0; n < ENTRIES_A_TURN && usage->depth > 0; n++) {
        step(usage);
    }
    usage->spent_us += (uv_hrtime() - began) / 1000;
    if (usage->depth > 0) {
        (void)uv_timer_start(timer, on_turn, 1, 0);
        return;
    }
    rest(usage);
    usage->cb(usage->data, usage->used_bytes);
}

static void on_due(uv_timer_t *timer)
{
    struct usage *usage = timer->data;
    struct stat st;

    usage->used_bytes = usage->spent_us = 0;
    descend(usage, AT_FDCWD, usage->sandbox);
    if (usage->depth > 0 && fstat(dirfd(usage->open[0]), &st) == 0) {
        usage->device = st.st_dev;
        usage->used_bytes = size_of(&st);
    }
    on_turn(timer);
}

struct usage *usage_new(uv_loop_t *loop, const char *sandbox, uint64_t every_ms, usage_cb cb,
                        void *data)
{
    struct usage *usage = mem_alloc(sizeof(*usage));

    usage->sandbox = mem_strdup(sandbox);
    usage->every_ms = every_ms;
    usage->cb = cb;
    usage->data = data;
    usage->timer.data = usage;
    uv_update_time(loop);
    (void)uv_timer_init(loop, &usage->timer);
    rest(usage);
    return usage;
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct usage *usage = handle->data;
    void (*cb)(void *data) = usage->on_closed;
    void *data = usage->closed_data;

    while (usage->depth > 0) {
        (void)closedir(usage->open[--usage->depth]);
    }
    free(usage->sandbox);
    free(usage);
    cb(data);
}

void usage_close(struct usage *usage, void (*cb)(void *data), void *data)
{
    usage->on_closed = cb;
    usage->closed_data = data;
    uv_close((uv_handle_t *)&usage->timer, on_timer_closed);
}
