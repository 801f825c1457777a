/* SPDX-License-Identifier: Apache-2.0 */

/* ended: the homes of tasks that are over, the newest few of them.
 *
 * Not part of a pod's life: for reconcile the home is gone once it was moved here,
 * and nothing in here is ever adopted.  A crash in the middle leaves a home in one
 * place or the other, and the move is made again.
 */

#include "agent/ended.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

struct entry {
    char *name;
    struct timespec moved; /* ctime: when it was renamed into here */
};

static int newest_first(const void *a, const void *b)
{
    const struct timespec *x = &((const struct entry *)a)->moved;
    const struct timespec *y = &((const struct entry *)b)->moved;

    if (x->tv_sec != y->tv_sec) {
        return x->tv_sec > y->tv_sec ? -1 : 1;
    }
    return x->tv_nsec == y->tv_nsec ? 0 : x->tv_nsec > y->tv_nsec ? -1 : 1;
}

static size_t list(DIR *dir, struct entry **ret_entries)
{
    struct entry *entries = NULL;
    size_t n = 0;

    for (struct dirent *found; (found = readdir(dir)) != NULL;) {
        struct stat st;

        if (found->d_name[0] == '.' ||
            fstatat(dirfd(dir), found->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
            continue;
        }
        entries = mem_realloc(entries, (n + 1) * sizeof *entries);
        entries[n++] = (struct entry){ mem_strdup(found->d_name), st.st_ctim };
    }
    *ret_entries = entries;
    return n;
}

/* Several workers may prune at once; what another one removed first is gone all the same. */
static int prune(const char *root, unsigned keep, struct err *err)
{
    DIR *dir = opendir(root);
    struct entry *entries = NULL;
    int rv = 0;

    if (dir == NULL) {
        return err_set(err, ERR_IO, "list %s: %s", root, strerror(errno));
    }
    size_t n = list(dir, &entries);

    (void)closedir(dir);
    if (n > keep) {
        qsort(entries, n, sizeof *entries, newest_first);
    }
    for (size_t i = 0; i < n; i++) {
        if (i >= keep && rv == 0) {
            CLEANUP(mem_freep) char *path = file_join(root, entries[i].name);

            rv = file_remove_tree(path, err);
        }
        free(entries[i].name);
    }
    free(entries);
    return rv;
}

int ended_keep(const char *root, const char *home, const char *name, unsigned keep, struct err *err)
{
    CLEANUP(mem_freep) char *to = file_join(root, name);

    if (keep == 0 || !file_exists(home)) {
        return file_remove_tree(home, err);
    }
    if (file_mkdirs(root, 0755, err) < 0 || file_remove_tree(to, err) < 0) {
        return err_code(err);
    }
    if (rename(home, to) < 0) {
        return err_set(err, ERR_IO, "move %s to %s: %s", home, root, strerror(errno));
    }
    return prune(root, keep, err);
}
