/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/args.h"
#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cli;
struct verb;

/* An option of a verb.  The same row parses it, explains it and completes it. */
struct verb_option {
    const char *name; /* long, without dashes */
    char letter;      /* 0 for none */
    enum args_type type;
    const char *metavar; /* NULL for flags; "A|B" also completes to A and B */
    const char *help;
    const char *value; /* default as text; NULL: absent (flags: false) */
    int64_t min, max;  /* ARGS_INT only */
};

enum { VERB_OPTIONS_MAX = 20 };

/* One command line, parsed. */
struct verb_call {
    struct cli *cli;
    const struct verb *verb;
    char **operands; /* strv, borrowed from argv */
    int n_operands;

    /* Private to verb.c: one slot per option of the verb. */
    union verb_value {
        bool flag;
        const char *text;
        int64_t number;
        char **list;
    } values[VERB_OPTIONS_MAX];
};

/* Exit status of the program; on failure err is filled and the status is err's. */
typedef int (*verb_fn)(struct verb_call *call, struct err *err);

struct verb {
    const char *noun; /* NULL for the one-word verbs (up, down) */
    const char *name;
    const char *operands; /* "KEY FILE", "KEY[/INST] [FILE]": usage, and what is completed */
    int min_operands, max_operands;
    const char *summary;               /* One sentence; the first line of --help. */
    const char *details;               /* Outputs, exit codes; may be NULL. */
    const struct verb_option *options; /* Ended by a NULL name; may be NULL. */
    bool json;                         /* Takes --json (and its old spelling --write-json). */
    const struct verb *same_as;        /* For command hooks it is that one; NULL: itself. */
    verb_fn run;
};

/* All verbs, in the order of `davit --help`; ended by a NULL name. */
extern const struct verb *const verb_table[];

/* The verb that argv names ("job create ..."), with *ret_skip words consumed.
 * ERR_USAGE with a suggestion when there is none. */
int verb_find(int argc, char **argv, const struct verb **ret_verb, int *ret_skip, struct err *err);

/* Parse argv (argv[0] is the verb's last word).  As args_parse(): 1 when --help was
 * printed. */
int verb_parse(struct verb_call *call, int argc, char **argv, struct err *err);
void verb_call_fini(struct verb_call *call);

bool verb_has(const struct verb_call *call, const char *name);

/* {"option": value} of those that have one. */
json_t *verb_options_json(const struct verb_call *call);

/* Values by option name; asking for an option that the verb lacks is a bug. */
bool verb_flag(const struct verb_call *call, const char *name);
const char *verb_text(const struct verb_call *call, const char *name);
int64_t verb_number(const struct verb_call *call, const char *name);
char **verb_list(const struct verb_call *call, const char *name);

/* "usage: ..." and the error on stderr, as scripts know it; exit status 2. */
int verb_complain(const struct verb *verb, const struct err *err);

/* The name of the program in usage and errors: "davit", or "aurora" when run by that name. */
void verb_set_program(const char *name);
const char *verb_program(void);

/* Texts made from the table; the caller's. */
char *verb_help_all(void);
char *verb_help_noun(const char *noun);
char *verb_bash_completion(void);

/* The whole table as JSON: what a test compares --help with. */
json_t *verb_table_json(void);
