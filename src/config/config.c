/* SPDX-License-Identifier: Apache-2.0 */

/* config: a configuration file as the command line needs it, through the guest.
 *
 * It knows the guest's methods (docs/guest-protocol.md) and words the failures;
 * Python evaluates, checks and runs hooks; starting and ending the process is
 * guest.c's.
 *
 * Every function makes one call and runs the private loop until its one outcome.
 * Failures: an error object of the guest becomes one line, with file and line when
 * it carries them; a deadline or a dead guest kills the guest and is said so, and
 * every later call fails alike.
 * Invariant: nothing is pending on the loop between two functions but the guest.
 */

#include "config/config.h"

#include "base/buf.h"
#include "base/file.h"
#include "base/json.h"
#include "base/str.h"
#include "guest/guest.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

enum { TIMEOUT_MS = 10000, END_WAIT_MS = 1000 };

struct config {
    uv_loop_t loop;
    struct guest *guest;
    unsigned owners;
    bool loaded, strict;
    uint64_t timeout_ms;
    bool greeted; /* The guest has answered: what goes wrong now is the file's doing. */
    json_t *jobs;
    json_t *warnings;
    json_t *hook_names;
    char *name; /* Of the file, for messages. */
    char *message;
    int exit_status;
};

struct ask {
    struct rpc_call call;
    bool done;
    struct err err;
    json_t *result, *error;
};

struct config *config_new(void)
{
    struct config *config = mem_alloc(sizeof *config);
    int rv = uv_loop_init(&config->loop);

    assert(rv == 0);
    config->owners = 1;
    config->timeout_ms = TIMEOUT_MS;
    config->exit_status = -1;
    config->name = mem_strdup("");
    config->message = mem_strdup("");
    return config;
}

struct config *config_share(struct config *config)
{
    config->owners++;
    return config;
}

void config_set_strict(struct config *config, bool strict)
{
    config->strict = strict;
}

static void on_closed(void *data)
{
    *(struct guest **)data = NULL;
}

void config_free(struct config *config)
{
    if (config == NULL || --config->owners > 0) {
        return;
    }
    if (config->guest != NULL) {
        guest_close(config->guest, on_closed, &config->guest);
    }
    while (config->guest != NULL) {
        uv_run(&config->loop, UV_RUN_ONCE);
    }
    uv_run(&config->loop, UV_RUN_DEFAULT);
    int rv = uv_loop_close(&config->loop);
    assert(rv == 0);
    json_decref(config->jobs);
    json_decref(config->warnings);
    json_decref(config->hook_names);
    free(config->name);
    free(config->message);
    free(config);
}

const json_t *config_jobs(const struct config *config)
{
    return config->jobs;
}

const json_t *config_hook_names(const struct config *config)
{
    return config->hook_names;
}

const json_t *config_warnings(const struct config *config)
{
    return config->warnings;
}

const char *config_message(const struct config *config)
{
    return config->message;
}

int config_exit_status(const struct config *config)
{
    return config->exit_status;
}

/* --- failures ------------------------------------------------------------ */

static void set_message(struct config *config, char *text)
{
    free(config->message);
    config->message = text;
}

/* The guest's error object: its words, and where, unless they say that already. */
static int fail_with(struct config *config, const struct ask *ask, struct err *err)
{
    json_t *data = json_object_get(ask->error, "data");
    const char *text = json_str_or(ask->error, "message", ask->err.msg);
    const char *file = json_str_or(data, "file", NULL), *kind = json_str_or(data, "kind", "");
    int64_t line = json_int_or(data, "line", 0);
    CLEANUP(mem_freep) char *mark = str_printf("line %lld)", (long long)line);

    config->exit_status = (int)json_int_or(data, "exit", -1);
    if (file != NULL && line > 0 && strstr(text, mark) == NULL) {
        set_message(config, str_printf("%s (%s, %s", text, file, mark));
    } else {
        set_message(config, mem_strdup(text));
    }
    return err_set(err, str_eq(kind, "usage") ? ERR_USAGE : ask->err.code, "%.*s",
                   (int)strcspn(config->message, "\n"), config->message);
}

static void on_wait_over(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
}

/* A dead guest's status is known a moment after its channel broke. */
static void wait_for_end(struct config *config)
{
    bool over = false;
    uv_timer_t timer = { .data = &over };
    int rv = uv_timer_init(&config->loop, &timer);

    assert(rv == 0);
    rv = uv_timer_start(&timer, on_wait_over, END_WAIT_MS, 0);
    assert(rv == 0);
    while (!over && !guest_has_ended(config->guest)) {
        uv_run(&config->loop, UV_RUN_ONCE);
    }
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&config->loop, UV_RUN_NOWAIT);
}

/* Once it runs, a guest that ends or garbles its channel was made to by the file. */
static int fail_without_answer(struct config *config, const struct ask *ask, uint64_t timeout_ms,
                               const char *doing, struct err *err)
{
    int code = ask->err.code;

    if (code == ERR_TIMEOUT) {
        guest_signal(config->guest, SIGKILL);
        set_message(config, str_printf("%s %s took longer than %llu s", doing, config->name,
                                       (unsigned long long)timeout_ms / 1000));
    } else if (code == ERR_EOF) {
        wait_for_end(config);
        set_message(config,
                    str_printf("%s %s: the Python process %s", doing, config->name,
                               guest_has_ended(config->guest) ? guest_status_text(config->guest)
                                                              : "closed its channel"));
    } else {
        set_message(config, str_printf("%s %s: %s", doing, config->name, ask->err.msg));
    }
    if (config->greeted && code != ERR_TIMEOUT && code != ERR_CANCELED) {
        code = ERR_CONFIG;
    }
    return err_set(err, code, "%s", config->message);
}

/* --- asking -------------------------------------------------------------- */

static void on_answer(struct rpc_call *call)
{
    struct ask *ask = call->data;

    ask->done = true;
    ask->err = call->err;
    ask->result = json_incref(call->result);
    ask->error = json_incref(call->error);
}

/* One call and its outcome.  params are taken.  No method: the hello. */
static int ask_guest(struct config *config, const char *method, json_t *params_take,
                     uint64_t timeout_ms, const char *doing, json_t **ret_result, struct err *err)
{
    CLEANUP(json_freep) json_t *params = params_take;
    struct ask ask = { .call.data = &ask };
    int rv = 0;

    config->exit_status = -1;
    if (method == NULL) {
        rpc_hello_start(&ask.call, guest_rpc(config->guest), timeout_ms, on_answer);
    } else {
        rpc_call_start(&ask.call, guest_rpc(config->guest), method, params, timeout_ms, on_answer);
    }
    while (!ask.done) {
        uv_run(&config->loop, UV_RUN_ONCE);
    }
    if (ask.err.code == 0) {
        if (ret_result != NULL) {
            *ret_result = json_incref(ask.result);
        }
    } else if (ask.error != NULL) {
        rv = fail_with(config, &ask, err);
    } else {
        rv = fail_without_answer(config, &ask, timeout_ms, doing, err);
    }
    json_decref(ask.result);
    json_decref(ask.error);
    return rv;
}

/* The guest, and its hello; nothing when it is there already. */
static int start(struct config *config, struct err *err)
{
    const struct guest_options options = {
        .group = CHILD_GROUP_SAME, /* A hook may ask the user on the terminal. */
        .death_signal = SIGTERM,
        .rpc = { .peer = "the Python guest", .protocol = "davit-guest", .version = 1 },
    };

    if (config->guest != NULL) {
        return 0;
    }
    /* A guest that dies while we write to it must not end us. */
    (void)signal(SIGPIPE, SIG_IGN);
    if (guest_start(&config->loop, &options, &config->guest, err) < 0) {
        set_message(config, mem_strdup(err->msg));
        return err_code(err);
    }
    return ask_guest(config, NULL, NULL, config->timeout_ms, "starting Python for", NULL, err);
}

static void set_name(struct config *config, const char *name)
{
    free(config->name);
    config->name = mem_strdup(name);
}

/* "name=value" texts to [[name, value]...]. */
static int parse_binds(struct config *config, const char *const *binds, json_t **ret_binds,
                       struct err *err)
{
    CLEANUP(json_freep) json_t *list = json_array();

    for (; binds != NULL && *binds != NULL; binds++) {
        const char *equals = strchr(*binds, '=');

        if (equals == NULL || equals == *binds) {
            set_message(config, mem_strdup("Binding parameter must be formatted name=value"));
            return err_set(err, ERR_USAGE, "%s", config->message);
        }
        json_t *pair = json_array();
        json_array_append_new(pair, json_str_repaired(*binds, (size_t)(equals - *binds)));
        json_array_append_new(pair, json_str_repaired(equals + 1, strlen(equals + 1)));
        json_array_append_new(list, pair);
    }
    *ret_binds = TAKE(list);
    return 0;
}

/* A file that finds the channel can answer in the guest's place: nothing in an answer is sure. */
static int need_texts(struct config *config, const json_t *answer, const char *key,
                      json_t **ret_texts, struct err *err)
{
    json_t *texts = json_object_get(answer, key);
    const json_t *each;
    size_t i;
    bool good = json_is_array(texts);

    json_array_foreach(texts, i, each)
    {
        good = good && json_is_string(each);
    }
    if (!good) {
        set_message(config, str_printf("evaluating %s: the answer has no texts as '%s'",
                                       config->name, key));
        return err_set(err, ERR_CONFIG, "%s", config->message);
    }
    *ret_texts = json_incref(texts);
    return 0;
}

/* The same of one job. */
static int need_job(struct config *config, const json_t *answer, struct err *err)
{
    static const char *const lists[] = { "ports", "unbound", "warnings" };
    const char *key = NULL;
    json_t *job = NULL;

    if (json_need_str(answer, "key", &key, err) < 0 ||
        json_need_obj(answer, "job", &job, err) < 0) {
        set_message(config, str_printf("evaluating %s: %s", config->name, err->msg));
        return err_set(err, ERR_CONFIG, "%s", config->message);
    }
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        CLEANUP(json_freep) json_t *texts = NULL;

        if (need_texts(config, answer, lists[i], &texts, err) < 0) {
            return err_code(err);
        }
    }
    return 0;
}

static int load(struct config *config, const char *path, const char *name, const char *text,
                const struct config_options *options, struct err *err)
{
    CLEANUP(json_freep) json_t *binds = NULL, *answer = NULL;
    json_t *params = NULL;

    assert(!config->loaded);
    config->loaded = true;
    config->timeout_ms = options->timeout_ms > 0 ? options->timeout_ms : TIMEOUT_MS;
    set_name(config, name);
    if (parse_binds(config, options->binds, &binds, err) < 0 || start(config, err) < 0) {
        return err_code(err);
    }
    config->greeted = true;
    params = json_object();
    json_put_str(params, "path", path);
    json_put_str(params, "name", name);
    json_put_str(params, "text", text);
    json_put_take(params, "binds", TAKE(binds));
    json_put_bool(params, "read_json", options->read_json);
    json_put_bool(params, "allow_include", !options->no_include);
    json_put_bool(params, "python2", !options->no_python2);
    json_put_bool(params, "verbose", options->verbose);
    if (ask_guest(config, "config.load", params, config->timeout_ms, "evaluating", &answer, err) <
            0 ||
        need_texts(config, answer, "jobs", &config->jobs, err) < 0 ||
        need_texts(config, answer, "hooks", &config->hook_names, err) < 0 ||
        need_texts(config, answer, "warnings", &config->warnings, err) < 0) {
        return err_code(err);
    }
    return 0;
}

int config_load(struct config *config, const char *path, const struct config_options *options,
                struct err *err)
{
    return load(config, path, path, NULL, options, err);
}

int config_load_text(struct config *config, const char *name, const char *text,
                     const struct config_options *options, struct err *err)
{
    return load(config, NULL, name, text, options, err);
}

int config_select(struct config *config, const char *key, json_t **ret_selected, struct err *err)
{
    CLEANUP(json_freep) json_t *selected = NULL;
    json_t *params = json_object();

    json_put_str(params, "key", key);
    if (ask_guest(config, "config.select", params, config->timeout_ms, "evaluating", &selected,
                  err) < 0 ||
        need_job(config, selected, err) < 0) {
        return err_code(err);
    }
    *ret_selected = TAKE(selected);
    return 0;
}

int config_dump(struct config *config, const char *key, int64_t instance, json_t **ret_dump,
                struct err *err)
{
    CLEANUP(json_freep) json_t *answer = NULL;
    json_t *params = json_object();

    json_put_str(params, "key", key);
    if (instance >= 0) {
        json_put_int(params, "instance", instance);
    }
    if (ask_guest(config, "config.dump", params, config->timeout_ms, "evaluating", &answer, err) <
            0 ||
        need_job(config, answer, err) < 0) {
        return err_code(err);
    }
    *ret_dump = TAKE(answer);
    return 0;
}

int config_lint(struct config *config, json_t **ret_findings, struct err *err)
{
    CLEANUP(json_freep) json_t *answer = NULL;

    if (ask_guest(config, "config.lint", json_object(), config->timeout_ms, "looking at", &answer,
                  err) < 0) {
        return err_code(err);
    }
    *ret_findings = json_incref(json_object_get(answer, "findings"));
    return 0;
}

int config_raw(struct config *config, char **ret_text, struct err *err)
{
    CLEANUP(json_freep) json_t *answer = NULL;
    const char *text = NULL;

    if (ask_guest(config, "config.raw", json_object(), config->timeout_ms, "evaluating", &answer,
                  err) < 0 ||
        json_need_str(answer, "text", &text, err) < 0) {
        return err_code(err);
    }
    *ret_text = mem_strdup(text);
    return 0;
}

int config_check_update(struct config *config, struct err *err)
{
    return ask_guest(config, "config.check_update", json_object(), config->timeout_ms, "evaluating",
                     NULL, err);
}

/* --- hooks --------------------------------------------------------------- */

int config_plugins(struct config *config, const char *const *paths, bool verbose,
                   json_t **ret_plugins, struct err *err)
{
    json_t *params = NULL;
    json_t *list = json_array();

    for (; *paths != NULL; paths++) {
        set_name(config, *paths);
        (void)json_array_append_new(list, json_str_repaired(*paths, strlen(*paths)));
    }
    if (start(config, err) < 0) {
        json_decref(list);
        return err_code(err);
    }
    params = json_object();
    json_put_take(params, "paths", list);
    json_put_bool(params, "verbose", verbose);
    return ask_guest(config, "plugins.load", params, config->timeout_ms, "evaluating", ret_plugins,
                     err);
}

int config_command(struct config *config, json_t *params_take, json_t **ret_result, struct err *err)
{
    return ask_guest(config, "command.call", params_take, 0, "running command hooks of", ret_result,
                     err);
}

int config_plan(struct config *config, const char *method, json_t **ret_plan, struct err *err)
{
    json_t *params = json_object();

    json_put_str(params, "method", method);
    return ask_guest(config, "hooks.plan", params, config->timeout_ms, "looking for hooks in",
                     ret_plan, err);
}

int config_hooks(struct config *config, enum config_phase phase, const char *method,
                 const char *key, const json_t *args, const json_t *outcome, json_t **ret_result,
                 struct err *err)
{
    static const char *const phases[] = {
        [CONFIG_PRE] = "pre", [CONFIG_POST] = "post", [CONFIG_ERR] = "err"
    };
    json_t *params = json_object();

    json_put_str(params, "phase", phases[phase]);
    json_put_str(params, "method", method);
    json_put_str(params, "key", key);
    json_put_bool(params, "strict", config->strict);
    if (args != NULL) {
        json_put_take(params, "args", json_incref((json_t *)args));
    }
    if (outcome != NULL) {
        json_put_take(params, "outcome", json_incref((json_t *)outcome));
    }
    /* Without a deadline: pre_kill_job may be waiting for somebody's yes. */
    return ask_guest(config, "hook.call", params, 0, "running hooks of", ret_result, err);
}

int config_refusal(const json_t *result, const char *method, struct err *err)
{
    CLEANUP_BUF why = { 0 };
    const json_t *record;
    size_t i;

    if (!json_bool_or(result, "refused", false)) {
        return 0;
    }
    json_array_foreach(json_object_get(result, "records"), i, record)
    {
        if (json_bool_or(record, "refused", false)) {
            buf_addf(&why, "%s%s: %s", why.len > 0 ? "; " : "", json_str_or(record, "name", "?"),
                     json_str_or(record, "error", "?"));
        }
    }
    return err_set(err, ERR_REFUSED, "Pre hooks stopped call to %s (%s)", method, buf_text(&why));
}
