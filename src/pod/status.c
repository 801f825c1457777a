/* SPDX-License-Identifier: Apache-2.0 */

/* status: how davit-pod's state is written and told.
 *
 * Not when, nor what the state is: that is lifecycle.c's.  The formats are pod/proto.h's.
 */
#include "pod/status.h"

#include "base/child.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { STATE_MODE = 0600 };

struct status {
    const struct taskfile *task;
    const struct supervise *supervise; /* NULL: there never were processes */
    char *path;
    enum proto_state state;
    char *reason;
    uint64_t ended_ms;
    uint64_t seq;
    uint64_t started_ms; /* wall clock */
    uint64_t start_time;
    char boot_id[40];
};

static void read_identity(uint64_t *ret_start_time, char *ret_boot_id, size_t size)
{
    CLEANUP(fd_closep)
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, ret_boot_id, size - 1);
    struct err ignored = { 0 };

    ret_boot_id[n > 0 ? n : 0] = '\0';
    ret_boot_id[strcspn(ret_boot_id, "\n")] = '\0';
    (void)child_start_time(getpid(), ret_start_time, &ignored);
}

struct status *status_new(const char *home, const struct taskfile *task,
                          const struct supervise *supervise)
{
    struct status *status = mem_alloc(sizeof(*status));

    status->task = task;
    status->supervise = supervise;
    status->path = file_join(home, PROTO_STATE_FILE);
    status->started_ms = clock_wall_ms();
    read_identity(&status->start_time, status->boot_id, sizeof(status->boot_id));
    return status;
}

void status_free(struct status *status)
{
    if (status) {
        free(status->reason);
        free(status->path);
        free(status);
    }
}

static void add_identity(const struct status *status, json_t *body)
{
    json_put_int(body, "pid", getpid());
    json_put_int(body, "start_time", (int64_t)status->start_time);
    json_put_str(body, "boot_id", status->boot_id);
    json_put_str(body, "task", status->task->id);
    json_put_str(body, "digest", status->task->digest);
}

static void add_now(const struct status *status, json_t *body)
{
    json_put_str(body, "state", proto_state_name(status->state));
    json_put_str(body, "reason", status->reason);
    json_put_int(body, "seq", (int64_t)status->seq);
    json_put_take(body, "processes",
                  status->supervise ? supervise_processes(status->supervise) : json_object());
    json_put_int(body, "started_ms", (int64_t)status->started_ms);
    if (status->ended_ms > 0) {
        json_put_int(body, "ended_ms", (int64_t)status->ended_ms);
    }
}

static void add_line(struct buf *out, const json_t *body)
{
    CLEANUP(mem_freep) char *text = json_text_ordered(body);

    buf_add_text(out, text);
    buf_add_text(out, "\n");
}

void status_set(struct status *status, enum proto_state state, const char *reason,
                uint64_t ended_ms)
{
    const struct graph *graph = status->task->graph;

    free(status->reason);
    status->reason = graph && graph->leftovers
                         ? str_printf("%s Some of its processes cannot be killed.", reason)
                         : mem_strdup_opt(reason);
    status->state = state;
    status->ended_ms = ended_ms;
    status->seq++;
}

int status_write(const struct status *status, struct err *err)
{
    CLEANUP(json_freep) json_t *body = json_object();
    CLEANUP_BUF text = { 0 };

    json_put_int(body, "v", PROTO_VERSION);
    add_identity(status, body);
    json_put_str(body, "token", status->task->token);
    add_now(status, body);
    add_line(&text, body);
    return file_write(status->path, text.data, text.len, STATE_MODE, false, err);
}

void status_add_hello(const struct status *status, struct buf *out)
{
    CLEANUP(json_freep) json_t *body = json_object();

    json_put_int(body, "v", PROTO_VERSION);
    json_put_str(body, "type", "hello");
    add_identity(status, body);
    add_line(out, body);
}

void status_add_state(const struct status *status, struct buf *out)
{
    CLEANUP(json_freep) json_t *body = json_object();

    json_put_str(body, "type", "state");
    add_now(status, body);
    add_line(out, body);
}

int status_refuse(const char *home, const char *why, struct err *err)
{
    const struct taskfile nobody = { .id = (char *)"" };
    CLEANUP(status_freep) struct status *status = status_new(home, &nobody, NULL);

    status_set(status, PROTO_FAILED, why, clock_wall_ms());
    return status_write(status, err);
}
