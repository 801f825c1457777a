/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/proto.h"

#include "base/str.h"
#include "test.h"

#include <signal.h>
#include <string.h>

static int parse(const char *line, struct proto_msg *msg, struct err *err)
{
    return proto_parse(line, strlen(line), msg, err);
}

static void what_is_written_can_be_read(void **state)
{
    (void)state;
    struct proto_msg msg = { 0 };
    struct err err = { 0 };
    CLEANUP(mem_freep) char *stop = proto_stop(2500, "Killed by \"root\"\n", NULL);
    CLEANUP(mem_freep) char *signal = proto_signal("SIGUSR1", "web");
    CLEANUP(mem_freep) char *ack = proto_hook_ack(7);
    CLEANUP(mem_freep) char *bye = proto_bye();

    assert_int_equal(strcspn(stop, "\n"), strlen(stop) - 1);
    assert_int_equal(parse(stop, &msg, &err), 0);
    assert_int_equal(msg.type, PROTO_STOP);
    assert_int_equal(msg.grace_ms, 2500);
    assert_string_equal(msg.reason, "Killed by \"root\"\n");
    assert_null(msg.op_id);
    proto_msg_fini(&msg);

    assert_int_equal(parse(signal, &msg, &err), 0);
    assert_int_equal(msg.signum, SIGUSR1);
    assert_string_equal(msg.process, "web");
    proto_msg_fini(&msg);

    assert_int_equal(parse(ack, &msg, &err), 0);
    assert_int_equal(msg.type, PROTO_HOOK_ACK);
    assert_int_equal(msg.seq, 7);
    proto_msg_fini(&msg);

    assert_int_equal(parse(bye, &msg, &err), 0);
    assert_int_equal(msg.type, PROTO_BYE);
    proto_msg_fini(&msg);
}

static void a_later_version_may_add_types_and_members(void **state)
{
    (void)state;
    struct proto_msg msg = { 0 };
    struct err err = { 0 };

    assert_int_equal(parse("{\"type\":\"exec\",\"v\":9}", &msg, &err), 0);
    assert_int_equal(msg.type, PROTO_UNKNOWN);
    proto_msg_fini(&msg);
    assert_int_equal(parse("{\"type\":\"stop\",\"grace_ms\":1,\"why\":[]}", &msg, &err), 0);
    assert_int_equal(msg.type, PROTO_STOP);
    proto_msg_fini(&msg);
}

static void malformed_messages_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "stop",
        "[]",
        "\"stop\"",
        "{}",
        "{\"type\":1}",
        "{\"type\":null}",
        "{\"type\":\"stop\"}",
        "{\"type\":\"stop\",\"grace_ms\":-1}",
        "{\"type\":\"stop\",\"grace_ms\":1.5}",
        "{\"type\":\"stop\",\"grace_ms\":\"1\"}",
        "{\"type\":\"stop\",\"grace_ms\":1,\"reason\":{}}",
        "{\"type\":\"signal\"}",
        "{\"type\":\"signal\",\"signal\":\"NOPE\"}",
        "{\"type\":\"signal\",\"signal\":\"0\"}",
        "{\"type\":\"signal\",\"signal\":\"USR1\",\"process\":3}",
        "{\"type\":\"hook-ack\"}",
        "{\"type\":\"hook\",\"seq\":1}",
        "{\"type\":\"hook\",\"seq\":1,\"record\":[]}",
        "{\"type\":\"hello\",\"v\":1}",
        "{\"type\":\"state\",\"state\":\"asleep\",\"seq\":1,\"processes\":{}}",
        "{\"type\":\"state\",\"state\":\"running\",\"seq\":1}",
        "{\"type\":\"bye\"}{\"type\":\"bye\"}",
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct proto_msg msg = { 0 };
        struct err err = { 0 };

        assert_int_equal(parse(bad[i], &msg, &err), ERR_INVALID);
        assert_null(msg.body);
        assert_true(err.msg[0] != '\0');
    }
}

static void a_long_line_is_too_big(void **state)
{
    (void)state;
    struct proto_msg msg = { 0 };
    struct err err = { 0 };
    CLEANUP(mem_freep) char *line = mem_alloc(PROTO_LINE_MAX + 2);

    memset(line, ' ', PROTO_LINE_MAX + 1);
    assert_int_equal(parse(line, &msg, &err), ERR_TOOBIG);
}

static void state_names_are_those_of_the_document(void **state)
{
    (void)state;
    static const char *const names[] = { "starting", "running", "stopping",
                                         "finished", "failed",  "killed" };
    struct err err = { 0 };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        enum proto_state got = PROTO_STARTING;

        assert_int_equal(proto_state_of(names[i], &got, &err), 0);
        assert_string_equal(proto_state_name(got), names[i]);
        assert_int_equal(proto_state_terminal(got), i >= 3);
    }
}

static void signals_by_name_and_number(void **state)
{
    (void)state;
    struct err err = { 0 };
    int signum = 0;

    assert_int_equal(proto_signal_number("TERM", &signum, &err), 0);
    assert_int_equal(signum, SIGTERM);
    assert_int_equal(proto_signal_number("SIGHUP", &signum, &err), 0);
    assert_int_equal(signum, SIGHUP);
    assert_int_equal(proto_signal_number("9", &signum, &err), 0);
    assert_int_equal(signum, SIGKILL);
    assert_int_equal(proto_signal_number("999", &signum, &err), ERR_INVALID);
    assert_int_equal(proto_signal_number("term", &signum, &err), ERR_INVALID);
}

static void a_stop_is_divided_between_asking_and_signals(void **state)
{
    static const struct {
        uint64_t wait, ladder, total, signals;
    } stops[] = {
        { 30000, 0, 30000, 30000 },
        { 30000, 12000, 42000, 30000 },
        { 0, 12000, 12000, 0 },
        { 119000, 12000, 120000, 108000 },
        { 600000, 12000, 600000, 588000 },
        { 30000, 242000, 120000, 30000 },
        { 100000, 242000, 120000, 60000 },
        { 600000, 0, 600000, 600000 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(stops) / sizeof(stops[0]); i++) {
        assert_int_equal(proto_stop_total_ms(stops[i].wait, stops[i].ladder), stops[i].total);
        assert_int_equal(proto_stop_signals_ms(stops[i].wait, stops[i].ladder), stops[i].signals);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_can_be_read),
        cmocka_unit_test(a_later_version_may_add_types_and_members),
        cmocka_unit_test(malformed_messages_are_refused),
        cmocka_unit_test(a_long_line_is_too_big),
        cmocka_unit_test(state_names_are_those_of_the_document),
        cmocka_unit_test(signals_by_name_and_number),
        cmocka_unit_test(a_stop_is_divided_between_asking_and_signals),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
