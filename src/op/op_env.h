/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* What the environment of one directory's hooks is made of.  All borrowed. */
struct op_env {
    const char *op_code;     /* "OP_JOB_CREATE" */
    const char *hooks_path;  /* The opcode's own ("job-create"), NULL when it has none. */
    const char *object_type; /* "JOB", or NOT_APPLICABLE */
    const char *data_dir, *cluster, *master;
    uint64_t number; /* Of the operation. */
    bool global;     /* For global-<phase>.d; else for <hooks_path>-<phase>.d. */
    bool post;
    bool on_master;          /* Where the hooks run. */
    const char *status;      /* Post only: succeeded, failed, disappeared. */
    const json_t *vars;      /* Before the work. */
    const json_t *post_vars; /* After it; used only with post and succeeded. */
};

/* Exactly the contract's variables, the whole environment, as an object of strings.  The
 * caller's.  Variables of the opcode never replace common ones. */
json_t *op_env_build(const struct op_env *env);

/* "global-pre.d", "job-create-post.d"; the caller's. */
char *op_env_dir(const struct op_env *env);

/* NAME=value of each member, NULL-terminated; the caller's. */
char **op_env_strv(const json_t *vars);
