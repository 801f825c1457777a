/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <sys/types.h>

/* Whole file into an empty buf; larger than cap is ERR_TOOBIG, absent is
 * ERR_NOTFOUND, not a regular file is ERR_INVALID. */
int file_read(const char *path, size_t cap, struct buf *ret_buf, struct err *err);

/* Write a temporary name beside path and rename it over path: a reader, or a
 * crash of this process, sees the old text or the new.  sync also survives a
 * power cut (fsync of file and directory). */
int file_write(const char *path, const void *bytes, size_t len, mode_t mode, bool sync,
               struct err *err);

/* mkdir -p; existing directories keep their mode. */
int file_mkdirs(const char *path, mode_t mode, struct err *err);

/* rm -rf without following links; an absent path is success. */
int file_remove_tree(const char *path, struct err *err);

/* Is anything there, as far as this user can see?  A link counts as what it leads to. */
bool file_exists(const char *path);

/* Open (creating) and lock path exclusively for as long as the descriptor
 * lives; whoever holds it writes nothing in it but its pid.  ERR_CONFLICT names the
 * holder's pid when it is taken.  The descriptor is the caller's. */
int file_lock(const char *path, int *ret_fd, struct err *err);

/* Is somebody holding file_lock(path)?  An absent file is false. */
bool file_locked(const char *path);

/* Open a path that a user gave, below root_fd and nowhere else: no "..", no
 * symbolic link that leaves it (openat2 RESOLVE_BENEATH | NO_MAGICLINKS). */
int file_open_beneath(int root_fd, const char *path, int flags, mode_t mode, int *ret_fd,
                      struct err *err);

/* mkdir of such a path, whose parent exists: nothing is made outside of root_fd, whatever links
 * the owner of a directory on the way puts there meanwhile.  *ret_made tells whether it was not
 * there before; *ret_fd (O_RDONLY | O_DIRECTORY) is the caller's.  ERR_INVALID for a path that
 * leaves root_fd or ends in a link. */
int file_mkdir_beneath(int root_fd, const char *path, mode_t mode, int *ret_fd, bool *ret_made,
                       struct err *err);

/* a/b; the caller's. */
char *file_join(const char *a, const char *b);

/* The absolute form of path, existing or not; the caller's. */
char *file_absolute(const char *path);
