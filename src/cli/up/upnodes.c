/* SPDX-License-Identifier: Apache-2.0 */
/* upnodes: does the master of `davit up` know all of its nodes yet?
 *
 * Happy path: GET /v1/nodes, a moment later again, until all of them are alive.
 * Failures: none of its own; a master that does not answer is asked again, and the
 * deadline of `davit up` ends it all.
 */
#include "cli/up/upnodes.h"

#include "base/json.h"
#include "base/mem.h"
#include "client/client.h"

#include <stdlib.h>

enum { AGAIN_MS = 5 };

struct upnodes {
    struct client *client;
    struct client_call call;
    uv_timer_t timer;
    int n_nodes;
    upnodes_cb known, closed;
    void *data, *closed_data;
    unsigned open; /* Of client and timer. */
};

static void on_answer(struct client_call *call);

static void on_again(uv_timer_t *timer)
{
    struct upnodes *upnodes = timer->data;

    client_call_start(&upnodes->call, upnodes->client, "GET", "/v1/nodes", NULL, on_answer);
}

static int count_alive(const json_t *answer)
{
    int alive = 0;
    size_t i;
    json_t *node;

    json_array_foreach(json_object_get(answer, "items"), i, node)
    {
        alive += json_bool_or(node, "alive", false);
    }
    return alive;
}

static void on_answer(struct client_call *call)
{
    struct upnodes *upnodes = call->data;

    if (upnodes->closed != NULL) {
        return;
    }
    if (call->err.code == 0 && count_alive(call->result) >= upnodes->n_nodes) {
        upnodes->known(upnodes->data);
        return;
    }
    (void)uv_timer_start(&upnodes->timer, on_again, AGAIN_MS, 0);
}

int upnodes_start(uv_loop_t *loop, const struct cluster *cluster, int n_nodes, upnodes_cb known,
                  void *data, struct upnodes **ret_upnodes, struct err *err)
{
    struct client *client = NULL;
    struct upnodes *upnodes;

    if (client_new(loop, cluster, &client, err) < 0) {
        return err_code(err);
    }
    upnodes = mem_alloc(sizeof(*upnodes));
    upnodes->client = client;
    upnodes->call.data = upnodes;
    upnodes->n_nodes = n_nodes;
    upnodes->known = known;
    upnodes->data = data;
    upnodes->open = 2;
    (void)uv_timer_init(loop, &upnodes->timer);
    upnodes->timer.data = upnodes;
    on_again(&upnodes->timer);
    *ret_upnodes = upnodes;
    return 0;
}

static void part_closed(struct upnodes *upnodes)
{
    if (--upnodes->open == 0) {
        upnodes_cb closed = upnodes->closed;
        void *data = upnodes->closed_data;

        free(upnodes);
        closed(data);
    }
}

static void on_client_closed(void *data)
{
    part_closed(data);
}

static void on_timer_closed(uv_handle_t *handle)
{
    part_closed(handle->data);
}

void upnodes_close(struct upnodes *upnodes, upnodes_cb closed, void *data)
{
    upnodes->closed = closed;
    upnodes->closed_data = data;
    client_close(upnodes->client, on_client_closed, upnodes);
    uv_close((uv_handle_t *)&upnodes->timer, on_timer_closed);
}
