/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox: an instance's sandbox, as the API tells it, and the words that reach it.
 *
 * Not the running of anything (verbs/task_*.c), and no guess at directories: the agent
 * publishes where its pods live.
 * A node is this machine when its boot id is ours and the pod's directory is there: names and
 * addresses may lie, and containers share a boot id.
 */
#include "cli/sandbox.h"

#include "base/buf.h"
#include "base/file.h"
#include "base/json.h"
#include "base/str.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BOOT_ID_MAX = 64 };

static bool is_this_machine(const char *boot_id)
{
    CLEANUP_BUF ours = { 0 };
    struct err ignored = { 0 };

    return boot_id != NULL && boot_id[0] != '\0' &&
           file_read("/proc/sys/kernel/random/boot_id", BOOT_ID_MAX, &ours, &ignored) == 0 &&
           ours.len > strlen(boot_id) && strncmp(ours.data, boot_id, strlen(boot_id)) == 0;
}

static bool is_wanted(const json_t *task, const json_t *instances)
{
    json_t *item;
    size_t i;

    if (json_str_or(task, "home", NULL) == NULL) {
        return false; /* Nowhere yet, or over. */
    }
    if (instances == NULL) {
        return true;
    }
    json_array_foreach(instances, i, item)
    {
        if (json_integer_value(item) == json_int_or(task, "instance", -1)) {
            return true;
        }
    }
    return false;
}

static int compare(const void *a, const void *b)
{
    return ((const struct sandbox *)a)->instance - ((const struct sandbox *)b)->instance;
}

int sandbox_find(struct cli *cli, const struct cli_key *key, const json_t *instances,
                 struct sandbox **ret_all, size_t *ret_n, struct err *err)
{
    CLEANUP(mem_freep) char *text = cli_key_text(key);
    CLEANUP(json_freep) json_t *tasks = NULL;
    CLEANUP_BUF path = { 0 };
    struct client *client = NULL;
    struct sandbox *all;
    size_t n = 0;
    size_t i;
    json_t *task;

    buf_add_text(&path, "/v1/tasks");
    client_query(&path, "job", text);
    client_query(&path, "active", "true");
    if (cli_client(cli, key->cluster, &client, err) < 0 ||
        cli_request_list(cli, client, buf_text(&path), &tasks, err) < 0) {
        return err_code(err);
    }
    all = mem_alloc((json_array_size(tasks) + 1) * sizeof(*all));
    json_array_foreach(tasks, i, task)
    {
        if (is_wanted(task, instances)) {
            all[n++] = (struct sandbox){
                .task = mem_strdup(json_str_or(task, "id", "")),
                .instance = (int)json_int_or(task, "instance", 0),
                .host = mem_strdup(json_str_or(task, "host", "")),
                .home = mem_strdup(json_str_or(task, "home", "")),
                .role = mem_strdup(key->role),
                .here = is_this_machine(json_str_or(task, "boot_id", NULL)) &&
                        access(json_str_or(task, "home", ""), F_OK) == 0,
                .ports = json_incref(json_object_get(task, "ports")),
            };
        }
    }
    if (n == 0) {
        free(all);
        return json_array_size(tasks) > 0
                   ? err_set(err, ERR_INVALID, "Job %s has no live instance of that number", text)
                   : err_set(err, ERR_INVALID, "Job %s not found", text);
    }
    qsort(all, n, sizeof(*all), compare);
    *ret_all = all;
    *ret_n = n;
    return 0;
}

void sandbox_free_all(struct sandbox *all, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(all[i].task);
        free(all[i].host);
        free(all[i].home);
        free(all[i].role);
        json_decref(all[i].ports);
    }
    free(all);
}

int sandbox_port(const struct sandbox *sandbox, const char *name)
{
    return (int)json_int_or(sandbox->ports, name, -1);
}

char *sandbox_dir(const struct sandbox *sandbox, bool executor)
{
    return executor ? mem_strdup(sandbox->home) : str_printf("%s/sandbox", sandbox->home);
}

/* The value of the reference in text[0..len), or false when it is none of ours. */
static bool add_value(const struct sandbox *sandbox, const char *text, size_t len, struct buf *out)
{
    static const char ports[] = "thermos.ports[";
    CLEANUP(mem_freep) char *name = mem_strndup(text, len);

    if (strcmp(name, "mesos.instance") == 0) {
        buf_addf(out, "%d", sandbox->instance);
        return true;
    }
    if (strcmp(name, "thermos.task_id") == 0) {
        buf_add_text(out, sandbox->task);
        return true;
    }
    if (strncmp(name, ports, sizeof(ports) - 1) == 0 && name[len - 1] == ']') {
        name[len - 1] = '\0';
        if (sandbox_port(sandbox, name + sizeof(ports) - 1) > 0) {
            buf_addf(out, "%d", sandbox_port(sandbox, name + sizeof(ports) - 1));
            return true;
        }
    }
    return false;
}

char *sandbox_command(const struct sandbox *sandbox, bool executor, const char *command)
{
    CLEANUP(mem_freep) char *dir = sandbox_dir(sandbox, executor);
    CLEANUP_BUF out = { 0 };
    const char *end;

    buf_addf(&out, "cd %s;", dir);
    while (*command != '\0') {
        if (strncmp(command, "{{", 2) == 0 && (end = strstr(command, "}}")) != NULL &&
            end > command + 2 &&
            add_value(sandbox, command + 2, (size_t)(end - command - 2), &out)) {
            command = end + 2;
        } else {
            buf_add(&out, command, 1);
            command++;
        }
    }
    return mem_strdup(buf_text(&out));
}

char *sandbox_address(const struct sandbox *sandbox, const char *user)
{
    return str_printf("%s@%s", user != NULL ? user : sandbox->role, sandbox->host);
}

void sandbox_add_words(char ***argv, const char *text)
{
    while (text != NULL && *text != '\0') {
        size_t blanks = strspn(text, " \t");
        size_t len = strcspn(text + blanks, " \t");

        if (len > 0) {
            CLEANUP(mem_freep) char *word = mem_strndup(text + blanks, len);

            strv_add(argv, word);
        }
        text += blanks + len;
    }
}

static void set_groups(struct sandbox_user *user, const char *name)
{
    int n = (int)(sizeof(user->groups) / sizeof(user->groups[0]));

    if (name == NULL || getgrouplist(name, user->gid, user->groups, &n) < 0) {
        user->groups[0] = user->gid;
        n = 1;
    }
    user->n_groups = (size_t)n;
}

int sandbox_find_user(const struct sandbox *sandbox, const char *name, struct sandbox_user *ret,
                      struct err *err)
{
    CLEANUP(mem_freep) char *dir = sandbox_dir(sandbox, false);
    struct sandbox_user user = { 0 };
    const struct passwd *entry;
    struct stat st;

    if (name == NULL && stat(dir, &st) < 0) {
        return err_set(err, ERR_NOTFOUND, "the sandbox %s: %s", dir, strerror(errno));
    }
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): one thread. */
    entry = name != NULL ? getpwnam(name) : getpwuid(st.st_uid);
    if (name != NULL && entry == NULL) {
        return err_set(err, ERR_NOTFOUND, "there is no user %s on this machine", name);
    }
    user.uid = entry != NULL ? entry->pw_uid : st.st_uid;
    user.gid = entry != NULL ? entry->pw_gid : st.st_gid;
    user.change = geteuid() == 0 && user.uid != 0;
    set_groups(&user, entry != NULL ? entry->pw_name : NULL);
    *ret = user;
    return 0;
}

int sandbox_become(const struct sandbox_user *user, struct err *err)
{
    if (user->change && (setgroups(user->n_groups, user->groups) < 0 || setgid(user->gid) < 0 ||
                         setuid(user->uid) < 0)) {
        return err_set(err, ERR_DENIED, "cannot become user %u: %s", (unsigned)user->uid,
                       strerror(errno));
    }
    return 0;
}
