/* SPDX-License-Identifier: Apache-2.0 */
/* simloop: one queue of events is all the time there is.
 *
 * Events are ordered by their time, then by the order in which they were asked for: a history
 * depends on its seed alone.  The functions of libuv, base/clock.h and base/id.h that the
 * master's code calls are defined here; the linker takes these and leaves the real ones out.
 *
 * Invariant: a handle's event is in handle_queue[0] exactly while it is active or closing.
 */
#include "simloop.h"

#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"
#include "base/mem.h"

#include <assert.h>
#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <utlist.h>
#include <uv.h>

struct sim_event {
    uint64_t at_ms, seq;
    struct sim_proc *proc;
    sim_fn fn;
    void *arg;
    const char *what;
    bool canceled, deferred;
    struct sim_event *prev, *next; /* While deferred. */
};

enum { ACTIVE = 1, CLOSING = 2, MAX_LINE = 2000, CLOCK_ERROR_MS = 7200 * 1000 };

static struct {
    uint64_t now_ms, seq, steps, digest, rng, wall_ms;
    struct sim_event **heap;
    size_t n, cap;
    char **lines;
    unsigned n_lines, next_line;
    bool echo;
    bool clocks_differ;
} sim;

void (*sim_failed)(const char *message);

/* ---- Luck ---- */

uint64_t sim_rand(void)
{
    uint64_t z = (sim.rng += 0x9e3779b97f4a7c15u);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t sim_between(uint64_t low, uint64_t high)
{
    return low + sim_rand() % (high - low + 1);
}

bool sim_chance(unsigned per_mille)
{
    return sim_rand() % 1000 < per_mille;
}

/* ---- The trace ---- */

void sim_mix(const void *bytes, uint64_t len)
{
    const unsigned char *p = bytes;

    for (uint64_t i = 0; i < len; i++) {
        sim.digest = (sim.digest ^ p[i]) * 1099511628211u;
    }
}

uint64_t sim_digest(void)
{
    return sim.digest;
}

void sim_trace_on(unsigned lines, bool echo)
{
    sim.lines = mem_alloc(lines * sizeof(char *));
    sim.n_lines = lines;
    sim.echo = echo;
}

bool sim_tracing(void)
{
    return sim.n_lines > 0;
}

static void add_line(const char *text)
{
    char line[MAX_LINE + 32];

    (void)snprintf(line, sizeof(line), "%8" PRIu64 ".%03u  %s", sim.now_ms / 1000,
                   (unsigned)(sim.now_ms % 1000), text);
    if (sim.echo) {
        (void)puts(line);
    }
    free(sim.lines[sim.next_line]);
    sim.lines[sim.next_line] = mem_strdup(line);
    sim.next_line = (sim.next_line + 1) % sim.n_lines;
}

void sim_trace(const char *fmt, ...)
{
    char text[MAX_LINE - 16];
    va_list ap;

    if (!sim_tracing()) {
        return;
    }
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    add_line(text);
}

void sim_trace_dump(void)
{
    for (unsigned i = 0; i < sim.n_lines && !sim.echo; i++) {
        const char *line = sim.lines[(sim.next_line + i) % sim.n_lines];

        if (line != NULL) {
            (void)puts(line);
        }
    }
}

void sim_fail(const char *fmt, ...)
{
    char text[2000];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    sim_failed(text);
    abort();
}

/* ---- Events ---- */

static bool before(const struct sim_event *a, const struct sim_event *b)
{
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->seq < b->seq;
}

static void sift_up(size_t i)
{
    while (i > 0 && before(sim.heap[i], sim.heap[(i - 1) / 2])) {
        struct sim_event *event = sim.heap[i];

        sim.heap[i] = sim.heap[(i - 1) / 2];
        sim.heap[(i - 1) / 2] = event;
        i = (i - 1) / 2;
    }
}

static struct sim_event *pop(void)
{
    struct sim_event *top = sim.heap[0];
    size_t i = 0;

    sim.heap[0] = sim.heap[--sim.n];
    for (;;) {
        size_t least = i;

        for (size_t child = 2 * i + 1; child <= 2 * i + 2 && child < sim.n; child++) {
            least = before(sim.heap[child], sim.heap[least]) ? child : least;
        }
        if (least == i) {
            return top;
        }
        struct sim_event *event = sim.heap[i];
        sim.heap[i] = sim.heap[least];
        sim.heap[least] = event;
        i = least;
    }
}

static void push(struct sim_event *event)
{
    if (sim.n == sim.cap) {
        sim.cap = sim.cap != 0 ? 2 * sim.cap : 256;
        sim.heap = mem_realloc(sim.heap, sim.cap * sizeof(struct sim_event *));
    }
    event->seq = ++sim.seq;
    sim.heap[sim.n] = event;
    sift_up(sim.n++);
}

struct sim_event *sim_at(uint64_t at_ms, struct sim_proc *proc, sim_fn fn, void *arg,
                         const char *what)
{
    struct sim_event *event = mem_alloc(sizeof(*event));

    event->at_ms = at_ms > sim.now_ms ? at_ms : sim.now_ms;
    event->proc = proc;
    event->fn = fn;
    event->arg = arg;
    event->what = what;
    push(event);
    return event;
}

struct sim_event *sim_after(uint64_t delay_ms, struct sim_proc *proc, sim_fn fn, void *arg,
                            const char *what)
{
    return sim_at(sim.now_ms + delay_ms, proc, fn, arg, what);
}

void sim_cancel(struct sim_event **event)
{
    if (*event == NULL) {
        return;
    }
    if ((*event)->deferred) {
        DL_DELETE((*event)->proc->deferred, *event);
        free(*event);
    } else {
        (*event)->canceled = true; /* Freed when its time has come. */
    }
    *event = NULL;
}

bool sim_step(void)
{
    while (sim.n > 0) {
        struct sim_event *event = pop();

        if (event->canceled) {
            free(event);
            continue;
        }
        sim.now_ms = event->at_ms;
        if (event->proc != NULL && event->proc->frozen) {
            event->deferred = true;
            DL_APPEND(event->proc->deferred, event);
            continue;
        }
        struct sim_event ev = *event;

        free(event);
        sim.steps++;
        sim_mix(&ev.at_ms, sizeof(ev.at_ms));
        sim_mix(ev.what, strlen(ev.what));
        ev.fn(ev.arg);
        return true;
    }
    return false;
}

uint64_t sim_steps(void)
{
    return sim.steps;
}

uint64_t sim_now(void)
{
    return sim.now_ms;
}

void sim_freeze(struct sim_proc *proc)
{
    proc->frozen = true;
}

void sim_thaw(struct sim_proc *proc)
{
    struct sim_event *event;

    proc->frozen = false;
    while ((event = proc->deferred) != NULL) {
        DL_DELETE(proc->deferred, event);
        event->deferred = false;
        event->at_ms = sim.now_ms;
        push(event);
    }
}

static void on_closed(void *arg);

void sim_finish_closing(struct sim_proc *proc)
{
    struct sim_event *first;

    sim_thaw(proc);
    do {
        first = NULL;
        for (size_t i = 0; i < sim.n; i++) {
            struct sim_event *event = sim.heap[i];

            if (event->proc == proc && event->fn == on_closed && !event->canceled &&
                (first == NULL || event->seq < first->seq)) {
                first = event;
            }
        }
        if (first != NULL) {
            first->canceled = true;
            on_closed(first->arg);
        }
    } while (first != NULL);
}

void sim_begin(uint64_t seed)
{
    assert(sim.n == 0);
    sim.now_ms = sim.steps = sim.seq = 0;
    sim.digest = 14695981039346656037u;
    sim.rng = seed * 0x2545f4914f6cdd1du + 1;
    (void)sim_rand();
    sim.clocks_differ = seed % 4 == 0;
    /* Some moment of 2027, so that histories cross midnights and months. */
    sim.wall_ms = UINT64_C(1798761600000) + sim_between(0, UINT64_C(365) * 24 * 3600 * 1000);
}

void sim_end(void)
{
    while (sim.n > 0) {
        struct sim_event *event = pop();

        SIM_CHECK(event->canceled, "an event is left over at the end: %s", event->what);
        free(event);
    }
}

/* ---- base/clock.h, base/id.h, base/log.h ---- */

uint64_t clock_now_ms(void)
{
    return sim.now_ms + 1000 * 1000;
}

uint64_t clock_wall_ms(void)
{
    return sim.wall_ms + sim.now_ms;
}

bool sim_clocks_differ(void)
{
    return sim.clocks_differ;
}

void sim_change_clock(void)
{
    if (sim.clocks_differ && sim_chance(500)) {
        uint64_t by_ms = sim_between(0, (uint64_t)2 * CLOCK_ERROR_MS);

        sim.wall_ms = sim.wall_ms + by_ms - CLOCK_ERROR_MS;
        sim_trace("the clock jumps by %" PRId64 " ms", (int64_t)by_ms - CLOCK_ERROR_MS);
    }
}

void clock_format_utc(uint64_t wall_ms, char *ret)
{
    time_t secs = (time_t)(wall_ms / 1000);
    struct tm tm = { 0 };
    char date[24];

    (void)gmtime_r(&secs, &tm);
    (void)strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &tm);
    (void)snprintf(ret, CLOCK_UTC_SIZE, "%s.%03uZ", date, (unsigned)(wall_ms % 1000));
}

void id_uuid(char *ret)
{
    uint64_t a = sim_rand();
    uint64_t b = sim_rand();

    (void)snprintf(ret, ID_UUID_SIZE, "%08x-%04x-4%03x-a%03x-%012" PRIx64, (unsigned)(a >> 32),
                   (unsigned)(a >> 16) & 0xffff, (unsigned)a & 0xfff, (unsigned)(b >> 48) & 0xfff,
                   b & UINT64_C(0xffffffffffff));
}

void id_token(char *ret)
{
    uint64_t a = sim_rand();

    (void)snprintf(ret, ID_TOKEN_SIZE, "%016" PRIx64 "%016" PRIx64, a, sim_rand());
}

bool id_is_uuid(const char *s)
{
    if (strlen(s) != ID_UUID_SIZE - 1) {
        return false;
    }
    for (size_t i = 0; s[i] != '\0'; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;

        if (dash ? s[i] != '-' : !isxdigit((unsigned char)s[i])) {
            return false;
        }
    }
    return true;
}

bool log_enabled(enum log_level level)
{
    (void)level;
    return sim_tracing();
}

void log_write(enum log_level level, const char *file, int line, const char *fmt, ...)
{
    char text[400];
    va_list ap;

    (void)level;
    if (!sim_tracing()) {
        return;
    }
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    file = strrchr(file, '/') != NULL ? strrchr(file, '/') + 1 : file;
    sim_trace("  %s:%d %s", file, line, text);
}

void log_init(const char *program)
{
    (void)program;
}

int log_set_level(const char *word, struct err *err)
{
    (void)word;
    (void)err;
    return 0;
}

void log_dump(void)
{
}

/* ---- libuv ---- */

static struct sim_proc *proc_of(const uv_handle_t *handle)
{
    return handle->loop->data;
}

static void disarm(uv_handle_t *handle)
{
    sim_cancel((struct sim_event **)&handle->handle_queue[0]);
    handle->flags &= ~(unsigned)ACTIVE;
}

static void arm(uv_handle_t *handle, uint64_t delay_ms, sim_fn fn, const char *what)
{
    handle->handle_queue[0] = sim_after(delay_ms, proc_of(handle), fn, handle, what);
}

static void init(uv_loop_t *loop, uv_handle_t *handle)
{
    handle->loop = loop;
    handle->flags = 0;
    handle->handle_queue[0] = NULL;
}

static void on_closed(void *arg)
{
    uv_handle_t *handle = arg;

    handle->handle_queue[0] = NULL;
    if (handle->close_cb != NULL) {
        handle->close_cb(handle);
    }
}

void uv_close(uv_handle_t *handle, uv_close_cb cb)
{
    assert((handle->flags & CLOSING) == 0);
    disarm(handle);
    handle->flags |= CLOSING;
    handle->close_cb = cb;
    arm(handle, 0, on_closed, "closed");
}

int uv_is_closing(const uv_handle_t *handle)
{
    return (handle->flags & CLOSING) != 0;
}

int uv_is_active(const uv_handle_t *handle)
{
    return (handle->flags & ACTIVE) != 0;
}

static void on_timer(void *arg)
{
    uv_timer_t *timer = arg;
    uv_handle_t *handle = arg;

    handle->handle_queue[0] = NULL;
    handle->flags &= ~(unsigned)ACTIVE;
    if (timer->repeat != 0) {
        handle->flags |= ACTIVE;
        arm(handle, timer->repeat, on_timer, "timer");
    }
    timer->timer_cb(timer);
}

int uv_timer_init(uv_loop_t *loop, uv_timer_t *timer)
{
    init(loop, (uv_handle_t *)timer);
    timer->repeat = 0;
    return 0;
}

int uv_timer_start(uv_timer_t *timer, uv_timer_cb cb, uint64_t timeout, uint64_t repeat)
{
    uv_handle_t *handle = (uv_handle_t *)timer;

    assert((handle->flags & CLOSING) == 0);
    disarm(handle);
    timer->timer_cb = cb;
    timer->repeat = repeat;
    handle->flags |= ACTIVE;
    arm(handle, timeout, on_timer, "timer");
    return 0;
}

int uv_timer_stop(uv_timer_t *timer)
{
    if (((uv_handle_t *)timer)->flags & ACTIVE) {
        disarm((uv_handle_t *)timer);
    }
    return 0;
}

uint64_t uv_timer_get_due_in(const uv_timer_t *timer)
{
    const struct sim_event *event = ((const uv_handle_t *)timer)->handle_queue[0];

    return event != NULL && event->at_ms > sim.now_ms ? event->at_ms - sim.now_ms : 0;
}

static void on_idle(void *arg)
{
    uv_idle_t *idle = arg;
    uv_handle_t *handle = arg;

    arm(handle, 1, on_idle, "idle");
    idle->idle_cb(idle);
}

int uv_idle_init(uv_loop_t *loop, uv_idle_t *idle)
{
    init(loop, (uv_handle_t *)idle);
    return 0;
}

/* What else is due within the same millisecond may come into the same turn, or not. */
int uv_idle_start(uv_idle_t *idle, uv_idle_cb cb)
{
    uv_handle_t *handle = (uv_handle_t *)idle;

    assert((handle->flags & CLOSING) == 0);
    if ((handle->flags & ACTIVE) == 0) {
        idle->idle_cb = cb;
        handle->flags |= ACTIVE;
        arm(handle, sim_rand() % 2, on_idle, "idle");
    }
    return 0;
}

int uv_idle_stop(uv_idle_t *idle)
{
    if (((uv_handle_t *)idle)->flags & ACTIVE) {
        disarm((uv_handle_t *)idle);
    }
    return 0;
}

uint64_t uv_now(const uv_loop_t *loop)
{
    (void)loop;
    return sim.now_ms + 1000 * 1000;
}
