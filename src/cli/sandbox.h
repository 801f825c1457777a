/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"
#include "base/mem.h"
#include "cli/cli.h"

#include <stdbool.h>
#include <stddef.h>

/* Where an instance's sandbox is, and how a command gets into it: directly when its
 * node is this machine, else by ssh.  For `davit task run`, `ssh` and `scp`. */
struct sandbox {
    char *task; /* Id of the run. */
    int instance;
    char *host; /* The node's name for others. */
    char *home; /* The pod's; the sandbox is below it. */
    char *role;
    bool here;     /* Its node is this machine. */
    json_t *ports; /* name -> number */
};

/* The live runs of a job, by instance; those of instances only, unless that is NULL.
 * ERR_INVALID "Job KEY not found" when there is none. */
int sandbox_find(struct cli *cli, const struct cli_key *key, const json_t *instances,
                 struct sandbox **ret_all, size_t *ret_n, struct err *err);
void sandbox_free_all(struct sandbox *all, size_t n);

/* -1 when the run has no port of that name. */
int sandbox_port(const struct sandbox *sandbox, const char *name);

/* Its directory: of the processes, or the pod's own (--executor-sandbox).  The caller's. */
char *sandbox_dir(const struct sandbox *sandbox, bool executor);

/* "cd DIR;COMMAND" with {{mesos.instance}}, {{thermos.task_id}} and {{thermos.ports[x]}} filled
 * in.  The caller's. */
char *sandbox_command(const struct sandbox *sandbox, bool executor, const char *command);

/* "USER@HOST", user NULL: the role.  The caller's. */
char *sandbox_address(const struct sandbox *sandbox, const char *user);

/* Adds the words of text (blanks between them) to a strv. */
void sandbox_add_words(char ***argv, const char *text);

/* Become who the sandbox belongs to, or the user of that name (NULL: none): only root can and
 * does.  ERR_NOTFOUND for a name that is none. */
struct sandbox_user {
    bool change;
    uid_t uid;
    gid_t gid;
    gid_t groups[64];
    size_t n_groups;
};
int sandbox_find_user(const struct sandbox *sandbox, const char *name, struct sandbox_user *ret,
                      struct err *err);
int sandbox_become(const struct sandbox_user *user, struct err *err);
