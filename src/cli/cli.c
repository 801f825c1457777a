/* SPDX-License-Identifier: Apache-2.0 */

/* cli: what the verbs share: keys, the client, waiting on the loop, and output.
 *
 * A command line does one thing after the other, so that calls are waited for
 * here, by running the loop until their one outcome; nowhere else.
 */

#include "cli/cli.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/str.h"
#include "client/locate.h"

#include <ctype.h>
#include <fnmatch.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
    PROGRESS_EVERY_MS = 10000,
    INSTANCES_MAX = 100000,
    AGAIN_FOR_MS = 10000,
    AGAIN_EVERY_MS = 500
};

static bool valid_part(const char *part, bool globs)
{
    if (part[0] == 0) {
        return false;
    }
    for (; *part != 0; part++) {
        if (!isalnum((unsigned char)*part) && strchr(globs ? "_-.*?[]" : "_-.", *part) == NULL) {
            return false;
        }
    }
    return true;
}

void cli_key_fini(struct cli_key *key)
{
    free(key->cluster);
    free(key->role);
    free(key->env);
    free(key->name);
    *key = (struct cli_key){ 0 };
}

char *cli_key_text(const struct cli_key *key)
{
    return str_printf("%s/%s/%s/%s", key->cluster, key->role, key->env, key->name);
}

int cli_key_parse(const char *text, struct cli_key *ret_key, struct err *err)
{
    CLEANUP(strv_freep) char **parts = str_split(text, "/");

    if (strv_len(parts) != 4 || parts[0][0] == 0 || !valid_part(parts[1], false) ||
        !valid_part(parts[2], false) || !valid_part(parts[3], false)) {
        return err_set(err, ERR_USAGE,
                       "argument CLUSTER/ROLE/ENV/NAME: invalid jobkeytype value: '%s'", text);
    }
    *ret_key = (struct cli_key){ mem_strdup(parts[0]), mem_strdup(parts[1]), mem_strdup(parts[2]),
                                 mem_strdup(parts[3]) };
    return 0;
}

int cli_wild_parse(const char *text, struct cli_key *ret_key, struct err *err)
{
    CLEANUP(strv_freep) char **parts = str_split(text, "/");
    size_t n = strv_len(parts);

    if (n > 4) {
        return err_set(err, ERR_USAGE,
                       "argument CLUSTER[/ROLE[/ENV[/NAME]]]: invalid wildcard key: '%s'", text);
    }
    for (size_t i = 0; i < n; i++) {
        if (!valid_part(parts[i], true)) {
            return err_set(err, ERR_USAGE,
                           "argument CLUSTER[/ROLE[/ENV[/NAME]]]: invalid wildcard key: '%s'",
                           text);
        }
    }
    *ret_key = (struct cli_key){
        mem_strdup(parts[0]),
        mem_strdup(n > 1 ? parts[1] : "*"),
        mem_strdup(n > 2 ? parts[2] : "*"),
        mem_strdup(n > 3 ? parts[3] : "*"),
    };
    return 0;
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return x < y ? -1 : x > y;
}

static int bad_instances(const char *text, struct err *err)
{
    return err_set(err, ERR_USAGE,
                   "argument CLUSTER/ROLE/ENV/NAME[/INSTANCES]: invalid "
                   "instancesspectype value: '%s'",
                   text);
}

/* "0-3,5": sorted, each once. */
static int parse_ranges(const char *text, json_t **ret_instances, struct err *err)
{
    CLEANUP(strv_freep) char **parts = str_split(text, ",");
    CLEANUP(mem_freep) int64_t *ids = mem_alloc(INSTANCES_MAX * sizeof *ids);
    size_t n = 0;

    for (char **part = parts; *part != NULL; part++) {
        CLEANUP(strv_freep) char **ends = str_split(*part, "-");
        struct err inner = { 0 };
        int64_t low = 0, high = 0;

        if (strv_len(ends) > 2 ||
            str_to_int(ends[0], 0, INSTANCES_MAX - 1, "instance", &low, &inner) < 0 ||
            str_to_int(ends[strv_len(ends) - 1], 0, INSTANCES_MAX - 1, "instance", &high, &inner) <
                0) {
            return bad_instances(text, err);
        }
        if (high < low) {
            return err_set(err, ERR_USAGE, "Invalid instance range: ['%s', '%s']", ends[0],
                           ends[1]);
        }
        for (int64_t id = low; id <= high && n < INSTANCES_MAX; id++) {
            ids[n++] = id;
        }
    }
    qsort(ids, n, sizeof *ids, by_value);
    *ret_instances = json_array();
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || ids[i] != ids[i - 1]) {
            (void)json_array_append_new(*ret_instances, json_integer(ids[i]));
        }
    }
    return 0;
}

int cli_instances_parse(const char *text, struct cli_key *ret_key, json_t **ret_instances,
                        struct err *err)
{
    CLEANUP(mem_freep) char *key = mem_strdup(text);
    char *slash = key;

    for (int i = 0; i < 4 && slash != NULL; i++) {
        slash = strchr(i == 0 ? slash : slash + 1, '/');
    }
    *ret_instances = NULL;
    if (slash != NULL) {
        *slash = 0;
    }
    if (cli_key_parse(key, ret_key, err) < 0) {
        return err_code(err);
    }
    if (slash != NULL && slash[1] != 0 && parse_ranges(slash + 1, ret_instances, err) < 0) {
        cli_key_fini(ret_key);
        return err_code(err);
    }
    return 0;
}

static int need_clusters(struct cli *cli, struct err *err)
{
    return cli->clusters != NULL ? 0 : clusters_load(&cli->clusters, err);
}

static void on_client_closed(void *data)
{
    *(bool *)data = true;
}

static void close_client(struct cli *cli)
{
    bool closed = false;

    if (cli->client != NULL) {
        client_close(TAKE(cli->client), on_client_closed, &closed);
        while (!closed) {
            (void)uv_run(&cli->loop, UV_RUN_ONCE);
        }
    }
}

static void on_located(struct locate *locate)
{
    *(bool *)locate->data = true;
}

/* Where it leads now; on this machine its socket tells. */
static int find_leader(struct cli *cli, const struct cluster *cluster, struct err *err)
{
    bool done = false;
    struct locate locate = { .data = &done };

    locate_start(&locate, &cli->loop, cluster, on_located);
    while (!done) {
        (void)uv_run(&cli->loop, UV_RUN_ONCE);
    }
    CLEANUP(mem_freep) char *address = locate.address;

    if (locate.err.code < 0) {
        *err = locate.err;
        return err_code(err);
    }
    clusters_set_address(cli->clusters, cluster->name, address);
    return 0;
}

int cli_client(struct cli *cli, const char *cluster, struct client **ret_client, struct err *err)
{
    const struct cluster *found = NULL;

    if (need_clusters(cli, err) < 0 || clusters_find(cli->clusters, cluster, &found, err) < 0) {
        return err_code(err);
    }
    if (cli->client == NULL || cli->client_cluster != found) {
        close_client(cli);
        if (found->zk != NULL && find_leader(cli, found, err) < 0) {
            return err_code(err);
        }
        if (client_new(&cli->loop, found, &cli->client, err) < 0) {
            return err_wrap(err, "cluster %s", cluster);
        }
        cli->client_cluster = found;
    }
    *ret_client = cli->client;
    return 0;
}

static int default_cluster(struct cli *cli, const char *asked, const char **ret_name,
                           struct err *err)
{
    if (asked != NULL) {
        *ret_name = asked;
        return 0;
    }
    if (need_clusters(cli, err) < 0) {
        return err_code(err);
    }
    if (clusters_count(cli->clusters) == 1) {
        *ret_name = clusters_at(cli->clusters, 0)->name;
        return 0;
    }
    if (clusters_count(cli->clusters) == 0) {
        return err_set(err, ERR_CONFIG,
                       "no cluster is known: start one with 'davit up', or write "
                       "a clusters.json");
    }
    return err_set(err, ERR_USAGE, "several clusters are known: say which with --cluster");
}

int cli_default_client(struct cli *cli, const char *asked, struct client **ret_client,
                       struct err *err)
{
    const char *cluster = NULL;

    if (default_cluster(cli, asked, &cluster, err) < 0) {
        return err_code(err);
    }
    return cli_client(cli, cluster, ret_client, err);
}

int cli_clusters_matching(struct cli *cli, const char *glob, char ***ret_names, struct err *err)
{
    *ret_names = mem_alloc(sizeof **ret_names);
    if (strpbrk(glob, "*?[") == NULL) {
        strv_add(ret_names, glob);
        return 0;
    }
    if (need_clusters(cli, err) < 0) {
        return err_code(err);
    }
    for (size_t i = 0; i < clusters_count(cli->clusters); i++) {
        const char *name = clusters_at(cli->clusters, i)->name;

        if (fnmatch(glob, name, 0) == 0) {
            strv_add(ret_names, name);
        }
    }
    return 0;
}

struct wait {
    bool done;
    json_t *result;
    struct err err;
};

static void on_called(struct client_call *call)
{
    struct wait *wait = call->data;

    wait->done = true;
    wait->result = json_incref(call->result);
    wait->err = call->err;
}

int cli_request_once(struct cli *cli, struct client *client, const char *method, const char *path,
                     const json_t *body, json_t **ret_result, struct err *err)
{
    struct wait wait = { 0 };
    struct client_call call = { .data = &wait, .timeout_ms = 90000 };

    client_call_start(&call, client, method, path, body, on_called);
    while (!wait.done) {
        (void)uv_run(&cli->loop, UV_RUN_ONCE);
    }
    CLEANUP(json_freep) json_t *result = wait.result;
    if (wait.err.code < 0) {
        *err = wait.err;
        return err_code(err);
    }
    if (ret_result != NULL) {
        *ret_result = TAKE(result);
    }
    return 0;
}

static void on_pause_over(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
}

void cli_pause(struct cli *cli, uint64_t ms)
{
    uv_timer_t timer;
    bool over = false;

    (void)uv_timer_init(&cli->loop, &timer);
    timer.data = &over;
    (void)uv_timer_start(&timer, on_pause_over, ms, 0);
    while (!over) {
        (void)uv_run(&cli->loop, UV_RUN_ONCE);
    }
    uv_close((uv_handle_t *)&timer, NULL);
    (void)uv_run(&cli->loop, UV_RUN_NOWAIT);
}

int cli_request(struct cli *cli, struct client *client, const char *method, const char *path,
                const json_t *body, json_t **ret_result, struct err *err)
{
    uint64_t end_ms = clock_now_ms() + AGAIN_FOR_MS;

    for (;;) {
        struct err now = { 0 };
        int rv = cli_request_once(cli, client, method, path, body, ret_result, &now);
        bool passing = now.code == ERR_NOTLEADER || now.code == ERR_EOF;

        if (rv == 0) {
            return 0;
        }
        if (!passing || strcmp(method, "GET") != 0 || clock_now_ms() >= end_ms) {
            *err = now;
            return err_code(err);
        }
        cli_pause(cli, AGAIN_EVERY_MS);
    }
}

int cli_request_list(struct cli *cli, struct client *client, const char *path, json_t **ret_items,
                     struct err *err)
{
    CLEANUP(json_freep) json_t *items = json_array();
    CLEANUP(mem_freep) char *cursor = NULL;

    do {
        CLEANUP_BUF page = { 0 };
        CLEANUP(json_freep) json_t *answer = NULL;

        buf_add_text(&page, path);
        client_query(&page, "limit", "1000");
        client_query(&page, "cursor", cursor);
        if (cli_request(cli, client, "GET", buf_text(&page), NULL, &answer, err) < 0) {
            return err_code(err);
        }
        (void)json_array_extend(items, json_object_get(answer, "items"));
        free(cursor);
        cursor = mem_strdup_opt(json_str_or(answer, "next", NULL));
    } while (cursor != NULL);
    *ret_items = TAKE(items);
    return 0;
}

char *cli_job_url(const struct cli *cli, const struct cli_key *key)
{
    const char *web = cli->client_cluster != NULL ? cli->client_cluster->web : NULL;

    return str_printf("%s/scheduler/%s/%s/%s", web != NULL ? web : "", key->role, key->env,
                      key->name);
}

void cli_fini(struct cli *cli)
{
    close_client(cli);
    clusters_free(cli->clusters);
    cli->clusters = NULL;
}

void cli_progress(struct cli *cli, const char *message)
{
    static char *shown;
    static uint64_t shown_ms;
    struct winsize size = { 0 };

    if (cli->terminal) {
        int width =
            ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col - 1 : 79;

        /* \r, the text cut to the line, then clear to its end. */
        (void)fprintf(stderr, "\r%.*s\033[K", width, message != NULL ? message : "");
        (void)fflush(stderr);
        return;
    }
    bool changed = message != NULL && !str_eq(message, shown);

    if (changed && (shown == NULL || clock_now_ms() - shown_ms >= PROGRESS_EVERY_MS)) {
        if (shown != NULL) {
            (void)fprintf(stderr, "%s\n", message);
        }
        shown_ms = clock_now_ms();
        free(shown);
        shown = mem_strdup(message);
    }
    if (message == NULL) {
        free(shown);
        shown = NULL;
    }
}

enum { INTERRUPTED_STATUS = 130 }; /* As ERR_CANCELED says; its table is not for handlers. */

/* Written while SIGINT is held back, read by its handler. */
static char interrupt_line[256];

static void on_interrupt(int sig)
{
    (void)sig;
    (void)!write(STDERR_FILENO, interrupt_line, strlen(interrupt_line));
    _exit(INTERRUPTED_STATUS);
}

void cli_catch_interrupt(void)
{
    cli_note_interrupt(NULL);
    (void)signal(SIGINT, on_interrupt);
}

void cli_note_interrupt(const char *fmt, ...)
{
    char note[128] = "";
    sigset_t interrupt, before;
    va_list ap;

    if (fmt != NULL) {
        va_start(ap, fmt);
        (void)vsnprintf(note, sizeof note, fmt, ap);
        va_end(ap);
    }
    (void)sigemptyset(&interrupt);
    (void)sigaddset(&interrupt, SIGINT);
    (void)sigprocmask(SIG_BLOCK, &interrupt, &before);
    (void)snprintf(interrupt_line, sizeof interrupt_line,
                   "%sERROR] Command interrupted by user%s%s\n",
                   isatty(STDERR_FILENO) != 0 ? "\r\033[K" : "", note[0] != 0 ? "; " : "", note);
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
}

int cli_report(const struct cli *cli, const struct err *err, int status)
{
    CLEANUP(mem_freep) char *message = str_escape(err->msg);

    if (cli->json) {
        CLEANUP(json_freep) json_t *problem = json_object();

        json_put_str(problem, "title", err_text(err->code));
        json_put_str(problem, "detail", err->msg);
        json_put_int(problem, "status", err_http_status(err->code));
        json_put_int(problem, "exit", status);
        CLEANUP(mem_freep) char *text = json_text(problem);
        (void)fprintf(stderr, "%s\n", text);
    } else {
        (void)fprintf(stderr, "%s\n", message);
    }
    return status;
}

/* 15 digits: 0.05 is told as people wrote it, not as the nearest double. */
void cli_print_json(const json_t *value)
{
    CLEANUP(mem_freep)
    char *text = json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY |
                                       JSON_REAL_PRECISION(15));

    (void)printf("%s\n", text);
}

const char *cli_color_of(const struct cli *cli, const char *state)
{
    static const struct {
        const char *words;
        const char *color;
    } rows[] = {
        { " RUNNING FINISHED succeeded ok alive ", "\033[32m" },
        { " FAILED LOST failed refused timed_out unstartable lost disappeared dead ", "\033[31m" },
        { " PENDING THROTTLED ASSIGNED STARTING KILLING running queued skipped ", "\033[33m" },
    };
    CLEANUP(mem_freep) char *word = str_printf(" %s ", state);

    for (size_t i = 0; cli->color && i < sizeof rows / sizeof rows[0]; i++) {
        if (strstr(rows[i].words, word) != NULL) {
            return rows[i].color;
        }
    }
    return "";
}

const char *cli_color_end(const struct cli *cli)
{
    return cli->color ? "\033[0m" : "";
}

/* Columns a terminal needs for UTF-8 text: code points, near enough. */
static size_t width_of(const char *text)
{
    size_t n = 0;

    for (; *text != 0; text++) {
        n += ((unsigned char)*text & 0xc0) != 0x80;
    }
    return n;
}

char *cli_shown(const json_t *obj, const char *key, const char *fallback)
{
    return str_escape(json_str_or(obj, key, fallback));
}

void cli_add_cell_take(json_t *row, char *text)
{
    (void)json_array_append_new(row, json_str_repaired(text, strlen(text)));
    free(text);
}

void cli_print_table(const struct cli *cli, const json_t *rows)
{
    enum { COLUMNS_MAX = 16 };
    size_t widths[COLUMNS_MAX] = { 0 };
    size_t r, c;
    json_t *row, *cell;

    json_array_foreach(rows, r, row)
    {
        json_array_foreach(row, c, cell)
        {
            CLEANUP(mem_freep) char *text = str_escape(json_string_value(cell));
            size_t width = width_of(text);

            widths[c] = c < COLUMNS_MAX && width > widths[c] ? width : widths[c];
        }
    }
    json_array_foreach(rows, r, row)
    {
        json_array_foreach(row, c, cell)
        {
            CLEANUP(mem_freep) char *text = str_escape(json_string_value(cell));
            const char *color = r > 0 ? cli_color_of(cli, text) : "";
            bool last = c + 1 == json_array_size(row);
            int pad = last || widths[c] <= width_of(text) ? 0 : (int)(widths[c] - width_of(text));

            (void)printf("%s%s%s%*s%s", color, text, color[0] != 0 ? cli_color_end(cli) : "", pad,
                         "", last ? "\n" : "  ");
        }
    }
}
