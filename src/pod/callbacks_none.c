/* SPDX-License-Identifier: Apache-2.0 */

/* callbacks_none: no callback programs.  Stands in for callbacks.c until the hook room can
 * run programs. */
#include "base/mem.h"
#include "pod/callbacks.h"
struct callbacks {
    uv_idle_t idle;
    void (*cb)(void *);
    void *data;
    uv_loop_t *loop;
};
struct callbacks *callbacks_new(uv_loop_t *loop, const char *dir, const struct taskfile *task,
                                const struct callbacks_events *events)
{
    struct callbacks *c = mem_alloc(sizeof *c);
    c->loop = loop;
    (void)dir;
    (void)task;
    (void)events;
    return c;
}
bool callbacks_start(struct callbacks *callbacks, const char *event, const json_t *processes,
                     const char *sandbox, char *const *env, uint64_t term_ms, uint64_t kill_ms)
{
    (void)callbacks;
    (void)event;
    (void)processes;
    (void)sandbox;
    (void)env;
    (void)term_ms;
    (void)kill_ms;
    return false;
}
void callbacks_cancel(struct callbacks *callbacks)
{
    (void)callbacks;
}
static void closed(uv_handle_t *h)
{
    struct callbacks *c = h->data;
    void (*cb)(void *) = c->cb;
    void *d = c->data;
    free(c);
    cb(d);
}
void callbacks_close(struct callbacks *c, void (*cb)(void *data), void *data)
{
    c->cb = cb;
    c->data = data;
    c->idle.data = c;
    uv_idle_init(c->loop, &c->idle);
    uv_close((uv_handle_t *)&c->idle, closed);
}
