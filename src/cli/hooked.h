/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"
#include "cli/cli.h"
#include "cli/operation.h"
#include "cli/verb.h"
#include "config/config.h"

/* The options of every verb that evaluates a file. */
/* clang-format off */
#define HOOKED_FILE_OPTIONS                                                                        \
    { "bind", 0, ARGS_LIST, "NAME=VALUE", "bind a Pystachio reference (repeatable)", NULL, 0, 0 }, \
    { "read-json", 0, ARGS_FLAG, NULL, "FILE is JSON", NULL, 0, 0 },                               \
    { "python2-compat", 0, ARGS_TEXT, "on|off", "translate files written for Python 2 (on)", "on", \
      0, 0 },                                                                                      \
    { "load-timeout", 0, ARGS_INT, "SECONDS", "how long evaluating FILE may take (10)", "10", 1,   \
      86400 }
/* Those of a verb whose API call client hooks stand around, with a configuration of its own ... */
#define HOOKED_CALL_OPTIONS                                                                        \
    HOOKED_FILE_OPTIONS,                                                                           \
    { "strict-hooks", 0, ARGS_FLAG_EXACT, NULL, "None from generic_hook refuses, too", NULL, 0, 0 }

/* ... or with one for its hooks alone, as --config FILE or behind its other operands. */
#define HOOKED_CONFIG_OPTIONS                                                                      \
    HOOKED_CALL_OPTIONS,                                                                           \
    { "config", 0, ARGS_TEXT, "FILE", "a configuration whose client hooks run", NULL, 0, 0 }
/* clang-format on */

/* To load the command's configuration into: the one that ran the plugin files, else a new one.
 * The caller's. */
struct config *hooked_config(struct cli *cli);

/* What they ask for. */
struct config_options hooked_file_options(const struct verb_call *call);

/* " WARN] ..." on stderr, one line each. */
void hooked_print_warnings(const json_t *warnings);

/* One hookable API call: pre hooks, the operation, then post or err hooks, with all of
 * their records in the timeline. */
struct hooked {
    struct config *config; /* Whose hooks run; NULL: none. */
    const char *method;    /* "create_job" */
    const char *key;       /* of the job */
    json_t *args;          /* The method's arguments by name (config_hooks()); may be NULL. */
    const char *what;      /* For progress: "creating www/devel/hello" */

    /* Makes the opcode to send, the caller's; selected is the job that a pre hook changed,
     * else NULL. */
    json_t *(*opcode)(const json_t *selected, void *data);
    void *data;
};

/* 0 when the operation succeeded; *ret_record (may be NULL) is its record, the caller's.
 * ERR_REFUSED when a client hook vetoed (status 1, nothing was sent) or an operation hook
 * did; *ret_vetoed tells them apart. */
int hooked_run(struct cli *cli, struct client *client, const struct hooked *hooked,
               json_t **ret_record, bool *ret_vetoed, struct err *err);

/* Load the file with the HOOKED_FILE_OPTIONS of the call and select the job.  *ret_selected
 * is config_select()'s answer; warnings were printed. */
int hooked_load(struct verb_call *call, const char *file, const char *key,
                struct config **ret_config, json_t **ret_selected, struct err *err);

/* What a verb with HOOKED_CONFIG_OPTIONS begins with: the configuration whose hooks run, from
 * operand `at` or --config, with the job of that key selected.  *ret_config is NULL when there
 * is none, and no plugin's hooks either.  0, ERR_*, or (the reason was printed) the status to
 * end with. */
int hooked_begin(struct verb_call *call, int at, const char *key, struct config **ret_config,
                 struct err *err);

/* Prints what config could not say in one line, and gives the exit status to end with. */
int hooked_config_failed(const struct config *config, const struct err *err);
