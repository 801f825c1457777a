/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A loop, an engine and a temporary directory to put hook scripts in. */
#include "base/file.h"
#include "base/str.h"
#include "hook/run.h"
#include "running.h"
#include "test.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { DEADLINE_MS = 30000 };

struct hook_fixture {
    uv_loop_t loop;
    struct hook_engine *engine;
    char dir[64];
    bool engine_closed;
};

static inline void on_fixture_deadline(uv_timer_t *timer)
{
    (void)timer;
    fail_msg("the deadline of the test passed");
}

/* Run the loop until *flag is set. */
static inline void run_until(struct hook_fixture *f, const bool *flag)
{
    uv_timer_t timer;

    uv_timer_init(&f->loop, &timer);
    uv_timer_start(&timer, on_fixture_deadline, DEADLINE_MS, 0);
    while (!*flag) {
        uv_run(&f->loop, UV_RUN_ONCE);
    }
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&f->loop, UV_RUN_NOWAIT);
}

/* Run the loop until nothing is going on behind the callers' backs. */
static inline void run_until_idle(struct hook_fixture *f)
{
    uv_timer_t timer;

    uv_timer_init(&f->loop, &timer);
    uv_timer_start(&timer, on_fixture_deadline, DEADLINE_MS, 0);
    while (run_engine_busy(f->engine) > 0) {
        uv_run(&f->loop, UV_RUN_ONCE);
    }
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&f->loop, UV_RUN_NOWAIT);
}

static inline void on_fixture_closed(void *data)
{
    *(bool *)data = true;
}

static inline void fixture_init(struct hook_fixture *f, enum tree_rung rung)
{
    (void)snprintf(f->dir, sizeof f->dir, "/tmp/davit-hook-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    assert_int_equal(uv_loop_init(&f->loop), 0);
    f->engine = run_engine_new(&f->loop, rung);
}

static inline void fixture_fini(struct hook_fixture *f)
{
    struct err err = { 0 };

    run_engine_close(f->engine, on_fixture_closed, &f->engine_closed);
    run_until(f, &f->engine_closed);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    assert_int_equal(file_remove_tree(f->dir, &err), 0);
}

/* Write dir/name (its directory is made) with this mode; "" means no content. */
static inline void put_file(struct hook_fixture *f, const char *name, const char *text, mode_t mode)
{
    CLEANUP(mem_freep) char *path = file_join(f->dir, name);
    CLEANUP(mem_freep) char *parent = mem_strdup(path);
    CLEANUP(mem_freep) char *marked = running_mark(text);
    struct err err = { 0 };

    *strrchr(parent, '/') = '\0';
    assert_int_equal(file_mkdirs(parent, 0755, &err), 0);
    assert_int_equal(file_write(path, marked, strlen(marked), mode, false, &err), 0);
    assert_int_equal(chmod(path, mode), 0);
}
