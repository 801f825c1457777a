/* SPDX-License-Identifier: Apache-2.0 */
/* predecessor: a master that was killed and started again need not wait for itself.
 *
 *   list candidates --> read each --> delete those that are ours --> done
 *
 * One node after the other: there are few.  Failures: any error ends the matter; the
 * session timeout then does what we could not.
 */
#include "master/predecessor.h"

#include "base/json.h"
#include "base/log.h"
#include "base/str.h"

enum { CONTACT_CAP = 4096 };

struct predecessor {
    struct zk *zk;
    struct zk_req req;
    char *path;
    const json_t *contact;
    char **nodes;
    size_t next;
    predecessor_cb cb;
    void *data;
};

static void read_next(struct predecessor *predecessor);

void predecessor_cancel(struct predecessor *predecessor)
{
    if (predecessor == NULL) {
        return;
    }
    zk_forget(&predecessor->req);
    strv_free(predecessor->nodes);
    free(predecessor->path);
    free(predecessor);
}

static void finish(struct predecessor *predecessor)
{
    predecessor_cb cb = predecessor->cb;
    void *data = predecessor->data;

    predecessor_cancel(predecessor);
    cb(data);
}

static bool same(const json_t *a, const json_t *b, const char *member)
{
    return str_eq(json_str_or(a, member, NULL), json_str_or(b, member, ""));
}

static bool is_ours(const struct predecessor *predecessor)
{
    CLEANUP(json_freep) json_t *theirs = NULL;
    const json_t *ours = predecessor->contact;
    struct err err;

    return json_parse(predecessor->req.bytes, predecessor->req.len, CONTACT_CAP, &theirs, &err) ==
               0 &&
           same(ours, theirs, "socket") && same(ours, theirs, "host") &&
           json_int_or(ours, "pid", 0) != json_int_or(theirs, "pid", 0);
}

static void on_deleted(struct zk_req *req)
{
    read_next(req->data);
}

static void on_read(struct zk_req *req)
{
    struct predecessor *predecessor = req->data;
    const char *node = predecessor->nodes[predecessor->next - 1];

    if (req->err.code == 0 && is_ours(predecessor)) {
        log_info("removing the candidacy of this master's earlier process node=%s", node);
        zk_delete(predecessor->zk, req, node, ZK_ANY_VERSION, on_deleted);
    } else {
        read_next(predecessor);
    }
}

static void read_next(struct predecessor *predecessor)
{
    const char *node = predecessor->nodes != NULL ? predecessor->nodes[predecessor->next] : NULL;

    if (node == NULL) {
        finish(predecessor);
        return;
    }
    predecessor->next++;
    zk_get(predecessor->zk, &predecessor->req, node, on_read);
}

static void on_listed(struct zk_req *req)
{
    struct predecessor *predecessor = req->data;

    for (size_t i = 0; req->err.code == 0 && i < req->n_children; i++) {
        strv_addf(&predecessor->nodes, "%s/%s", predecessor->path, req->children[i]);
    }
    read_next(predecessor);
}

struct predecessor *predecessor_remove(struct zk *zk, const char *path, const json_t *contact,
                                       predecessor_cb cb, void *data)
{
    struct predecessor *predecessor = mem_alloc(sizeof(*predecessor));

    predecessor->zk = zk;
    predecessor->path = mem_strdup(path);
    predecessor->contact = contact;
    predecessor->cb = cb;
    predecessor->data = data;
    predecessor->req.data = predecessor;
    zk_children(zk, &predecessor->req, path, on_listed);
    return predecessor;
}
