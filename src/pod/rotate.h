/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

/* One output of one run, kept in files of a limited size: NAME, NAME.1 (the one before), ... */
struct rotate_log;

/* All logs of a pod that are still written to. */
struct rotate {
    uv_loop_t *loop;
    struct rotate_log *logs;
    void (*on_idle)(void *data); /* after rotate_close(): the last one is gone */
    void *data;
};

struct rotate_spec {
    const char *name;   /* of the file; a literal */
    uint64_t max_bytes; /* of one file */
    unsigned backups;   /* how many old ones are kept */
    bool set_owner;     /* new files belong to uid and gid */
    uid_t uid;
    gid_t gid;
};

/* Takes file_fd, where the log goes first, and dir_fd, where it and its backups are.  *ret_fd,
 * the caller's, is what the process writes into; when the last copy of it is closed, the log ends.
 */
int rotate_start(struct rotate *rotate, const struct rotate_spec *spec, int dir_fd, int file_fd,
                 struct rotate_log **ret_log, int *ret_fd, struct err *err);

/* Write now what is waiting; for the end of a run.  log may have ended by itself: that is looked
 * up. */
void rotate_drain(struct rotate *rotate, const struct rotate_log *log);

/* End all of them, whoever still has a copy; on_idle fires later on the loop, or at once when there
 * is none. */
void rotate_close(struct rotate *rotate);
