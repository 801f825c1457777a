/* SPDX-License-Identifier: Apache-2.0 */

/* clusters: which clusters this user knows, from the Aurora client's
 * clusters.json files and the one `davit up` writes.
 *
 * Reading files only; nothing is contacted.
 */

#include "client/clusters.h"

#include "base/buf.h"
#include "base/file.h"
#include "base/json.h"
#include "base/str.h"

#include <string.h>

enum { FILE_CAP = 4 << 20, ZK_PORT = 2181 };

/* Where davit's masters stand. */
#define ELECTION_PATH "/davit/master"

struct clusters {
    struct cluster *items;
    size_t n;
};

static void cluster_fini(struct cluster *cluster)
{
    free(cluster->name);
    free(cluster->uri);
    free(cluster->socket);
    free(cluster->token_file);
    free(cluster->zk);
    free(cluster->zk_path);
    free(cluster->zk_auth_file);
    free(cluster->web);
}

void clusters_free(struct clusters *clusters)
{
    if (clusters != NULL) {
        for (size_t i = 0; i < clusters->n; i++) {
            cluster_fini(&clusters->items[i]);
        }
        free(clusters->items);
        free(clusters);
    }
}

size_t clusters_count(const struct clusters *clusters)
{
    return clusters->n;
}

const struct cluster *clusters_at(const struct clusters *clusters, size_t index)
{
    return &clusters->items[index];
}

static char *without_slash(const char *uri)
{
    size_t n = uri != NULL ? strlen(uri) : 0;

    while (n > 0 && uri[n - 1] == '/') {
        n--;
    }
    return uri != NULL ? mem_strndup(uri, n) : NULL;
}

/* "a,b:1" and 2181 -> "a:2181,b:1" */
static char *servers_of(const char *hosts, int64_t port)
{
    CLEANUP(strv_freep) char **parts = hosts != NULL ? str_split(hosts, ",") : NULL;
    struct buf buf = { 0 };

    for (char **part = parts; part != NULL && *part != NULL; part++) {
        buf_addf(&buf, "%s%s", buf.len > 0 ? "," : "", *part);
        if (strchr(*part, ':') == NULL) {
            buf_addf(&buf, ":%lld", (long long)port);
        }
    }
    return parts != NULL ? buf_take(&buf) : NULL;
}

static void add(struct clusters *clusters, const json_t *entry)
{
    const char *name = json_str_or(entry, "name", NULL);
    struct cluster *cluster = NULL;

    if (name == NULL) {
        return;
    }
    for (size_t i = 0; i < clusters->n && cluster == NULL; i++) {
        if (strcmp(clusters->items[i].name, name) == 0) {
            cluster = &clusters->items[i];
            cluster_fini(cluster);
        }
    }
    if (cluster == NULL) {
        clusters->items = mem_realloc(clusters->items, (clusters->n + 1) * sizeof *clusters->items);
        cluster = &clusters->items[clusters->n++];
    }
    *cluster = (struct cluster){
        .name = mem_strdup(name),
        .uri = without_slash(json_str_or(entry, "scheduler_uri", NULL)),
        .socket = mem_strdup_opt(json_str_or(entry, "socket", NULL)),
        .token_file = mem_strdup_opt(json_str_or(entry, "token_file", NULL)),
        .zk = servers_of(json_str_or(entry, "zk", NULL), json_int_or(entry, "zk_port", ZK_PORT)),
        .zk_path = without_slash(json_str_or(entry, "scheduler_zk_path", ELECTION_PATH)),
        .zk_auth_file = mem_strdup_opt(json_str_or(entry, "zk_auth_file", NULL)),
        .web = without_slash(
            json_str_or(entry, "proxy_url", json_str_or(entry, "scheduler_uri", NULL))),
    };
}

static int load_file(struct clusters *clusters, const char *path, struct err *err)
{
    CLEANUP_BUF text = { 0 };
    CLEANUP(json_freep) json_t *doc = NULL;
    size_t index;
    const char *key;
    json_t *entry;

    if (file_read(path, FILE_CAP, &text, err) < 0) {
        if (err->code == ERR_NOTFOUND) {
            *err = (struct err){ 0 };
            return 0;
        }
        return err_code(err);
    }
    if (json_parse(buf_text(&text), text.len, FILE_CAP, &doc, err) < 0) {
        err->code = ERR_CONFIG;
        return err_wrap(err, "%s", path);
    }
    if (!json_is_array(doc) && !json_is_object(doc)) {
        return err_set(err, ERR_CONFIG, "%s: neither a list nor an object of clusters", path);
    }
    json_array_foreach(doc, index, entry)
    {
        add(clusters, entry);
    }
    json_object_foreach(doc, key, entry)
    {
        add(clusters, entry);
    }
    return 0;
}

/* $VARIABLE/rest, or $HOME/fallback/rest, or NULL when neither is set. */
static char *xdg_path(const char *variable, const char *fallback, const char *rest)
{
    const char *base = getenv(variable);
    const char *home = getenv("HOME");

    if (base != NULL && base[0] != 0) {
        return file_join(base, rest);
    }
    return home != NULL ? str_printf("%s/%s/%s", home, fallback, rest) : NULL;
}

int clusters_load(struct clusters **ret_clusters, struct err *err)
{
    CLEANUP(clusters_freep) struct clusters *clusters = mem_alloc(sizeof *clusters);
    const char *root = getenv("AURORA_CONFIG_ROOT");
    const char *home = getenv("HOME");
    char *paths[] = {
        xdg_path("XDG_STATE_HOME", ".local/state", "davit/clusters.json"),
        file_join(root != NULL && root[0] != 0 ? root : "/etc/aurora", "clusters.json"),
        home != NULL ? file_join(home, ".aurora/clusters.json") : NULL,
        xdg_path("XDG_CONFIG_HOME", ".config", "davit/clusters.json"),
    };
    int rv = 0;

    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        if (rv == 0 && paths[i] != NULL) {
            rv = load_file(clusters, paths[i], err);
        }
        free(paths[i]);
    }
    if (rv < 0) {
        return rv;
    }
    *ret_clusters = TAKE(clusters);
    return 0;
}

void clusters_set_address(struct clusters *clusters, const char *name, const char *address)
{
    for (size_t i = 0; i < clusters->n; i++) {
        struct cluster *cluster = &clusters->items[i];

        if (strcmp(cluster->name, name) == 0) {
            free(cluster->uri);
            cluster->uri = str_printf("http://%s", address);
            if (cluster->web == NULL) {
                cluster->web = mem_strdup(cluster->uri);
            }
        }
    }
}

int clusters_find(const struct clusters *clusters, const char *name,
                  const struct cluster **ret_cluster, struct err *err)
{
    for (size_t i = 0; i < clusters->n; i++) {
        const struct cluster *cluster = &clusters->items[i];

        if (strcmp(cluster->name, name) != 0) {
            continue;
        }
        if (cluster->uri == NULL && cluster->socket == NULL && cluster->zk == NULL) {
            return err_set(err, ERR_CONFIG, "\"%s\" does not specify zk or scheduler_uri", name);
        }
        *ret_cluster = cluster;
        return 0;
    }
    return err_set(err, ERR_CONFIG, "Unknown cluster: %s", name);
}
