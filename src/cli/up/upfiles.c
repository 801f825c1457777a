/* SPDX-License-Identifier: Apache-2.0 */
/* upfiles: secrets, clusters.json and up.json below the directory of a `davit up`. */
#include "cli/up/upfiles.h"

#include "base/buf.h"
#include "base/file.h"
#include "base/id.h"
#include "base/json.h"
#include "base/str.h"

#include <string.h>
#include <unistd.h>

enum { DOC_CAP = 1 << 20 };

int upfiles_need_secret(const char *dir, const char *name, const char *prefix, struct err *err)
{
    CLEANUP(mem_freep) char *path = file_join(dir, name);
    char token[ID_TOKEN_SIZE];

    if (file_exists(path)) {
        return 0;
    }
    id_token(token);
    CLEANUP(mem_freep) char *text = str_printf("%s%s\n", prefix, token);

    return file_write(path, text, strlen(text), 0600, true, err);
}

json_t *upfiles_ports(const char *dir)
{
    CLEANUP(mem_freep) char *path = file_join(dir, "up.json");
    CLEANUP(json_freep) json_t *doc = NULL;
    CLEANUP_BUF text = { 0 };
    struct err ignored = { 0 };

    if (file_read(path, DOC_CAP, &text, &ignored) < 0 ||
        json_parse(buf_text(&text), text.len, DOC_CAP, &doc, &ignored) < 0) {
        return NULL;
    }
    return json_incref(json_object_get(doc, "ports"));
}

static int write_doc(const char *dir, const char *name, const json_t *doc, struct err *err)
{
    CLEANUP(mem_freep) char *path = file_join(dir, name);
    CLEANUP(mem_freep) char *text = json_text(doc);

    return file_write(path, text, strlen(text), 0600, false, err);
}

int upfiles_write(const char *dir, const struct cluster *cluster, json_t *ports, const char *zk,
                  struct err *err)
{
    CLEANUP(json_freep) json_t *clusters = json_array();
    CLEANUP(json_freep) json_t *up = json_object();
    json_t *entry = json_object();

    json_put_str(entry, "name", cluster->name);
    json_put_str(entry, "scheduler_uri", cluster->uri);
    json_put_str(entry, "socket", cluster->socket);
    json_put_str(entry, "token_file", cluster->token_file);
    (void)json_array_append_new(clusters, entry);
    json_put_str(up, "cluster", cluster->name);
    json_put_int(up, "pid", getpid());
    json_put_take(up, "ports", ports);
    json_put_str(up, "zk", zk);
    if (write_doc(dir, "clusters.json", clusters, err) < 0) {
        return err_code(err);
    }
    return write_doc(dir, "up.json", up, err);
}
