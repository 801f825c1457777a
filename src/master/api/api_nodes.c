/* SPDX-License-Identifier: Apache-2.0 */
/* api_nodes: the machines, what they offer, hold and are being asked to give up.
 *
 * What only a node's own agent knows is asked of it when somebody asks us, and never
 * fails the answer: without it `agent` is null and `agent_error` says why.
 */
#include "master/api/master_api_priv.h"

#include "base/buf.h"
#include "base/json.h"
#include "base/str.h"
#include "master/api/agent_call.h"

#include <string.h>
#include <utlist.h>

enum { AGENT_TIMEOUT_MS = 5000, AGENT_MAX_BYTES = 64 * 1024 };

/* null unless it is being drained, or was. */
static json_t *encode_drain(const struct state_node *node)
{
    json_t *doc;

    if (node->drain == NULL) {
        return json_null();
    }
    doc = json_copy(node->drain);
    json_put_int(doc, "waiting_for_sla", (int64_t)node->drain_waiting);
    json_put_int(doc, "waiting_for_coordinator", (int64_t)node->drain_asking);
    return doc;
}

static json_t *encode_node(const struct state_node *node)
{
    json_t *doc = json_object();
    json_t *resources = json_object();
    json_t *used = json_object();
    json_t *version = json_object_get(node->doc, "version");

    json_put_num(resources, "cpu", node->cpu);
    json_put_int(resources, "ram_bytes", node->ram_bytes);
    json_put_int(resources, "disk_bytes", node->disk_bytes);
    json_put_int(resources, "ports", node->port_hi - node->port_lo + 1);
    json_put_num(used, "cpu", node->used_cpu);
    json_put_int(used, "ram_bytes", node->used_ram_bytes);
    json_put_int(used, "disk_bytes", node->used_disk_bytes);
    json_put_int(used, "ports", (int64_t)node->n_used_ports);
    json_put_str(doc, "name", node->name);
    json_put_bool(doc, "alive", node->alive);
    json_put_bool(doc, "lost", node->lost);
    json_put_str(doc, "mode", node->mode);
    json_put_str(doc, "host", node->hostname);
    json_put_str(doc, "address", node->address);
    json_put_take(doc, "version", version != NULL ? json_incref(version) : json_null());
    json_put_take(doc, "attributes", json_incref(node->attributes));
    json_put_take(doc, "resources", resources);
    json_put_take(doc, "used", used);
    json_put_int(doc, "tasks", (int64_t)node->n_tasks);
    json_put_take(doc, "drain", encode_drain(node));
    return doc;
}

static int compare_nodes(const void *a, const void *b)
{
    const struct state_node *const *one = a;
    const struct state_node *const *two = b;

    return strverscmp((*one)->name, (*two)->name);
}

static void answer_nodes(struct httpd_request *req, struct state *state)
{
    size_t n = 0;
    struct state_node **nodes =
        mem_alloc((HASH_COUNT(state_nodes(state)) + 1) * sizeof(struct state_node *));
    struct state_node *node;
    json_t *items = json_array();

    for (node = state_nodes(state); node != NULL; node = node->hh.next) {
        nodes[n++] = node;
    }
    if (n > 0) {
        qsort(nodes, n, sizeof(struct state_node *), compare_nodes);
    }
    for (size_t i = 0; i < n; i++) {
        json_array_append_new(items, encode_node(nodes[i]));
    }
    free(nodes);
    master_api_reply_list_take(req, state, items, NULL);
}

void api_get_nodes(struct httpd_request *req)
{
    master_api_answer_when_newer(req, answer_nodes, MASTER_API_PAUSE_LIST);
}

/* ---- One node ---- */

static json_t *encode_items(const struct state_node *node)
{
    json_t *items = json_array();
    const struct state_task *task;

    DL_FOREACH2(node->tasks, task, node_next)
    {
        json_t *item = json_object();

        json_put_str(item, "id", task->t.id);
        json_put_str(item, "job", task->job->key_text);
        json_put_int(item, "instance", task->t.instance);
        json_put_str(item, "state", task_status_name(task->t.status));
        json_array_append_new(items, item);
    }
    return items;
}

static json_t *encode_whole(const struct state *state, const struct state_node *node)
{
    json_t *doc = encode_node(node);

    json_put_take(doc, "own_attributes", json_incref(node->own_attributes));
    json_put_take(doc, "items", encode_items(node));
    json_put_int(doc, "revision", (int64_t)state_revision(state));
    return doc;
}

static struct state_node *find_node(struct httpd_request *req, const struct state *state)
{
    const char *name = httpd_param(req, "name");
    struct state_node *node = state_node_find(state, name);
    struct err err;

    if (node == NULL) {
        err_set(&err, ERR_NOTFOUND, "there is no node %.200s", name);
        httpd_reply_err(req, &err);
    }
    return node;
}

static void answer_node(struct httpd_request *req, struct state *state)
{
    const struct state_node *node = find_node(req, state);

    if (node != NULL) {
        httpd_reply_json_take(req, 200, encode_whole(state, node));
    }
}

/* One question to an agent. */
struct question {
    struct httpd_request *req; /* NULL once its client is gone. */
    struct httpc_call call;
    struct buf url;
    json_t *doc; /* The answer without what the agent says. */
};

static void on_agent(struct httpc_call *call)
{
    struct question *question = call->data;
    struct httpd_request *req = TAKE(question->req);
    json_t *agent = NULL;
    struct err err = { 0 };

    if (httpc_check(call, &err) < 0 || httpc_json(call, &agent, &err) < 0) {
        json_put_str(question->doc, "agent_error", err.msg);
    }
    json_put_take(question->doc, "agent", agent != NULL ? agent : json_null());
    if (req != NULL) {
        httpd_set_data(req, NULL);
        httpd_reply_json_take(req, 200, TAKE(question->doc));
    }
    json_decref(question->doc);
    httpc_call_fini(call);
    buf_fini(&question->url);
    free(question);
}

static void on_gone(struct httpd_request *req)
{
    struct question *question = httpd_data(req);

    if (question != NULL) {
        question->req = NULL;
        httpc_cancel(&question->call);
    }
    httpd_drop(req);
}

static void ask_agent(struct httpd_request *req, struct state *state)
{
    struct master_api *api = httpd_ctx(req);
    const struct state_node *node = find_node(req, state);
    struct question *question;

    if (node == NULL) {
        return;
    }
    if (node->address == NULL) {
        json_t *doc = encode_whole(state, node);

        json_put_take(doc, "agent", json_null());
        json_put_str(doc, "agent_error", "the node is away");
        httpd_reply_json_take(req, 200, doc);
        return;
    }
    question = mem_alloc(sizeof(*question));
    question->req = req;
    question->doc = encode_whole(state, node);
    agent_call_url(&question->url, node->address, (const char *const[]){ "status", NULL });
    question->call = (struct httpc_call){ .data = question,
                                          .url = buf_text(&question->url),
                                          .token = api->agent_token,
                                          .timeout_ms = AGENT_TIMEOUT_MS,
                                          .max_bytes = AGENT_MAX_BYTES };
    httpd_set_data(req, question);
    httpd_on_gone(req, on_gone);
    httpc_start(api->httpc, &question->call, on_agent);
}

void api_get_node(struct httpd_request *req)
{
    static const char *const words[] = { "true", "false", NULL };
    struct state *state;
    const char *agent;

    if (!master_api_query_word(req, "agent", words, &agent)) {
        return;
    }
    if (!str_eq(agent, "true")) {
        master_api_answer_when_newer(req, answer_node, MASTER_API_PAUSE_ONE);
        return;
    }
    state = master_api_need_state(req);
    if (state != NULL) {
        ask_agent(req, state);
    }
}
