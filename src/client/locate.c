/* SPDX-License-Identifier: Apache-2.0 */

/* locate: the leading master of a cluster, asked of its ZooKeeper.
 *
 *   LOOKING --a leader's node was read, deadline, bad entry--> closing --timer closed-->
 *   the callback; the session ends by itself on the loop
 *
 * The first candidate under scheduler_zk_path leads: davit's masters and Aurora's schedulers
 * stand there alike.  A master's node says {"address": "host:port"}, a scheduler's is a ServerSet
 * member, {"serviceEndpoint": {"host", "port"}}.
 * Failures: a ZooKeeper that does not answer, refuses us or has no candidate looks the same and
 * ends with the deadline, which says where we looked.
 */

#include "client/locate.h"

#include "base/json.h"
#include "base/str.h"
#include "coord/election.h"
#include "coord/zk.h"

#include <string.h>

enum { TIMEOUT_MS = 10000, NODE_CAP = 64 * 1024, SESSION_MS = 10000 };

static void on_timer_closed(uv_handle_t *handle)
{
    struct locate *locate = handle->data;

    locate->cb(locate); /* Last: the callback may free it. */
}

static void finish(struct locate *locate)
{
    if (locate->over) {
        return;
    }
    locate->over = true;
    election_observer_free(TAKE(locate->observer));
    if (locate->zk != NULL) {
        zk_close(TAKE(locate->zk), NULL); /* Its end needs nothing of ours. */
    }
    uv_close((uv_handle_t *)&locate->timer, on_timer_closed);
}

static void on_deadline(uv_timer_t *timer)
{
    struct locate *locate = timer->data;

    if (locate->err.code == 0 && locate->address == NULL) {
        (void)err_set(&locate->err, ERR_TIMEOUT,
                      "cluster %s: no leading scheduler was found under %s of ZooKeeper at %s",
                      locate->cluster->name, locate->cluster->zk_path, locate->cluster->zk);
    }
    finish(locate);
}

/* The address a candidate's node holds, or NULL. */
static char *address_in(const json_t *node)
{
    const char *address = json_str_or(node, "address", NULL);
    const json_t *endpoint = json_object_get(node, "serviceEndpoint");
    const char *host = json_str_or(endpoint, "host", NULL);
    int64_t port = json_int_or(endpoint, "port", 0);

    if (address != NULL) {
        return mem_strdup(address);
    }
    return host != NULL && port > 0 ? str_printf("%s:%lld", host, (long long)port) : NULL;
}

static void on_leader(const char *bytes, size_t len, void *data)
{
    struct locate *locate = data;
    CLEANUP(json_freep) json_t *node = NULL;
    struct err err = { 0 };

    if (len == 0 || locate->address != NULL || json_parse(bytes, len, NODE_CAP, &node, &err) < 0) {
        return; /* Somebody may stand soon, or know better what to say. */
    }
    locate->address = address_in(node);
    if (locate->address != NULL) {
        /* Not from here: the observer that calls us is not to be freed by us. */
        uv_timer_start(&locate->timer, on_deadline, 0, 0);
    }
}

void locate_start(struct locate *locate, uv_loop_t *loop, const struct cluster *cluster,
                  locate_cb cb)
{
    CLEANUP(mem_freep) char *auth = NULL;
    uint64_t timeout_ms = locate->timeout_ms > 0 ? locate->timeout_ms : TIMEOUT_MS;

    locate->err = (struct err){ 0 };
    locate->address = NULL;
    locate->cluster = cluster;
    locate->cb = cb;
    locate->over = false;
    locate->timer.data = locate;
    (void)uv_timer_init(loop, &locate->timer);
    if ((cluster->zk_auth_file == NULL ||
         zk_load_auth(cluster->zk_auth_file, &auth, &locate->err) == 0) &&
        zk_open(&(struct zk_options){ .loop = loop,
                                      .servers = cluster->zk,
                                      .auth = auth,
                                      .session_timeout_ms = SESSION_MS },
                &locate->zk, &locate->err) == 0) {
        election_observe(locate->zk, cluster->zk_path, on_leader, locate, &locate->observer);
        uv_timer_start(&locate->timer, on_deadline, timeout_ms, 0);
    } else {
        uv_timer_start(&locate->timer, on_deadline, 0, 0);
    }
}
