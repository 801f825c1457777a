/* SPDX-License-Identifier: Apache-2.0 */
/* task: one run of one instance, as the store has it.
 *
 * Not the rules by which its state changes: those are master/state/task_state.c.
 */
#include "model/task.h"

#include "base/digest.h"
#include "base/id.h"
#include "base/json.h"
#include "base/str.h"

#include <ctype.h>
#include <string.h>

/* clang-format off */
static const struct {
    const char *name;
    int number;
} statuses[TASK_N_STATUS] = {
#define X(status, nr) [status] = { &#status[sizeof("TASK_") - 1], nr },
    TASK_TABLE(X)
#undef X
};
/* clang-format on */

const char *task_status_name(enum task_status status)
{
    return statuses[status].name;
}

bool task_status_parse(const char *name, enum task_status *ret_status)
{
    for (int i = 0; i < TASK_N_STATUS; i++) {
        if (strcmp(statuses[i].name, name) == 0) {
            *ret_status = (enum task_status)i;
            return true;
        }
    }
    return false;
}

int task_status_number(enum task_status status)
{
    return statuses[status].number;
}

bool task_is_terminal(enum task_status status)
{
    return status == TASK_FINISHED || status == TASK_FAILED || status == TASK_KILLED ||
           status == TASK_LOST;
}

bool task_is_active(enum task_status status)
{
    return status != TASK_INIT && !task_is_terminal(status);
}

bool task_is_live(enum task_status status)
{
    return status == TASK_KILLING || status == TASK_PREEMPTING || status == TASK_RESTARTING ||
           status == TASK_DRAINING || status == TASK_PARTITIONED || status == TASK_RUNNING;
}

void task_init(struct task *task)
{
    memset(task, 0, sizeof(*task));
    task->status = TASK_INIT;
}

static void event_fini(struct task_event *event)
{
    free(event->message);
}

void task_fini(struct task *task)
{
    for (size_t i = 0; i < task->n_events; i++) {
        event_fini(&task->events[i]);
    }
    for (size_t i = 0; i < task->n_ports; i++) {
        free(task->ports[i].name);
    }
    free(task->events);
    free(task->ports);
    free(task->id);
    free(task->job);
    free(task->config);
    free(task->node);
    free(task->ancestor);
    free(task->op_id);
    memset(task, 0, sizeof(*task));
}

void task_add_event(struct task *task, uint64_t wall_ms, enum task_status status,
                    const char *message)
{
    struct task_event event = { wall_ms, status,
                                message != NULL && message[0] != '\0'
                                    ? mem_strndup(message, TASK_MESSAGE_MAX)
                                    : NULL };

    if (task->n_events == TASK_MAX_EVENTS) {
        event_fini(&task->events[1]);
        memmove(&task->events[1], &task->events[2], (task->n_events - 2) * sizeof(task->events[0]));
        task->n_events--;
    }
    task->events = mem_realloc(task->events, (task->n_events + 1) * sizeof(task->events[0]));
    task->events[task->n_events++] = event;
    task->status = status;
}

void task_add_port(struct task *task, const char *name, int port)
{
    task->ports = mem_realloc(task->ports, (task->n_ports + 1) * sizeof(task->ports[0]));
    task->ports[task->n_ports++] = (struct task_port){ mem_strdup(name), port };
}

int task_port(const struct task *task, const char *name)
{
    for (size_t i = 0; i < task->n_ports; i++) {
        if (strcmp(task->ports[i].name, name) == 0) {
            return task->ports[i].port;
        }
    }
    return -1;
}

json_t *task_encode(const struct task *task)
{
    json_t *doc = json_object();
    json_t *ports = json_object();
    json_t *events = json_array();

    for (size_t i = 0; i < task->n_ports; i++) {
        json_put_int(ports, task->ports[i].name, task->ports[i].port);
    }
    for (size_t i = 0; i < task->n_events; i++) {
        json_t *event = json_object();

        json_put_int(event, "time_ms", (int64_t)task->events[i].time_ms);
        json_put_str(event, "state", task_status_name(task->events[i].status));
        json_put_str(event, "message", task->events[i].message);
        json_array_append_new(events, event);
    }
    json_put_int(doc, "v", TASK_DOC_VERSION);
    json_put_str(doc, "id", task->id);
    json_put_str(doc, "job", task->job);
    json_put_int(doc, "instance", task->instance);
    json_put_str(doc, "config", task->config);
    json_put_str(doc, "state", task_status_name(task->status));
    json_put_str(doc, "node", task->node);
    json_put_take(doc, "ports", ports);
    json_put_take(doc, "events", events);
    json_put_int(doc, "failures", task->failures);
    json_put_str(doc, "ancestor", task->ancestor);
    json_put_str(doc, "op_id", task->op_id);
    if (task->not_before_ms != 0) {
        json_put_int(doc, "not_before_ms", (int64_t)task->not_before_ms);
    }
    return doc;
}

static int decode_events(const json_t *doc, struct task *task, struct err *err)
{
    json_t *events;
    json_t *event;
    size_t i;

    if (json_need_array(doc, "events", &events, err) < 0) {
        return err->code;
    }
    json_array_foreach(events, i, event)
    {
        const char *name;
        enum task_status status;
        int64_t time_ms;

        if (json_need_str(event, "state", &name, err) < 0 ||
            json_need_int(event, "time_ms", 0, INT64_MAX, &time_ms, err) < 0) {
            return err->code;
        }
        if (!task_status_parse(name, &status)) {
            return err_set(err, ERR_INVALID, "unknown task state '%.40s'", name);
        }
        task_add_event(task, (uint64_t)time_ms, status, json_str_or(event, "message", NULL));
    }
    return 0;
}

static int decode_members(const json_t *doc, struct task *task, struct err *err)
{
    const char *id, *job, *config, *state, *name;
    int64_t version, instance;
    json_t *port;

    if (json_need_int(doc, "v", 1, INT32_MAX, &version, err) < 0) {
        return err->code;
    }
    if (version > TASK_DOC_VERSION) {
        return err_set(err, ERR_UNSUPPORTED,
                       "a task document has version %d; this program reads up to %d", (int)version,
                       TASK_DOC_VERSION);
    }
    if (json_need_str(doc, "id", &id, err) < 0 || json_need_str(doc, "job", &job, err) < 0 ||
        json_need_str(doc, "config", &config, err) < 0 ||
        json_need_str(doc, "state", &state, err) < 0 ||
        json_need_int(doc, "instance", 0, INT32_MAX, &instance, err) < 0 ||
        decode_events(doc, task, err) < 0) {
        return err->code;
    }
    if (!task_status_parse(state, &task->status)) {
        return err_set(err, ERR_INVALID, "unknown task state '%.40s'", state);
    }
    task->id = mem_strdup(id);
    task->job = mem_strdup(job);
    task->config = mem_strdup(config);
    task->instance = (int)instance;
    task->node = mem_strdup_opt(json_str_or(doc, "node", NULL));
    task->failures = (int)json_int_or(doc, "failures", 0);
    task->ancestor = mem_strdup_opt(json_str_or(doc, "ancestor", NULL));
    task->op_id = mem_strdup_opt(json_str_or(doc, "op_id", NULL));
    task->not_before_ms = (uint64_t)json_int_or(doc, "not_before_ms", 0);
    json_object_foreach(json_object_get(doc, "ports"), name, port)
    {
        task_add_port(task, name, (int)json_integer_value(port));
    }
    return 0;
}

int task_decode(const json_t *doc, struct task *task, struct err *err)
{
    struct task fresh;

    task_init(&fresh);
    if (decode_members(doc, &fresh, err) < 0) {
        task_fini(&fresh);
        return err->code;
    }
    *task = fresh;
    return 0;
}

char *task_make_id(const char *role, const char *env, const char *name, int instance)
{
    char uuid[ID_UUID_SIZE];
    char *id;

    id_uuid(uuid);
    id = str_printf("%s-%s-%s-%d-%s", role, env, name, instance, uuid);
    for (char *p = id; *p != '\0'; p++) {
        if (!isalnum((unsigned char)*p) && *p != '_' && *p != '-') {
            *p = '-';
        }
    }
    return id;
}

void task_folder(const char *id, char ret[3])
{
    char hex[DIGEST_SHA256_HEX];

    digest_sha256_hex(id, strlen(id), hex);
    memcpy(ret, hex, 2);
    ret[2] = '\0';
}
