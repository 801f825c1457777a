/* SPDX-License-Identifier: Apache-2.0 */

/* Fuzzes what comes into davit-pod: reaches proto_parse() of every type, and, for
 * inputs that begin with 'T', taskfile_parse(), placeholder_fill(), graph_add(),
 * graph_order() and graph_check(); a task that is accepted is begun and stopped. */

#include "pod/proto.h"
#include "pod/taskfile.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void task(const char *text, size_t len)
{
    CLEANUP(taskfile_freep) struct taskfile *task = NULL;
    struct graph_actions actions = { 0 };
    struct err err = { 0 };

    if (taskfile_parse(text, len, &task, &err) < 0) {
        assert(task == NULL && err.code == ERR_CONFIG && err.msg[0]);
        return;
    }
    graph_begin(task->graph, 1000, &actions);
    graph_stop(task->graph, 0, NULL, 1000, &actions);
    assert(task->graph->stage == GRAPH_ENDING || task->graph->finalization_wait_ms == 0 ||
           task->graph->result != GRAPH_UNDECIDED);
    graph_actions_fini(&actions);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct proto_msg msg = { 0 };
    struct err err = { 0 };

    if (size > 0 && data[0] == 'T') {
        task((const char *)data + 1, size - 1);
    } else if (proto_parse((const char *)data, size, &msg, &err) == 0) {
        assert(msg.body && (msg.type != PROTO_SIGNAL || msg.signum > 0));
        proto_msg_fini(&msg);
    } else {
        assert(!msg.body && err.code < 0 && err.msg[0]);
    }
    return 0;
}
