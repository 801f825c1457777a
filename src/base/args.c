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

static struct option *long_options(const struct args_spec *spec)
{
    struct option *longs = mem_alloc((spec->n_options + 3) * sizeof *longs);
    size_t n = 0;

    for (; n < spec->n_options; n++) {
        const struct args_option *option = &spec->options[n];

        longs[n] = (struct option){ option->name,
                                    option->type == ARGS_FLAG ? no_argument : required_argument,
                                    NULL, OPTION_BASE + (int)n };
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
            buf_addf(&buf, "%c%s", spec->options[i].letter,
                     spec->options[i].type == ARGS_FLAG ? "" : ":");
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
        const struct args_option *option = code == '?' ? NULL : find(spec, code);

        if (option == NULL) {
            return err_set(err, ERR_USAGE, "unrecognized arguments: %s", word);
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
        char *left =
            str_printf("%s--%s%s%s", letter, option->name, option->type == ARGS_FLAG ? "" : " ",
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
