/* SPDX-License-Identifier: Apache-2.0 */

/* Guests of every temper: obedient, deaf, dying, missing. */

#include "guest/guest.h"

#include "base/fault.h"
#include "test.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

struct world {
    uv_loop_t loop;
    uv_timer_t limit;
    int ticks;
    struct guest *guest;
    struct rpc_call call;
    int fired, closed;
    struct err err;
    char *python;
};

static void on_limit(uv_timer_t *timer)
{
    struct world *w = timer->data;

    if (--w->ticks == 0) {
        fail_msg("nothing happened in time");
    }
}

static void on_call(struct rpc_call *call)
{
    struct world *w = call->data;

    w->fired++;
    w->err = call->err;
    if (call->err.code == 0) {
        json_t *python = json_object_get(call->result, "python");

        w->python = json_is_string(python) ? strdup(json_string_value(python)) : NULL;
    }
}

static void on_guest_closed(void *data)
{
    struct world *w = data;

    w->closed++;
}

static void spin(struct world *w, const int *value)
{
    w->ticks = 1000;
    while (*value == 0) {
        uv_run(&w->loop, UV_RUN_ONCE);
    }
}

static void world_open(struct world *w)
{
    memset(w, 0, sizeof *w);
    assert_int_equal(uv_loop_init(&w->loop), 0);
    assert_int_equal(uv_timer_init(&w->loop, &w->limit), 0);
    w->limit.data = w->call.data = w;
    assert_int_equal(uv_timer_start(&w->limit, on_limit, 10, 10), 0);
}

static int world_start(struct world *w, const char *const *argv)
{
    const struct guest_options options = {
        .argv = argv,
        .kill_after_ms = 100,
        .rpc = { .peer = "the guest", .protocol = "davit-guest", .version = 1 },
    };
    struct err err;

    return guest_start(&w->loop, &options, &w->guest, &err);
}

static void world_close(struct world *w)
{
    if (w->guest != NULL) {
        pid_t pid = guest_pid(w->guest);

        guest_close(w->guest, on_guest_closed, w);
        spin(w, &w->closed);
        assert_int_equal(w->closed, 1);
        assert_int_equal(kill(pid, 0), -1);
        assert_int_equal(errno, ESRCH);
    }
    uv_close((uv_handle_t *)&w->limit, NULL);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    free(w->python);
}

static void evaluator_says_hello_and_ends_with_its_channel(void **state)
{
    struct world w;

    (void)state;
    world_open(&w);
    assert_int_equal(world_start(&w, NULL), 0);
    rpc_hello_start(&w.call, guest_rpc(w.guest), 5000, on_call);
    spin(&w, &w.fired);
    assert_int_equal(w.err.code, 0);
    assert_non_null(w.python);
    assert_string_equal(guest_status_text(w.guest), "runs");
    world_close(&w);
}

static void stray_variable_does_not_lead_astray(void **state)
{
    struct world w;

    (void)state;
    world_open(&w);
    assert_int_equal(setenv("DAVIT_GUEST_FD", "99", 1), 0);
    assert_int_equal(world_start(&w, NULL), 0);
    assert_int_equal(unsetenv("DAVIT_GUEST_FD"), 0);
    rpc_hello_start(&w.call, guest_rpc(w.guest), 5000, on_call);
    spin(&w, &w.fired);
    assert_int_equal(w.err.code, 0);
    world_close(&w);
}

static void deaf_guest_is_killed_on_close(void **state)
{
    static const char *const argv[] = { "/bin/sh", "-c", "trap '' TERM; exec 3>&-; exec sleep 60",
                                        NULL };
    struct world w;

    (void)state;
    world_open(&w);
    assert_int_equal(world_start(&w, argv), 0);
    world_close(&w);
}

static void guest_that_dies_ends_its_call(void **state)
{
    static const char *const argv[] = { "/bin/sh", "-c", "read line <&3; exit 3", NULL };
    struct world w;

    (void)state;
    world_open(&w);
    assert_int_equal(world_start(&w, argv), 0);
    rpc_call_start(&w.call, guest_rpc(w.guest), "anything", NULL, 5000, on_call);
    spin(&w, &w.fired);
    assert_int_equal(w.err.code, ERR_EOF);
    while (!guest_has_ended(w.guest)) {
        uv_run(&w.loop, UV_RUN_ONCE);
    }
    assert_string_equal(guest_status_text(w.guest), "exited with status 3");
    guest_signal(w.guest, SIGKILL); /* Nothing is left to signal. */
    world_close(&w);
}

static void guest_that_talks_nonsense_ends_its_call(void **state)
{
    static const char *const argv[] = { "/bin/sh", "-c", "echo nonsense >&3; cat <&3 >/dev/null",
                                        NULL };
    struct world w;

    (void)state;
    world_open(&w);
    assert_int_equal(world_start(&w, argv), 0);
    rpc_call_start(&w.call, guest_rpc(w.guest), "anything", NULL, 5000, on_call);
    spin(&w, &w.fired);
    assert_int_equal(w.err.code, ERR_INVALID);
    world_close(&w);
}

static void guest_of_another_version_is_refused(void **state)
{
    static const char *const argv[] = {
        "/bin/sh", "-c",
        "read line <&3; echo '{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":"
        "{\"protocol\":\"davit-guest\",\"version\":9}}' >&3; read line <&3",
        NULL
    };
    struct world w;

    (void)state;
    world_open(&w);
    assert_int_equal(world_start(&w, argv), 0);
    rpc_hello_start(&w.call, guest_rpc(w.guest), 5000, on_call);
    spin(&w, &w.fired);
    assert_int_equal(w.err.code, ERR_UNSUPPORTED);
    world_close(&w);
}

static void missing_program_is_an_error_at_once(void **state)
{
    static const char *const argv[] = { "/nonexistent/guest", NULL };
    struct world w;

    (void)state;
    world_open(&w);
    assert_int_equal(world_start(&w, argv), ERR_NOTFOUND);
    assert_null(w.guest);
    world_close(&w);
}

#ifdef WITH_FAULTS
static void torture_each_crossing(void **state)
{
    (void)state;
    for (int nth = 1;; nth++) {
        struct world w;

        world_open(&w);
        fault_arm(nth, -1);
        if (world_start(&w, NULL) == 0) {
            rpc_hello_start(&w.call, guest_rpc(w.guest), 2000, on_call);
            spin(&w, &w.fired);
        }
        bool hit = fault_hits() >= nth;
        fault_arm(0, 0);
        world_close(&w);
        if (!hit) {
            break;
        }
    }
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(evaluator_says_hello_and_ends_with_its_channel),
        cmocka_unit_test(stray_variable_does_not_lead_astray),
        cmocka_unit_test(deaf_guest_is_killed_on_close),
        cmocka_unit_test(guest_that_dies_ends_its_call),
        cmocka_unit_test(guest_that_talks_nonsense_ends_its_call),
        cmocka_unit_test(guest_of_another_version_is_refused),
        cmocka_unit_test(missing_program_is_an_error_at_once),
#ifdef WITH_FAULTS
        cmocka_unit_test(torture_each_crossing),
#endif
    };

    (void)signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
