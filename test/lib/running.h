/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Is anything of ours still running?  Tests start `sleep 98<n>` and ask afterwards. */
#include "base/buf.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* text with each "sleep 98" made this process's own, so that test programs that run beside
 * each other do not count each other's.  The caller's. */
static inline char *running_mark(const char *text)
{
    static const char word[] = "sleep 98";
    struct buf marked = { 0 };

    for (const char *at; (at = strstr(text, word)) != NULL; text = at + sizeof word - 1) {
        buf_add(&marked, text, (size_t)(at - text));
        buf_addf(&marked, "%s%d", word, (int)getpid());
    }
    buf_add_text(&marked, text);
    return buf_take(&marked);
}

/* Processes on this machine that were started as this command. */
static inline int running_count(const char *command)
{
    CLEANUP(mem_freep) char *marked = running_mark(command);
    char path[300];
    int found = 0;
    DIR *dir = opendir("/proc");

    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        char line[512] = "";
        (void)snprintf(path, sizeof path, "/proc/%s/cmdline", entry->d_name);
        FILE *file = fopen(path, "re");
        size_t n = file != NULL ? fread(line, 1, sizeof line - 1, file) : 0;
        for (size_t i = 0; i + 1 < n; i++) {
            line[i] = (char)(line[i] == '\0' ? ' ' : line[i]);
        }
        found += strcmp(line, marked) == 0;
        if (file != NULL) {
            (void)fclose(file);
        }
    }
    closedir(dir);
    return found;
}
