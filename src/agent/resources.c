/* SPDX-License-Identifier: Apache-2.0 */
/* resources: how many processors, how much memory and disk this node has.
 *
 * Read once at the start; the master counts what is in use.  Whatever cannot be
 * read is left at what the rest says, as a guess is better than no node.
 */
#include "agent/resources.h"

#include "base/buf.h"
#include "base/file.h"
#include "base/str.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

enum { PORT_FIRST = 31000, PORT_LAST = 32000 };

/* A small file of /sys/fs/cgroup; 0 when absent or not two words. */
static int cgroup_numbers(const char *path, int64_t *ret_first, int64_t *ret_second)
{
    CLEANUP_BUF text = { 0 };
    struct err ignored = { 0 };
    char *end = NULL;

    if (file_read(path, 4096, &text, &ignored) < 0 || text.len == 0) {
        return 0;
    }
    *ret_first = strtoll(text.data, &end, 10); /* "max" is no number */
    if (end == text.data) {
        return 0;
    }
    *ret_second = strtoll(end, NULL, 10);
    return 1;
}

static double count_cpus(void)
{
    cpu_set_t set;
    double cpus = 1;
    int64_t quota_us = 0;
    int64_t period_us = 0;

    if (sched_getaffinity(0, sizeof(set), &set) == 0) {
        cpus = CPU_COUNT(&set);
    }
    if (cgroup_numbers("/sys/fs/cgroup/cpu.max", &quota_us, &period_us) && period_us > 0 &&
        (double)quota_us / (double)period_us < cpus) {
        cpus = (double)quota_us / (double)period_us;
    }
    return cpus;
}

static int64_t count_ram(void)
{
    int64_t bytes = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
    int64_t limit = 0;
    int64_t ignored = 0;

    if (cgroup_numbers("/sys/fs/cgroup/memory.max", &limit, &ignored) && limit < bytes) {
        bytes = limit;
    }
    return bytes;
}

void resources_detect(const char *path, struct resources *ret_resources)
{
    struct statvfs fs;

    *ret_resources = (struct resources){
        .cpus = count_cpus(),
        .ram_bytes = count_ram(),
        .port_first = PORT_FIRST,
        .port_last = PORT_LAST,
    };
    if (statvfs(path, &fs) == 0) {
        ret_resources->disk_bytes = (int64_t)(fs.f_bavail * fs.f_frsize);
    }
}

int resources_parse_ports(const char *text, struct resources *resources, struct err *err)
{
    CLEANUP(strv_freep) char **parts = str_split(text, "-");
    int64_t first = 0;
    int64_t last = 0;

    if (strv_len(parts) != 2) {
        return err_set(err, ERR_USAGE, "--ports wants A-B, as 31000-32000");
    }
    if (str_to_int(parts[0], 1, 65535, "--ports", &first, err) < 0 ||
        str_to_int(parts[1], first, 65535, "--ports", &last, err) < 0) {
        return err_code(err);
    }
    resources->port_first = (int)first;
    resources->port_last = (int)last;
    return 0;
}
