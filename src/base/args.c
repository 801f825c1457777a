/* SPDX-License-Identifier: Apache-2.0 */

/* args: command lines from a table, parsed by getopt_long.
 *
 * Daemons have one table; the CLI has one per verb (cli/verb.h).  Nothing is
 * acted on here: values land in the caller's variables.
 */

#include "base/args.h"

#include "base/buf.h"
#include "base/str.h"

#include <assert.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

enum { OPTION_BASE = 256, OPTION_HELP = 128, OPTION_VERSION = 129 };

static int take_value(const struct args_option *option, const char *value, struct err *err)
{
    CLEANUP(mem_freep) char *what = str_printf("--%s", option->name);

    switch (option->type) {
    case ARGS_FLAG:
    case ARGS_FLAG_EXACT:
        *(bool *)option->dest = true;
        return 0;
    case ARGS_TEXT:
        *(const char **)option->dest = value;
        return 0;
    case ARGS_INT:
        if (str_to_int(value, option->min, option->max, what, option->dest, err) < 0) {
            err->code = ERR_USAGE;
            return err_code(err);
        }
        return 0;
    case ARGS_LIST:
        strv_add(option->dest, value);
        return 0;
    }
    return 0;
}

static bool is_flag(const struct args_option *option)
{
    return option->type == ARGS_FLAG || option->type == ARGS_FLAG_EXACT;
}

static struct option *long_options(const struct args_spec *spec)
{
    struct option *longs = mem_alloc((spec->n_options + 3) * sizeof *longs);
    size_t n = 0;

    for (size_t i = 0; i < spec->n_options; i++) {
        const struct args_option *option = &spec->options[i];

        if (option->type != ARGS_FLAG_EXACT) { /* Those are unknown to getopt: see below. */
            longs[n++] =
                (struct option){ option->name, is_flag(option) ? no_argument : required_argument,
                                 NULL, OPTION_BASE + (int)i };
        }
    }
    longs[n++] = (struct option){ "help", no_argument, NULL, OPTION_HELP };
    longs[n] = (struct option){ "version", no_argument, NULL, OPTION_VERSION };
    return longs;
}

static char *short_options(const struct args_spec *spec)
{
    struct buf buf = { 0 };

    buf_add_text(&buf, ":h"); /* ':' first: we word the errors ourselves. */
    for (size_t i = 0; i < spec->n_options; i++) {
        if (spec->options[i].letter != 0) {
            buf_addf(&buf, "%c%s", spec->options[i].letter, is_flag(&spec->options[i]) ? "" : ":");
        }
    }
    return buf_take(&buf);
}

static const struct args_option *find(const struct args_spec *spec, int code)
{
    if (code >= OPTION_BASE) {
        return &spec->options[code - OPTION_BASE];
    }
    for (size_t i = 0; i < spec->n_options; i++) {
        if (spec->options[i].letter == code) {
            return &spec->options[i];
        }
    }
    return NULL;
}

/* What getopt does not know by this name: one that may not be abbreviated, or NULL. */
static const struct args_option *find_exact(const struct args_spec *spec, const char *word)
{
    for (size_t i = 0; i < spec->n_options; i++) {
        if (spec->options[i].type == ARGS_FLAG_EXACT && strncmp(word, "--", 2) == 0 &&
            strcmp(word + 2, spec->options[i].name) == 0) {
            return &spec->options[i];
        }
    }
    return NULL;
}

/* An abbreviation of several is told as such. */
static int unknown_option(const struct option *longs, const char *word, struct err *err)
{
    CLEANUP_BUF matches = { 0 };
    size_t len = strncmp(word, "--", 2) == 0 ? strcspn(word + 2, "=") : 0;
    int n = 0;

    for (; len > 0 && longs->name != NULL; longs++) {
        if (strncmp(longs->name, word + 2, len) == 0) {
            buf_addf(&matches, "%s--%s", n++ > 0 ? ", " : "", longs->name);
        }
    }
    if (n > 1) {
        return err_set(err, ERR_USAGE, "ambiguous option: %s could match %s", word,
                       buf_text(&matches));
    }
    return err_set(err, ERR_USAGE, "unrecognized arguments: %s", word);
}

int args_parse(const struct args_spec *spec, int argc, char **argv, int *ret_rest, struct err *err)
{
    CLEANUP(mem_freep) struct option *longs = long_options(spec);
    CLEANUP(mem_freep) char *shorts = short_options(spec);

    optind = 0; /* Starts afresh: the CLI parses more than once. */
    opterr = 0;
    for (;;) {
        int code = getopt_long(argc, argv, shorts, longs, NULL);

        if (code == -1) {
            *ret_rest = optind;
            return 0;
        }
        if (code == 'h' || code == OPTION_HELP) {
            CLEANUP(mem_freep) char *help = args_help(spec);

            (void)fputs(help, stdout);
            return 1;
        }
        if (code == OPTION_VERSION) {
            (void)printf("%s\n", DAVIT_VERSION);
            return 1;
        }
        const char *word = argv[optind - 1];

        if (code == ':') {
            return err_set(err, ERR_USAGE, "argument %s: expected one argument", word);
        }
        const struct args_option *option = code == '?' ? find_exact(spec, word) : find(spec, code);

        if (option == NULL) {
            return unknown_option(longs, word, err);
        }
        if (take_value(option, optarg, err) < 0) {
            return err_code(err);
        }
    }
}

static void add_row(struct buf *buf, const char *left, const char *help)
{
    if (strlen(left) > 28) {
        buf_addf(buf, "  %s\n%32s%s\n", left, "", help);
    } else {
        buf_addf(buf, "  %-28s  %s\n", left, help);
    }
}

char *args_help(const struct args_spec *spec)
{
    struct buf buf = { 0 };

    buf_addf(&buf, "usage: %s %s\n\n%s\n\noptions:\n", spec->program, spec->usage, spec->summary);
    for (size_t i = 0; i < spec->n_options; i++) {
        const struct args_option *option = &spec->options[i];
        CLEANUP(mem_freep)
        char *letter = option->letter != 0 ? str_printf("-%c, ", option->letter) : mem_strdup("");
        CLEANUP(mem_freep)
        char *left = str_printf("%s--%s%s%s", letter, option->name, is_flag(option) ? "" : " ",
                                option->metavar != NULL ? option->metavar : "");

        add_row(&buf, left, option->help);
    }
    add_row(&buf, "-h, --help", "show this help and exit");
    add_row(&buf, "--version", "show the version and exit");
    if (spec->epilog != NULL) {
        buf_addf(&buf, "\n%s\n", spec->epilog);
    }
    return buf_take(&buf);
}

int args_complain(const struct args_spec *spec, const struct err *err)
{
    CLEANUP(mem_freep) char *message = str_escape(err->msg);

    (void)fprintf(stderr, "usage: %s %s\n%s: error: %s\n", spec->program, spec->usage,
                  spec->program, message);
    return 2;
}
