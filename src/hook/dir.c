/* SPDX-License-Identifier: Apache-2.0 */

/* dir: which programs a directory has for an event, by each contract's own rules.
 *
 * Looks, never runs.  The three contracts differ in nearly everything: which names count,
 * whether links are followed, what a non-executable means; so each has its own function
 * here and no switch is shared.
 * Failure: only a directory that is there and cannot be read.  A strange entry is an entry
 * with a verdict.
 * Invariant: order is by bytes, which for UTF-8 is order by code point.
 */
#include "hook/dir.h"

#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ENTRIES_MAX = 4096, DEADLINE_MAX_S = 7 * 24 * 3600 };

static const char side_leave[] = ".leave";
static const char side_env[] = ".env";
static const char dir_deadline[] = ".deadline";

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void names_free(char **names)
{
    strv_free(names);
}
DEFINE_FREEP(char *, names_free)

/* All names but "." and "..", sorted; *ret_names stays NULL when there is no directory, or nothing
 * in it. */
static int list_names(const char *path, char ***ret_names, struct err *err)
{
    DIR *dir = opendir(path);
    CLEANUP(names_freep) char **names = NULL;
    size_t n = 0;

    if (dir == NULL) {
        if (errno == ENOENT || errno == ENOTDIR) {
            return 0;
        }
        return err_set(err, ERR_IO, "list hooks in %s: %s", path, strerror(errno));
    }
    for (struct dirent *entry; n <= ENTRIES_MAX && (entry = readdir(dir)) != NULL;) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            strv_add(&names, entry->d_name);
            n++;
        }
    }
    closedir(dir);
    if (n > ENTRIES_MAX) {
        return err_set(err, ERR_TOOBIG, "more than %d entries in %s", ENTRIES_MAX, path);
    }
    if (n > 0) {
        qsort(names, n, sizeof *names, by_name);
    }
    *ret_names = TAKE(names);
    return 0;
}

static bool has_name(char **names, const char *name)
{
    for (size_t i = 0; names[i] != NULL; i++) {
        if (strcmp(names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

/* Is this the side file of a hook that is listed here? */
static bool is_side_file(char **names, const char *name)
{
    CLEANUP(mem_freep) char *hook = mem_strdup(name);
    const char *const sides[] = { side_leave, side_env };

    for (size_t i = 0; i < sizeof sides / sizeof sides[0]; i++) {
        if (str_ends(name, sides[i]) && strlen(name) > strlen(sides[i])) {
            hook[strlen(name) - strlen(sides[i])] = '\0';
            return has_name(names, hook);
        }
    }
    return false;
}

static uint64_t read_deadline(const char *path)
{
    CLEANUP(mem_freep) char *file = file_join(path, dir_deadline);
    CLEANUP_BUF text = { 0 };
    struct err ignored;
    int64_t seconds = 0;

    if (file_read(file, 64, &text, &ignored) < 0) {
        return 0;
    }
    while (text.len > 0 && strchr(" \t\r\n", text.data[text.len - 1]) != NULL) {
        text.data[--text.len] = '\0';
    }
    return str_to_int(buf_text(&text), 1, DEADLINE_MAX_S, "deadline", &seconds, &ignored) < 0
               ? 0
               : (uint64_t)seconds * 1000;
}

static struct hook_entry *add_entry(struct hook_dir *dir, const char *path, const char *name)
{
    struct hook_entry *grown = mem_alloc((dir->n + 1) * sizeof *grown);

    if (dir->n > 0) {
        memcpy(grown, dir->entries, dir->n * sizeof *grown);
    }
    free(dir->entries);
    dir->entries = grown;
    grown[dir->n].name = mem_strdup(name);
    grown[dir->n].path = file_join(path, name);
    return &grown[dir->n++];
}

/* Ganeti: ^[a-zA-Z0-9_-]+$ */
static bool is_ganeti_name(const char *name)
{
    return name[0] != '\0' && name[strspn(name, "abcdefghijklmnopqrstuvwxyz"
                                                "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")] == '\0';
}

/* Ganeti and pod: through links, as this user would execute it. */
static void judge_file(struct hook_entry *entry, bool any_name)
{
    struct stat st;

    if (!any_name && !is_ganeti_name(entry->name)) {
        entry->why = "name does not match [a-zA-Z0-9_-]+";
    } else if (stat(entry->path, &st) < 0) {
        entry->why = "dangling link or unreadable";
    } else if (!S_ISREG(st.st_mode)) {
        entry->why = "not a regular file";
    } else if (access(entry->path, X_OK) < 0) {
        entry->why = "not executable";
    }
    entry->verdict = entry->why == NULL ? HOOK_ENTRY_RUN : HOOK_ENTRY_SKIP;
}

/* p2: the mode is the link's own (0777), so a link is always tried. */
static bool judge_p2(struct hook_entry *entry)
{
    struct stat st;

    if (lstat(entry->path, &st) < 0) {
        return false; /* Gone since it was listed. */
    }
    if ((st.st_mode & 0111) == 0) {
        entry->verdict = HOOK_ENTRY_AUDIT;
        entry->why = "not executable";
        return true;
    }
    return !S_ISDIR(st.st_mode);
}

static void drop_last(struct hook_dir *dir)
{
    struct hook_entry *entry = &dir->entries[--dir->n];

    free(entry->name);
    free(entry->path);
}

/* One directory, appended to dir. */
static int read_one(enum hook_rules rules, const char *path, struct hook_dir *dir, struct err *err)
{
    CLEANUP(names_freep) char **names = NULL;
    CLEANUP(mem_freep) char *side = NULL;

    if (list_names(path, &names, err) < 0) {
        return err_code(err);
    }
    uint64_t term_ms = names != NULL ? read_deadline(path) : 0;
    for (size_t i = 0; names != NULL && names[i] != NULL; i++) {
        /* p2 runs dotfiles as well; our own side files are not hooks in any contract. */
        if ((names[i][0] == '.' && rules != HOOK_RULES_P2) || is_side_file(names, names[i]) ||
            strcmp(names[i], dir_deadline) == 0) {
            continue;
        }
        struct hook_entry *entry = add_entry(dir, path, names[i]);
        entry->term_ms = term_ms;
        if (rules == HOOK_RULES_P2) {
            if (!judge_p2(entry)) {
                drop_last(dir);
                continue;
            }
        } else {
            judge_file(entry, rules == HOOK_RULES_POD);
        }
        side = str_printf("%s%s", names[i], side_leave);
        entry->leave = has_name(names, side);
        mem_freep(&side);
        side = str_printf("%s%s", names[i], side_env);
        entry->tokens = has_name(names, side);
        mem_freep(&side);
        side = NULL;
    }
    return 0;
}

static bool is_directory(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static int read_p2(const char *base, const char *event, struct hook_dir *dir, struct err *err)
{
    CLEANUP(mem_freep) char *typed = file_join(base, event);

    if (is_directory(typed) && read_one(HOOK_RULES_P2, typed, dir, err) < 0) {
        return err_code(err);
    }
    return read_one(HOOK_RULES_P2, base, dir, err);
}

static int read_pod(const char *base, const char *event, struct hook_dir *dir, struct err *err)
{
    CLEANUP(mem_freep) char *program = file_join(base, event);
    CLEANUP(mem_freep) char *many = str_printf("%s.d", program);
    CLEANUP(mem_freep) char *leave = str_printf("%s%s", program, side_leave);

    if (file_exists(program) && !is_directory(program)) {
        struct hook_entry *entry = add_entry(dir, base, event);
        judge_file(entry, true);
        entry->leave = file_exists(leave);
        entry->term_ms = read_deadline(base);
    }
    return read_one(HOOK_RULES_POD, many, dir, err);
}

static int read_rules(enum hook_rules rules, const char *base, const char *event,
                      struct hook_dir *dir, struct err *err)
{
    CLEANUP(mem_freep) char *path = NULL;

    switch (rules) {
    case HOOK_RULES_GANETI:
        path = str_printf("%s/%s.d", base, event);
        return read_one(rules, path, dir, err);
    case HOOK_RULES_P2:
        return read_p2(base, event, dir, err);
    case HOOK_RULES_POD:
        return read_pod(base, event, dir, err);
    }
    return err_set(err, ERR_INTERNAL, "unknown hook rules %d", (int)rules);
}

int dir_read(enum hook_rules rules, const char *base, const char *event, struct hook_dir *ret_dir,
             struct err *err)
{
    struct hook_dir dir = { 0 };

    /* An event comes from a request in some callers: it must stay one path component. */
    if (event[0] == '\0' || event[0] == '.' || strchr(event, '/') != NULL) {
        return err_set(err, ERR_INVALID, "bad hook event '%s'", event);
    }
    if (read_rules(rules, base, event, &dir, err) < 0) {
        dir_fini(&dir);
        return err_code(err);
    }
    *ret_dir = dir;
    return 0;
}

void dir_fini(struct hook_dir *dir)
{
    while (dir->n > 0) {
        drop_last(dir);
    }
    free(dir->entries);
    *dir = (struct hook_dir){ 0 };
}
