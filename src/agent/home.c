/* SPDX-License-Identifier: Apache-2.0 */
/* home: the directory of one pod, in p2's layout with davit-pod's files beside.
 *
 *   HOME/current_manifest.yaml
 *   HOME/config/<id>_<digest>.yaml  env/<VARIABLE>   only where there are hooks to read them
 *   HOME/task.json pod.log sandbox/       for davit-pod (pod/proto.h)
 *   HOME/agent.json                       the agent's own mark (struct home_mark)
 *
 * The fewer files the better: on a busy ext4 making one can cost more than all the rest of
 * a launch.
 *
 * Nothing is synced to disk: after a power cut the machine has no pods left, and
 * a home without its mark is simply installed again.
 *
 * Invariants: the mark stands before davit-pod is started, and each file is
 * replaced as a whole, so that an agent killed at any moment finds a home that
 * says truly how far it had come.
 */
#include "agent/home.h"

#include "base/fault.h"
#include "base/file.h"
#include "base/json.h"
#include "base/str.h"
#include "model/yaml.h"
#include "pod/proto.h"

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>

enum { MARK_MAX_BYTES = 64 * 1024 };

void home_mark_fini(struct home_mark *mark)
{
    free(mark->job);
    free(mark->op_id);
    *mark = (struct home_mark){ 0 };
}

int home_write_mark(const char *home, const struct home_mark *mark, struct err *err)
{
    CLEANUP(json_freep) json_t *doc = json_object();
    CLEANUP(mem_freep) char *path = file_join(home, HOME_MARK_FILE);
    CLEANUP(mem_freep) char *text = NULL;

    json_put_int(doc, "v", 1);
    json_put_bool(doc, "up", mark->up);
    json_put_bool(doc, "leaving", mark->leaving);
    json_put_str(doc, "digest", mark->digest);
    json_put_int(doc, "instance", mark->instance);
    json_put_int(doc, "launched_ms", (int64_t)mark->launched_ms);
    json_put_str(doc, "job", mark->job);
    json_put_str(doc, "op_id", mark->op_id);
    text = json_text(doc);
    return file_write(path, text, strlen(text), 0644, false, err);
}

int home_read_mark(const char *home, struct home_mark *ret_mark, struct err *err)
{
    CLEANUP(mem_freep) char *path = file_join(home, HOME_MARK_FILE);
    CLEANUP(json_freep) json_t *doc = NULL;
    CLEANUP_BUF text = { 0 };
    struct home_mark mark = { 0 };

    if (file_read(path, MARK_MAX_BYTES, &text, err) < 0 ||
        json_parse(buf_text(&text), text.len, MARK_MAX_BYTES, &doc, err) < 0) {
        return err_wrap(err, "read %s", path);
    }
    mark.up = json_bool_or(doc, "up", false);
    mark.leaving = json_bool_or(doc, "leaving", false);
    snprintf(mark.digest, sizeof(mark.digest), "%s", json_str_or(doc, "digest", ""));
    mark.instance = (int)json_int_or(doc, "instance", 0);
    mark.launched_ms = (uint64_t)json_int_or(doc, "launched_ms", 0);
    mark.job = mem_strdup_opt(json_str_or(doc, "job", NULL));
    mark.op_id = mem_strdup_opt(json_str_or(doc, "op_id", NULL));
    *ret_mark = mark;
    return 0;
}

int home_find_user(const char *name, struct home_user *ret_user, struct err *err)
{
    struct home_user user = { .change = true, .n_groups = 64 };
    struct passwd entry;
    struct passwd *found = NULL;
    char text[4096];

    if (geteuid() != 0) {
        *ret_user = (struct home_user){ 0 };
        return 0;
    }
    if (getpwnam_r(name, &entry, text, sizeof(text), &found) != 0 || !found) {
        return err_set(err, ERR_NOTFOUND, "there is no user '%.100s' on this node", name);
    }
    user.uid = found->pw_uid;
    user.gid = found->pw_gid;
    if (getgrouplist(name, found->pw_gid, user.groups, &user.n_groups) < 0) {
        return err_set(err, ERR_TOOBIG, "user '%.100s' is in more than 64 groups", name);
    }
    *ret_user = user;
    return 0;
}

char *home_config_path(const char *home, const char *pod, const char *digest)
{
    return str_printf("%s/config/%s_%s.yaml", home, pod, digest);
}

/* A file that nobody reads while it is written. */
static int write_plain(const char *path, const char *text, size_t len, struct err *err)
{
    CLEANUP(fd_closep)
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);

    if (fd < 0 || write(fd, text, len) != (ssize_t)len) {
        return err_set(err, ERR_IO, "write %s: %s", path, strerror(errno));
    }
    return 0;
}

static int make_dir(const char *path, mode_t mode, struct err *err)
{
    if (mkdir(path, mode) < 0 && errno != EEXIST) {
        return err_set(err, ERR_IO, "mkdir %s: %s", path, strerror(errno));
    }
    return 0;
}

static int write_env(const char *home, const struct intent *intent, const char *config,
                     struct err *err)
{
    const struct {
        const char *name;
        const char *value;
    } vars[] = {
        { "CONFIG_PATH", config },
        { "POD_HOME", home },
        { "POD_ID", intent->pod },
        { "POD_UNIQUE_KEY", "" },
    };

    for (size_t i = 0; i < sizeof(vars) / sizeof(vars[0]); i++) {
        CLEANUP(mem_freep) char *path = str_printf("%s/env/%s", home, vars[i].name);

        if (write_plain(path, vars[i].value, strlen(vars[i].value), err) < 0) {
            return err_code(err);
        }
    }
    return 0;
}

static void copy_member(json_t *to, const json_t *from, const char *key)
{
    json_t *value = json_object_get(from, key);

    if (value && !json_is_null(value)) {
        json_object_set(to, key, value);
    }
}

/* The format is pod/proto.h's. */
static json_t *task_doc(const struct intent *intent, const struct home_spec *spec)
{
    const struct home_user *user = spec->user;
    json_t *doc = json_object();

    json_put_int(doc, "v", PROTO_VERSION);
    json_put_str(doc, "id", intent->pod);
    json_put_str(doc, "digest", intent->digest);
    json_put_str(doc, "job", intent->job);
    json_put_int(doc, "instance", intent->instance);
    json_put_str(doc, "op_id", intent->op_id);
    json_put_str(doc, "node", spec->node);
    json_put_str(doc, "user", intent->run_as);
    json_put_str(doc, "token", spec->token);
    json_put_str(doc, "cgroup", spec->cgroup);
    copy_member(doc, intent->davit, "hostname");
    copy_member(doc, intent->davit, "ports");
    copy_member(doc, intent->davit, "resources");
    copy_member(doc, intent->davit, "hooks");
    copy_member(doc, intent->davit, "env");
    copy_member(doc, intent->davit, "health");
    copy_member(doc, intent->davit, "lifecycle");
    copy_member(doc, intent->davit, "task");
    if (user->change) {
        json_t *run_as = json_object();
        json_t *groups = json_array();

        for (int i = 0; i < user->n_groups; i++) {
            json_array_append_new(groups, json_integer(user->groups[i]));
        }
        json_put_int(run_as, "uid", user->uid);
        json_put_int(run_as, "gid", user->gid);
        json_put_take(run_as, "groups", groups);
        json_put_take(doc, "run_as", run_as);
    }
    return doc;
}

static int write_task(const char *home, const struct intent *intent, const struct home_spec *spec,
                      struct err *err)
{
    CLEANUP(mem_freep) char *path = file_join(home, PROTO_TASK_FILE);
    CLEANUP(mem_freep) char *text = NULL;
    CLEANUP(json_freep) json_t *doc = NULL;

    if (!intent->davit) {
        return err_set(err, ERR_UNSUPPORTED, "only davit/task launchables can be run");
    }
    doc = task_doc(intent, spec);
    text = json_text(doc);
    /* It holds the token by which processes are recognised, and perhaps a user's secrets. */
    return file_write(path, text, strlen(text), 0600, false, err);
}

static int make_sandbox(const char *home, const struct home_user *user, struct err *err)
{
    CLEANUP(mem_freep) char *path = file_join(home, PROTO_SANDBOX);

    if (make_dir(path, 0700, err) < 0) {
        return err_code(err);
    }
    if (user->change && lchown(path, user->uid, user->gid) < 0) {
        return err_set(err, ERR_IO, "chown %s: %s", path, strerror(errno));
    }
    return 0;
}

/* What an attempt that failed may have left must not look like this one's. */
static void drop_stale(const char *home)
{
    static const char *const names[] = { HOME_MARK_FILE, PROTO_STATE_FILE, PROTO_SOCK_FILE,
                                         PROTO_HOOKS_FILE };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        CLEANUP(mem_freep) char *path = file_join(home, names[i]);

        (void)unlink(path);
    }
}

int home_install(const char *home, const struct intent *intent, const struct home_spec *spec,
                 struct err *err)
{
    if (!intent->is_task) {
        return err_set(err, ERR_UNSUPPORTED, "only davit/task launchables can be installed");
    }
    if (mkdir(home, 0755) < 0) {
        if (errno == EEXIST) {
            drop_stale(home);
        } else if (file_mkdirs(home, 0755, err) < 0) {
            return err_code(err); /* The pod root was missing, and cannot be made. */
        }
    }
    CRASH_POINT("agent.home");
    if (make_sandbox(home, spec->user, err) < 0) {
        return err_code(err);
    }
    CRASH_POINT("agent.sandbox");
    return write_task(home, intent, spec, err);
}

int home_write_config(const char *home, const struct intent *intent, struct err *err)
{
    CLEANUP(mem_freep) char *config = home_config_path(home, intent->pod, intent->digest);
    CLEANUP(mem_freep) char *config_dir = file_join(home, "config");
    CLEANUP(mem_freep) char *env_dir = file_join(home, "env");
    CLEANUP(mem_freep) char *text = NULL;

    if (file_exists(config)) {
        return 0;
    }
    if (make_dir(config_dir, 0755, err) < 0 || make_dir(env_dir, 0755, err) < 0 ||
        write_env(home, intent, config, err) < 0) {
        return err_code(err);
    }
    text = yaml_text(intent->config);
    return write_plain(config, text, strlen(text), err);
}

int home_write_manifest(const char *home, const struct intent *intent, struct err *err)
{
    CLEANUP(mem_freep) char *path = file_join(home, HOME_MANIFEST);

    return file_write(path, intent->text, intent->len, 0644, false, err);
}

char *home_token(const char *home)
{
    CLEANUP(mem_freep) char *path = file_join(home, PROTO_TASK_FILE);
    CLEANUP(json_freep) json_t *doc = NULL;
    CLEANUP_BUF text = { 0 };
    struct err ignored = { 0 };

    if (file_read(path, PROTO_TASK_MAX, &text, &ignored) < 0 ||
        json_parse(buf_text(&text), text.len, PROTO_TASK_MAX, &doc, &ignored) < 0) {
        return mem_strdup("");
    }
    return mem_strdup(json_str_or(doc, "token", ""));
}

int home_list(const char *root, char ***ret_names, struct err *err)
{
    CLEANUP(strv_freep) char **names = NULL;
    DIR *dir = opendir(root);
    struct dirent *entry = NULL;

    if (!dir) {
        return err_set(err, errno == ENOENT ? ERR_NOTFOUND : ERR_IO, "open %s: %s", root,
                       strerror(errno));
    }
    while ((entry = readdir(dir))) {
        if (intent_name_ok(entry->d_name) &&
            (entry->d_type == DT_DIR || entry->d_type == DT_UNKNOWN)) {
            strv_add(&names, entry->d_name);
        }
    }
    (void)closedir(dir);
    *ret_names = TAKE(names);
    return 0;
}
