/* SPDX-License-Identifier: Apache-2.0 */
#include "store/jute.h"

#include "test.h"

#include <arpa/inet.h>
#include <string.h>

/* Decode what `davit-store copy` would send, without the length in front. */
static int decode(const struct buf *frame, struct jute_request *request)
{
    struct err err = { 0 };

    return jute_decode(frame->data + 4, frame->len - 4, request, &err);
}

static struct buf a_create(void)
{
    struct buf frame = { 0 };
    struct jute_acl acl = { 31, (char *)"world", (char *)"anyone" };
    struct jute_call call = { .type = JUTE_CREATE,
                              .path = (char *)"/path",
                              .data = { (char *)"data", 4 },
                              .acl = &acl,
                              .n_acl = 1,
                              .flags = 3 };

    jute_put_call(&frame, 7, &call);
    return frame;
}

static void a_create_comes_back_whole(void **state)
{
    (void)state;
    CLEANUP_BUF frame = a_create();
    CLEANUP(jute_request_fini) struct jute_request request = { 0 };

    assert_int_equal(decode(&frame, &request), 0);
    assert_int_equal(request.xid, 7);
    assert_int_equal(request.n_calls, 1);
    assert_string_equal(request.calls[0].path, "/path");
    assert_memory_equal(request.calls[0].data.data, "data", 4);
    assert_int_equal(request.calls[0].flags, 3);
    assert_int_equal(request.calls[0].n_acl, 1);
    assert_string_equal(request.calls[0].acl[0].id, "anyone");
    assert_false(request.calls[0].nul_text);
}

static void every_truncation_is_malformed(void **state)
{
    (void)state;
    CLEANUP_BUF frame = a_create();

    for (size_t len = 4; len < frame.len; len++) {
        CLEANUP(mem_freep) char *exact = mem_alloc(len - 4 + 1);
        CLEANUP(jute_request_fini) struct jute_request request = { 0 };
        struct err err = { 0 };

        memcpy(exact, frame.data + 4, len - 4);
        assert_int_equal(jute_decode(exact, len - 4, &request, &err), ERR_INVALID);
    }
}

/* Any four bytes of the frame become a length that lies. */
static void lying_lengths_are_refused_or_harmless(void **state)
{
    (void)state;
    static const uint32_t LIES[] = { 0x7fffffff, 0xffffffff, 0x80000000, 0xfffffffe, 1000, 0 };

    for (size_t lie = 0; lie < sizeof LIES / sizeof LIES[0]; lie++) {
        CLEANUP_BUF frame = a_create();

        for (size_t at = 12; at + 4 <= frame.len; at++) {
            CLEANUP_BUF bad = { 0 };
            CLEANUP(jute_request_fini) struct jute_request request = { 0 };
            uint32_t raw = htonl(LIES[lie]);

            buf_add(&bad, frame.data, frame.len);
            memcpy(bad.data + at, &raw, sizeof raw);
            (void)decode(&bad, &request);
        }
    }
}

static void a_huge_acl_count_allocates_nothing(void **state)
{
    (void)state;
    CLEANUP_BUF frame = a_create();
    CLEANUP(jute_request_fini) struct jute_request request = { 0 };
    uint32_t huge = htonl(0x7fffffff);
    size_t count_at = 4 + 8 + 4 + 5 + 4 + 4;

    assert_int_equal(frame.data[count_at + 3], 1);
    memcpy(frame.data + count_at, &huge, sizeof huge);
    assert_int_equal(decode(&frame, &request), ERR_INVALID);
    assert_null(request.calls);
}

static void null_strings_become_empty(void **state)
{
    (void)state;
    static const char BODY[] = "\0\0\0\1\0\0\0\11\xff\xff\xff\xff"; /* sync of a null path */
    CLEANUP(jute_request_fini) struct jute_request request = { 0 };
    struct err err = { 0 };

    assert_int_equal(jute_decode(BODY, sizeof BODY - 1, &request, &err), 0);
    assert_string_equal(request.calls[0].path, "");
}

static void nul_bytes_are_told(void **state)
{
    (void)state;
    static const char BODY[] = "\0\0\0\1\0\0\0\11\0\0\0\3/\0a";
    CLEANUP(jute_request_fini) struct jute_request request = { 0 };
    struct err err = { 0 };

    assert_int_equal(jute_decode(BODY, sizeof BODY - 1, &request, &err), 0);
    assert_true(request.calls[0].nul_text);
}

static void unknown_types_are_unsupported(void **state)
{
    (void)state;
    static const char BODY[] = "\0\0\0\1\0\0\3\347";
    CLEANUP(jute_request_fini) struct jute_request request = { 0 };
    struct err err = { 0 };

    assert_int_equal(jute_decode(BODY, 8, &request, &err), ERR_UNSUPPORTED);
    assert_int_equal(jute_decode(BODY, 7, &request, &err), ERR_INVALID);
}

static void connect_round_trip(void **state)
{
    (void)state;
    CLEANUP_BUF frame = { 0 };
    struct jute_connect out = { .last_zxid = 5,
                                .timeout_ms = 4000,
                                .session = -3,
                                .passwd = "0123456789abcde",
                                .has_readonly = true };
    struct jute_connect in = { 0 };
    struct err err = { 0 };

    jute_put_connect_request(&frame, &out);
    assert_int_equal(jute_decode_connect(frame.data + 4, frame.len - 4, &in, &err), 0);
    assert_true(in.last_zxid == 5 && in.timeout_ms == 4000 && in.session == -3);
    assert_true(in.has_passwd && in.has_readonly);
    assert_memory_equal(in.passwd, out.passwd, JUTE_PASSWD_SIZE);
    assert_int_equal(jute_decode_connect(frame.data + 4, 20, &in, &err), ERR_INVALID);
}

static void replies_come_back(void **state)
{
    (void)state;
    CLEANUP_BUF frame = { 0 };
    CLEANUP(jute_reply_fini) struct jute_reply reply = { 0 };
    struct jute_stat stat = { .czxid = 1, .pzxid = 9, .version = 2, .data_len = 3, .owner = 77 };
    struct jute_bytes data = { (char *)"xyz", 3 };
    struct err err = { 0 };

    jute_put_data(&frame, 4, 8, &data, &stat);
    assert_int_equal(jute_decode_reply(frame.data + 4, frame.len - 4, JUTE_GET_DATA, &reply, &err),
                     0);
    assert_int_equal(reply.xid, 4);
    assert_int_equal(reply.data.len, 3);
    assert_true(reply.stat.pzxid == 9 && reply.stat.owner == 77 && reply.stat.version == 2);
    jute_reply_fini(&reply);
    assert_int_equal(jute_decode_reply(frame.data + 4, frame.len - 5, JUTE_GET_DATA, &reply, &err),
                     ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_create_comes_back_whole),
        cmocka_unit_test(every_truncation_is_malformed),
        cmocka_unit_test(lying_lengths_are_refused_or_harmless),
        cmocka_unit_test(a_huge_acl_count_allocates_nothing),
        cmocka_unit_test(null_strings_become_empty),
        cmocka_unit_test(nul_bytes_are_told),
        cmocka_unit_test(unknown_types_are_unsupported),
        cmocka_unit_test(connect_round_trip),
        cmocka_unit_test(replies_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
