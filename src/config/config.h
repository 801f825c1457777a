/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"
#include "base/mem.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* One `.aurora` (or JSON) file, evaluated by a Python guest that stays for the
 * client hooks.  For command line programs: each call blocks until it has its
 * answer, on a loop of its own, so it may be made from anywhere. */
struct config;

struct config_options {
    const char *const *binds; /* "name=value" texts, ended by NULL; NULL: none. */
    bool read_json;           /* The file is a job, or {"jobs": [...]}, as JSON. */
    bool no_include;          /* include() is refused. */
    bool no_python2;          /* What was written for Python 2 is refused, not translated. */
    bool verbose;             /* Debug lines and tracebacks of hooks on stderr. */
    uint64_t timeout_ms;      /* For evaluating, not for hooks; 0 is 10 s. */
};

enum config_phase { CONFIG_PRE, CONFIG_POST, CONFIG_ERR };

/* Cheap: the guest starts with the first load. */
struct config *config_new(void);

/* Ends the guest (which gets half a second). */
void config_free(struct config *config);
DEFINE_FREEP(struct config, config_free)

/* One more owner: it ends with the last config_free().  Gives it back. */
struct config *config_share(struct config *config);

/* None in a pre phase refuses also from generic_hook, as in the Aurora client. */
void config_set_strict(struct config *config, bool strict);

/* Run plugin files (ended by NULL), before any configuration: they register command hooks, and
 * API hooks for every call, which config_hooks() runs also without a configuration.
 * {"commands": [names], "hooks": N, "warnings": [text]}, the caller's.  Errors as of config_load().
 */
int config_plugins(struct config *config, const char *const *paths, bool verbose,
                   json_t **ret_plugins, struct err *err);

/* Run the command hooks for {"phase": "pre"|"post", "noun", "verb", "options": {}, "operands": [],
 * "argv": [], "skip": [names], "result": status}, taken.  {"status", "message", "error"}, the
 * caller's: not 0 ends the command with it.  No deadline: a hook may ask the user. */
int config_command(struct config *config, json_t *params_take, json_t **ret_result,
                   struct err *err);

/* Evaluate a file, or text under a name for messages; once per config.  What the file
 * prints goes to our stdout.  ERR_CONFIG with one line: the words of the Aurora client,
 * and "(file, line N)" where known, or that the file ended Python; ERR_TIMEOUT, ERR_CANCELED
 * (Ctrl-C), ERR_USAGE (a bad bind). */
int config_load(struct config *config, const char *path, const struct config_options *options,
                struct err *err);
int config_load_text(struct config *config, const char *name, const char *text,
                     const struct config_options *options, struct err *err);

/* Keys "cluster/role/env/name" in file order, an env that is not set as "{MISSING}".
 * An array, borrowed. */
const json_t *config_jobs(const struct config *config);

/* Class names of the file's hooks.  An array, borrowed. */
const json_t *config_hook_names(const struct config *config);

/* Texts about the file as a whole: that it was translated from Python 2.  Borrowed. */
const json_t *config_warnings(const struct config *config);

/* The job of that key (NULL: the only one), checked and interpolated:
 * {"key", "job": {...}, "ports": [sorted names], "unbound": [references the pod fills],
 *  "enable_hooks", "warnings": [text]}.  The caller's.  The hooks' config from now on.
 * ERR_CONFIG as above; config_message() has the list of candidates. */
int config_select(struct config *config, const char *key, json_t **ret_selected, struct err *err);

/* What evaluation of that job (NULL: the only one) yields: {"key", "job": {...}, "ports": [...],
 * "unbound": [...], "warnings": [text]} and, with an instance from 0 (-1: none), "instance_task"
 * and "instance_unbound".  Selects nothing.  The caller's. */
int config_dump(struct config *config, const char *key, int64_t instance, json_t **ret_dump,
                struct err *err);

/* What in the file is wrong or may surprise: [{"level": "error|warning|note", "job": key or
 * null, "line": N or null, "text"}...].  The caller's. */
int config_lint(struct config *config, json_t **ret_findings, struct err *err);

/* The selected job as the scheduler's structures, as the Aurora client printed them.  The
 * caller's. */
int config_raw(struct config *config, char **ret_text, struct err *err);

/* May the selected job be updated with its `update_config`?  ERR_CONFIG, in the Aurora client's
 * words. */
int config_check_update(struct config *config, struct err *err);

/* Run all hooks of a phase around one API method (create_job, kill_job, add_instances,
 * restart, start_cronjob, start_job_update, cancel_update).
 *
 * args: the method's arguments by name without config and job_key, e.g. kill_job
 * {"instances": [0,1] or null, "message"}, restart {"shards", "restart_settings": {}},
 * start_job_update {"message","instances","metadata"}, add_instances {"instance_id","count"}.
 * outcome, in post and err: {"code": "OK", "messages": [...], "result": {...}, "cluster"}
 * or, when the call itself broke, {"exception": {"type", "message"}}.
 * All borrowed; args and outcome may be NULL.  No deadline: a hook may ask the user.
 *
 * ret_result: {"records": [{"name": "Class.method", "event", "generic", "ok", "refused",
 * "error", "duration_ms", "started_ms", "finished_ms"}], "refused": bool, "exit": status
 * when a hook ended the client, "config": as from config_select when a pre hook changed
 * it}.  The caller's.  A refusal is no failure here; config_refusal() words it. */
int config_hooks(struct config *config, enum config_phase phase, const char *method,
                 const char *key, const json_t *args, const json_t *outcome, json_t **ret_result,
                 struct err *err);

/* {"pre": ["Class.method"...], "post": [...], "err": [...]}: what config_hooks would run. */
int config_plan(struct config *config, const char *method, json_t **ret_plan, struct err *err);

/* ERR_REFUSED "Pre hooks stopped call to M (Class.method: why)" when result says so, else 0. */
int config_refusal(const json_t *result, const char *method, struct err *err);

/* Of the last failure: its whole text (several lines for candidates; never cut), and the
 * status the client is to end with when the file or a hook asked for one, else -1. */
const char *config_message(const struct config *config);
int config_exit_status(const struct config *config);
