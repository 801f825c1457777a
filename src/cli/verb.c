/* SPDX-License-Identifier: Apache-2.0 */

/* verb: parsing, help and completion of every verb, from one table.
 *
 * Not what the verbs do (verbs/) and not the table itself (table.c).
 */

#include "cli/verb.h"

#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* Options that every verb takes, behind its own. */
static const struct verb_option common[] = {
    { "verbose", 'v', ARGS_FLAG, NULL, "say more, and show debug lines", NULL, 0, 0 },
    { "skip-hooks", 0, ARGS_LIST, "HOOK,...", "command hooks to leave out, or 'all'", NULL, 0, 0 },
    { "color", 0, ARGS_TEXT, "auto|always|never", "colour in tables (auto: on a terminal)", "auto",
      0, 0 },
};
static const struct verb_option json_options[] = {
    { "json", 0, ARGS_FLAG, NULL, "answer in JSON", NULL, 0, 0 },
    { "write-json", 0, ARGS_FLAG, NULL, "the same, the Aurora client's spelling", NULL, 0, 0 },
};

/* The verb's options, then JSON's, then the common ones; NULL after the last. */
static const struct verb_option *option_at(const struct verb *verb, size_t index)
{
    size_t own = 0;

    while (verb->options != NULL && verb->options[own].name != NULL) {
        own++;
    }
    if (index < own) {
        return &verb->options[index];
    }
    index -= own;
    if (verb->json) {
        if (index < sizeof json_options / sizeof json_options[0]) {
            return &json_options[index];
        }
        index -= sizeof json_options / sizeof json_options[0];
    }
    return index < sizeof common / sizeof common[0] ? &common[index] : NULL;
}

static const char *program = "davit";

void verb_set_program(const char *name)
{
    program = name;
}

const char *verb_program(void)
{
    return program;
}

static char *program_of(const struct verb *verb)
{
    return verb->noun != NULL ? str_printf("%s %s %s", program, verb->noun, verb->name)
                              : str_printf("%s %s", program, verb->name);
}

/* The args_spec of a verb; values land in call's slots. */
struct spec {
    struct args_spec args;
    struct args_option options[VERB_OPTIONS_MAX];
    char *program;
    char *usage;
};

static void spec_init(struct spec *spec, const struct verb *verb, struct verb_call *call)
{
    size_t n = 0;

    for (const struct verb_option *o; (o = option_at(verb, n)) != NULL; n++) {
        assert(n < VERB_OPTIONS_MAX);
        spec->options[n] = (struct args_option){
            o->name,    o->letter, o->type,
            o->metavar, o->help,   call != NULL ? &call->values[n] : NULL,
            o->min,     o->max,
        };
    }
    spec->program = program_of(verb);
    spec->usage = str_printf("[options]%s%s", verb->operands[0] != 0 ? " " : "", verb->operands);
    spec->args = (struct args_spec){ spec->program, spec->usage, verb->summary,
                                     spec->options, n,           verb->details };
}

static void spec_fini(struct spec *spec)
{
    free(spec->program);
    free(spec->usage);
}

static void set_defaults(struct verb_call *call)
{
    const struct verb_option *option = NULL;

    for (size_t i = 0; (option = option_at(call->verb, i)) != NULL; i++) {
        call->values[i] = (union verb_value){ 0 };
        if (option->value == NULL) {
            continue;
        }
        if (option->type == ARGS_TEXT) {
            call->values[i].text = option->value;
        } else if (option->type == ARGS_INT) {
            struct err err = { 0 };
            int rv = str_to_int(option->value, option->min, option->max, option->name,
                                &call->values[i].number, &err);

            assert(rv == 0); /* The table's default is outside its own range. */
            (void)rv;
        }
    }
}

int verb_parse(struct verb_call *call, int argc, char **argv, struct err *err)
{
    CLEANUP(spec_fini) struct spec spec = { 0 };
    int rest = 0;

    set_defaults(call);
    spec_init(&spec, call->verb, call);
    int rv = args_parse(&spec.args, argc, argv, &rest, err);

    if (rv != 0) {
        return rv;
    }
    call->operands = argv + rest;
    call->n_operands = argc - rest;
    if (call->n_operands < call->verb->min_operands) {
        return err_set(err, ERR_USAGE, "too few arguments: expected %s", call->verb->operands);
    }
    if (call->n_operands > call->verb->max_operands) {
        return err_set(err, ERR_USAGE, "unrecognized arguments: %s",
                       call->operands[call->verb->max_operands]);
    }
    return 0;
}

void verb_call_fini(struct verb_call *call)
{
    const struct verb_option *option = NULL;

    for (size_t i = 0; (option = option_at(call->verb, i)) != NULL; i++) {
        if (option->type == ARGS_LIST) {
            strv_free(call->values[i].list);
        }
    }
}

static const union verb_value *slot(const struct verb_call *call, const char *name,
                                    enum args_type type)
{
    const struct verb_option *option = NULL;

    for (size_t i = 0; (option = option_at(call->verb, i)) != NULL; i++) {
        if (strcmp(option->name, name) == 0) {
            assert(option->type == type || (option->type == ARGS_FLAG_EXACT && type == ARGS_FLAG));
            return &call->values[i];
        }
    }
    assert(false && "the verb has no such option");
    abort();
}

bool verb_has(const struct verb_call *call, const char *name)
{
    const struct verb_option *option = NULL;

    for (size_t i = 0; (option = option_at(call->verb, i)) != NULL; i++) {
        if (strcmp(option->name, name) == 0) {
            return true;
        }
    }
    return false;
}

json_t *verb_options_json(const struct verb_call *call)
{
    json_t *all = json_object();
    const struct verb_option *option = NULL;

    for (size_t i = 0; (option = option_at(call->verb, i)) != NULL; i++) {
        const union verb_value *value = &call->values[i];
        json_t *list = NULL;

        switch (option->type) {
        case ARGS_FLAG:
        case ARGS_FLAG_EXACT:
            json_put_bool(all, option->name, value->flag);
            break;
        case ARGS_INT:
            json_put_int(all, option->name, value->number);
            break;
        case ARGS_TEXT:
            if (value->text != NULL) {
                json_put_take(all, option->name,
                              json_str_repaired(value->text, strlen(value->text)));
            } else {
                json_put_take(all, option->name, json_null());
            }
            break;
        case ARGS_LIST:
            list = json_array();
            for (char **item = value->list; item != NULL && *item != NULL; item++) {
                (void)json_array_append_new(list, json_str_repaired(*item, strlen(*item)));
            }
            json_put_take(all, option->name, list);
            break;
        }
    }
    return all;
}

bool verb_flag(const struct verb_call *call, const char *name)
{
    return slot(call, name, ARGS_FLAG)->flag;
}

const char *verb_text(const struct verb_call *call, const char *name)
{
    return slot(call, name, ARGS_TEXT)->text;
}

int64_t verb_number(const struct verb_call *call, const char *name)
{
    return slot(call, name, ARGS_INT)->number;
}

char **verb_list(const struct verb_call *call, const char *name)
{
    return slot(call, name, ARGS_LIST)->list;
}

int verb_complain(const struct verb *verb, const struct err *err)
{
    CLEANUP(spec_fini) struct spec spec = { 0 };

    spec_init(&spec, verb, NULL);
    return args_complain(&spec.args, err);
}

/* Damerau-Levenshtein distance of two short words. */
static size_t distance(const char *a, const char *b)
{
    enum { MAX = 32 };
    size_t n = strlen(a), m = strlen(b);
    size_t d[MAX + 1][MAX + 1];

    if (n > MAX || m > MAX) {
        return MAX;
    }
    for (size_t i = 0; i <= n; i++) {
        for (size_t j = 0; j <= m; j++) {
            if (i == 0 || j == 0) {
                d[i][j] = i + j;
                continue;
            }
            size_t best = d[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);

            best = d[i - 1][j] + 1 < best ? d[i - 1][j] + 1 : best;
            best = d[i][j - 1] + 1 < best ? d[i][j - 1] + 1 : best;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                d[i - 2][j - 2] + 1 < best) {
                best = d[i - 2][j - 2] + 1;
            }
            d[i][j] = best;
        }
    }
    return d[n][m];
}

/* The nearest word among nouns and one-word verbs (noun NULL) or a noun's verbs. */
static const char *suggestion(const char *noun, const char *word)
{
    const char *best = NULL;
    size_t least = 3;

    for (const struct verb *const *v = verb_table; *v != NULL; v++) {
        const char *candidate = noun == NULL ? ((*v)->noun != NULL ? (*v)->noun : (*v)->name)
                                : str_eq((*v)->noun, noun) ? (*v)->name
                                                           : NULL;

        if (candidate != NULL && distance(word, candidate) < least) {
            least = distance(word, candidate);
            best = candidate;
        }
    }
    return best;
}

static int unknown(const char *noun, const char *word, struct err *err)
{
    const char *near = suggestion(noun, word);
    CLEANUP(mem_freep)
    char *hint = near != NULL ? str_printf("; did you mean '%s'?", near)
                              : str_printf("; see '%s --help'", program);

    return err_set(err, ERR_USAGE, "'%s%s%s' is no %s command%s", noun != NULL ? noun : "",
                   noun != NULL ? " " : "", word, program, hint);
}

int verb_find(int argc, char **argv, const struct verb **ret_verb, int *ret_skip, struct err *err)
{
    bool noun_known = false;

    for (const struct verb *const *v = verb_table; *v != NULL; v++) {
        if ((*v)->noun == NULL && strcmp((*v)->name, argv[0]) == 0) {
            *ret_verb = *v;
            *ret_skip = 0;
            return 0;
        }
        if (str_eq((*v)->noun, argv[0])) {
            noun_known = true;
            if (argc > 1 && strcmp((*v)->name, argv[1]) == 0) {
                *ret_verb = *v;
                *ret_skip = 1;
                return 0;
            }
        }
    }
    if (!noun_known) {
        return unknown(NULL, argv[0], err);
    }
    if (argc < 2) {
        return err_set(err, ERR_USAGE, "'%s %s' needs a verb; see '%s %s --help'", program, argv[0],
                       program, argv[0]);
    }
    return unknown(argv[0], argv[1], err);
}

static void add_verb_line(struct buf *buf, const struct verb *verb)
{
    CLEANUP(mem_freep)
    char *left = str_printf("%s%s%s %s", verb->noun != NULL ? verb->noun : "",
                            verb->noun != NULL ? " " : "", verb->name, verb->operands);

    if (strlen(left) > 38) {
        buf_addf(buf, "  %s\n%42s%s\n", left, "", verb->summary);
    } else {
        buf_addf(buf, "  %-38s  %s\n", left, verb->summary);
    }
}

char *verb_help_all(void)
{
    struct buf buf = { 0 };

    buf_addf(&buf,
             "usage: %s NOUN VERB [options] ...\n\n"
             "Runs services, batch and cron jobs, with hooks at every step.\n\ncommands:\n",
             program);
    for (const struct verb *const *v = verb_table; *v != NULL; v++) {
        add_verb_line(&buf, *v);
    }
    buf_addf(&buf,
             "\n'%s NOUN VERB --help' explains one of them. Exit codes: "
             "'%s help exit-codes'.\n",
             program, program);
    return buf_take(&buf);
}

char *verb_help_noun(const char *noun)
{
    struct buf buf = { 0 };

    buf_addf(&buf, "usage: %s %s VERB [options] ...\n\n", program, noun);
    for (const struct verb *const *v = verb_table; *v != NULL; v++) {
        if (str_eq((*v)->noun, noun)) {
            add_verb_line(&buf, *v);
        }
    }
    return buf_take(&buf);
}

json_t *verb_table_json(void)
{
    json_t *table = json_array();

    for (const struct verb *const *v = verb_table; *v != NULL; v++) {
        json_t *row = json_object();
        json_t *options = json_array();
        const struct verb_option *option = NULL;

        json_put_str(row, "noun", (*v)->noun);
        json_put_str(row, "verb", (*v)->name);
        json_put_str(row, "operands", (*v)->operands);
        json_put_str(row, "summary", (*v)->summary);
        for (size_t i = 0; (option = option_at(*v, i)) != NULL; i++) {
            json_t *item = json_object();

            json_put_str(item, "name", option->name);
            json_put_str(item, "metavar", option->metavar);
            json_put_str(item, "help", option->help);
            (void)json_array_append_new(options, item);
        }
        json_put_take(row, "options", options);
        (void)json_array_append_new(table, row);
    }
    return table;
}

static void complete_verb(struct buf *buf, const struct verb *verb)
{
    const struct verb_option *option = NULL;

    buf_addf(buf, "    '%s%s%s') words='", verb->noun != NULL ? verb->noun : "",
             verb->noun != NULL ? " " : "", verb->name);
    for (size_t i = 0; (option = option_at(verb, i)) != NULL; i++) {
        buf_addf(buf, "--%s%s ", option->name, option->metavar == NULL ? "" : "=");
    }
    buf_add_text(buf, "--help' ;;\n");
}

char *verb_bash_completion(void)
{
    struct buf buf = { 0 };
    const char *last = "";

    buf_add_text(&buf, "# bash completion for davit; made by `davit completion bash`.\n"
                       "_davit() {\n"
                       "    local cur=${COMP_WORDS[COMP_CWORD]} noun=${COMP_WORDS[1]} "
                       "verb=${COMP_WORDS[2]} words=\n"
                       "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n        words='");
    for (const struct verb *const *v = verb_table; *v != NULL; v++) {
        const char *word = (*v)->noun != NULL ? (*v)->noun : (*v)->name;

        if (strcmp(word, last) != 0) {
            buf_addf(&buf, "%s ", word);
        }
        last = word;
    }
    buf_add_text(&buf, "'\n    elif [ \"$COMP_CWORD\" -eq 2 ]; then\n        case $noun in\n");
    for (const struct verb *const *v = verb_table; *v != NULL;) {
        const char *noun = (*v)->noun;

        if (noun == NULL) {
            v++;
            continue;
        }
        buf_addf(&buf, "        %s) words='", noun);
        for (; *v != NULL && str_eq((*v)->noun, noun); v++) {
            buf_addf(&buf, "%s ", (*v)->name);
        }
        buf_add_text(&buf, "' ;;\n");
    }
    buf_add_text(&buf, "        esac\n    fi\n    if [ -z \"$words\" ]; then\n"
                       "    case \"$noun $verb\" in\n");
    for (const struct verb *const *v = verb_table; *v != NULL; v++) {
        if ((*v)->noun != NULL) {
            complete_verb(&buf, *v);
        }
    }
    buf_add_text(&buf, "    esac\n    case $noun in\n");
    for (const struct verb *const *v = verb_table; *v != NULL; v++) {
        if ((*v)->noun == NULL) {
            complete_verb(&buf, *v);
        }
    }
    buf_add_text(&buf, "    esac\n    fi\n"
                       "    if [[ $cur == -* ]] || [ \"$COMP_CWORD\" -le 2 ]; then\n"
                       "        mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
                       "        [[ ${COMPREPLY[0]-} == *= ]] && compopt -o nospace\n"
                       "    else\n"
                       "        mapfile -t COMPREPLY < <(davit __complete \"${COMP_WORDS[@]:1}\" "
                       "2>/dev/null; compgen -f -- \"$cur\")\n"
                       "    fi\n}\ncomplete -F _davit davit aurora\n");
    return buf_take(&buf);
}
