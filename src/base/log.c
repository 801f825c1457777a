/* SPDX-License-Identifier: Apache-2.0 */

/* log: one line per event on stderr, and a ring of the latest lines in memory.
 *
 * Not an audit trail (hook/journal is) and not for output that a user asked
 * for.  The ring is allocated at the first debug line, so that a process that
 * never logs stays small.
 */

#include "base/log.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/str.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

enum { RING_LINES = 1000, RING_LINE_MAX = 400 };

static const char *const words[] = { "error", "warn", "info", "debug" };
static const char *program_name = "davit";
static enum log_level threshold = LOG_LEVEL_INFO;
static bool as_json;
static char **ring;
static size_t ring_next;

void log_init(const char *program)
{
    const char *format = getenv("DAVIT_LOG_FORMAT");
    const char *level = getenv("DAVIT_LOG");
    struct err err = { 0 };

    program_name = program;
    as_json = str_eq(format, "json");
    if (level != NULL && log_set_level(level, &err) < 0) {
        log_warn("%s, keeping info", err.msg);
    }
}

int log_set_level(const char *word, struct err *err)
{
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcmp(word, words[i]) == 0) {
            threshold = (enum log_level)i;
            return 0;
        }
    }
    return err_set(err, ERR_INVALID, "log level '%s' is none of error, warn, info, debug", word);
}

bool log_enabled(enum log_level level)
{
    return level <= threshold;
}

/* "../src/master/api.c" reads as "master/api.c". */
static const char *short_file(const char *file)
{
    const char *src = strstr(file, "src/");

    return src != NULL ? src + 4 : file;
}

static void remember(const char *line)
{
    if (ring == NULL) {
        ring = mem_alloc(RING_LINES * sizeof *ring);
    }
    free(ring[ring_next]);
    ring[ring_next] = mem_strndup(line, RING_LINE_MAX);
    ring_next = (ring_next + 1) % RING_LINES;
}

static char *compose_json(enum log_level level, const char *when, const char *where,
                          const char *message)
{
    json_t *json = json_pack("{s:s, s:s, s:s, s:s, s:s}", "ts", when, "level", words[level],
                             "component", program_name, "src", where, "msg", message);
    char *text = json != NULL ? json_dumps(json, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;
    char *line = str_printf("%s\n", text != NULL ? text : "{\"msg\":\"log line is not UTF-8\"}");

    free(text);
    json_decref(json);
    return line;
}

void log_write(enum log_level level, const char *file, int line, const char *fmt, ...)
{
    /* Debug lines are kept even when not shown, but only once the ring exists:
     * a small process that nobody debugs does not pay for it. */
    if (level > threshold && ring == NULL) {
        return;
    }
    char when[CLOCK_UTC_SIZE];
    va_list ap;

    va_start(ap, fmt);
    CLEANUP(mem_freep) char *raw = str_vprintf(fmt, ap);
    va_end(ap);
    CLEANUP(mem_freep) char *message = str_escape(raw);
    CLEANUP(mem_freep) char *where = str_printf("%s:%d", short_file(file), line);
    clock_format_utc(clock_wall_ms(), when);
    CLEANUP(mem_freep)
    char *out =
        as_json ? compose_json(level, when, where, message)
                : str_printf("%s %s %s %s %s\n", when, words[level], program_name, where, message);

    if (threshold >= LOG_LEVEL_DEBUG || ring != NULL) {
        remember(out);
    }
    if (level <= threshold) {
        /* One write per line, so that lines of several processes do not mix. */
        (void)!write(STDERR_FILENO, out, strlen(out));
    }
}

void log_dump(void)
{
    for (size_t i = 0; ring != NULL && i < RING_LINES; i++) {
        const char *line = ring[(ring_next + i) % RING_LINES];

        if (line != NULL) {
            (void)!write(STDERR_FILENO, line, strlen(line));
        }
    }
}
