/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"
#include "base/mem.h"
#include "cli/verb.h"
#include "client/client.h"
#include "client/clusters.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

/* What one run of the command line shares: its loop, its clusters, its terminal. */
struct cli {
    uv_loop_t loop;
    bool verbose;
    bool json;                 /* --json was given */
    bool color;                /* stdout is to be coloured */
    bool terminal;             /* stderr is a terminal: progress is redrawn */
    struct config *plugins;    /* Has run the plugin files; NULL: there are none. */
    struct clusters *clusters; /* NULL until cli_client() needed it */
    struct client *client;     /* of client_cluster; NULL until needed */
    const struct cluster *client_cluster;
};

/* A job key "CLUSTER/ROLE/ENV/NAME" in parts. */
struct cli_key {
    char *cluster, *role, *env, *name;
};

/* ERR_USAGE "argument CLUSTER/...: invalid jobkeytype value: 'x'", as scripts know it. */
int cli_key_parse(const char *text, struct cli_key *ret_key, struct err *err);
void cli_key_fini(struct cli_key *key);
char *cli_key_text(const struct cli_key *key);

/* "KEY[/INSTANCES]": instances is a sorted array of numbers, NULL for all. */
int cli_instances_parse(const char *text, struct cli_key *ret_key, json_t **ret_instances,
                        struct err *err);

/* "cluster[/role[/env[/name]]]" with shell globs; missing parts become "*". */
int cli_wild_parse(const char *text, struct cli_key *ret_key, struct err *err);

/* The client of the named cluster; the same until another is asked for.  ERR_CONFIG for
 * an unknown one. */
int cli_client(struct cli *cli, const char *cluster, struct client **ret_client, struct err *err);

/* The same where no key names the cluster: that of --cluster (NULL: not given), else the
 * only one known. */
int cli_default_client(struct cli *cli, const char *asked, struct client **ret_client,
                       struct err *err);

/* The names of the known clusters that a glob matches, as a strv of the caller's; a name
 * without globs is itself, known or not. */
int cli_clusters_matching(struct cli *cli, const char *glob, char ***ret_names, struct err *err);

/* One call, waited for on the loop.  ret_result (may be NULL) is the caller's.  A GET is
 * repeated for 10 s while no master leads, or when its connection broke: that is a change of
 * masters.  One that refuses connections is told at once. */
int cli_request(struct cli *cli, struct client *client, const char *method, const char *path,
                const json_t *body, json_t **ret_result, struct err *err);

/* The same, never repeated. */
int cli_request_once(struct cli *cli, struct client *client, const char *method, const char *path,
                     const json_t *body, json_t **ret_result, struct err *err);

/* Waits so long, on the loop. */
void cli_pause(struct cli *cli, uint64_t ms);

/* All pages of a list, as one array; the caller's. */
int cli_request_list(struct cli *cli, struct client *client, const char *path, json_t **ret_items,
                     struct err *err);

/* The cluster's address for people: "<base>/scheduler/<role>/<env>/<name>". */
char *cli_job_url(const struct cli *cli, const struct cli_key *key);

void cli_fini(struct cli *cli);

/* Output.  Results go to stdout, everything else to stderr. */

/* A line "message" of progress: redrawn in place on a terminal, else printed when it
 * changed, at most one a 10 s.  NULL ends it. */
void cli_progress(struct cli *cli, const char *message);

/* Ctrl-C ends the program with exit status 130 and a line that says so, also while it
 * computes; a verb that stops in an orderly way watches SIGINT itself. */
void cli_catch_interrupt(void);
/* What Ctrl-C adds to its line from now on; NULL: nothing. */
void cli_note_interrupt(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* The one error of a run on stderr, with --json as an object; gives the status back. */
int cli_report(const struct cli *cli, const struct err *err, int status);

/* Print the value to stdout, sorted keys, one line. */
void cli_print_json(const json_t *value);

void cli_add_cell_take(json_t *row, char *text);

/* rows is an array of arrays of strings; the first row is the header.  Cells are
 * escaped; columns are as wide as they need. */
void cli_print_table(const struct cli *cli, const json_t *rows);

/* Words wrapped in colour when stdout shows colour: state words of tasks and operations. */
const char *cli_color_of(const struct cli *cli, const char *state);
const char *cli_color_end(const struct cli *cli);

/* The text at key of an answer, escaped to be shown; fallback when there is none.  The caller's. */
char *cli_shown(const json_t *obj, const char *key, const char *fallback);
