/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum args_type {
    ARGS_FLAG,       /* dest is bool *; set true */
    ARGS_FLAG_EXACT, /* the same, but not by an abbreviation, which may mean another to scripts */
    ARGS_TEXT,       /* dest is const char **; borrowed from argv */
    ARGS_INT,        /* dest is int64_t *; checked against min and max */
    ARGS_LIST,       /* dest is char ***; strv, each use adds a copy */
};

/* One option.  The same row parses it, explains it in --help and completes it. */
struct args_option {
    const char *name; /* long name without dashes */
    char letter;      /* 0 for none */
    enum args_type type;
    const char *metavar; /* NULL for flags */
    const char *help;    /* one line; names the default */
    void *dest;
    int64_t min, max; /* ARGS_INT only */
};

struct args_spec {
    const char *program; /* "davit-store", "davit job create" */
    const char *usage;   /* what stands behind it: "[options] KEY FILE" */
    const char *summary; /* one sentence */
    const struct args_option *options;
    size_t n_options;
    const char *epilog; /* may be NULL; printed at the end of --help */
};

/* GNU rules: options anywhere, unambiguous prefixes of long names, "--opt=v" and
 * "--opt v", "--" ends options.  *ret_rest is the index in the (permuted) argv
 * of the first operand.  1 means that --help or --version was printed and the
 * program should end with 0; ERR_USAGE otherwise says what is wrong. */
int args_parse(const struct args_spec *spec, int argc, char **argv, int *ret_rest, struct err *err);

/* The text of --help; the caller's. */
char *args_help(const struct args_spec *spec);

/* "usage: ..." and "PROGRAM: error: MESSAGE" on stderr, as scripts know them from
 * the Aurora client; gives back the exit status 2. */
int args_complain(const struct args_spec *spec, const struct err *err);
