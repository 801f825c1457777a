/* SPDX-License-Identifier: Apache-2.0 */

/* diffviewer: the user's own program for differences, if there is one.
 *
 * DIFF_VIEWER is split at blanks: the program (looked for in PATH) and its first
 * arguments; no shell takes part.  It has the terminal until it ends.
 * Failures: whatever keeps it from running is told, and the unified diff is shown.
 */

#include "cli/diffviewer.h"

#include "base/child.h"
#include "base/file.h"
#include "base/str.h"
#include "cli/textdiff.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

static void print_unified(const char *old_text, const char *new_text)
{
    CLEANUP(mem_freep) char *diff = textdiff_unified("current", old_text, "proposed", new_text);

    (void)fputs(diff, stdout);
}

/* NULL when no such program is there. */
static char *find_program(const char *name)
{
    const char *path = getenv("PATH");
    CLEANUP(strv_freep) char **dirs = str_split(path != NULL ? path : "/usr/bin:/bin", ":");

    if (strchr(name, '/') != NULL) {
        return mem_strdup(name);
    }
    for (char **dir = dirs; *dir != NULL; dir++) {
        CLEANUP(mem_freep) char *file = file_join(*dir, name);

        if (access(file, X_OK) == 0) {
            return TAKE(file);
        }
    }
    return NULL;
}

static void on_ended(struct child *child)
{
    *(bool *)child->data = true;
}

static int run(char *const *words, const char *old_file, const char *new_file, struct err *err)
{
    CLEANUP(mem_freep) char *program = find_program(words[0]);
    CLEANUP(strv_freep) char **argv = strv_dup(words);
    const struct child_fd fds[] = { { 0, 0 }, { 1, 1 }, { 2, 2 } };
    bool ended = false;
    struct child child = { .data = &ended };
    uv_loop_t loop;
    int rv;

    if (program == NULL) {
        return err_set(err, ERR_NOTFOUND, "%s is not in PATH", words[0]);
    }
    strv_add(&argv, old_file);
    strv_add(&argv, new_file);
    (void)uv_loop_init(&loop);
    rv = child_start(&child, &loop,
                     &(struct child_options){ .path = program,
                                              .argv = (const char *const *)argv,
                                              .envp = (const char *const *)environ,
                                              .fds = fds,
                                              .n_fds = 3,
                                              .group = CHILD_GROUP_SAME },
                     on_ended, err);
    while (rv == 0 && !ended) {
        (void)uv_run(&loop, UV_RUN_ONCE);
    }
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    (void)uv_loop_close(&loop);
    return rv;
}

static bool put_file(char *path, const char *text)
{
    CLEANUP(fd_closep) int fd = mkstemp(path);
    size_t len = strlen(text), at = 0;

    while (fd >= 0 && at < len) {
        ssize_t n = write(fd, text + at, len - at);

        if (n <= 0) {
            return false;
        }
        at += (size_t)n;
    }
    return fd >= 0;
}

/* words: the program and its first arguments. */
static int show_by(char *const *words, const char *old_text, const char *new_text, struct err *err)
{
    const char *dir = getenv("TMPDIR");
    CLEANUP(mem_freep) char *old_file = file_join(dir != NULL ? dir : "/tmp", "current.XXXXXX");
    CLEANUP(mem_freep) char *new_file = file_join(dir != NULL ? dir : "/tmp", "proposed.XXXXXX");
    int rv;

    if (put_file(old_file, old_text) && put_file(new_file, new_text)) {
        (void)fflush(stdout);
        rv = run(words, old_file, new_file, err);
    } else {
        rv = err_set(err, ERR_IO, "no temporary file could be written");
    }
    (void)unlink(old_file);
    (void)unlink(new_file);
    return rv;
}

void diffviewer_show(const char *old_text, const char *new_text)
{
    const char *viewer = getenv("DIFF_VIEWER");
    struct err err = { 0 };

    if (viewer == NULL || viewer[strspn(viewer, " ")] == 0) {
        print_unified(old_text, new_text);
        return;
    }
    CLEANUP(strv_freep) char **parts = str_split(viewer, " ");
    CLEANUP(strv_freep) char **words = mem_alloc(sizeof *words);

    for (char **part = parts; *part != NULL; part++) {
        if (**part != 0) {
            strv_add(&words, *part);
        }
    }
    if (show_by(words, old_text, new_text, &err) < 0) {
        (void)fprintf(stderr, " WARN] DIFF_VIEWER cannot be run: %s\n", err.msg);
        print_unified(old_text, new_text);
    }
}
