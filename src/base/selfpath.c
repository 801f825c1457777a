/* SPDX-License-Identifier: Apache-2.0 */

/* selfpath: finds davit's sibling programs and its Python, installed or not. */

#include "base/selfpath.h"

#include "base/file.h"
#include "base/str.h"

#include <limits.h>
#include <string.h>

static char *own_dir(void)
{
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);

    if (n <= 0) {
        return mem_strdup(".");
    }
    path[n] = 0;
    *strrchr(path, '/') = 0;
    return mem_strdup(path);
}

char *selfpath_program(const char *name)
{
    const char *bindir = getenv("DAVIT_BINDIR");
    CLEANUP(mem_freep) char *dir = own_dir();
    char *path = str_printf("%s/davit-%s", bindir != NULL ? bindir : dir, name);

    if (bindir == NULL && !file_exists(path)) {
        CLEANUP(mem_freep) char *room = str_printf("%s/../%s/davit-%s", dir, name, name);

        if (file_exists(room)) {
            free(path);
            path = TAKE(room);
        }
    }
    return path;
}

char *selfpath_python(void)
{
    const char *set = getenv("DAVIT_PYTHONPATH");
    CLEANUP(mem_freep) char *dir = own_dir();
    char *path = NULL;

    if (set != NULL) {
        return mem_strdup(set);
    }
    path = str_printf("%s/../share/davit/python", dir);
    if (!file_exists(path)) {
        free(path);
        path = str_printf("%s/../../../python", dir); /* <tree>/build/src/<room> */
    }
    return path;
}

const char *selfpath_interpreter(void)
{
    const char *set = getenv("DAVIT_PYTHON");

    return set != NULL ? set : "/usr/bin/python3";
}
